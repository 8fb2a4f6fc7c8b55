//! The settings the proxy holds itself, `search_path`, `sqlveil.project` and `sqlveil.user`, under PostgreSQL's transaction rules.
//!
//! In: the effects of statements and the end of transactions. Out: the values in force. Source: PostgreSQL manual, SET ("the effects
//! of SET LOCAL last only till the end of the current transaction", "if SET is issued within a transaction that is later aborted, the
//! effects disappear") and `AtEOXact_GUC`. Must never: let a rolled-back value survive, or what was set for one user hold for another.

use crate::seal::Sealed;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `search_path` of a session that was told nothing.
pub const DEFAULT_SEARCH_PATH: &str = "\"$user\", public";

/// Which setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `search_path`.
    SearchPath,
    /// `sqlveil.project`.
    Project,
    /// `sqlveil.user`.
    User,
}

impl Name {
    /// By its lower-case name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "search_path" => Some(Self::SearchPath),
            "sqlveil.project" => Some(Self::Project),
            "sqlveil.user" => Some(Self::User),
            _ => None,
        }
    }
}

/// Statements that give the warehouse's session the settings it has, by what they set. Kept only where a login may act for others.
pub type Forwarded = Arc<BTreeMap<String, Sealed>>;

/// One value of each setting. The project is empty when there is none, the user when the login acts for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values {
    /// `search_path` as text.
    pub search_path: Arc<str>,
    /// `sqlveil.project`.
    pub project: Arc<str>,
    /// `sqlveil.user`.
    pub user: Arc<str>,
    /// When the signature runs out that says so.
    pub until: Option<Timestamp>,
    /// The `application_name` that the client has set, where it is signed and the warehouse does not have it.
    pub signed_name: Option<Arc<str>>,
    /// Settings of the warehouse's session.
    pub forwarded: Forwarded,
    /// The login's own, while it acts for another.
    own: Option<Arc<Own>>,
}

/// What a login comes back to when it acts for itself again, and what it brings to everybody it acts for.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    search_path: Arc<str>,
    project: Arc<str>,
    forwarded: Forwarded,
}

impl Values {
    fn put(&mut self, name: Name, value: Arc<str>) {
        match name {
            Name::SearchPath => self.search_path = value,
            Name::Project => self.project = value,
            Name::User => self.act_for(value, None),
        }
    }

    /// Acts for another under a project, or for nobody.
    fn act_under(&mut self, user: &Arc<str>, project: &Arc<str>, until: Option<Timestamp>) {
        self.act_for(Arc::clone(user), until);
        if !user.is_empty() {
            self.project = Arc::clone(project);
        }
    }

    /// Acts for another, or for nobody. What was set for one user does not hold for the next.
    fn act_for(&mut self, user: Arc<str>, until: Option<Timestamp>) {
        self.until = until;
        if user == self.user {
            return;
        }
        let own = self.own.take().unwrap_or_else(|| {
            Arc::new(Own {
                search_path: Arc::clone(&self.search_path),
                project: Arc::clone(&self.project),
                forwarded: Arc::clone(&self.forwarded),
            })
        });
        self.search_path = Arc::clone(&own.search_path);
        self.forwarded = Arc::clone(&own.forwarded);
        self.project = if user.is_empty() { Arc::clone(&own.project) } else { "".into() };
        self.own = (!user.is_empty()).then_some(own);
        self.user = user;
    }
}

/// What one nesting level of the transaction has set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Level {
    savepoint: Option<Arc<str>>,
    /// What stays after COMMIT.
    lasting: Values,
    /// What is in force now: SET LOCAL included.
    current: Values,
}

impl Level {
    /// Whether it acts for somebody in this transaction alone: what he sets does not outlive his turn.
    fn has_a_guest(&self) -> bool {
        self.lasting.user != self.current.user
    }
}

/// The stack of values. Cheap to clone: a snapshot is the way to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    startup: Arc<Values>,
    base: Values,
    levels: Vec<Level>,
}

impl Settings {
    /// A session's settings at its start; these are also what RESET ALL and DISCARD ALL go back to.
    pub fn new(search_path: Option<&str>, project: Option<&str>) -> Self {
        let base = Values {
            search_path: search_path.unwrap_or(DEFAULT_SEARCH_PATH).into(),
            project: project.unwrap_or_default().into(),
            user: "".into(),
            until: None,
            signed_name: None,
            forwarded: Forwarded::default(),
            own: None,
        };
        Self { startup: Arc::new(base.clone()), base, levels: Vec::new() }
    }

