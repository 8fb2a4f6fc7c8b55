//! What the fuzzers once found, with the fuzzers' own entry points: `fuzz/regressions/TARGET/`, a file an input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../fuzz/entries/mod.rs"]
mod entries;

use std::path::Path;

/// Runs every input of a target; how many there are.
fn replay(target: &str, entry: impl Fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(target);
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a folder of inputs") {
        let file = file.expect("a file").path();
        println!("{}", file.display());
        entry(&std::fs::read(file).expect("an input"));
        count += 1;
    }
    count
}

#[test]
fn frames() {
    assert!(replay("frames", entries::frames::run) > 0);
}

#[test]
fn startup() {
    assert!(replay("startup", entries::startup::run) > 0);
}

#[test]
fn pipeline() {
    assert!(replay("pipeline", entries::pipeline::run) > 0);
}

#[test]
fn two_parsers() {
    assert!(replay("two_parsers", entries::two_parsers::run) > 0);
}
