//! `sqlveil health`: whether a proxy lives and is ready, for supervisors of containers that have no HTTP client of their own.
//!
//! In: the address of the interface for administrators. Out: its answer, and an exit code. Must never: need a secret.

use crate::config::tls;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Most bytes of an answer.
const MOST: u64 = 64 * 1024;

/// Arguments of `sqlveil health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to ask: `/ready`, or `/live`.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6434/ready")]
    pub url: String,
    /// Root certificates to trust, as a PEM file, for https; default: the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Longest time to wait, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub timeout: u64,
}

/// Asks; true when the answer is yes. Blocks.
///
/// # Errors
/// When nothing answers, or `out` cannot be written.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<bool> {
    let secure = args.url.starts_with("https://");
    let roots = if secure { tls::roots(args.ca.as_deref()).map_err(io::Error::other)? } else { Vec::new() };
    let roots: Vec<Certificate<'static>> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(tls::provider())
        .build();
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(args.timeout)))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .tls_config(tls)
        .build()
        .into();
    let mut response = agent.get(&args.url).call().map_err(io::Error::other)?;
    let body = response.body_mut().with_config().limit(MOST).read_to_string().map_err(io::Error::other)?;
    writeln!(out, "{}", body.trim_end())?;
    Ok(response.status().is_success())
}
