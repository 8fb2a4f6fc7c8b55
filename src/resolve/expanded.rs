//! Arrays taken apart into rows in a select list, as clients read the columns of keys and indexes: `unnest` and `generate_subscripts` (PostgreSQL
//! manual, 9.19 and 9.26), and `information_schema._pg_expandarray`, whose rows are of an element `x` and its number `n`
//! (information_schema.sql).
//!
//! In: the arguments' types; a field of the result. Out: their types, where it never raises. Must never: be said of what may: the numbers of
//! `_pg_expandarray` overflow for bounds that somebody may have chosen.

use super::expression::{Type, oid};
use crate::catalog::Catalog;
use crate::sql::{NodeEnum, names, pb};
use crate::types::Oid;

/// `int2vector` and its element (pg_type.dat). Its values count from 0 (int2vectorin).
const INT2VECTOR: Oid = Oid(22);
const INT2: Oid = Oid(21);
/// The same of `oidvector`.
const ELEMENT_OF_OIDVECTOR: Oid = super::alias::OID;

/// Stand for the rows that come of the two within the resolver. No type has such an OID: the system's begin with 16 (pg_type.dat).
const ROW_OF_INT2VECTOR: Oid = Oid(1);
const ROW_OF_OIDVECTOR: Oid = Oid(2);

/// What a call gives for arguments of these types; `None`: it is of another function, or may raise.
pub(super) fn result(call: &pb::FuncCall, types: &[Type], catalog: &Catalog) -> Option<Type> {
    let plain = call.agg_order.is_empty()
        && call.agg_filter.is_none()
        && call.over.is_none()
        && !call.agg_star
        && !call.agg_distinct
        && !call.func_variadic;
    let name = names::parts(&call.funcname).filter(|_| plain)?;
    let element = |array: Oid| {
        let info = catalog.types.get(&array).filter(|info| info.category == 'A' && info.kind == 'b');
        info.map(|info| info.element).filter(|element| element.0 != 0 && !super::alias::is_alias(*element))
    };
    match (name.as_slice(), types) {
        (["information_schema", "_pg_expandarray"], [Type::Known(INT2VECTOR)]) => Some(Type::Known(ROW_OF_INT2VECTOR)),
        (["information_schema", "_pg_expandarray"], [Type::Known(oid::OIDVECTOR)]) => {
            Some(Type::Known(ROW_OF_OIDVECTOR))
        }
        (["unnest"] | ["pg_catalog", "unnest"], [Type::Known(array)]) => element(*array).map(Type::Known),
        (
            ["generate_subscripts"] | ["pg_catalog", "generate_subscripts"],
            [Type::Known(array), Type::Known(oid::INT4)],
        ) => element(*array).map(|_| Type::Known(oid::INT4)),
        _ => None,
    }
}

/// The type of the one field that an indirection asks for of such a row.
pub(super) fn field(of: Type, indirection: &[pb::Node]) -> Option<Type> {
    let [pb::Node { node: Some(NodeEnum::String(name)) }] = indirection else { return None };
    match (of, name.sval.as_str()) {
        (Type::Known(ROW_OF_INT2VECTOR), "x") => Some(Type::Known(INT2)),
        (Type::Known(ROW_OF_OIDVECTOR), "x") => Some(Type::Known(ELEMENT_OF_OIDVECTOR)),
        (Type::Known(ROW_OF_INT2VECTOR | ROW_OF_OIDVECTOR), "n") => Some(Type::Known(oid::INT4)),
        _ => None,
    }
}

/// A column's type for whoever is not the resolver.
pub(super) fn told(type_oid: Option<Oid>) -> Option<Oid> {
    type_oid.filter(|oid| !matches!(*oid, ROW_OF_INT2VECTOR | ROW_OF_OIDVECTOR))
}
