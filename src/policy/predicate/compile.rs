//! From sqlparser's tree to PostgreSQL text: names, literals, operators, conditions.
//!
//! In: an expression, the scopes it stands in. Out: a compiled node. Must never: print through sqlparser, whose printer may change the
//! meaning of a text; every construct is written out here or refused.

use super::dialect::name_of;
use super::{Fault, Node};
use crate::catalog::Catalog;
use crate::catalog::total::collation_never_conflicts;
use crate::policy::decision::ROW_ALIAS;
use crate::policy::nearest::did_you_mean;
use crate::policy::source::DataSource;
use crate::policy::sqltype::{base_type, is_int, is_number, oids::*};
use crate::policy::template::Sql;
use crate::types::{Oid, quote_ident, quote_literal};
use sqlparser::ast::{BinaryOperator, CaseWhen, CastKind, Expr, Ident, Spanned, UnaryOperator, Value};
use sqlparser::tokenizer::Location;
use std::collections::BTreeSet;

/// A relation that column names may refer to.
pub(super) struct Table {
    /// How generated SQL names it: a quoted alias.
    pub(super) alias: String,
    /// Unquoted names a predicate may qualify with.
    pub(super) names: Vec<String>,
    /// Schemas a predicate may put before those names.
    pub(super) schemas: Vec<String>,
    /// Columns: name, type, collation.
    pub(super) columns: Vec<(String, Oid, Oid)>,
}

