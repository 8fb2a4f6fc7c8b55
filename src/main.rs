//! The `sqlveil` binary: arguments in, exit code out.

use clap::Parser;
use sqlveil::cli::{Cli, logging, run};
use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::begin(&cli.command);
    run(cli).await
}
