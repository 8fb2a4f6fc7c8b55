//! Users, groups, attributes and projects as one immutable set, and what follows for one caller.
//!
//! In: [`Identities`], the declared projects and purposes. Out: [`LoginVerifier`] for a login, [`Caller`] for a statement. Asked again for
//! every statement, so that a user disabled or expired since is refused. Must never: tell an unknown user from a known one, or a project
//! that does not exist from one the caller is not in.

use super::accounts::{Files, is_made};
use super::acknowledgement::Acknowledgement;
use super::file::{Identities, User};
use super::known::{Heard, add};
use super::login::Login;
use super::scram::{DEFAULT_ITERATIONS, LoginVerifier, SALT_LENGTH};
use super::{Caller, Entitlement};
use crate::config::Secret;
use crate::config::directories::Register;
use crate::error::{Family, Refusal, SqlState};
use crate::governance::model::{Audience, Equalization, Owner, Project, Purpose};
use crate::governance::problem::Problem;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod beside;
use beside::said;

/// Users, groups, attributes and projects as one immutable set.
#[derive(Debug, Clone)]
pub struct Directory {
    identities: Identities,
    projects: BTreeMap<Arc<str>, ProjectEntry>,
    mock: Mock,
    /// Where more is said of users.
    registers: Vec<Arc<Register>>,
}

/// How the login of nobody looks: like that of one of the people, or of what the command line makes, as its name looks; shapes that few
/// have are as rare among those who are not there.
#[derive(Debug, Clone)]
struct Mock {
    secret: Secret,
    people: Vec<Shape>,
    made: Vec<Shape>,
}

/// Iteration count and salt length of a verifier.
type Shape = (u32, usize);

/// A project as one of its members sees it.
#[derive(Debug)]
pub struct Membership<'a> {
    /// `projectKey`.
    pub key: &'a Arc<str>,
    /// `name`.
    pub name: &'a str,
    /// `description`.
    pub description: Option<&'a str>,
    /// Its purposes.
    pub purposes: &'a BTreeSet<String>,
    /// Everybody in it has the same groups and attributes.
    pub equalized: bool,
    /// Its data sources share a salt.
    pub masked_joins: bool,
    /// The member acting in it; `None` when he lacks what its equalization asks for.
    pub under: Option<Caller>,
}

#[derive(Debug, Clone)]
struct ProjectEntry {
    name: String,
    description: Option<String>,
    masked_joins: bool,
    purposes: BTreeSet<String>,
    members: Vec<Owner>,
    open_to_anyone: bool,
    entitlements: Option<Audience>,
    acknowledgements: Vec<Acknowledgement>,
    equalized: Option<Equalized>,
}

/// What members of an equalized project have instead of their own.
#[derive(Debug, Clone, Default)]
struct Equalized {
    groups: BTreeSet<Entitlement>,
    attributes: BTreeMap<String, BTreeSet<Entitlement>>,
    /// Conditions that must all be met and are all that is left; `None` when the set is what all have.
    required: Option<Audience>,
}

/// The shape of a verifier that nothing else is said about.
const USUAL: Shape = (DEFAULT_ITERATIONS, SALT_LENGTH);

impl Default for Directory {
    /// Nobody, and logins that lead nowhere.
    fn default() -> Self {
        let mut key = [0u8; 32];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut key);
        Self {
            identities: Identities::default(),
            projects: BTreeMap::new(),
            registers: Vec::new(),
            mock: Mock { secret: Secret::new(key), people: Vec::new(), made: Vec::new() },
        }
    }
}

impl Directory {
    /// Reads identities and joins them with the declared projects. `secret` is the master secret of the configuration: the salts
    /// shown to unknown users are derived from it, so that they survive a restart. Warnings come along.
    ///
    /// # Errors
    /// Every problem of the file, and every project member that does not exist.
    pub fn load(
        files: &Files,
        projects: &[Project],
        purposes: &[Purpose],
        secret: &Secret,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (identities, warnings) = files.load()?;
        Self::new(identities, projects, purposes, secret).map(|directory| (directory, warnings))
    }

    /// Joins identities with projects.
    ///
    /// # Errors
    /// A project member, group or condition that names somebody who is not declared.
    pub fn new(
        identities: Identities,
        projects: &[Project],
        purposes: &[Purpose],
        secret: &Secret,
    ) -> Result<Self, Vec<Problem>> {
        let problems = unknown_members(&identities, projects);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mock = Mock::like(&identities, secret);
        let projects = projects
            .iter()
            .map(|project| (project.key.as_str().into(), entry(project, purposes, &identities)))
            .collect();
        Ok(Self { identities, projects, mock, registers: Vec::new() })
    }

