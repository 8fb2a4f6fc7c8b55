//! Data sources beyond plain tables, against a real PostgreSQL: registered queries, logical names, descriptions; and the projects under which they are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod names;
mod projects;
mod queries;

use support::{Running, Stage};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Tables of `raw`, which callers know by other names, and queries over them.
const SCHEMA: &str = "
    CREATE SCHEMA raw;
    CREATE TYPE raw.mood AS ENUM ('sad', 'ok');
    CREATE TABLE raw.t_cust (id int PRIMARY KEY, name text NOT NULL, city varchar(20), note text, feeling raw.mood DEFAULT 'ok');
    CREATE TABLE raw.t_ord (no serial PRIMARY KEY, cust int NOT NULL REFERENCES raw.t_cust (id), total numeric(10,2), secret boolean);
    CREATE INDEX t_ord_total ON raw.t_ord (total) WHERE total > 0;
    COMMENT ON TABLE raw.t_cust IS 'remote comment';
    COMMENT ON COLUMN raw.t_cust.city IS 'remote city';
    INSERT INTO raw.t_cust VALUES (1, 'Ann', 'Bonn', '17', 'ok'), (2, 'Bob', 'Köln', '18', 'sad'), (3, 'Cy', 'Bonn', 'x', NULL);
    INSERT INTO raw.t_ord (cust, total, secret) VALUES (1, 10, false), (1, 20, false), (2, 30, false), (3, 99, true);
    GRANT USAGE ON SCHEMA raw TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA raw TO PUBLIC;
    CREATE TABLE plain (id int PRIMARY KEY);
    ANALYZE;
";

const QUERY: &str = "query: |
  SELECT c.id, c.name, c.city, c.note, count(*)::int AS orders, sum(o.total)::numeric(12,2) AS total
  FROM raw.t_cust c JOIN raw.t_ord o ON o.cust = c.id WHERE NOT o.secret GROUP BY c.id
naming: {datasource: buyers, schema: reports, table: buyers}
description: Who bought something
columnDescriptions: [{columnName: total, description: What they paid}]
tags: {table: [Reports], columns: [{columnName: name, tags: [Id.Name]}, {columnName: city, tags: [Place]}]}
highCardinality: id";

const MASK: &str = "policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    \
    config: {fields: [{type: columnTags, columnTag: Id.Name}], maskingConfig: {type: Constant, constant: X}}\n    \
    exceptions: {groups: [Trusted]}\ncircumstances: [{type: columnTags, columnTag: Id.Name}]\n";

const CITY: &str = "policyKey: city\nname: city\ntype: data\nactions:\n- rules:\n  - type: Row Restriction By User Entitlements\n    \
    config: {matches: [{type: attribute, attribute: city, tag: Place}]}\n    \
    exceptions: {groups: [Trusted]}\ncircumstances: [{type: columnTags, columnTag: Place}]\n";

/// The stage of every test here.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .source("table: t_cust\nschema: raw\nnaming: {datasource: customers, schema: Sales, table: Customers}\ndescription: People who buy\ncolumnDescriptions: [{columnName: note, description: \"it's a note\"}]")
        .source("table: t_ord\nschema: raw\nnaming: {datasource: orders, schema: Sales, table: orders}\ncolumns: [{name: 'no'}, {name: cust, description: Who}, {name: total}]")
        .source("table: plain\nschema: public")
        .source(QUERY)
        .tags(&["Id.Name", "Place", "Reports"])
        .policy(support::ANYONE)
        .policy(MASK)
        .policy(CITY)
        .user("ana", &["Staff"], &[("city", &["Bonn"])])
        .user("max", &["Trusted"], &[])
}

async fn running() -> Running {
    stage().await.start().await
}

/// The rows of a simple query, columns joined by `|`.
async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let row = |m: SimpleQueryMessage| match m {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
            Some(cells.join("|"))
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// SQLSTATE and message of a statement that fails.
async fn error(client: &Client, sql: &str) -> (String, String) {
    let error = client.simple_query(sql).await.expect_err(sql);
    let server = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    (server.code().code().to_owned(), server.message().to_owned())
}
