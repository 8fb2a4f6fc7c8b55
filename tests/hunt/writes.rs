//! Random statements that write, for a caller with WRITE grants. They run in a transaction that is rolled back. New keys collide with no
//! hidden row: that a key is taken is told by PostgreSQL itself, and is a documented limit of WRITE grants.

use crate::literals::known;
use rand::Rng;
use rand::rngs::StdRng;

/// Tables that `ana` may write over [`crate::rich`], and the columns that she sets: name, type.
const TABLES: &[(&str, &[(&str, u32)])] = &[
    (
        "staff",
        &[
            ("city", 25),
            ("name", 25),
            ("note", 25),
            ("n", 23),
            ("pay", 1700),
            ("hired", 1082),
            ("rate", 701),
            ("doc", 3802),
            ("ssn", 25),
            ("code", 1043),
            ("arr", 1007),
        ],
    ),
    ("sale", &[("region", 25), ("note", 25), ("qty", 23), ("amount", 1700), ("tax", 701), ("day", 1082)]),
    ("own", &[("person_id", 23), ("note", 25), ("n", 23)]),
    ("part", &[("city", 25), ("note", 25), ("n", 23)]),
    (
        "person",
        &[
            ("name", 25),
            ("note", 25),
            ("salary", 1700),
            ("age", 23),
            ("f", 701),
            ("n", 1700),
            ("doc", 3802),
            ("phone", 1043),
            ("boss", 23),
        ],
    ),
];

/// Names of [`TABLES`].
pub fn tables() -> Vec<&'static str> {
    TABLES.iter().map(|t| t.0).collect()
}

/// Which of [`TABLES`] a statement of any origin may write: the first it mentions.
pub fn written(sql: &str) -> Option<&'static str> {
    let lower = sql.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let writes = |verb: &[&str]| words.windows(verb.len()).any(|w| w == verb);
    let verbs: [&[&str]; 6] =
        [&["insert", "into"], &["update"], &["delete", "from"], &["merge", "into"], &["truncate"], &["from", "stdin"]];
    if !verbs.into_iter().any(writes) {
        return None;
    }
    words.iter().find_map(|word| TABLES.iter().map(|t| t.0).find(|table| table == word))
}

/// A statement, and the table it writes.
pub fn statement(rng: &mut StdRng) -> (String, &'static str) {
    let (table, columns) = TABLES[rng.random_range(0..TABLES.len())];
    let mut pick = |of: &[(&'static str, u32)]| of[rng.random_range(0..of.len())];
    let (a, b, c) = (pick(columns), pick(columns), pick(columns));
    let (new, leaky) = (value(rng, a.1, b.0), condition(rng, "t", c));
    let returning =
        ["", "", " RETURNING *", " RETURNING id, note", " RETURNING 1 / length(note), id"][rng.random_range(0..5)];
    let returning =
        returning.replace("RETURNING ", &format!("RETURNING {}", if returning.contains('*') { "t." } else { "" }));
    let id = rng.random_range(50_000..90_000);
    let city = ["'Bonn'", "'Rom'", "DEFAULT", "NULL"][rng.random_range(0..4)];
    let sql = match rng.random_range(0..9) {
        0..=2 => format!("UPDATE {table} t SET {} = {new} WHERE {leaky}{returning}", a.0),
        3 => format!("DELETE FROM {table} t WHERE {leaky}{returning}"),
        4 => format!("DELETE FROM {table} t USING person p WHERE t.id = p.id AND {leaky}{returning}"),
        5 => format!(
            "UPDATE {table} t SET {} = p.{} FROM person p WHERE p.id = t.id AND {leaky}{returning}",
            a.0,
            ["note", "id", "salary", "name"][rng.random_range(0..4)]
        ),
        6 => {
            let first = columns[0].0;
            let given =
                if first == "city" { city.to_owned() } else { value(rng, columns[0].1, "id").replace("t.id", "1") };
            let select = returning.replace("t.", "");
            format!("INSERT INTO {table} (id, {first}) VALUES ({id}, {given}){select}")
        }
        7 => format!(
            "INSERT INTO {table} (id, {0}) SELECT {id} + t.id, t.{0} FROM {table} t WHERE {leaky} ON CONFLICT (id) DO NOTHING",
            a.0
        ),
        _ => format!(
            "WITH w AS (UPDATE {table} t SET {} = {new} WHERE {leaky} RETURNING t.id) SELECT count(*) FROM w",
            a.0
        ),
    };
    (sql, table)
}

/// A value for a column: a literal, the column itself changed, another column.
fn value(rng: &mut StdRng, oid: u32, other: &str) -> String {
    let Some(t) = known(oid) else { return "NULL".to_owned() };
    match rng.random_range(0..4) {
        0 => format!("(t.{other}::text)::{}", t.name),
        1 => "NULL".to_owned(),
        _ => format!("'{}'::{}", t.literals[rng.random_range(0..t.literals.len())], t.name),
    }
}

/// A condition that raises on many values.
fn condition(rng: &mut StdRng, item: &str, (column, oid): (&str, u32)) -> String {
    let column = format!("{item}.{column}");
    let leaky = match oid {
        23 => format!("10 / {column} >= 0"),
        1700 => format!("{column}::int > 0"),
        701 => format!("sqrt({column}) >= 0"),
        1082 => format!("{column} + 1 > '2000-01-01'"),
        3802 => format!("({column} ->> 'a')::int > 0"),
        1007 => format!("10 / {column}[1] >= 0"),
        _ => format!("{column}::int > 0"),
    };
    let tame = ["id < 12", "id > 900", "id = 3", "id = 1003", "id IS NOT NULL"][rng.random_range(0..5)];
    match rng.random_range(0..4) {
        0 => format!("{item}.{tame}"),
        1 => leaky,
        2 => format!("{item}.{tame} AND {leaky}"),
        _ => format!("CASE WHEN {item}.{tame} THEN {column} IS NOT NULL ELSE {leaky} END"),
    }
}
