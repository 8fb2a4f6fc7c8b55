//! Types as masks and predicates see them: well-known OIDs, the SQL text that names a type with its modifier, what may be served.
//!
//! In: a catalog, a type OID, a typmod. Out: text or a judgement. Must never: name a type that the catalog snapshot does not hold.

use crate::catalog::Catalog;
use crate::types::{Oid, quote_ident};

/// OIDs of `pg_catalog` base types; fixed by PostgreSQL (`pg_type.dat`).
#[allow(missing_docs)]
pub(crate) mod oids {
    use crate::types::Oid;
    pub(crate) const NONE: Oid = Oid(0);
    pub(crate) const BOOL: Oid = Oid(16);
    pub(crate) const BYTEA: Oid = Oid(17);
    pub(crate) const NAME: Oid = Oid(19);
    pub(crate) const INT8: Oid = Oid(20);
    pub(crate) const INT2: Oid = Oid(21);
    pub(crate) const INT2VECTOR: Oid = Oid(22);
    pub(crate) const INT4: Oid = Oid(23);
    pub(crate) const TEXT: Oid = Oid(25);
    pub(crate) const OIDVECTOR: Oid = Oid(30);
    pub(crate) const FLOAT4: Oid = Oid(700);
    pub(crate) const FLOAT8: Oid = Oid(701);
    /// The type of an untyped string literal.
    pub(crate) const UNKNOWN: Oid = Oid(705);
    pub(crate) const TEXT_ARRAY: Oid = Oid(1009);
    pub(crate) const BPCHAR: Oid = Oid(1042);
    pub(crate) const VARCHAR: Oid = Oid(1043);
    pub(crate) const DATE: Oid = Oid(1082);
    pub(crate) const TIME: Oid = Oid(1083);
    pub(crate) const TIMESTAMP: Oid = Oid(1114);
    pub(crate) const TIMESTAMPTZ: Oid = Oid(1184);
    pub(crate) const INTERVAL: Oid = Oid(1186);
    pub(crate) const TIMETZ: Oid = Oid(1266);
    pub(crate) const BIT: Oid = Oid(1560);
    pub(crate) const VARBIT: Oid = Oid(1562);
    pub(crate) const NUMERIC: Oid = Oid(1700);
    pub(crate) const UUID: Oid = Oid(2950);
}
use oids::*;

/// `VARHDRSZ`: what length-like typmods are shifted by.
const HEADER: i32 = 4;

/// text, varchar, bpchar, name.
pub(crate) fn is_text(oid: Oid) -> bool {
    [TEXT, VARCHAR, BPCHAR, NAME].contains(&oid)
}

/// int2, int4, int8.
pub(crate) fn is_int(oid: Oid) -> bool {
    [INT2, INT4, INT8].contains(&oid)
}

/// Any number with arithmetic: integers, numeric, floats.
pub(crate) fn is_number(oid: Oid) -> bool {
    is_int(oid) || [NUMERIC, FLOAT4, FLOAT8].contains(&oid)
}

/// date, timestamp, timestamptz.
pub(crate) fn is_instant(oid: Oid) -> bool {
    [DATE, TIMESTAMP, TIMESTAMPTZ].contains(&oid)
}

/// Anything whose text form or input depends on DateStyle or TimeZone.
pub(crate) fn is_temporal(oid: Oid) -> bool {
    is_instant(oid) || [TIME, TIMETZ, INTERVAL].contains(&oid)
}

/// Whether the text form (`::text`) depends on nothing but the value: no DateStyle, TimeZone, IntervalStyle, extra_float_digits,
/// bytea_output or lc_monetary, all of which a caller may set.
pub(crate) fn has_fixed_text(catalog: &Catalog, oid: Oid) -> bool {
    is_text(oid)
        || is_int(oid)
        || [NUMERIC, UUID, BOOL].contains(&oid)
        || catalog.types.get(&oid).is_some_and(|t| t.kind == 'e')
}

/// What a domain is over, at last; other types as they are.
pub(crate) fn base_type(catalog: &Catalog, mut oid: Oid) -> Oid {
    for _ in 0..16 {
        match catalog.types.get(&oid) {
            Some(info) if info.kind == 'd' => oid = info.base,
            _ => return oid,
        }
    }
    NONE
}

/// What a domain without any constraint is over, with its modifier: a cast to such a domain raises on no value. `None`: other types, and
/// domains with constraints.
pub(crate) fn plain_domain(catalog: &Catalog, oid: Oid) -> Option<(Oid, i32)> {
    let mut info = catalog.types.get(&oid).filter(|info| info.kind == 'd')?;
    let mut typmod = -1;
    for _ in 0..16 {
        match info.kind {
            'd' if info.is_constrained() => return None,
            // Only the innermost of nested domains can have a modifier (CREATE DOMAIN takes none over a domain).
            'd' => typmod = typmod.max(info.typmod),
            _ => return Some((info.oid, typmod)),
        }
        info = catalog.types.get(&info.base)?;
    }
    None
}

/// What an array is of. `int2vector` and `oidvector` are subscripted like arrays, and are none.
pub(crate) fn array_element(catalog: &Catalog, oid: Oid) -> Option<Oid> {
    let info = catalog.types.get(&oid)?;
    let array = info.category == 'A' && info.element != NONE && ![INT2VECTOR, OIDVECTOR].contains(&oid);
    array.then_some(info.element)
}

