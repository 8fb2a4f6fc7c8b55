//! Errors of statements that write: checks of ours, constraints, triggers.
//!
//! In: what the warehouse said, and what the plan says may be named. Out: how it is said to the caller. Must never: name a relation,
//! column or constraint that the caller does not see, or repeat what a trigger says of a row he sees in part.

use super::errors::may_quote_values;
use crate::error::{Refusal, SqlState};
use crate::plan::{Named, Writing};
use crate::types::QualifiedName;
use crate::wire::errors::Fields;

/// How an error or notice is passed on.
pub(super) enum Said {
    /// As any other.
    Plainly,
    /// Not at all.
    Nothing,
    /// As a refusal of the proxy's own.
    Refusal(Refusal),
    /// With this text, its code kept.
    Otherwise(String),
}

/// What stands for a text that a trigger or another function of the warehouse made.
const RAISED: &str = "a trigger or function of the warehouse raised an error";

/// Contexts of the server's own making: where in a COPY, in a parameter, in a JSON text (copyfrom.c, postgres.c, jsonfuncs.c, trigger.c).
const OWN_CONTEXTS: [&str; 7] = [
    "COPY ",
    "while ",
    "unnamed portal ",
    "portal \"",
    "unnamed portal parameter",
    "extended query ",
    "JSON data, line ",
];

/// Whether a context tells of a function or statement of the warehouse's (a trigger's, say). A context has a line a level; a text within a
/// line may hold line breaks, so that a line that is nothing known is taken for a function's.
fn is_of_a_function(context: &str) -> bool {
    context.lines().any(|line| !OWN_CONTEXTS.iter().any(|own| line.starts_with(own)))
}

/// How the warehouse's words on a statement that writes are passed on.
pub(super) fn said(tag: u8, fields: &Fields<'_>, writing: &Writing, hides: bool) -> Said {
    let raised = fields.get(b'W').is_some_and(is_of_a_function);
    let hides = hides || writing.hushed;
    if tag == b'N' {
        return if hides && raised { Said::Nothing } else { Said::Plainly };
    }
    let code = fields.sqlstate();
    if code == SqlState::UNDEFINED_OBJECT.0
        && let Some(refusal) = failed_check(fields.get(b'M').unwrap_or_default(), writing)
    {
        return Said::Refusal(refusal);
    }
    if code.starts_with("23") && fields.get(b't').is_some() {
        return constraint(code, fields, writing);
    }
    if hides && (raised || code.starts_with("P0")) && may_quote_values(code) {
        return Said::Otherwise(RAISED.to_owned());
    }
    Said::Plainly
}

/// The refusal that a missing setting stands for.
fn failed_check(message: &str, writing: &Writing) -> Option<Refusal> {
    let asked = message.strip_prefix("unrecognized configuration parameter \"sqlveil.check_")?.strip_suffix('"')?;
    writing.checks.get(asked.parse::<usize>().ok()?).map(crate::resolve::Check::refusal)
}

fn constraint(code: &str, fields: &Fields<'_>, writing: &Writing) -> Said {
    let (schema, table) = (fields.get(b's').unwrap_or_default(), fields.get(b't').unwrap_or_default());
    let name = fields.get(b'n').unwrap_or_default();
    let shown = writing.shown.get(&QualifiedName::new(schema, table));
    if let Some(shown) = shown
        && shown.whole
        && (name.is_empty() || shown.constraints.contains(name))
        && writing.shown.values().filter(|s| s.target).all(|s| s.whole)
    {
        return Said::Plainly;
    }
    Said::Otherwise(told(code, fields, shown))
}

/// A constraint's violation in words that name only what is shown.
fn told(code: &str, fields: &Fields<'_>, shown: Option<&Named>) -> String {
    let name = fields.get(b'n').filter(|name| shown.is_some_and(|s| s.constraints.contains(*name)));
    let message = fields.get(b'M').unwrap_or_default();
    let relation = shown.map(|s| s.name.as_str());
    let constraint = |kind: &str, article: &str| match name {
        Some(name) => format!("{kind} \"{name}\""),
        None => format!("{article} {kind}"),
    };
    match (code, relation) {
        ("23505", _) => format!("duplicate key value violates {}", constraint("unique constraint", "a")),
        ("23P01", _) => format!("conflicting key value violates {}", constraint("exclusion constraint", "an")),
        ("23502", Some(relation)) => match fields.get(b'c').filter(|c| shown.is_some_and(|s| s.columns.contains(*c))) {
            Some(column) => {
                format!("null value in column \"{column}\" of relation \"{relation}\" violates not-null constraint")
            }
            None => format!("null value in a column of relation \"{relation}\" violates not-null constraint"),
        },
        ("23503", _) if message.starts_with("update or delete") => {
            let referring = relation.map_or("another table".to_owned(), |r| format!("table \"{r}\""));
            format!("update or delete violates {} on {referring}", constraint("foreign key constraint", "a"))
        }
        ("23503", Some(relation)) => {
            let constraint = constraint("foreign key constraint", "a");
            format!("insert or update on table \"{relation}\" violates {constraint}")
        }
        ("23514", Some(relation)) if message.starts_with("no partition of relation") => {
            format!("no partition of relation \"{relation}\" found for row")
        }
        ("23514", Some(relation)) => {
            format!("new row for relation \"{relation}\" violates {}", constraint("check constraint", "a"))
        }
        _ => "the statement violates a constraint of the warehouse".to_owned(),
    }
}
