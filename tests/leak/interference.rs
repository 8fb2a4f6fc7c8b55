//! Non-interference (threat model, promise 1): two databases that agree on everything a caller is shown and differ in what is hidden
//! answer every statement with the same bytes.
//!
//! The fixed statements are in `attacks.rs`, the generated ones come from `generator.rs`. Rows of answers without an order of their own
//! are compared as a multiset: in what order equal answers come may depend on the planner's estimates.

use crate::attacks;
use crate::generator::{Generator, Statement};
use crate::support::{Running, long};
use crate::wire::{Answer, Wire, bind, close, describe_what, execute, parse, query, sync};
use crate::world::{ANA, EVE, MAX, TAME, WILD, connect, runtime, stage, stage_of_queries};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

/// The two: hidden values that do nothing, and hidden values that raise.
struct Pair {
    tame: Running,
    wild: Running,
}

impl Pair {
    fn new(settings: &str) -> Self {
        let start = async |hidden| stage(hidden).await.sql(settings).await.start().await;
        runtime().block_on(async { Self { tame: start(TAME).await, wild: start(WILD).await } })
    }
}

/// The pair in which every table is a registered query.
fn queries() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    let start = async |hidden| stage_of_queries(hidden).await.start().await;
    PAIR.get_or_init(|| runtime().block_on(async { Pair { tame: start(TAME).await, wild: start(WILD).await } }))
}

/// Rows that a registered query leaves out are hidden from everyone, and nothing of a caller's meets them.
#[test]
fn fixed_statements_over_queries() {
    for (settings, ways) in [
        (&[][..], &[Way::Simple, Way::Extended(1), Way::Copy][..]),
        (&["SET enable_seqscan = off"], &[Way::Simple]),
        (&["SET enable_indexscan = off", "SET enable_bitmapscan = off", "SET enable_hashjoin = off"], &[Way::Simple]),
    ] {
        let selects = planned().filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH"));
        let selects: Vec<&str> = selects.collect();
        let answered = compare(Twins::of(queries(), ANA, settings), ways, selects.iter().copied());
        assert!(answered * 3 > selects.len() * 2, "only {answered} of {} were executed", selects.len());
    }
}

/// Without its barrier the same query is an oracle: the statements are attacks.
#[test]
fn a_query_without_a_barrier_would_leak() {
    let mut direct = crate::world::direct(&queries().wild);
    let blunt = "SELECT q.id FROM (SELECT * FROM emp WHERE dept IN ('blue', 'green', 'c', 'd', 'e', 'f', 'g', 'h')) q WHERE q.note::int > 0";
    // Not by the index on what the query asks for.
    assert_eq!(direct.simple("SET enable_indexscan = off; SET enable_bitmapscan = off").code(), "");
    let raised = direct.simple(blunt).code();
    let mut ana = connect(&queries().wild, ANA);
    let answer = ana.simple("SELECT id FROM emp WHERE note::int > 0");
    assert_eq!((raised.as_str(), answer.code().as_str(), answer.rows().len()), ("22P02", "", 24));
}

/// The pair that all tests share.
fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::new(""))
}

/// How a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Simple,
    /// Parse, Bind, Describe, Execute with this result format.
    Extended(u16),
    /// `COPY (statement) TO STDOUT`.
    Copy,
    /// `DECLARE … CURSOR`, `FETCH`.
    Cursor,
    /// A portal run two rows at a time.
    Portal,
}

/// The same session in both databases.
struct Twins {
    tame: Wire,
    wild: Wire,
    databases: [&'static str; 2],
}

impl Twins {
    fn new(user: &str, settings: &[&str]) -> Self {
        Self::of(pair(), user, settings)
    }

    fn of(pair: &'static Pair, user: &str, settings: &[&str]) -> Self {
        let databases = [pair.tame.database(), pair.wild.database()];
        let mut twins = Self { tame: connect(&pair.tame, user), wild: connect(&pair.wild, user), databases };
        for setting in settings {
            for wire in [&mut twins.tame, &mut twins.wild] {
                assert_eq!(wire.simple(setting).code(), "", "{setting}");
            }
        }
        twins
    }

