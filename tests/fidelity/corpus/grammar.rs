//! A grammar written as text: a rule's name at the margin, its alternatives below it, one a line; `<name>`, of two letters at least, stands for a rule. An empty line
//! right below a name is an empty alternative.

use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

/// From this depth on a rule's first alternative is taken.
const DEEPEST: usize = 7;

pub struct Grammar {
    rules: BTreeMap<String, Vec<String>>,
}

impl Grammar {
    pub fn parse(text: &str) -> Self {
        let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut name, mut first) = (String::new(), false);
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            match line.strip_prefix("  ") {
                Some(alternative) => rules.get_mut(&name).expect("a rule").push(alternative.to_owned()),
                None if line.is_empty() => {
                    if first {
                        rules.get_mut(&name).expect("a rule").push(String::new());
                    }
                }
                None => {
                    name = line.to_owned();
                    rules.insert(name.clone(), Vec::new());
                }
            }
            first = !line.is_empty() && !line.starts_with(' ');
        }
        Self { rules }
    }

    pub fn statement(&self, dice: &mut StdRng) -> String {
        let mut out = String::new();
        self.expand("statement", 0, dice, &mut out);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn expand(&self, rule: &str, depth: usize, dice: &mut StdRng, out: &mut String) {
        let alternatives = self.rules.get(rule).unwrap_or_else(|| panic!("no rule {rule}"));
        let at = if depth > DEEPEST { 0 } else { dice.random_range(0..alternatives.len()) };
        self.fill(&alternatives[at], depth, dice, out);
    }

    fn fill(&self, text: &str, depth: usize, dice: &mut StdRng, out: &mut String) {
        let mut rest = text;
        while let Some(open) = rest.find('<') {
            let name: String =
                rest[open + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let after = open + 1 + name.len();
            // Elements of XML have names of one letter, rules have not.
            if name.len() < 2 || !rest[after..].starts_with('>') {
                out.push_str(&rest[..=open]);
                rest = &rest[open + 1..];
                continue;
            }
            out.push_str(&rest[..open]);
            self.expand(&name, depth + 1, dice, out);
            rest = &rest[after + 1..];
        }
        out.push_str(rest);
    }

    /// Every alternative of every rule once, in the shortest statement that reaches it from `start`.
    pub fn every(&self, start: &str) -> Vec<String> {
        // For each rule, a text with one hole that makes a statement of whatever fills the hole.
        let mut frames: BTreeMap<&str, (String, String)> = BTreeMap::from([(start, Default::default())]);
        let mut work = vec![start];
        let mut out = Vec::new();
        while let Some(rule) = work.pop() {
            let (before, after) = frames[rule].clone();
            for alternative in &self.rules[rule] {
                out.push(format!("{before}{}{after}", self.shortest(alternative)));
                for (at, _) in alternative.match_indices('<') {
                    let name: String =
                        alternative[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                    let Some((known, _)) = self.rules.get_key_value(&name) else { continue };
                    if !alternative[at + 1 + name.len()..].starts_with('>') || frames.contains_key(known.as_str()) {
                        continue;
                    }
                    let left = format!("{before}{}", self.shortest(&alternative[..at]));
                    let right = format!("{}{after}", self.shortest(&alternative[at + name.len() + 2..]));
                    frames.insert(known, (left, right));
                    work.insert(0, known);
                }
            }
        }
        out.into_iter().map(|sql| sql.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn shortest(&self, text: &str) -> String {
        // Never thrown: at this depth every rule takes its first alternative.
        let mut dice = <StdRng as rand::SeedableRng>::seed_from_u64(0);
        let mut out = String::new();
        self.fill(text, DEEPEST + 1, &mut dice, &mut out);
        out
    }
}
