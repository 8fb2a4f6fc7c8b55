//! Statements that differ in their literals alone come from one plan, and mean each what they mean.

use super::support::{ANYONE, Stage};
use tokio_postgres::SimpleQueryMessage;

const SCHEMA: &str = "
    CREATE TABLE account (id int PRIMARY KEY, branch int, owner text, opened date, balance numeric(12,2), note varchar(40));
    INSERT INTO account SELECT n, n % 5, 'owner' || n % 7, date '2020-01-01' + n, n * 1.5, 'it''s ' || n
    FROM generate_series(1, 200) n;
    CREATE TABLE branch (id int PRIMARY KEY, city text);
    INSERT INTO branch SELECT n, 'city' || n FROM generate_series(0, 9) n;
    -- What `account` is to `ana`, written by hand.
    CREATE SCHEMA seen;
    CREATE VIEW seen.account AS SELECT id, branch, 'owner3'::text AS owner, opened, balance, note
    FROM public.account WHERE branch IN (1, 2, 3) AND id <> 17;";

/// Row predicates with constants of their own, a mask, a write permission.
async fn stage() -> Stage {
    Stage::new()
        .await
        .sql(SCHEMA)
        .await
        .sources(&[("account", "{branch: [Branch], owner: [Secret]}"), ("branch", "{}")])
        .policy(ANYONE)
        .policy("policyKey: rows\nname: rows\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"branch IN (1, 2, 3) AND id <> 17\"}\ncircumstances: [{type: columnTags, columnTag: Branch}]\n")
        .policy("policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Secret}], maskingConfig: {type: Constant, constant: 'owner3'}}\n")
        .writable()
        .await
        .writes("ana", &["account", "branch"])
        .user("ana", &[], &[])
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Vec<Vec<Option<String>>> {
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        })
        .collect()
}

/// `{}` of a statement in turn.
fn with(statement: &str, literals: &[&str]) -> String {
    let mut pieces = statement.split("{}");
    let mut out = pieces.next().unwrap().to_owned();
    for (literal, piece) in literals.iter().zip(pieces) {
        out.push_str(literal);
        out.push_str(piece);
    }
    out
}

/// Statements whose literals are open, and values for them.
const OPEN: &[(&str, &[&[&str]])] = &[
    ("SELECT balance FROM account WHERE id = {}", &[&["1"], &["2"], &["17"], &["16"], &["100000"], &["0"]]),
    ("SELECT id FROM account WHERE id = -{}", &[&["1"], &["0"], &["22"]]),
    (
        "SELECT id, owner FROM account WHERE owner = {} ORDER BY id",
        &[&["'owner3'"], &["'owner4'"], &["''"], &["'it''s'"]],
    ),
    (
        "SELECT id FROM account WHERE id BETWEEN {} AND {} AND branch IN ({}, {}) ORDER BY id LIMIT {} OFFSET {}",
        &[&["1", "50", "1", "2", "10", "0"], &["20", "60", "3", "3", "5", "1"], &["9", "3", "1", "4", "100", "0"]],
    ),
    (
        "SELECT a.id, b.city FROM account a JOIN branch b ON b.id = a.branch AND b.id > {} WHERE a.note <> {} AND a.balance > {} ORDER BY 1",
        &[&["0", "'it''s 7'", "250"], &["1", "''", "30"], &["2", "'it''s 12'", "1"]],
    ),
    (
        "SELECT count(*) FROM account WHERE opened > date {} AND opened < {}::date",
        &[&["'2020-02-01'", "'2020-05-01'"], &["'2020-03-01'", "'2020-04-01'"], &["'2019-01-01'", "'2030-01-01'"]],
    ),
    (
        "SELECT id FROM account a WHERE EXISTS (SELECT 1 FROM account x WHERE x.id = a.id + {} AND x.branch = {}) ORDER BY 1",
        &[&["1", "2"], &["5", "3"], &["10", "1"]],
    ),
    ("SELECT branch, count(*) FROM account WHERE id < {} GROUP BY branch ORDER BY 1", &[&["10"], &["100"], &["17"]]),
];

/// Statements whose literals say what is meant: each is planned by itself.
const SHUT: &[(&str, &[&[&str]])] = &[
    ("SELECT id, branch FROM account ORDER BY {}, id", &[&["1"], &["2"], &["1"]]),
    ("SELECT branch, count(*) FROM account GROUP BY {} ORDER BY {}", &[&["1", "1"], &["1", "2"], &["1", "1"]]),
    ("SELECT count(*) FROM account WHERE note LIKE {}", &[&["'%1%'"], &["'it%'"], &["'\\%'"]]),
    ("SELECT substring(note, {}, {}) FROM account ORDER BY 1", &[&["1", "2"], &["3", "4"], &["2", "1"]]),
    ("SELECT branch + {} FROM account GROUP BY branch + {} ORDER BY 1", &[&["1", "1"], &["2", "2"], &["3", "3"]]),
];

