//! Two servers, each with one warehouse of every pair, and the proxies in front of them.
//!
//! Databases of a pair have one name and one history, so that object identifiers are the same in both.

use crate::log::{self, Found, Log, MARK};
use crate::support::{PrivatePostgres, Running, Setup, Stage};
use crate::world::runtime;
use crate::{rich, world};
use std::sync::OnceLock;

/// How the answers of a pair are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigour {
    /// Every byte in order.
    Exact,
    /// Rows as a multiset where the statement does not order them: the two have different statistics.
    AsSets,
}

/// Two warehouses that differ in what is hidden: tame values, and wild ones.
pub struct Pair {
    /// Its name, and that of the databases.
    pub name: &'static str,
    /// The proxies: tame, wild.
    pub sides: [Running; 2],
    /// How answers are compared.
    pub rigour: Rigour,
}

/// Everything that is attacked.
pub struct Arena {
    /// The world of the leak tests: different amounts, different statistics, no visible value that raises.
    pub loud: Pair,
    /// The same tables, hidden rows of one amount: the same layout.
    pub even: Pair,
    /// [`rich`]: the same layout.
    pub level: Pair,
    logs: Vec<Log>,
}

/// As if nobody had counted the rows.
const UNCOUNTED: &str = "UPDATE pg_class SET relpages = 0, reltuples = -1 WHERE oid >= 16384";

/// What can be written over [`rich`].
const TABLES: &str = "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
     WHERE relkind = 'r' AND c.oid >= 16384 AND nspname !~ '^pg_' ORDER BY 1";

/// The servers: for the tame side and the wild one.
fn servers() -> &'static [PrivatePostgres; 2] {
    static SERVERS: OnceLock<[PrivatePostgres; 2]> = OnceLock::new();
    SERVERS.get_or_init(|| {
        [(); 2].map(|()| {
            let mut settings: Vec<(String, String)> = [
                ("max_connections", "60"),
                ("autovacuum", "off"),
                ("max_parallel_workers_per_gather", "0"),
                ("temp_file_limit", "200MB"),
            ]
            .iter()
            .chain(log::SETTINGS)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
            settings.push(("shared_buffers".into(), "64MB".into()));
            PrivatePostgres::start_with(&Setup { settings, ..Setup::default() }).expect("a private PostgreSQL")
        })
    })
}

impl Arena {
    /// Builds everything.
    pub fn build() -> Self {
        let arena = runtime().block_on(async {
            let [tame, wild] = servers();
            let loud = [loud(tame, world::TAME).await, loud(wild, world::WILD).await];
            let even = [even(tame, world::TAME).await, even(wild, world::WILD).await];
            let level = [level(tame, rich::Side::Tame).await, level(wild, rich::Side::Wild).await];
            let logs = servers().iter().map(Log::of).collect();
            Self {
                loud: Pair { name: "loud", sides: loud, rigour: Rigour::AsSets },
                even: Pair { name: "even", sides: even, rigour: Rigour::Exact },
                level: Pair { name: "level", sides: level, rigour: Rigour::Exact },
                logs,
            }
        });
        arena.even.is_level();
        arena.level.smooth();
        arena.level.is_level();
        arena
    }

    /// Takes away what rolled back writes left of themselves, where it takes more room in one warehouse than in the other.
    pub fn smooth(&self) {
        let [tame, wild] = self.level.sizes();
        if tame != wild {
            self.level.smooth();
            self.level.is_level();
        }
    }

    /// Reads the logs as they grow.
    pub fn read_logs(&self) {
        self.logs.iter().for_each(Log::read);
    }

    /// Stops the proxies and reads the logs to their end.
    pub fn finish(mut self) -> Vec<Found> {
        runtime().block_on(async {
            for running in self.loud.sides.iter_mut().chain(&mut self.even.sides).chain(&mut self.level.sides) {
                running.stop().await;
                running.admin().batch_execute("SELECT 1").await.expect("the superuser is still there");
            }
            for running in &self.loud.sides {
                running.admin().batch_execute(MARK).await.expect("the mark");
            }
        });
        self.logs.into_iter().map(Log::finish).collect()
    }
}

