//! `sqlveil account`: temporary SQL accounts, by which a user is given into a tool's hands for minutes and for one project.
//!
//! In: arguments. Out: the accounts file changed; the name and password of a new account, once. Must never: keep a password, or make an
//! account for what its user may not do himself.
//!
//! The answer of `create --format json` has the fields of the seeds' `POST /dataSource/featureStore/temporary`.

use super::keeping::{self, At, Format, told};
use crate::config::Secret;
use crate::config::places::Places;
use crate::governance::problem::{Problem, any_error};
use crate::governance::store;
use crate::identity::Directory;
use crate::identity::accounts::writing::Needs;
use crate::identity::accounts::{Accounts, SqlAccount, fresh};
use crate::identity::file::Identities;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Longest life of an account: a year.
const LONGEST: u64 = 365 * 24 * 60;
/// What has ended stays in the list for so long.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Where the proxy listens when its configuration does not say.
const PORT: u16 = 6432;

/// Arguments of `sqlveil account`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make an account that acts as a user, under one project or under none; its password is shown this once.
    Create(Create),
    /// List the accounts; those that ended more than a week ago are forgotten.
    List {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// End an account and its sessions.
    Revoke {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its login name.
        name: String,
    },
}

/// Arguments of `sqlveil account create`.
#[derive(Debug, Clone, clap::Args)]
pub struct Create {
    /// Which proxy.
    #[command(flatten)]
    at: At,
    /// Whom it acts as.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The project it acts under and cannot leave; without one it acts under none.
    #[arg(long, value_name = "KEY")]
    project: Option<String>,
    /// How long it is good.
    #[arg(long, value_name = "MINUTES")]
    minutes: u64,
    /// How its name begins.
    #[arg(long, value_name = "TEXT", default_value = "temp")]
    prefix: String,
    /// The database of the connection string; needed where there are several.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The host of the connection string, when clients know the proxy by another name.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// How the password is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the command; true when it was done.
///
/// # Errors
/// When the system gives no randomness, or something cannot be printed.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<bool> {
    match args {
        Args::Create(create) => made(create, out),
        Args::List { at, format } => {
            let accounts = match at.files().and_then(|files| files.accounts()) {
                Ok(accounts) => accounts.sql_accounts,
                Err(problems) => return keeping::refuse(&problems),
            };
            match format {
                Format::Json => keeping::json(out, &accounts.iter().map(shape).collect())?,
                Format::Table => {
                    let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
                    keeping::table(out, &["name", "user", "project", "state", "expires"], &rows)?;
                }
            }
            Ok(true)
        }
        Args::Revoke { at, name } => {
            let done = at.files().and_then(|files| {
                files.change(Needs::Alone, |accounts, _| {
                    let found = accounts.sql_accounts.iter_mut().find(|account| account.name == *name);
                    let help = "`sqlveil account list` names all there are";
                    let account = found.ok_or_else(|| told(format!("there is no account \"{name}\""), help))?;
                    account.revoked.get_or_insert_with(keeping::now);
                    Ok(account.user.clone())
                })
            });
            match done {
                Ok((user, warnings)) => {
                    tracing::info!(target: "audit", decision = "account revoked", account = name, user);
                    keeping::warn(&warnings)?;
                    writeln!(out, "{name} revoked").map(|()| true)
                }
                Err(problems) => keeping::refuse(&problems),
            }
        }
    }
}

fn made(create: &Create, out: &mut dyn Write) -> io::Result<bool> {
    let places = match create.at.places() {
        Ok(places) => places,
        Err(problems) => return keeping::refuse(&problems),
    };
    let (password, verifier) = fresh::account_password()?;
    let now = keeping::now();
    let name = fresh::account_name(&create.prefix, now)?;
    let made = database(create, &places).map_err(|problem| vec![problem]).and_then(|database| {
        let account = SqlAccount {
            name,
            user: create.user.clone(),
            project: create.project.clone(),
            created: now,
            minutes: create.minutes,
            verifier,
            revoked: None,
        };
        let (account, warnings) = places.files.change(Needs::Whole, |accounts, identities| {
            fits(create)?;
            may_act(create, accounts, identities, &places)?;
            accounts.sql_accounts.retain(|old| now.duration_since(ended(old)) < KEPT);
            accounts.sql_accounts.push(account.clone());
            Ok(account)
        })?;
        Ok((database, account, warnings))
    });
    let (database, account, warnings) = match made {
        Ok(made) => made,
        Err(problems) => return keeping::refuse(&problems),
    };
    tracing::info!(
        target: "audit",
        decision = "account created",
        account = account.name,
        user = account.user,
        project = account.project,
        minutes = account.minutes,
    );
    keeping::warn(&warnings)?;
    let password = String::from_utf8_lossy(password.expose()).into_owned();
    let (host, port) = address(create, &places);
    let mode = if places.tls { "require" } else { "prefer" };
    // Name and password are of characters that stand for themselves in a URL.
    let url = format!(
        "postgresql://{}:{password}@{}:{port}/{}?sslmode={mode}",
        account.name,
        if host.contains(':') { format!("[{host}]") } else { host.clone() },
        encoded(&database)
    );
    match create.format {
        Format::Json => keeping::json(
            out,
            &json!({
                "success": true,
                "sqlUser": account.name,
                "sqlPassword": password,
                "host": host,
                "port": port,
                "database": database,
                "sslMode": mode,
                "connectionString": url,
                "user": account.user,
                "projectId": account.project,
                "expires": account.expires().to_string(),
            }),
        )?,
        Format::Table => {
            let lines = [
                ("login", account.name.clone()),
                ("password", password),
                ("acts as", account.user.clone()),
                ("project", account.project.clone().unwrap_or_else(|| "none".to_owned())),
                ("until", account.expires().to_string()),
                ("connect", url),
            ];
            keeping::pairs(out, &lines)?;
            writeln!(out, "\nThe password is shown this once and kept nowhere.")?;
        }
    }
    Ok(true)
}

