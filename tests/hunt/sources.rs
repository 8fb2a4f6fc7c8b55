//! Where statements come from, and over which pair, as whom and how each is asked.

use crate::arena::{Arena, Pair};
use crate::attacks;
use crate::fixed;
use crate::generator::Generator;
use crate::lexicon::Lexicon;
use crate::mutate::Pool;
use crate::options::Options;
use crate::session::{Case, Session, Way};
use crate::smith::Smith;
use crate::typed::Typed;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// Plans that the same statements are asked under.
pub const SETTINGS: &[&[&str]] = &[
    &[],
    &["SET enable_hashjoin = off", "SET enable_mergejoin = off", "SET enable_seqscan = off"],
    &[
        "SET enable_nestloop = off",
        "SET enable_indexscan = off",
        "SET enable_bitmapscan = off",
        "SET from_collapse_limit = 1",
    ],
    &["SET enable_hashagg = off", "SET enable_sort = off", "SET work_mem = '64kB'", "SET join_collapse_limit = 1"],
    &[
        "SET enable_material = off",
        "SET plan_cache_mode = force_generic_plan",
        "SET enable_indexonlyscan = off",
        "SET geqo = off",
    ],
];

/// A source's name, and how large its share is.
const SHARES: &[(&str, u32)] =
    &[("fixed", 3), ("grammar", 5), ("typed", 6), ("sqlsmith", 4), ("mutated", 6), ("writes", 3)];

/// What is asked next.
pub struct Next<'a> {
    /// Which source it is of.
    pub source: &'static str,
    /// Over what.
    pub pair: &'a Pair,
    /// As whom.
    pub user: &'static str,
    /// Index into [`SETTINGS`].
    pub settings: usize,
    /// How.
    pub way: Way,
    /// The statement.
    pub case: Case,
}

/// All sources.
pub struct Sources<'a> {
    arena: &'a Arena,
    rng: StdRng,
    shares: Vec<(&'static str, u32)>,
    fixed: Vec<(&'a Pair, &'static str, Way, Case)>,
    grammar: Generator,
    smith: Smith,
    lexicons: BTreeMap<&'static str, Lexicon>,
    pools: BTreeMap<&'static str, Pool>,
}

impl<'a> Sources<'a> {
    /// The sources asked for.
    pub fn new(arena: &'a Arena, options: &Options) -> Self {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let smith = Smith::new(options.seed);
        let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
        let shares =
            SHARES.iter().copied().filter(|(name, _)| wanted(name) && (*name != "sqlsmith" || smith.is_there()));
        let mut lexicons: BTreeMap<&'static str, Lexicon> = BTreeMap::new();
        for user in ["ana", "bob+audit", "eve"] {
            let mut session = Session::open(&arena.level, user, SETTINGS[0]);
            let lexicon = Lexicon::read(&mut session, lexicons.get("ana"), options.functions);
            lexicons.insert(user, lexicon);
        }
        let mut pools: BTreeMap<&'static str, Pool> = BTreeMap::new();
        let over_leak = attacks::STATEMENTS.iter().flat_map(|group| group.iter());
        over_leak.for_each(|sql| pools.entry("even").or_default().add(sql, &mut rng));
        fixed::LEVEL.iter().for_each(|sql| pools.entry("level").or_default().add(sql, &mut rng));
        let mut sources = Self {
            arena,
            shares: shares.collect(),
            fixed: Vec::new(),
            grammar: Generator::new(options.seed),
            smith,
            lexicons,
            pools,
            rng,
        };
        sources.fixed = sources.lists();
        sources
    }

    /// What the caller's catalog gave.
    pub fn about(&self) -> String {
        let mut out = String::new();
        for (user, lexicon) in &self.lexicons {
            let functions: usize = lexicon.functions.values().chain(lexicon.aggregates.values()).map(Vec::len).sum();
            let operators: usize = lexicon.operators.values().map(Vec::len).sum();
            out.push_str(&format!(
                "{user}: {} relations and {} of the system, {} functions ({} names refused), {operators} operators\n",
                lexicon.relations.len(),
                lexicon.system.len(),
                functions + lexicon.sets.len(),
                lexicon.refused
            ));
        }
        out
    }

    /// Everything written by hand, in every way that fits, in random order.
    fn lists(&mut self) -> Vec<(&'a Pair, &'static str, Way, Case)> {
        let mut out = Vec::new();
        let reading = [Way::Copy, Way::CopyAs("FORMAT binary"), Way::Cursor, Way::Portal, Way::Prepared];
        let lists: [(&'a Pair, &[&'static str], Vec<&'static str>); 3] = [
            (&self.arena.loud, &["ana", "eve"], attacks::STATEMENTS.iter().flat_map(|g| g.iter().copied()).collect()),
            (&self.arena.even, &["ana"], attacks::STATEMENTS.iter().flat_map(|g| g.iter().copied()).collect()),
            (&self.arena.level, &["ana", "bob+audit", "eve"], fixed::LEVEL.to_vec()),
        ];
        for (pair, users, statements) in lists {
            for (user, sql) in users.iter().flat_map(|user| statements.iter().map(move |sql| (*user, *sql))) {
                let mut ways = vec![Way::Simple, Way::Extended(0), Way::Extended(1)];
                if sql.starts_with("SELECT") || sql.starts_with("WITH") {
                    ways.extend(reading);
                }
                out.extend(ways.into_iter().map(|way| (pair, user, way, Case::plain(sql))));
            }
        }
        for pair in [&self.arena.loud, &self.arena.even] {
            for (sql, values) in attacks::WITH_PARAMETERS {
                let case = Case { sql: (*sql).to_owned(), values: values.iter().map(|v| (*v).to_owned()).collect() };
                for way in [Way::Extended(0), Way::Extended(1), Way::Prepared, Way::Portal] {
                    out.push((pair, "ana", way, case.clone()));
                }
            }
        }
        out.shuffle(&mut self.rng);
        out
    }

