//! Expressions: every node is walked, every function and type checked, and what the barrier decision needs is worked out: the type,
//! whether evaluation can raise, and whose rows it looks at.

use super::alias::{OID, no_alias_array, no_alias_mix};
use super::calls::value_function_type;
use super::near::{self, Near};
use super::scope::{Found, Item, Scope};
use super::{Replacement, Resolver};
use crate::catalog::functions::FIRST_NORMAL_OID;
use crate::error::{Family, Refusal, SqlState};
use crate::sql::{NodeEnum, names, pb, walk};
use crate::types::Oid;
use std::collections::BTreeSet;

/// Types named in this file (`pg_type.dat`).
pub(super) mod oid {
    use crate::types::Oid;
    pub const BOOL: Oid = Oid(16);
    pub const INT8: Oid = Oid(20);
    pub const INT4: Oid = Oid(23);
    pub const TEXT: Oid = Oid(25);
    pub const XID: Oid = Oid(28);
    pub const OIDVECTOR: Oid = Oid(30);
    pub const TEXT_ARRAY: Oid = Oid(1009);
    pub const DATE: Oid = Oid(1082);
    pub const TIME: Oid = Oid(1083);
    pub const TIMESTAMP: Oid = Oid(1114);
    pub const TIMESTAMPTZ: Oid = Oid(1184);
    pub const TIMETZ: Oid = Oid(1266);
    pub const NUMERIC: Oid = Oid(1700);
}

/// Type of an operand, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Known.
    Known(Oid),
    /// A quoted literal or untyped parameter: takes the other operand's type when the statement is analyzed.
    Literal,
    /// Not worked out.
    Unclear,
}

/// What is known of an expression.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub type_oid: Type,
    /// Evaluation never raises, on any row.
    pub total: bool,
    /// Relation uses whose rows it looks at, of this level or outer ones.
    pub touches: BTreeSet<i32>,
    /// Holds an aggregate of this level: evaluated after grouping.
    pub aggregates: bool,
    /// Something in it may raise that is no part of an aggregate: it runs on groups, but the planner may try it on statistics.
    pub loose: bool,
    /// Made of constants, parameters and unmasked columns of one relation use at this level: may be copied below a barrier.
    pub pushable: bool,
    /// Looks at a masked column.
    pub masked: bool,
    /// What is known of the value.
    pub near: Option<Near>,
}

impl Facts {
    pub(super) fn constant(type_oid: Type) -> Self {
        Facts {
            type_oid,
            total: true,
            touches: BTreeSet::new(),
            aggregates: false,
            loose: false,
            pushable: true,
            masked: false,
            near: None,
        }
    }

    /// Combines the facts of parts into those of a whole that computes nothing itself.
    pub(super) fn of_parts(parts: &[Facts], type_oid: Type) -> Self {
        Facts {
            type_oid,
            total: parts.iter().all(|p| p.total),
            touches: parts.iter().flat_map(|p| p.touches.iter().copied()).collect(),
            aggregates: parts.iter().any(|p| p.aggregates),
            loose: parts.iter().any(|p| p.loose),
            pushable: parts.iter().all(|p| p.pushable),
            masked: parts.iter().any(|p| p.masked),
            near: None,
        }
    }

    pub(super) fn but(self, total: bool) -> Self {
        Facts { total: self.total && total, pushable: self.pushable && total, loose: self.loose || !total, ..self }
    }
}

impl Resolver<'_, '_> {
    /// Walks an optional boxed expression.
    pub(super) fn optional(
        &mut self,
        node: &mut Option<Box<pb::Node>>,
        scope: &Scope<'_>,
    ) -> Result<Option<Facts>, Refusal> {
        node.as_deref_mut().map(|n| self.expression(n, scope)).transpose()
    }

    pub(super) fn each(&mut self, nodes: &mut [pb::Node], scope: &Scope<'_>) -> Result<Vec<Facts>, Refusal> {
        nodes.iter_mut().map(|n| self.expression(n, scope)).collect()
    }

