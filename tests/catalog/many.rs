//! Sets that are too large to be lists: of some hundred relations every second one is seen, some of them without a column.

use super::*;

/// Tables of the schema `many`; odd ones are hidden, and of every tenth the column `zz_secret` is.
const TABLES: usize = 400;

/// What the owner of the warehouse sees of a relation's OID, when the caller sees the relation.
fn seen(oid: &str) -> String {
    format!(
        "{oid} IN (SELECT oid FROM pg_class WHERE relname ~ '^t[0-9]*[02468]$' AND relnamespace = 'many'::regnamespace)"
    )
}

/// A database with the tables, each of these columns, with what else is done for each number `i`, and what the caller sees of them.
async fn many(columns: &str, more: &str) -> (Client, Catalog, Vec<Arc<RelationDecision>>) {
    let (client, _) = database().await;
    let make = format!(
        "RESET ROLE; CREATE SCHEMA many; SET search_path = many, pg_catalog; DO $$ BEGIN FOR i IN 0..{} LOOP
           EXECUTE format('CREATE TABLE t%s ({columns})', i); {more}
         END LOOP; END $$; SET search_path = pg_catalog",
        TABLES - 1
    );
    client.batch_execute(&make).await.unwrap();
    let catalog = Catalog::load(&client).await.unwrap();
    let names: Vec<String> = (0..TABLES).step_by(2).map(|number| format!("t{number}")).collect();
    let decisions = names.iter().map(|name| see(&catalog, ("many", name), ("many", name))).collect();
    (client, catalog, decisions)
}

#[tokio::test]
async fn every_set_holds_what_is_seen_and_nothing_else() {
    let more = "
        IF i % 4 = 2 THEN EXECUTE format('ALTER TABLE t%s ADD CHECK (b > 0), ADD FOREIGN KEY (b) REFERENCES t%s', i, i - 2); END IF;
        IF i % 4 = 3 THEN EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (b) REFERENCES t%s', i, i - 1); END IF;
        IF i % 10 = 0 THEN EXECUTE format('ALTER TABLE t%s ADD zz_secret int; CREATE INDEX ON t%s (zz_secret)', i, i); END IF;
        EXECUTE format('COMMENT ON TABLE t%s IS ''t%s''; COMMENT ON COLUMN t%s.b IS ''b of %s''', i, i, i, i);
        IF i % 10 = 0 THEN EXECUTE format('COMMENT ON COLUMN t%s.zz_secret IS ''zz''', i); END IF;";
    let (client, catalog, decisions) = many("id int PRIMARY KEY, a text DEFAULT ''x'', b int", more).await;
    let path = ["many".to_owned()];
    let v = Visibility::new(&catalog, "ana", "demo", &path, &decisions);
    let (class, index, constraint) =
        (seen("oid"), seen("indrelid"), format!("{} AND conname !~ '0_b_check$'", seen("conrelid")));
    let column = format!("{} AND attname <> 'zz_secret'", seen("attrelid"));
    let of_column = "NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = objoid AND a.attnum = objsubid AND a.attname = 'zz_secret')";
    let comment = format!("{} AND {of_column}", seen("objoid"));
    let plain = "relname !~ '0$'";
    for (relation, columns, rows, wanted) in [
        ("pg_catalog.pg_class", "oid, relname, relkind", "relkind = 'r'", class.as_str()),
        ("pg_catalog.pg_class", "relname, relnatts, relchecks, relhasindex, relhastriggers", plain, &class),
        (
            "pg_catalog.pg_attribute",
            "attrelid, attnum, attname",
            "attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r')",
            &column,
        ),
        // Where a column is hidden, none is told.
        (
            "pg_catalog.pg_attrdef",
            "adrelid, adnum",
            "adrelid NOT IN (SELECT attrelid FROM pg_attribute WHERE attname = 'zz_secret')",
            &seen("adrelid"),
        ),
        ("pg_catalog.pg_index", "indexrelid, indkey", "indisprimary", &index),
        ("pg_catalog.pg_constraint", "oid, conname", "true", &constraint),
        ("pg_catalog.pg_description", "objoid, objsubid, description", "classoid = 1259", &comment),
        (
            "information_schema.columns",
            "table_name, column_name",
            "table_schema = 'many'",
            "table_name ~ '[02468]$' AND column_name <> 'zz_secret'",
        ),
        (
            "information_schema.table_constraints",
            "table_name, constraint_name",
            "table_schema = 'many' AND constraint_type <> 'CHECK'",
            "table_name ~ '[02468]$'",
        ),
        ("pg_catalog.pg_tables", "tablename", "schemaname = 'many'", "tablename ~ '[02468]$'"),
    ] {
        let (schema, bare) = relation.split_once('.').unwrap();
        let view = view_sql(&QualifiedName::new(schema, bare), &v).unwrap();
        // The system's own are not what this is about.
        let own = match columns.split(',').next().unwrap() {
            oid if oid.ends_with("oid") || oid.ends_with("relid") => format!("{oid} >= 16384"),
            name => format!("{name} ~ '^t[0-9]+$'"),
        };
        let ask = |from: &str, more: &str| {
            format!("SELECT {columns} FROM {from} WHERE {rows} AND {own} AND {more} ORDER BY 1, 2")
        };
        let order =
            |sql: String| if columns.contains(',') { sql } else { sql.replace(" ORDER BY 1, 2", " ORDER BY 1") };
        let shown = text_of(&client, &order(ask(&format!("{view} AS x"), "true")))
            .await
            .unwrap_or_else(|e| panic!("{relation}: {e:?}"));
        let wanted = text_of(&client, &order(ask(relation, wanted))).await.unwrap();
        assert_eq!(shown, wanted, "{relation}: {columns}");
        assert!(wanted.lines().count() >= 100 || wanted.is_empty(), "{relation}: {columns}");
    }
    // A hidden column is not counted.
    let view = view_sql(&QualifiedName::new("pg_catalog", "pg_class"), &v).unwrap();
    let sql = format!("SELECT DISTINCT relnatts, relhasindex FROM {view} AS x WHERE relname ~ '^t[0-9]*0$'");
    assert_eq!(text_of(&client, &sql).await.unwrap(), "3|t\n");
}