    /// Both answers to the same frames, which hold `readies` Sync or Query messages.
    fn ask(&mut self, frames: &[u8], readies: usize) -> (Answer, Answer) {
        self.tame.send(frames);
        self.wild.send(frames);
        (self.tame.until_ready(readies), self.wild.until_ready(readies))
    }

    fn say(&mut self, way: Way, sql: &str) -> (Answer, Answer) {
        match way {
            Way::Simple => self.ask(&query(sql), 1),
            Way::Extended(format) => {
                let describe = [describe_what(b'S', ""), bind("", "", &[], format), describe_what(b'P', "")].concat();
                self.ask(&[parse("", sql, &[]), describe, execute("", 0), sync()].concat(), 1)
            }
            Way::Copy => self.ask(&query(&format!("COPY ({sql}) TO STDOUT")), 1),
            Way::Cursor => {
                let declare = query(&format!("BEGIN; DECLARE c CURSOR FOR {sql}"));
                self.ask(&[declare, query("FETCH 3 FROM c"), query("FETCH ALL FROM c"), query("ROLLBACK")].concat(), 4)
            }
            Way::Portal => {
                let rest = [execute("p", 2), execute("p", 2), execute("p", 0), close(b'P', "p"), sync()].concat();
                let begin =
                    [query("BEGIN"), parse("", sql, &[]), bind("p", "", &[], 0), rest, query("ROLLBACK")].concat();
                self.ask(&begin, 3)
            }
        }
    }

    /// What tells the two apart.
    fn difference(&mut self, way: Way, sql: &str) -> Option<String> {
        let answers = self.say(way, sql);
        self.compare(&answers, ordered(sql))
    }

    /// What tells two answers apart.
    fn compare(&self, (tame, wild): &(Answer, Answer), ordered: bool) -> Option<String> {
        let [tame, wild] = [(tame, self.databases[0]), (wild, self.databases[1])].map(|(answer, database)| {
            let mut lines: Vec<String> = answer.lines().iter().map(|l| l.replace(database, "DATABASE")).collect();
            if !ordered {
                // Rows among themselves; everything else keeps its place.
                let rows: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].starts_with(['D', 'd'])).collect();
                let mut sorted: Vec<String> = rows.iter().map(|i| lines[*i].clone()).collect();
                sorted.sort();
                rows.iter().zip(sorted).for_each(|(i, line)| lines[*i] = line);
            }
            lines
        });
        if tame == wild {
            return None;
        }
        let at = tame.iter().zip(&wild).position(|(t, w)| t != w).unwrap_or(tame.len().min(wild.len()));
        let show = |lines: &[String]| lines.get(at).map_or("(nothing)".to_owned(), |l| l.chars().take(300).collect());
        Some(format!("  tame: {}\n  wild: {}", show(&tame), show(&wild)))
    }
}

/// Whether the answer has an order: the last ORDER BY stands behind every parenthesis.
fn ordered(sql: &str) -> bool {
    let lower = sql.to_lowercase();
    lower.rfind("order by").is_some_and(|order| lower.rfind(')').is_none_or(|end| end < order))
}

/// Runs statements each in every way given; fails with all differences. Gives how many statements were answered with rows.
fn compare<'a>(mut twins: Twins, ways: &[Way], statements: impl IntoIterator<Item = &'a str>) -> usize {
    let mut found = Vec::new();
    let mut answered = 0;
    for sql in statements {
        for way in ways {
            let answers = twins.say(*way, sql);
            answered += usize::from(*way == ways[0] && answers.0.error().is_none());
            found.extend(twins.compare(&answers, ordered(sql)).map(|d| format!("{way:?}: {sql}\n{d}")));
            // To see what the statements come to: `cargo test --test leak fixed -- --nocapture`.
            if *way == ways[0] {
                println!("{sql}\n    {} {} {} rows", answers.0.code(), answers.0.message(), answers.0.rows().len());
            }
        }
    }
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
    answered
}

fn fixed() -> Vec<&'static str> {
    attacks::STATEMENTS.iter().flat_map(|group| group.iter().copied()).collect()
}

/// Those whose answer depends on a plan.
fn planned() -> impl Iterator<Item = &'static str> {
    let planless = [attacks::SETTINGS, attacks::NAMES, attacks::CATALOG, attacks::REFUSED].concat();
    fixed().into_iter().filter(move |sql| !planless.contains(sql))
}