    /// Walks one expression.
    ///
    /// # Errors
    /// 0A000 for node kinds that are not known; 42883, 42704, 42501 for names.
    pub(super) fn expression(&mut self, node: &mut pb::Node, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        let listed = self.row_is_listed.then(|| super::select::star_columns(node, scope)).flatten();
        let facts = self.walked(node, scope)?;
        // A star that is listed computes nothing but its columns.
        self.raises |= match listed {
            Some(columns) => columns.is_none_or(|columns| columns.iter().any(|c| !c.total)),
            None => facts.loose,
        };
        Ok(facts)
    }

    fn walked(&mut self, node: &mut pb::Node, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        use NodeEnum as N;
        let Some(kind) = &mut node.node else {
            // An empty node stands for an omitted part (`FILTER`-less list items, a missing CASE argument).
            return Ok(Facts::constant(Type::Unclear).but(false));
        };
        match kind {
            N::AConst(c) => Ok(Facts { near: near::constant(c), ..Facts::constant(constant_type(c)) }),
            // PostgreSQL refuses it where no column says what it stands for.
            N::SetToDefault(_) => Ok(Facts::constant(Type::Unclear).but(false)),
            N::CurrentOfExpr(_) => {
                Err(Refusal::unsupported("WHERE CURRENT OF is not supported").with_hint("Name the row by its key."))
            }
            N::ParamRef(p) => {
                if p.number < 1 {
                    return Err(Refusal::new(
                        Family::Caller,
                        SqlState("42P02"),
                        format!("there is no parameter ${}", p.number),
                    )
                    .at(p.location));
                }
                let declared =
                    usize::try_from(p.number).ok().and_then(|n| n.checked_sub(1)).and_then(|n| self.params.get(n));
                Ok(match declared {
                    Some(oid) if oid.0 != 0 => Facts::constant(Type::Known(*oid)),
                    // Another mention may have given it a type under which this one is converted on every row.
                    _ if self.repeated.contains(&i64::from(p.number)) => Facts::constant(Type::Unclear).but(false),
                    _ => Facts::constant(Type::Literal),
                })
            }
            N::ColumnRef(c) => self.column(c, scope),
            N::SqlvalueFunction(f) => {
                if let Some(replacement) = self.value_function(f) {
                    self.replace(f.location, replacement)?;
                }
                let kind = value_function_type(f.op);
                let near = near::is_moment(kind).then_some(Near::Clock(0));
                Ok(Facts { near, ..Facts::constant(kind) }.but(kind != Type::Unclear))
            }
            N::BoolExpr(b) => {
                let parts = self.each(&mut b.args, scope)?;
                Ok(Facts::of_parts(&parts, Type::Known(oid::BOOL)))
            }
            N::NullTest(t) => {
                let parts: Vec<_> = self.optional(&mut t.arg, scope)?.into_iter().collect();
                Ok(Facts::of_parts(&parts, Type::Known(oid::BOOL)))
            }
            N::BooleanTest(t) => {
                let parts: Vec<_> = self.optional(&mut t.arg, scope)?.into_iter().collect();
                let boolean = parts.iter().all(|p| p.type_oid == Type::Known(oid::BOOL));
                Ok(Facts::of_parts(&parts, Type::Known(oid::BOOL)).but(boolean))
            }
            N::AExpr(e) => self.operation(e, scope),
            N::CoalesceExpr(c) => {
                let parts = self.each(&mut c.args, scope)?;
                no_alias_mix(&parts, c.location)?;
                let common = common_type(&parts);
                Ok(Facts::of_parts(&parts, common).but(common != Type::Unclear))
            }
            N::CaseExpr(c) => {
                let simple = c.arg.is_none();
                let mut parts: Vec<_> = self.optional(&mut c.arg, scope)?.into_iter().collect();
                let mut results = Vec::new();
                for arm in &mut c.args {
                    let Some(N::CaseWhen(when)) = &mut arm.node else {
                        return Err(Refusal::internal("a CASE holds something other than WHEN"));
                    };
                    parts.extend(self.optional(&mut when.expr, scope)?);
                    results.extend(self.optional(&mut when.result, scope)?);
                }
                results.extend(self.optional(&mut c.defresult, scope)?);
                no_alias_mix(&results, c.location)?;
                no_alias_mix(&parts, c.location)?;
                let common = common_type(&results);
                parts.append(&mut results);
                Ok(Facts::of_parts(&parts, common).but(simple && common != Type::Unclear))
            }
            N::TypeCast(cast) => self.cast(cast, scope),
            N::FuncCall(call) => self.call(call, scope),
            N::SubLink(link) => self.sublink(link, scope),
            N::AIndirection(indirection) if matches!(indirection.indirection.as_slice(), [one] if matches!(one.node, Some(N::String(_)))) =>
            {
                let of = self.optional(&mut indirection.arg, scope)?.unwrap_or_else(|| Facts::constant(Type::Unclear));
                no_alias_mix(&[of.clone(), Facts::constant(Type::Unclear)], -1)?;
                let field = super::expanded::field(of.type_oid, &indirection.indirection);
                let facts = Facts { type_oid: field.unwrap_or(Type::Unclear), pushable: false, ..of };
                Ok(facts.but(field.is_some()))
            }
            N::AArrayExpr(array) if !array.elements.is_empty() => {
                let parts = self.each(&mut array.elements, scope)?;
                no_alias_mix(&parts, array.location)?;
                no_alias_array(&parts, array.location)?;
                let of = match common_type(&parts) {
                    Type::Known(element) => self.sight.catalog.types.get(&element).map(|t| t.array),
                    Type::Literal | Type::Unclear => None,
                };
                let of = of.filter(|array| array.0 != 0);
                Ok(Facts::of_parts(&parts, of.map_or(Type::Unclear, Type::Known)).but(of.is_some()))
            }
            N::SortBy(sort) => {
                let key = self.optional(&mut sort.node, scope)?.unwrap_or_else(|| Facts::constant(Type::Unclear));
                let ordered = sort.use_op.is_empty() && self.is_ordered(key.type_oid);
                Ok(Facts { type_oid: Type::Unclear, pushable: false, near: None, ..key }.but(ordered))
            }
            N::AArrayExpr(_)
            | N::RowExpr(_)
            | N::List(_)
            | N::CaseWhen(_)
            | N::MinMaxExpr(_)
            | N::XmlExpr(_)
            | N::XmlSerialize(_)
            | N::AIndirection(_)
            | N::AIndices(_)
            | N::AStar(_)
            | N::String(_)
            | N::CollateClause(_)
            | N::GroupingFunc(_)
            | N::GroupingSet(_)
            | N::NamedArgExpr(_)
            | N::WindowDef(_)
            | N::ResTarget(_)
            | N::JsonIsPredicate(_) => {
                if let N::XmlSerialize(x) = kind
                    && let Some(name) = &x.type_name
                {
                    self.plain_type_name(name)?;
                }
                if let N::CollateClause(clause) = kind {
                    self.sight.collation(&clause.collname, clause.location)?;
                }
                if let N::NamedArgExpr(named) = kind {
                    super::names::check_plain(&named.name, "names of arguments", named.location)?;
                }
                let grouping = matches!(kind, N::GroupingFunc(_));
                let mut parts = Vec::new();
                walk::children(kind, &mut |child| {
                    parts.push(self.expression(child, scope)?);
                    Ok(())
                })?;
                no_alias_mix(&parts, -1)?;
                let mut facts = Facts::of_parts(&parts, Type::Unclear).but(false);
                facts.aggregates |= grouping;
                Ok(facts)
            }
            other => Err(walk::unsupported(other)),
        }
    }