    /// The values in force.
    pub fn current(&self) -> &Values {
        self.levels.last().map_or(&self.base, |level| &level.current)
    }

    /// Changes the innermost level, which begins an implicit transaction when there is none.
    fn change(&mut self, change: impl FnOnce(&mut Level)) {
        let mut level = self.levels.pop().unwrap_or_else(|| Level {
            savepoint: None,
            lasting: self.base.clone(),
            current: self.base.clone(),
        });
        change(&mut level);
        self.levels.push(level);
    }

    /// SET and RESET. RESET of the search path goes back to the session's start; RESET of the project leaves it.
    pub fn set(&mut self, name: Name, value: Option<&str>, local: bool) {
        let value: Arc<str> = match (value, name) {
            (Some(value), _) => value.into(),
            (None, Name::SearchPath) => match &self.current().own {
                Some(own) => Arc::clone(&own.search_path),
                None => Arc::clone(&self.startup.search_path),
            },
            (None, Name::Project | Name::User) => "".into(),
        };
        self.change(|top| {
            if !local && (name == Name::User || !top.has_a_guest()) {
                top.lasting.put(name, Arc::clone(&value));
            }
            top.current.put(name, value);
        });
    }

    /// Acts for a user under a project, as a signed text says, or for nobody.
    pub fn act_for(&mut self, user: &Arc<str>, project: &Arc<str>, until: Option<Timestamp>, local: bool) {
        self.change(|top| {
            let Level { lasting, current, .. } = top;
            for values in (!local).then_some(lasting).into_iter().chain([current]) {
                values.act_under(user, project, until);
            }
        });
    }

    /// The same for the string of a signed comment, or for the next: whatever the string does with transactions and savepoints, it is its
    /// user's to the end.
    pub fn turn_to(&mut self, user: &Arc<str>, project: &Arc<str>, until: Option<Timestamp>) {
        self.base.act_under(user, project, until);
        for level in &mut self.levels {
            level.lasting.act_under(user, project, until);
            level.current.act_under(user, project, until);
        }
    }

    /// The name of the application is signed, or is not any more.
    pub fn name_signed(&mut self, name: Option<&str>, local: bool) {
        let name: Option<Arc<str>> = name.map(Into::into);
        self.change(|top| {
            let Level { lasting, current, .. } = top;
            for values in (!local).then_some(lasting).into_iter().chain([current]) {
                values.signed_name.clone_from(&name);
            }
        });
    }

    /// Everything is as at the session's start, but for whom the string is that says so.
    fn restart(&mut self, change: impl FnOnce(&mut Self)) {
        let now = self.current().clone();
        change(self);
        if now.until.is_some() && now.signed_name.is_none() {
            self.turn_to(&now.user, &now.project, now.until);
        }
    }

    /// A setting of the warehouse's session; `None`: its default again.
    pub fn forward(&mut self, name: &str, statement: Option<&Sealed>, local: bool) {
        // SET LOCAL ends with the transaction, and nothing is given back inside one.
        if local {
            return;
        }
        self.change(|top| {
            let guest = top.has_a_guest();
            for values in (!guest).then_some(&mut top.lasting).into_iter().chain([&mut top.current]) {
                let forwarded = Arc::make_mut(&mut values.forwarded);
                match statement {
                    Some(statement) => drop(forwarded.insert(name.to_owned(), statement.clone())),
                    None => drop(forwarded.remove(name)),
                }
            }
        });
    }

    /// The session begins by acting for somebody, under a project unless his signature says which: RESET ALL and DISCARD ALL come back
    /// to this.
    pub fn start_as(&mut self, user: Option<&str>, project: Option<&str>) {
        self.commit();
        if let Some(user) = user {
            self.base.act_for(user.into(), None);
        }
        if !self.base.user.is_empty() && self.base.project.is_empty() {
            self.base.project = project.unwrap_or_default().into();
        }
        self.startup = Arc::new(self.base.clone());
    }

    /// The login's own settings of the warehouse's session, whoever it acts for.
    pub fn own_forwarded(&self) -> Forwarded {
        let now = self.current();
        Arc::clone(now.own.as_ref().map_or(&now.forwarded, |own| &own.forwarded))
    }

