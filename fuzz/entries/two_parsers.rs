//! PostgreSQL's own parser and an unrelated one (sqlparser) on the same text: what is sent, and what callers write, must not hold a
//! relation that only one of them sees.

use super::golden::session;
use super::pipeline::{golden_world, on_a_deep_stack};
use super::trees;
use sqlparser::ast::{Expr, TableFactor, Value as Literal, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlveil::plan::Planner;
use sqlveil::sql;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Words that sqlparser takes for a relation where PostgreSQL reads a keyword: `FROM ONLY t`, `UNION TABLE t`.
const MISREAD: [&str; 2] = ["only", "table"];

/// Reads `bytes` as a caller's text, and what becomes of it.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(plans) = Planner::default().plan_string(text, &mut session::session(golden_world(), "ana")) {
        on_a_deep_stack(|| {
            plans.iter().for_each(|plan| compare(plan.sealed.as_str()));
            compare(text);
        });
    }
}

fn compare(text: &str) {
    let Ok(ours) = sql::parse(text) else { return };
    let Ok(theirs) = sqlparser::parser::Parser::parse_sql(&PostgreSqlDialect {}, text) else { return };
    let trees: Vec<_> = ours.statements.iter().map(|s| trees::json(&s.node)).collect();
    let mut seen = Seen::default();
    let _ = theirs.visit(&mut seen);
    let relations: BTreeSet<String> = trees.iter().flat_map(trees::relations).map(|(_, name)| name).collect();
    for name in &seen.relations {
        let known = relations.contains(name) || MISREAD.contains(&name.as_str());
        assert!(known, "{name} is a relation to one parser only, in {text}");
    }
    let literals: BTreeSet<String> = trees.iter().flat_map(trees::literals).collect();
    for literal in &seen.literals {
        assert!(literals.contains(literal), "{literal:?} is a literal to one parser only, in {text}");
    }
}

/// Relations and plain string literals as sqlparser sees them.
#[derive(Default)]
struct Seen {
    relations: BTreeSet<String>,
    literals: BTreeSet<String>,
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // With arguments it is a function.
        if let TableFactor::Table { name, args: None, .. } = factor
            && let Some(last) = name.0.last().and_then(|part| part.as_ident())
        {
            let folded = if last.quote_style.is_some() { last.value.clone() } else { last.value.to_ascii_lowercase() };
            // Names are cut at 63 bytes (NAMEDATALEN).
            let mut end = folded.len().min(63);
            while !folded.is_char_boundary(end) {
                end -= 1;
            }
            self.relations.insert(folded[..end].to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expression
            && let Literal::SingleQuotedString(text) = &value.value
        {
            self.literals.insert(text.clone());
        }
        ControlFlow::Continue(())
    }
}
