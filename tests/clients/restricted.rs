//! What somebody sees of the catalog from whom much is hidden: exactly the permitted set, which is written down here, whatever asks.

use crate::stage::{Both, with};
use crate::support::ANYONE;
use crate::{jdbc, python};
use std::collections::BTreeSet;

/// Relations and their columns, under the names that he knows. Of `customer` the token and the document are not in the dictionary.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("geo", "area", "id name"),
    ("more", "Odd Name", "a b,select"),
    ("public", "customer", "id name region_id balance born tags feels home floor seen span photo"),
    ("public", "rich", "id name balance"),
    ("public", "sale", "id sold customer_id amount"),
    ("reports", "report", "region customers"),
];

/// Words that name or tell of nothing that he sees.
const HIDDEN: &[&str] = &["token", "hidden", "totals", "sale_202", "long", "_rich", "secret", "VALUES FROM"];

fn columns() -> BTreeSet<String> {
    let split = |all: &'static str| all.split(if all.contains(',') { ',' } else { ' ' });
    COLUMNS.iter().flat_map(|(schema, table, all)| split(all).map(move |c| format!("{schema}.{table}.{c}"))).collect()
}

fn relations() -> BTreeSet<String> {
    COLUMNS.iter().map(|(schema, table, _)| format!("{schema}.{table}")).collect()
}

async fn restricted() -> Both {
    let customer = "id name region_id balance born tags feels home floor seen span photo"
        .split(' ')
        .map(|name| format!("{{name: {name}}}"))
        .collect::<Vec<_>>();
    with(|stage, user| {
        stage
            .source("table: region\nschema: public\nnaming: {datasource: area, schema: geo, table: area}")
            .source(&format!(
                "table: customer\nschema: public\ncolumns: [{}]\ntags: {{columns: [{{columnName: balance, tags: [Money]}}]}}",
                customer.join(", ")
            ))
            .source("table: sale\nschema: public\ntags: {table: [Filtered]}")
            .source("table: rich\nschema: public")
            .source("table: totals\nschema: public\ntags: {table: [Closed]}")
            .source("table: hidden\nschema: public\ntags: {table: [Closed]}")
            .source("table: Odd Name\nschema: more")
            .source(
                "query: \"SELECT r.name AS region, count(*) AS customers FROM customer c JOIN region r ON r.id = c.region_id \
                 WHERE c.name <> 'secret' GROUP BY r.name\"\nnaming: {datasource: report, schema: reports, table: report}",
            )
            .tags(&["Money", "Filtered", "Closed"])
            .raw_group("{name: Staff}")
            .policy(ANYONE)
            .policy("policyKey: closed\nname: closed\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\ncircumstances: [{type: tags, tag: Closed}]\n")
            .policy("policyKey: money\nname: money\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Money}], maskingConfig: {type: 'Null'}}\n")
            .policy("policyKey: few\nname: few\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"customer_id = 1\"}\ncircumstances: [{type: tags, tag: Filtered}]\n")
            .raw_user(&format!("{{{user}}}"))
    })
    .await
}

impl Both {
    fn found(&self, sql: &str) -> BTreeSet<String> {
        let said = self.proxy.psql(&self.role(), &["-At", "-F", ".", "-c", sql]);
        assert!(said.ok, "{sql}: {}", said.err);
        tells_nothing(&said.out);
        said.out.lines().map(str::to_owned).collect()
    }
}

