//! Operators, casts and what makes them total.
//!
//! In: compiled operands. Out: a compiled expression. Must never: let PostgreSQL choose a conversion that depends on a session setting.

use super::compile::Compiler;
use super::{Fault, Node, time};
use crate::catalog::total::like_pattern_is_total;
use crate::policy::sqltype::{has_fixed_text, is_instant, is_int, is_number, is_temporal, is_text, oids::*, type_sql};
use crate::policy::template::{CallerSet, Form, Sql};
use crate::types::Oid;
use sqlparser::tokenizer::Location;

impl Node {
    /// An expression over operands: total and rowless as they are.
    pub(super) fn over(sql: Sql, ty: Oid, total: bool, operands: &[&Node]) -> Self {
        Self {
            sql,
            ty,
            total: total && operands.iter().all(|o| o.total || o.rowless),
            rowless: operands.iter().all(|o| o.rowless),
            literal: None,
            set: None,
            plain: operands.iter().all(|o| o.plain),
        }
    }
    /// A constant.
    pub(super) fn constant(sql: impl Into<String>, ty: Oid) -> Self {
        Self { sql: Sql::text(sql), ty, total: true, rowless: true, literal: None, set: None, plain: true }
    }
    /// The same expression under another type and text.
    pub(super) fn recast(self, before: &str, after: &str, ty: Oid) -> Self {
        Self { sql: Sql::wrap(before, self.sql, after), ty, literal: None, set: None, ..self }
    }
    /// A timestamp with time zone as a timestamp in UTC, whatever the session's TimeZone.
    pub(super) fn in_utc(self) -> Self {
        self.recast("pg_catalog.timezone('UTC', ", ")", TIMESTAMP)
    }
    fn is_null_literal(&self) -> bool {
        self.ty == UNKNOWN && self.literal.is_none()
    }
}

/// What operators take varchar for.
fn normal(ty: Oid) -> Oid {
    if ty == VARCHAR { TEXT } else { ty }
}

