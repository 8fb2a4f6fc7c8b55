//! The data, and the ways of guarding it: tables with row-level security, security-barrier views, and sqlveil's documents.
//!
//! Every way shows the same rows and values of the same tables; what is compared is how the warehouse runs it.

use super::support::Stage;
use tokio_postgres::{Client, NoTls};

/// The one that sqlveil's policies know under each of [`POLICIES`].
pub const LOGIN: &str = "ana";

/// How rows and values are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Rows of the regions that an attribute of the caller names.
    Filter,
    /// Rows of the regions that a table of entitlements gives the caller.
    Entitled,
    /// Rows of the one account in two hundred that a table of assignments gives the caller.
    Assigned,
    /// Every row, with masked columns.
    Masks,
}

pub const POLICIES: [Policy; 4] = [Policy::Filter, Policy::Entitled, Policy::Assigned, Policy::Masks];

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Entitled => "entitled",
            Self::Assigned => "assigned",
            Self::Masks => "masks",
        }
    }

    /// The condition that somebody writes by hand.
    fn condition(self, table: &str) -> Option<String> {
        match self {
            Self::Filter => Some("region IN ('north', 'south')".to_owned()),
            Self::Entitled => {
                Some(format!("region IN (SELECT x.region FROM public.access x WHERE x.username = '{LOGIN}')"))
            }
            Self::Assigned => {
                let account = if table == "account" { "id" } else { "account_id" };
                Some(format!("{account} IN (SELECT x.account_id FROM public.assigned x WHERE x.username = '{LOGIN}')"))
            }
            Self::Masks => None,
        }
    }
}

/// A password for the roles of the warehouse that are measured.
const SECRET: &str = "bench";

/// Tables. Regions are spread so that half of the rows are shown; `updated` and `at` end now.
const TABLES: &str = "
CREATE TABLE account (id int PRIMARY KEY, region text NOT NULL, tier int NOT NULL, balance numeric(12,2) NOT NULL, email text NOT NULL,
    owner text NOT NULL, opened date NOT NULL, updated timestamp NOT NULL, closed date, note text);
CREATE TABLE orders (id int PRIMARY KEY, account_id int NOT NULL, region text NOT NULL, placed date NOT NULL, total numeric(12,2) NOT NULL,
    status text NOT NULL);