    /// A column reference: resolved as far as the barrier decision needs; PostgreSQL itself reports unknown names, against the policy
    /// views, which hold nothing that may not be seen.
    fn column(&mut self, c: &pb::ColumnRef, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        let star = matches!(c.fields.last().map(|f| &f.node), Some(Some(NodeEnum::AStar(_))));
        let named = if star { c.fields.get(..c.fields.len().saturating_sub(1)).unwrap_or_default() } else { &c.fields };
        let parts = names::parts(named).unwrap_or_default();
        let opaque = |this: &Self, touches: BTreeSet<i32>| Facts {
            type_oid: Type::Unclear,
            total: false,
            masked: this.masks_any(&touches),
            touches,
            aggregates: false,
            loose: true,
            pushable: false,
            near: None,
        };
        // `database.schema.relation.column` and `schema.relation.column` lose their prefix: a policy view has no schema.
        let mut path = parts.clone();
        if path.len().saturating_add(usize::from(star)) == 4
            && path.first() == Some(&self.sight.session.database.as_str())
        {
            path.remove(0);
        }
        if path.len().saturating_add(usize::from(star)) == 3
            && let [schema, relation, ..] = path.as_slice()
            && scope.by_schema(schema, relation).is_some()
        {
            let mut shorter: Vec<String> = path.iter().skip(1).map(|p| (*p).to_owned()).collect();
            path.remove(0);
            if star {
                shorter.push("*".to_owned());
            }
            self.resolved.columns.insert(c.location, shorter);
        }
        let listed = std::mem::take(&mut self.row_is_listed);
        self.needs.met(c.location);
        if star {
            if path.is_empty() {
                self.needs.whole(&scope.items);
            }
            let touches = match path.as_slice() {
                [item] => match scope.qualified(item, "*") {
                    Found::Row { item } | Found::Column { item, .. } => {
                        if !listed {
                            self.row_is_named(item, c.location)?;
                        }
                        item.uses.as_ref().clone()
                    }
                    Found::Unknown | Found::Nothing => scope.all_uses(),
                },
                _ => scope.all_uses(),
            };
            self.star_of(c, &path, scope)?;
            return Ok(opaque(self, touches));
        }
        let found = match path.as_slice() {
            [name] => scope.unqualified(name),
            [item, name] => scope.qualified(item, name),
            _ => Found::Unknown,
        };
        match (&found, path.as_slice()) {
            (Found::Column { .. }, _) | (Found::Row { .. }, [_]) | (Found::Unknown, [_, _]) => {}
            (Found::Unknown, [name]) if scope.explains(name) => {}
            (Found::Row { .. } | Found::Unknown | Found::Nothing, _) => self.needs.unknown(),
        }
        // Policy views have no system columns; temporary tables stand bare.
        if !self.resolved.temporaries.is_empty()
            && !matches!(found, Found::Column { .. })
            && let Some(name) = path.last().filter(|name| super::scratch::is_system_column(name))
        {
            let text = format!("column \"{name}\" does not exist");
            return Err(Refusal::new(Family::Caller, SqlState("42703"), text).at(c.location));
        }
        self.beside_target(c, &path, &found, scope)?;
        if matches!(found, Found::Row { .. } | Found::Nothing)
            && let Some(catalog) = self.catalog_of(&path, scope)
        {
            // System columns do not exist, but of a system catalog its own OID is known to everyone, and psql compares it with `classoid`.
            let (catalog, outer) = catalog;
            if let Some(item) = outer {
                let text = format!("CASE WHEN {item}.oid IS NOT NULL THEN '{catalog}'::pg_catalog.oid END");
                self.replace(c.location, Replacement::Guard(text.into()))?;
                return Ok(opaque(self, scope.all_uses()));
            }
            let value = Some(catalog.to_string());
            self.replace(c.location, Replacement::Constant { value, type_name: "oid", array: false })?;
            return Ok(Facts::constant(Type::Known(OID)));
        }
        Ok(match found {
            Found::Column { column, depth, .. } => Facts {
                masked: column.masked,
                type_oid: column.type_oid.map_or(Type::Unclear, Type::Known),
                total: column.total && column.type_oid.is_some(),
                touches: column.uses.as_ref().clone(),
                aggregates: false,
                loose: !column.total || column.type_oid.is_none(),
                pushable: depth == 0 && column.base.is_some(),
                near: None,
            },
            Found::Row { item } => {
                if !listed {
                    self.row_is_named(item, c.location)?;
                }
                let shown = item.columns.iter().flatten().any(|c| c.masked);
                let facts = opaque(self, item.uses.as_ref().clone());
                Facts { masked: facts.masked || shown, ..facts }
            }
            Found::Unknown => opaque(self, scope.all_uses()),
            Found::Nothing => {
                self.resolved.lacks_column = true;
                opaque(self, scope.all_uses())
            }
        })
    }

