//! One caller twice: through the proxy, and logged in to the warehouse directly under the same name.

use crate::answer::{How, ask, line, sqlstate};
use crate::raw::{Message, Raw};
use crate::support::{ANYONE, PASSWORD, Running, Stage, server};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// A database made by `sql`, everything in `public` registered and shown to everyone.
pub async fn stage(sql: &[&str]) -> (Running, String) {
    let mut stage = Stage::new().await;
    for part in sql {
        stage = stage.sql(part).await;
    }
    ready(stage).await
}

/// The tables, views and materialized views of `public` registered and shown to everyone; the role of the warehouse that has the caller's
/// name may read them too.
pub async fn ready(stage: Stage) -> (Running, String) {
    let role = format!("twin_{}", stage.database);
    let grants = format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER PASSWORD '{PASSWORD}'; GRANT CONNECT ON DATABASE {} TO {role};
         GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        stage.database
    );
    let stage = stage.sql(&grants).await;
    let list = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') \
         ORDER BY 1";
    let tables: Vec<String> = stage.admin().query(list, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let tables: Vec<(&str, &str)> = tables.iter().map(|name| (name.as_str(), "{}")).collect();
    (stage.sources(&tables).user(&role, &[], &[]).policy(ANYONE).start().await, role)
}

pub struct Pair {
    proxy: Raw,
    direct: Raw,
    port: u16,
    login: [(String, String); 2],
}

/// What two answers are to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same in every byte.
    Same,
    /// Errors of one code at one place, in other words.
    Worded(String),
    /// Not supported by the proxy: its code and words.
    Refused(String),
    /// Different in just one of the ways that [`known`] describes.
    Known(&'static str),
    /// Cut off by the time limit on either side.
    Slow,
    /// Anything else: the first difference.
    Differs(String),
}

impl Pair {
    pub async fn new(running: &Running, role: &str) -> Self {
        Self::at(running.port, [("user".into(), role.into()), ("database".into(), running.database().into())]).await
    }

    async fn at(port: u16, login: [(String, String); 2]) -> Self {
        let named = [(login[0].0.as_str(), login[0].1.as_str()), (login[1].0.as_str(), login[1].1.as_str())];
        let proxy = Raw::at(port, 0, &named).await.unwrap();
        let direct = Raw::at(server().port(), 0, &named).await.unwrap();
        let mut pair = Self { proxy, direct, port, login };
        pair.both("SET statement_timeout = '4s'", How::Simple).await;
        pair
    }

    /// Asks both; `None` when one does not answer.
    pub async fn both(&mut self, sql: &str, how: How) -> Option<(Vec<Message>, Vec<Message>)> {
        let both = async { tokio::join!(ask(&mut self.proxy, sql, how), ask(&mut self.direct, sql, how)) };
        timeout(Duration::from_secs(20), both).await.ok()
    }

    /// Asks both and compares. After no answer both sessions are new.
    pub async fn verdict(&mut self, sql: &str, how: How) -> Verdict {
        match self.both(sql, how).await {
            Some((mine, theirs)) => compare(sql, &mine, &theirs),
            None => {
                *self = Self::at(self.port, self.login.clone()).await;
                Verdict::Differs("no answer".to_owned())
            }
        }
    }
}

/// Compares the answer of the proxy with the direct one.
pub fn compare(sql: &str, mine: &[Message], theirs: &[Message]) -> Verdict {
    let told = |messages: &[Message]| -> Vec<String> { messages.iter().map(|m| line(m, true)).collect() };
    let (a, b) = (told(mine), told(theirs));
    if a == b {
        return Verdict::Same;
    }
    let (code, expected) = (sqlstate(mine), sqlstate(theirs));
    if [&code, &expected].into_iter().any(|c| c.as_deref() == Some("57014")) {
        return Verdict::Slow;
    }
    if let Some(why) = known(sql, mine, theirs) {
        return Verdict::Known(why);
    }
    let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    let none = String::from("nothing");
    let first = format!("proxy  {}\n      direct {}", a.get(at).unwrap_or(&none), b.get(at).unwrap_or(&none));
    let error = mine.iter().find(|m| m.tag == 'E');
    match (error, &code, &expected) {
        (Some(error), Some(code), expected) if Some(code) != expected.as_ref() => {
            let refused = expected.is_none() || matches!(code.as_str(), "0A000" | "42501" | "XX000");
            let words = format!("{code} {}", error.field('M').unwrap_or_default());
            if refused && code != "42P01" { Verdict::Refused(words) } else { Verdict::Differs(first) }
        }
        (Some(error), Some(_), Some(_)) => {
            let place = |m: &Message| (m.field('C'), m.field('P'));
            let same = theirs.iter().find(|m| m.tag == 'E').is_some_and(|m| place(m) == place(error));
            if same { Verdict::Worded(first) } else { Verdict::Differs(first) }
        }
        _ => Verdict::Differs(first),
    }
}