    /// Has directories say more of users: without their word nobody is decided for whom they are about.
    #[must_use]
    pub fn with(mut self, registers: &[Arc<Register>]) -> Self {
        self.registers = registers.to_vec();
        self
    }

    /// What a login under this name is checked against. A name that may not log in gets a mock that always fails, at the same point and
    /// with the same words as a wrong password.
    pub fn verifier(&self, user: &str) -> LoginVerifier {
        self.verifier_at(user, Timestamp::now())
    }

    fn verifier_at(&self, name: &str, now: Timestamp) -> LoginVerifier {
        // Made for everybody, so that the time does not tell for whom it is needed.
        let mock = std::hint::black_box(self.mock.of(name));
        match self.identities.users.get_key_value(name) {
            Some((name, user)) => match &user.verifier {
                Some(verifier) if may_log_in(user, now) && !user.revoked.contains(&verifier.fingerprint()) => {
                    LoginVerifier::real(Arc::clone(name), verifier.clone())
                }
                // The salt a client has seen stays the same: a change would tell that the user was disabled.
                Some(verifier) => LoginVerifier::barred(Arc::clone(name), verifier.clone()),
                None => mock,
            },
            None => self.verifier_of_account(name, now).unwrap_or(mock),
        }
    }

    /// Splits a login name into user and project: `analyst+KEY` acts under project `KEY`, unless a user of exactly that name exists.
    pub fn split_login<'a>(&self, login: &'a str) -> (&'a str, Option<&'a str>) {
        if self.identities.users.contains_key(login) {
            return (login, None);
        }
        match login.rsplit_once('+') {
            Some((user, project)) if !user.is_empty() && !project.is_empty() => (user, Some(project)),
            _ => (login, None),
        }
    }

    /// A user as the identity file alone says, for tools that look at documents: directories are not asked. Sessions ask
    /// [`Self::caller_of`].
    ///
    /// # Errors
    /// As [`Self::caller_of`].
    pub fn caller(&self, user: &str, project: Option<&str>) -> Result<Caller, Refusal> {
        let caller = match self.identities.users.get_key_value(user) {
            Some((name, user)) if may_log_in(user, Timestamp::now()) => of_user(name, user),
            Some(_) | None => return Err(not_permitted(user)),
        };
        match project {
            Some(key) => self.under(&caller, key),
            None => Ok(caller),
        }
    }

    /// The caller as policies see him now. 28000 for a login that has ended and for a user who is unknown, disabled or expired; 42501 for
    /// a project that does not exist or that he is not in (the same text for both); 58000 when a directory that is about him has not said
    /// anything for too long.
    pub fn caller_of(&self, login: &Login, project: Option<&str>) -> Result<Caller, Refusal> {
        self.caller_at(login, project, Timestamp::now())
    }

    fn caller_at(&self, login: &Login, project: Option<&str>, now: Timestamp) -> Result<Caller, Refusal> {
        self.caller_then(login, &login.heard(), project, now)
    }

    /// The same by what was heard at one moment, where more than one question makes a decision.
    ///
    /// # Errors
    /// As [`Self::caller_of`].
    pub fn caller_by(&self, login: &Login, heard: &Heard<'_>, project: Option<&str>) -> Result<Caller, Refusal> {
        self.caller_then(login, heard, project, Timestamp::now())
    }

    fn caller_then(
        &self,
        login: &Login,
        heard: &Heard<'_>,
        project: Option<&str>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        if login.is_over(now) {
            let text = format!("the login of \"{}\" has expired", login.user);
            return Err(Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
                .with_hint("Log in again with a token or certificate that is still good."));
        }
        if self.is_revoked(login, now) {
            return Err(not_permitted(login.name()));
        }
        let Some(caller) = self.plain(login, heard, now)? else { return Err(not_permitted(login.name())) };
        login.stays(project)?;
        match project {
            Some(key) => self.under(&caller, key),
            None => Ok(caller),
        }
    }

    /// A caller outside every project as he is in this one.
    ///
    /// # Errors
    /// 42501 for a project that does not exist, that he is not in, or that he lacks something for.
    pub fn under(&self, caller: &Caller, key: &str) -> Result<Caller, Refusal> {
        let found = self.projects.get_key_value(key).filter(|(_, entry)| is_member(caller, entry));
        let Some((key, entry)) = found else {
            return Err(Refusal::denied(format!("permission denied for project \"{key}\"")));
        };
        let mut under = caller.clone();
        if let Some(equalized) = &entry.equalized {
            equalized.apply(&mut under, key)?;
            if under != *caller {
                under.before = Some(Arc::new(caller.clone()));
            }
        }
        under.project = Some(Arc::clone(key));
        under.purposes = entry.purposes.clone();
        Ok(under)
    }

    /// The projects that a caller is a member of, in order of their keys, whichever he acts under.
    pub fn projects_of(&self, caller: &Caller) -> Vec<Membership<'_>> {
        let alone = caller.alone();
        let own = self.projects.iter().filter(|(_, entry)| is_member(&alone, entry));
        own.map(|(key, entry)| Membership {
            key,
            name: &entry.name,
            description: entry.description.as_deref(),
            purposes: &entry.purposes,
            equalized: entry.equalized.is_some(),
            masked_joins: entry.masked_joins,
            under: self.under(&alone, key).ok(),
        })
        .collect()
    }

    /// Whether a login is still good, for sessions in which nothing is asked; why it is not.
    ///
    /// # Errors
    /// One line, for whoever logged in.
    pub fn stands(&self, login: &Login) -> Result<(), String> {
        let now = Timestamp::now();
        if login.is_over(now) {
            return Err(format!("the login of \"{}\" has expired", login.user));
        }
        let heard = login.heard();
        let somebody = match self.who(login, &heard, now) {
            Ok(who) => who.is_some_and(|who| {
                self.about(&who).for_each(|register| heard.wants(register));
                true
            }),
            // Whether he is anybody is not known at the moment. His statements are refused; the session may live to see the directory again.
            Err(_) => true,
        };
        let fine = somebody && !self.is_revoked(login, now) && self.account_may_act(login, now);
        if fine { Ok(()) } else { Err(format!("role \"{}\" is not permitted to log in any more", login.name())) }
    }

    /// Who logged in, under no project.
    fn plain(&self, login: &Login, heard: &Heard<'_>, now: Timestamp) -> Result<Option<Caller>, Refusal> {
        let Some(who) = self.who(login, heard, now)? else { return Ok(None) };
        let mut caller = match who.declared {
            Some((name, user)) => of_user(name, user),
            None => Caller {
                user: Arc::clone(&login.user),
                iam: Arc::clone(who.iam),
                groups: BTreeSet::new(),
                attributes: BTreeMap::new(),
                project: None,
                purposes: BTreeSet::new(),
                before: None,
            },
        };
        let inherited = |group: &Entitlement| self.identities.groups.get(group);
        if let Some(brought) = login.brought.as_deref() {
            add(&brought.groups, &brought.attributes, &mut caller, inherited);
        }
        for register in self.about(&who) {
            if let Some(found) = said(heard, &login.user, register)? {
                found.add_to(&mut caller, inherited);
            }
        }
        Ok(Some(caller))
    }

    /// The texts to accept before acting under a project; empty when there are none or no such project.
    pub fn acknowledgements(&self, project: &str) -> &[Acknowledgement] {
        self.projects.get(project).map(|entry| entry.acknowledgements.as_slice()).unwrap_or_default()
    }

    /// Login names of all users, in order.
    pub fn users(&self) -> impl Iterator<Item = &Arc<str>> {
        self.identities.users.keys()
    }

    /// Whether the identity file has a user of that name.
    pub fn declares(&self, user: &str) -> bool {
        self.identities.users.contains_key(user)
    }

    /// Whether there was an accounts file.
    pub fn has_accounts_file(&self) -> bool {
        self.identities.kept
    }

    /// All groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = &Entitlement> {
        self.identities.groups.keys()
    }

    /// Whether a user or group of that name (and provider, when given) is declared.
    pub fn knows(&self, owner: &Owner) -> bool {
        knows(&self.identities, owner)
    }
}

