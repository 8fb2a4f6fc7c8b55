//! Asks directories about users, at logins and in the background, and keeps what they say.
//!
//! In: who logged in, or is acted for; the clock. Out: what directories say, in [`Known`], which sessions read without waiting. Must
//! never: ask twice about one user at the same time, more often or more at once than stated, forget a user of a live session, or take
//! silence for an answer.

mod register;
mod sql;

use crate::config::Config;
use crate::config::directories::Register;
use crate::governance::problem::Problem;
use crate::identity::{Directory, Known, Login, Slot};
use dashmap::DashMap;
use register::Line;
pub use register::Standing;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

/// How often it is looked at who has to be asked about again.
const EVERY: Duration = Duration::from_millis(250);
/// How often users are forgotten whom nobody has wanted to know for long.
const TIDY: u32 = 40;

/// All directories, and what is known of users.
pub struct Directories {
    registers: Vec<Arc<Register>>,
    lines: Vec<Arc<Line>>,
    users: DashMap<Arc<str>, Arc<Known>>,
    most: usize,
    /// Grows with every change of what is known of anybody.
    news: Arc<AtomicU64>,
}

impl Directories {
    /// The directories of a configuration. Nobody is asked yet.
    pub fn new(config: &Config) -> Self {
        Self {
            lines: config.directories.iter().map(|register| Arc::new(Line::new(Arc::clone(register)))).collect(),
            registers: config.directories.clone(),
            users: DashMap::new(),
            most: config.limits.directory_users,
            news: Arc::default(),
        }
    }

    /// A number that changes when what is known of anybody does.
    pub fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    /// How each directory stands.
    pub fn standings(&self) -> Vec<Standing> {
        self.lines.iter().map(|line| line.standing()).collect()
    }

    /// Of how many users something is known, or being asked.
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// What is known of a user. Whoever holds it keeps it from being forgotten.
    pub fn known(&self, user: &str) -> Option<Arc<Known>> {
        if self.registers.is_empty() {
            return None;
        }
        if let Some(known) = self.users.get(user) {
            return Some(Arc::clone(&known));
        }
        if self.users.len() >= self.most.saturating_add(self.most / 8) {
            self.tidy();
        }
        let user: Arc<str> = user.into();
        let new = || Arc::new(Known::new(Arc::clone(&user), &self.registers));
        Some(Arc::clone(&self.users.entry(Arc::clone(&user)).or_insert_with(new)))
    }

    /// A user under whom nobody logged in, as far as he is known: for whoever acts for him.
    pub fn login_of(&self, user: &str) -> Login {
        let known = if self.registers.is_empty() { None } else { self.users.get(user).map(|known| Arc::clone(&known)) };
        Login { known, ..Login::of(user) }
    }

    /// Gives a login what directories say of it. Waits for those that are about it, where what is known is older than they may be left
    /// alone; no longer than they may take, and not for one that does not answer while what is known serves. What then is not known is
    /// refused where it is needed.
    ///
    /// Cancel safe: the questions go on.
    pub async fn introduce(&self, directory: &Directory, mut login: Login) -> Login {
        login.known = self.known(&login.user);
        for question in self.questions(directory, &login, true) {
            // Whether anything was learned shows when it is needed.
            let _ = question.await;
        }
        login
    }

    /// The same for somebody for whom a statement is to be decided: what has to be waited for, if anything. For a directory that does not
    /// answer nobody waits.
    pub fn learn(&self, directory: &Directory, user: &str) -> Option<JoinHandle<()>> {
        if self.registers.is_empty() {
            return None;
        }
        let mut login = self.login_of(user);
        self.stale(directory, &login).next()?;
        login.known = self.known(user);
        let questions = self.questions(directory, &login, false);
        if questions.is_empty() {
            return None;
        }
        Some(tokio::spawn(async move {
            for question in questions {
                let _ = question.await;
            }
        }))
    }

