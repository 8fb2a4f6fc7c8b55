//! Operators in all their grammar forms: what they give, and whether they may raise.
//!
//! In: an operator's expression, which is walked with its operands. Out: its [`Facts`]. Must never: say of one that may raise that it does not.

use super::Resolver;
use super::alias::{OID, no_alias_mix, no_alias_operands};
use super::expression::{Facts, Type, no_conflict, oid};
use super::names::string_constant;
use super::near;
use super::scope::Scope;
use crate::error::{Family, Refusal, SqlState};
use crate::sql::{NodeEnum, names, pb};
use crate::types::Oid;

impl Resolver<'_, '_> {
    /// Operators in all their grammar forms.
    pub(super) fn operation(&mut self, e: &mut pb::AExpr, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        use pb::AExprKind as K;
        let parts = names::parts(&e.name).unwrap_or_default();
        let name = match parts.as_slice() {
            [one] | ["pg_catalog", one] => (*one).to_owned(),
            _ => {
                return Err(Refusal::new(
                    Family::Denied,
                    SqlState::UNDEFINED_FUNCTION,
                    format!("operator does not exist: {}", parts.join(".")),
                )
                .at(e.location));
            }
        };
        let pattern = e.rexpr.as_deref().and_then(string_constant).map(str::to_owned);
        let matched =
            e.rexpr.as_deref().and_then(|right| string_constant(of_default_collation(right))).map(str::to_owned);
        if let (Some(l), Some(r)) = (e.lexpr.as_deref(), e.rexpr.as_deref()) {
            let collations = (self.collation_at(l, scope), self.collation_at(r, scope));
            no_conflict(collations.0, collations.1, e.location)?;
        }
        if let Some(facts) = self.rows_compared(&name, e, scope)? {
            return Ok(facts);
        }
        // Two objects, or an object and an OID, are compared as OIDs. What is beside an object is looked at first.
        let object = |n: Option<&pb::Node>| n.is_some_and(Self::is_reg_cast);
        let objects = (object(e.lexpr.as_deref()), object(e.rexpr.as_deref()));
        let compared = matches!(name.as_str(), "=" | "<>" | "!=");
        let list = matches!(e.rexpr.as_deref(), Some(pb::Node { node: Some(NodeEnum::List(_)) }));
        let early = match objects {
            (true, false) if compared && !list => self.optional(&mut e.rexpr, scope)?,
            _ => None,
        };
        let oid = |facts: &Option<Facts>| facts.as_ref().is_some_and(|f| f.type_oid == Type::Known(OID));
        self.wants_oid = compared && objects.0 && (objects.1 || oid(&early));
        let left = self.optional(&mut e.lexpr, scope)?;
        self.wants_oid = compared && objects.1 && (objects.0 || oid(&left));
        let in_list = match e.rexpr.as_deref_mut() {
            Some(pb::Node { node: Some(NodeEnum::List(list)) }) => Some(self.each(&mut list.items, scope)?),
            _ => None,
        };
        let right = match in_list {
            Some(_) => None,
            None if early.is_some() => early,
            None => self.optional(&mut e.rexpr, scope)?,
        };
        let operands: Vec<Facts> = left.iter().chain(&right).chain(in_list.iter().flatten()).cloned().collect();
        let kind = K::try_from(e.kind).unwrap_or_default();
        no_alias_operands(&operands, kind, e.location)?;
        let boolean = Type::Known(oid::BOOL);
        let pair = |op: &str, l: &Facts, r: &Facts| self.operator_total(op, l.type_oid, r.type_oid);
        Ok(match (kind, left, right, in_list) {
            (K::AexprOp, Some(left), Some(_), None)
                if matched.as_deref().is_some_and(|pattern| match left.type_oid {
                    Type::Known(text) => self.sight.catalog.match_is_total(&name, text, pattern),
                    Type::Literal | Type::Unclear => false,
                }) =>
            {
                Facts { pushable: false, ..Facts::of_parts(&[left], boolean) }
            }
            (K::AexprOp, left, Some(right), None) => {
                let left_type = left.as_ref().map_or(Type::Known(Oid(0)), |l| l.type_oid);
                let total = self.operator_total(&name, left_type, right.type_oid);
                let result = self.operator_result(&name, left_type, right.type_oid);
                // What is computed of constants and the clock alone stays in range.
                if let Some(near) = near::operate(&name, left.as_ref(), &right, result)
                    && result != Type::Unclear
                {
                    let parts: Vec<_> = left.into_iter().chain([right]).collect();
                    return Ok(Facts { near, ..Facts::of_parts(&parts, result) });
                }
                let parts: Vec<_> = left.into_iter().chain([right]).collect();
                Facts::of_parts(&parts, result).but(total)
            }
            (K::AexprIn, Some(left), None, Some(items)) => {
                // Elements are brought to a common type; only lists of one type or plain literals are followed.
                let total =
                    items.iter().all(|item| pair("=", &left, item) && needs_no_cast(&left, item)) && uniform(&items);
                let parts: Vec<_> = std::iter::once(left).chain(items).collect();
                Facts::of_parts(&parts, boolean).but(total)
            }
            (K::AexprBetween | K::AexprNotBetween, Some(left), None, Some(bounds)) => {
                let total = bounds.iter().all(|b| pair("<=", &left, b) && pair(">=", &left, b));
                let parts: Vec<_> = std::iter::once(left).chain(bounds).collect();
                Facts::of_parts(&parts, boolean).but(total)
            }
            (K::AexprDistinct | K::AexprNotDistinct, Some(left), Some(right), None) => {
                let total = pair("=", &left, &right);
                Facts::of_parts(&[left, right], boolean).but(total)
            }
            (K::AexprLike | K::AexprIlike, Some(left), Some(right), None) => {
                let total = match (left.type_oid, &pattern) {
                    (Type::Known(text), Some(pattern)) => self.sight.catalog.like_is_total(&name, text, pattern),
                    _ => false,
                };
                Facts::of_parts(&[left, right], boolean).but(total)
            }
            (K::AexprOpAny | K::AexprOpAll, Some(left), Some(right), None) => {
                let element = match right.type_oid {
                    Type::Known(array) => self.element_of(array).map_or(Type::Unclear, Type::Known),
                    Type::Literal => Type::Literal,
                    Type::Unclear => Type::Unclear,
                };
                // There is no operator between "char" and text: it is the one of texts (manual, 10.2).
                let letters = left.type_oid == Type::Known(CHAR) && element == Type::Known(oid::TEXT);
                let total = if letters {
                    self.operator_total(&name, element, element)
                } else {
                    self.operator_total(&name, left.type_oid, element)
                };
                Facts::of_parts(&[left, right], boolean).but(total)
            }
            (_, left, right, items) => {
                let parts: Vec<_> = left.into_iter().chain(right).chain(items.into_iter().flatten()).collect();
                Facts::of_parts(&parts, Type::Unclear).but(false)
            }
        })
    }

