//! Nanoseconds a stage of the pure middle: parse, resolve, decide, rewrite, seal, and a whole plan with and without the cache.
//!
//! `cargo bench --bench stages`. A private PostgreSQL is started once, for a real catalog; nothing measured talks to it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sqlveil::error::Refusal;
use sqlveil::plan::{Plan, PlanInputs, Planner, Progress, SessionView};
use sqlveil::policy::kept::ByDecision;
use sqlveil::resolve::{Personal, Sight, Visible, resolve};
use sqlveil::rewrite::rewrite;
use sqlveil::sql::tree::Pictured;
use sqlveil::sql::{self, NodeEnum};
use sqlveil::types::QualifiedName;
use sqlveil::{config::Config, seal, world};
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

/// The one of the binary.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SCHEMA: &str = "
    CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
    CREATE TABLE customer (id int PRIMARY KEY, name varchar(25), nation int, phone char(15), balance numeric(15,2));
    CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric(15,2), placed date, o_orderkey int, o_orderstatus char(1));
    CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25), s_nationkey int);
    CREATE TABLE lineitem (l_orderkey int, l_suppkey int, l_receiptdate date, l_commitdate date, l_comment varchar(44));
    CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25));
";

const POINT: &str = "SELECT abalance FROM accounts WHERE aid = 12345";
const REPORT: &str = "SELECT c.name, date_trunc('month', o.placed::timestamp) AS month, sum(o.total), count(*)
    FROM customer c JOIN orders o ON o.customer = c.id
    WHERE c.nation IN (1, 2, 3) AND o.placed BETWEEN '1995-01-01' AND '1996-12-31'
      AND EXISTS (SELECT 1 FROM accounts a WHERE a.bid = c.nation)
    GROUP BY 1, 2 HAVING sum(o.total) > 100 ORDER BY 3 DESC LIMIT 20";

/// TPC-H, query 21.
const Q21: &str = "SELECT s_name, count(*) AS numwait FROM supplier, lineitem l1, orders, nation
    WHERE s_suppkey = l1.l_suppkey AND o_orderkey = l1.l_orderkey AND o_orderstatus = 'F'
      AND l1.l_receiptdate > l1.l_commitdate
      AND EXISTS (SELECT * FROM lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey)
      AND NOT EXISTS (SELECT * FROM lineitem l3 WHERE l3.l_orderkey = l1.l_orderkey AND l3.l_suppkey <> l1.l_suppkey
                      AND l3.l_receiptdate > l3.l_commitdate)
      AND s_nationkey = n_nationkey AND n_name = 'SAUDI ARABIA'
    GROUP BY s_name ORDER BY numwait DESC, s_name LIMIT 100";

struct Fixed(PlanInputs);

impl Progress for Fixed {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        Ok(self.0.clone())
    }
    fn admit(&mut self, _: &Arc<Plan>) -> Result<(), Refusal> {
        Ok(())
    }
}

fn inputs() -> (support::Stage, PlanInputs) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (stage, mut worlds) = runtime.block_on(async {
        let stage = support::Stage::new()
            .await
            .sql(SCHEMA)
            .await
            .sources(&[
                ("accounts", "{bid: [Branch], filler: [Secret]}"),
                ("customer", "{name: [Secret], phone: [Secret], nation: [Nation]}"),
                ("orders", "{}"),
                ("supplier", "{s_name: [Secret]}"),
                ("lineitem", "{l_comment: [Secret]}"),
                ("nation", "{}"),
            ])
            .policy("policyKey: anyone\nname: anyone\ntype: subscription\nactions: {type: anyone}\n")
            .policy("policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Secret}], maskingConfig: {type: Hash}}\n")
            .policy("policyKey: branch\nname: branch\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"bid IN (1, 2)\"}\ncircumstances: [{type: columnTags, columnTag: Branch}]\n")
            .policy("policyKey: nation\nname: nation\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"nation < 10\"}\ncircumstances: [{type: columnTags, columnTag: Nation}]\n")
            .user("ana", &[], &[]);
        let config = Arc::new(Config::load(&stage.write()).expect("a configuration"));
        let (worlds, _) = world::load(&config).await.into_result().unwrap_or_else(|p| panic!("{p:#?}"));
        (stage, worlds)
    });
    // The stage's connections belong to this runtime.
    std::mem::forget(runtime);
    let world = Arc::new(worlds.remove(stage.database.as_str()).expect("a world"));
    let caller = Arc::new(world.directory.caller("ana", None).expect("a caller"));
    let session = Arc::new(SessionView {
        search_path_text: "\"$user\", public".into(),
        search_path: vec!["ana".into(), "public".into()],
        database: stage.database.clone(),
        project: String::new(),
        user: String::new(),
        acts: Default::default(),
        longest: None,
        moves: false,
        scratch: Default::default(),
    });
    (stage, PlanInputs { param_types: Vec::new(), caller, world, session, backend_pid: 1 })
}

