//! The policy language: predicates of custom where clauses and of conditional masks.
//!
//! In: a predicate as written (back-ticks or double quotes around names, `@functions`, portable SQL), a data source, a catalog.
//! Out: [`Compiled`]: PostgreSQL text over `_sv."column"` with holes for the caller's values. Must never: print what it does not
//! understand (an unknown construct is a [`Fault`]), or give a meaning that depends on a setting callers control.
//!
//! What callers can set (`TimeZone`, `DateStyle`, `IntervalStyle`, `extra_float_digits`, …) must not move a predicate. So timestamps
//! without time zone are read as UTC, date and time literals must be ISO 8601, and casts whose text depends on a setting are refused.

mod advanced;
mod call;
mod compile;
mod dialect;
mod few;
mod operate;
pub(crate) use few::Few;
pub(crate) use operate::fixed_text;
mod query;
mod time;

use super::source::DataSource;
use super::template::Sql;
use crate::catalog::Catalog;
use crate::governance::model::Expression;
use crate::types::Oid;
use sqlparser::tokenizer::Location;

/// A compiled predicate.
#[derive(Clone)]
pub(crate) struct Compiled {
    /// Boolean expression over `_sv."column"`.
    pub(crate) sql: Sql,
    /// Never raises on any row.
    pub(crate) total: bool,
    /// Holds a sub-query that the planner may turn into a join.
    pub(crate) has_subquery: bool,
    /// The same with arrays in the place of its sub-queries, for small sets.
    pub(crate) few: Option<Box<Few>>,
}

/// Why a predicate does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) help: String,
    /// 1-based line within the predicate, 0 = unknown.
    pub(crate) line: u64,
    /// 1-based column within the predicate.
    pub(crate) column: u64,
}

impl Fault {
    fn new(at: Location, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), line: at.line, column: at.column }
    }
}

/// Message with the place inside the predicate.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match (self.line, self.column) {
            (0, _) => Ok(()),
            (1, column) => write!(f, ", at character {column} of the predicate"),
            (line, column) => write!(f, ", at line {line}, character {column} of the predicate"),
        }
    }
}

/// A compiled sub-expression.
#[derive(Clone)]
struct Node {
    sql: Sql,
    /// Its type: `UNKNOWN` for a string literal or NULL, `NONE` when it cannot be told.
    ty: Oid,
    /// Never raises on any row.
    total: bool,
    /// Depends on no row.
    rowless: bool,
    /// The text of a string literal.
    literal: Option<String>,
    /// A set of the caller's values (`@groups()` and others).
    set: Option<super::template::CallerSet>,
    /// Has a deterministic collation, so that LIKE and position work.
    plain: bool,
}

/// Longest text compiled on the caller's own stack, and the stack for longer ones: the parser's tree of a chain of operators is as
/// deep as the chain is long, and is taken apart recursively.
const SHORT: usize = 500;
const STACK: usize = 256 << 20;

/// Compiles a predicate for a data source.
pub(crate) fn compile(text: &str, source: &DataSource, catalog: &Catalog) -> Result<Compiled, Fault> {
    on_stack(text, || compile_here(text, source, catalog))
}

fn on_stack<T: Send>(text: &str, read: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    if text.len() <= SHORT {
        return read();
    }
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("predicate".to_owned()).stack_size(STACK);
        let running = worker.spawn_scoped(scope, read);
        let answer = running.ok().and_then(|thread| thread.join().ok());
        answer.unwrap_or_else(|| {
            Err(Fault::new(Location::new(0, 0), "the predicate could not be compiled", "shorten it"))
        })
    })
}

/// Reads an `advanced` entitlement expression.
pub(crate) fn advanced(text: &str) -> Result<Expression, Fault> {
    on_stack(text, || advanced::parse(text))
}

fn compile_here(text: &str, source: &DataSource, catalog: &Catalog) -> Result<Compiled, Fault> {
    let parsed = dialect::parse(text, "predicate")?;
    let read = |arrays| {
        let mut compiler = compile::Compiler::new(source, catalog, arrays);
        let node = compiler.condition(&parsed)?;
        let total = node.total || node.rowless;
        let compiled = Compiled { sql: node.sql, total, has_subquery: compiler.has_subquery, few: None };
        Ok((compiled, compiler.sizes))
    };
    let (mut compiled, _) = read(false)?;
    if compiled.has_subquery {
        let (arrays, sizes) = read(true)?;
        compiled.few = Few::of(arrays, sizes).map(Box::new);
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests;
