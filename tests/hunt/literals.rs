//! Types that generated expressions are of, with literals: ordinary ones and ones at the edges.

/// A type: OID, name, its array's OID (0 = none that is used), literals.
pub struct Type {
    /// `pg_type.oid`.
    pub oid: u32,
    /// As it stands in a cast.
    pub name: &'static str,
    /// `pg_type.typarray`, when arrays of it are used.
    pub array: u32,
    /// Texts that its input function takes.
    pub literals: &'static [&'static str],
}

const fn of(oid: u32, name: &'static str, array: u32, literals: &'static [&'static str]) -> Type {
    Type { oid, name, array, literals }
}

/// OIDs of pg_type.dat.
pub const TYPES: &[Type] = &[
    of(16, "bool", 0, &["t", "f"]),
    of(17, "bytea", 0, &["\\x00ff", "", "abc"]),
    of(18, "\"char\"", 0, &["x", ""]),
    of(19, "name", 0, &["id", "person", ""]),
    of(20, "int8", 0, &["0", "1", "-5", "9223372036854775807"]),
    of(21, "int2", 0, &["0", "1", "-3", "32767"]),
    of(23, "int4", 1007, &["0", "1", "2", "-1", "7", "2147483647", "100"]),
    of(25, "text", 1009, &["", "a", "S%", "12", "Bonn", "(", "[0-9]+", "{\"a\": 1}", "x,y"]),
    of(26, "oid", 0, &["0", "1259", "16384", "25"]),
    of(114, "json", 0, &["{}", "[1, 2]", "{\"a\": {\"b\": 1}}", "null"]),
    of(142, "xml", 0, &["<a>1</a>", "x"]),
    of(600, "point", 0, &["(1,2)", "(0,0)"]),
    of(603, "box", 0, &["(1,1),(0,0)"]),
    of(650, "cidr", 0, &["10.0.0.0/8"]),
    of(700, "float4", 0, &["0", "1.5", "NaN", "3e38"]),
    of(701, "float8", 0, &["0", "1.5", "-2", "NaN", "Infinity", "1e300"]),
    of(790, "money", 0, &["1.50", "-3"]),
    of(829, "macaddr", 0, &["08:00:2b:01:02:03"]),
    of(869, "inet", 0, &["10.1.2.3", "::1"]),
    of(1007, "int4[]", 0, &["{}", "{1,2}", "{NULL}", "{{1,2},{3,4}}"]),
    of(1009, "text[]", 0, &["{}", "{a,b}", "{NULL}"]),
    of(1042, "bpchar", 0, &["a", "  b "]),
    of(1043, "varchar", 0, &["a", "12", ""]),
    of(1082, "date", 0, &["2020-02-29", "infinity", "4713-01-01 BC"]),
    of(1083, "time", 0, &["12:34:56.7", "24:00"]),
    of(1114, "timestamp", 0, &["2020-02-29 12:00", "infinity", "294276-12-31"]),
    of(1184, "timestamptz", 0, &["2020-02-29 12:00+00", "-infinity"]),
    of(1186, "interval", 0, &["1 day", "-1 mon", "178000000 years", "0"]),
    of(1231, "numeric[]", 0, &["{}", "{1.5,NaN}"]),
    of(1266, "timetz", 0, &["12:34+02"]),
    of(1560, "bit", 0, &["1", "0"]),
    of(1562, "varbit", 0, &["101", ""]),
    of(1700, "numeric", 1231, &["0", "1", "-0.5", "NaN", "1e100", "99999999.99"]),
    of(2950, "uuid", 0, &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    of(3614, "tsvector", 0, &["fat:2 cat:1", ""]),
    of(3615, "tsquery", 0, &["fat & cat", "!x"]),
    of(3802, "jsonb", 0, &["{}", "{\"a\": 3}", "[1, null]", "\"S\"", "1"]),
    of(3904, "int4range", 0, &["[1,5)", "empty", "(,)"]),
    of(3906, "numrange", 0, &["[1,5)", "empty"]),
    of(3910, "tstzrange", 0, &["[2001-01-01,)"]),
    of(4072, "jsonpath", 0, &["$.a", "strict $.a", "$[*] ? (@ > 1)"]),
    of(4451, "int4multirange", 0, &["{[1,3)}", "{}"]),
];

/// A type by its OID.
pub fn known(oid: u32) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.oid == oid)
}