/// The runner itself is no dummy: to a caller who is exempt the two databases are different.
#[test]
fn the_two_databases_differ() {
    // What is hidden makes some of the statements very long.
    let mut twins = Twins::new(MAX, &["SET statement_timeout = '300ms'"]);
    for table in ["emp", "log", "peek", "orders", "pay", "ev", "part"] {
        assert!(twins.difference(Way::Simple, &format!("SELECT * FROM {table}")).is_some(), "{table}");
    }
    let some = || planned().step_by(3);
    let found = some().filter(|sql| twins.difference(Way::Simple, sql).is_some()).count();
    let all = some().count();
    assert!(found * 4 > all * 3, "of {all} statements only {found} are attacks");
}

#[test]
fn fixed_statements() {
    assert!(attacks::count() >= 150);
    let ways = [Way::Simple, Way::Extended(1), Way::Extended(0)];
    let answered = compare(Twins::new(ANA, &[]), &ways, fixed());
    assert!(answered * 3 > attacks::count() * 2, "only {answered} of {} statements were executed", attacks::count());
}

/// Plans follow statistics of all rows; what is shown of them must not.
#[test]
fn fixed_statements_explained() {
    let forms = [
        "EXPLAIN ",
        "EXPLAIN (VERBOSE, FORMAT JSON) ",
        "EXPLAIN (COSTS, FORMAT YAML) ",
        "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT XML) ",
    ];
    let statements: Vec<String> = fixed()
        .into_iter()
        .filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH"))
        .zip(forms.into_iter().cycle())
        .map(|(sql, explain)| format!("{explain}{sql}"))
        .collect();
    let twins = Twins::new(ANA, &[]);
    let answered = compare(twins, &[Way::Simple, Way::Extended(0), Way::Portal], statements.iter().map(String::as_str));
    assert!(answered * 2 > statements.len(), "only {answered} of {} statements were explained", statements.len());
}

#[test]
fn fixed_statements_of_an_outsider() {
    compare(Twins::new(EVE, &[]), &[Way::Simple, Way::Extended(0)], fixed());
}

#[test]
fn fixed_statements_in_copy_cursors_and_portals() {
    let ways = [Way::Copy, Way::Cursor, Way::Portal];
    compare(
        Twins::new(ANA, &[]),
        &ways,
        fixed().into_iter().filter(|sql| sql.starts_with("SELECT") || sql.starts_with("WITH")),
    );
}

/// Other plans for the same statements.
#[test]
fn fixed_statements_under_other_plans() {
    let combinations: &[&[&str]] = &[
        &[
            "SET enable_hashjoin = off",
            "SET enable_mergejoin = off",
            "SET enable_hashagg = off",
            "SET work_mem = '64kB'",
        ],
        &["SET enable_nestloop = off", "SET enable_hashjoin = off", "SET enable_sort = off"],
        &["SET enable_indexscan = off", "SET enable_bitmapscan = off", "SET enable_indexonlyscan = off"],
        &["SET enable_seqscan = off", "SET from_collapse_limit = 1", "SET join_collapse_limit = 1"],
        &["SET jit = on", "SET geqo = off", "SET plan_cache_mode = force_generic_plan", "SET enable_material = off"],
    ];
    for (number, settings) in combinations.iter().enumerate() {
        // Each statement under two of them, or under all.
        let sooner = move |at: &usize| long() || (at + number) % 5 < 2;
        let statements = planned().enumerate().filter(|(at, _)| sooner(at)).map(|(_, sql)| sql);
        compare(Twins::new(ANA, settings), &[Way::Simple], statements);
    }
}

/// Plans that the planner takes for big tables: parallel ones, forced by the warehouse's own settings.
#[test]
fn fixed_statements_in_parallel_plans() {
    static PARALLEL: OnceLock<Pair> = OnceLock::new();
    let pair = PARALLEL.get_or_init(|| {
        let set = |name: &str| format!("EXECUTE format('ALTER DATABASE %I SET {name} = 0', current_database());");
        let settings = [
            "min_parallel_table_scan_size",
            "min_parallel_index_scan_size",
            "parallel_setup_cost",
            "parallel_tuple_cost",
        ];
        Pair::new(&format!("DO $$ BEGIN {} END $$", settings.map(set).concat()))
    });
    // Starting workers takes its time.
    let statements = planned().step_by(if long() { 1 } else { 3 });
    compare(Twins::of(pair, ANA, &["SET max_parallel_workers_per_gather = 2"]), &[Way::Simple], statements);
}

