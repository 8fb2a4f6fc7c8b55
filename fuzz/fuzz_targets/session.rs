//! See `sqlveil::session::model::run`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sqlveil::session::model::run(bytes));
