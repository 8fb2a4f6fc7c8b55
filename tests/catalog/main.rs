//! The catalog room against a real PostgreSQL: the snapshot, the classes of functions, guards, the virtual catalog under psql's own queries,
//! and the lists of what never raises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod many;
mod total;

use sqlveil::catalog::guard::guard;
use sqlveil::catalog::oids::Mention;
use sqlveil::catalog::reg::{List, Source, array_guard, cast_guard};
use sqlveil::catalog::system::system_access;
use sqlveil::catalog::{Catalog, FunctionClass, RelationKind, Visibility};
use sqlveil::cli::demo::private_postgres::{PrivatePostgres, Setup};
use sqlveil::cli::demo::warehouse;
use sqlveil::policy::decision::{Access, ColumnDecision, RelationDecision};
use sqlveil::types::{Oid, QualifiedName, quote_ident};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Tables the caller sees, one with a hidden column, one under another name; everything named `zz_` is hidden.
const SCHEMA: &str = "
    CREATE SCHEMA sales; CREATE SCHEMA zz_schema; CREATE SCHEMA raw;
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TYPE zz_mood AS ENUM ('zz_sad');
    CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', mood mood, CHECK (id > 0));
    CREATE INDEX customer_name ON customer (lower(name));
    CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customer, zz_secret text DEFAULT 'zz_default', note varchar(10));
    CREATE INDEX zz_orders_index ON orders (zz_secret);
    ALTER TABLE orders ADD CONSTRAINT zz_orders_check CHECK (zz_secret <> 'zz_never');
    COMMENT ON COLUMN orders.zz_secret IS 'zz_comment'; COMMENT ON COLUMN customer.name IS 'a name';
    COMMENT ON TABLE customer IS 'customers';
    CREATE TABLE zz_hidden (id int PRIMARY KEY, orders_id int CONSTRAINT zz_fk REFERENCES orders, zz_x zz_mood);
    CREATE TABLE zz_schema.zz_table (id int);
    CREATE VIEW sales.big AS SELECT id, note FROM orders WHERE zz_secret = 'zz_view_text';
    CREATE VIEW zz_view AS SELECT * FROM zz_hidden;
    CREATE TABLE raw.zz_remote (id int CONSTRAINT prices_pkey PRIMARY KEY, v numeric(10, 2));
    CREATE TABLE part (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE zz_part_2 PARTITION OF part FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
    CREATE FUNCTION zz_function(zz_argument int) RETURNS int LANGUAGE sql AS 'SELECT 1 /* zz_body */';
    CREATE TABLE zz_parent (id int); CREATE TABLE child () INHERITS (zz_parent);
    CREATE SEQUENCE zz_sequence;
    INSERT INTO customer VALUES (1, 'a', 'sad');
    ANALYZE;
    GRANT USAGE ON SCHEMA sales, zz_schema, raw TO PUBLIC;
    GRANT SELECT ON ALL TABLES IN SCHEMA public, sales, zz_schema, raw TO PUBLIC;";

/// The server of this test program; it ends with the program.
fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| PrivatePostgres::start_with(&Setup::default()).expect("a private PostgreSQL"))
}

/// A database of one's own, and the rights of an ordinary login in it.
async fn database() -> (Client, String) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("zz_catalog_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let root = warehouse::admin(server(), "postgres").await.unwrap();
    root.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    let client = warehouse::admin(server(), &name).await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    client
        .batch_execute(&format!("CREATE ROLE zz_{name}; SET ROLE zz_{name}; SET search_path = pg_catalog"))
        .await
        .unwrap();
    (client, name)
}

fn see(catalog: &Catalog, remote: (&str, &str), logical: (&str, &str)) -> Arc<RelationDecision> {
    let remote = QualifiedName::new(remote.0, remote.1);
    let relation = &catalog.relations[&remote];
    let shown = relation.columns.iter().filter(|c| c.name != "zz_secret");
    let columns =
        shown.map(|c| ColumnDecision { name: c.name.clone(), type_oid: c.type_oid, typmod: c.typmod, mask: None });
    Arc::new(RelationDecision {
        source: logical.1.into(),
        logical: QualifiedName::new(logical.0, logical.1),
        oid: relation.oid,
        query: None,
        comments: Default::default(),
        tags: Default::default(),
        columns: columns.collect(),
        remote,
        rows: vec![],
        companions: Vec::new(),
        unmet_purposes: vec![],
        write: false,
        valid_until: None,
        trace: vec![],
    })
}

fn visible(catalog: &Catalog) -> Vec<Arc<RelationDecision>> {
    let same = [
        ("public", "customer"),
        ("public", "orders"),
        ("sales", "big"),
        ("public", "part"),
        ("public", "part_1"),
        ("public", "child"),
    ];
    let mut all: Vec<_> = same.iter().map(|n| see(catalog, *n, *n)).collect();
    all.push(see(catalog, ("raw", "zz_remote"), ("lake", "prices")));
    all
}

