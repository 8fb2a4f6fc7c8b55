//! Statements made from the server's own catalog: every operator, every cast and every aggregate of `pg_catalog` over values of the types
//! that people use.

use tokio_postgres::Client;

/// A value of a type, as written.
const VALUES: &[(&str, &str)] = &[
    ("bool", "true"),
    ("int2", "'3'::int2"),
    ("int4", "7"),
    ("int8", "'9007199254740993'::int8"),
    ("float4", "'1.5'::float4"),
    ("float8", "'-2.25'::float8"),
    ("numeric", "12.340"),
    ("text", "'some text'::text"),
    ("varchar", "'some'::varchar"),
    ("bpchar", "'ab '::char(4)"),
    ("name", "'a_name'::name"),
    ("bytea", "'\\x00ff'::bytea"),
    ("date", "DATE '2024-02-29'"),
    ("time", "TIME '12:34:56.7'"),
    ("timetz", "TIMETZ '12:34:56+02'"),
    ("timestamp", "TIMESTAMP '2024-02-29 12:34:56'"),
    ("timestamptz", "TIMESTAMPTZ '2024-02-29 12:34:56+00'"),
    ("interval", "INTERVAL '1 mon 2 days 03:00'"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
    ("json", "'{\"a\": [1, 2]}'::json"),
    ("jsonb", "'{\"a\": [1, 2]}'::jsonb"),
    ("jsonpath", "'$.a'::jsonpath"),
    ("inet", "'10.1.2.3/24'::inet"),
    ("cidr", "'10.1.0.0/16'::cidr"),
    ("macaddr", "'08:00:2b:01:02:03'::macaddr"),
    ("money", "12.5::money"),
    ("bit", "B'101'"),
    ("varbit", "'1010'::varbit"),
    ("point", "'(1,2)'::point"),
    ("box", "'((0,0),(2,2))'::box"),
    ("circle", "'<(0,0),2>'::circle"),
    ("lseg", "'[(0,0),(1,1)]'::lseg"),
    ("path", "'((0,0),(1,1),(2,0))'::path"),
    ("polygon", "'((0,0),(1,1),(2,0))'::polygon"),
    ("tsvector", "'fat:2 cat:1'::tsvector"),
    ("tsquery", "'fat & cat'::tsquery"),
    ("int4range", "'[1,7)'::int4range"),
    ("numrange", "'[1.5,2.5]'::numrange"),
    ("daterange", "'[2024-01-01,2024-02-01)'::daterange"),
    ("int4multirange", "'{[1,3),[5,9)}'::int4multirange"),
    ("anyarray", "ARRAY[1, 2, NULL]"),
    ("anycompatiblearray", "ARRAY[1, 2]"),
    ("anycompatible", "2"),
    ("anyelement", "3"),
    ("anynonarray", "4"),
    ("anyenum", "'ok'::mood"),
    ("anyrange", "int4range(2, 5)"),
    ("anymultirange", "int4multirange(int4range(2, 5))"),
    ("record", "ROW(1, 'a'::text)"),
    ("oid", "'42'::oid"),
    ("xml", "'<a/>'::xml"),
    ("_text", "ARRAY['a', NULL]::text[]"),
    ("_int4", "ARRAY[3, 1]"),
    ("any", "5"),
];

fn value(of: &str) -> Option<&'static str> {
    VALUES.iter().find(|(name, _)| *name == of).map(|(_, value)| *value)
}

pub async fn statements(admin: &Client) -> Vec<String> {
    let mut out = Vec::new();
    let operators = "SELECT o.oprname::text, coalesce(l.typname::text, ''), r.typname::text FROM pg_operator o \
        LEFT JOIN pg_type l ON l.oid = o.oprleft JOIN pg_type r ON r.oid = o.oprright \
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace ORDER BY o.oid";
    for row in admin.query(operators, &[]).await.unwrap() {
        let (name, left, right): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let left = if left.is_empty() { Some("") } else { value(&left) };
        if let (Some(left), Some(right)) = (left, value(&right)) {
            out.push(format!("SELECT {left} {name} {right}"));
        }
    }
    let casts = "SELECT s.typname::text, t.typname::text FROM pg_cast c JOIN pg_type s ON s.oid = c.castsource \
        JOIN pg_type t ON t.oid = c.casttarget WHERE c.oid < 16384 ORDER BY c.oid";
    for row in admin.query(casts, &[]).await.unwrap() {
        let (source, target): (String, String) = (row.get(0), row.get(1));
        if let (Some(from), Some(_)) = (value(&source), value(&target)) {
            out.push(format!("SELECT CAST({from} AS {target}), ({from})::{target}::text"));
        }
    }
    let aggregates = "SELECT p.proname::text, a.aggkind::text, array_agg(t.typname::text ORDER BY x.n) FROM pg_aggregate a \
        JOIN pg_proc p ON p.oid = a.aggfnoid, unnest(p.proargtypes::oid[]) WITH ORDINALITY x(oid, n) \
        JOIN pg_type t ON t.oid = x.oid WHERE p.oid < 16384 GROUP BY p.oid, 1, 2 ORDER BY p.oid";
    for row in admin.query(aggregates, &[]).await.unwrap() {
        let (name, kind, types): (String, String, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        let Some(arguments) = types.iter().map(|t| value(t)).collect::<Option<Vec<_>>>() else { continue };
        out.push(match (kind.as_str(), arguments.as_slice()) {
            ("n", all) => format!("SELECT {name}({}) FROM generate_series(1, 3) g", all.join(", ")),
            (_, [one]) => format!("SELECT {name}() WITHIN GROUP (ORDER BY {one}) FROM generate_series(1, 3) g"),
            (_, [direct, rest @ ..]) => {
                format!(
                    "SELECT {name}({direct}) WITHIN GROUP (ORDER BY {}) FROM generate_series(1, 3) g",
                    rest.join(", ")
                )
            }
            _ => continue,
        });
    }
    out
}
