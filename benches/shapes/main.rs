//! What a policy does to plans: 44 query shapes under a filter, filters by tables of entitlements (wide and narrow) and masks, as sqlveil sends them and
//! as somebody would guard the same tables by hand, with security-barrier views and with row-level security.
//!
//! `cargo bench --bench shapes` fills a private PostgreSQL with 200,000 accounts and prints a Markdown table: milliseconds of the run of a plan
//! that was made before, the ways in turn, the ratio to the better of the two by hand, the same ratio with parsing and planning (simple
//! protocol), and what the plan has of that without a policy.
//! `SQLVEIL_SHAPES=rows,rounds[,filter]` measures another size, or only pairs whose name holds the filter. `SQLVEIL_SHAPES_PLANS=1` prints
//! texts and plans. docs/plans.md says how to read it. Not a criterion bench: four statements are measured against each other.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod plans;
mod queries;
#[path = "../../tests/support/mod.rs"]
mod support;
mod world;

use futures_util::future::join_all;
use plans::Traits;
use queries::SHAPES;
use sqlveil::config::Config;
use sqlveil::error::Refusal;
use sqlveil::plan::{Plan, PlanInputs, Planner, Progress, SessionView};
use sqlveil::world::World;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage, Statement};
use world::{POLICIES, Policy, Ways};

/// A sample lasts about so long, however short the statement is.
const SAMPLE: Duration = Duration::from_millis(8);
/// Most times that a statement runs in a sample.
const MOST: u32 = 200;
/// A pair of short statements is measured in more rounds than were asked for, for about so long…
const PAIR: Duration = Duration::from_millis(1000);
/// … and in at most so many times as many.
const MORE: usize = 6;

struct Size {
    rows: usize,
    rounds: usize,
    filter: String,
}

fn size(measured: bool) -> Size {
    let default = if measured { "200000,9" } else { "2000,1" };
    let text = std::env::var("SQLVEIL_SHAPES").unwrap_or_else(|_| default.into());
    let mut parts = text.splitn(3, ',').map(str::trim);
    let mut number = || parts.next().and_then(|n| n.parse().ok()).expect("SQLVEIL_SHAPES=rows,rounds[,filter]");
    let (rows, rounds) = (number(), number());
    Size { rows, rounds, filter: parts.next().unwrap_or_default().to_owned() }
}

/// A session of the planner that never changes.
struct Fixed(PlanInputs);

impl Progress for Fixed {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        Ok(self.0.clone())
    }
    fn admit(&mut self, _: &Arc<Plan>) -> Result<(), Refusal> {
        Ok(())
    }
}

fn asker(world: &Arc<World>, database: &str, user: &str) -> Fixed {
    let session = Arc::new(SessionView {
        search_path_text: "\"$user\", public".into(),
        search_path: vec![user.to_owned(), "public".into()],
        database: database.to_owned(),
        project: String::new(),
        user: String::new(),
        acts: Default::default(),
        moves: false,
        longest: None,
        scratch: Default::default(),
    });
    let caller = Arc::new(world.directory.caller(user, None).expect("a caller"));
    Fixed(PlanInputs { param_types: Vec::new(), caller, world: Arc::clone(world), session, backend_pid: 1 })
}

type Rows = Vec<Vec<Option<String>>>;