/// The differences that are known, each described as narrowly as it can be; everything else about the two answers is the same.
fn known(sql: &str, mine: &[Message], theirs: &[Message]) -> Option<&'static str> {
    let error = |m: &[Message]| m.iter().find(|m| m.tag == 'E').cloned();
    let told = |m: &[Message], without: &str| -> Vec<String> {
        let all = m.iter().map(|m| line(m, true));
        if without.is_empty() { all.collect() } else { all.map(|l| l.replace(without, "")).collect() }
    };
    match (error(mine), error(theirs)) {
        (Some(mine_said), Some(theirs_said)) => {
            let field = |m: &Message, f| m.field(f).unwrap_or_default();
            let place = |m: &Message| m.field('P').and_then(|p| p.parse::<usize>().ok()).unwrap_or(0);
            let (a, b) = (field(&mine_said, 'C'), field(&theirs_said, 'C'));
            let (words, direct) = (field(&mine_said, 'M'), field(&theirs_said, 'M'));
            if told(mine, "public.") == told(theirs, "public.") {
                return Some("types of the warehouse are named with their schema in messages");
            }
            if line(&mine_said, true) == line(&theirs_said, true) {
                // A notice that a name is cut to 63 bytes, a description.
                return Some("an error is told before what else there is to tell");
            }
            let called = |text: &str| text.split(['(', ')']).step_by(2).collect::<String>();
            if a == "42883"
                && a == b
                && words.contains("()")
                && called(&words) == called(&direct)
                && place(&mine_said) == place(&theirs_said)
            {
                return Some("types of arguments that are not worked out are not told");
            }
            // This server's grammar knows less than the proxy's.
            if b == "42601" && direct.ends_with("in FROM must have an alias") {
                return Some("the proxy's grammar is newer: a sub-select in FROM needs no name");
            }
            let names = ["42P01", "42883", "42704", "42702", "42712", "3F000", "0A000", "42501", "42P22"];
            let later = place(&mine_said) > place(&theirs_said) || a == "42P01";
            if a != b && b.starts_with("42") && names.contains(&a.as_str()) && later {
                return Some("of two mistakes, that of a name is told first");
            }
            let at: String = sql.chars().skip(place(&theirs_said).saturating_sub(1)).take(5).collect();
            if a == b && words == direct && place(&mine_said) > place(&theirs_said) && at.eq_ignore_ascii_case("cast(")
            {
                return Some("an error about CAST (x AS y) points to x");
            }
            None
        }
        (None, None) => {
            // Where a caller's condition may raise, the columns of a view come as COALESCE(c, c): their origin is not told.
            let origins = regex::Regex::new(r" from [0-9]+\.[0-9]+").unwrap();
            let of_view = sql.contains("staff")
                || sql.contains("per_dept")
                || sql.contains("pg_")
                || sql.to_lowercase().contains("information_schema");
            let plain = |m: &[Message]| {
                told(m, "")
                    .iter()
                    .map(|l| if l.starts_with("T ") { origins.replace_all(l, "").into_owned() } else { l.clone() })
                    .collect::<Vec<_>>()
            };
            if sql.contains("to_reg") {
                return Some("objects come as OIDs where PostgreSQL prints their names");
            }
            if sql.contains("pg_get_indexdef") {
                return Some("pretty definitions of indexes name the schema");
            }
            if of_view && plain(mine) == plain(theirs) {
                return Some("columns of views whose rows are limited have no origin");
            }
            None
        }
        _ => None,
    }
}

/// Verdicts counted, with reasons and examples.
#[derive(Default)]
pub struct Tally {
    pub statements: usize,
    pub same: usize,
    pub slow: usize,
    pub known: BTreeMap<&'static str, usize>,
    pub worded: BTreeMap<String, String>,
    pub refused: BTreeMap<String, (usize, String)>,
    pub differs: Vec<String>,
}

impl Tally {
    pub fn note(&mut self, sql: &str, verdict: &Verdict) {
        self.statements += 1;
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Slow => self.slow += 1,
            Verdict::Known(why) => *self.known.entry(why).or_default() += 1,
            Verdict::Worded(what) => {
                self.worded.insert(sql.to_owned(), what.clone());
            }
            Verdict::Refused(why) => {
                let entry = self.refused.entry(why.clone()).or_insert_with(|| (0, sql.to_owned()));
                entry.0 += 1;
            }
            Verdict::Differs(what) => self.differs.push(format!("{sql}\n      {what}")),
        }
    }

    /// What another has counted, too.
    pub fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.same += other.same;
        self.slow += other.slow;
        for (why, n) in other.known {
            *self.known.entry(why).or_default() += n;
        }
        self.worded.extend(other.worded);
        for (why, (n, example)) in other.refused {
            self.refused.entry(why).or_insert((0, example)).0 += n;
        }
        self.differs.extend(other.differs);
    }

    pub fn refusals(&self) -> usize {
        self.refused.values().map(|(n, _)| n).sum()
    }

    /// The counts, and a line for each reason to refuse.
    pub fn table(&self) -> String {
        let mut out = format!(
            "{} statements: {} the same, {} different in known ways, {} worded otherwise, {} slow, {} refused ({:.2} %), {} differ\n",
            self.statements,
            self.same,
            self.known.values().sum::<usize>(),
            self.worded.len(),
            self.slow,
            self.refusals(),
            self.refusals() as f64 * 100.0 / self.statements.max(1) as f64,
            self.differs.len()
        );
        self.known.iter().for_each(|(why, n)| out.push_str(&format!("  {n:5}  known: {why}\n")));
        let mut reasons: Vec<_> = self.refused.iter().collect();
        reasons.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
        for (why, (n, example)) in reasons {
            let example: String = example.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect();
            out.push_str(&format!("  {n:5}  {why}   e.g. {example}\n"));
        }
        out
    }
}
