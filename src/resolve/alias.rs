//! OID aliases (`regclass`, `regtype`, …; PostgreSQL manual, 8.19) in expressions: casts to them, and what may stand beside them.
//!
//! In: a cast, as parsed. Out: the OID of a literal, or the guard of another expression. Must never: let the warehouse read or print the
//! name of an object that the caller does not see.

use super::expression::{Facts, Type, oid};
use super::names::string_constant;
use super::scope::Scope;
use super::{Replacement, Resolver};
use crate::catalog::guard;
use crate::catalog::reg::{self, List, Source};
use crate::catalog::sights::{Asked, Gives};
use crate::error::Refusal;
use crate::sql::{NodeEnum, names, pb};
use crate::types::Oid;
use std::collections::BTreeSet;

/// `oid` itself.
pub(super) const OID: Oid = Oid(26);

/// Types whose input reads the catalog and whose output prints its names (PostgreSQL manual, 8.19; pg_type.dat).
const ALIAS_OIDS: &[u32] = &[24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191];

/// Whether a type is one of the OID aliases.
pub fn is_alias(oid: Oid) -> bool {
    ALIAS_OIDS.contains(&oid.0)
}

/// Plain operators over an OID alias are those of `oid`; IN, BETWEEN and the like choose a common type first.
pub(super) fn no_alias_operands(parts: &[Facts], kind: pb::AExprKind, location: i32) -> Result<(), Refusal> {
    let literal = parts.iter().any(|p| p.type_oid == Type::Literal);
    if kind == pb::AExprKind::AexprOp && !literal { Ok(()) } else { no_alias_mix(parts, location) }
}

/// Beside an OID alias value of one type anything else may be converted to it by the warehouse: a string is read as an object's name, a
/// number printed as one, telling of hidden objects. Such places need casts, which are resolved as the caller sees the catalog.
pub(super) fn no_alias_mix(parts: &[Facts], location: i32) -> Result<(), Refusal> {
    let mut types = parts.iter().map(|p| p.type_oid);
    let Some(alias) = parts.iter().map(|p| p.type_oid).find(|t| matches!(t, Type::Known(oid) if is_alias(*oid))) else {
        return Ok(());
    };
    if types.all(|t| t == alias) {
        return Ok(());
    }
    Err(Refusal::unsupported("an object identifier beside a value of another type is not supported")
        .with_hint("Cast the identifier to oid or text, or the string (for instance to regclass).")
        .at(location))
}

/// Strings beside an array of OID aliases would be read as names, too.
pub(super) fn no_alias_array(parts: &[Facts], location: i32) -> Result<(), Refusal> {
    if !parts.iter().any(|p| matches!(p.type_oid, Type::Known(oid) if is_alias(oid))) {
        return Ok(());
    }
    Err(Refusal::unsupported("arrays of object identifiers are not supported")
        .with_hint("Cast the elements to oid or text.")
        .at(location))
}

/// Where the outermost SELECT list casts a literal to an alias: nothing is compared with it, so it is shown as the server prints it.
pub(super) fn shown(select: &pb::SelectStmt) -> BTreeSet<i32> {
    let cast = |target: &pb::Node| match &target.node {
        Some(NodeEnum::ResTarget(target)) => match target.val.as_deref().and_then(|v| v.node.as_ref()) {
            Some(NodeEnum::TypeCast(cast)) if cast.arg.as_deref().and_then(string_constant).is_some() => {
                Some(cast.location)
            }
            _ => None,
        },
        _ => None,
    };
    select.target_list.iter().filter_map(cast).collect()
}

impl Resolver<'_, '_> {
    /// Whether a node is a cast to an OID alias type.
    pub(super) fn is_reg_cast(node: &pb::Node) -> bool {
        match &node.node {
            Some(NodeEnum::TypeCast(cast)) => {
                cast.type_name.as_ref().is_some_and(|name| Self::reg_type(name).is_some())
            }
            _ => false,
        }
    }

    /// Whether an expression, walked already, is a call that is answered with NULL.
    fn is_nothing(&self, node: &pb::Node) -> bool {
        match &node.node {
            Some(NodeEnum::FuncCall(call)) => {
                let name = names::parts(&call.funcname).and_then(|parts| parts.last().copied());
                let guarded = matches!(self.resolved.calls.get(&call.location), Some(Replacement::Guard(_)));
                guarded && name.is_some_and(|name| guard::is_null(name, call.args.len()))
            }
            _ => false,
        }
    }