#[tokio::test]
async fn each_means_what_it_means() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    running.admin().simple_query("SET search_path = seen, public").await.unwrap();
    let answers_of = async |sets: &[(&str, &[&[&str]])]| {
        for (statement, literals) in sets {
            // Twice, so that the first ones are filled too.
            for literals in literals.iter().chain(*literals) {
                let asked = with(statement, literals);
                let expected = rows(running.admin().simple_query(&asked).await.expect(&asked));
                let got = rows(client.simple_query(&asked).await.expect(&asked));
                assert_eq!(got, expected, "{asked}");
            }
        }
    };
    let before = running.proxy().plans();
    answers_of(OPEN).await;
    let after = running.proxy().plans();
    // The first two of each are planned; of `-0`, which is printed as `0`, no form is made.
    let asked: u64 = OPEN.iter().map(|(_, literals)| literals.len() as u64 * 2).sum();
    let planned = after.planned - before.planned;
    assert_eq!(planned, 2 * OPEN.len() as u64 + 1, "{before:?} {after:?}");
    assert_eq!((after.filled - before.filled) + (after.kept - before.kept), asked - planned);
    assert!(after.filled - before.filled >= asked - planned - OPEN.len() as u64 - 1, "{before:?} {after:?}");

    answers_of(SHUT).await;
    assert_eq!(running.proxy().plans().filled, after.filled);
}

#[tokio::test]
async fn what_is_written_is_what_was_said() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    for n in [1, 2, 3, 5, 8] {
        client.simple_query(&format!("INSERT INTO branch VALUES ({}, 'new''{n}')", 100 + n)).await.expect("inserted");
        client.simple_query(&format!("UPDATE branch SET city = 'c{n}' WHERE id = {n}")).await.expect("updated");
        let changed = format!("UPDATE account SET balance = balance + {} WHERE id = {n}", [7, -7][n % 2]);
        client.simple_query(&changed).await.expect(&changed);
        client.simple_query(&format!("DELETE FROM branch WHERE id = {}", 100 + n - n % 2)).await.expect("deleted");
    }
    let told = async |sql: &str| rows(running.admin().simple_query(sql).await.unwrap());
    let written = told("SELECT id, city FROM branch WHERE id > 100 OR city LIKE 'c_' ORDER BY id").await;
    let written: Vec<String> =
        written.iter().map(|row| row.iter().flatten().cloned().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(written, ["1 c1", "2 c2", "3 c3", "5 c5", "8 c8", "101 new'1", "103 new'3", "105 new'5"]);
    // 5 is in branch 0, which is hidden.
    let balances = told("SELECT balance - id * 1.5 FROM account WHERE id IN (1, 2, 3, 5, 8) ORDER BY id").await;
    let balances: Vec<_> = balances.iter().flatten().flatten().map(String::as_str).collect();
    assert_eq!(balances, ["-7.00", "7.00", "-7.00", "0.00", "7.00"]);
    assert!(running.proxy().plans().filled >= 10, "{:?}", running.proxy().plans());
}

#[tokio::test]
async fn errors_point_at_the_callers_own_text() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    for (number, word) in [("1", "'x'"), ("234567", "'yz'"), ("3", "'a longer one'"), ("44", "''")] {
        let text = format!("SELECT id FROM account WHERE id = {number} AND opened > {word} AND id = 5");
        let place = |error: &tokio_postgres::Error| match error.as_db_error().and_then(|e| e.position()) {
            Some(tokio_postgres::error::ErrorPosition::Original(at)) => Some(*at),
            _ => None,
        };
        let error = client.simple_query(&text).await.expect_err("no date");
        let direct = running.admin().simple_query(&text).await.expect_err("no date");
        assert_eq!(place(&error), place(&direct), "{text}");
        assert_eq!(error.as_db_error().unwrap().message(), direct.as_db_error().unwrap().message());
    }
    assert!(running.proxy().plans().filled >= 2, "{:?}", running.proxy().plans());
}

/// A literal may ask for relations that the catalog lists only when it is asked for them.
#[tokio::test]
async fn a_literal_that_names_the_proxys_own_schema_is_no_other_literal() {
    let running = stage().await.start().await;
    let client = running.client("ana").await;
    let of = |schema: &str| {
        format!(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = {schema} AND c.relkind IN ('r', 'v') ORDER BY 1"
        )
    };
    for schema in ["'public'", "'nothing'", "'else'"] {
        client.simple_query(&of(schema)).await.unwrap();
    }
    assert!(running.proxy().plans().filled > 0);
    let listed = rows(client.simple_query(&of("'sqlveil'")).await.unwrap());
    assert!(listed.len() > 1, "{listed:?}");
    let oid = rows(client.simple_query("SELECT 'sqlveil.my_access'::regclass::oid").await.unwrap());
    let oid = oid[0][0].clone().unwrap();
    let by_oid = |oid: &str| format!("SELECT relname FROM pg_class WHERE oid = '{oid}' AND relkind <> 'x'");
    for oid in ["1", "2", "3"] {
        client.simple_query(&by_oid(oid)).await.unwrap();
    }
    assert_eq!(rows(client.simple_query(&by_oid(&oid)).await.unwrap()), [[Some("my_access".to_owned())]]);
}