    /// The next statement.
    pub fn next(&mut self) -> Next<'a> {
        let all: u32 = self.shares.iter().map(|(_, share)| share).sum();
        let mut at = self.rng.random_range(0..all);
        let mut source = self.shares[0].0;
        for (name, share) in &self.shares {
            if at < *share {
                source = name;
                break;
            }
            at -= share;
        }
        // For a while under the same plans, so that few sessions are opened.
        let settings = if self.rng.random_ratio(2, 5) { 0 } else { self.rng.random_range(0..SETTINGS.len()) };
        let arena = self.arena;
        match source {
            "fixed" => {
                if self.fixed.is_empty() {
                    self.fixed = self.lists();
                }
                let (pair, user, way, case) = self.fixed.pop().expect("a list");
                Next { source, pair, user, settings, way, case }
            }
            "grammar" => {
                let case = Case::plain(self.grammar.statement().to_string());
                let pair = if self.rng.random_ratio(2, 3) { &arena.loud } else { &arena.even };
                self.keep("even", &case);
                let way = self.way(&case);
                Next { source, pair, user: "ana", settings, way, case }
            }
            "typed" => {
                let user = ["ana", "ana", "ana", "bob+audit", "bob+audit", "eve"][self.rng.random_range(0..6)];
                let parameters = self.rng.random_ratio(1, 4);
                let case = Typed::new(&self.lexicons[user], &mut self.rng).case(parameters);
                if case.values.is_empty() {
                    self.keep("level", &case);
                }
                let way = self.way(&case);
                Next { source, pair: &arena.level, user, settings, way, case }
            }
            "writes" => {
                let (sql, table) = crate::writes::statement(&mut self.rng);
                let way = if self.rng.random_ratio(1, 12) { Way::Explain("VERBOSE") } else { Way::Writing(table) };
                Next { source, pair: &arena.level, user: "ana", settings, way, case: Case::plain(sql) }
            }
            "sqlsmith" => {
                let sql = self.smith.next(&arena.level).unwrap_or_default();
                // Each connection has its own, which in binary is no text to be found again.
                let case = Case::plain(sql.replace("pg_catalog.pg_backend_pid()", "42"));
                self.keep("level", &case);
                let way = self.way(&case);
                Next { source, pair: &arena.level, user: "ana", settings, way, case }
            }
            _ => {
                let (name, pair) =
                    if self.rng.random_bool(0.5) { ("even", &arena.even) } else { ("level", &arena.level) };
                let user = if name == "level" && self.rng.random_ratio(1, 3) { "bob+audit" } else { "ana" };
                let case = loop {
                    let sql = self.pools[name].mutated(&mut self.rng);
                    if !by_chance(&sql) {
                        break Case::plain(sql);
                    }
                };
                let way = self.way(&case);
                Next { source, pair, user, settings, way, case }
            }
        }
    }

    fn keep(&mut self, pool: &'static str, case: &Case) {
        if self.rng.random_ratio(1, 3) {
            let rng = &mut self.rng;
            self.pools.entry(pool).or_default().add(&case.sql, rng);
        }
    }

    fn way(&mut self, case: &Case) -> Way {
        const READS: &[&str] = &["select", "with", "values", "table"];
        let first = case.sql.trim_start().split([' ', '\n']).next().unwrap_or_default().to_lowercase();
        let reads = READS.contains(&first.as_str()) && !case.sql.contains(';');
        if let Some(table) = crate::writes::written(&case.sql) {
            return Way::Writing(table);
        }
        let with_values = [Way::Extended(0), Way::Extended(1), Way::Prepared, Way::Portal];
        const EXPLAINED: &[&str] = &[
            "COSTS",
            "VERBOSE",
            "FORMAT json",
            "FORMAT yaml, VERBOSE",
            "FORMAT xml",
            "ANALYZE, TIMING off, SUMMARY off, BUFFERS off",
        ];
        match self.rng.random_range(0..23) {
            at if !case.values.is_empty() => with_values[at % with_values.len()],
            0..=9 => Way::Simple,
            10..=12 => Way::Extended(0),
            13..=15 => Way::Extended(1),
            16 if reads => Way::Copy,
            17 if reads => Way::CopyAs(["FORMAT csv, HEADER", "FORMAT binary"][self.rng.random_range(0..2)]),
            18 if reads => Way::Cursor,
            19 if reads => [Way::Portal, Way::Prepared][self.rng.random_range(0..2)],
            20..=21 if reads => Way::Explain(EXPLAINED[self.rng.random_range(0..EXPLAINED.len())]),
            22 if reads => Way::Scratch,
            _ => Way::Simple,
        }
    }
}

/// What is different every time, and what takes long or much: not worth asking.
fn by_chance(sql: &str) -> bool {
    const WORDS: &[&str] = &[
        "random",
        "uuid",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "timeofday",
        "now",
        "current_time",
        "localtime",
        "pg_backend_pid",
        "pg_stat",
        "pg_timezone",
        "generate_series",
        "repeat",
        "lpad",
        "rpad",
        "sleep",
        "advisory",
        "pg_postmaster",
        "pg_conf",
    ];
    let lower = sql.to_lowercase();
    WORDS.iter().any(|word| lower.contains(word))
}
