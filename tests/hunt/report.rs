//! What a hunt has come to: counts, reasons of refusals, findings.

use crate::arena::Pair;
use crate::ask::{Fate, Outcome};
use crate::options::Options;
use crate::session::{Case, Way};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Counts of one source.
#[derive(Debug, Default, Clone)]
struct Tally {
    tried: usize,
    executed: usize,
    raised: usize,
    rejected: usize,
    refused: usize,
    other: usize,
}

/// A hunt's results.
pub struct Report {
    options: Options,
    begun: Instant,
    said: Instant,
    tallies: BTreeMap<&'static str, Tally>,
    refusals: BTreeMap<String, (usize, String)>,
    rejections: BTreeMap<String, (usize, String)>,
    slow: usize,
    taken: usize,
    huge: usize,
    chance: Vec<String>,
    /// What was found, in words.
    pub findings: Vec<String>,
}

/// Everything about one statement that made a finding.
pub struct Scene<'a> {
    /// The source's name.
    pub source: &'static str,
    /// The pair.
    pub pair: &'a Pair,
    /// The caller.
    pub user: &'a str,
    /// What was set.
    pub settings: &'a [&'a str],
    /// How it was sent.
    pub way: Way,
    /// The statement as it was.
    pub case: &'a Case,
}

impl Report {
    /// An empty one.
    pub fn new(options: &Options) -> Self {
        fs::create_dir_all(&options.folder).expect("the folder of findings");
        Self {
            options: options.clone(),
            begun: Instant::now(),
            said: Instant::now(),
            tallies: BTreeMap::new(),
            refusals: BTreeMap::new(),
            rejections: BTreeMap::new(),
            slow: 0,
            taken: 0,
            huge: 0,
            chance: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Statements that both warehouses ran.
    pub fn executed(&self) -> usize {
        self.tallies.values().map(|t| t.executed + t.raised).sum()
    }

    /// Whether the bounds are reached.
    pub fn is_enough(&self) -> bool {
        self.executed() >= self.options.statements
            || self.options.time.is_some_and(|time| self.begun.elapsed() >= time)
            || self.findings.len() >= 40
    }

    /// Leaves a note of what is asked, for the case that it ends the process.
    pub fn about_to_ask(&self, case: &Case) {
        let note = self.options.folder.join(format!("seed-{}-last.txt", self.options.seed));
        fs::write(note, format!("{}\n{:?}\n", case.sql, case.values)).expect("a note");
    }

    /// Counts an outcome that is no finding.
    pub fn count(&mut self, source: &'static str, case: &Case, outcome: &Outcome) {
        let tally = self.tallies.entry(source).or_default();
        tally.tried += 1;
        let put = |into: &mut BTreeMap<String, (usize, String)>, key: String| {
            into.entry(key).or_insert_with(|| (0, case.sql.chars().take(160).collect())).0 += 1;
        };
        match outcome {
            Outcome::Alike(Fate::Answered) => tally.executed += 1,
            Outcome::Alike(Fate::Raised(_)) => tally.raised += 1,
            Outcome::Alike(Fate::Rejected(code)) => {
                tally.rejected += 1;
                put(&mut self.rejections, code.clone());
            }
            Outcome::Alike(Fate::Refused(code, message)) => {
                tally.refused += 1;
                put(&mut self.refusals, format!("{code} {}", shape(message)));
            }
            Outcome::Taken => self.taken += 1,
            Outcome::Slow => self.slow += 1,
            Outcome::Huge => self.huge += 1,
            Outcome::Chance => self.chance.push(case.sql.clone()),
            Outcome::Different(_) | Outcome::Defect(_) | Outcome::Lost(_) => tally.other += 1,
        }
        if self.said.elapsed() > Duration::from_secs(15) {
            self.said = Instant::now();
            println!("{}", self.line());
        }
    }

    /// Stores a finding.
    pub fn found(&mut self, what: &str, scene: &Scene<'_>, reduced: &Case, shown: &str) {
        let text = format!(
            "{what}\nseed: {}\nsource: {}\npair: {}\ncaller: {}\nsettings: {:?}\nway: {:?}\nreduced: {}\nvalues: {:?}\n{shown}\n\nas it was: {}\nvalues: {:?}\n",
            self.options.seed,
            scene.source,
            scene.pair.name,
            scene.user,
            scene.settings,
            scene.way,
            reduced.sql,
            reduced.values,
            scene.case.sql,
            scene.case.values
        );
        self.store(&text);
    }

    /// Stores what belongs to no statement.
    pub fn store(&mut self, text: &str) {
        let path = self.options.folder.join(format!("seed-{}-{:03}.txt", self.options.seed, self.findings.len()));
        fs::write(&path, text).expect("a finding is written");
        println!("FOUND, stored in {}:\n{text}", path.display());
        self.findings.push(text.to_owned());
    }

    fn line(&self) -> String {
        let tried: usize = self.tallies.values().map(|t| t.tried).sum();
        let seconds = self.begun.elapsed().as_secs_f64();
        format!(
            "{seconds:.0} s: {tried} tried, {} executed, {:.0} executed a second, {} found",
            self.executed(),
            self.executed() as f64 / seconds,
            self.findings.len()
        )
    }

    /// Prints everything.
    pub fn print(&self) {
        println!("\nseed {}; {}", self.options.seed, self.line());
        println!(
            "{:10} {:>8} {:>9} {:>8} {:>9} {:>8} {:>6}",
            "source", "tried", "answered", "raised", "rejected", "refused", "found"
        );
        for (name, t) in &self.tallies {
            println!(
                "{name:10} {:>8} {:>9} {:>8} {:>9} {:>8} {:>6}",
                t.tried, t.executed, t.raised, t.rejected, t.refused, t.other
            );
        }
        println!(
            "{} too slow, {} too large, {} with a key that was taken, {} answered by chance or time",
            self.slow,
            self.huge,
            self.taken,
            self.chance.len()
        );
        self.chance
            .iter()
            .take(3)
            .for_each(|sql| println!("    by chance: {}", sql.chars().take(300).collect::<String>()));
        for (title, reasons) in [("refused", &self.refusals), ("rejected by the warehouse", &self.rejections)] {
            let mut reasons: Vec<_> = reasons.iter().collect();
            reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
            println!("{title}:");
            for (reason, (count, example)) in reasons.iter().take(25) {
                println!("{count:>8}  {reason}\n              {}", example.replace('\n', " "));
            }
        }
    }
}

/// A message without the names and numbers in it.
fn shape(message: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in message.lines().next().unwrap_or_default().chars() {
        match c {
            '"' => {
                inside = !inside;
                out.push(c);
            }
            _ if inside => {}
            c if c.is_ascii_digit() => {
                if !out.ends_with('0') {
                    out.push('0');
                }
            }
            c => out.push(c),
        }
    }
    out.chars().take(110).collect()
}
