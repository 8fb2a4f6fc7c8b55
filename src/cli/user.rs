//! `sqlveil user`: users of the accounts file, and what it changes of those of the identity file.
//!
//! In: arguments, a password from a prompt. Out: the accounts file changed, or every mistake told and nothing written. Must never: touch the
//! identity file, or take a password from an argument.

use super::keeping::{self, At, Format, Given, told};
use super::password;
use crate::config::Secret;
use crate::governance::problem::Problem;
use crate::governance::store;
use crate::identity::accounts::writing::Needs;
use crate::identity::accounts::{Accounts, Change, Files, Has, Person, Revoked, State, is_made};
use crate::identity::file::{Identities, MAX_NAME, User, is_name};
use crate::identity::{Directory, Verifier};
use jiff::Timestamp;
use std::io::{self, Write};
use std::path::Path;

/// Arguments of `sqlveil user`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Add a user; the password is asked for.
    Add {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
        /// What it has of its own.
        #[command(flatten)]
        given: Given,
        /// May not log in from this instant on.
        #[arg(long, value_name = "INSTANT")]
        expires: Option<String>,
        /// For who logs in by a certificate, a token of an issuer, or LDAP.
        #[arg(long)]
        no_password: bool,
    },
    /// Give a user a new password, which is asked for.
    Verifier {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
    },
    /// List the users of both files.
    List {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// How.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Let a user log in no more, and end his sessions.
    Disable {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
    },
    /// Undo `disable`.
    Enable {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
    },
    /// Revoke a user's password, and end the sessions that it began; `verifier` gives a new one.
    Revoke {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
    },
    /// Let a user log in until then.
    Expire {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
        /// An instant such as 2027-01-01T00:00:00Z, `now` or `never`.
        when: String,
    },
    /// Remove a user who was added here, or forget what was changed of one of the identity file.
    Remove {
        /// Which proxy.
        #[command(flatten)]
        at: At,
        /// Login name.
        name: String,
    },
}

/// Runs the command; true when it was done.
///
/// # Errors
/// When there is no usable password, or something cannot be printed.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<bool> {
    let (at, name, what) = match args {
        Args::List { at, format } => return list(at, *format, out),
        Args::Add { at, name, .. } => (at, name, "added"),
        Args::Verifier { at, name } => (at, name, "has a new password"),
        Args::Disable { at, name } => (at, name, "is disabled"),
        Args::Enable { at, name } => (at, name, "is enabled"),
        Args::Revoke { at, name } => (at, name, "has no password any more"),
        Args::Expire { at, name, .. } => (at, name, "has a new end"),
        Args::Remove { at, name } => (at, name, "removed"),
    };
    let places = match at.places() {
        Ok(places) => places,
        Err(problems) => return keeping::refuse(&problems),
    };
    let files = &places.files;
    // Mistakes are told before a password is asked for.
    let asks = matches!(args, Args::Verifier { .. } | Args::Add { no_password: false, .. });
    if asks && let Err(problems) = may_be_asked(files, args, name) {
        return keeping::refuse(&problems);
    }
    let verifier = if asks { Some(Verifier::generate(&password::ask(Some(name))?)) } else { None };
    // What keeps somebody out waits for nothing else to be mended.
    let needs = match args {
        Args::Disable { .. } | Args::Revoke { .. } | Args::Expire { .. } => Needs::Alone,
        _ => Needs::Whole,
    };
    let done = files.change(needs, |accounts, written| match args {
        Args::Add { given, expires, .. } => {
            let person = Person {
                name: name.clone(),
                has: given.read(written)?,
                state: State { verifier, expires: end_of_new(expires.as_deref())?, ..State::default() },
            };
            is_free(name, accounts, written)?;
            accounts.users.push(person);
            Ok(())
        }
        Args::Remove { .. } => remove(name, accounts, written, &places.governance),
        Args::List { .. } => Ok(()),
        Args::Verifier { .. } => change(name, accounts, written, |state, _| {
            state.verifier = verifier;
            Ok(())
        }),
        Args::Disable { .. } => disable(name, accounts, written, files),
        Args::Enable { .. } => change(name, accounts, written, |state, user| {
            state.disabled = false;
            stays(user.is_some_and(|user| user.disabled), name, "disabled", files)
        }),
        Args::Revoke { .. } => known(name, accounts, written, files, |state, user| {
            let known = state.verifier.iter().chain(user.and_then(|user| user.verifier.as_ref()));
            let mut revoked: Vec<Revoked> = known.map(Revoked::of).collect();
            if revoked.is_empty() {
                let help = "`sqlveil user disable` keeps him out altogether";
                return Err(told(format!("\"{name}\" has no password"), help));
            }
            revoked.retain(|verifier| !state.revoked.contains(verifier));
            state.revoked.extend(revoked);
            Ok(())
        }),
        Args::Expire { when, .. } => {
            let when = keeping::instant(when)?;
            known(name, accounts, written, files, |state, user| {
                state.expires = when;
                let sooner = user.and_then(|user| user.expires).filter(|end| when.is_none_or(|when| *end < when));
                stays(sooner.is_some(), name, "made to expire sooner", files)
            })
        }
    });
    match done {
        Ok(((), warnings)) => {
            tracing::info!(target: "audit", decision = "user changed", user = name, what);
            keeping::warn(&warnings)?;
            writeln!(out, "{name} {what}").map(|()| true)
        }
        Err(problems) => keeping::refuse(&problems),
    }
}

