//! `sqlveil token`: API tokens, actors of their own.
//!
//! In: arguments. Out: the accounts file changed; the secret of a new token, once. Must never: keep a secret, show it again, or give a token
//! anything because of who makes it.

use super::keeping::{self, At, Format, Given, told};
use crate::governance::problem::Problem;
use crate::identity::accounts::writing::Needs;
use crate::identity::accounts::{Accounts, NEVER, Token, fresh};
use crate::identity::file::Identities;
use jiff::Timestamp;
use serde_json::json;
use std::io::{self, Write};

/// Arguments of `sqlveil token`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make a token; its secret is shown this once.
    Create(Create),
    /// List all tokens.
    List {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Show a token.
    Show {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its id, client id or user name.
        token: String,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Change a token's name, description, groups or attributes. What is given takes the place of what was there.
    Update {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its id, client id or user name.
        token: String,
        /// Its name for people.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// All its groups from now on.
        #[arg(long = "group", value_name = "GROUP", conflicts_with = "no_groups")]
        groups: Vec<String>,
        /// It is in no group any more.
        #[arg(long)]
        no_groups: bool,
        /// All its attributes from now on.
        #[arg(long = "attribute", value_name = "NAME=VALUE", conflicts_with = "no_attributes")]
        attributes: Vec<String>,
        /// It has no attributes any more.
        #[arg(long)]
        no_attributes: bool,
    },
    /// Let a token log in no more for the time being, and end its sessions.
    Disable {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its id, client id or user name.
        token: String,
    },
    /// Undo `disable`.
    Enable {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its id, client id or user name.
        token: String,
    },
    /// End a token and its sessions for ever.
    Revoke {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Its id, client id or user name.
        token: String,
    },
}

/// Arguments of `sqlveil token create`.
#[derive(Debug, Clone, clap::Args)]
pub struct Create {
    /// Which proxy.
    #[command(flatten)]
    at: At,
    /// Its name for people.
    #[arg(long, value_name = "TEXT")]
    display_name: String,
    /// What it is for.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// What it has of its own.
    #[command(flatten)]
    given: Given,
    /// How long it is good, from now on; 409968000 = it never expires. Cannot be changed later.
    #[arg(long, value_name = "SECONDS")]
    validity_seconds: u64,
    /// Who makes it, for those who read the list; nothing follows from it.
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// How the secret is printed.
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
                Ok(accounts) => accounts,
                Err(problems) => return keeping::refuse(&problems),
            };
            match format {
                Format::Json => keeping::json(out, &accounts.tokens.iter().map(shape).collect())?,
                Format::Table => {
                    let rows: Vec<Vec<String>> = accounts.tokens.iter().map(row).collect();
                    let titles =
                        ["client id", "display name", "state", "expires", "groups", "attributes", "created by"];
                    keeping::table(out, &titles, &rows)?;
                }
            }
            Ok(true)
        }
        Args::Show { at, token, format } => {
            let found = at.files().and_then(|files| files.accounts()).and_then(|mut accounts| {
                find(&mut accounts, token).map(|token| token.clone()).map_err(|problem| vec![problem])
            });
            match (found, format) {
                (Ok(token), Format::Json) => keeping::json(out, &shape(&token)).map(|()| true),
                (Ok(token), Format::Table) => keeping::pairs(out, &lines(&token)).map(|()| true),
                (Err(problems), _) => keeping::refuse(&problems),
            }
        }
        Args::Update { at, token, display_name, description, groups, no_groups, attributes, no_attributes } => {
            let given = Given { iam: None, groups: groups.clone(), attributes: attributes.clone() };
            change(at, Needs::Whole, token, "changed", out, |token, identities| {
                let given = Given { iam: Some(token.has.iam.clone()), ..given }.read(identities)?;
                if let Some(name) = display_name {
                    token.display_name = named(name)?;
                }
                if let Some(text) = description {
                    token.description.clone_from(text);
                }
                if *no_groups || !groups.is_empty() {
                    token.has.groups = given.groups;
                }
                if *no_attributes || !attributes.is_empty() {
                    token.has.attributes = given.attributes;
                }
                Ok(())
            })
        }
        Args::Disable { at, token } => change(at, Needs::Alone, token, "disabled", out, |token, _| {
            token.disabled = true;
            Ok(())
        }),
        Args::Enable { at, token } => change(at, Needs::Whole, token, "enabled", out, |token, _| {
            if token.revoked.is_some() {
                return Err(told("the token is revoked, which is for ever", "make a new one"));
            }
            token.disabled = false;
            Ok(())
        }),
        Args::Revoke { at, token } => change(at, Needs::Alone, token, "revoked", out, |token, _| {
            token.revoked.get_or_insert_with(keeping::now);
            Ok(())
        }),
    }
}