    /// The directories to ask about a login.
    fn stale<'a>(&'a self, directory: &'a Directory, login: &'a Login) -> impl Iterator<Item = &'a Arc<Line>> {
        let asks = directory.asks(login);
        let known = login.known.as_deref();
        self.lines.iter().filter(move |line| {
            let about = asks.iter().any(|register| register.name == line.register().name);
            about && !known.and_then(|known| known.slot(line.register())).is_some_and(Slot::is_fresh)
        })
    }

    /// Asks them; gives what is to be waited for.
    fn questions(&self, directory: &Directory, login: &Login, patient: bool) -> Vec<JoinHandle<()>> {
        let Some(known) = &login.known else { return Vec::new() };
        let mut questions = Vec::new();
        for line in self.stale(directory, login) {
            let usable = known.slot(line.register()).is_some_and(Slot::is_usable);
            if line.is_silent() && (usable || !patient) {
                // It is asked again in the background.
                continue;
            }
            let (line, known, news) = (Arc::clone(line), Arc::clone(known), Arc::clone(&self.news));
            // A task of its own: who goes away meanwhile leaves the answer to the next.
            questions.push(tokio::spawn(async move { line.ask(&known, &news).await }));
        }
        questions
    }

    /// Asks again about everybody whom somebody wants to know, the longest unasked first.
    fn renew(&self) {
        for line in &self.lines {
            line.tell();
            let mut due: Vec<(Duration, Arc<Known>)> = Vec::new();
            for known in &self.users {
                if let Some(age) = known.slot(line.register()).and_then(|slot| known.overdue(slot)) {
                    due.push((age, Arc::clone(&known)));
                }
            }
            due.sort_by_key(|(age, _)| *age);
            let most = due.len().min(line.register().lookups);
            let due = Arc::new(Mutex::new(due));
            for _ in 0..most {
                let Some(turn) = line.turn() else { break };
                tokio::spawn(renew(Arc::clone(line), turn, Arc::clone(&due), Arc::clone(&self.news)));
            }
        }
    }

    /// Forgets users of whom nothing is known any more that could be used, and beyond the bound those nobody has wanted to know for
    /// longest. Those whom a session holds stay.
    fn tidy(&self) {
        let unheld = |known: &Arc<Known>| Arc::strong_count(known) == 1;
        let usable = |known: &Known| known.slots().iter().any(Slot::is_usable);
        self.users.retain(|_, known| !unheld(known) || usable(known) || known.idle() < EVERY);
        let excess = self.users.len().saturating_sub(self.most);
        if excess > 0 {
            let mut idle: Vec<(Duration, Arc<str>)> = self
                .users
                .iter()
                .filter(|known| unheld(known.value()))
                .map(|known| (known.idle(), Arc::clone(known.key())))
                .collect();
            idle.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
            for (_, user) in idle.into_iter().take(excess) {
                self.users.remove_if(&user, |_, known| unheld(known));
            }
        }
    }
}

/// Users to ask about, and how old what is known of them is, the oldest last.
type Due = Arc<Mutex<Vec<(Duration, Arc<Known>)>>>;

/// Asks about one after the other, for as long as nobody else wants the turn: logins come first.
async fn renew(line: Arc<Line>, turn: OwnedSemaphorePermit, due: Due, news: Arc<AtomicU64>) {
    let mut turn = Some(turn);
    while let Some(held) = turn {
        let next = due.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((_, known)) = next else { return };
        line.again(&known, held, &news).await;
        turn = line.turn();
    }
}

/// Keeps what is known current, for as long as somebody holds it.
pub async fn watch(directories: Weak<Directories>) {
    for round in 1u32.. {
        tokio::time::sleep(EVERY).await;
        let Some(directories) = directories.upgrade() else { return };
        if directories.registers.is_empty() {
            return;
        }
        directories.renew();
        if round % TIDY == 0 {
            directories.tidy();
        }
    }
}

/// Asks every directory of a configuration about nobody: what does not work, at its line. For `sqlveil check`.
pub async fn reach(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for register in &config.directories {
        if let Err((origin, why)) = register::reach(register).await {
            let message = format!("the directory `{}` cannot be asked: {why}", register.name);
            let help =
                "its users cannot log in until it can; check where it is, the account that asks, and what is asked";
            problems.push(Problem::warning(&origin, message, help));
        }
    }
    problems
}