/// Whether the command has somebody to work on.
fn may_be_asked(files: &Files, args: &Args, name: &str) -> Result<(), Vec<Problem>> {
    let (written, _) = crate::identity::file::load(&files.identity)?;
    let mut accounts = Files { named: false, ..files.clone() }.accounts()?;
    let checked = match args {
        Args::Add { given, expires, .. } => is_free(name, &accounts, &written)
            .and_then(|()| given.read(&written))
            .and_then(|_| end_of_new(expires.as_deref()))
            .map(drop),
        _ => change(name, &mut accounts, &written, |_, _| Ok(())),
    };
    checked.map_err(|problem| vec![problem])
}

fn is_free(name: &str, accounts: &Accounts, written: &Identities) -> Result<(), Problem> {
    let known =
        || written.users.keys().map(|known| &**known).chain(accounts.users.iter().map(|user| user.name.as_str()));
    // Names that people take for one another, in lists, grants and the audit (nameprep, RFC 3491, is for comparing names).
    let plain = |name: &str| stringprep::nameprep(name).ok().map(|name| name.into_owned());
    // Letters of Hangul and Braille that are blank are no blanks in Unicode.
    let blank = |c: char| c != ' ' && c.is_whitespace() || "\u{115f}\u{1160}\u{3164}\u{ffa0}\u{2800}".contains(c);
    let unseen = |c: char| blank(c) || plain(c.encode_utf8(&mut [0; 4])).is_none_or(|seen| seen.is_empty());
    if !is_name(name) {
        let message = format!("a login name has 1 to {MAX_NAME} bytes and no control characters");
        return Err(told(message, "choose another name"));
    }
    if is_made(name) {
        let help = "make one with `sqlveil token` or `sqlveil account`, or choose another name";
        return Err(told("names like this are kept for API tokens and temporary accounts", help));
    }
    if name.trim() != name {
        return Err(told("the name begins or ends with a blank, which nobody sees", "leave it out"));
    }
    if name.contains('+') {
        let help = "choose another name; the identity file takes any name";
        return Err(told("a + in a login name stands before the key of a project", help));
    }
    let Some(own) = plain(name).filter(|_| !name.chars().any(unseen)) else {
        let help = "choose another name; the identity file takes any name";
        return Err(told(
            "the name cannot be told apart from others: it holds something invisible, turned around or too new",
            help,
        ));
    };
    if let Some(other) = known().find(|other| *other != name && plain(other).as_deref() == Some(own.as_str())) {
        let help = "choose another name; the identity file takes any name";
        return Err(told(format!("the name looks like that of the user \"{}\"", other.escape_debug()), help));
    }
    if written.users.contains_key(name) || accounts.users.iter().any(|user| user.name == name) {
        return Err(told(format!("the user \"{name}\" exists already"), "choose another name"));
    }
    if accounts.changes.iter().any(|change| change.name == name) {
        let help = format!("it would hold for the new one: `sqlveil user remove {name}` forgets it");
        return Err(told(format!("something is kept of a former user \"{name}\" of the identity file"), help));
    }
    Ok(())
}