impl Mock {
    /// Iteration counts and salt lengths as verifiers have them.
    fn like(identities: &Identities, secret: &Secret) -> Self {
        let (mut people, mut made) = (Vec::new(), Vec::new());
        let users = identities.users.iter().filter_map(|(name, user)| Some((name, user.verifier.as_ref()?)));
        let accounts = identities.temporary.iter().map(|(name, account)| (name, &account.verifier));
        for (name, verifier) in users.chain(accounts) {
            let shapes = if is_made(name) { &mut made } else { &mut people };
            shapes.push((verifier.iterations(), verifier.salt_length()));
        }
        for shapes in [&mut people, &mut made] {
            // Almost always all alike, and then one will do.
            if shapes.windows(2).all(|pair| matches!(pair, [a, b] if a == b)) {
                shapes.truncate(1);
            }
        }
        Self { secret: secret.derive("mock login"), people, made }
    }

    fn of(&self, name: &str) -> LoginVerifier {
        let shapes = if is_made(name) { &self.made } else { &self.people };
        // The same for a name each time.
        let dice = self.secret.derive(&format!("shape of {name}"));
        let dice = dice.expose().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let most = u64::try_from(shapes.len()).unwrap_or(u64::MAX).max(1);
        let chosen = usize::try_from(dice % most).ok().and_then(|at| shapes.get(at));
        let (iterations, salt_length) = chosen.copied().unwrap_or(USUAL);
        LoginVerifier::mock(name, self.secret.expose(), iterations, salt_length)
    }
}

