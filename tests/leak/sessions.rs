//! What one session leaves behind is not there for the next, though both may have the same connection of the warehouse.

use crate::caller::{Caller, run};
use crate::wire::{parse, query, sync};
use crate::world::{ANA, EVE, MAX};

#[test]
fn sessions_inherit_nothing() {
    for _ in 0..6 {
        let mut max = Caller::new(MAX);
        max.simple(
            "SET work_mem = '123kB'; SET DateStyle = 'German'; SET search_path = nowhere; SET TimeZone = '<X>+7'",
        );
        max.simple("PREPARE q AS SELECT ssn FROM emp");
        max.simple("BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT ssn FROM emp; COMMIT");
        max.frames(&[parse("s", "SELECT ssn FROM emp", &[]), sync()].concat(), 1);
        // Gone in the middle of a transaction, of a portal, or of a copy.
        max.wire.send(
            &[query("BEGIN; DECLARE c CURSOR FOR SELECT badge FROM emp; FETCH 1 FROM c"), query("COPY emp TO STDOUT")]
                .concat(),
        );
        drop(max);
        for user in [ANA, EVE] {
            let mut next = Caller::new(user);
            assert_eq!(next.simple("SHOW work_mem").rows(), ["4MB"]);
            assert_eq!(next.simple("SHOW DateStyle").rows(), ["ISO, MDY"]);
            assert_eq!(next.simple("SHOW search_path").rows(), ["\"$user\", public"]);
            assert_eq!(next.simple("EXECUTE q").code(), "26000");
            assert_eq!(next.frames(&run("s", &[]), 1).code(), "26000");
            assert_eq!(next.simple("FETCH ALL FROM h").code(), "34000");
            assert_eq!(next.simple("FETCH ALL FROM c").code(), "34000");
            assert_eq!(next.simple("SELECT * FROM pg_prepared_statements").rows(), [""; 0]);
            assert_eq!(next.simple("SELECT * FROM pg_cursors").rows(), [""; 0]);
            assert_eq!(next.simple("ROLLBACK").tags(), ["ROLLBACK"]);
        }
    }
}

/// Two callers at once, statement by statement.
#[test]
fn sessions_do_not_mix() {
    let (mut ana, mut max, mut eve) = (Caller::new(ANA), Caller::new(MAX), Caller::new(EVE));
    let sql = "SELECT ssn FROM emp WHERE id = 3";
    for _ in 0..25 {
        assert_eq!(ana.simple(sql).rows(), ["∅"]);
        assert_eq!(max.simple(sql).rows(), ["SECRET-3"]);
        assert_eq!(eve.simple(sql).code(), "42P01");
        assert_eq!(ana.extended(sql, &[], 0).rows(), ["∅"]);
        assert_eq!(max.extended(sql, &[], 0).rows(), ["SECRET-3"]);
        assert_eq!(eve.extended(sql, &[], 0).code(), "42P01");
    }
}