    /// `(a, b) < (c, d)`, column by column (PostgreSQL manual, 9.25.5); `None` for anything else.
    fn rows_compared(&mut self, name: &str, e: &mut pb::AExpr, scope: &Scope<'_>) -> Result<Option<Facts>, Refusal> {
        let location = e.location;
        let (Some(left), Some(right)) = (e.lexpr.as_deref_mut(), e.rexpr.as_deref_mut()) else { return Ok(None) };
        let (Some(NodeEnum::RowExpr(left)), Some(NodeEnum::RowExpr(right))) = (&mut left.node, &mut right.node) else {
            return Ok(None);
        };
        if left.args.len() != right.args.len() || e.kind != pb::AExprKind::AexprOp as i32 {
            return Ok(None);
        }
        let (mut parts, mut total) = (Vec::new(), true);
        for (l, r) in left.args.iter_mut().zip(&mut right.args) {
            no_conflict(self.collation_at(l, scope), self.collation_at(r, scope), location)?;
            let pair = [self.expression(l, scope)?, self.expression(r, scope)?];
            no_alias_mix(&pair, location)?;
            let [l, r] = &pair;
            // One of them decides, and that by all the operators of its kind.
            total &= ["=", "<>", "<", "<=", ">", ">="].iter().all(|op| self.operator_total(op, l.type_oid, r.type_oid));
            parts.extend(pair);
        }
        let compared = matches!(name, "=" | "<>" | "<" | "<=" | ">" | ">=");
        Ok(Some(Facts::of_parts(&parts, Type::Known(oid::BOOL)).but(total && compared)))
    }

    fn element_of(&self, array: Oid) -> Option<Oid> {
        let info = self.sight.catalog.types.get(&array)?;
        (info.category == 'A' && info.element.0 != 0).then_some(info.element)
    }

    /// Whether the operator PostgreSQL would choose for these operands never raises.
    pub(super) fn operator_total(&self, name: &str, left: Type, right: Type) -> bool {
        let (left, right) = match (left, right) {
            (Type::Known(l), Type::Known(r)) => (l, r),
            // A literal takes the other operand's type and is read when the statement is analyzed.
            (Type::Known(l), Type::Literal) if l.0 != 0 => (l, l),
            (Type::Literal, Type::Known(r)) => (r, r),
            _ => return false,
        };
        self.sight.catalog.operator_is_total(name, left, right)
    }

    fn operator_result(&self, name: &str, left: Type, right: Type) -> Type {
        let (left, right) = match (left, right) {
            (Type::Known(l), Type::Known(r)) => (l, r),
            (Type::Known(l), Type::Literal) => (l, l),
            (Type::Literal, Type::Known(r)) => (r, r),
            _ => return Type::Unclear,
        };
        let exact = self
            .sight
            .catalog
            .operators
            .get(name)
            .and_then(|overloads| overloads.iter().find(|o| o.left == left && o.right == right).map(|o| o.result));
        match exact {
            Some(result) => Type::Known(result),
            None => Type::Unclear,
        }
    }
}

/// Whether an element of IN meets the left side without a conversion that could raise: of its type, a literal, or a smaller number.
fn needs_no_cast(left: &Facts, item: &Facts) -> bool {
    let whole = |t: Type| matches!(t, Type::Known(Oid(20 | 21 | 23)));
    item.type_oid == Type::Literal
        || item.type_oid == left.type_oid
        || (whole(item.type_oid) && (whole(left.type_oid) || left.type_oid == Type::Known(oid::NUMERIC)))
        // Its bits are taken as they are (pg_cast.dat).
        || (left.type_oid == Type::Known(OID) && item.type_oid == Type::Known(oid::INT4))
}

/// All of one type, or all literals.
pub(super) fn uniform(parts: &[Facts]) -> bool {
    let mut types = parts.iter().map(|p| p.type_oid);
    let first = types.next();
    types.all(|t| Some(t) == first)
}

/// What `COLLATE pg_catalog.default` is said of, as psql says it of its patterns; that collation is deterministic. Anything else is itself.
fn of_default_collation(node: &pb::Node) -> &pb::Node {
    match &node.node {
        Some(NodeEnum::CollateClause(clause))
            if names::parts(&clause.collname).as_deref() == Some(&["pg_catalog", "default"]) =>
        {
            clause.arg.as_deref().unwrap_or(node)
        }
        _ => node,
    }
}

/// `"char"` (pg_type.dat).
const CHAR: Oid = Oid(18);