fn tells_nothing(said: &str) {
    for word in HIDDEN {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

const OURS: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'sqlveil')";

#[tokio::test(flavor = "multi_thread")]
async fn catalogs() {
    let both = restricted().await;
    let of =
        |select: &str, from: &str, more: &str| both.found(&format!("SELECT {select} FROM {from} WHERE {OURS} {more}"));
    let class = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    assert_eq!(of("n.nspname, c.relname", class, "AND c.relkind NOT IN ('i', 'I', 'c')"), relations());
    assert_eq!(
        of("n.nspname, c.relname", class, "AND c.relkind IN ('i', 'I')"),
        set(&[
            "geo.region_pkey",
            "geo.region_name_key",
            "public.customer_pkey",
            "public.customer_by_region",
            "public.sale_pkey"
        ])
    );
    let attributes = format!("{class} JOIN pg_attribute a ON a.attrelid = c.oid");
    assert_eq!(
        of("n.nspname, c.relname, a.attname", &attributes, "AND c.relkind IN ('r', 'v', 'p', 'm', 'f')"),
        columns()
    );
    let constraints = "pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace";
    assert_eq!(
        of("n.nspname, k.conname, k.contype", constraints, ""),
        set(&[
            "geo.region_pkey.p",
            "geo.region_name_key.u",
            "public.customer_pkey.p",
            "public.customer_region_id_fkey.f",
            "public.sale_pkey.p",
            "public.sale_customer_id_fkey.f",
            "public.positive_check.c",
        ])
    );
    let types = "pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace";
    assert_eq!(
        of("n.nspname, t.typname", types, "AND t.typtype <> 'c' AND t.typcategory <> 'A'"),
        set(&["public.mood", "public.positive"])
    );
    assert_eq!(
        of("t.typname", types, "AND t.typtype = 'c'"),
        set(&["Odd Name", "area", "customer", "place", "rich", "sale"])
    );
    assert_eq!(
        both.found("SELECT nspname FROM pg_namespace"),
        set(&["geo", "information_schema", "more", "pg_catalog", "public", "reports"])
    );
    assert_eq!(
        both.found("SELECT description FROM pg_description WHERE objoid >= 16384"),
        set(&["in euros", "who buys"])
    );
    assert_eq!(both.found("SELECT count(*) FROM pg_inherits"), set(&["0"]));
    assert_eq!(both.found("SELECT count(*) FROM pg_statistic_ext"), set(&["0"]));
    assert_eq!(both.found("SELECT rolname FROM pg_roles"), set(&[&both.role(), "warehouse"]));
    assert_eq!(both.found("SELECT datname FROM pg_database"), set(&[both.proxy.database()]));
    // Of what is hidden in part there is no count; of the rest there is.
    assert_eq!(
        of("c.relname", class, "AND (c.reltuples > 0 OR c.relpages > 0 OR pg_total_relation_size(c.oid) > 0)"),
        set(&["Odd Name", "area", "region_name_key", "region_pkey"])
    );
}

/// A partition whose parent and siblings are not there for him is a table like others.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_what_is_hidden() {
    let both = with(|stage, user| {
        stage.sources(&[("sale_2024", "{}"), ("sale_rest", "{}")]).policy(ANYONE).raw_user(&format!("{{{user}}}"))
    })
    .await;
    let one = |sql: &str| both.found(sql);
    assert_eq!(one("SELECT DISTINCT relispartition, relhassubclass FROM pg_class WHERE oid >= 16384"), set(&["f.f"]));
    assert_eq!(
        one("SELECT DISTINCT attinhcount, attislocal FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0"),
        set(&["0.t"])
    );
    assert_eq!(
        one("SELECT DISTINCT coninhcount, conislocal, conparentid FROM pg_constraint WHERE conrelid >= 16384"),
        set(&["0.t.0"])
    );
    assert_eq!(one("SELECT count(*) FROM pg_inherits"), set(&["0"]));
    let told =
        "SELECT pg_get_expr(relpartbound, oid), pg_get_partition_constraintdef(oid) FROM pg_class WHERE relname = ";
    assert_eq!(one(&format!("{told} 'sale_rest'")), set(&["DEFAULT."]));
}

