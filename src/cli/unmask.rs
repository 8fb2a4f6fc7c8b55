//! `sqlveil unmask`: undoes the mask Reversible under an approved request, for the operator of governance.
//!
//! In: a configuration, the key of a request, masked values (one a line, from standard input or a file). Out: the values, as JSON in the
//! shape of the seeds. Must never: run without an approved, unexpired request whose requester is still known, or take a value from an
//! argument, which other users of the machine can see.

use crate::config::Config;
use crate::governance::problem::render;
use crate::policy::unmask;
use crate::world;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Most bytes of masked values taken at once.
const MOST: u64 = 64 << 20;

/// Arguments of `sqlveil unmask`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "SQLVEIL_CONFIG")]
    pub config: PathBuf,
    /// The `requestKey` of an approved document under unmaskRequests/.
    #[arg(long, value_name = "KEY")]
    pub request: String,
    /// Masked values, one a line; without it they are read from standard input.
    #[arg(value_name = "VALUES")]
    pub values: Option<PathBuf>,
}

/// Unmasks; true when it was done.
///
/// # Errors
/// When the values cannot be read or `out` cannot be written.
pub async fn run(args: &Args, out: &mut dyn Write) -> io::Result<bool> {
    let config = match Config::load(&args.config) {
        Ok(config) => Arc::new(config),
        Err(problems) => {
            write!(io::stderr(), "{}", render(&problems, false))?;
            return Ok(false);
        }
    };
    let governed = match world::governed(&config).await {
        Ok(governed) => governed,
        Err(problems) => {
            write!(io::stderr(), "{}", render(&problems, false))?;
            return Ok(false);
        }
    };
    let values = match &args.values {
        Some(path) => lines(&mut std::fs::File::open(path)?)?,
        None => lines(&mut io::stdin().lock())?,
    };
    match told(&governed, &args.request, &values, SystemTime::now()) {
        Ok(json) => writeln!(out, "{json}").map(|()| true),
        Err(why) => {
            tracing::warn!(target: "audit", decision = "unmask refused", request = args.request, why);
            writeln!(io::stderr(), "refused: {why}").map(|()| false)
        }
    }
}

/// The answer as JSON, and its audit record.
fn told(governed: &world::Governed, key: &str, values: &[String], now: SystemTime) -> Result<String, String> {
    let request = unmask::approved(&governed.declared, key, now)?;
    for who in std::iter::once(&request.requester).chain(&request.approved_by) {
        governed.directory.caller(who, None).map_err(|refusal| format!("`{who}`: {refusal}"))?;
    }
    let result = unmask::unmask(&governed.declared, request, &governed.salts, values)?;
    tracing::info!(
        target: "audit",
        decision = "unmasked",
        request = request.key,
        requester = request.requester,
        approved_by = request.approved_by,
        source = request.data_source,
        column = request.column,
        values = result.pairs.len(),
    );
    serde_json::to_string_pretty(&serde_json::json!({ "result": result })).map_err(|error| error.to_string())
}

/// Lines without their ends; empty ones are left out.
fn lines(input: &mut dyn Read) -> io::Result<Vec<String>> {
    let mut text = String::new();
    input.take(MOST + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MOST) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {} MB of values", MOST >> 20)));
    }
    Ok(text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect())
}
