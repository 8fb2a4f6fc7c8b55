//! pgbench through a masked and filtered `pgbench_accounts`, and the plans PostgreSQL makes of what is sent for it.

use crate::support::{ANYONE, PASSWORD, Running, Stage, server};
use sqlveil::config::Config;
use sqlveil::error::Refusal;
use sqlveil::identity::Caller;
use sqlveil::plan::{Plan, PlanInputs, Planner, Progress, SessionView};
use sqlveil::world::World;
use std::process::Command;
use std::sync::Arc;

/// 100,000 accounts of ten branches, two of which are shown; tellers are shown through a sub-query; `filler` is hashed.
async fn bank() -> Running {
    Stage::new()
        .await
        .sql(
            "CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
             CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
             CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
             CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
             INSERT INTO pgbench_branches SELECT i, 0 FROM generate_series(1, 1) i;
             INSERT INTO pgbench_tellers SELECT i, 1 + i % 10, 0, 't' FROM generate_series(1, 100) i;
             INSERT INTO pgbench_accounts SELECT i, 1 + i % 10, i % 1000, 'secret ' || i FROM generate_series(1, 100000) i;
             ANALYZE",
        )
        .await
        .source(
            "table: pgbench_accounts\nschema: public\ntags: {table: [Accounts], columns: [{columnName: filler, tags: [Memo]}]}",
        )
        .source("table: pgbench_tellers\nschema: public\ntags: {table: [Tellers]}")
        .source("table: pgbench_branches\nschema: public")
        .tags(&["Accounts", "Memo", "Tellers"])
        .user("ana", &[], &[])
        .policy(ANYONE)
        .policy(
            "policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
             config: {predicate: \"bid IN (1, 2)\"}\ncircumstances: [{type: tags, tag: Accounts}]\n",
        )
        .policy(
            "policyKey: tellers\nname: tellers\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    \
             config: {predicate: \"bid IN (SELECT b.bid FROM public.pgbench_branches b)\"}\n\
             circumstances: [{type: tags, tag: Tellers}]\n",
        )
        .policy(
            "policyKey: memo\nname: memo\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config:\n      \
             fields: [{type: columnTags, columnTag: Memo}]\n      maskingConfig: {type: Hash}\n\
             circumstances: [{type: columnTags, columnTag: Memo}]\n",
        )
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_ends_without_an_error() {
    let bank = bank().await;
    let program = Some(server().programs().join("pgbench")).filter(|p| p.is_file()).unwrap_or_else(|| "pgbench".into());
    for (mode, clients, transactions) in [
        ("simple", 1, 300),
        ("simple", 8, 100),
        ("extended", 1, 300),
        ("extended", 8, 100),
        ("prepared", 1, 300),
        ("prepared", 8, 200),
    ] {
        let mut command = Command::new(&program);
        command.args(["-S", "-n", "-h", "127.0.0.1", "-U", "ana", "-M", mode, "-j", "2"]);
        command.args(["-p", &bank.port.to_string(), "-c", &clients.to_string(), "-t", &transactions.to_string()]);
        command.arg(bank.database()).env("PGPASSWORD", PASSWORD);
        let output = command.output().expect("pgbench runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let all = clients * transactions;
        assert!(output.status.success(), "{mode} {clients}: {said}");
        assert!(said.contains(&format!("actually processed: {all}/{all}")), "{mode} {clients}: {said}");
        assert!(said.contains("number of failed transactions: 0 "), "{mode} {clients}: {said}");
    }
    let client = bank.client("ana").await;
    let row =
        client.query_one("SELECT count(*), bool_or(filler LIKE 'secret%') FROM pgbench_accounts", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (20_000, false));
}

struct Session {
    inputs: PlanInputs,
}

impl Progress for Session {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        Ok(self.inputs.clone())
    }
    fn admit(&mut self, _: &Arc<Plan>) -> Result<(), Refusal> {
        Ok(())
    }
}

/// What would be sent for a statement of `ana`.
fn sealed(world: &Arc<World>, caller: &Arc<Caller>, database: &str, sql: &str) -> String {
    let view = SessionView {
        search_path_text: "\"$user\", public".into(),
        search_path: vec!["ana".into(), "public".into()],
        database: database.into(),
        project: String::new(),
        user: String::new(),
        acts: Default::default(),
        longest: None,
        moves: false,
        scratch: Default::default(),
    };
    let inputs = PlanInputs {
        backend_pid: 1,
        param_types: Vec::new(),
        caller: Arc::clone(caller),
        world: Arc::clone(world),
        session: Arc::new(view),
    };
    let plans = Planner::default().plan_string(sql, &mut Session { inputs }).unwrap_or_else(|r| panic!("{sql}: {r}"));
    plans[0].sealed.as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_and_joins_keep_the_plans_of_the_bare_tables() {
    let bank = bank().await;
    let config = Arc::new(Config::load(&bank.config_file()).unwrap());
    let (mut worlds, _) = sqlveil::world::load(&config).await.into_result().unwrap_or_else(|p| panic!("{p:#?}"));
    let world = Arc::new(worlds.remove(bank.database()).unwrap());
    let caller = Arc::new(world.directory.caller("ana", None).unwrap());
    let admin = bank.admin();
    // Generic plans, as of a prepared statement in its sixth execution; no parallel plans, to be the same on every machine.
    admin
        .batch_execute("SET plan_cache_mode = force_generic_plan; SET max_parallel_workers_per_gather = 0")
        .await
        .unwrap();
    let mut wrong = Vec::new();
    let key = "Index Scan using pgbench_accounts_pkey on pgbench_accounts";
    for (sql, arguments, wanted, unwanted) in [
        ("SELECT abalance FROM pgbench_accounts WHERE aid = 12345", "", key, "Seq Scan"),
        ("SELECT abalance FROM pgbench_accounts WHERE aid = $1", "(7)", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts WHERE aid IN (1, 2, 3)", "", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts WHERE aid BETWEEN $1 AND $2", "(7, 17)", "pgbench_accounts_pkey", "Seq Scan"),
        ("SELECT * FROM pgbench_accounts a WHERE a.aid = ANY (ARRAY[5, 6])", "", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts a WHERE a.aid = ANY ($1)", "('{5,6}')", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts a WHERE a.aid = ANY (ARRAY[$1, 7])", "(5)", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts a WHERE a.aid = ANY ('{5,6}'::int[])", "", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts WHERE aid = $1::int", "(5)", key, "Seq Scan"),
        ("SELECT aid, filler FROM pgbench_accounts ORDER BY aid LIMIT 10", "", key, "Sort"),
        ("SELECT max(aid) FROM pgbench_accounts", "", "pgbench_accounts_pkey", "Seq Scan"),
        // A condition that can raise is kept above the policy's; the key still serves below it.
        ("SELECT * FROM pgbench_accounts WHERE aid = 7 AND 1000 / abalance > 3", "", key, "Seq Scan"),
        ("SELECT * FROM pgbench_accounts WHERE aid = 7 AND filler LIKE 'a%'", "", key, "Seq Scan"),
        ("SELECT lower(filler) FROM (SELECT * FROM pgbench_accounts) x WHERE aid = 7", "", key, "Seq Scan"),
        ("WITH x AS (SELECT * FROM pgbench_accounts) SELECT * FROM x WHERE aid = 7", "", key, "Seq Scan"),
        (
            "SELECT a.abalance FROM pgbench_tellers t JOIN pgbench_accounts a ON a.aid = t.tid WHERE t.tid < 4",
            "",
            "pgbench_accounts_pkey",
            "Seq Scan on pgbench_accounts",
        ),
        (
            "SELECT b.bid, a.abalance FROM pgbench_branches b LEFT JOIN pgbench_accounts a ON a.aid = b.bid",
            "",
            key,
            "Seq Scan on pgbench_accounts",
        ),
        (
            "SELECT a.aid FROM pgbench_accounts a JOIN pgbench_accounts b USING (aid) WHERE a.aid = $1",
            "(9)",
            "pgbench_accounts_pkey",
            "Seq Scan",
        ),
        (
            "SELECT bid FROM pgbench_branches b WHERE EXISTS (SELECT FROM pgbench_accounts a WHERE a.aid = b.bid)",
            "",
            "pgbench_accounts_pkey",
            "Seq Scan on pgbench_accounts",
        ),
    ] {
        let mut plans = Vec::new();
        for text in [sql.to_owned(), sealed(&world, &caller, bank.database(), sql)] {
            admin.batch_execute(&format!("PREPARE p AS {text}")).await.unwrap_or_else(|e| panic!("{text}: {e:?}"));
            let rows = admin.query(&format!("EXPLAIN (COSTS OFF) EXECUTE p{arguments}"), &[]).await.unwrap();
            admin.batch_execute("DEALLOCATE p").await.unwrap();
            plans.push(rows.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>().join("\n"));
        }
        if !plans.iter().all(|plan| plan.contains(wanted) && !plan.contains(unwanted)) {
            wrong.push(format!("{sql}\nbare:\n{}\nthrough policy:\n{}", plans[0], plans[1]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
