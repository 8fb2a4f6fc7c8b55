//! The `sqlveil` binary: arguments in, exit code out.

use clap::Parser;
use sqlveil::cli::{Cli, logging, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::begin(&cli.command);
    run(cli).await
}
