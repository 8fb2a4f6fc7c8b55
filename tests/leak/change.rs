//! Rows 9 and 30 of the catalogue: prepared and declared before a change, run after it; the same text from others.

use crate::caller::{Caller, run};
use crate::support::{Running, Stage};
use crate::wire::{bind, describe_what, execute, parse, query, sync};
use crate::world::runtime;
use sqlveil::world::Outcome;

const OPEN: &str =
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n";
const SHUT: &str =
    "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Nobody]}}\n";
const MASK: &str = "policyKey: mask\nname: mask\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {fields: [{type: columnTags, columnTag: Id}], maskingConfig: {type: 'Null'}}\n    exceptions: {purposes: [Fraud]}\n";
const FILTER: &str = "policyKey: filter\nname: filter\ntype: data\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"id < 3\"}\n    exceptions: {groups: [Trusted]}\n";
const NOTHING: &str = "policyKey: filter\nname: filter\ntype: data\nstaged: true\nactions:\n- rules:\n  - type: Row Restriction by Custom Where Clause\n    config: {predicate: \"id < 3\"}\n";
const PROJECT: &str = "projectKey: FRAUD\nname: Fraud\npurposes: [Fraud]\nmembers: [{type: user, name: ana}]\n";

fn small(policies: &[&str]) -> &'static Running {
    let stage = async {
        let stage = Stage::new()
            .await
            .sql(
                "CREATE TABLE emp (id int PRIMARY KEY, ssn text); INSERT INTO emp SELECT i, 'number ' || i FROM generate_series(1, 9) i;
                 CREATE SCHEMA other; CREATE TABLE other.emp (id int PRIMARY KEY, ssn text); INSERT INTO other.emp VALUES (70, 'other')",
            )
            .await
            .sources(&[("emp", "{ssn: [Id]}")])
            .purpose("Fraud")
            .user("ana", &["Staff"], &[])
            .user("max", &["Staff", "Trusted"], &[])
            .user("eve", &["Nobody"], &[]);
        policies.iter().fold(stage, |stage, policy| stage.policy(policy)).project(PROJECT).start().await
    };
    Box::leak(Box::new(runtime().block_on(stage)))
}

fn change(running: &Running, number: usize, document: &str) {
    running.write(&format!("policies/{number:03}.yaml"), document);
    let outcome = runtime().block_on(running.proxy().reload_and_wait());
    // The proxy may have noticed by itself already.
    assert!(matches!(outcome, Outcome::Published(_) | Outcome::Unchanged), "{outcome:?}");
}

/// Row 9: Parse, change, Execute.
#[test]
fn prepared_statements_are_decided_again() {
    let running = small(&[OPEN, NOTHING]);
    let mut ana = Caller::of(running, "ana");
    let sql = "SELECT id, ssn FROM emp WHERE id > $1 ORDER BY id";
    let prepared = ana.frames(&[parse("s", sql, &[]), describe_what(b'S', "s"), sync()].concat(), 1);
    assert_eq!(prepared.columns().len(), 2);
    assert_eq!(ana.simple("PREPARE q(int) AS SELECT id, ssn FROM emp WHERE id > $1 ORDER BY id").code(), "");
    let mut is = |what: &str, rows: &[String]| {
        for _ in 0..2 {
            let answer = ana.frames(&run("s", &["0"]), 1);
            assert_eq!((answer.message().as_str(), answer.rows().as_slice()), ("", rows), "{what}");
        }
        // What was prepared in SQL is known to the warehouse by its name; it is prepared again.
        let answer = ana.simple("EXECUTE q(0)");
        assert_eq!((answer.message().as_str(), answer.rows().as_slice()), ("", rows), "{what}");
    };
    let each = |cell: fn(i32) -> String| (1..=9).map(|i| format!("{i}|{}", cell(i))).collect::<Vec<_>>();
    is("open", &each(|i| format!("number {i}")));
    change(running, 1, FILTER);
    is("filtered", &["1|number 1".to_owned(), "2|number 2".to_owned()]);
    change(running, 2, MASK);
    is("filtered and masked", &["1|∅".to_owned(), "2|∅".to_owned()]);
    change(running, 1, NOTHING);
    is("masked", &each(|_| "∅".to_owned()));
    change(running, 0, SHUT);
    for _ in 0..2 {
        assert_eq!(ana.frames(&run("s", &["0"]), 1).code(), "42P01");
        assert_eq!(ana.simple("EXECUTE q(0)").code(), "42P01");
    }
    assert_eq!(ana.frames(&[describe_what(b'S', "s"), sync()].concat(), 1).code(), "42P01", "not even described");
    change(running, 0, OPEN);
    assert_eq!(ana.frames(&run("s", &["7"]), 1).rows(), ["8|∅", "9|∅"]);
    let again = "DEALLOCATE q; PREPARE q(int) AS SELECT id, ssn FROM emp WHERE id > $1 ORDER BY id; EXECUTE q(7)";
    assert_eq!(ana.simple(again).rows(), ["8|∅", "9|∅"]);
}