/// Statements with parameters, executed more often than the server makes plans for one value (five times), under every plan mode.
#[test]
fn prepared_statements_with_generic_plans() {
    for mode in ["auto", "force_generic_plan", "force_custom_plan"] {
        let mut twins = Twins::new(ANA, &[&format!("SET plan_cache_mode = {mode}")]);
        let mut found = Vec::new();
        for (number, (sql, values)) in attacks::WITH_PARAMETERS.iter().enumerate() {
            let name = format!("s{number}");
            let once = [bind("", &name, values, 0), execute("", 0), sync()].concat();
            let mut frames = [parse(&name, sql, &[]), describe_what(b'S', &name), sync()].concat();
            (0..7).for_each(|_| frames.extend(&once));
            let answers = twins.ask(&frames, 8);
            found.extend(twins.compare(&answers, false).map(|d| format!("{mode}: {sql} {values:?}\n{d}")));
        }
        assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
    }
}

/// The same through PREPARE and EXECUTE.
#[test]
fn prepared_statements_of_sql() {
    let mut twins = Twins::new(ANA, &["SET plan_cache_mode = force_generic_plan"]);
    let mut found = Vec::new();
    for (number, (sql, values)) in attacks::WITH_PARAMETERS.iter().enumerate() {
        let values: Vec<String> = values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
        let arguments = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
        let frames =
            [query(&format!("PREPARE q{number} AS {sql}")), query(&format!("EXECUTE q{number}{arguments}"))].concat();
        let answers = twins.ask(&frames, 2);
        found.extend(twins.compare(&answers, false).map(|d| format!("{sql} {values:?}\n{d}")));
    }
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

fn generated(seed: u64, count: usize) {
    let mut generator = Generator::new(seed);
    let settings: &[&[&str]] = &[
        &[],
        &["SET enable_hashjoin = off", "SET enable_mergejoin = off", "SET enable_seqscan = off"],
        &[
            "SET enable_nestloop = off",
            "SET enable_indexscan = off",
            "SET enable_bitmapscan = off",
            "SET from_collapse_limit = 1",
        ],
    ];
    let mut sessions: Vec<Twins> = settings.iter().map(|s| Twins::new(ANA, s)).collect();
    let mut found = Vec::new();
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..count {
        let statement = generator.statement();
        let sql = statement.to_string();
        let twins = &mut sessions[number % settings.len()];
        let way = if number % 5 == 4 { Way::Extended(1) } else { Way::Simple };
        let answers = twins.say(way, &sql);
        *codes.entry(answers.0.code()).or_default() += 1;
        if let Some(difference) = twins.compare(&answers, ordered(&sql)) {
            let (sql, difference) = reduced(twins, way, statement, difference);
            found.push(format!("{number} {:?} {way:?}: {sql}\n{difference}", settings[number % settings.len()]));
        }
    }
    let mut summary = String::new();
    codes.iter().for_each(|(code, n)| write!(summary, " {code}:{n}").unwrap());
    println!("seed {seed}, {count} statements, by SQLSTATE:{summary}");
    assert!(found.is_empty(), "seed {seed}: {} differences\n{}", found.len(), found.join("\n"));
    let good = codes.get("").copied().unwrap_or_default();
    assert!(good * 2 > count, "only {good} of {count} generated statements are executed:{summary}");
}

/// The smallest statement below a difference that still shows one.
fn reduced(twins: &mut Twins, way: Way, statement: Statement, shown: String) -> (String, String) {
    let (mut statement, mut shown) = (statement, shown);
    'again: loop {
        for smaller in statement.smaller() {
            let sql = smaller.to_string();
            if let Some(difference) = twins.difference(way, &sql) {
                (statement, shown) = (smaller, difference);
                continue 'again;
            }
        }
        return (statement.to_string(), shown);
    }
}

#[test]
fn generated_statements() {
    let (seeds, count) = if long() { (20, 2000) } else { (2, 750) };
    let first = std::env::var("SQLVEIL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    for seed in first..first + seeds {
        generated(seed, count);
    }
}
