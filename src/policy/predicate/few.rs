//! Sub-selects that give few values, in a form that cannot become a join: `value = ANY (ARRAY(SELECT …))`.
//!
//! In: `value IN (SELECT column FROM schema.table [WHERE …])`, compiled. Out: the same condition over an array that is made once a statement,
//! and a question about the statistics of the table. Must never: change which rows a rule shows, or read a row to find out.
//!
//! `IN (SELECT …)` is for the planner a join, which takes longer to plan than a short statement to run, and in a join the rule may come after the
//! caller's conditions. An array is a value: the rule stays a condition of each row, and serves indexes. But PostgreSQL looks an array up from end
//! to end and takes one that it does not know for ten values (`estimate_array_length`), so it is for sets that are surely that small.

use super::Compiled;
use super::compile::Compiler;
use super::dialect::name_of;
use crate::policy::sqltype::{is_number, is_text, oids::*};
use crate::policy::template::Sql;
use crate::types::{Oid, QualifiedName, quote_literal};
use sqlparser::ast::{BinaryOperator, Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor};
use std::collections::BTreeSet;

/// Most values of a set for which an array is sent: as many as the planner takes an array to have.
const MOST: u32 = 10;

/// The condition with its sets as arrays.
#[derive(Clone)]
pub(crate) struct Few {
    /// Boolean expression over `_sv."column"`, without a sub-select that may become a join.
    pub(crate) sql: Sql,
    /// Statements that fail unless each of the sets is small, by the statistics of its table alone.
    pub(crate) probes: BTreeSet<String>,
}

impl Few {
    /// What was compiled with arrays; `None` unless every sub-select became one.
    pub(super) fn of(compiled: Compiled, probes: BTreeSet<String>) -> Option<Self> {
        (!compiled.has_subquery && !probes.is_empty()).then_some(Self { sql: compiled.sql, probes })
    }
}

/// A table, and columns of it each of which is to have one value that no row of the data source decides.
struct Lookup {
    table: QualifiedName,
    fixed: Vec<String>,
}

impl Compiler<'_> {
    /// Whether the set of a sub-select may be sent as an array: one column of one table, no domain and of a type with an order of its own.
    /// Gives the question how large it is. `outside`: it looks at rows around it.
    pub(super) fn as_array(&self, query: &Query, ty: Oid, outside: bool) -> Option<String> {
        let known = is_number(ty) || is_text(ty) || [BOOL, UUID, DATE, TIMESTAMP, TIMESTAMPTZ].contains(&ty);
        if outside || !known {
            return None;
        }
        let SetExpr::Select(select) = &*query.body else { return None };
        let (lookup, column) = lookup(select)?;
        let relation = self.catalog.relations.get(&lookup.table)?;
        let type_of = |name: &str| relation.columns.iter().find(|c| c.name == name).map(|c| c.type_oid);
        if type_of(&column) != Some(ty) {
            return None;
        }
        let fixed: Vec<&str> = lookup.fixed.iter().map(String::as_str).filter(|name| type_of(name).is_some()).collect();
        Some(smallness(&lookup.table, &fixed))
    }
}

/// The parts of `SELECT column FROM schema.table [WHERE column = constant AND …]`.
fn lookup(select: &Select) -> Option<(Lookup, String)> {
    let [item] = select.projection.as_slice() else { return None };
    let (SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }) = item else { return None };
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, .. } = &from.relation else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Some(name_of(ident)),
        ObjectNamePart::Function(_) => None,
    };
    let [schema, table] = name.0.as_slice() else { return None };
    let table = QualifiedName::new(part(schema)?, part(table)?);
    let mut fixed = Vec::new();
    if let Some(condition) = &select.selection {
        conjuncts(condition, &mut fixed);
    }
    Some((Lookup { table, fixed }, column(item)?))
}

/// Columns that a condition holds equal to a constant or to something of the caller's.
fn conjuncts(condition: &Expr, fixed: &mut Vec<String>) {
    let mut rest = condition;
    // As the parser builds a chain: to the left.
    loop {
        match rest {
            Expr::Nested(inner) => rest = inner,
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                fixed.extend(equal_to_one(right));
                rest = left;
            }
            _ => break,
        }
    }
    fixed.extend(equal_to_one(rest));
}

fn equal_to_one(condition: &Expr) -> Option<String> {
    match condition {
        Expr::Nested(inner) => equal_to_one(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_constant(right) => column(left),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_constant(left) => column(right),
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) => true,
        Expr::Identifier(ident) => is_variable(ident),
        Expr::Nested(inner) => is_constant(inner),
        _ => false,
    }
}

/// `@username` and its like.
fn is_variable(ident: &Ident) -> bool {
    ident.quote_style.is_none() && ident.value.starts_with('@')
}

fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) if !is_variable(ident) => Some(name_of(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(name_of),
        Expr::Nested(inner) => column(inner),
        _ => None,
    }
}

/// A statement over the planner's statistics that fails unless no value of one of these columns has more than [`MOST`] rows, or the table
/// has no more. What was never analyzed may be large. Of a table with children only a partitioned one has statistics of all its rows.
fn smallness(table: &QualifiedName, fixed: &[&str]) -> String {
    let (schema, name) = (quote_literal(&table.schema), quote_literal(&table.name));
    // Rows of the commonest value (pg_stats: `most_common_freqs`, or as many of each of `n_distinct`; negative: by the number of rows).
    let commonest = "coalesce(s.most_common_freqs[1], CASE WHEN s.n_distinct > 0 THEN 1 / s.n_distinct ELSE -1 / (s.n_distinct * c.reltuples) END)";
    let mut names: Vec<String> = fixed.iter().map(|name| quote_literal(name)).collect();
    names.sort();
    let by_value = if names.is_empty() {
        String::new()
    } else {
        format!(
            " UNION ALL SELECT pg_catalog.max(c.reltuples * {commonest}) FROM pg_catalog.pg_stats AS s, c \
             WHERE s.schemaname = {schema} AND s.tablename = {name} AND s.attname IN ({}) GROUP BY s.attname",
            names.join(", ")
        )
    };
    format!(
        "WITH c AS (SELECT c.reltuples FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name} AND c.reltuples > 0 \
         AND (c.relkind IN ('p', 'm') OR c.relkind = 'r' AND NOT c.relhassubclass)) \
         SELECT 1 / CASE WHEN pg_catalog.min(b.most) <= {MOST} THEN 1 ELSE 0 END FROM (SELECT c.reltuples FROM c{by_value}) AS b(most)"
    )
}