/// Compiles one predicate.
pub(super) struct Compiler<'a> {
    pub(super) source: &'a DataSource,
    pub(super) catalog: &'a Catalog,
    /// Outermost first; the first is the data source itself.
    pub(super) scopes: Vec<Vec<Table>>,
    pub(super) has_subquery: bool,
    /// Whether sets are to be arrays, as far as they can be ([`super::few`]).
    pub(super) arrays: bool,
    /// How large such sets are: statements that tell.
    pub(super) sizes: BTreeSet<String>,
    /// The outermost scope that a name was found in, as far as it was asked.
    pub(super) outermost: usize,
    /// Inside the select list or HAVING of a sub-select, where aggregates may stand.
    pub(super) aggregates: bool,
    /// How deep the expression being compiled stands.
    depth: usize,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(source: &'a DataSource, catalog: &'a Catalog, arrays: bool) -> Self {
        let row = Table {
            alias: ROW_ALIAS.to_owned(),
            names: vec![source.logical.name.clone(), source.remote.name.clone()],
            schemas: vec![source.logical.schema.clone(), source.remote.schema.clone()],
            columns: source.columns.iter().map(|c| (c.name.clone(), c.type_oid, c.collation)).collect(),
        };
        Self {
            source,
            catalog,
            scopes: vec![vec![row]],
            has_subquery: false,
            arrays,
            sizes: BTreeSet::new(),
            outermost: usize::MAX,
            aggregates: false,
            depth: 0,
        }
    }

    /// An expression that must be a condition.
    pub(super) fn condition(&mut self, expr: &Expr) -> Result<Node, Fault> {
        let node = self.expr(expr)?;
        if node.ty == BOOL {
            return Ok(node);
        }
        self.boolean(node, at(expr))
    }

    pub(super) fn expr(&mut self, expr: &Expr) -> Result<Node, Fault> {
        // Before anything recurses into it: a long chain of ANDs is flat, whatever the tree says; other chains are bounded.
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            return self.chain(op, expr);
        }
        if self.depth >= MAX_DEPTH || spine(expr) >= MAX_DEPTH {
            let help = "split it, or move a list into a table";
            return Err(Fault::new(Location::new(0, 0), "the predicate is nested too deeply", help));
        }
        self.depth += 1;
        let node = self.inner(expr);
        self.depth -= 1;
        node
    }

    /// `a AND b AND …`, `a OR b OR …`: compiled one by one, joined flat.
    fn chain(&mut self, op: &BinaryOperator, expr: &Expr) -> Result<Node, Fault> {
        let mut operands = Vec::new();
        let mut rest = expr;
        while let Expr::BinaryOp { left, op: here, right } = rest {
            if here != op {
                break;
            }
            operands.push(right.as_ref());
            rest = left;
        }
        operands.push(rest);
        let nodes: Result<Vec<Node>, Fault> = operands.into_iter().rev().map(|e| self.condition(e)).collect();
        let nodes = nodes?;
        let word = if *op == BinaryOperator::And { " AND " } else { " OR " };
        let sql = Sql::wrap("(", Sql::join(nodes.iter().map(|n| n.sql.clone()), word), ")");
        let operands: Vec<&Node> = nodes.iter().collect();
        Ok(Node::over(sql, BOOL, true, &operands))
    }

    fn inner(&mut self, expr: &Expr) -> Result<Node, Fault> {
        let here = at(expr);
        match expr {
            Expr::Identifier(ident) => self.name(ident),
            Expr::CompoundIdentifier(parts) => self.qualified(parts, here),
            Expr::Nested(inner) => self.expr(inner),
            Expr::Value(value) => self.value(&value.value, here),
            Expr::TypedString(typed) if !typed.uses_odbc_syntax => {
                let node = self.value(&typed.value.value, here)?;
                let (ty, typmod) = self.data_type(&typed.data_type, here)?;
                self.cast(node, ty, typmod, here)
            }
            Expr::Interval(interval) => self.interval(interval, here),
            Expr::IsTrue(e) => self.test(e, "IS TRUE"),
            Expr::IsNotTrue(e) => self.test(e, "IS NOT TRUE"),
            Expr::IsFalse(e) => self.test(e, "IS FALSE"),
            Expr::IsNotFalse(e) => self.test(e, "IS NOT FALSE"),
            Expr::IsUnknown(e) => self.test(e, "IS UNKNOWN"),
            Expr::IsNotUnknown(e) => self.test(e, "IS NOT UNKNOWN"),
            Expr::IsNull(e) => self.null_test(e, "IS NULL"),
            Expr::IsNotNull(e) => self.null_test(e, "IS NOT NULL"),
            Expr::IsDistinctFrom(l, r) => {
                let blamed = literal_of(l, r);
                self.pair(l, r, |c, l, r| c.compare(l, "IS DISTINCT FROM", r, blamed))
            }
            Expr::IsNotDistinctFrom(l, r) => {
                let blamed = literal_of(l, r);
                self.pair(l, r, |c, l, r| c.compare(l, "IS NOT DISTINCT FROM", r, blamed))
            }
            Expr::InList { expr, list, negated } => {
                let value = self.expr(expr)?;
                let items: Result<Vec<(Node, Location)>, Fault> =
                    list.iter().map(|e| Ok((self.expr(e)?, at(e)))).collect();
                Ok(negate(self.among(&value, items?, here)?, *negated))
            }
            Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated, here),
            Expr::Exists { subquery, negated } => self.exists(subquery, *negated),
            Expr::Subquery(query) => self.scalar_subquery(query, here),
            Expr::Between { expr, negated, low, high } => {
                let blamed = (literal_of(expr, low), literal_of(expr, high));
                let (value, low, high) = (self.expr(expr)?, self.expr(low)?, self.expr(high)?);
                let above = self.compare(value.clone(), ">=", low, blamed.0)?;
                let below = self.compare(value, "<=", high, blamed.1)?;
                let sql = Sql::join([above.sql.clone(), below.sql.clone()], " AND ");
                let both = Node::over(Sql::wrap("(", sql, ")"), BOOL, true, &[&above, &below]);
                Ok(negate(both, *negated))
            }
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, here),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, here),
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like_expr(expr, "LIKE", pattern, escape_char.as_deref(), *negated, here)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like_expr(expr, "ILIKE", pattern, escape_char.as_deref(), *negated, here)
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => self.any(left, right, here),
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                Ok(negate(self.any(left, right, here)?, true))
            }
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let node = self.expr(expr)?;
                let (ty, typmod) = self.data_type(data_type, here)?;
                self.cast(node, ty, typmod, here)
            }
            Expr::AtTimeZone { timestamp, time_zone } => self.at_time_zone(timestamp, time_zone, here),
            Expr::Extract { field, expr, .. } => self.extract(field, expr, here),
            Expr::Ceil { expr, field } => self.rounded("ceil", expr, field, here),
            Expr::Floor { expr, field } => self.rounded("floor", expr, field, here),
            Expr::Position { expr, r#in } => self.position(expr, r#in, here),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), here)
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                self.trim(trim_where.as_ref(), trim_what.as_deref(), expr, here)
            }
            Expr::Function(function) => self.function(function, here),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), here)
            }
            // INVARIANT(total-match): everything else is no part of the language.
            _ => Err(Fault::new(here, "this construct is not part of the policy language", "")),
        }
    }

    fn pair(
        &mut self,
        left: &Expr,
        right: &Expr,
        make: impl FnOnce(&Self, Node, Node) -> Result<Node, Fault>,
    ) -> Result<Node, Fault> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        make(self, left, right)
    }

    /// A bare name: a template variable or a column.
    fn name(&mut self, ident: &Ident) -> Result<Node, Fault> {
        let here = ident.span.start;
        if ident.quote_style.is_none()
            && let Some(variable) = ident.value.strip_prefix('@')
        {
            return self.variable(variable, here);
        }
        let name = name_of(ident);
        // Key words of SQL that are values; the parser gives some of them as names.
        if ident.quote_style.is_none() && VALUES.contains(&name.as_str()) {
            return self.plain_call(&name, &[], here);
        }
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            let mut found = scope.iter().filter_map(|t| Some((t, t.columns.iter().find(|c| c.0 == name)?)));
            if let Some((table, column)) = found.next() {
                if found.next().is_some() {
                    return Err(Fault::new(
                        here,
                        format!("column \"{name}\" is ambiguous"),
                        "qualify it with its table",
                    ));
                }
                let node = self.column(table, column);
                self.outermost = self.outermost.min(depth);
                return Ok(node);
            }
        }
        Err(self.unknown_column(&name, here))
    }

    fn unknown_column(&self, name: &str, here: Location) -> Fault {
        let known: Vec<&str> = self.scopes.iter().flatten().flat_map(|t| &t.columns).map(|c| c.0.as_str()).collect();
        let hint = did_you_mean(name, known.iter().copied());
        let help = if hint.is_empty() { format!("columns are {}", known.join(", ")) } else { hint };
        Fault::new(here, format!("\"{}\" has no column \"{name}\"", self.source.logical), help)
    }

    fn qualified(&mut self, parts: &[Ident], here: Location) -> Result<Node, Fault> {
        let names: Vec<String> = parts.iter().map(name_of).collect();
        let (schema, table, column) = match names.as_slice() {
            [table, column] => (None, table, column),
            [schema, table, column] => (Some(schema), table, column),
            _ => return Err(Fault::new(here, "a column is named by at most schema.table.column", "")),
        };
        for (depth, scope) in self.scopes.iter().enumerate().rev() {
            let mut found =
                scope.iter().filter(|t| t.names.contains(table) && schema.is_none_or(|s| t.schemas.contains(s)));
            let Some(table) = found.next() else { continue };
            if found.next().is_some() {
                return Err(Fault::new(
                    here,
                    format!("table name \"{}\" is ambiguous", names.join(".")),
                    "use an alias",
                ));
            }
            return match table.columns.iter().find(|c| c.0 == *column) {
                Some(found) => {
                    let node = self.column(table, found);
                    self.outermost = self.outermost.min(depth);
                    Ok(node)
                }
                None => Err(Fault::new(
                    here,
                    format!("there is no column \"{}\"", names.join(".")),
                    did_you_mean(column, table.columns.iter().map(|c| c.0.as_str())),
                )),
            };
        }
        Err(Fault::new(
            here,
            format!("\"{table}\" is not a table of this predicate"),
            "other tables are read in a sub-select: IN (SELECT … FROM schema.table)",
        ))
    }

    fn column(&self, table: &Table, column: &(String, Oid, Oid)) -> Node {
        let (name, type_oid, collation) = column;
        Node {
            sql: Sql::text(format!("{}.{}", table.alias, quote_ident(name))),
            ty: base_type(self.catalog, *type_oid),
            total: true,
            rowless: false,
            literal: None,
            set: None,
            plain: collation_never_conflicts(*collation),
        }
    }

    fn value(&self, value: &Value, here: Location) -> Result<Node, Fault> {
        match value {
            Value::SingleQuotedString(raw) => {
                // The tokenizer keeps quotes doubled.
                let text = raw.replace("''", "'");
                Ok(Node { literal: Some(text.clone()), ..Node::constant(quote_literal(&text), UNKNOWN) })
            }
            Value::Number(text, false) => number(text, here),
            Value::Boolean(true) => Ok(Node::constant("TRUE", BOOL)),
            Value::Boolean(false) => Ok(Node::constant("FALSE", BOOL)),
            Value::Null => Ok(Node::constant("NULL", UNKNOWN)),
            _ => Err(Fault::new(here, "this kind of literal is not part of the policy language", "write 'text'")),
        }
    }

    fn test(&mut self, expr: &Expr, words: &str) -> Result<Node, Fault> {
        let node = self.condition(expr)?;
        Ok(Node::over(Sql::wrap("(", node.sql.clone(), &format!(" {words})")), BOOL, true, &[&node]))
    }

    fn null_test(&mut self, expr: &Expr, words: &str) -> Result<Node, Fault> {
        let node = self.expr(expr)?;
        Ok(Node::over(Sql::wrap("(", node.sql.clone(), &format!(" {words})")), BOOL, true, &[&node]))
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, here: Location) -> Result<Node, Fault> {
        let blamed = literal_of(left, right);
        match op {
            BinaryOperator::StringConcat => self.pair(left, right, |c, l, r| c.concatenate(l, r, blamed)),
            BinaryOperator::Eq => self.pair(left, right, |c, l, r| c.compare(l, "=", r, blamed)),
            BinaryOperator::NotEq => self.pair(left, right, |c, l, r| c.compare(l, "<>", r, blamed)),
            BinaryOperator::Lt => self.pair(left, right, |c, l, r| c.compare(l, "<", r, blamed)),
            BinaryOperator::LtEq => self.pair(left, right, |c, l, r| c.compare(l, "<=", r, blamed)),
            BinaryOperator::Gt => self.pair(left, right, |c, l, r| c.compare(l, ">", r, blamed)),
            BinaryOperator::GtEq => self.pair(left, right, |c, l, r| c.compare(l, ">=", r, blamed)),
            BinaryOperator::Plus => self.pair(left, right, |c, l, r| c.arithmetic(l, "+", r, blamed)),
            BinaryOperator::Minus => self.pair(left, right, |c, l, r| c.arithmetic(l, "-", r, blamed)),
            BinaryOperator::Multiply => self.pair(left, right, |c, l, r| c.arithmetic(l, "*", r, blamed)),
            BinaryOperator::Divide => self.pair(left, right, |c, l, r| c.arithmetic(l, "/", r, blamed)),
            BinaryOperator::Modulo => self.pair(left, right, |c, l, r| c.arithmetic(l, "%", r, blamed)),
            _ => Err(Fault::new(here, format!("operator {op} is not part of the policy language"), "")),
        }
    }

    fn unary(&mut self, op: UnaryOperator, expr: &Expr, here: Location) -> Result<Node, Fault> {
        match op {
            UnaryOperator::Not => Ok(negate(self.condition(expr)?, true)),
            UnaryOperator::Minus | UnaryOperator::Plus => {
                let node = self.expr(expr)?;
                if !is_number(node.ty) {
                    return Err(Fault::new(here, "a sign needs a number", ""));
                }
                let sign = if op == UnaryOperator::Minus { "(- " } else { "(+ " };
                let ty = node.ty;
                // The negative of an integer column's smallest value overflows.
                Ok(Node::over(Sql::wrap(sign, node.sql.clone(), ")"), ty, !is_int(ty), &[&node]))
            }
            _ => Err(Fault::new(here, "this operator is not part of the policy language", "")),
        }
    }

    fn like_expr(
        &mut self,
        value: &Expr,
        op: &str,
        pattern: &Expr,
        escape: Option<&Expr>,
        negated: bool,
        here: Location,
    ) -> Result<Node, Fault> {
        let escape = match escape {
            None => None,
            Some(e) => {
                let text = self.expr(e)?.literal.unwrap_or_default();
                let mut chars = text.chars();
                let (Some(c), None) = (chars.next(), chars.next()) else {
                    return Err(Fault::new(at(e), "ESCAPE needs one character", ""));
                };
                Some(c)
            }
        };
        let (value, pattern) = (self.expr(value)?, self.expr(pattern)?);
        Ok(negate(self.like(value, op, pattern, escape, here)?, negated))
    }

    /// `value = ANY (…)`: a set of the caller's values, a written array, or an array column.
    fn any(&mut self, left: &Expr, right: &Expr, here: Location) -> Result<Node, Fault> {
        let value = self.expr(left)?;
        let right = match right {
            Expr::Nested(inner) => inner.as_ref(),
            other => other,
        };
        if let Expr::Array(array) = right {
            let items: Result<Vec<(Node, Location)>, Fault> =
                array.elem.iter().map(|e| Ok((self.expr(e)?, at(e)))).collect();
            return self.among(&value, items?, here);
        }
        let array = self.expr(right)?;
        if array.set.is_some() {
            return self.among(&value, vec![(array, here)], here);
        }
        let element = self.catalog.types.get(&array.ty).filter(|t| t.category == 'A').map(|t| t.element);
        let Some(element) = element else {
            return Err(Fault::new(here, "ANY needs an array or a set of the caller's values", "use IN (…)"));
        };
        let value = self.literal_as(value, element, here)?;
        if value.ty != element && !(crate::policy::sqltype::is_text(value.ty) && element == TEXT) {
            let message = format!("{} is no element of {}", self.type_name(value.ty), self.type_name(array.ty));
            return Err(Fault::new(here, message, "cast one of them"));
        }
        let sql = Sql::wrap("(", value.sql.clone(), " = ANY (").and(array.sql.clone()).then("))");
        Ok(Node::over(sql, BOOL, element == TEXT || is_int(element), &[&value, &array]))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        here: Location,
    ) -> Result<Node, Fault> {
        let mut tests = Vec::new();
        let mut results = Vec::new();
        for when in conditions {
            tests.push(match operand {
                None => self.condition(&when.condition)?,
                Some(operand) => {
                    let (value, candidate) = (self.expr(operand)?, self.expr(&when.condition)?);
                    self.compare(value, "=", candidate, at(&when.condition))?
                }
            });
            results.push(self.expr(&when.result)?);
        }
        results.push(match otherwise {
            Some(e) => self.expr(e)?,
            None => Node::constant("NULL", UNKNOWN),
        });
        let (results, ty) = self.unify(results, here)?;
        let mut sql = Sql::text("(CASE");
        for (test, result) in tests.iter().zip(&results) {
            sql = sql.then(" WHEN ").and(test.sql.clone()).then(" THEN ").and(result.sql.clone());
        }
        if let Some(last) = results.last() {
            sql = sql.then(" ELSE ").and(last.sql.clone());
        }
        let operands: Vec<&Node> = tests.iter().chain(&results).collect();
        Ok(Node::over(sql.then(" END)"), ty, true, &operands))
    }
}