#[tokio::test]
async fn guards_tell_the_members_of_large_sets() {
    let (client, catalog, decisions) = many("id int PRIMARY KEY", "").await;
    for path in ["many".to_owned(), "public".to_owned()] {
        let found = path == "many";
        let prefix = if path == "many" { "" } else { "many." };
        let path = [path];
        let v = Visibility::new(&catalog, "ana", "demo", &path, &decisions);
        for (guarded, key, wanted) in [
            (guard("pg_table_is_visible", 1, Mention::Freely, &v).unwrap(), "c.oid", format!("'{found}'")),
            (guard("format_type", 2, Mention::Freely, &v).unwrap(), "c.reltype", format!("'{prefix}' || c.relname")),
            (
                guard("pg_get_partkeydef", 1, Mention::Freely, &v).unwrap(),
                "c.oid",
                "pg_get_partkeydef(c.oid)".to_owned(),
            ),
            (cast_guard("regclass", Source::Oid, &v).unwrap(), "c.oid", format!("'{prefix}' || c.relname")),
            (cast_guard("regclass", Source::Any, &v).unwrap(), "c.oid", format!("'{prefix}' || c.relname")),
            (cast_guard("regtype", Source::Oid, &v).unwrap(), "c.reltype", format!("'{prefix}' || c.relname")),
        ] {
            let sql = guarded.replace("$1", key).replace("$2", "-1");
            let sql = format!(
                "SELECT count(*), count(*) FILTER (WHERE ({sql})::text IS NOT DISTINCT FROM
                   CASE WHEN c.relname ~ '[02468]$' THEN ({wanted})::text END) FROM pg_class c
                 WHERE relnamespace = 'many'::regnamespace AND relkind = 'r'"
            );
            let told = text_of(&client, &sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
            let told = told.replace("\n", "");
            assert_eq!(told, format!("{TABLES}|{TABLES}"), "{wanted} {guarded}");
        }
    }
}
