//! The `sqlveil` binary: arguments in, exit code out.

use clap::Parser;
use sqlveil::cli::{Cli, run};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("SQLVEIL_LOG").unwrap_or_else(|_| EnvFilter::new(cli.command.log_filter()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    run(cli).await
}
