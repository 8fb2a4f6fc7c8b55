//! Each of the 29 published V2 policy examples on a data set made for it: rows as callers see them.
//!
//! The examples themselves are read where they are at hand (`../shared/seeds` beside the repository, or `SQLVEIL_SEEDS`); our own
//! documents of the same shapes are always read.

use crate::rows::{golden, seen};
use crate::support::{ANYONE, Running, Stage, server};
use sqlveil::cli::demo::warehouse;
use std::fmt::Write as _;
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// People with something for every tag of the examples, a table without tags, and one of few values: eight, five and three rows alike.
const DATA: &str = "
    CREATE EXTENSION pgcrypto;
    CREATE TABLE people (
        id int PRIMARY KEY, name text, passport varchar(12), country text, ssn text, postal text, born date, npi bigint,
        seen timestamptz);
    INSERT INTO people
        SELECT n, 'Person ' || n, 'P' || (1000000 + 7919 * n), (ARRAY['USA', 'CANADA', 'FRANCE', NULL, 'MEXICO'])[1 + n % 5],
               lpad(n::text, 3, '0') || '-45-' || (6789 - n), (10000 + 1234 * n)::text, date '1980-01-31' + 45 * n, 1000000000 + n,
               now() - make_interval(days => n * 5)
        FROM generate_series(1, 20) AS n;
    INSERT INTO people VALUES (21, 'Anna', 'P1', 'USA', '123-45-6789', '12345', '1999-12-31', 1, now() - interval '1 hour');
    CREATE TABLE plain (a int PRIMARY KEY, b text);
    INSERT INTO plain VALUES (1, 'one'), (2, 'two'), (3, NULL);
    CREATE TABLE survey (id int PRIMARY KEY, region text, band text);
    INSERT INTO survey
        SELECT n, CASE WHEN n <= 13 THEN 'north' ELSE 'south' END, CASE WHEN n BETWEEN 9 AND 13 THEN 'low' ELSE 'high' END
        FROM generate_series(1, 16) AS n;
";

const PEOPLE: &str = "table: people
schema: public
createdAt: '2020-12-10T00:00:00Z'
eventTime: seen
highCardinality: id
owners: [{type: group, name: engineers}, {type: group, name: builders}]
tags:
  table: [Discovered.PCI, Discovered.Country]
  columns:
  - {columnName: name, tags: [Discovered.Person Name]}
  - {columnName: passport, tags: [Discovered.Passport]}
  - {columnName: country, tags: [Discovered.Country]}
  - {columnName: ssn, tags: [Discovered.Entity.Social Security Number]}
  - {columnName: postal, tags: [Discovered.Entity.Postal Code]}
  - {columnName: born, tags: [Discovered.Entity.Date]}
  - {columnName: npi, tags: [Discovered.Healthcare NPI]}";

/// Few values, tagged by something that no example masks by name.
const SURVEY: &str = "table: survey
schema: public
createdAt: 2022-01-01
tags: {columns: [{columnName: region, tags: [Discovered.Region]}, {columnName: band, tags: [Discovered.Band]}]}";

/// What `sqlveil fingerprint` would have found of it, and of a column of the people.
const FINGERPRINTS: &str = "dataSource: survey
instant: 2024-01-01T00:00:00Z
rows: 16
columns:
- {name: region, values: [north, south]}
- {name: band, values: [high, low]}
---
dataSource: people
instant: 2024-01-01T00:00:00Z
rows: 21
columns:
- {name: born, min: '1980-03-16', max: '1999-12-31'}
";

/// Whatever the policies say, cara was let in; ana asked and waits.
const GRANT: &str = "dataSource: people
user: cara
approvals: [{requiredPermission: OWNER, approver: ann@example.com}, {requiredPermission: GOVERNANCE, approver: gov}]
---
{dataSource: people, user: ana, state: pending}
";

/// The groups and attributes of every example. The last three groups are values of tagged columns.
const GROUPS: [&str; 11] = [
    "Employee",
    "Engineers",
    "Founders",
    "founders",
    "engineers",
    "Staff",
    "Board",
    "board",
    "123-45-6789",
    "12345",
    "1999-12-31",
];
const ATTRIBUTES: [(&str, &[&str]); 4] = [
    ("auth1", &["SOMETHING_ELSE"]),
    ("Auth1", &["Super Secret"]),
    ("clearance", &["HIGH", "Very High"]),
    ("auth", &["x"]),
];

const PURPOSES: [&str; 2] = ["Re-identification Prohibited", "Research"];

/// A database with the data set, for copies.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<&str> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let root = warehouse::admin(server(), "postgres").await.unwrap();
            root.batch_execute("CREATE DATABASE published").await.unwrap();
            warehouse::admin(server(), "published").await.unwrap().batch_execute(DATA).await.unwrap();
            "published"
        })
        .await
}

/// The data set registered on the server of the examples.
async fn stage(database: &str) -> Stage {
    let mut stage = Stage::copy_of(server(), template().await)
        .await
        .sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
        .await
        .data(&format!(
            "connection: {{handler: PostgreSQL, hostname: warehouse.example.com, username: reader, database: {database}}}"
        ))
        .source(PEOPLE)
        .source(SURVEY)
        .document("fingerprints/all.yaml", FINGERPRINTS)
        .source("{table: plain, schema: public, createdAt: 2022-01-01}")
        .project(&format!(
            "projectKey: study\nname: study\npurposes: [{}]\nmembers: [{{type: user, name: ana}}, {{type: user, name: bob}}]\n",
            PURPOSES.join(", ")
        ))
        .user("ana", &GROUPS, &ATTRIBUTES)
        .user("ann@example.com", &[], &[])
        .user("bob", &["builders"], &[])
        .user("cara", &[], &[])
        .grant(GRANT);
    for purpose in PURPOSES {
        stage = stage.purpose(purpose);
    }
    stage
}

