//! Asks an LDAP server what it knows of a user: his entry, the groups he is in, the groups they are in. Needs the network: async.
//!
//! In: a login name. Out: [`Found`], or that there is no such user. Must never: take another user for him because LDAP finds their names
//! alike, follow a server elsewhere, go round in circles, or take part of an answer for the whole.

use super::{NO_SUCH_OBJECT, Unanswered, connect, login, within};
use crate::config::directories::{Groups, LdapDirectory, MOST, Register, fill};
use crate::identity::{Excess, Found, Gathering};
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, Scope, SearchEntry, dn_escape, ldap_escape};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;

/// Most groups in groups in groups.
const DEEPEST: usize = 16;
/// Entries of one page of an answer (RFC 2696): servers give no more than so many at once.
const PAGE: i32 = 500;
/// Most members asked for in one filter, and most entries asked for at once.
const AT_ONCE: usize = 50;
/// Most bytes of one answer.
const ANSWER: usize = 8 << 20;

/// Why nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    /// The directory does not answer: for the log.
    #[error("{0}")]
    Silent(String),
    /// What it says of this user cannot be used.
    #[error("{0}")]
    Unusable(String),
}

impl From<Unanswered> for Unsaid {
    fn from(unanswered: Unanswered) -> Self {
        Self::Silent(unanswered.to_string())
    }
}

impl From<ldap3::LdapError> for Unsaid {
    fn from(error: ldap3::LdapError) -> Self {
        Unanswered::from(error).into()
    }
}

impl From<Excess> for Unsaid {
    fn from(excess: Excess) -> Self {
        Self::Unusable(excess.to_string())
    }
}

/// An entry, as far as it matters here.
struct Entry {
    name: String,
    attributes: Vec<(String, Vec<String>)>,
    /// Attributes with values that are no text, or only some of their values.
    unusable: Vec<String>,
}

impl Entry {
    fn read(entry: SearchEntry) -> Self {
        let mut unusable: Vec<String> = entry.bin_attrs.into_keys().collect();
        // Active Directory gives long lists in parts and says so in an option of the attribute's name.
        unusable.extend(entry.attrs.keys().filter(|name| name.to_ascii_lowercase().contains(";range=")).cloned());
        Self { name: entry.dn, attributes: entry.attrs.into_iter().collect(), unusable }
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.attributes.iter().flat_map(|(_, values)| values).map(String::len).sum::<usize>()
    }

    /// All values of an attribute, those under options included: they are values of it too (RFC 4512, 2.5.2).
    fn values(&self, wanted: &str) -> Result<impl Iterator<Item = &String>, Unsaid> {
        let is = |name: &str| name.split(';').next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        if self.unusable.iter().any(|name| is(name)) {
            let why =
                format!("the attribute {wanted} holds what is no text, or more values than the server gives at once");
            return Err(Unsaid::Unusable(why));
        }
        Ok(self.attributes.iter().filter(move |(name, _)| is(name)).flat_map(|(_, values)| values))
    }
}

/// What the directory says of a user; `None`: it does not know him.
///
/// # Errors
/// When it cannot be asked, or says what cannot be used.
pub async fn find(register: &Register, directory: &LdapDirectory, user: &str) -> Result<Option<Found>, Unsaid> {
    asking(register.timeout, directory, async |ldap| {
        let Some(person) = person(ldap, directory, user).await? else { return Ok(None) };
        let mut gathering = Gathering::new(register.iam.clone());
        for (name, from) in &directory.attributes {
            for value in person.values(from)? {
                gathering.attribute(name, value.clone())?;
            }
        }
        if let Some(groups) = &directory.groups {
            above(ldap, groups, person, user, &mut gathering).await?;
        }
        Ok(Some(gathering.done()))
    })
    .await
}

/// Whether the directory can be asked, also for groups: for `sqlveil check`.
///
/// # Errors
/// Why not.
pub async fn reach(register: &Register, directory: &LdapDirectory) -> Result<(), Unsaid> {
    const NOBODY: &str = "sqlveil-check";
    asking(register.timeout, directory, async |ldap| {
        let person = person(ldap, directory, NOBODY).await?;
        if let (None, Some(groups)) = (person, &directory.groups) {
            let nobody = Entry { name: format!("cn={NOBODY}"), attributes: Vec::new(), unusable: Vec::new() };
            above(ldap, groups, nobody, NOBODY, &mut Gathering::new(register.iam.clone())).await?;
        }
        Ok(())
    })
    .await
}