fn select(text: &str) -> Box<sql::pb::SelectStmt> {
    match sql::parse(text).expect("a statement").statements.remove(0).node {
        NodeEnum::SelectStmt(select) => select,
        other => panic!("{other:?}"),
    }
}

fn stages(c: &mut Criterion) {
    let (_stage, inputs) = inputs();
    let world = Arc::clone(&inputs.world);
    for (name, text) in [("point", POINT), ("report", REPORT), ("q21", Q21)] {
        let mut group = c.benchmark_group(name);
        group.bench_function("parse", |b| b.iter(|| sql::parse(black_box(text)).expect("it parses")));
        group.bench_function("decide", |b| {
            let relation = QualifiedName::new("public", "accounts");
            b.iter(|| world.ruleset.access(&inputs.caller, black_box(&relation), SystemTime::now()));
        });
        let (bodies, views) = (ByDecision::new(64), seal::Views::new(64));
        let visible = Visible::new();
        let personal = Personal {
            directory: &world.directory,
            acknowledgements: &world.acknowledgements,
            telling: world.telling,
            listed: false,
            backend_pid: 1,
        };
        let now = SystemTime::now();
        let sight =
            Sight::new(&world.catalog, &world.ruleset, &inputs.caller, &inputs.session, now, personal, &visible);
        let tree = select(text);
        group.bench_function("resolve", |b| {
            b.iter_batched(
                || tree.clone(),
                |mut tree| resolve(&mut tree, &sight, &[]).expect("it resolves"),
                BatchSize::SmallInput,
            );
        });
        let resolved = resolve(&mut tree.clone(), &sight, &[]).expect("it resolves");
        group.bench_function("rewrite", |b| {
            b.iter_batched(
                || tree.clone(),
                |mut tree| rewrite(&mut tree, &resolved, &bodies).expect("it is rewritten"),
                BatchSize::SmallInput,
            );
        });
        let caller = NodeEnum::SelectStmt(tree.clone());
        let caller = &Pictured::of(&caller).expect("a picture");
        let mut rewritten = tree.clone();
        rewrite(&mut rewritten, &resolved, &bodies).expect("it is rewritten");
        let rewritten = NodeEnum::SelectStmt(rewritten);
        group.bench_function("seal", |b| {
            b.iter_batched(
                || rewritten.clone(),
                |rewritten| {
                    let body = |use_: &_, with_children| sqlveil::rewrite::body(&bodies, use_, with_children, None);
                    seal::seal(caller, rewritten, &resolved, &world.catalog, &views, &body).expect("it is sealed")
                },
                BatchSize::SmallInput,
            );
        });
        // Policy views are made once for all statements; the text was never seen.
        let planner = Planner::default();
        let mut session = Fixed(inputs.clone());
        let mut number = 0;
        group.bench_function("plan, never seen", |b| {
            b.iter_batched(
                || {
                    number += 1;
                    format!("{text} /* {number} */")
                },
                |text| planner.plan_string(&text, &mut session).expect("it is planned"),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("plan, other literals", |b| {
            let last = text.rfind(|c: char| c.is_ascii_digit()).expect("a number");
            let start = text.get(..last).and_then(|t| t.rfind(|c: char| !c.is_ascii_digit())).map_or(0, |at| at + 1);
            b.iter_batched(
                || {
                    number += 1;
                    format!("{}{number}{}", &text[..start], &text[last + 1..])
                },
                |text| planner.plan_string(&text, &mut session).expect("it is planned"),
                BatchSize::SmallInput,
            );
        });
        let planner = Planner::default();
        let mut session = Fixed(inputs.clone());
        group.bench_function("plan, cached", |b| {
            b.iter(|| planner.plan_string(black_box(text), &mut session).expect("it is planned"));
        });
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
