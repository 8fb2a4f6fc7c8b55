//! Errors of code and constraints of the warehouse: checks of ours, constraints, triggers, functions.
//!
//! In: what the warehouse said, and what the plan says may be named. Out: how it is said to the caller. Must never: name a relation,
//! column or constraint that the caller does not see, or repeat what a trigger or function says: it
//! may be of any row of any table.

use super::errors::About;
use crate::error::{Refusal, SqlState};
use crate::plan::{Named, Quotable, Writing};
use crate::types::{QualifiedName, quote_ident};
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

/// Contexts of the server's own making: where in a COPY, in a parameter, in a JSON text, in which process (copyfrom.c, postgres.c,
/// jsonfuncs.c, trigger.c, parallel.c).
const OWN_CONTEXTS: [&str; 8] = [
    "COPY ",
    "while ",
    "unnamed portal ",
    "portal \"",
    "unnamed portal parameter",
    "extended query ",
    "JSON data, line ",
    "parallel worker",
];

/// What the server says wherever it is, within functions too (postgres.c, deadlock.c, nodeModifyTable.c, predicate.c): texts that quote
/// nothing.
const OWN_TEXTS: [&str; 8] = [
    "canceling statement due to user request",
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "deadlock detected",
    "could not serialize access due to concurrent update",
    "could not serialize access due to concurrent delete",
    "could not serialize access due to read/write dependencies among transactions",
    "terminating connection due to administrator command",
];

/// Whether a context tells of a function or statement of the warehouse's (a trigger's, say) that may not be quoted. A context has a line a
/// level; a text within a line may hold line breaks, so that a line that is nothing known is taken for a function's.
fn is_of_a_function(context: &str, quotable: &Quotable) -> bool {
    let own = |line: &str| OWN_CONTEXTS.iter().any(|own| line.starts_with(own));
    let quoted = |line: &str| quotable.calls.iter().any(|called| is_in(line, called)) || is_in_own_sql(line, quotable);
    context.lines().any(|line| !own(line) && !quoted(line))
}

/// Whether a line of a context is that of this function (plpgsql's `plpgsql_exec_error_callback`: its signature, quoted where it has to be).
fn is_in(line: &str, function: &QualifiedName) -> bool {
    let QualifiedName { schema, name } = function;
    let plain = format!("{schema}.{name}(");
    let quoted = format!("{}.{}(", quote_ident(schema), quote_ident(name));
    line.strip_prefix("PL/pgSQL function ").is_some_and(|of| of.starts_with(&plain) || of.starts_with(&quoted))
}

/// Whether a line of a context is that of a function of the server's own in SQL (functions.c, `sql_exec_error_callback`; clauses.c,
/// `sql_inline_error_callback`): its bare name, in quotes that nothing escapes.
fn is_in_own_sql(line: &str, quotable: &Quotable) -> bool {
    let Some(rest) = line.strip_prefix("SQL function \"") else { return false };
    let name =
        rest.strip_suffix("\" during inlining").or_else(|| rest.strip_suffix("\" during startup")).or_else(|| {
            let digits = rest.trim_end_matches(|c: char| c.is_ascii_digit());
            digits.strip_suffix("\" statement ")
        });
    name.is_some_and(|name| quotable.own_sql.contains(name))
}

/// How the warehouse's words on a statement are passed on. Code of the warehouse gives its errors any code it likes, and any text: those of
/// rows of any table. Only what it cannot have said passes, and what a function says that the caller calls himself. Constraints and triggers
/// that are deferred speak when the transaction ends, be it of no statement at all.
pub(super) fn said(tag: u8, fields: &Fields<'_>, about: Option<&About<'_>>) -> Said {
    let writing = about.and_then(|a| a.writing);
    let code = fields.sqlstate();
    let none = Quotable::default();
    let raised = match fields.get(b'W') {
        Some(context) => is_of_a_function(context, about.map_or(&none, |a| a.quotable)),
        None => code.starts_with("P0"),
    };
    if tag == b'N' {
        return if raised { Said::Nothing } else { Said::Plainly };
    }
    let message = fields.get(b'M').unwrap_or_default();
    if code == SqlState::UNDEFINED_OBJECT.0
        && let Some(refusal) = writing.and_then(|writing| failed_check(message, writing))
    {
        return Said::Refusal(refusal);
    }
    // Temporary tables are the session's own. Whatever else there is may have been written by an earlier statement and be checked now.
    let own = !raised && fields.get(b's').is_some_and(|schema| schema.starts_with("pg_temp"));
    if code.starts_with("23") && fields.get(b't').is_some() && !own {
        return constraint(code, fields, writing.filter(|_| !raised));
    }
    match raised {
        true if OWN_TEXTS.contains(&message) => Said::Otherwise(message.to_owned()),
        true => Said::Otherwise(RAISED.to_owned()),
        false => Said::Plainly,
    }
}

/// The refusal that a missing setting stands for.
fn failed_check(message: &str, writing: &Writing) -> Option<Refusal> {
    let asked = message.strip_prefix("unrecognized configuration parameter \"sqlveil.check_")?.strip_suffix('"')?;
    writing.checks.get(asked.parse::<usize>().ok()?).map(crate::resolve::Check::refusal)
}

fn constraint(code: &str, fields: &Fields<'_>, writing: Option<&Writing>) -> Said {
    let Some(writing) = writing else { return Said::Otherwise(told(code, fields, None)) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn contexts_are_the_servers_or_of_what_is_called() {
        let calls = BTreeSet::from([QualifiedName::new("lib", "raises"), QualifiedName::new("Lib", "f(")]);
        let quotable = Quotable { calls: calls.into(), own_sql: BTreeSet::from(["lpad".to_owned()]).into() };
        for (context, of_a_function) in [
            ("", false),
            ("COPY t, line 1, column a: \"x\"", false),
            ("JSON data, line 1: {\nparallel worker", false),
            ("PL/pgSQL function lib.raises(integer) line 1 at RAISE", false),
            ("PL/pgSQL function \"Lib\".\"f(\"(integer) line 1 at RAISE\nparallel worker", false),
            ("PL/pgSQL function lib.raises2(integer) line 1 at RAISE", true),
            ("PL/pgSQL function raises(integer) line 1 at RAISE", true),
            (
                "PL/pgSQL function public.t() line 1 at RAISE\nPL/pgSQL function lib.raises(integer) line 1 at RAISE",
                true,
            ),
            ("SQL function \"raises\" statement 1", true),
            (
                "SQL function \"lpad\" statement 1\nSQL function \"lpad\" during inlining\nSQL function \"lpad\" during startup",
                false,
            ),
            ("SQL function \"lpad\" foo\" statement 1", true),
            ("SQL function \"lpad\" statement 1\" statement 1", true),
            ("SQL function \"lpad", true),
            ("SQL statement \"SELECT\nCOPY \"\nPL/pgSQL function lib.raises(integer) line 1 at SQL statement", true),
        ] {
            assert_eq!(is_of_a_function(context, &quotable), of_a_function, "{context}");
        }
    }
}
