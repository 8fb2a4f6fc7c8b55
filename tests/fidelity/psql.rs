//! psql's commands that read (PostgreSQL manual, psql, "Meta-Commands"), through the proxy and by an unprivileged login of the warehouse.
//!
//! The database holds everything that has a command of its own. Where the two differ there is one reason, written beside the command, and the
//! direct answer changed by just that reason is what the proxy has to say.

use crate::pair::ready;
use crate::support::{Running, Stage, server};

/// Tables of every kind with keys, defaults, comments; what hangs on them.
const SHOP: &str = "
    CREATE TYPE state AS ENUM ('open', 'paid', 'done');
    CREATE DOMAIN amount AS numeric(12,2) CONSTRAINT not_negative CHECK (VALUE >= 0);
    CREATE TYPE place AS (street text, zip varchar(5));
    CREATE TYPE span AS RANGE (subtype = timestamptz);
    CREATE TABLE customer (id int PRIMARY KEY, name text COLLATE \"C\" NOT NULL, home place, born date, mail varchar(80) UNIQUE,
        since timestamptz NOT NULL DEFAULT '2020-01-01 00:00Z');
    COMMENT ON TABLE customer IS 'who buys';
    COMMENT ON COLUMN customer.name IS 'as on the card';
    CREATE TABLE item (code char(8) PRIMARY KEY, title text NOT NULL, price amount, tags text[] DEFAULT '{}',
        gross numeric GENERATED ALWAYS AS (price * 1.19) STORED, data jsonb);
    CREATE INDEX item_title ON item (lower(title)) WHERE price > 0;
    CREATE INDEX item_data ON item USING gin (data jsonb_path_ops);
    COMMENT ON INDEX item_title IS 'for the search box';
    CREATE TABLE purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int NOT NULL REFERENCES customer,
        item char(8) REFERENCES item ON DELETE CASCADE DEFERRABLE, st state NOT NULL DEFAULT 'open', at span,
        n int CHECK (n > 0), EXCLUDE USING gist (at WITH &&), UNIQUE (customer_id, item));
    COMMENT ON CONSTRAINT purchase_n_check ON purchase IS 'at least one';
    CREATE TABLE measure (day date NOT NULL, site int NOT NULL, value float8, PRIMARY KEY (day, site)) PARTITION BY RANGE (day);
    CREATE TABLE measure_2023 PARTITION OF measure FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
    CREATE TABLE measure_2024 PARTITION OF measure FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (site);
    CREATE TABLE measure_2024_1 PARTITION OF measure_2024 FOR VALUES IN (1);
    CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
    CREATE TABLE thing (id serial PRIMARY KEY, name text); CREATE TABLE bike (gears int) INHERITS (thing);
    CREATE UNLOGGED TABLE fast (k int, v text) WITH (fillfactor = 70);
    CREATE VIEW paid AS SELECT p.id, c.name FROM purchase p JOIN customer c ON c.id = p.customer_id WHERE p.st = 'paid';
    COMMENT ON VIEW paid IS 'paid purchases';
    CREATE MATERIALIZED VIEW totals AS SELECT customer_id, sum(n) AS n FROM purchase GROUP BY 1;
    CREATE UNIQUE INDEX totals_key ON totals (customer_id);
    CREATE TABLE \"Odd Name\" (\"Spalte ß\" int, \"select\" text);
    INSERT INTO customer SELECT i, 'c' || i, ROW('Way ' || i, ('1' || i)::varchar(5))::place, DATE '1980-01-01' + i, 'm' || i FROM generate_series(1, 50) i;
    INSERT INTO item SELECT 'i' || i, 'Item ' || i, i FROM generate_series(1, 40) i;
    INSERT INTO purchase (customer_id, item, n) SELECT i, 'i' || (i % 40 + 1), i % 5 + 1 FROM generate_series(1, 50) i;
    INSERT INTO measure SELECT DATE '2023-11-01' + i, 1, i FROM generate_series(1, 200) i;
    REFRESH MATERIALIZED VIEW totals;
    ANALYZE;
";

async fn shop() -> (Running, String) {
    ready(Stage::new().await.sql(SHOP).await).await
}