async fn loud(server: &'static PrivatePostgres, hidden: &str) -> Running {
    let stage = Stage::named(server, "loud", "template1").await.sql(&log::logged("service_loud")).await;
    let stage = stage.sql(world::SCHEMA).await.sql(world::SHOWN).await.sql(hidden).await;
    let stage = stage.sql("REFRESH MATERIALIZED VIEW m_emp").await.sql("VACUUM ANALYZE").await;
    world::govern(stage).start().await
}

/// Little enough of the wild values that the planner sees no difference.
async fn even(server: &'static PrivatePostgres, hidden: &str) -> Running {
    let few = ["(1000, 2999)", "(1000, 1400)", "(1000, 2400)"]
        .iter()
        .fold(hidden.to_owned(), |sql, many| sql.replace(many, "(1000, 1011)"));
    let few = few.replace("(1, 400)", "(1, 12)").replace("(9000, 9020)", "(9000, 9003)").replace("(1, 300)", "(1, 12)");
    let few = few.replace("id::text), 40)", "id::text), 4)").replace("id::text), 30)", "id::text), 4)");
    // An index without a row is smaller than one with a row.
    let some = "INSERT INTO peek SELECT i, 'red', '1', 1, '1', '1', '1' FROM generate_series(500, 502) i";
    let stage = Stage::named(server, "even", "template1").await.sql(&log::logged("service_even")).await;
    let stage = stage.sql(world::SCHEMA).await.sql(world::SHOWN).await.sql(&few).await.sql(some).await;
    // Updated rows lie where there was room: in order again, and as if nobody had counted them.
    let stage = stage.sql("CLUSTER log USING log_pkey; CLUSTER emp USING emp_pkey").await.sql(UNCOUNTED).await;
    world::govern(stage.sql("REFRESH MATERIALIZED VIEW m_emp").await).start().await
}

async fn level(server: &'static PrivatePostgres, side: rich::Side) -> Running {
    let stage =
        Stage::named(server, "level", "template1").await.writable().await.sql(&log::logged("service_level")).await;
    let stage = stage.sql(rich::SCHEMA).await.sql(&rich::filling(side)).await;
    rich::govern(stage).start().await
}

/// A relation, and how many blocks the planner takes a relation that nobody analysed for: never fewer than ten (plancat.c,
/// `estimate_rel_size`); indexes are as large as they are.
const SIZES: &str = "SELECT c.relname::text || ' ' || CASE WHEN c.relkind = 'i' THEN n ELSE greatest(n, 10) END FROM pg_class c, \
     LATERAL (SELECT pg_relation_size(c.oid) / 8192 AS n) s WHERE c.relkind IN ('r', 'i', 'm') AND c.oid >= 16384 \
     AND c.relname !~ '^pg_' ORDER BY 1";

impl Pair {
    fn sizes(&self) -> [Vec<String>; 2] {
        self.sides.each_ref().map(|running| {
            let rows = runtime().block_on(running.admin().query(SIZES, &[])).expect("sizes");
            rows.iter().map(|row| row.get::<_, String>(0)).collect()
        })
    }

    /// Writes the tables and their indexes anew, rows in their order.
    fn smooth(&self) {
        for running in &self.sides {
            let names = runtime().block_on(running.admin().query(TABLES, &[])).expect("tables");
            let names: Vec<String> = names.iter().map(|row| row.get(0)).collect();
            let all = format!("VACUUM (FULL) {}", names.join(", "));
            runtime().block_on(running.admin().batch_execute(&all)).expect("smoothed");
            runtime().block_on(running.admin().batch_execute(UNCOUNTED)).expect("uncounted");
        }
    }

    /// The planner takes both for equally large.
    fn is_level(&self) {
        let [tame, wild] = self.sizes();
        assert_eq!(tame, wild, "a filling takes more room than the other");
    }
}