    /// Casts to `regclass` and its family: literals are resolved here, as the caller sees the catalog; others are guarded.
    pub(super) fn reg_cast(
        &mut self,
        alias: &str,
        cast: &mut pb::TypeCast,
        scope: &Scope<'_>,
        as_oid: bool,
    ) -> Result<Facts, Refusal> {
        let literal = cast.arg.as_deref().and_then(string_constant).map(str::to_owned);
        let inner = self.optional(&mut cast.arg, scope)?.unwrap_or_else(|| Facts::constant(Type::Unclear));
        let steady = cast.arg.as_deref().is_some_and(super::is_steady);
        let source = match cast.arg.as_deref() {
            Some(argument) if self.is_nothing(argument) => Source::Null,
            _ if steady && inner.type_oid == Type::Known(OID) => Source::Oid,
            _ => Source::Any,
        };
        // The server prints an OID that stands for nothing as a number, and NULL as nothing.
        let total = alias == "regclass" && source != Source::Any;
        let visibility = self.sight.told();
        let alias_oid =
            self.sight.catalog.type_names.get(&crate::types::QualifiedName::new("pg_catalog", alias)).copied();
        let type_oid = alias_oid.map_or(Type::Unclear, Type::Known);
        match literal {
            Some(text) => {
                let place = match cast.arg.as_deref().and_then(|a| a.node.as_ref()) {
                    Some(NodeEnum::AConst(c)) => c.location,
                    _ => cast.location,
                };
                let digits = reg::resolve_reg_literal(alias, &text, visibility).map_err(|r| r.at(place))?;
                if self.shown.contains(&cast.location)
                    && let Some(text) = reg::shown(alias, &digits, visibility)
                {
                    self.replace(cast.location, Replacement::Guard(text.into()))?;
                    return Ok(Facts::constant(Type::Known(oid::TEXT)));
                }
                // Names of parser and dictionary configurations keep their type: functions take them by it. Others become plain OIDs.
                let type_name = match alias {
                    "regconfig" => "regconfig",
                    "regdictionary" => "regdictionary",
                    "regcollation" => "regcollation",
                    "regoper" => "regoper",
                    "regoperator" => "regoperator",
                    _ => "oid",
                };
                let type_oid = if type_name == "oid" { Type::Known(OID) } else { type_oid };
                self.replace(cast.location, Replacement::Constant { value: Some(digits), type_name, array: false })?;
                Ok(Facts::constant(type_oid))
            }
            None if as_oid
                && let Some(template) = visibility
                    .template(Asked::Cast { alias: alias.to_owned(), source, gives: Gives::Oid }, || {
                        reg::oid_guard(alias, source, visibility)
                    }) =>
            {
                if let Some(argument) = cast.arg.as_deref() {
                    self.scalar_argument(argument, cast.location)?;
                }
                self.replace(cast.location, Replacement::Guard(template))?;
                Ok(Facts { type_oid: Type::Known(OID), ..inner }.but(total))
            }
            None => {
                let asked = Asked::Cast { alias: alias.to_owned(), source, gives: Gives::Text };
                // As text: an identifier would turn other values beside it into names.
                let make =
                    || reg::cast_guard(alias, source, visibility).map(|text| format!("({text})::pg_catalog.text"));
                let template = visibility.template(asked, make).ok_or_else(|| {
                    Refusal::unsupported(format!("casts to {alias} are not supported")).at(cast.location)
                })?;
                if let Some(argument) = cast.arg.as_deref() {
                    self.scalar_argument(argument, cast.location)?;
                }
                self.replace(cast.location, Replacement::Guard(template))?;
                Ok(Facts { type_oid: Type::Known(oid::TEXT), ..inner }.but(total))
            }
        }
    }

    /// Casts of arrays of OIDs or names to arrays of an alias: to the texts of the names, as a cast of each element.
    pub(super) fn reg_array_cast(
        &mut self,
        alias: &str,
        cast: &mut pb::TypeCast,
        scope: &Scope<'_>,
    ) -> Result<Facts, Refusal> {
        let location = cast.location;
        let refused = || Refusal::unsupported(format!("arrays of {alias} are not supported")).at(location);
        let literal = cast.arg.as_deref().and_then(string_constant).is_some();
        let inner = self.optional(&mut cast.arg, scope)?.unwrap_or_else(|| Facts::constant(Type::Unclear));
        let list = if inner.type_oid == Type::Known(oid::OIDVECTOR) { List::Vector } else { List::Array };
        let told = self.sight.told();
        let asked = Asked::Cast { alias: alias.to_owned(), source: Source::Any, gives: Gives::Texts(list) };
        let template = told.template(asked, || reg::array_guard(alias, list, told)).ok_or_else(refused)?;
        if literal {
            return Err(refused().with_hint("Write the array with ARRAY[…] or as an array of oid."));
        }
        if let Some(argument) = cast.arg.as_deref() {
            self.scalar_argument(argument, location)?;
        }
        self.replace(location, Replacement::Guard(template))?;
        Ok(Facts { type_oid: Type::Known(oid::TEXT_ARRAY), ..inner }.but(false))
    }
}
