//! Rows 7 and 8 of the catalogue: COPY, cursors and portals.

use crate::caller::Caller;
use crate::wire::{bind, close, describe_what, execute, flush, parse, query, sync};
use crate::world::{ANA, EVE, MAX, world};

/// Row 7.
#[test]
fn copy_copies_what_is_shown() {
    let (mut ana, mut max, mut eve) = (Caller::new(ANA), Caller::new(MAX), Caller::new(EVE));
    for (sql, shown, raw) in [
        ("COPY emp TO STDOUT", 24, 2024),
        ("COPY public.emp (id, ssn, badge) TO STDOUT (FORMAT csv, FORCE_QUOTE *)", 24, 2024),
        ("COPY peek TO STDOUT", 0, 400),
        ("COPY log TO STDOUT (FORMAT text, NULL 'x')", 20, 20),
        ("COPY (SELECT * FROM orders WHERE note::int > 0 OR note = 'SECRET') TO STDOUT", 30, -1),
        ("COPY (SELECT emp FROM emp) TO STDOUT", 24, 2024),
        ("COPY (WITH s AS (TABLE emp) SELECT ssn FROM s) TO STDOUT", 24, 2024),
        ("COPY (TABLE peek) TO STDOUT WITH CSV", 0, 400),
        ("COPY (VALUES ((SELECT ssn FROM emp WHERE id = 3))) TO STDOUT", 1, 1),
        ("copy emp (ssn) to stdout csv header", 25, 2025),
    ] {
        let lines = |answer: &crate::wire::Answer| answer.copied().iter().filter(|b| **b == b'\n').count();
        let answer = ana.simple(sql);
        assert_eq!((answer.message(), lines(&answer)), (String::new(), shown), "{sql}");
        let portal = ana.frames(&[parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), sync()].concat(), 1);
        assert_eq!(portal.copied(), answer.copied(), "{sql}");
        assert_eq!(portal.tags(), answer.tags(), "{sql}");
        let answer = max.simple(sql);
        match usize::try_from(raw) {
            Ok(raw) => assert_eq!(lines(&answer), raw, "{sql}"),
            Err(_) => assert_eq!(answer.code(), "22P02", "{sql}"),
        }
        assert_eq!(eve.simple(sql).code(), "42P01", "{sql}");
    }
    let binary = ana.simple("COPY emp (id, pin) TO STDOUT (FORMAT binary)");
    assert!(binary.copied().starts_with(b"PGCOPY\n\xff\r\n\0") && binary.copied().ends_with(b"\xff\xff"));
}

/// Row 7: files, programs, tables that are not there, COPY FROM, and what psql makes of `\copy`.
#[test]
fn copy_to_elsewhere_is_refused() {
    for user in [ANA, MAX, EVE] {
        let mut caller = Caller::new(user);
        for (sql, code) in [
            ("COPY dept TO '/tmp/sqlveil-copy'", "42501"),
            ("COPY (SELECT 1) TO '/tmp/sqlveil-copy'", "42501"),
            ("COPY dept TO PROGRAM 'cat'", "42501"),
            ("COPY (SELECT 1) TO PROGRAM 'cat'", "42501"),
            // Nobody here may write; to an outsider the table is not there.
            ("COPY dept FROM STDIN", if user == EVE { "42P01" } else { "42501" }),
            ("COPY dept FROM '/etc/passwd'", "42501"),
            ("COPY dept FROM PROGRAM 'id'", "42501"),
            ("COPY vault TO STDOUT", "42P01"),
            ("COPY part_low TO STDOUT", "42P01"),
            ("COPY (DELETE FROM dept RETURNING *) TO STDOUT", "0A000"),
            ("COPY (SELECT 1) TO STDOUT (ENCODING 'LATIN1')", "0A000"),
        ] {
            let answer = caller.simple(sql);
            assert_eq!(answer.code(), code, "{user}: {sql}: {}", answer.message());
            assert!(answer.copied().is_empty());
        }
    }
    let output =
        world().psql(ANA, &["-At", "-c", "\\copy (SELECT id, ssn FROM emp WHERE id < 3 ORDER BY id) TO STDOUT"]);
    assert_eq!((output.out.as_str(), output.err.as_str()), ("1\t\\N\n2\t\\N\n", ""));
}

/// Row 8.
#[test]
fn cursors_hold_what_is_shown() {
    let (mut ana, mut max) = (Caller::new(ANA), Caller::new(MAX));
    for options in ["CURSOR", "SCROLL CURSOR", "NO SCROLL CURSOR", "INSENSITIVE CURSOR", "BINARY CURSOR"] {
        assert_eq!(ana.simple("BEGIN").code(), "");
        let declare =
            format!("DECLARE c {options} FOR SELECT id, ssn, note::int FROM emp WHERE 10/salary >= 0 ORDER BY id");
        assert_eq!(ana.simple(&declare).tags(), ["DECLARE CURSOR"]);
        assert_eq!(ana.simple("FETCH 2 FROM c").rows().len(), 2);
        assert_eq!(ana.simple("MOVE 3 IN c").tags(), ["MOVE 3"]);
        let rest = ana.simple("FETCH ALL FROM c");
        assert_eq!((rest.rows().len(), rest.tags()), (19, vec!["FETCH 19".to_owned()]));
        if options == "SCROLL CURSOR" {
            assert_eq!(ana.simple("FETCH FIRST FROM c").rows(), ["1|∅|11"]);
            assert_eq!(ana.simple("FETCH LAST FROM c").rows(), ["24|∅|34"]);
            assert_eq!(ana.simple("FETCH ABSOLUTE 1003 FROM c").rows().len(), 0);
        }
        assert_eq!(ana.simple("CLOSE c").tags(), ["CLOSE CURSOR"]);
        assert_eq!(ana.simple("COMMIT").code(), "");
    }
    assert_eq!(ana.simple("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT ssn, badge, emp FROM emp; COMMIT").code(), "");
    assert_eq!(ana.simple("FETCH ALL FROM h").rows().len(), 24);
    assert_eq!(ana.simple("SELECT name, statement FROM pg_cursors").code(), "");
    assert_eq!(ana.simple("CLOSE ALL").code(), "");
    max.simple("BEGIN; DECLARE c CURSOR FOR SELECT ssn FROM emp WHERE id = 3");
    assert_eq!(max.simple("FETCH ALL FROM c").rows(), ["SECRET-3"]);
}

/// Row 8: portals with a row limit, in text and binary.
#[test]
fn portals_hold_what_is_shown() {
    let mut ana = Caller::new(ANA);
    for format in [0, 1] {
        let sql = "SELECT id, ssn, pin FROM emp WHERE note::int > 0 ORDER BY id";
        let begin =
            [query("BEGIN"), parse("s", sql, &[]), bind("p", "s", &[], format), describe_what(b'P', "p")].concat();
        let runs = [execute("p", 5), execute("p", 5), flush(), execute("p", 0), execute("p", 3), sync()].concat();
        let answer = ana.frames(&[begin, runs].concat(), 2);
        assert_eq!((answer.code(), answer.rows().len()), (String::new(), 24));
        let kinds: String = answer.messages.iter().map(|m| m.tag as char).filter(|t| "sC".contains(*t)).collect();
        assert_eq!(kinds, "CssCC");
        // The same portal by its SQL name.
        assert_eq!(ana.simple("MOVE BACKWARD ALL FROM p; FETCH ALL FROM p").rows().len(), 0);
        let answer = ana.frames(&[query("ROLLBACK"), close(b'S', "s"), sync()].concat(), 2);
        assert_eq!(answer.code(), "");
    }
}