/// Rows 8 and 9: cursors and suspended portals are decided again, or end.
#[test]
fn cursors_and_portals_do_not_outlive_a_change() {
    let running = small(&[OPEN, NOTHING]);
    let mut ana = Caller::of(running, "ana");
    let portal = [
        query("BEGIN"),
        parse("", "SELECT id, ssn FROM emp ORDER BY id", &[]),
        bind("p", "", &[], 0),
        execute("p", 2),
        sync(),
    ]
    .concat();
    assert_eq!(ana.frames(&portal, 2).rows(), ["1|number 1", "2|number 2"]);
    assert_eq!(ana.simple("DECLARE c CURSOR FOR SELECT id, ssn FROM emp ORDER BY id").code(), "");
    assert_eq!(ana.simple("FETCH 2 FROM c").rows(), ["1|number 1", "2|number 2"]);
    assert_eq!(ana.simple("SAVEPOINT a").code(), "");
    change(running, 1, FILTER);
    change(running, 2, MASK);
    let unmasked = |answer: &crate::wire::Answer| answer.rows().iter().any(|r| r.contains("number"));
    let rest = ana.frames(&[execute("p", 0), sync()].concat(), 1);
    assert!(!unmasked(&rest) && rest.rows().len() <= 2, "{:?}", rest.lines());
    ana.simple("ROLLBACK TO a");
    let rest = ana.simple("FETCH ALL FROM c");
    assert!(!unmasked(&rest) && rest.rows().len() <= 2, "{:?}", rest.lines());
    ana.simple("ROLLBACK");
    // With hold, beyond the transaction.
    change(running, 1, NOTHING);
    change(running, 2, &MASK.replace("type: data", "type: data\nstaged: true"));
    assert_eq!(
        ana.simple("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id, ssn FROM emp ORDER BY id; COMMIT").code(),
        ""
    );
    assert_eq!(ana.simple("FETCH 1 FROM h").rows(), ["1|number 1"]);
    change(running, 0, SHUT);
    for sql in ["FETCH 1 FROM h", "MOVE 1 FROM h", "FETCH ALL FROM h"] {
        let answer = ana.simple(sql);
        assert!(answer.error().is_some() && answer.rows().is_empty(), "{sql}: {:?}", answer.lines());
    }
}

/// Row 9: between Bind and Execute of one batch, and between Parse and Bind.
#[test]
fn a_change_between_bind_and_execute_counts() {
    let running = small(&[OPEN, NOTHING]);
    let mut ana = Caller::of(running, "ana");
    ana.wire.send(
        &[query("BEGIN"), parse("s", "SELECT ssn FROM emp WHERE id = 3", &[]), bind("p", "s", &[], 0), sync()].concat(),
    );
    assert_eq!(ana.wire.until_ready(2).code(), "");
    change(running, 2, MASK);
    let answer = ana.frames(&[execute("p", 0), sync()].concat(), 1);
    assert!(answer.rows().iter().all(|r| r == "∅"), "{:?}", answer.lines());
    ana.simple("ROLLBACK");
    assert_eq!(ana.frames(&run("s", &[]), 1).rows(), ["∅"]);
}

/// Row 30: one text, several meanings.
#[test]
fn the_same_text_is_decided_for_each() {
    let running = small(&[OPEN, FILTER, MASK]);
    let sql = "SELECT count(*), count(ssn) FROM emp";
    let mut callers: Vec<Caller> = ["ana", "max", "eve"].map(|user| Caller::of(running, user)).into();
    for _ in 0..3 {
        assert_eq!(callers[0].rows(sql), ["2|0"]);
        assert_eq!(callers[1].rows(sql), ["9|0"]);
        assert_eq!(callers[2].code(sql), "42P01");
        // Under a project, by SET and by start-up; leaving it again.
        let ana = &mut callers[0];
        assert_eq!(ana.simple("SET sqlveil.project = 'FRAUD'").code(), "");
        assert_eq!(ana.rows(sql), ["2|2"]);
        assert_eq!(ana.simple("RESET sqlveil.project").code(), "");
        assert_eq!(ana.rows(sql), ["2|0"]);
        assert_eq!(
            ana.simple("BEGIN; SET LOCAL sqlveil.project = 'FRAUD'; SELECT count(ssn) FROM emp; ROLLBACK").rows(),
            ["2"]
        );
        assert_eq!(ana.rows(sql), ["2|0"]);
        assert_eq!(callers[1].simple("SET sqlveil.project = 'FRAUD'").code(), "42501", "max is no member");
        // Another path, where the name means nothing that is registered.
        assert_eq!(callers[0].simple("SET search_path = other").code(), "");
        assert_eq!(callers[0].code(sql), "42P01");
        assert_eq!(callers[0].simple("RESET search_path").code(), "");
    }
    assert_eq!(Caller::of(running, "ana+FRAUD").rows(sql), ["2|2"]);
    let mut filtered = callers.remove(0);
    change(running, 1, NOTHING);
    assert_eq!(filtered.rows(sql), ["9|0"]);
    change(running, 2, &MASK.replace("type: data", "type: data\nstaged: true"));
    assert_eq!(filtered.rows(sql), ["9|9"]);
    change(running, 1, FILTER);
    assert_eq!(filtered.rows(sql), ["2|2"]);
}

/// A set that does not validate leaves the old one in force.
#[test]
fn a_bad_change_opens_nothing() {
    let running = small(&[OPEN, FILTER, MASK]);
    let mut ana = Caller::of(running, "ana");
    for broken in
        ["policyKey: filter\n", "{", "policyKey: filter\nname: filter\ntype: data\nactions: []\nunknown: 1\n", ""]
    {
        running.write("policies/001.yaml", broken);
        let outcome = runtime().block_on(running.proxy().reload_and_wait());
        // An empty document is no policy at all: that is a change like any other, to what the administrator asked for.
        if !broken.is_empty() {
            assert!(!matches!(outcome, Outcome::Published(_)), "{broken}");
            assert_eq!(ana.rows("SELECT id, ssn FROM emp"), ["1|∅", "2|∅"], "{broken}");
        }
    }
}