/// The end of a new user lies ahead.
fn end_of_new(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let end = text.map_or(Ok(None), keeping::instant)?;
    match end.filter(|end| *end <= keeping::now()) {
        Some(_) => Err(told("the user would have expired already", "give an instant that lies ahead")),
        None => Ok(end),
    }
}

/// Changes the state of a user, wherever he is written; `change` is given the user of the identity file too.
fn change(
    name: &str,
    accounts: &mut Accounts,
    written: &Identities,
    change: impl FnOnce(&mut State, Option<&User>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if let Some(person) = accounts.users.iter_mut().find(|person| person.name == name) {
        return change(&mut person.state, None);
    }
    let Some(user) = written.users.get(name) else {
        return Err(unknown(name));
    };
    let at = accounts.changes.iter().position(|change| change.name == name);
    let mut state = at.and_then(|at| accounts.changes.get(at)).map(|change| change.state.clone()).unwrap_or_default();
    change(&mut state, Some(user))?;
    accounts.changes.retain(|change| change.name != name);
    if state != State::default() {
        let changed = Change { name: name.to_owned(), state };
        accounts.changes.insert(at.unwrap_or(accounts.changes.len()), changed);
    }
    Ok(())
}

/// [`change`] of a user who is known only when the identity file can be read: told so where it cannot.
fn known(
    name: &str,
    accounts: &mut Accounts,
    written: &Identities,
    files: &Files,
    then: impl FnOnce(&mut State, Option<&User>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let here = accounts.users.iter().any(|user| user.name == name) || written.users.contains_key(name);
    if !here && let Err(mut problems) = crate::identity::file::load(&files.identity) {
        return Err(problems.pop().unwrap_or_else(|| unknown(name)));
    }
    change(name, accounts, written, then)
}

/// Disables a user; where the identity file cannot be read, also one who may be in it.
fn disable(name: &str, accounts: &mut Accounts, written: &Identities, files: &Files) -> Result<(), Problem> {
    let mut states: Vec<&mut State> =
        accounts.users.iter_mut().filter(|u| u.name == name).map(|u| &mut u.state).collect();
    if states.is_empty() {
        states.extend(accounts.changes.iter_mut().filter(|c| c.name == name).map(|c| &mut c.state));
    }
    if let Some(state) = states.into_iter().next() {
        state.disabled = true;
    } else if written.users.contains_key(name) || crate::identity::file::load(&files.identity).is_err() {
        let state = State { disabled: true, ..State::default() };
        accounts.changes.push(Change { name: name.to_owned(), state });
    } else {
        return Err(unknown(name));
    }
    Ok(())
}

fn unknown(name: &str) -> Problem {
    let help = "`sqlveil user list` names all there are; who is known to an issuer alone is made by `sqlveil user add --no-password` first";
    told(format!("the user \"{name}\" does not exist"), help)
}

/// What stands in the identity file is not undone here.
fn stays(stays: bool, name: &str, what: &str, files: &Files) -> Result<(), Problem> {
    if !stays {
        return Ok(());
    }
    let message = format!("\"{name}\" is {what} in {}", files.identity.display());
    Err(told(message, "change it there: nobody rewrites what a human wrote"))
}

/// Removes a user, unless documents cannot do without him.
fn remove(name: &str, accounts: &mut Accounts, written: &Identities, governance: &Path) -> Result<(), Problem> {
    if let Some(user) = written.users.get(name)
        && let Some(change) = accounts.changes.iter().find(|change| change.name == name)
        && change.keeps_out(user)
    {
        let message = format!("\"{name}\" stands in the identity file, and what is changed of him keeps him out");
        let help = "to remove him, take him out of the identity file first; to let him in, \
                    `sqlveil user enable` or `expire … never`, or write a new verifier there when his password is revoked";
        return Err(told(message, help));
    }
    let before = (accounts.users.len(), accounts.changes.len());
    accounts.users.retain(|user| user.name != name);
    accounts.changes.retain(|change| change.name != name);
    if (accounts.users.len(), accounts.changes.len()) == before {
        let help = if written.users.contains_key(name) {
            "he is written in the identity file: remove him there"
        } else {
            "`sqlveil user list` names all there are"
        };
        return Err(told(format!("nothing of \"{name}\" is in the accounts file"), help));
    }
    let declared = store::load(governance).declared;
    let mut left = written.clone();
    // Problems of the file itself are told by whoever writes it.
    let _ = accounts.join(&mut left, governance);
    let secret = Secret::new([0; 32]);
    match Directory::new(left, &declared.projects, &declared.purposes, &secret) {
        Err(problems) => match problems.into_iter().find(|p| p.message.contains(&format!("\"{name}\""))) {
            Some(problem) => Err(problem),
            None => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}

/// Whether one may log in, in one word.
fn state(user: &User) -> &'static str {
    match user.expires {
        _ if user.disabled => "disabled",
        Some(end) if end <= Timestamp::now() => "expired",
        _ => "enabled",
    }
}

fn password_of(user: &User) -> &'static str {
    match &user.verifier {
        None => "none",
        Some(verifier) if user.revoked.contains(&verifier.fingerprint()) => "revoked",
        Some(_) => "set",
    }
}

fn list(at: &At, format: Format, out: &mut dyn Write) -> io::Result<bool> {
    let read = at.files().and_then(|files| {
        let accounts = files.accounts()?;
        files.load().map(|(identities, warnings)| (files, accounts, identities, warnings))
    });
    let (files, accounts, identities, warnings) = match read {
        Ok(read) => read,
        Err(problems) => return keeping::refuse(&problems),
    };
    keeping::warn(&warnings)?;
    let own = |name: &str| accounts.users.iter().any(|user| user.name == name);
    let changed = |name: &str| accounts.changes.iter().any(|change| change.name == name);
    let people = identities.users.iter().filter(|(name, _)| !crate::identity::accounts::is_token(name));
    let has = |user: &User| Has {
        iam: user.iam.to_string(),
        groups: user.groups.iter().map(Into::into).collect(),
        attributes: user
            .attributes
            .iter()
            .map(|(n, v)| (n.clone(), v.iter().map(|v| v.value.clone()).collect()))
            .collect(),
    };
    match format {
        Format::Json => {
            let rows = people.map(|(name, user)| {
                let has = has(user);
                serde_json::json!({
                    "name": &**name,
                    "iam": has.iam,
                    "state": state(user),
                    "expires": user.expires.map(|end| end.to_string()),
                    "password": password_of(user),
                    "groups": has.groups,
                    "attributes": has.attributes,
                    "writtenIn": keeping::file_name(if own(name) { &files.accounts } else { &files.identity }),
                    "changed": changed(name),
                })
            });
            keeping::json(out, &rows.collect())?;
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = people
                .map(|(name, user)| {
                    let file = keeping::file_name(if own(name) { &files.accounts } else { &files.identity });
                    let also = if changed(name) {
                        format!(" + {}", keeping::file_name(&files.accounts))
                    } else {
                        String::new()
                    };
                    vec![
                        name.to_string(),
                        user.iam.to_string(),
                        state(user).to_owned(),
                        user.expires.map(|end| end.to_string()).unwrap_or_default(),
                        password_of(user).to_owned(),
                        keeping::groups(&has(user)),
                        file + &also,
                    ]
                })
                .collect();
            keeping::table(out, &["name", "iam", "state", "expires", "password", "groups", "written in"], &rows)?;
        }
    }
    Ok(true)
}