/// Key words that stand for a value.
const VALUES: [&str; 9] = [
    "current_date",
    "current_timestamp",
    "current_time",
    "localtimestamp",
    "localtime",
    "current_user",
    "session_user",
    "current_role",
    "user",
];

/// Where an expression begins.
pub(super) fn at(expr: &Expr) -> Location {
    expr.span().start
}

/// Which of two operands does not fit the other: the literal, else the second.
fn literal_of(left: &Expr, right: &Expr) -> Location {
    match (left, right) {
        (Expr::Value(_), Expr::Value(_)) => at(right),
        (Expr::Value(_), _) => at(left),
        _ => at(right),
    }
}

/// How deep expressions may nest.
const MAX_DEPTH: usize = 100;

/// How many binary operators lead down the left side.
fn spine(mut expr: &Expr) -> usize {
    let mut depth = 0;
    while let Expr::BinaryOp { left, .. } = expr {
        depth += 1;
        expr = left;
    }
    depth
}

/// `NOT node` when asked for.
pub(super) fn negate(node: Node, negated: bool) -> Node {
    if !negated {
        return node;
    }
    Node::over(Sql::wrap("(NOT ", node.sql.clone(), ")"), BOOL, true, &[&node])
}

/// A number, written again digit by digit; its type as PostgreSQL's lexer gives it.
fn number(text: &str, here: Location) -> Result<Node, Fault> {
    let valid = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.bytes().any(|b| b.is_ascii_digit());
    if !valid || text.len() > 400 {
        return Err(Fault::new(here, format!("\"{text}\" is not a number"), ""));
    }
    let ty = if text.parse::<i32>().is_ok() {
        INT4
    } else if text.parse::<i64>().is_ok() {
        INT8
    } else {
        NUMERIC
    };
    Ok(Node::constant(text, ty))
}