impl Compiler<'_> {
    /// The name of a type for messages.
    pub(super) fn type_name(&self, ty: Oid) -> String {
        match ty {
            NONE => "an unknown type".to_owned(),
            UNKNOWN => "a literal".to_owned(),
            _ => self.catalog.types.get(&ty).map_or_else(|| format!("type {ty}"), |t| t.sql.clone()),
        }
    }

    /// Gives a literal the type it is used as.
    pub(super) fn literal_as(&self, node: Node, ty: Oid, at: Location) -> Result<Node, Fault> {
        if node.ty != UNKNOWN {
            return Ok(node);
        }
        let Some(text) = &node.literal else { return Ok(Node { ty, ..node }) };
        if ty == NONE {
            return Err(Fault::new(at, "cannot tell what type the literal has here", "add a CAST"));
        }
        if !is_temporal(ty) {
            return Ok(Node { ty, literal: node.literal.clone(), ..node });
        }
        match time::literal(text, ty) {
            Some(sql) => Ok(Node::constant(sql, ty)),
            None => Err(Fault::new(
                at,
                format!("the meaning of '{text}' as {} would depend on session settings", self.type_name(ty)),
                time::form(ty),
            )),
        }
    }

    /// Makes two operands comparable without a conversion that depends on the session.
    fn align(&self, left: Node, right: Node, at: Location) -> Result<(Node, Node), Fault> {
        if left.set.is_some() || right.set.is_some() {
            return Err(Fault::new(
                at,
                "a set of the caller's values is not one value",
                "write `column IN (@groups())`",
            ));
        }
        let (left, right) = match (left.ty, right.ty) {
            (UNKNOWN, UNKNOWN) => return Ok((left, right)),
            (UNKNOWN, ty) => (self.literal_as(left, ty, at)?, right),
            (ty, UNKNOWN) => {
                let right = self.literal_as(right, ty, at)?;
                (left, right)
            }
            _ => (left, right),
        };
        let (l, r) = (left.ty, right.ty);
        if is_instant(l) && is_instant(r) && l != r && (l == TIMESTAMPTZ || r == TIMESTAMPTZ) {
            // The server would convert by the session's TimeZone.
            let left = if l == TIMESTAMPTZ { left.in_utc() } else { left };
            let right = if r == TIMESTAMPTZ { right.in_utc() } else { right };
            return Ok((left, right));
        }
        let same_family = l == r
            || (is_text(l) && is_text(r))
            || (is_number(l) && is_number(r))
            || (is_instant(l) && is_instant(r))
            || ((l == NONE || r == NONE) && !is_temporal(l) && !is_temporal(r));
        if same_family {
            return Ok((left, right));
        }
        Err(Fault::new(
            at,
            format!("cannot compare {} with {}", self.type_name(l), self.type_name(r)),
            "cast one of them",
        ))
    }

    /// `left op right` for `= <> < <= > >=`.
    pub(super) fn compare(&self, left: Node, op: &str, right: Node, at: Location) -> Result<Node, Fault> {
        let (left, right) = self.align(left, right, at)?;
        let total = self.comparison_is_total(op, left.ty, right.ty);
        let sql = Sql::wrap("(", left.sql.clone(), "").then(&format!(" {op} ")).and(right.sql.clone()).then(")");
        Ok(Node::over(sql, BOOL, total, &[&left, &right]))
    }

    fn comparison_is_total(&self, op: &str, left: Oid, right: Oid) -> bool {
        let (l, r) = (normal(left), normal(right));
        let exact = |t: Oid| is_int(t) || t == NUMERIC;
        let float = |t: Oid| is_int(t) || t == FLOAT4 || t == FLOAT8;
        let reviewed = (is_text(l) && is_text(r))
            || (exact(l) && exact(r))
            || (float(l) && float(r))
            || ([DATE, TIMESTAMP].contains(&l) && [DATE, TIMESTAMP].contains(&r))
            || (l == r && [BOOL, BYTEA, UUID, TIMESTAMPTZ, TIME, TIMETZ, INTERVAL, UNKNOWN].contains(&l))
            || (l == r && self.catalog.types.get(&l).is_some_and(|t| t.kind == 'e'));
        let op = match op {
            "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => "=",
            other => other,
        };
        reviewed || self.catalog.operator_is_total(op, l, r)
    }

    /// `value IN (items)`: one comparison each, caller's sets by `= ANY`.
    pub(super) fn among(&self, value: &Node, items: Vec<(Node, Location)>, at: Location) -> Result<Node, Fault> {
        if items.is_empty() {
            return Err(Fault::new(at, "an empty list", "list at least one value"));
        }
        let mut tests = Vec::new();
        let mut listed: Vec<Node> = Vec::new();
        for (item, at) in items {
            if let Some(set) = &item.set {
                tests.push(self.contains(value.clone(), set.clone(), at)?);
                continue;
            }
            let (left, right) = self.align(value.clone(), item, at)?;
            // One list where nothing had to be converted, so that an index can serve it.
            if left.sql == value.sql && self.comparison_is_total("=", left.ty, right.ty) {
                listed.push(right);
            } else {
                tests.push(self.compare(left, "=", right, at)?);
            }
        }
        if !listed.is_empty() {
            let list = Sql::join(listed.iter().map(|n| n.sql.clone()), ", ");
            let sql = Sql::wrap("(", value.sql.clone(), " IN (").and(list).then("))");
            let operands: Vec<&Node> = std::iter::once(value).chain(&listed).collect();
            tests.insert(0, Node::over(sql, BOOL, true, &operands));
        }
        if tests.len() == 1 {
            return tests.pop().ok_or_else(|| Fault::new(at, "an empty list", ""));
        }
        let sql = Sql::wrap("(", Sql::join(tests.iter().map(|t| t.sql.clone()), " OR "), ")");
        let operands: Vec<&Node> = tests.iter().collect();
        Ok(Node::over(sql, BOOL, true, &operands))
    }

    /// Whether a set of the caller's values holds a value.
    pub(super) fn contains(&self, value: Node, set: CallerSet, at: Location) -> Result<Node, Fault> {
        let value = if value.ty == UNKNOWN { Node { ty: TEXT, ..value } } else { value };
        let Some((sql, form)) = self.text_form(&value) else {
            return Err(Fault::new(
                at,
                format!("the text of {} depends on session settings", self.type_name(value.ty)),
                "compare a text, number, uuid, boolean, enum or date column",
            ));
        };
        let contains = Sql::contains(set, sql, form);
        // A date far beyond the range of timestamps has no text.
        Ok(Node::over(contains, BOOL, value.ty != DATE, &[&value]))
    }

    fn text_form(&self, value: &Node) -> Option<(Sql, Form)> {
        fixed_text(self.catalog, value.sql.clone(), value.ty)
    }

    /// `+ - * / %`.
    pub(super) fn arithmetic(&self, left: Node, op: &str, right: Node, at: Location) -> Result<Node, Fault> {
        let (l, r) = (left.ty, right.ty);
        // A quoted number beside a number; anything else stays a literal and is refused below.
        let left = if l == UNKNOWN && is_number(r) { self.literal_as(left, r, at)? } else { left };
        let right = if r == UNKNOWN && is_number(l) { self.literal_as(right, l, at)? } else { right };
        let (l, r) = (left.ty, right.ty);
        let plus_minus = op == "+" || op == "-";
        let result = match (l, r) {
            _ if is_number(l) && is_number(r) => promote(l, r),
            (DATE, _) if plus_minus && is_int(r) => DATE,
            (DATE, DATE) if op == "-" => INT4,
            (DATE | TIMESTAMP, INTERVAL) if plus_minus => TIMESTAMP,
            (TIMESTAMPTZ, INTERVAL) if plus_minus => {
                // Days and months are counted on UTC's calendar, not the session's.
                let inner = Sql::wrap("pg_catalog.timezone('UTC', ", left.sql.clone(), &format!(") {op} "));
                let sql = Sql::wrap("pg_catalog.timezone('UTC', (", inner.and(right.sql.clone()), "))");
                return Ok(Node::over(sql, TIMESTAMPTZ, false, &[&left, &right]));
            }
            (TIMESTAMP, TIMESTAMP) | (TIMESTAMPTZ, TIMESTAMPTZ) if op == "-" => INTERVAL,
            _ if op == "-" && is_instant(l) && is_instant(r) => {
                let (left, right) = self.align(left, right, at)?;
                let cast = |n: Node| if n.ty == DATE { n.recast("(", ")::pg_catalog.timestamp", TIMESTAMP) } else { n };
                return self.arithmetic(cast(left), op, cast(right), at);
            }
            (INTERVAL, INTERVAL) if plus_minus => INTERVAL,
            (INTERVAL, _) if op == "*" && is_number(r) => INTERVAL,
            _ => {
                return Err(Fault::new(
                    at,
                    format!("no {} {op} {}", self.type_name(l), self.type_name(r)),
                    if is_instant(l) && r == UNKNOWN { "write INTERVAL '30 days'" } else { "cast one of them" },
                ));
            }
        };
        let sql = Sql::wrap("(", left.sql.clone(), "").then(&format!(" {op} ")).and(right.sql.clone()).then(")");
        let total = self.catalog.operator_is_total(op, normal(l), normal(r));
        Ok(Node::over(sql, result, total, &[&left, &right]))
    }

    /// `left || right` on texts.
    pub(super) fn concatenate(&self, left: Node, right: Node, at: Location) -> Result<Node, Fault> {
        let (left, right) = (self.as_text(left, at)?, self.as_text(right, at)?);
        let sql = Sql::wrap("(", left.sql.clone(), " || ").and(right.sql.clone()).then(")");
        // Two long texts may exceed 1 GB together.
        Ok(Node::over(sql, TEXT, false, &[&left, &right]))
    }

    /// A value as text, when its text does not depend on the session.
    pub(super) fn as_text(&self, node: Node, at: Location) -> Result<Node, Fault> {
        if node.set.is_some() {
            return Err(Fault::new(
                at,
                "a set of the caller's values is not one value",
                "write `column IN (@groups())`",
            ));
        }
        match node.ty {
            UNKNOWN => Ok(node.recast("(", ")::pg_catalog.text", TEXT)),
            TEXT => Ok(node),
            _ => match fixed_text(self.catalog, node.sql.clone(), node.ty) {
                Some((sql, _)) => {
                    Ok(Node::over(Sql::wrap("(", sql, ")::pg_catalog.text"), TEXT, node.ty != DATE, &[&node]))
                }
                None => Err(Fault::new(
                    at,
                    format!("the text of {} depends on session settings", self.type_name(node.ty)),
                    "use to_char with a format",
                )),
            },
        }
    }

    /// `[I]LIKE` with an optional escape character.
    pub(super) fn like(
        &self,
        value: Node,
        op: &str,
        pattern: Node,
        escape: Option<char>,
        at: Location,
    ) -> Result<Node, Fault> {
        for operand in [&value, &pattern] {
            if operand.set.is_some() || !(is_text(operand.ty) || operand.ty == UNKNOWN) {
                return Err(Fault::new(at, format!("{op} needs texts"), "cast the value to TEXT"));
            }
        }
        let constant = pattern.literal.as_ref().is_some_and(|p| match escape {
            None => like_pattern_is_total(p),
            Some(c) => p.chars().rev().take_while(|x| *x == c).count() % 2 == 0,
        });
        let mut sql = Sql::wrap("(", value.sql.clone(), "").then(&format!(" {op} ")).and(pattern.sql.clone());
        if let Some(c) = escape {
            sql = sql.then(&format!(" ESCAPE {}", crate::types::quote_literal(&c.to_string())));
        }
        let total = constant && value.plain;
        Ok(Node::over(sql.then(")"), BOOL, total, &[&value, &pattern]))
    }

    /// A cast to a named type.
    pub(super) fn cast(&self, node: Node, ty: Oid, typmod: i32, at: Location) -> Result<Node, Fault> {
        if node.set.is_some() {
            return Err(Fault::new(
                at,
                "a set of the caller's values is not one value",
                "write `column IN (@groups())`",
            ));
        }
        let name = type_sql(self.catalog, ty, typmod)
            .ok_or_else(|| Fault::new(at, "the warehouse does not have this type", ""))?;
        let close = format!(")::{name}");
        let from = node.ty;
        if from == UNKNOWN {
            let node = self.literal_as(node, ty, at)?;
            return Ok(node.recast("(", &close, ty));
        }
        let from_text_to_time = is_temporal(ty) && !is_temporal(from);
        let by_setting = |what: &str, help: &str| {
            let message = format!("{what} depends on session settings");
            Err(Fault::new(at, message, help.to_owned()))
        };
        match (from, ty) {
            (NONE, _) if is_temporal(ty) || is_text(ty) => by_setting("this cast", "cast the inner value first"),
            _ if from_text_to_time => by_setting(
                &format!("a cast from {} to {}", self.type_name(from), self.type_name(ty)),
                "use to_date(value, 'YYYY-MM-DD')",
            ),
            (TIMESTAMPTZ, DATE | TIMESTAMP | TIME) => {
                let node = node.in_utc();
                Ok(Node { total: false, ..node.recast("(", &close, ty) })
            }
            (DATE | TIMESTAMP, TIMESTAMPTZ) => {
                let node = node.recast("pg_catalog.timezone('UTC', (", ")::pg_catalog.timestamp)", TIMESTAMPTZ);
                Ok(Node { total: false, ..node.recast("(", &close, ty) })
            }
            (TIMETZ, _) | (_, TIMETZ) if from != ty => by_setting("a time with time zone", "use a timestamp"),
            _ if is_text(ty) && from != ty => {
                let node = self.as_text(node, at)?;
                Ok(node.recast("(", &close, ty))
            }
            _ => {
                let total = from == ty && typmod < 0 || self.catalog.cast_is_total(normal(from), normal(ty));
                let operand = node.clone();
                Ok(Node::over(Sql::wrap("(", node.sql, &close), ty, total && typmod < 0, &[&operand]))
            }
        }
    }

    /// The common type of alternatives (CASE, COALESCE, …), and the alternatives in it.
    pub(super) fn unify(&self, nodes: Vec<Node>, at: Location) -> Result<(Vec<Node>, Oid), Fault> {
        let mut ty = UNKNOWN;
        for node in &nodes {
            if node.set.is_some() {
                return Err(Fault::new(at, "a set of the caller's values is not one value", ""));
            }
            ty = match (ty, node.ty) {
                (UNKNOWN, other) | (other, UNKNOWN) => other,
                (a, b) if a == b => a,
                (a, b) if is_number(a) && is_number(b) => promote(a, b),
                (a, b) if is_text(a) && is_text(b) => TEXT,
                (a, b) => {
                    return Err(Fault::new(
                        at,
                        format!(
                            "the alternatives have different types: {} and {}",
                            self.type_name(a),
                            self.type_name(b)
                        ),
                        "cast them to one type",
                    ));
                }
            };
        }
        if ty == UNKNOWN {
            ty = TEXT;
        }
        let nodes: Result<Vec<Node>, Fault> = nodes.into_iter().map(|n| self.literal_as(n, ty, at)).collect();
        Ok((nodes?, ty))
    }

    /// Requires a condition.
    pub(super) fn boolean(&self, node: Node, at: Location) -> Result<Node, Fault> {
        if node.ty == BOOL || node.is_null_literal() {
            return Ok(node);
        }
        Err(Fault::new(
            at,
            format!("a condition is needed, not {}", self.type_name(node.ty)),
            "compare the value with something",
        ))
    }
}

