//! The hunt itself: asks, looks at the outcome and at everything else that may tell of trouble, reduces and stores what it finds.

use crate::arena::Arena;
use crate::ask::{Outcome, ask};
use crate::options::Options;
use crate::reduce::reduce;
use crate::report::{Report, Scene};
use crate::session::{Case, Session, Way};
use crate::sources::{SETTINGS, Sources};
use crate::watch;
use crate::world::runtime;
use std::collections::{BTreeMap, BTreeSet};

/// Hunts within the bounds; true when nothing was found.
pub fn run(options: &Options) -> bool {
    let arena = Arena::build();
    let mut report = Report::new(options);
    {
        let mut sources = Sources::new(&arena, options);
        print!("{}", sources.about());
        let mut sessions: BTreeMap<(&str, &str, usize), Session<'_>> = BTreeMap::new();
        let mut known: BTreeSet<String> = BTreeSet::new();
        let mut number = 0_usize;
        while !report.is_enough() {
            let next = sources.next();
            let settings = SETTINGS[next.settings];
            let key = (next.pair.name, next.user, next.settings);
            let session = sessions.entry(key).or_insert_with(|| Session::open(next.pair, next.user, settings));
            report.about_to_ask(&next.case);
            let mut outcome = ask(session, next.way, &next.case);
            if matches!(outcome, Outcome::Defect(_)) && !readable(&arena, &next.case) {
                outcome = Outcome::Alike(crate::ask::Fate::Refused(
                    "XX000".into(),
                    "what the warehouse cannot read either".into(),
                ));
                let _ = watch::take_trouble();
            }
            if options.show {
                println!(
                    "{} {} {} {:?} {:?}\n    {outcome:?}",
                    next.source, next.pair.name, next.user, next.way, next.case
                );
            }
            if matches!(next.way, Way::Writing(_)) {
                arena.smooth();
            }
            report.count(next.source, &next.case, &outcome);
            let scene = Scene {
                source: next.source,
                pair: next.pair,
                user: next.user,
                settings,
                way: next.way,
                case: &next.case,
            };
            let mut trouble = watch::take_trouble().join("\n");
            match outcome {
                Outcome::Different(shown) => {
                    let (reduced, shown) = reduce(session, next.way, &next.case, shown);
                    // The same with other constants is the same.
                    let shape: String = reduced.sql.chars().filter(|c| !c.is_ascii_digit()).collect();
                    if known.insert(format!("{} {shape}", next.pair.name)) {
                        report.found("DIFFERENT ANSWERS", &scene, &reduced, &shown);
                    }
                    trouble.push_str(&watch::take_trouble().join("\n"));
                }
                Outcome::Defect(why) => {
                    if known.insert(why.clone() + &trouble) {
                        report.found("XX000", &scene, &next.case, &format!("{why}\n{trouble}"));
                    }
                    trouble.clear();
                }
                Outcome::Lost(why) => report.found("CONNECTION LOST", &scene, &next.case, &why),
                _ => {}
            }
            if !trouble.is_empty() && known.insert(trouble.clone()) {
                report.found("TROUBLE", &scene, &next.case, &trouble);
            }
            number += 1;
            if number.is_multiple_of(50) {
                arena.read_logs();
            }
        }
    }
    let sealed = watch::sealed();
    let (mut logged, mut bytes) = (0, 0);
    for found in arena.finish() {
        logged += found.statements;
        bytes += found.bytes;
        if found.unsealed_count > 0 {
            let list = found.unsealed.join("\n---\n");
            report.store(&format!(
                "UNSEALED: {} statements reached the warehouse that nothing sealed\n{list}",
                found.unsealed_count
            ));
        }
    }
    report.print();
    println!("the warehouses logged {logged} statements of the proxy ({} MB); {sealed} texts were sealed", bytes >> 20);
    if logged < report.executed() {
        report.store("THE LOG IS INCOMPLETE: fewer statements were logged than executed");
    }
    println!("{} found", report.findings.len());
    report.findings.is_empty()
}

/// Whether PostgreSQL itself can read the statement: where it cannot, the proxy may answer as it likes.
fn readable(arena: &Arena, case: &Case) -> bool {
    let admin = arena.level.sides[0].admin();
    match runtime().block_on(admin.prepare(&case.sql)) {
        Err(error) => error.code().map(|code| code.code()) != Some("42601"),
        Ok(_) => true,
    }
}
