//! The `sqlveil` binary: arguments in, exit code out.
fn main() {}