    /// A whole row has the names of its relation's columns, whatever an alias calls them; that of a policy view has the alias's.
    fn row_is_named(&self, item: &Item, location: i32) -> Result<(), Refusal> {
        let mut uses = item.uses.iter();
        let relation = uses.next().and_then(|use_| self.resolved.relations.get(use_));
        let (Some(relation), None) = (relation, uses.next()) else { return Ok(()) };
        let own = &relation.permitted.decision().columns;
        let shown: Vec<&str> = item.columns.iter().flatten().map(|c| c.name.as_str()).collect();
        let renamed = relation.alias == item.name
            && own.len() == shown.len()
            && own.iter().zip(shown).any(|(own, shown)| own.name != shown);
        if !renamed {
            return Ok(());
        }
        Err(Refusal::unsupported("a whole row of a relation whose columns are renamed is not supported")
            .with_hint("Leave the names of the columns out of the alias, or name the columns one by one.")
            .at(location))
    }

    /// The OID of the system catalog whose `tableoid` a reference names, and its quoted name in this query where an outer join can make
    /// it NULL.
    fn catalog_of(&self, path: &[&str], scope: &Scope<'_>) -> Option<(Oid, Option<String>)> {
        let items = match path {
            ["tableoid"] => scope.items.iter().collect::<Vec<_>>(),
            [item, "tableoid"] => scope.items.iter().filter(|i| i.name == **item).collect(),
            _ => return None,
        };
        let [item] = items.as_slice() else { return None };
        let mut uses = item.uses.iter();
        let (Some(use_), None) = (uses.next(), uses.next()) else { return None };
        let relation = self.resolved.relations.get(use_)?;
        let decision = relation.permitted.decision();
        // The catalog itself, not a sub-select over it.
        let columns = item.columns.iter().flatten().map(|c| c.name.as_str());
        if relation.alias != item.name || !columns.eq(decision.columns.iter().map(|c| c.name.as_str())) {
            return None;
        }
        let own = decision.remote.schema == "pg_catalog" && decision.oid.0 < FIRST_NORMAL_OID;
        let keyed = decision.columns.iter().any(|c| c.name == "oid");
        let outer = item.nullable.then(|| crate::types::quote_ident(&item.name));
        (own && (keyed || outer.is_none())).then_some((decision.oid, outer))
    }