fn made(create: &Create, out: &mut dyn Write) -> io::Result<bool> {
    let Create { at, display_name, description, given, validity_seconds, created_by, format } = create;
    let files = match at.files() {
        Ok(files) => files,
        Err(problems) => return keeping::refuse(&problems),
    };
    let (id, client_id) = (fresh::uuid()?, format!("apikey-{}", fresh::uuid()?));
    let (secret, verifier) = fresh::token_secret()?;
    let made = files.change(Needs::Whole, |accounts, identities| {
        if *validity_seconds == 0 || *validity_seconds > NEVER {
            let help = format!("{NEVER} = it never expires");
            return Err(told(format!("--validity-seconds is a number from 1 to {NEVER}"), help));
        }
        let token = Token {
            id,
            client_id,
            display_name: named(display_name)?,
            description: description.clone(),
            has: given.read(identities)?,
            created_by: created_by.clone(),
            created: keeping::now(),
            validity_seconds: *validity_seconds,
            verifier,
            disabled: false,
            revoked: None,
        };
        accounts.tokens.push(token.clone());
        Ok(token)
    });
    let (token, warnings) = match made {
        Ok(made) => made,
        Err(problems) => return keeping::refuse(&problems),
    };
    tracing::info!(
        target: "audit",
        decision = "token created",
        token = token.login(),
        validity_seconds = token.validity_seconds,
        created_by = token.created_by,
    );
    keeping::warn(&warnings)?;
    let secret = String::from_utf8_lossy(secret.expose()).into_owned();
    match format {
        Format::Json => {
            let mut shape = shape(&token);
            if let Some(fields) = shape.as_object_mut() {
                fields.insert("accessToken".to_owned(), secret.into());
            }
            keeping::json(out, &shape)?;
        }
        Format::Table => {
            let mut lines = lines(&token);
            lines.push(("secret", secret));
            keeping::pairs(out, &lines)?;
            writeln!(out, "\nThe secret is the password of the user above. It is shown this once and kept nowhere.")?;
        }
    }
    Ok(true)
}

fn named(name: &str) -> Result<String, Problem> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(told("a token needs a name for people", "give one with --display-name"));
    }
    Ok(name.to_owned())
}

fn find<'a>(accounts: &'a mut Accounts, name: &str) -> Result<&'a mut Token, Problem> {
    let is = |token: &Token| token.id == name || token.client_id == name || token.login() == name;
    let found = accounts.tokens.iter_mut().find(|token| is(token));
    found.ok_or_else(|| told(format!("there is no token \"{name}\""), "`sqlveil token list` names all there are"))
}

fn change(
    at: &At,
    needs: Needs,
    name: &str,
    what: &str,
    out: &mut dyn Write,
    change: impl FnOnce(&mut Token, &Identities) -> Result<(), Problem>,
) -> io::Result<bool> {
    let done = at.files().and_then(|files| {
        files.change(needs, |accounts, identities| {
            let token = find(accounts, name)?;
            change(token, identities)?;
            Ok(token.login())
        })
    });
    match done {
        Ok((login, warnings)) => {
            tracing::info!(target: "audit", decision = "token changed", token = login, what);
            keeping::warn(&warnings)?;
            writeln!(out, "{login} {what}").map(|()| true)
        }
        Err(problems) => keeping::refuse(&problems),
    }
}

/// Whether it is good, in one word.
fn state(token: &Token) -> &'static str {
    match token.expires() {
        _ if token.revoked.is_some() => "revoked",
        Some(end) if end <= Timestamp::now() => "expired",
        _ if token.disabled => "disabled",
        _ => "enabled",
    }
}

fn end(token: &Token) -> String {
    token.expires().map_or_else(|| "never".to_owned(), |end| end.to_string())
}

/// A token as data, without what its secret is checked against.
fn shape(token: &Token) -> serde_json::Value {
    json!({
        "id": token.id,
        "clientId": token.client_id,
        "user": token.login(),
        "displayName": token.display_name,
        "description": token.description,
        "iam": token.has.iam,
        "groups": token.has.groups,
        "attributes": token.has.attributes,
        "state": state(token),
        "createdBy": token.created_by,
        "created": token.created.to_string(),
        "validitySeconds": token.validity_seconds,
        "expires": token.expires().map(|end| end.to_string()),
        "revoked": token.revoked.map(|at| at.to_string()),
    })
}

fn row(token: &Token) -> Vec<String> {
    vec![
        token.client_id.clone(),
        token.display_name.clone(),
        state(token).to_owned(),
        end(token),
        keeping::groups(&token.has),
        keeping::attributes(&token.has),
        token.created_by.clone().unwrap_or_default(),
    ]
}

fn lines(token: &Token) -> Vec<(&'static str, String)> {
    vec![
        ("id", token.id.clone()),
        ("client id", token.client_id.clone()),
        ("user", token.login()),
        ("display name", token.display_name.clone()),
        ("description", token.description.clone()),
        ("iam", token.has.iam.clone()),
        ("groups", keeping::groups(&token.has)),
        ("attributes", keeping::attributes(&token.has)),
        ("state", state(token).to_owned()),
        ("created by", token.created_by.clone().unwrap_or_default()),
        ("created", token.created.to_string()),
        ("expires", end(token)),
        ("revoked", token.revoked.map(|at| at.to_string()).unwrap_or_default()),
    ]
}
