//! psql before each version: what it finds directly it finds through the proxy, and nothing hidden.
//!
//! It is the installed psql: newer servers it knows less of, and what it cannot ask directly is left out.

use crate::world::started;

#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "\\d", "\\d+", "\\d person", "\\d+ person", "\\d sale", "\\d+ part", "\\d free", "\\d+ totals", "\\dt", "\\dt+", "\\dt *.*", "\\di", "\\di+", "\\dv+", "\\dm",
    "\\ds", "\\dn+", "\\df", "\\df lower", "\\dfS+ int4*", "\\dT+", "\\dD", "\\dp", "\\dx+", "\\dC", "\\do", "\\dO", "\\db", "\\ddp", "\\dE", "\\dF+", "\\dP+", "\\dX",
    "\\dA", "\\dAc", "\\dy", "\\dconfig", "\\l", "\\du", "\\drds", "\\dRp", "\\des", "\\z", "\\dd", "\\sf lower",
];

pub fn looks(major: u32) {
    let running = started(major, "looks");
    let mut asked = 0;
    for command in COMMANDS {
        let direct = running.admin_psql(&["-c", command]);
        let through = running.psql("ana", &["-c", command]);
        if !direct.ok || direct.err.contains("does not support") {
            assert!(!through.ok || through.out.is_empty(), "{command}: {}", through.out);
        } else {
            assert!(through.ok, "{command}: {}", through.err);
            asked += 1;
        }
        for text in [&through.out, &through.err] {
            assert!(!text.contains("zz_") && !text.contains("_sv"), "{command}: {text}");
        }
    }
    assert!(asked > 38, "only {asked} commands worked");
    let person = running.psql("ana", &["-c", "\\d person"]).out;
    assert!(person.contains("person_pkey") && person.contains("mood") && !person.contains("ssn_raw"), "{person}");
    let part = running.psql("ana", &["-c", "\\d+ part"]).out;
    assert!(part.contains("Partition key: RANGE (id)"), "{part}");
}