/// What each caller sees, without a purpose and under those of the project.
async fn all_seen(running: &Running) -> String {
    let mut out = String::new();
    let columns = "id, name, passport, country, ssn, postal, born, npi";
    let queries = [
        ("people", format!("SELECT {columns} FROM people ORDER BY id")),
        ("survey", "SELECT * FROM survey ORDER BY id".to_owned()),
        ("plain", "SELECT * FROM plain ORDER BY a".to_owned()),
    ];
    let mut earlier: Vec<String> = Vec::new();
    for (who, project) in [("ana", false), ("ana", true), ("bob", false), ("bob", true), ("cara", false)] {
        let client = running.client(who).await;
        if project {
            client.batch_execute("SET sqlveil.project = 'study'").await.expect("a member of the project");
        }
        let mut found = String::new();
        for (table, query) in &queries {
            let rows = seen(&client, query).await;
            // A golden file is for reading: not the same twenty rows over and over.
            let rows = if *table == "people" { short(&rows) } else { rows };
            writeln!(found, "{table}:\n{rows}").unwrap();
        }
        let project = if project { " under study" } else { "" };
        match earlier.iter().position(|text| *text == found) {
            Some(at) => writeln!(out, "[{who}{project}] as number {}\n", at + 1).unwrap(),
            None => write!(out, "[{who}{project}]\n{found}").unwrap(),
        }
        if !earlier.contains(&found) {
            earlier.push(found);
        }
    }
    out
}

/// The first five rows and the last, and how many there are.
fn short(rows: &str) -> String {
    let lines: Vec<&str> = rows.lines().collect();
    match lines.as_slice() {
        [first @ .., last] if first.len() > 5 => {
            format!("{}\n…\n{last}\n({} rows)\n", first[..5].join("\n"), lines.len())
        }
        _ => format!("{}\n", lines.join("\n")),
    }
}

/// Documents of a text, and the `policyKey` of each.
fn documents(text: &str) -> Vec<(String, String)> {
    let key = |document: &str| {
        let line = document.lines().find_map(|line| line.strip_prefix("policyKey: "));
        line.unwrap_or_else(|| panic!("no policyKey: {document}")).to_owned()
    };
    text.split("\n---\n").map(|document| (key(document), format!("{}\n", document.trim()))).collect()
}

/// Loads all at once without an error, then each by itself and looks.
async fn golden_of(file: &str, database: &str, documents: &[(String, String)]) {
    assert_eq!(documents.len(), 29);
    let mut every = stage(database).await;
    for (_, document) in documents {
        every = every.policy(document);
    }
    let mut said = Vec::new();
    let good = sqlveil::cli::check::run(&every.write(), &mut said, false).await.unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(good && said.contains("3 data sources, 29 policies, 4 users: 0 errors"), "{said}");
    let mut out = String::new();
    for (key, document) in documents {
        let mut stage = stage(database).await.policy(document);
        if !document.contains("\ntype: subscription\n") {
            stage = stage.policy(ANYONE);
        }
        let running = stage.start().await;
        writeln!(out, "# {key}\n\n{}", all_seen(&running).await).unwrap();
    }
    golden(file, &out);
}

#[tokio::test]
async fn our_documents_of_the_published_shapes() {
    let text = include_str!("../data/governance/v2-policies.yaml");
    golden_of("published-shapes.golden", "sales", &documents(text)).await;
}

/// The published examples: four spaces of page indent, other text of the page between some of them.
fn published() -> Option<Vec<(String, String)>> {
    let folder = std::env::var_os("SQLVEIL_SEEDS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/seeds"));
    let mut files = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let file = files.find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("004_")))?;
    let text = std::fs::read_to_string(file).expect("the seed is text");
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines().skip(8_586).take(9_115 - 8_586) {
        let line = line.strip_prefix("    ").unwrap_or(line);
        let key =
            line.split_once(':').is_some_and(|(key, _)| !key.is_empty() && key.chars().all(char::is_alphanumeric));
        if line.starts_with("name: ") {
            found.push(String::new());
            open = true;
        }
        open &= key || line.starts_with("- ") || line.starts_with(' ');
        if let (true, Some(document)) = (open, found.last_mut()) {
            document.push_str(line);
            document.push('\n');
        }
    }
    Some(documents(&found.join("\n---\n")))
}

/// The address that the page lost, at both places.
fn repaired(document: &str) -> String {
    document
        .replace('\u{a0}', " ")
        .replace("username: [email protected]", "username: ann@example.com")
        .replace("server: [email protected]:5432/tpc", "server: reader@warehouse.example.com:5432/tpc")
}

#[tokio::test]
async fn the_published_examples() {
    let Some(found) = published() else { return };
    // One of them has a quote too many: told exactly, with what to do.
    let stray = "'Founders'')";
    let (_, document) = found.iter().find(|(_, document)| document.contains(stray)).expect("the example is there");
    let mut said = Vec::new();
    let stage_of_one = stage("tpc").await.policy(document);
    assert!(!sqlveil::cli::check::run(&stage_of_one.write(), &mut said, false).await.unwrap());
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("policies/000.yaml:6:48]") && said.contains("1 error"), "{said}");
    assert!(said.contains("doubled quote") && said.contains("help: write one quote"), "{said}");
    let mended = |document: &str| repaired(document).replace(stray, "'Founders')");
    let found: Vec<(String, String)> = found.iter().map(|(key, text)| (key.clone(), mended(text))).collect();
    golden_of("published-examples.golden", "tpc", &found).await;
}
