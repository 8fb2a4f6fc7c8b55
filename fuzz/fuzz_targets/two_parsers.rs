//! See `entries::two_parsers`.
#![no_main]
#![allow(missing_docs)]

#[path = "../entries/mod.rs"]
mod entries;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::two_parsers::run(bytes));