#[tokio::test(flavor = "multi_thread")]
async fn information_schema() {
    let both = restricted().await;
    let only = "table_schema NOT IN ('pg_catalog', 'information_schema', 'sqlveil')";
    assert_eq!(
        both.found(&format!("SELECT table_schema, table_name FROM information_schema.tables WHERE {only}")),
        relations()
    );
    assert_eq!(
        both.found(&format!(
            "SELECT table_schema, table_name, column_name FROM information_schema.columns WHERE {only}"
        )),
        columns()
    );
    assert_eq!(
        both.found(&format!("SELECT table_schema, table_name FROM information_schema.table_privileges WHERE {only}")),
        relations()
    );
    assert_eq!(
        both.found("SELECT domain_name FROM information_schema.domains WHERE domain_schema = 'public'"),
        set(&["positive"])
    );
    assert_eq!(
        both.found("SELECT object_name FROM information_schema.element_types WHERE object_schema = 'public'"),
        set(&[])
    );
    assert_eq!(
        both.found(&format!(
            "SELECT column_default FROM information_schema.columns WHERE {only} AND column_default IS NOT NULL"
        )),
        set(&[])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others() {
    let both = restricted().await;
    // As for a relation that was never there.
    for (here, nowhere) in [
        ("SELECT * FROM hidden", "SELECT * FROM hoddin"),
        ("SELECT * FROM sale_2024", "SELECT * FROM sale_2o24"),
        ("SELECT 'hidden'::regclass", "SELECT 'hoddin'::regclass"),
        ("SELECT to_regclass('hidden')", "SELECT to_regclass('hoddin')"),
        ("SELECT token FROM customer", "SELECT tuken FROM customer"),
        ("SELECT region.id FROM geo.area", "SELECT ragion.id FROM geo.area"),
        ("SELECT has_table_privilege('hidden', 'SELECT')", "SELECT has_table_privilege('hoddin', 'SELECT')"),
        ("SELECT pg_relation_size('hidden')", "SELECT pg_relation_size('hoddin')"),
        ("SELECT col_description('hidden'::regclass, 1)", "SELECT col_description('hoddin'::regclass, 1)"),
    ] {
        let [here, nowhere] = [here, nowhere].map(|sql| both.proxy.psql(&both.role(), &["-At", "-c", sql]));
        let other = |text: &str| {
            text.replace("hidden", "hoddin")
                .replace("2024", "2o24")
                .replace("token", "tuken")
                .replace("region", "ragion")
        };
        assert_eq!((other(&here.out), other(&here.err)), (nowhere.out, nowhere.err));
        assert!(!here.err.contains("HINT"), "{}", here.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql() {
    let both = restricted().await;
    for command in [
        "\\d (geo|more|public|reports).*",
        "\\d+ public.*",
        "\\dt+ *.*",
        "\\di+ *.*",
        "\\dp *.*",
        "\\dT+",
        "\\dD+",
        "\\dP+ *.*",
        "\\dd",
        "\\dn+",
        "\\ds *.*",
        "\\l",
        "\\du",
    ] {
        let said = both.proxy.psql(&both.role(), &["-c", command]);
        assert!(said.ok, "{command}: {}", said.err);
        // The system's own catalogs have words of their own.
        let ours: Vec<&str> = said
            .out
            .split("\n\n")
            .filter(|part| !part.contains("pg_catalog.") && !part.contains("information_schema."))
            .collect();
        tells_nothing(&ours.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers() {
    let both = restricted().await;
    let port = both.proxy.port;
    let said = both.asked_at(port, python::python("sqlalchemy"), &[("CLIENT", "metadata")]);
    let found: BTreeSet<String> = said.iter().filter(|line| *line != "done").cloned().collect();
    assert_eq!(found, columns());
    let said = both.asked_at(port, jdbc::java, &[("ONLY", "columns")]);
    let found: BTreeSet<String> = said.iter().filter(|line| *line != "done").cloned().collect();
    assert_eq!(found, columns());
}

/// What of visible tables names or counts something else: functions of another schema, hidden partitions, renamed tables, hidden columns.
const TELLTALES: &str = "
    CREATE SCHEMA vault; CREATE FUNCTION vault.zz_secret(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0';
    CREATE TABLE vault.zz_table (id int); CREATE SEQUENCE vault.zz_sequence; CREATE TYPE vault.zz_mood AS ENUM ('zz_a');
    CREATE DOMAIN seen AS int DEFAULT 'vault.zz_table'::regclass::oid::int CHECK (vault.zz_secret(VALUE)) CHECK (VALUE < 1000);
    CREATE DOMAIN typed AS text CHECK (VALUE::vault.zz_mood::text <> 'zz_a') CHECK (VALUE <> 'x');
    CREATE TABLE odd (id int CHECK (vault.zz_secret(id)), plain int DEFAULT 5 CHECK (plain > 0),
        told int DEFAULT nextval('vault.zz_sequence'), named text DEFAULT 'zz_a'::vault.zz_mood::text, own serial, domained seen, typed typed,
        gone int, listed int DEFAULT cardinality('{zz_a}'::vault.zz_mood[])); ALTER TABLE odd DROP COLUMN gone;
    CREATE INDEX odd_secret ON odd ((vault.zz_secret(id))); CREATE INDEX odd_plain ON odd ((plain + 1));
    CREATE TABLE zz_remote (id int, CHECK (zz_remote.* IS NOT NULL)); CREATE INDEX remote_row ON zz_remote ((zz_remote IS NULL));
    CREATE TABLE parted (k int) PARTITION BY RANGE (k); CREATE TABLE part_a PARTITION OF parted FOR VALUES FROM (1) TO (2);
    CREATE TABLE zz_part PARTITION OF parted FOR VALUES FROM (2) TO (3);
    CREATE TABLE keyed (k int) PARTITION BY LIST ((vault.zz_secret(k))); COMMENT ON COLUMN keyed.k IS 'a key';
    CREATE OPERATOR vault.<#> (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
    CREATE TABLE operated (k int) PARTITION BY LIST ((k OPERATOR(vault.<#>) 1));
    CREATE TABLE \"odd ($1)\" (id int);
    CREATE TABLE half (a int DEFAULT 1, zz_hidden_with_a_long_name int, b int DEFAULT 2); CREATE INDEX zz_index ON half (zz_hidden_with_a_long_name);
    GRANT USAGE ON SCHEMA vault TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;";

#[tokio::test(flavor = "multi_thread")]
async fn definitions() {
    let stage = crate::support::Stage::new().await.sql(TELLTALES).await;
    let proxy = stage
        .sources(&[
            ("odd", "{}"),
            ("parted", "{}"),
            ("part_a", "{}"),
            ("keyed", "{}"),
            ("operated", "{}"),
            ("odd ($1)", "{}"),
        ])
        .source("table: zz_remote\nschema: public\nnaming: {datasource: shown, schema: public, table: shown}")
        .source("table: half\nschema: public\ncolumns: [{name: a}, {name: b}]")
        .policy(ANYONE)
        .user("ana", &[], &[])
        .start()
        .await;
    let ask = |sql: &str| {
        let said = proxy.psql("ana", &["-At", "-F", ".", "-c", sql]);
        assert!(said.ok, "{sql}: {}", said.err);
        assert!(!said.out.contains("zz_") && !said.out.contains("vault"), "{sql}: {}", said.out);
        said.out.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for everything in [
        "\\d+ public.*",
        "\\dD+",
        "\\di+",
        "SELECT *, pg_get_constraintdef(oid) FROM pg_constraint WHERE oid >= 16384",
        "SELECT *, pg_get_indexdef(indexrelid), pg_get_expr(indexprs, indrelid) FROM pg_index WHERE indrelid >= 16384",
        "SELECT *, pg_get_expr(adbin, adrelid) FROM pg_attrdef",
        "SELECT * FROM pg_type WHERE oid >= 16384",
        "SELECT * FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT * FROM information_schema.domains WHERE domain_schema = 'public'",
        "SELECT pg_get_constraintdef(n::oid), pg_get_indexdef(n::oid), pg_get_partkeydef(n::oid) FROM generate_series(16384, 17500) n",
        "SELECT *, pg_get_expr(partexprs, partrelid), pg_get_expr(partexprs, 'odd'::regclass) FROM pg_partitioned_table",
        "SELECT pg_partition_ancestors(oid), pg_get_partition_constraintdef(oid) FROM pg_class WHERE oid >= 16384",
    ] {
        ask(everything);
    }
    assert_eq!(ask("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'odd'::regclass"), set(&["odd_plain"]));
    assert_eq!(
        ask("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'odd'::regclass"),
        set(&["5", "nextval('odd_own_seq'::regclass)"])
    );
    assert_eq!(
        ask("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'odd'::regclass AND contype <> 'n'"),
        set(&["CHECK ((plain > 0))"])
    );
    assert_eq!(
        ask("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = 'seen'::regtype"),
        set(&["CHECK ((VALUE < 1000))"])
    );
    assert_eq!(
        ask("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contypid = 'typed'::regtype"),
        set(&["CHECK ((VALUE <> 'x'::text))"])
    );
    // What there is of checks and indexes is what is listed of them.
    assert_eq!(
        ask(
            "SELECT relname, relchecks, relhasindex FROM pg_class WHERE oid IN ('odd'::regclass, 'shown'::regclass, 'half'::regclass)"
        ),
        set(&["half.0.f", "odd.1.t", "shown.0.f"])
    );
    // A key that is not told hides no comment.
    assert_eq!(ask("SELECT col_description('keyed'::regclass, 1)"), set(&["a key"]));
    assert_eq!(ask("SELECT pg_get_partkeydef('keyed'::regclass) IS NULL"), set(&["t"]));
    assert_eq!(
        ask("SELECT ('\"odd ($1)\"'::regclass::oid)::text::oidvector::regclass[]"),
        set(&["{\"\\\"odd ($1)\\\"\"}"])
    );
    // A tree printed with another relation's names.
    let trees =
        "SELECT conbin::text IS NOT NULL, pg_get_expr(conbin, o), pg_get_expr(conbin, o, true) FROM pg_constraint";
    for other in ["half", "shown"] {
        ask(&trees.replace("conbin, o", &format!("conbin, '{other}'::regclass")));
    }
    // Where a column is hidden, expressions would tell how long its definition is.
    assert_eq!(ask("SELECT count(*) FROM pg_attrdef WHERE adrelid = 'half'::regclass"), set(&["0"]));
    assert_eq!(ask("SELECT hasindexes FROM pg_tables WHERE tablename = 'half'"), set(&["f"]));
    // Whether there are hidden partitions.
    assert_eq!(ask("SELECT count(*) FROM pg_partition_tree('parted')"), set(&["0"]));
    assert_eq!(ask("SELECT count(*) FROM pg_inherits"), set(&["1"]));
    assert_eq!(ask("SELECT * FROM pg_partition_ancestors('part_a')"), set(&["public.part_a", "public.parted"]));
}