/// How a value is compared with strings: integers as integers, others by a text that no setting changes.
pub(crate) fn fixed_text(catalog: &crate::catalog::Catalog, sql: Sql, ty: Oid) -> Option<(Sql, Form)> {
    let int = |type_name, min, max| Some((sql.clone(), Form::Int { type_name, min, max }));
    match ty {
        INT2 => int("int2", i64::from(i16::MIN), i64::from(i16::MAX)),
        INT4 => int("int4", i64::from(i32::MIN), i64::from(i32::MAX)),
        INT8 => int("int8", i64::MIN, i64::MAX),
        DATE => Some((Sql::wrap("pg_catalog.to_char((", sql, ")::pg_catalog.timestamp, 'YYYY-MM-DD')"), Form::Text)),
        _ if has_fixed_text(catalog, ty) => Some((sql, Form::Text)),
        _ => None,
    }
}

/// The type of arithmetic over two numbers, as PostgreSQL resolves it.
pub(super) fn promote(a: Oid, b: Oid) -> Oid {
    let rank = |t: Oid| match t {
        INT2 => 0,
        INT4 => 1,
        INT8 => 2,
        NUMERIC => 3,
        FLOAT4 => 4,
        _ => 5,
    };
    match (a, b) {
        _ if a == b => a,
        (FLOAT4 | FLOAT8, _) | (_, FLOAT4 | FLOAT8) => FLOAT8,
        _ if rank(a) > rank(b) => a,
        _ => b,
    }
}