/// The policy view of a system relation, as the rewriter makes it.
fn view_sql(relation: &QualifiedName, v: &Visibility<'_>) -> Option<String> {
    let Access::Visible(decision) = system_access(relation, v) else { return None };
    let columns: Vec<String> = decision
        .columns
        .iter()
        .map(|c| {
            let own = format!("_sv.{}", quote_ident(&c.name));
            let value = c.mask.as_ref().map_or(own, |m| m.sql.to_string());
            format!("{value} AS {}", quote_ident(&c.name))
        })
        .collect();
    let rows: Vec<String> = decision.rows.iter().map(|r| format!("({})", r.sql)).collect();
    let filter = if rows.is_empty() { "true".to_owned() } else { rows.join(" AND ") };
    Some(format!("(SELECT {} FROM {} AS _sv WHERE {filter})", columns.join(", "), decision.relation_sql()))
}

async fn text_of(client: &Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    let mut out = String::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
            writeln!(out, "{}", values.join("|")).unwrap();
        }
    }
    Ok(out)
}

#[tokio::test]
async fn the_snapshot_holds_the_warehouse() {
    let (client, name) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    assert_eq!(catalog.database, name);
    assert!(catalog.server_version >= 130_000);
    let get = |schema: &str, name: &str| &catalog.relations[&QualifiedName::new(schema, name)];
    let orders = get("public", "orders");
    assert_eq!(orders.primary_key, ["id"]);
    assert_eq!(orders.columns[3].typmod, 14);
    assert!(orders.columns[0].not_null);
    let fk = orders.constraints.iter().find(|c| c.kind == 'f').unwrap();
    assert_eq!((fk.references, &fk.referenced_columns[..]), (get("public", "customer").oid, &["id".to_owned()][..]));
    let check = get("public", "customer").constraints.iter().find(|c| c.kind == 'c').unwrap();
    assert_eq!(check.columns, None);
    let expression = get("public", "customer").indexes.iter().find(|i| i.name == "customer_name").unwrap();
    assert_eq!(expression.columns, None);
    assert_eq!(get("public", "part").kind, RelationKind::Partitioned);
    assert_eq!(get("sales", "big").kind, RelationKind::View);
    assert_eq!(get("pg_catalog", "pg_class").oid, Oid(1259));
    assert!(catalog.relations.keys().all(|n| n.schema != "pg_toast"));
    let mood = catalog.type_names[&QualifiedName::new("public", "mood")];
    assert_eq!(catalog.types[&mood].sql, "public.mood");
    assert!(catalog.functions["int4eq"][0].leakproof);
    assert_eq!(
        catalog.operators["="].iter().find(|o| o.left.0 == 23 && o.right.0 == 23).map(|o| o.leakproof),
        Some(true)
    );
    assert_eq!(catalog.casts[&(Oid(23), Oid(20))].method, 'f');

    let again = Catalog::load(&client).await.unwrap();
    assert!(catalog.same_contents(&again));
    client.batch_execute("RESET ROLE; ALTER TABLE public.orders ADD COLUMN more int").await.unwrap();
    assert!(!catalog.same_contents(&Catalog::load(&client).await.unwrap()));
}

/// Everything that a snapshot may depend on.
const CHANGES: &[&str] = &[
    "CREATE TABLE d_a (id int, b text)",
    "ALTER TABLE d_a ADD COLUMN c int",
    "ALTER TABLE d_a ALTER COLUMN c TYPE bigint",
    "ALTER TABLE d_a ALTER COLUMN c SET DEFAULT 5",
    "ALTER TABLE d_a ALTER COLUMN c SET NOT NULL",
    "ALTER TABLE d_a RENAME COLUMN c TO e",
    "ALTER TABLE d_a DROP COLUMN e",
    "ALTER TABLE d_a ADD PRIMARY KEY (id)",
    "ALTER TABLE d_a ADD CONSTRAINT d_c CHECK (id > 0)",
    "ALTER TABLE d_a DROP CONSTRAINT d_c",
    "CREATE INDEX d_i ON d_a (b)",
    "DROP INDEX d_i",
    "CREATE TABLE d_b (x int REFERENCES d_a)",
    "DROP TABLE d_b",
    "ALTER TABLE d_a ENABLE ROW LEVEL SECURITY",
    "CREATE RULE d_r AS ON INSERT TO d_a DO ALSO NOTHING",
    "DROP RULE d_r ON d_a",
    "CREATE FUNCTION d_f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER d_t BEFORE INSERT ON d_a FOR EACH ROW EXECUTE FUNCTION d_f()",
    "DROP TRIGGER d_t ON d_a",
    "CREATE VIEW d_v AS SELECT id FROM d_a",
    "CREATE OR REPLACE VIEW d_v AS SELECT id + 1 AS id FROM d_a",
    "DROP VIEW d_v",
    "CREATE TYPE d_e AS ENUM ('a')",
    "CREATE DOMAIN d_d AS int CHECK (VALUE > 0)",
    "ALTER DOMAIN d_d SET NOT NULL",
    "CREATE SEQUENCE d_s OWNED BY d_a.id",
    "CREATE SCHEMA d_sch",
    "ALTER TABLE d_a SET SCHEMA d_sch",
    "ALTER SCHEMA d_sch RENAME TO d_sche",
    "CREATE TABLE d_p (id int) PARTITION BY RANGE (id)",
    "CREATE TABLE d_p1 PARTITION OF d_p FOR VALUES FROM (0) TO (10)",
    "ALTER TABLE d_p DETACH PARTITION d_p1",
    "CREATE TABLE d_child () INHERITS (d_p1)",
    "ALTER TABLE d_child NO INHERIT d_p1",
    "CREATE CAST (text AS d_e) WITH INOUT AS ASSIGNMENT",
    "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
    "GRANT TEMPORARY ON DATABASE {} TO PUBLIC",
    "DROP FUNCTION d_f()",
    "DROP TABLE d_p, d_p1, d_child",
    "DROP SCHEMA d_sche CASCADE",
];