/// The rows of an answer, as text.
async fn rows(client: &Client, text: &str) -> Rows {
    try_rows(client, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

async fn try_rows(client: &Client, text: &str) -> Result<Rows, tokio_postgres::Error> {
    let messages = client.simple_query(text).await?;
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}

/// One way of asking: where, what, and how long it took.
struct Way<'c> {
    name: &'static str,
    client: &'c Client,
    text: String,
    /// Planned once, where only its run is measured.
    prepared: Option<Statement>,
    times: Vec<f64>,
    repeats: u32,
}

impl<'c> Way<'c> {
    fn new(name: &'static str, client: &'c Client, text: &str) -> Self {
        Self { name, client, text: text.to_owned(), prepared: None, times: Vec::new(), repeats: 1 }
    }

    /// Runs once to warm up, and once to see how long it takes.
    async fn begin(&mut self, planned: bool) {
        self.times.clear();
        self.prepared = match planned {
            true => {
                Some(self.client.prepare(&self.text).await.unwrap_or_else(|error| panic!("{}: {error:?}", self.text)))
            }
            false => None,
        };
        self.run().await;
        let begin = Instant::now();
        self.run().await;
        let once = begin.elapsed().as_nanos().max(1);
        self.repeats = u32::try_from(SAMPLE.as_nanos() / once).unwrap_or(MOST).clamp(1, MOST);
    }

    async fn run(&self) {
        match &self.prepared {
            // Without parameters the plan is kept.
            Some(statement) => drop(self.client.query(statement, &[]).await.expect("rows")),
            None => drop(self.client.simple_query(&self.text).await.expect("rows")),
        }
    }

    async fn sample(&mut self) {
        let begin = Instant::now();
        // All sent at once: between two of them nobody waits to be woken, which on some machines takes longer than a short statement.
        join_all((0..self.repeats).map(|_| self.run())).await;
        self.times.push(begin.elapsed().as_secs_f64() * 1000.0 / f64::from(self.repeats));
    }

    /// The lower quartile: what else the machine does makes a run longer, and never shorter.
    fn time(&self) -> f64 {
        quartile(self.times.clone(), 1)
    }

    /// Its time by that of another way, round by round: the quartiles. What slows the machine down for a while slows both.
    fn by(&self, other: &Self) -> [f64; 3] {
        let ratios: Vec<f64> = self.times.iter().zip(&other.times).map(|(own, others)| own / others).collect();
        [1, 2, 3].map(|n| quartile(ratios.clone(), n))
    }

    async fn plan(&self) -> String {
        let lines = rows(self.client, &format!("EXPLAIN (COSTS off) {}", self.text)).await;
        lines.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
    }
}

/// The n-th quartile.
fn quartile(mut values: Vec<f64>, n: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * n / 4).min(values.len() - 1)]
}

/// What came of a pair.
struct Outcome {
    policy: Policy,
    /// Of the run alone. Nobody else may have an answer.
    run: Option<f64>,
    /// With parsing and planning.
    whole: Option<f64>,
}