fn may_log_in(user: &User, now: Timestamp) -> bool {
    !user.disabled && user.expires.is_none_or(|end| now < end)
}

fn not_permitted(user: &str) -> Refusal {
    let text = format!("role \"{user}\" is not permitted to log in");
    Refusal::new(Family::Denied, SqlState::INVALID_AUTHORIZATION, text)
}

/// A user under no project.
fn of_user(name: &Arc<str>, user: &User) -> Caller {
    Caller {
        user: Arc::clone(name),
        iam: Arc::clone(&user.iam),
        groups: user.groups.clone(),
        attributes: user.attributes.clone(),
        project: None,
        purposes: BTreeSet::new(),
        before: None,
    }
}

fn entry(project: &Project, purposes: &[Purpose], identities: &Identities) -> ProjectEntry {
    let mut acknowledgements: Vec<Acknowledgement> = Vec::new();
    for name in &project.purposes {
        if let Some(found) = acknowledgement(name, purposes)
            && !acknowledgements.contains(&found)
        {
            acknowledgements.push(found);
        }
    }
    let mut entry = ProjectEntry {
        name: project.name.clone(),
        description: project.description.clone(),
        masked_joins: project.allow_masked_joins,
        purposes: project.purposes.iter().cloned().collect(),
        members: project.members.clone(),
        open_to_anyone: project.open_to_anyone,
        entitlements: project.entitlements.clone(),
        acknowledgements,
        equalized: None,
    };
    entry.equalized = project.equalization.as_ref().map(|equalization| match equalization {
        Equalization::Common => common(identities, &entry),
        Equalization::Given { groups, attributes } => Equalized {
            required: Some(Audience {
                all: true,
                groups: groups.clone(),
                attributes: attributes.clone(),
                ..Audience::default()
            }),
            ..Equalized::default()
        },
    });
    entry
}

/// What every member has; members who may not log in at the moment count, so that nobody's coming or going widens anything.
fn common(identities: &Identities, entry: &ProjectEntry) -> Equalized {
    let callers = identities.users.iter().map(|(name, user)| of_user(name, user));
    let shared = callers.filter(|caller| is_member(caller, entry)).reduce(|mut shared, next| {
        shared.groups.retain(|group| next.groups.contains(group));
        shared.attributes.retain(|name, values| {
            values.retain(|value| next.attributes.get(name).is_some_and(|have| have.contains(value)));
            !values.is_empty()
        });
        shared
    });
    shared.map_or_else(Equalized::default, |shared| Equalized {
        groups: shared.groups,
        attributes: shared.attributes,
        required: None,
    })
}

impl Equalized {
    /// Leaves a member what all have, never more than was his own. Who lacks some of it is told so: he is a member.
    fn apply(&self, caller: &mut Caller, project: &str) -> Result<(), Refusal> {
        let unequal = || {
            let message = format!("permission denied for project \"{project}\": it is equalized");
            let hint = "Its members need groups or attributes that you do not have; an administrator can tell which.";
            Refusal::denied(message).with_hint(hint)
        };
        let Some(required) = &self.required else {
            // Always so for the members it was made of; somebody known by his token alone was not among them.
            let has = |name: &String, value| caller.attributes.get(name).is_some_and(|own| own.contains(value));
            let all = self.attributes.iter().all(|(name, values)| values.iter().all(|value| has(name, value)));
            if !all || !self.groups.is_subset(&caller.groups) {
                return Err(unequal());
            }
            caller.groups.retain(|group| self.groups.contains(group));
            caller.attributes.retain(|name, values| {
                values.retain(|value| self.attributes.get(name).is_some_and(|all| all.contains(value)));
                !values.is_empty()
            });
            return Ok(());
        };
        if !satisfies(caller, required) {
            return Err(unequal());
        }
        let from = |wanted: &Option<String>, iam: &str| wanted.as_deref().is_none_or(|wanted| wanted == iam);
        caller.groups.retain(|g| required.groups.iter().any(|c| c.name == g.value && from(&c.iam, &g.iam)));
        caller.attributes.retain(|name, values| {
            let wanted = |v: &Entitlement| {
                required.attributes.iter().any(|c| c.name == *name && c.value == v.value && from(&c.iam, &v.iam))
            };
            values.retain(wanted);
            !values.is_empty()
        });
        Ok(())
    }
}