#[tokio::test]
async fn a_catalog_is_read_again_when_it_has_changed() {
    let (client, name) = database().await;
    client.batch_execute("RESET ROLE; SET search_path = public").await.unwrap();
    let none = std::collections::BTreeSet::new();
    let (mut catalog, mut digest) = Catalog::load_changed(&client, &none, None).await.unwrap().unwrap();
    let mut seen = 0;
    for change in CHANGES {
        // Some do not go together with what stands there: then nothing has changed.
        let changed = client.batch_execute(&change.replace("{}", &name)).await.is_ok();
        let now = Catalog::load(&client).await.unwrap();
        let read = Catalog::load_changed(&client, &none, Some(&digest)).await.unwrap();
        if !now.same_contents(&catalog) {
            assert!(read.is_some(), "{change} is noticed");
            seen += 1;
        }
        assert!(changed || read.is_none(), "{change}");
        if let Some((read, of)) = read {
            assert!(read.same_contents(&now), "{change}");
            (catalog, digest) = (read, of);
        }
    }
    assert!(seen > 25, "{seen} changes were seen");
    // Neither what sessions keep for themselves nor rows are a change.
    let other = warehouse::admin(server(), &name).await.unwrap();
    let same = [
        "CREATE TEMPORARY TABLE mine (id int PRIMARY KEY, t text, c int CHECK (c > 0), s serial); CREATE INDEX ON mine (c)",
        "CREATE TABLE IF NOT EXISTS public.orders (id int)",
        "INSERT INTO mine VALUES (1, 'a', 1); ANALYZE mine",
        "UPDATE public.orders SET id = id; DELETE FROM public.orders WHERE false",
        "ANALYZE; VACUUM public.orders",
    ];
    for change in same {
        for part in change.split("; ") {
            other.batch_execute(part).await.unwrap();
        }
        let read = Catalog::load_changed(&client, &none, Some(&digest)).await.unwrap();
        assert!(read.is_none(), "{change}");
    }
    assert!(catalog.same_contents(&Catalog::load(&client).await.unwrap()));
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let root = warehouse::admin(server(), "postgres").await.unwrap();
    root.batch_execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await
        .unwrap();
    let client = warehouse::admin(server(), "latin").await.unwrap();
    let error = Catalog::load(&client).await.unwrap_err();
    assert_eq!(error.to_string(), "database \"latin\" is encoded in LATIN1; only UTF8 databases are supported");
}