fn fits(create: &Create) -> Result<(), Problem> {
    if create.minutes == 0 || create.minutes > LONGEST {
        return Err(told(format!("--minutes is a number from 1 to {LONGEST}"), "a longer life is for a token"));
    }
    if !fresh::is_prefix(&create.prefix) {
        let longest = fresh::LONGEST_PREFIX;
        let help = format!("up to {longest} small letters, digits and _, the first a letter");
        return Err(told("the prefix cannot begin a name", help));
    }
    Ok(())
}

/// An account is made only for what its user may do now; later that is asked again with every statement.
fn may_act(create: &Create, accounts: &Accounts, identities: &Identities, places: &Places) -> Result<(), Problem> {
    let mut both = identities.clone();
    let problems = accounts.join(&mut both, &places.files.accounts);
    if let Some(problem) = problems.into_iter().find(Problem::is_error) {
        return Err(problem);
    }
    if crate::identity::accounts::is_made(&create.user) || !both.users.contains_key(create.user.as_str()) {
        let help = "an account acts as a user of the identity file, or one that `sqlveil user add` made";
        return Err(told(format!("the user \"{}\" does not exist", create.user), help));
    }
    let loaded = create.project.as_ref().map(|_| store::load(&places.governance));
    if let Some(loaded) = &loaded
        && any_error(&loaded.problems)
    {
        let help = "`sqlveil check` tells what is wrong with them";
        return Err(told("the project cannot be looked at: the documents have errors", help));
    }
    let declared = loaded.map(|loaded| loaded.declared).unwrap_or_default();
    let secret = Secret::new([0; 32]);
    let directory = Directory::new(both, &declared.projects, &declared.purposes, &secret)
        .map_err(|mut problems| problems.pop().unwrap_or_else(|| told("the documents have errors", "")))?;
    directory.caller(&create.user, create.project.as_deref()).map(drop).map_err(|refusal| {
        let help = "an account is made only for what its user may do himself";
        told(format!("\"{}\" may not: {}", create.user, refusal.message), help)
    })
}

/// When it ended, or will.
fn ended(account: &SqlAccount) -> Timestamp {
    account.revoked.map_or(account.expires(), |revoked| revoked.min(account.expires()))
}

fn database(create: &Create, places: &Places) -> Result<String, Problem> {
    match (&create.database, places.databases.as_slice()) {
        (Some(name), known) if known.contains(name) => Ok(name.clone()),
        (None, [only]) => Ok(only.clone()),
        (Some(_), known) => Err(told("no such database", format!("one of: {}", known.join(", ")))),
        (None, known) => {
            Err(told("there are several databases", format!("name one by --database: {}", known.join(", "))))
        }
    }
}

fn address(create: &Create, places: &Places) -> (String, u16) {
    let listen = places.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT));
    let own = if listen.ip().is_unspecified() { "localhost".to_owned() } else { listen.ip().to_string() };
    (create.host.clone().unwrap_or(own), listen.port())
}

/// Percent-encoding (RFC 3986, 2.1) of all but unreserved characters.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

fn state(account: &SqlAccount) -> &'static str {
    match account.revoked {
        Some(_) => "revoked",
        None if account.expires() <= Timestamp::now() => "expired",
        None => "enabled",
    }
}

fn shape(account: &SqlAccount) -> serde_json::Value {
    json!({
        "sqlUser": account.name,
        "user": account.user,
        "projectId": account.project,
        "state": state(account),
        "created": account.created.to_string(),
        "expires": account.expires().to_string(),
        "revoked": account.revoked.map(|at| at.to_string()),
    })
}

fn row(account: &SqlAccount) -> Vec<String> {
    vec![
        account.name.clone(),
        account.user.clone(),
        account.project.clone().unwrap_or_default(),
        state(account).to_owned(),
        account.expires().to_string(),
    ]
}