/// Measures all ways in turn. Gives the quartiles of sqlveil's time by that of the better way by hand: the one that sqlveil is slower by.
async fn compare(all: &mut [Way<'_>], planned: bool, size: &Size) -> Option<[f64; 3]> {
    for way in &mut *all {
        way.begin(planned).await;
    }
    let begin = Instant::now();
    for round in 0..size.rounds * MORE {
        if round >= size.rounds && begin.elapsed() > PAIR {
            break;
        }
        let first = round % all.len();
        all.rotate_left(first);
        for way in &mut *all {
            way.sample().await;
        }
        all.rotate_right(first);
    }
    all[2..].iter().map(|way| all[1].by(way)).max_by(|a, b| a[1].total_cmp(&b[1]))
}

fn told(ratio: Option<[f64; 3]>) -> String {
    ratio.map_or("–".to_owned(), |[low, ratio, high]| format!("{ratio:.2} ({low:.2}–{high:.2})"))
}

async fn pair(shape: &str, text: &str, policy: Policy, sent: &str, ways: &Ways, size: &Size) -> Outcome {
    let mut all = vec![Way::new("bare", &ways.bare, text), Way::new("sqlveil", &ways.sqlveil, sent)];
    // GROUP BY of a key needs the table itself.
    for way in [Some(Way::new("views", &ways.views, text)), ways.rls.as_ref().map(|rls| Way::new("rls", rls, text))] {
        match way {
            Some(way) if try_rows(way.client, text).await.is_ok() => all.push(way),
            _ => {}
        }
    }
    // The same rows by every way that filters; masks have salts of their own.
    if policy != Policy::Masks {
        let mut answers = Vec::new();
        for way in &all[1..] {
            let mut answer = rows(way.client, &way.text).await;
            answer.sort();
            answers.push((way.name, answer));
        }
        // LIMIT without a whole order may give others.
        let loose = shape == "greatest ten by index";
        for (name, answer) in &answers[1..] {
            assert!(loose || *answer == answers[0].1, "{shape}, {}: {name} gives other rows", policy.name());
        }
    }
    let whole = compare(&mut all, false, size).await;
    let run = compare(&mut all, true, size).await;
    let bare = Traits::of(&all[0].plan().await);
    let mut lost = Vec::new();
    for way in &all[1..] {
        if let Some(what) = Traits::of(&way.plan().await).lost(&bare) {
            lost.push(format!("{}: {what}", way.name));
        }
    }
    let shown = |name: &str| {
        all.iter().find(|way| way.name == name).map_or("–".to_owned(), |way| format!("{:.3}", way.time()))
    };
    println!(
        "| {shape} | {} | {} | {} | {} | {} | {} | {} | {bare} | {} |",
        policy.name(),
        shown("bare"),
        shown("sqlveil"),
        shown("views"),
        shown("rls"),
        told(run),
        told(whole),
        lost.join("; ")
    );
    if std::env::var_os("SQLVEIL_SHAPES_PLANS").is_some() {
        for way in &all {
            println!("\n{} {}\n{}\n", way.name, way.text, way.plan().await);
        }
    }
    Outcome { policy, run: run.map(|[_, ratio, _]| ratio), whole: whole.map(|[_, ratio, _]| ratio) }
}

// One thread: a statement is no wake of another, whose time is the machine's.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let size = size(std::env::args().any(|arg| arg == "--bench"));
    let stage = world::stage(size.rows).await;
    let config = Arc::new(Config::load(&stage.write()).expect("a configuration"));
    let (mut worlds, _) = sqlveil::world::load(&config).await.into_result().unwrap_or_else(|p| panic!("{p:#?}"));
    let world = Arc::new(worlds.remove(stage.database.as_str()).expect("a world"));
    let planner = Planner::default();
    println!(
        "{} accounts and orders, {} events; lower quartiles of at least {} rounds in ms of the run, ratios round by round: median (quartiles)\n",
        size.rows,
        size.rows * 3,
        size.rounds
    );
    println!("| shape | policy | bare | sqlveil | views | RLS | of the better | with planning | bare plan | lost |");
    println!("|---|---|---:|---:|---:|---:|---:|---:|---|---|");
    let mut outcomes = Vec::new();
    for policy in POLICIES {
        let ways = world::ways(&stage, policy).await;
        let mut session = asker(&world, &stage.database, policy.name());
        for (shape, text) in SHAPES {
            if !format!("{shape}, {}", policy.name()).contains(&size.filter) {
                continue;
            }
            let text = text.replace("{id}", &(size.rows / 2 + 2).to_string());
            let plans =
                planner.plan_string(&text, &mut session).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}"));
            outcomes.push(pair(shape, &text, policy, plans[0].sealed.as_str(), &ways, &size).await);
        }
    }
    println!();
    for policy in POLICIES {
        let of = |what: &str, ratio: fn(&Outcome) -> Option<f64>| {
            let mut ratios: Vec<f64> = outcomes.iter().filter(|o| o.policy == policy).filter_map(ratio).collect();
            ratios.sort_by(f64::total_cmp);
            let Some(median) = ratios.get(ratios.len() / 2) else { return };
            println!(
                "{}, {what}: {} of {} pairs at most 1.1 × the better way by hand, {} below 0.9 ×; median {median:.2}",
                policy.name(),
                ratios.iter().filter(|r| **r <= 1.1).count(),
                ratios.len(),
                ratios.iter().filter(|r| **r < 0.9).count()
            );
        };
        of("run", |o| o.run);
        of("whole", |o| o.whole);
    }
}