#[tokio::test]
async fn twenty_thousand_relations_load_fast() {
    if std::env::var_os("SQLVEIL_TEST_LONG").is_none() {
        return;
    }
    let (client, _) = database().await;
    client.batch_execute("RESET ROLE; CREATE SCHEMA many").await.unwrap();
    for _ in 0..20 {
        let make = "DO $$ DECLARE n int := (SELECT count(*) FROM pg_class WHERE relnamespace = 'many'::regnamespace); BEGIN \
            FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE many.t%s (a int, b text, c date, d numeric, e int, f int, g int)', n + i); \
            END LOOP; END $$";
        client.batch_execute(make).await.unwrap();
    }
    let start = std::time::Instant::now();
    let catalog = Catalog::load(&client).await.unwrap();
    assert!(catalog.relations.len() > 20_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

/// The list a reviewer reads, one for each major version. To renew it after a change of the rule, on a server of that version:
/// `SQLVEIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin SQLVEIL_RENEW=1 cargo test --test catalog manifest`.
#[tokio::test]
async fn the_manifest_of_functions_is_what_the_rule_says() {
    let (client, _) = database().await;
    let mut catalog = Catalog::load(&client).await.unwrap();
    let major = catalog.server_version / 10_000;
    let renew = std::env::var_os("SQLVEIL_RENEW").is_some();
    if renew {
        catalog.unclassified.clear();
    }
    assert!(catalog.unclassified.is_empty(), "{:#?}", catalog.unclassified);
    let mut names: Vec<&String> = catalog.functions.keys().collect();
    names.sort();
    let mut lines: Vec<String> = names
        .into_iter()
        .flat_map(|name| {
            let class = match catalog.function_class(name) {
                FunctionClass::Allowed => "allowed".to_owned(),
                FunctionClass::Guarded => "guarded".to_owned(),
                FunctionClass::Denied => "denied".to_owned(),
                FunctionClass::Identity(i) => format!("identity {i:?}"),
            };
            let overloads = catalog.functions[name].iter().filter(|f| f.oid.0 < 16384);
            overloads.map(|f| format!("{}  {class}\n", catalog.signature(name, f))).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    let path = format!("{}/src/catalog/manifest/pg{major}.txt", env!("CARGO_MANIFEST_DIR"));
    if renew {
        std::fs::write(&path, lines.concat()).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap();
    let (now, then): (Vec<_>, Vec<_>) =
        (lines.concat().lines().map(str::to_owned).collect(), checked_in.lines().map(str::to_owned).collect());
    let added: Vec<_> = now.iter().filter(|l| !then.contains(l)).collect();
    let gone: Vec<_> = then.iter().filter(|l| !now.contains(l)).collect();
    assert!(added.is_empty() && gone.is_empty(), "now: {added:#?}\nchecked in: {gone:#?}");
}

#[tokio::test]
async fn what_must_not_be_called_is_not_allowed() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    for name in "query_to_xml table_to_xml cursor_to_xml database_to_xml ts_stat pg_read_file pg_read_binary_file pg_ls_dir \
        pg_stat_file lo_get lo_import lo_export loread pg_sleep pg_sleep_for set_config nextval currval lastval setval pg_advisory_lock \
        pg_try_advisory_lock pg_notify txid_current pg_current_xact_id pg_current_snapshot pg_stat_get_activity pg_stat_get_live_tuples \
        pg_logical_emit_message pg_create_logical_replication_slot pg_terminate_backend pg_cancel_backend \
        pg_export_snapshot currtid2 current_query textin byteain textsend int4send textrecv eqsel scalarltsel btint4cmp hashint4 regclass \
        pg_show_all_settings pg_lock_status pg_prepared_statement pg_cursor pg_promote pg_reload_conf pg_rotate_logfile aclexplode \
        makeaclitem pg_identify_object pg_get_object_address oidvectortypes \
        satisfies_hash_partition pg_get_publication_tables pg_sequence_last_value pg_sequence_parameters pg_hba_file_rules dblink setseed \
        has_nothing pg_event_trigger_dropped_objects to_regprocedure to_regoperator pg_collation_actual_version pg_stat_reset"
        .split_whitespace()
    {
        assert_eq!(catalog.function_class(name), FunctionClass::Denied, "{name}");
    }
    for name in "now random to_char date_trunc extract date_part string_agg array_agg json_agg count sum min rank lag coalesce_not_a_function \
        concat format lower substring regexp_replace to_tsvector generate_series unnest version pg_typeof gen_random_uuid quote_ident \
        jsonb_build_object percentile_cont xmlagg pg_encoding_to_char array_to_string width_bucket age make_date"
        .split_whitespace()
        // Before PostgreSQL 14 EXTRACT is `date_part`.
        .filter(|n| *n != "coalesce_not_a_function" && (*n != "extract" || catalog.server_version >= 140_000))
    {
        assert_eq!(catalog.function_class(name), FunctionClass::Allowed, "{name}");
    }
}

/// Every system relation can be read through its view by an ordinary login, with the columns and types of the original, and says nothing of
/// what is hidden.
#[tokio::test]
async fn the_virtual_catalog_says_nothing_hidden() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    let (path, seen) = (["public".to_owned()], visible(&catalog));
    let v = Visibility::new(&catalog, "ana", "demo", &path, &seen);
    let mut empty = Vec::new();
    for name in catalog.relations.keys().filter(|n| matches!(n.schema.as_str(), "pg_catalog" | "information_schema")) {
        let view = view_sql(name, &v).expect("a decision");
        let sql = format!("SELECT * FROM {view} AS x");
        let (original, shown) =
            (client.prepare(&format!("TABLE {}", name.to_sql())).await.unwrap(), client.prepare(&sql).await);
        let shown = shown.unwrap_or_else(|e| panic!("{name}: {e:?}\n{sql}"));
        let describe = |s: &tokio_postgres::Statement| -> Vec<_> {
            s.columns().iter().map(|c| (c.name().to_owned(), c.type_().oid())).collect()
        };
        assert_eq!(describe(&original), describe(&shown), "{name}");
        match text_of(&client, &sql).await {
            Ok(text) => {
                let leak = text.lines().find(|l| l.contains("zz_"));
                assert_eq!(leak, None, "{name}");
                if text.is_empty() {
                    empty.push(name.to_string());
                }
            }
            // Not readable by an ordinary login at all: pg_authid and kin.
            Err(e) => assert_eq!(e.code().map(|c| c.code()), Some("42501"), "{name}: {e:?}"),
        }
    }
    for name in [
        "pg_class",
        "pg_attribute",
        "pg_type",
        "pg_namespace",
        "pg_constraint",
        "pg_index",
        "pg_settings",
        "pg_roles",
        "pg_database",
    ] {
        assert!(!empty.contains(&format!("pg_catalog.{name}")), "{name} is empty");
    }
    for name in [
        "pg_stats",
        "pg_statistic_ext",
        "pg_stat_activity",
        "pg_locks",
        "pg_stat_user_tables",
        "pg_policies",
        "pg_shadow",
    ] {
        let text = text_of(
            &client,
            &format!("TABLE {} AS x", view_sql(&QualifiedName::new("pg_catalog", name), &v).unwrap())
                .replace("TABLE", "SELECT * FROM"),
        )
        .await;
        assert!(text.map_or(true, |t| t.is_empty()), "{name} shows rows");
    }
}

#[tokio::test]
async fn the_virtual_catalog_shows_what_is_visible() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    let (path, seen) = (["public".to_owned()], visible(&catalog));
    let v = Visibility::new(&catalog, "ana", "demo", &path, &seen);
    let ask = async |relation: &str, columns: &str, rest: &str| {
        let (schema, name) = relation.split_once('.').unwrap();
        let view = view_sql(&QualifiedName::new(schema, name), &v).unwrap();
        text_of(&client, &format!("SELECT {columns} FROM {view} AS x {rest}")).await.unwrap()
    };
    let user = "WHERE oid >= 16384";
    let classes = ask(
        "pg_catalog.pg_class",
        "relname, relkind, reltuples, relpages, relowner",
        &format!("{user} AND relkind NOT IN ('i', 'I') ORDER BY 1"),
    )
    .await;
    // Of a partitioned table ANALYZE says that it has no pages from PostgreSQL 14 on.
    let pages = if catalog.server_version < 140_000 { 0 } else { -1 };
    assert_eq!(
        classes,
        format!(
            "big|v|-1|0|10\nchild|r|0|0|10\ncustomer|r|1|1|10\norders|r|-1|0|10\npart|p|0|{pages}|10\npart_1|r|0|0|10\nprices|r|0|0|10\n"
        )
    );
    let indexes = ask("pg_catalog.pg_class", "relname", &format!("{user} AND relkind = 'i' ORDER BY 1")).await;
    assert_eq!(indexes, "customer_name\ncustomer_pkey\norders_pkey\nprices_pkey\n");
    assert_eq!(
        ask("pg_catalog.pg_namespace", "nspname", "ORDER BY 1").await,
        "information_schema\nlake\npg_catalog\npublic\nsales\n"
    );
    assert_eq!(
        ask("pg_catalog.pg_roles", "rolname, rolsuper, rolcanlogin", "ORDER BY 1").await,
        "ana|f|t\nwarehouse|f|f\n"
    );
    assert_eq!(ask("pg_catalog.pg_user", "usename, usesuper", "").await, "ana|f\n");
    assert_eq!(ask("pg_catalog.pg_database", "datname, datacl", "").await, "demo|NULL\n");
    assert_eq!(ask("pg_catalog.pg_settings", "setting", "WHERE name = 'search_path'").await, "public\n");
    // From PostgreSQL 18 on NOT NULL is a constraint too; where a relation has another name, that of the constraint would tell.
    let named = ask("pg_catalog.pg_constraint", "conname", &format!("{user} AND contype = 'n' ORDER BY 1")).await;
    let listed = if catalog.server_version < 180_000 {
        ""
    } else {
        "customer_id_not_null\ncustomer_name_not_null\norders_id_not_null\n"
    };
    assert_eq!(named, listed);
    assert_eq!(
        ask("pg_catalog.pg_constraint", "conname", &format!("{user} AND contype <> 'n' ORDER BY 1")).await,
        "customer_id_check\ncustomer_pkey\norders_customer_id_fkey\norders_pkey\nprices_pkey\n"
    );
    assert_eq!(ask("pg_catalog.pg_attrdef", "count(*)", user).await, "1\n");
    assert_eq!(ask("pg_catalog.pg_inherits", "count(*)", "").await, "1\n");
    assert_eq!(
        ask(
            "information_schema.columns",
            "table_catalog, table_schema, table_name, column_name",
            "WHERE table_name IN ('orders', 'prices') ORDER BY 3, 4"
        )
        .await,
        "demo|public|orders|customer_id\ndemo|public|orders|id\ndemo|public|orders|note\ndemo|lake|prices|id\ndemo|lake|prices|v\n"
    );
    assert_eq!(
        ask("information_schema.tables", "table_name, table_type", "WHERE table_schema !~ '^(pg_|inf)' ORDER BY 1")
            .await,
        "big|VIEW\nchild|BASE TABLE\ncustomer|BASE TABLE\norders|BASE TABLE\npart|BASE TABLE\npart_1|BASE TABLE\nprices|BASE TABLE\n"
    );
    assert_eq!(
        ask("pg_catalog.pg_tables", "schemaname, tablename, tableowner", "WHERE tablename = 'prices'").await,
        "lake|prices|warehouse\n"
    );
}

/// psql's own queries (`psql -E`), with every relation, guarded function and reg cast replaced, run under the pinned search path and
/// say nothing hidden.
#[tokio::test]
async fn the_queries_of_psql_run_over_the_virtual_catalog() {
    let (client, name) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    let (path, seen) = (["public".to_owned()], visible(&catalog));
    let v = Visibility::new(&catalog, "ana", "demo", &path, &seen);
    let commands = "\\d|\\d customer|\\d+ orders|\\d part|\\d part_1|\\d+ part|\\d+ sales.big|\\dt|\\dt+|\\dt *.*|\\di|\\di+|\\dv|\\dm|\\ds|\\l|\\l+|\\dn|\\dn+|\\du|\\du+|\\df|\\df now|\\dfS+ int4*|\\dT|\\dT+|\\dp|\\dD|\\dx|\\dC|\\do|\\dO|\\db|\\drds|\\ddp|\\dE|\\dF|\\dy|\\dP|\\dX|\\des|\\dA|\\dconfig";
    let mut failures = Vec::new();
    let mut count = 0;
    for command in commands.split('|') {
        let output = support_psql(&name, command);
        for query in queries(&output) {
            count += 1;
            let sql = rewrite(&query, &v);
            match text_of(&client, &sql).await {
                Ok(text) => {
                    if let Some(leak) = text.lines().find(|l| l.contains("zz_")) {
                        failures.push(format!("{command}: shows {leak}\n{query}"));
                    }
                }
                // A psql that is older than the server asks for what is not there any more.
                Err(_) if text_of(&client, &query).await.is_err() => {}
                Err(e) => failures.push(format!("{command}: {e:?}\n{query}")),
            }
        }
    }
    assert!(count > 60, "psql echoed {count} queries");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn support_psql(database: &str, command: &str) -> String {
    let config = server().admin_config(database);
    let host = match &config.get_hosts()[0] {
        tokio_postgres::config::Host::Tcp(h) => h.clone(),
        tokio_postgres::config::Host::Unix(p) => p.display().to_string(),
    };
    let output = std::process::Command::new("psql")
        .args([
            "-X",
            "-E",
            "-h",
            &host,
            "-p",
            &config.get_ports()[0].to_string(),
            "-U",
            config.get_user().unwrap(),
            "-d",
            database,
            "-c",
            command,
        ])
        .env("PGPASSWORD", config.get_password().map(|p| String::from_utf8_lossy(p).into_owned()).unwrap_or_default())
        .output()
        .expect("psql runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn queries(output: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = output;
    while let Some((_, after)) = rest.split_once("********* QUERY **********\n") {
        let (query, after) = after.split_once("**************************\n").expect("the end of a query");
        all.push(query.to_owned());
        rest = after;
    }
    all
}

/// What core does on the tree, done here on psql's regular text.
fn rewrite(query: &str, v: &Visibility<'_>) -> String {
    let casts = regex::Regex::new(r"([\w.]+)::pg_catalog\.(reg\w+)").unwrap();
    let mut sql = casts
        .replace_all(query, |c: &regex::Captures<'_>| {
            cast_guard(&c[2], Source::Any, v).expect("a guard").replace("$1", &c[1])
        })
        .into_owned();
    let relation =
        regex::Regex::new(r"(?i)(FROM|JOIN|,)(\s+)(pg_catalog|information_schema)\.(\w+)(\s+(\w+))?").unwrap();
    let words = ["where", "on", "order", "left", "join", "union", "as", "cross", "inner", "group", "using"];
    sql = relation
        .replace_all(&sql, |c: &regex::Captures<'_>| {
            let name = QualifiedName::new(&c[3], &c[4]);
            let Some(view) = view_sql(&name, v) else { return c[0].to_owned() };
            let next = c.get(6).map_or("", |m| m.as_str());
            let alias = if next.eq_ignore_ascii_case("as") {
                next.to_owned()
            } else if next.is_empty() || words.contains(&next.to_lowercase().as_str()) {
                format!("{} {next}", &c[4])
            } else {
                next.to_owned()
            };
            format!("{}{}{view} {alias}", &c[1], &c[2])
        })
        .into_owned();
    let call = regex::Regex::new(r"(?:pg_catalog\.)?\b(\w+)\(").unwrap();
    let mut from = 0;
    while let Some(c) = call.captures_at(&sql, from) {
        let (whole, name) = (c.get(0).unwrap(), c[1].to_owned());
        let (start, open) = (whole.start(), whole.end());
        if v.catalog.function_class(&name) != FunctionClass::Guarded || sql[start..].starts_with("pg_catalog.jsonb") {
            from = open;
            continue;
        }
        let (args, end) = arguments(&sql, open);
        let mut text = guard(&name, args.len(), Mention::Freely, v)
            .unwrap_or_else(|| panic!("no guard for {name}/{}", args.len()));
        for (i, arg) in args.iter().enumerate() {
            text = text.replace(&format!("${}", i + 1), arg);
        }
        sql.replace_range(start..end, &text);
        from = start + text.len();
    }
    sql
}

fn arguments(sql: &str, open: usize) -> (Vec<String>, usize) {
    let (mut depth, mut quoted, mut start) = (0, false, open);
    let mut args = Vec::new();
    for (i, c) in sql[open..].char_indices() {
        let at = open + i;
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => {
                args.push(sql[start..at].trim().to_owned());
                return (args, at + 1);
            }
            ')' => depth -= 1,
            ',' if depth == 0 => {
                args.push(sql[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    panic!("unbalanced: {sql}")
}

/// What psql asks when Tab is pressed (tab-complete.c of 15: relations, schemas, columns, databases, settings).
#[tokio::test]
async fn tab_completion_offers_what_is_visible() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    let (path, seen) = (["public".to_owned()], visible(&catalog));
    let v = Visibility::new(&catalog, "ana", "demo", &path, &seen);
    for (query, wanted) in [
        (
            "SELECT pg_catalog.quote_ident(c.relname), NULL::pg_catalog.text FROM pg_catalog.pg_class c \
             WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE '%' AND pg_catalog.pg_table_is_visible(c.oid) \
             AND c.relnamespace OPERATOR(pg_catalog.<>) (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') \
             UNION ALL SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n \
             WHERE n.nspname LIKE '%' AND n.nspname NOT LIKE E'pg\\\\_%' ORDER BY 1, 2 LIMIT 1000",
            "child|NULL\ncustomer|NULL\norders|NULL\npart|NULL\npart_1|NULL\n\
             NULL|information_schema\nNULL|lake\nNULL|public\nNULL|sales\n",
        ),
        (
            "SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0 \
             AND NOT a.attisdropped AND a.attname LIKE '%' AND c.relname = 'orders' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1",
            "customer_id\nid\nnote\n",
        ),
        ("SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname LIKE '%'", "demo\n"),
        ("SELECT pg_catalog.lower(s.name) FROM pg_catalog.pg_settings s WHERE s.name LIKE 'search%'", "search_path\n"),
        ("SELECT r.rolname FROM pg_catalog.pg_roles r ORDER BY 1", "ana\nwarehouse\n"),
    ] {
        let sql = rewrite(query, &v);
        let shown = text_of(&client, &sql).await.unwrap_or_else(|e| panic!("{e:?}\n{query}"));
        assert_eq!(shown, wanted, "{query}");
    }
}

#[tokio::test]
async fn guards_answer_for_the_visible_and_hide_the_rest() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    let (path, seen) = (["public".to_owned()], visible(&catalog));
    let v = Visibility::new(&catalog, "ana", "demo", &path, &seen);
    let oid = |schema: &str, name: &str| catalog.relations[&QualifiedName::new(schema, name)].oid.to_string();
    let (customer, hidden, big) = (oid("public", "customer"), oid("public", "zz_hidden"), oid("sales", "big"));
    let index = |table: &str, name: &str| {
        let relation = &catalog.relations[&QualifiedName::new("public", table)];
        relation.indexes.iter().find(|i| i.name == name).unwrap().oid.to_string()
    };
    let row_type = |name: &str| catalog.relations[&QualifiedName::new("public", name)].row_type.to_string();
    let ask = async |name: &str, args: &[&str], mention| {
        let mut sql = guard(name, args.len(), mention, &v).unwrap();
        for (i, arg) in args.iter().enumerate() {
            sql = sql.replace(&format!("${}", i + 1), arg);
        }
        text_of(&client, &format!("SELECT {sql}"))
            .await
            .unwrap_or_else(|e| panic!("{name}: {e:?}\n{sql}"))
            .trim()
            .to_owned()
    };
    for (name, args, wanted) in [
        ("pg_table_is_visible", vec![customer.as_str()], "t"),
        ("pg_table_is_visible", vec![&big], "f"),
        ("pg_table_is_visible", vec![&hidden], "NULL"),
        ("pg_table_is_visible", vec!["1259"], "t"),
        ("pg_table_is_visible", vec!["99999999"], "NULL"),
        ("pg_type_is_visible", vec!["23"], "t"),
        ("pg_type_is_visible", vec![&row_type("customer")], "t"),
        ("pg_type_is_visible", vec![&row_type("zz_hidden")], "NULL"),
        ("pg_function_is_visible", vec!["'pg_catalog.now'::regproc::oid"], "t"),
        ("pg_function_is_visible", vec!["'public.zz_function'::regproc::oid"], "NULL"),
        (
            "pg_get_indexdef",
            vec![&index("customer", "customer_pkey")],
            "CREATE UNIQUE INDEX customer_pkey ON public.customer USING btree (id)",
        ),
        ("pg_get_indexdef", vec![&index("orders", "zz_orders_index")], "NULL"),
        ("pg_get_indexdef", vec![&index("zz_hidden", "zz_hidden_pkey"), "0", "true"], "NULL"),
        ("pg_get_viewdef", vec![&big], "NULL"),
        ("pg_get_viewdef", vec!["'sales.big'", "true"], "NULL"),
        ("pg_get_userbyid", vec!["10"], "warehouse"),
        ("pg_get_userbyid", vec!["3373"], "ana"),
        ("pg_get_userbyid", vec!["4200"], "NULL"),
        ("format_type", vec!["1043", "14"], "character varying(10)"),
        ("format_type", vec![&row_type("zz_hidden"), "NULL"], "NULL"),
        ("obj_description", vec![&customer, "'pg_class'"], "customers"),
        ("obj_description", vec![&customer, "'pg_type'"], "NULL"),
        ("col_description", vec![&customer, "2"], "a name"),
        ("col_description", vec![&oid("public", "orders"), "3"], "NULL"),
        ("inet_client_addr", vec![], "NULL"),
        ("inet_server_port", vec![], "NULL"),
        ("pg_relation_size", vec!["'public.customer'"], "8192"),
        ("pg_relation_size", vec![&customer, "'vm'"], "0"),
        ("pg_total_relation_size", vec!["'public.orders'"], "NULL"),
        ("pg_total_relation_size", vec![&hidden], "NULL"),
        ("has_table_privilege", vec!["'customer'", "'SELECT'"], "t"),
        ("has_table_privilege", vec!["'public.customer'", "'INSERT'"], "f"),
        ("has_table_privilege", vec![&customer, "'INSERT, SELECT'"], "t"),
        ("has_table_privilege", vec!["'ana'", "'customer'", "'select'"], "t"),
        ("has_table_privilege", vec!["'postgres'", "'customer'", "'SELECT'"], "f"),
        ("has_table_privilege", vec!["'public.zz_hidden'", "'SELECT'"], "f"),
        ("has_table_privilege", vec!["'lake.prices'", "'SELECT'"], "t"),
        ("has_table_privilege", vec!["'big'", "'SELECT'"], "f"),
        ("has_column_privilege", vec!["'orders'", "'note'", "'SELECT'"], "t"),
        ("has_column_privilege", vec!["'orders'", "'zz_secret'", "'SELECT'"], "f"),
        ("has_column_privilege", vec!["'orders'", "3::int2", "'SELECT'"], "f"),
        ("has_column_privilege", vec!["'orders'", "4::int2", "'SELECT'"], "t"),
        ("has_schema_privilege", vec!["'public'", "'USAGE'"], "t"),
        ("has_schema_privilege", vec!["'lake'", "'USAGE'"], "t"),
        ("has_schema_privilege", vec!["'zz_schema'", "'USAGE'"], "f"),
        ("has_schema_privilege", vec!["'public'", "'CREATE'"], "f"),
        ("has_database_privilege", vec!["'demo'", "'CONNECT'"], "t"),
        ("has_database_privilege", vec!["'postgres'", "'CONNECT'"], "f"),
        ("pg_has_role", vec!["'ana'", "'USAGE'"], "t"),
        ("pg_has_role", vec!["'postgres'", "'USAGE'"], "f"),
        ("pg_partition_ancestors", vec![oid("public", "part_1").as_str()], "public.part_1\npublic.part"),
        ("pg_partition_ancestors", vec![oid("public", "child").as_str()], ""),
        ("to_regclass", vec!["'Customer'"], "public.customer"),
        ("to_regclass", vec!["'sales.\"big\"'"], "sales.big"),
        ("to_regclass", vec!["'zz_hidden'"], "NULL"),
        ("to_regclass", vec!["'pg_class'"], "pg_class"),
        ("to_regtype", vec!["'INTEGER'"], "integer"),
        ("to_regtype", vec!["'zz_mood'"], "NULL"),
        ("to_regtype", vec!["'orders.zz_secret%type'"], "NULL"),
        ("to_regnamespace", vec!["'public'"], "public"),
        ("to_regnamespace", vec!["'zz_schema'"], "NULL"),
        ("pg_get_function_arguments", vec!["'public.zz_function'::regproc::oid"], "NULL"),
        ("pg_get_function_result", vec!["'pg_catalog.now'::regproc::oid"], "timestamp with time zone"),
    ] {
        for mention in [Mention::Once, Mention::Freely] {
            assert_eq!(ask(name, &args, mention).await, wanted, "{name}{args:?} {mention:?}");
        }
    }
    for (kind, arg, wanted) in [
        ("regclass", customer.as_str(), "customer"),
        ("regclass", hidden.as_str(), "NULL"),
        ("regclass", "'cust' || 'omer'", "customer"),
        ("regclass", "'zz_' || 'hidden'", "NULL"),
        ("regclass", "0::oid", "-"),
        ("regtype", "23::oid", "integer"),
        ("regtype", row_type("zz_hidden").as_str(), "NULL"),
        ("regproc", "'public.zz_function'::regproc::oid", "NULL"),
    ] {
        for source in [Source::Any, Source::Oid].into_iter().filter(|s| *s == Source::Any || !arg.contains("||")) {
            let sql = cast_guard(kind, source, &v).unwrap().replace("$1", arg);
            let shown = text_of(&client, &format!("SELECT {sql}")).await;
            let shown = shown.unwrap_or_else(|e| panic!("{kind} {arg}: {e:?}\n{sql}"));
            assert_eq!(shown.trim(), wanted, "{arg}::{kind}");
        }
    }
    for (kind, arg, wanted) in [
        ("regtype", format!("ARRAY[23, {}, 25]::oid[]", row_type("zz_hidden")), "{integer,NULL,text}"),
        ("regclass", format!("ARRAY['{hidden}', '{customer}', 'zz_hidden']"), "{NULL,customer,NULL}"),
        ("regtype", "'{}'::oid[]".to_owned(), "{}"),
        ("regtype", "NULL::oid[]".to_owned(), "NULL"),
    ] {
        let sql = array_guard(kind, List::Array, &v).unwrap().replace("$1", &arg);
        let shown = text_of(&client, &format!("SELECT ({sql})::text")).await.unwrap();
        assert_eq!(shown.trim(), wanted, "{arg}::{kind}[]");
    }
}