    /// RESET ALL.
    pub fn reset_all(&mut self) {
        let startup = (*self.startup).clone();
        self.restart(|settings| {
            settings.change(|top| {
                top.lasting = startup.clone();
                top.current = startup;
            });
        });
    }

    /// DISCARD ALL, which cannot run inside a transaction.
    pub fn discard_all(&mut self) {
        self.restart(|settings| {
            settings.levels.clear();
            settings.base = (*settings.startup).clone();
        });
    }

    /// A transaction block begins. What an implicit transaction did before in the same string belongs to the block.
    pub fn begin(&mut self) {
        self.change(|_| {});
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.base = level.lasting;
        }
        self.levels.clear();
    }

    /// The transaction is rolled back.
    pub fn rollback(&mut self) {
        self.levels.clear();
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, name: &str) {
        self.change(|_| {});
        let Some(mut level) = self.levels.last().cloned() else { return };
        level.savepoint = Some(name.into());
        self.levels.push(level);
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.levels.iter().rposition(|level| level.savepoint.as_deref() == Some(name))
    }

    /// ROLLBACK TO: the values of when the savepoint was made; the savepoint stays.
    pub fn rollback_to(&mut self, name: &str) {
        let Some(at) = self.find(name) else { return };
        self.levels.truncate(at + 1);
        let below = at.checked_sub(1).and_then(|i| self.levels.get(i)).cloned();
        if let (Some(below), Some(level)) = (below, self.levels.last_mut()) {
            level.lasting = below.lasting;
            level.current = below.current;
        }
    }

    /// RELEASE: the values go to the level below, those of SET LOCAL too.
    pub fn release(&mut self, name: &str) {
        let Some(at) = self.find(name) else { return };
        let top = self.levels.last().cloned();
        self.levels.truncate(at);
        if let (Some(top), Some(level)) = (top, self.levels.last_mut()) {
            level.lasting = top.lasting;
            level.current = top.current;
        }
    }
}