/// The type's name as SQL, with its modifier, always qualified. `None`: not in the catalog.
pub(crate) fn type_sql(catalog: &Catalog, oid: Oid, typmod: i32) -> Option<String> {
    let info = catalog.types.get(&oid)?;
    if let Some(element) = array_element(catalog, oid) {
        return Some(format!("{}[]", type_sql(catalog, element, typmod)?));
    }
    let name = format!("{}.{}", bare_or_quoted(&info.name.schema), quote_ident(&info.name.name));
    let modifier = if info.name.schema == "pg_catalog" { modifier_sql(oid, typmod) } else { String::new() };
    Some(name + &modifier)
}

fn bare_or_quoted(schema: &str) -> String {
    if schema == "pg_catalog" { schema.to_owned() } else { quote_ident(schema) }
}

/// `(n)`, `(p,s)` or nothing: the inverse of each type's typmodin function.
fn modifier_sql(oid: Oid, typmod: i32) -> String {
    if typmod < 0 {
        return String::new();
    }
    match oid {
        VARCHAR | BPCHAR if typmod >= HEADER => format!("({})", typmod - HEADER),
        NUMERIC if typmod >= HEADER => {
            let packed = typmod - HEADER;
            // numeric.c: precision in the high half, scale as 11-bit two's complement in the low half.
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            format!("({},{})", (packed >> 16) & 0xffff, scale)
        }
        TIME | TIMETZ | TIMESTAMP | TIMESTAMPTZ | BIT | VARBIT => format!("({typmod})"),
        INTERVAL => {
            // timestamp.c: INTERVAL_RANGE and INTERVAL_PRECISION; 0xffff = full precision.
            let (range, precision) = ((typmod >> 16) & 0x7fff, typmod & 0xffff);
            if precision == 0xffff { format!("({range})") } else { format!("({range},{precision})") }
        }
        _ => String::new(),
    }
}

/// Digits before the point and scale of a constrained numeric.
pub(crate) fn numeric_shape(typmod: i32) -> Option<(i32, i32)> {
    let packed = typmod.checked_sub(HEADER).filter(|p| *p >= 0)?;
    Some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

/// Why a column of this type cannot be served; `None` = it can. Served are the types of `pg_catalog` and what is built on them
/// (enums, domains, arrays, ranges, composites): their comparison and output come with the server, not with an extension.
pub(crate) fn unservable(catalog: &Catalog, oid: Oid) -> Option<String> {
    unservable_within(catalog, oid, 8)
}

fn unservable_within(catalog: &Catalog, oid: Oid, depth: u8) -> Option<String> {
    let Some(info) = catalog.types.get(&oid) else { return Some(format!("type {oid} is not in the catalog")) };
    let Some(deeper) = depth.checked_sub(1) else { return Some(format!("type {} is nested too deeply", info.name)) };
    match info.kind {
        'b' if info.category == 'A' && info.element != NONE => unservable_within(catalog, info.element, deeper),
        'b' if info.name.schema == "pg_catalog" => None,
        'b' => Some(format!("type {} is not one of the server's own", info.name)),
        'd' => unservable_within(catalog, info.base, deeper),
        'e' | 'c' | 'r' | 'm' => None,
        _ => Some(format!("{} is a pseudo-type", info.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::catalog;

    #[test]
    fn types_are_named_with_their_modifier() {
        let catalog = catalog();
        let cases = [
            (TEXT, -1, r#"pg_catalog."text""#),
            (VARCHAR, 14, r#"pg_catalog."varchar"(10)"#),
            (VARCHAR, -1, r#"pg_catalog."varchar""#),
            (BPCHAR, 9, r#"pg_catalog."bpchar"(5)"#),
            (NUMERIC, ((12 << 16) | 2) + 4, r#"pg_catalog."numeric"(12,2)"#),
            (NUMERIC, ((3 << 16) | (-2 & 0x7ff)) + 4, r#"pg_catalog."numeric"(3,-2)"#),
            (TIMESTAMPTZ, 3, r#"pg_catalog."timestamptz"(3)"#),
            (INTERVAL, (0x7fff << 16) | 2, r#"pg_catalog."interval"(32767,2)"#),
            (INT4, -1, r#"pg_catalog."int4""#),
            (TEXT_ARRAY, -1, r#"pg_catalog."text"[]"#),
        ];
        for (oid, typmod, expected) in cases {
            assert_eq!(type_sql(&catalog, oid, typmod).unwrap(), expected);
        }
        assert_eq!(numeric_shape(((12 << 16) | 2) + 4), Some((12, 2)));
        assert_eq!(type_sql(&catalog, Oid(4_000_000), -1), None);
    }

    #[test]
    fn extension_types_and_what_is_built_on_them_are_not_served() {
        let catalog = catalog();
        let by = |name: &str| catalog.types.values().find(|t| t.name.name == name).unwrap().oid;
        for name in ["text", "mood", "short_text", "jsonb", "_mood", "_text"] {
            assert_eq!(unservable(&catalog, by(name)), None, "{name}");
        }
        for name in ["citext", "_citext", "email"] {
            assert!(unservable(&catalog, by(name)).is_some(), "{name}");
        }
        assert!(unservable(&catalog, Oid(4_000_000)).is_some());
    }
}