async fn asking<T>(
    limit: Duration,
    directory: &LdapDirectory,
    what: impl AsyncFnOnce(&mut Ldap) -> Result<T, Unsaid>,
) -> Result<T, Unsaid> {
    let answered = within(limit, async {
        let mut ldap = connect(&directory.server).await?;
        let answer = match login(&mut ldap, directory.service.as_ref()).await {
            Ok(()) => what(&mut ldap).await,
            Err(unanswered) => Err(unanswered.into()),
        };
        let _ = ldap.unbind().await;
        Ok(answer)
    });
    answered.await?
}

/// The user's own entry: the one that is found, if it has his name letter by letter.
async fn person(ldap: &mut Ldap, directory: &LdapDirectory, user: &str) -> Result<Option<Entry>, Unsaid> {
    let person = &directory.person;
    let mut wanted: Vec<&str> = vec![&person.name];
    wanted.extend(directory.attributes.iter().map(|(_, from)| from.as_str()));
    wanted.extend(directory.groups.iter().filter_map(|groups| groups.member_of.as_deref()));
    let found = match &person.filter {
        Some(filter) => {
            let filter = fill(filter, &ldap_escape(user), "");
            search(ldap, &person.base, Scope::Subtree, &filter, &wanted).await?
        }
        None => read(ldap, &fill(&person.base, &dn_escape(user), ""), &wanted).await?.into_iter().collect(),
    };
    let mut own = Vec::new();
    for entry in found {
        if entry.values(&person.name)?.any(|name| name == user) {
            own.push(entry);
        }
    }
    match own.len() {
        0 | 1 => Ok(own.pop()),
        _ => Err(Unsaid::Unusable("several entries have this name".to_owned())),
    }
}

/// The groups a user is in, and those above them.
async fn above(
    ldap: &mut Ldap,
    groups: &Groups,
    person: Entry,
    user: &str,
    gathering: &mut Gathering,
) -> Result<(), Unsaid> {
    // Names of entries, as they were asked for and as they are: case and blanks do not count in them.
    let mut seen: BTreeSet<String> = BTreeSet::from([folded(&person.name)]);
    let mut below = vec![person];
    for depth in 0.. {
        let mut next = Vec::new();
        for entry in parents(ldap, groups, &below, (user, depth), &mut seen).await? {
            gathering.group(name_of(&entry, groups)?)?;
            next.push(entry);
        }
        if next.is_empty() || !groups.nested {
            return Ok(());
        }
        if depth >= DEEPEST || seen.len() > 4 * MOST {
            return Err(Unsaid::Unusable(format!("groups are nested more than {DEEPEST} times")));
        }
        below = next;
    }
    Ok(())
}

/// The groups that these entries are in, each that was not seen before.
async fn parents(
    ldap: &mut Ldap,
    groups: &Groups,
    below: &[Entry],
    (user, depth): (&str, usize),
    seen: &mut BTreeSet<String>,
) -> Result<Vec<Entry>, Unsaid> {
    let mut wanted: Vec<&str> = groups.member_of.as_deref().into_iter().collect();
    if groups.name != "dn" {
        wanted.push(&groups.name);
    }
    if wanted.is_empty() {
        // No attributes (RFC 4511, 4.5.1.8).
        wanted.push("1.1");
    }
    let mut found = Vec::new();
    if let Some(member_of) = &groups.member_of {
        let mut names = Vec::new();
        for entry in below {
            names.extend(entry.values(member_of)?.filter(|name| seen.insert(folded(name))).cloned());
        }
        if names.len() > MOST {
            return Err(Excess::Groups.into());
        }
        for some in names.chunks(AT_ONCE) {
            let mut reading = JoinSet::new();
            for name in some {
                let (mut ldap, name) = (ldap.clone(), name.clone());
                let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
                reading.spawn(async move {
                    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
                    let entry = read(&mut ldap, &name, &wanted).await?;
                    // Without its entry a group has no name, and its members cannot be told from others.
                    entry.ok_or_else(|| Unsaid::Unusable(format!("the entry of the group {name} cannot be read")))
                });
            }
            while let Some(read) = reading.join_next().await {
                let entry = read.map_err(|_| Unsaid::Silent("an answer could not be read".to_owned()))??;
                let folded = folded(&entry.name);
                // Asked for by another spelling and seen before, or asked for by this one just now.
                if seen.insert(folded.clone()) || some.iter().any(|name| self::folded(name) == folded) {
                    found.push(entry);
                }
            }
        }
    }
    if let Some((base, template)) = &groups.search {
        let by_entry = template.contains("{dn}");
        for some in below.chunks(AT_ONCE) {
            if depth > 0 && !by_entry {
                // His login name is in nothing else than before.
                break;
            }
            let each: Vec<String> = some
                .iter()
                .map(|entry| fill(template, &ldap_escape(user), &ldap_escape(entry.name.as_str())))
                .collect();
            let filter = match each.as_slice() {
                [one] => one.clone(),
                several => format!("(|{})", several.concat()),
            };
            let entries = search(ldap, base, Scope::Subtree, &filter, &wanted).await?;
            found.extend(entries.into_iter().filter(|entry| seen.insert(folded(&entry.name))));
        }
    }
    Ok(found)
}

fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A group's name: one, or it cannot be told which.
fn name_of(group: &Entry, groups: &Groups) -> Result<String, Unsaid> {
    if groups.name == "dn" {
        return Ok(group.name.clone());
    }
    let mut names = group.values(&groups.name)?;
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        _ => Err(Unsaid::Unusable(format!("the group {} has no {}, or several", group.name, groups.name))),
    }
}

/// One entry by its name.
async fn read(ldap: &mut Ldap, name: &str, wanted: &[&str]) -> Result<Option<Entry>, Unsaid> {
    match searched(ldap, name, Scope::Base, "(objectClass=*)", wanted).await {
        Ok(found) => Ok(found.into_iter().next()),
        Err(Stopped::Code(NO_SUCH_OBJECT)) => Ok(None),
        // busy, unavailable, other: it may be so with every entry.
        Err(Stopped::Code(code)) if !matches!(code, 51 | 52 | 80) => {
            Err(Unsaid::Unusable(format!("an entry cannot be read: result code {code}")))
        }
        Err(stopped) => Err(stopped.into()),
    }
}

async fn search(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    wanted: &[&str],
) -> Result<Vec<Entry>, Unsaid> {
    searched(ldap, base, scope, filter, wanted).await.map_err(Unsaid::from)
}

/// Why a search has no whole answer.
enum Stopped {
    Code(u32),
    Unsaid(Unsaid),
}

impl From<Stopped> for Unsaid {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Code(NO_SUCH_OBJECT) => Self::Silent("there is no entry where it is to search".to_owned()),
            // timeLimitExceeded, sizeLimitExceeded, adminLimitExceeded: what came is a part.
            Stopped::Code(3 | 4 | 11) => Self::Unusable("the server gives only a part of the answer".to_owned()),
            // inappropriateMatching, invalidAttributeSyntax, invalidDNSyntax: it is what is asked for.
            Stopped::Code(code @ (18 | 21 | 34)) => Self::Unusable(format!("result code {code}")),
            Stopped::Code(code) => Self::Silent(format!("result code {code}")),
            Stopped::Unsaid(unsaid) => unsaid,
        }
    }
}

/// All entries that a search finds, page by page. References to other servers are passed over: what another says is not what this
/// one says.
async fn searched(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    wanted: &[&str],
) -> Result<Vec<Entry>, Stopped> {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> = vec![Box::new(EntriesOnly::new())];
    if scope != Scope::Base {
        adapters.push(Box::new(PagedResults::new(PAGE)));
    }
    let broken = |error: ldap3::LdapError| Stopped::Unsaid(error.into());
    let mut stream = ldap.streaming_search_with(adapters, base, scope, filter, wanted).await.map_err(broken)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(entry) = stream.next().await.map_err(broken)? {
        let entry = Entry::read(SearchEntry::construct(entry));
        bytes += entry.bytes();
        found.push(entry);
        if found.len() > MOST {
            return Err(Stopped::Unsaid(Excess::Groups.into()));
        }
        if bytes > ANSWER {
            return Err(Stopped::Unsaid(Unsaid::Unusable(format!("more than {} MB", ANSWER >> 20))));
        }
    }
    match stream.finish().await.rc {
        0 => Ok(found),
        code => Err(Stopped::Code(code)),
    }
}