    /// The collation of a plain column reference; none for anything else.
    pub(super) fn collation_at(&self, node: &pb::Node, scope: &Scope<'_>) -> Oid {
        let Some(NodeEnum::ColumnRef(c)) = &node.node else { return Oid(0) };
        let parts = names::parts(&c.fields).unwrap_or_default();
        let found = match parts.as_slice() {
            [name] => scope.unqualified(name),
            [item, name] => scope.qualified(item, name),
            _ => return Oid(0),
        };
        match found {
            Found::Column { column, .. } => self.collation_of(column),
            Found::Row { .. } | Found::Unknown | Found::Nothing => Oid(0),
        }
    }

    /// The collation of a column that comes from one relation under its own name.
    pub(super) fn collation_of(&self, column: &super::scope::Column) -> Oid {
        let mut uses = column.uses.iter();
        let (Some(use_), None) = (uses.next(), uses.next()) else { return Oid(0) };
        let relation =
            self.resolved.relations.get(use_).and_then(|r| r.permitted.decision().relation(self.sight.catalog));
        let found = relation.and_then(|r| r.columns.iter().find(|c| c.name == column.name));
        found.map_or(Oid(0), |c| c.collation)
    }

    /// Casts: a literal is read when the statement is analyzed; others run on every row.
    fn cast(&mut self, cast: &mut pb::TypeCast, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        let Some(name) = &cast.type_name else {
            return Err(Refusal::internal("a cast without a type"));
        };
        let as_oid = std::mem::take(&mut self.wants_oid);
        let target = self.type_name(name)?;
        if let Some(alias) = Self::reg_type(name) {
            if !name.array_bounds.is_empty() {
                return self.reg_array_cast(&alias, cast, scope);
            }
            return self.reg_cast(&alias, cast, scope, as_oid);
        }
        // Between a computed name and a number stands the object's OID, not its name.
        self.wants_oid =
            matches!(target, Some(OID | oid::INT4 | oid::INT8)) && cast.arg.as_deref().is_some_and(Self::is_reg_cast);
        let literal = matches!(
            cast.arg.as_deref().and_then(|a| a.node.as_ref()),
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_))
        );
        let number = matches!(cast.arg.as_deref().and_then(|a| a.node.as_ref()), Some(NodeEnum::AConst(c))
            if !matches!(c.val, Some(pb::a_const::Val::Sval(_)) | None));
        let inner = self.optional(&mut cast.arg, scope)?.unwrap_or_else(|| Facts::constant(Type::Unclear).but(false));
        let ty = target.map_or(Type::Unclear, Type::Known);
        let from = match inner.type_oid {
            Type::Known(from) => Some(Some(from)),
            // The target type's input function.
            Type::Literal => None,
            Type::Unclear => Some(None),
        };
        if let (Some(from), Some(to)) = (from, target)
            && self.sight.catalog.unvouched_cast(from, to)
        {
            return Err(Refusal::denied("permission denied for a cast whose function nobody vouches for")
                .with_hint("An administrator can vouch for the function in the configuration.")
                .at(cast.location));
        }
        let total = match (inner.type_oid, target) {
            // Domains carry checks, which run at execution.
            (_, Some(to)) if self.is_domain(to) => false,
            (Type::Literal, Some(_)) if literal && name.typmods.is_empty() => true,
            (Type::Known(from), Some(to)) if from == to && name.typmods.is_empty() => true,
            (Type::Known(from), Some(to)) => {
                !number && name.typmods.is_empty() && self.sight.catalog.cast_is_total(from, to)
            }
            _ => false,
        };
        let near = match inner.near {
            Some(near @ Near::Clock(_)) if name.typmods.is_empty() && near::is_moment(ty) => Some(near),
            _ if literal && near::is_interval(target) => near::interval(cast),
            _ => None,
        };
        let total = total || near.is_some();
        Ok(Facts { type_oid: ty, near, ..inner }.but(total))
    }

    /// Whether values of a type are sorted and grouped without raising.
    pub(super) fn is_ordered(&self, kind: Type) -> bool {
        matches!(kind, Type::Known(oid) if self.sight.catalog.is_ordered(oid))
    }

    fn is_domain(&self, oid: Oid) -> bool {
        self.sight.catalog.types.get(&oid).is_none_or(|t| t.kind == 'd' || t.kind == 'c')
    }
}