/// The text of a purpose, or of its nearest ancestor that has one.
fn acknowledgement(name: &str, purposes: &[Purpose]) -> Option<Acknowledgement> {
    let mut name = name;
    loop {
        let found = purposes.iter().find(|p| p.name == name);
        if let Some((found, text)) = found.and_then(|p| Some((p, p.acknowledgement.as_ref()?))) {
            return Some(Acknowledgement {
                purpose: found.name.clone(),
                text: text.clone(),
                again: found.re_acknowledge,
            });
        }
        (name, _) = name.rsplit_once('.')?;
    }
}

fn is_member(caller: &Caller, project: &ProjectEntry) -> bool {
    let named = |owner: &Owner| {
        let from = |iam: &str| owner.iam.as_deref().is_none_or(|wanted| wanted == iam);
        if owner.is_group {
            caller.groups.iter().any(|group| group.value == owner.name && from(&group.iam))
        } else {
            *owner.name == *caller.user && from(&caller.iam)
        }
    };
    project.open_to_anyone
        || project.members.iter().any(named)
        || project.entitlements.as_ref().is_some_and(|audience| satisfies(caller, audience))
}

/// Whether the caller meets the conditions for joining a project. One without conditions is met by nobody. Purposes are those of the
/// project he acts under so far: none.
fn satisfies(caller: &Caller, audience: &Audience) -> bool {
    if let Some(expression) = &audience.advanced {
        return expression.holds(&|group| caller.groups.iter().any(|g| g.value == group), &|name, value| {
            caller.attributes.get(name).into_iter().flatten().any(|v| v.value == value)
        });
    }
    let from = |wanted: &Option<String>, iam: &str| wanted.as_deref().is_none_or(|wanted| wanted == iam);
    let groups = audience
        .groups
        .iter()
        .map(|condition| caller.groups.iter().any(|g| g.value == condition.name && from(&condition.iam, &g.iam)));
    let attributes = audience.attributes.iter().map(|condition| {
        let values = caller.attributes.get(&condition.name);
        values.into_iter().flatten().any(|v| v.value == condition.value && from(&condition.iam, &v.iam))
    });
    let purposes = audience.purposes.iter().map(|wanted| {
        let below =
            |own: &String| own.strip_prefix(wanted.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        caller.purposes.iter().any(below)
    });
    let met: Vec<bool> = groups.chain(attributes).chain(purposes).collect();
    if audience.all { !met.is_empty() && met.iter().all(|m| *m) } else { met.iter().any(|m| *m) }
}

fn knows(identities: &Identities, owner: &Owner) -> bool {
    let from = |iam: &str| owner.iam.as_deref().is_none_or(|wanted| wanted == iam);
    if owner.is_group {
        let least = Entitlement { value: owner.name.clone(), iam: "".into() };
        let named = identities.groups.range(least..).take_while(|(group, _)| group.value == owner.name);
        named.into_iter().any(|(group, _)| from(&group.iam))
    } else {
        identities.users.get(owner.name.as_str()).is_some_and(|user| from(&user.iam))
    }
}

/// Members nobody is: a misspelt name would quietly keep somebody out, or let somebody in the day the name is taken.
fn unknown_members(identities: &Identities, projects: &[Project]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for project in projects {
        for member in project.members.iter().filter(|member| !knows(identities, member)) {
            let kind = if member.is_group { "group" } else { "user" };
            problems.push(Problem::error(
                &project.origin,
                format!("project \"{}\" has a member that is not declared: {kind} \"{}\"", project.key, member.name),
                format!("declare the {kind} in the identity file or correct the name"),
            ));
        }
    }
    problems
}

mod ended;
mod temporary;

#[cfg(test)]
mod tests;