CREATE TABLE event (id bigint NOT NULL, account_id int NOT NULL, region text NOT NULL, at timestamp NOT NULL, kind int NOT NULL,
    amount numeric(12,2) NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE access (username text, region text, PRIMARY KEY (username, region));
CREATE TABLE assigned (username text, account_id int, PRIMARY KEY (username, account_id));
INSERT INTO access VALUES ('ana', 'north'), ('ana', 'south'), ('bob', 'east'), ('eve', 'west'), ('eve', 'north');
";

const INDEXES: &str = "
CREATE INDEX ON account (region); CREATE INDEX ON account (email text_pattern_ops); CREATE INDEX ON account (email);
CREATE INDEX ON account (lower(email)); CREATE INDEX ON account (balance); CREATE INDEX ON account (updated); CREATE INDEX ON account (opened);
CREATE INDEX ON account (region, id); CREATE INDEX ON account (tier, id);
CREATE INDEX ON orders (account_id); CREATE INDEX ON orders (placed); CREATE INDEX ON orders (total);
CREATE INDEX ON event (account_id); CREATE INDEX ON event (at);
";

/// Fills the tables: so many accounts and orders, three times as many events in eight partitions of 30 days.
async fn fill(stage: Stage, rows: usize) -> Stage {
    // Of no other column's period: what a shape asks for has rows of every region.
    let region = "(ARRAY['north', 'south', 'east', 'west'])[1 + (hashint8(n) & 3)]";
    let mut sql = TABLES.to_owned();
    for part in 0..8 {
        let (from, to) = (240 - part * 30, 210 - part * 30);
        sql.push_str(&format!(
            "DO $$ BEGIN EXECUTE format('CREATE TABLE event_{part} PARTITION OF event FOR VALUES FROM (%L) TO (%L)', \
             current_date - {from}, current_date - {to} + CASE WHEN {to} = 0 THEN 2 ELSE 0 END); END $$;"
        ));
    }
    sql.push_str(&format!(
        "INSERT INTO account SELECT n, {region}, n % 5, (n::bigint * 7877 % 10000000) / 100.0, 'User' || n || '@example.org', 'Owner ' || n % 1000,
             date '2015-01-01' + n % 3000, localtimestamp - (n % 100000) * interval '10 minutes', CASE WHEN n % 50 = 0 THEN date '2024-01-01' END,
             CASE WHEN n % 4 < 2 THEN (n % 97)::text ELSE 'text ' || n END FROM generate_series(1, {rows}) n;
         INSERT INTO orders SELECT n, 1 + (n::bigint * 31 % {rows}), {region}, current_date - n % 2000, (n::bigint * 6007 % 1000000) / 100.0,
             (ARRAY['new', 'paid', 'sent', 'lost'])[1 + n % 4] FROM generate_series(1, {rows}) n;
         INSERT INTO event SELECT n, 1 + (n::bigint * 17 % {rows}), {region}, localtimestamp - (n::bigint * 101 % 345000) * interval '1 minute', n % 20,
             (n::bigint * 7919 % 100000) / 100.0 FROM generate_series(1, {rows} * 3) n;
         INSERT INTO assigned SELECT CASE k WHEN 0 THEN '{LOGIN}' ELSE 'user' || k END, n
             FROM (SELECT n, (hashint8(n) >> 8 & 65535) % 200 AS k FROM generate_series(1, {rows}) n) x WHERE k < 20;
         {INDEXES}"
    ));
    stage.sql(&sql).await
}

/// A view by hand for each table: what is masked is computed in it, what is hidden is filtered.
fn views(policy: Policy) -> String {
    let schema = format!("by_hand_{}", policy.name());
    let hash = |column: &str| format!("encode(sha256(convert_to('salt' || {column}, 'UTF8')), 'hex') AS {column}");
    let columns = |table: &str| match (policy, table) {
        (Policy::Masks, "account") => format!(
            "id, region, tier, (floor(balance / 1000) * 1000)::numeric(12,2) AS balance, {}, regexp_replace(owner, '[0-9]+', 'x') AS owner, \
             opened, updated, closed, NULL::text AS note",
            hash("email")
        ),
        (Policy::Masks, "orders") => {
            "id, account_id, region, placed, (floor(total / 100) * 100)::numeric(12,2) AS total, status".to_owned()
        }
        (Policy::Masks, _) => "id, account_id, region, at, kind, NULL::numeric(12,2) AS amount".to_owned(),
        _ => "*".to_owned(),
    };
    let one = |table: &&str| {
        let condition = policy.condition(table).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        format!(
            "CREATE VIEW {schema}.{table} WITH (security_barrier) AS SELECT {} FROM public.{table}{condition};",
            columns(table)
        )
    };
    let views: String = ["account", "orders", "event"].iter().map(one).collect();
    format!("CREATE SCHEMA {schema}; {views}")
}

/// The warehouse with its data, views, roles and row-level security, and sqlveil's documents over it.
pub async fn stage(rows: usize) -> Stage {
    let stage = fill(Stage::new().await, rows).await;
    let (database, service) = (stage.database.clone(), stage.service().0);
    let mut sql = format!(
        "CREATE ROLE bare LOGIN BYPASSRLS PASSWORD '{SECRET}'; ALTER ROLE {service} BYPASSRLS; GRANT CONNECT ON DATABASE {database} TO bare; \
         GRANT USAGE ON SCHEMA public TO bare; GRANT SELECT ON ALL TABLES IN SCHEMA public TO bare;"
    );
    for table in ["account", "orders", "event"] {
        sql.push_str(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"));
    }
    for policy in POLICIES {
        let name = policy.name();
        let role = format!("hand_{name}");
        sql.push_str(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'; GRANT CONNECT ON DATABASE {database} TO {role}; GRANT USAGE ON SCHEMA public TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; {} GRANT USAGE ON SCHEMA by_hand_{name} TO {role}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA by_hand_{name} TO {role};",
            views(policy)
        ));
        for table in ["account", "orders", "event"] {
            if let Some(condition) = policy.condition(table) {
                sql.push_str(&format!("CREATE POLICY {name} ON {table} FOR SELECT TO {role} USING ({condition});"));
            }
        }
    }
    documents(stage.sql(&sql).await.sql("VACUUM ANALYZE").await)
}

fn documents(stage: Stage) -> Stage {
    let mask = |key: &str, config: &str| {
        format!(
            "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {{fields: [{{type: columnTags, \
             columnTag: {key}}}], maskingConfig: {{{config}}}}}\n    inclusions: {{groups: [masks]}}\n"
        )
    };
    let rows = |key: &str, kind: &str, config: &str| {
        format!(
            "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: {kind}\n    config: {config}\n    inclusions: {{groups: [{key}]}}\n"
        )
    };
    let mut stage = stage
        .sources(&[
            ("account", "{id: [Account], balance: [Thousands], email: [Hash], owner: [Digits], note: [Nothing]}"),
            ("orders", "{account_id: [Account], total: [Hundreds]}"),
            ("event", "{account_id: [Account], amount: [Nothing]}"),
        ])
        .policy(super::support::ANYONE)
        .policy(&rows(
            "filter",
            "Row Restriction By User Entitlements",
            "{matches: [{type: attribute, attribute: region, column: region}]}",
        ))
        .policy(&rows(
            "entitled",
            "Row Restriction by Custom Where Clause",
            "{predicate: \"region IN (SELECT x.region FROM public.access x WHERE x.username = 'ana')\"}",
        ))
        .policy(&rows(
            "assigned",
            "Row Restriction by Custom Where Clause",
            "{predicate: \"@columnTagged('Account') IN (SELECT x.account_id FROM public.assigned x WHERE x.username = 'ana')\"}",
        ))
        .policy(&mask("Thousands", "type: Grouping, bucketSize: 1000"))
        .policy(&mask("Hundreds", "type: Grouping, bucketSize: 100"))
        .policy(&mask("Hash", "type: Hash"))
        .policy(&mask("Digits", "type: Regular Expression, regex: '[0-9]+', replacement: x"))
        .policy(&mask("Nothing", "type: 'Null'"));
    for policy in POLICIES {
        stage = stage.user(policy.name(), &[policy.name()], &[("region", &["north", "south"])]);
    }
    stage
}

/// A session of a role, set up like all others.
pub async fn session(stage: &Stage, role: &str, password: &str, path: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(stage.server().port()).dbname(&stage.database).user(role).password(password);
    let (client, connection) = config.connect(NoTls).await.expect("a session");
    tokio::spawn(connection);
    // What is compared is plans: the compiler's time would drown them.
    let settings =
        format!("SET jit = off; SET work_mem = '64MB'; SET search_path = {path}; SET random_page_cost = 1.1");
    client.batch_execute(&settings).await.expect("settings");
    client
}

/// The sessions in which the statements of one policy run.
pub struct Ways {
    pub bare: Client,
    pub views: Client,
    /// Row-level security cannot mask.
    pub rls: Option<Client>,
    pub sqlveil: Client,
}

pub async fn ways(stage: &Stage, policy: Policy) -> Ways {
    let role = format!("hand_{}", policy.name());
    let (service, password) = stage.service();
    let rls = match policy.condition("account") {
        Some(_) => Some(session(stage, &role, SECRET, "public").await),
        None => None,
    };
    Ways {
        bare: session(stage, "bare", SECRET, "public").await,
        views: session(stage, &role, SECRET, &format!("by_hand_{}", policy.name())).await,
        rls,
        sqlveil: session(stage, &service, password, "pg_catalog, pg_temp").await,
    }
}