fn constant_type(c: &pb::AConst) -> Type {
    use pb::a_const::Val;
    match &c.val {
        Some(Val::Ival(_)) => Type::Known(oid::INT4),
        // The lexer's "float" is any number that is not an int4; whole ones that fit are int8.
        Some(Val::Fval(f)) => Type::Known(if f.fval.parse::<i64>().is_ok() { oid::INT8 } else { oid::NUMERIC }),
        Some(Val::Boolval(_)) => Type::Known(oid::BOOL),
        Some(Val::Sval(_)) | None => Type::Literal,
        Some(Val::Bsval(_)) => Type::Unclear,
    }
}

/// Whether an expression has the same value each time it is evaluated on a row, and costs nothing: a column, a parameter, a constant.
pub(super) fn is_steady(node: &pb::Node) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => {
            column.fields.iter().all(|field| matches!(field.node, Some(NodeEnum::String(_))))
        }
        Some(NodeEnum::ParamRef(_) | NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => {
            cast.arg.as_deref().is_some_and(|arg| matches!(arg.node, Some(NodeEnum::AConst(_))))
        }
        _ => false,
    }
}

/// Columns of two collations other than the default cannot be compared (manual, 24.2.1). PostgreSQL says so when it comes to compare, which
/// depends on its plan and so on its statistics; here it is said always.
pub(super) fn no_conflict(left: Oid, right: Oid, location: i32) -> Result<(), Refusal> {
    let own = |collation: Oid| !matches!(collation.0, 0 | 100);
    if left == right || !own(left) || !own(right) {
        return Ok(());
    }
    Err(Refusal::new(
        crate::error::Family::Caller,
        crate::error::SqlState("42P22"),
        "could not determine which collation to use for string comparison",
    )
    .with_hint("Use the COLLATE clause to set the collation explicitly.")
    .at(location))
}

/// The one type all parts have, literals aside.
pub(super) fn common_type(parts: &[Facts]) -> Type {
    let mut common = Type::Literal;
    for part in parts {
        match (part.type_oid, common) {
            (Type::Unclear, _) => return Type::Unclear,
            (Type::Literal, _) => {}
            (Type::Known(oid), Type::Literal) => common = Type::Known(oid),
            (Type::Known(oid), Type::Known(known)) if oid == known => {}
            (Type::Known(_), _) => return Type::Unclear,
        }
    }
    if common == Type::Literal { Type::Known(oid::TEXT) } else { common }
}