/// Why an answer is another than the direct one, and what the direct one lacks or has instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum But {
    /// Everything is owned by `warehouse`: the roles of the warehouse are not shown.
    Owner,
    /// Sizes of the system's relations, of views and of partitioned indexes are not told: in lines that begin with this.
    Sizes(&'static str),
    /// What a partition's bounds come to is not shown: of a default one it is what the others hold.
    Bounds,
    /// A default that names the sequence of another table is not shown.
    Inherited,
    /// What others may do is not shown.
    Rights,
    /// Definitions of views may name what is hidden.
    Definitions,
    /// Storage parameters and tablespaces are not shown.
    Storage,
    /// Lines with this are missing: the reason stands beside the command.
    Lacks(&'static str),
    /// More than can be said line by line; the command runs, and the reason is given.
    Otherwise(&'static str),
}

use But::{Bounds, Definitions, Inherited, Lacks, Otherwise, Owner, Rights, Sizes, Storage};

const SEQUENCES: &str = "sequences cannot be registered";
const OWN_ROLES: &str = "one sees oneself and `warehouse`";
const OWN_DATABASE: &str = "one sees the database one is connected to";
const SETTINGS: &str = "settings that shape a client's output are shown, and the caller's own search path";
const VIEWS: &str = "definitions of views are not shown";

/// The commands, and what of their answer is not the direct one.
const COMMANDS: &[(&str, &[But])] = &[
    ("\\d", &[Lacks("_seq|sequence"), Owner]),
    ("\\d+", &[Lacks("_seq|sequence"), Sizes("public\\|paid"), Owner]),
    ("\\dS", &[Lacks("_seq|sequence"), Owner]),
    ("\\d customer", &[]),
    ("\\d+ customer", &[]),
    ("\\d purchase", &[]),
    ("\\d+ purchase", &[]),
    ("\\d item", &[]),
    ("\\d+ item", &[]),
    ("\\d measure", &[]),
    ("\\d+ measure", &[]),
    ("\\d measure_2023", &[]),
    ("\\d+ measure_2024", &[Bounds]),
    ("\\d thing", &[]),
    ("\\d+ thing", &[]),
    ("\\d bike", &[Inherited]),
    ("\\d fast", &[]),
    ("\\d+ fast", &[Storage]),
    ("\\d paid", &[]),
    ("\\d+ paid", &[Definitions]),
    ("\\d totals", &[]),
    ("\\d+ totals", &[Definitions]),
    ("\\d \"Odd Name\"", &[]),
    ("\\d item_title", &[]),
    ("\\d+ item_data", &[]),
    ("\\d purchase_id_seq", &[Otherwise(SEQUENCES)]),
    ("\\d+ purchase_id_seq", &[Otherwise(SEQUENCES)]),
    ("\\d c*", &[]),
    ("\\d public.*", &[Otherwise("sequences cannot be registered, and bounds of partitions are not shown")]),
    ("\\d nothing", &[]),
    ("\\d pg_catalog.pg_class", &[]),
    ("\\d+ information_schema.tables", &[Definitions]),
    ("\\dt", &[Owner]),
    ("\\dt+", &[Owner]),
    ("\\dtS+", &[Sizes("pg_catalog"), Owner]),
    ("\\dt public.*", &[Owner]),
    ("\\dt cust*", &[Owner]),
    ("\\dt *.*", &[Lacks("pg_toast|"), Owner]),
    ("\\dti", &[Owner]),
    ("\\di", &[Owner]),
    ("\\di+", &[Owner]),
    ("\\di item*", &[Owner]),
    ("\\dv", &[Owner]),
    ("\\dv+", &[Sizes(""), Owner]),
    ("\\dvS", &[Owner]),
    ("\\dm", &[Owner]),
    ("\\dm+", &[Owner]),
    ("\\ds", &[Otherwise(SEQUENCES)]),
    ("\\ds+", &[Otherwise(SEQUENCES)]),
    ("\\dE", &[]),
    ("\\dE+", &[]),
    ("\\dn", &[Owner]),
    ("\\dn+", &[Rights, Owner]),
    ("\\dnS", &[Lacks("pg_toast"), Owner]),
    ("\\dnS+", &[Lacks("pg_toast"), Rights, Owner]),
    ("\\df", &[Lacks("public|")]),
    ("\\df+", &[Lacks("public|")]),
    ("\\df lower", &[]),
    ("\\dfS lower", &[]),
    ("\\dfS+ lower", &[Owner]),
    ("\\df pg_catalog.abs*", &[]),
    ("\\dfa", &[]),
    ("\\dfaS", &[]),
    ("\\dfnS pg_get_*", &[]),
    ("\\dfwS", &[]),
    ("\\dfpS", &[]),
    ("\\dftS", &[]),
    ("\\df * int", &[]),
    ("\\dfS abs int", &[]),
    ("\\da", &[]),
    ("\\daS", &[]),
    ("\\da sum", &[]),
    ("\\daS sum", &[]),
    ("\\da+ max", &[]),
    ("\\do", &[]),
    ("\\doS", &[]),
    ("\\do+ ||", &[]),
    ("\\doS && int4range", &[]),
    ("\\do = int int", &[]),
    ("\\dT", &[Lacks("multirange")]),
    ("\\dT+", &[Lacks("multirange"), Owner]),
    ("\\dTS+", &[Lacks("span_multirange"), Owner]),
    ("\\dT state", &[]),
    ("\\dT+ state", &[Owner]),
    ("\\dD", &[]),
    ("\\dD+", &[]),
    ("\\dDS", &[]),
    ("\\dDS+", &[]),
    ("\\dC", &[Lacks("span")]),
    ("\\dC+", &[Lacks("span")]),
    ("\\dC text", &[]),
    ("\\dc", &[]),
    ("\\dcS", &[]),
    ("\\dcS+ *utf8*", &[]),
    ("\\dd", &[]),
    ("\\ddS", &[]),
    ("\\dd *", &[]),
    ("\\dd public.*", &[]),
    ("\\dO", &[]),
    ("\\dOS", &[]),
    ("\\dO+", &[]),
    ("\\dOS+ de*", &[]),
    ("\\dL", &[Owner]),
    ("\\dL+", &[Rights, Owner]),
    ("\\dLS", &[Owner]),
    ("\\dLS+", &[Rights, Owner]),
    ("\\dp", &[Rights, Lacks("_seq|sequence")]),
    ("\\z", &[Rights, Lacks("_seq|sequence")]),
    ("\\dpS pg_class", &[]),
    ("\\dp customer", &[Rights]),
    ("\\ddp", &[Lacks("|public|")]),
    ("\\ddp public", &[Lacks("|public|")]),
    ("\\du", &[Otherwise(OWN_ROLES)]),
    ("\\du+", &[Otherwise(OWN_ROLES)]),
    ("\\dg", &[Otherwise(OWN_ROLES)]),
    ("\\dgS", &[Otherwise(OWN_ROLES)]),
    ("\\duS+", &[Otherwise(OWN_ROLES)]),
    ("\\drds", &[]),
    ("\\db", &[Owner]),
    ("\\db+", &[Otherwise("directly it is forbidden")]),
    ("\\dF", &[]),
    ("\\dF+", &[]),
    ("\\dF simple", &[]),
    ("\\dF+ english", &[]),
    ("\\dFd", &[]),
    ("\\dFd+", &[]),
    ("\\dFd simple", &[]),
    ("\\dFp", &[]),
    ("\\dFp+", &[]),
    ("\\dFt", &[]),
    ("\\dFt+", &[]),
    ("\\dX", &[]),
    ("\\dX+", &[]),
    ("\\dy", &[]),
    ("\\dy+", &[]),
    ("\\dx", &[]),
    ("\\dx+", &[]),
    ("\\des", &[]),
    ("\\des+", &[]),
    ("\\dew", &[]),
    ("\\dew+", &[]),
    ("\\det", &[]),
    ("\\det+", &[]),
    ("\\deu", &[]),
    ("\\deu+", &[]),
    ("\\dP", &[Owner]),
    ("\\dP+", &[Sizes("public"), Owner]),
    ("\\dPn", &[Owner]),
    ("\\dPt", &[Owner]),
    ("\\dPi", &[Owner]),
    ("\\dPtn+", &[Otherwise("sizes are not shown, so that their sum is zero")]),
    ("\\dA", &[]),
    ("\\dA+", &[]),
    ("\\dAc", &[]),
    ("\\dAc+", &[Owner]),
    ("\\dAc btree", &[]),
    ("\\dAc btree int4", &[]),
    ("\\dAf", &[]),
    ("\\dAf+ gin", &[Owner]),
    ("\\dAo", &[]),
    ("\\dAo+ btree array_ops", &[]),
    ("\\dAo brin *", &[]),
    ("\\dAp", &[]),
    ("\\dAp+ hash", &[]),
    ("\\dconfig", &[Otherwise(SETTINGS)]),
    ("\\dconfig+", &[Otherwise(SETTINGS)]),
    ("\\dconfig work*", &[]),
    ("\\dconfig *", &[Otherwise(SETTINGS)]),
    ("\\dl", &[]),
    ("\\dl+", &[]),
    ("\\lo_list", &[]),
    ("\\l", &[Otherwise(OWN_DATABASE)]),
    ("\\l+", &[Otherwise(OWN_DATABASE)]),
    ("\\l tem*", &[Otherwise(OWN_DATABASE)]),
    ("\\sf lower", &[]),
    ("\\sf abs(int)", &[]),
    ("\\sf+ pg_catalog.trunc(macaddr)", &[]),
    ("\\sf information_schema._pg_truetypid", &[Otherwise("functions of pg_catalog are listed")]),
    ("\\sv paid", &[Otherwise(VIEWS)]),
    ("\\sv+ paid", &[Otherwise(VIEWS)]),
    ("\\sv pg_catalog.pg_tables", &[Otherwise(VIEWS)]),
    ("\\conninfo", &[Otherwise("another port")]),
    ("\\dRp", &[]),
    ("\\dRp+", &[]),
    ("\\dRs", &[]),
    ("\\dRs+", &[Otherwise("directly it is forbidden; here there are none")]),
    ("\\encoding", &[]),
    ("\\dg+ *", &[Otherwise(OWN_ROLES)]),
];

/// The direct answer, changed by the reasons.
fn changed(direct: &str, buts: &[But], superuser: &str) -> String {
    let mut text = direct.to_owned();
    let replace = |text: &str, pattern: &str, with: &str| {
        regex::Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let footer = regex::Regex::new(r"^\((\d+) rows?\)$").unwrap();
    for but in buts {
        text = match but {
            Owner => {
                let field = |f: &str| {
                    if [superuser, "pg_database_owner"].contains(&f) { "warehouse".to_owned() } else { f.to_owned() }
                };
                text.split('\n')
                    .map(|l| l.split('|').map(field).collect::<Vec<_>>().join("|"))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            Sizes(begin) => replace(&text, &format!(r"(?m)^({begin}.*)\|\d+ (bytes|kB|MB)\|"), "$1||"),
            Bounds => replace(&text, r"Partition constraint: .*", "No partition constraint"),
            Inherited => text.replace("nextval('thing_id_seq'::regclass)", ""),
            Rights => replace(&text, r"\b[a-z_0-9]*=[a-zA-Z*]*/[a-z_0-9]+(\n[a-z_0-9]*=[a-zA-Z*]*/[a-z_0-9]+)*", ""),
            Definitions => replace(&text, r"(?s)View definition:\n.*?;\n", "View definition:\n\n"),
            Storage => {
                let text = replace(&text, r#", tablespace "pg_global""#, "");
                replace(&text, r#"(Options: .*|Tablespace: "pg_global")\n"#, "")
            }
            Lacks(word) => {
                let lines: Vec<&str> = text.split('\n').filter(|l| !l.contains(word)).collect();
                let gone = text.split('\n').count() - lines.len();
                let count = |l: &str| match footer.captures(l).map(|c| c[1].parse::<usize>().unwrap() - gone) {
                    Some(1) => "(1 row)".to_owned(),
                    Some(n) => format!("({n} rows)"),
                    None => l.to_owned(),
                };
                lines.into_iter().map(count).collect::<Vec<_>>().join("\n")
            }
            Otherwise(_) => text,
        };
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_that_read_answer_as_directly() {
    let (running, role) = shop().await;
    let (running, role) = (&running, role.as_str());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let (wrong, same) = std::thread::scope(|threads| {
        let work = || {
            let (mut wrong, mut same) = (Vec::new(), 0);
            while let Some((command, buts)) = COMMANDS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                match one(running, role, command, buts) {
                    Ok(alike) => same += usize::from(alike),
                    Err(what) => wrong.push(format!("{command} {what}")),
                }
            }
            (wrong, same)
        };
        let all: Vec<_> = (0..4).map(|_| threads.spawn(work)).collect();
        all.into_iter().map(|t| t.join().unwrap()).fold((Vec::new(), 0), |(mut wrong, same), (more, n)| {
            wrong.extend(more);
            (wrong, same + n)
        })
    });
    eprintln!("psql: {} commands, {same} answered as directly", COMMANDS.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether a command is answered as directly; an error when it is answered otherwise than it should be.
fn one(running: &Running, role: &str, command: &str, buts: &[But]) -> Result<bool, String> {
    let args = ["-A", "-c", command];
    let (mine, theirs) = (running.psql(role, &args), running.direct_psql(role, &args));
    if mine.err.contains("ERROR") && !theirs.err.contains("ERROR") && !matches!(buts.first(), Some(Otherwise(_))) {
        return Err(mine.err);
    }
    let alike = mine.out == theirs.out && mine.err == theirs.err;
    if alike && !buts.is_empty() {
        // A reason that no longer holds is not to be kept.
        return Err("is answered as directly".to_owned());
    }
    if let Some(Otherwise(_)) = buts.first() {
        return Ok(false);
    }
    let expected = changed(&theirs.out, buts, server().superuser());
    if mine.out == expected && mine.err == theirs.err {
        return Ok(alike);
    }
    let first = mine.out.lines().zip(expected.lines()).find(|(a, b)| a != b);
    Err(format!(
        "{buts:?}: {first:?}{}\n  {} and {} lines",
        mine.err,
        mine.out.lines().count(),
        expected.lines().count()
    ))
}