/// Splits a `search_path` as `SplitIdentifierString` does: names separated by commas, unquoted ones folded to lower case, quoted ones
/// as they are. `"$user"` becomes the login name. `None` when the list is not well formed.
pub fn split_search_path(text: &str, user: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let name;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut out = String::new();
            let mut chars = quoted.char_indices();
            loop {
                let (at, c) = chars.next()?;
                if c != '"' {
                    out.push(c);
                } else if quoted.get(at + 1..).is_some_and(|r| r.starts_with('"')) {
                    out.push('"');
                    chars.next();
                } else {
                    rest = quoted.get(at + 1..)?;
                    break;
                }
            }
            name = out;
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(end);
            if head.is_empty() {
                return None;
            }
            name = head.to_lowercase();
            rest = tail;
        }
        // An empty name stands for no schema at all (`search_path = ''`).
        if name == "$user" {
            names.push(user.to_owned());
        } else if !name.is_empty() {
            names.push(name);
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(s: &Settings) -> &str {
        &s.current().search_path
    }

    #[test]
    fn set_is_undone_by_rollback_and_kept_by_commit() {
        let mut s = Settings::new(None, None);
        s.begin();
        s.set(Name::SearchPath, Some("a"), false);
        assert_eq!(path(&s), "a");
        s.rollback();
        assert_eq!(path(&s), DEFAULT_SEARCH_PATH);
        s.set(Name::SearchPath, Some("b"), false);
        s.commit();
        assert_eq!(path(&s), "b");
        s.rollback();
        assert_eq!(path(&s), "b", "nothing to roll back any more");
    }

    #[test]
    fn set_local_ends_with_the_transaction_and_set_beneath_it_stays() {
        let mut s = Settings::new(Some("start"), None);
        s.begin();
        s.set(Name::SearchPath, Some("kept"), false);
        s.set(Name::SearchPath, Some("local"), true);
        assert_eq!(path(&s), "local");
        s.commit();
        assert_eq!(path(&s), "kept");
        s.begin();
        s.set(Name::SearchPath, Some("local"), true);
        s.set(Name::SearchPath, Some("later"), false);
        assert_eq!(path(&s), "later");
        s.commit();
        assert_eq!(path(&s), "later");
    }

    #[test]
    fn savepoints_nest() {
        let mut s = Settings::new(Some("0"), None);
        s.begin();
        s.set(Name::SearchPath, Some("1"), false);
        s.savepoint("x");
        s.set(Name::SearchPath, Some("2"), true);
        s.savepoint("y");
        s.set(Name::SearchPath, Some("3"), false);
        s.rollback_to("y");
        assert_eq!(path(&s), "2");
        s.set(Name::SearchPath, Some("4"), false);
        s.rollback_to("x");
        assert_eq!(path(&s), "1");
        s.set(Name::SearchPath, Some("5"), true);
        s.release("x");
        assert_eq!(path(&s), "5", "SET LOCAL of a released savepoint lasts until the end of the outer one");
        s.rollback_to("x");
        assert_eq!(path(&s), "5", "the savepoint is gone");
        s.commit();
        assert_eq!(path(&s), "1");
    }

    #[test]
    fn reset_all_and_discard_all_go_back_to_the_start() {
        let mut s = Settings::new(Some("start"), Some("P"));
        s.set(Name::Project, None, false);
        s.commit();
        assert_eq!(&*s.current().project, "", "RESET leaves the project");
        s.set(Name::SearchPath, Some("x"), false);
        s.reset_all();
        assert_eq!((path(&s), &*s.current().project), ("start", "P"));
        s.rollback();
        assert_eq!(&*s.current().project, "", "RESET ALL is undone too");
        s.discard_all();
        assert_eq!(&*s.current().project, "P");
    }

    #[test]
    fn what_is_set_for_one_user_does_not_hold_for_the_next() {
        let mut s = Settings::new(None, None);
        let sealed = |name: &str| crate::seal::show_own(name, "x");
        s.forward("timezone", Some(&sealed("tool")), false);
        s.set(Name::SearchPath, Some("tool"), false);
        s.set(Name::Project, Some("tools"), false);
        s.commit();
        let now = |s: &Settings| {
            let v = s.current();
            (v.user.to_string(), v.search_path.to_string(), v.project.to_string(), v.forwarded.len())
        };
        let is = |user: &str, path: &str, project: &str, n| (user.to_owned(), path.to_owned(), project.to_owned(), n);
        s.set(Name::User, Some("ana"), false);
        s.commit();
        assert_eq!(now(&s), is("ana", "tool", "", 1), "not the login's project");
        s.set(Name::SearchPath, Some("hers"), false);
        s.set(Name::Project, Some("fraud"), false);
        s.forward("datestyle", Some(&sealed("hers")), false);
        s.commit();
        assert_eq!(now(&s), is("ana", "hers", "fraud", 2));
        s.set(Name::User, Some("ana"), false);
        s.commit();
        assert_eq!(now(&s), is("ana", "hers", "fraud", 2), "the same user goes on");
        s.begin();
        s.set(Name::User, Some("bob"), true);
        assert_eq!(now(&s), is("bob", "tool", "", 1));
        s.rollback();
        assert_eq!(now(&s), is("ana", "hers", "fraud", 2));
        s.set(Name::User, Some("bob"), false);
        s.commit();
        assert_eq!(now(&s), is("bob", "tool", "", 1));
        s.set(Name::SearchPath, None, false);
        s.commit();
        assert_eq!(now(&s), is("bob", "tool", "", 1), "the login's path is where one comes back to");
        s.set(Name::User, None, false);
        s.commit();
        assert_eq!(now(&s), is("", "tool", "tools", 1));
        s.start_as(Some("eve"), Some("p"));
        s.set(Name::User, None, false);
        s.commit();
        assert_eq!(now(&s).0, "");
        s.discard_all();
        assert_eq!(now(&s), is("eve", "tool", "p", 1));
    }

    #[test]
    fn search_paths_split_as_postgres_splits() {
        let split = |t| split_search_path(t, "me");
        let list = |l: &[&str]| Some(l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(split(DEFAULT_SEARCH_PATH), list(&["me", "public"]));
        assert_eq!(split("Sales , \"Mixed \"\"q\"\"\",$user"), list(&["sales", "Mixed \"q\"", "me"]));
        assert_eq!(split("\"\""), list(&[]));
        assert_eq!(split(""), list(&[]));
        assert_eq!(split("a,"), None);
        assert_eq!(split("a b"), None);
        assert_eq!(split("\"a"), None);
        assert_eq!(split(",a"), None);
    }
}
