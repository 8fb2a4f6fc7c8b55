//! `make leak-hunt`: statements of every origin against warehouses that differ only in what is hidden; every byte of the answers is
//! compared, and what the warehouses log is held against what was sealed.
//!
//! Without arguments (as `cargo test` runs it) a short run with a fixed seed. [`options`] lists the arguments. What is found is reduced and
//! stored; the exit status is 1 when anything was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../leak/attacks.rs"]
#[allow(dead_code)]
mod attacks;
#[path = "../leak/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "../leak/wire.rs"]
#[allow(dead_code)]
mod wire;
#[path = "../leak/world.rs"]
#[allow(dead_code)]
mod world;

mod arena;
mod ask;
mod fixed;
mod hunt;
mod lexicon;
mod literals;
mod log;
mod mutate;
mod options;
mod reduce;
mod report;
mod rich;
mod session;
mod smith;
mod sources;
mod typed;
mod watch;
mod writes;

use options::{Action, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Action::Hunt(options)) => options,
        Ok(Action::List) => {
            println!("leak_hunt: test");
            return ExitCode::SUCCESS;
        }
        Ok(Action::Nothing) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    watch::begin();
    if hunt::run(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
