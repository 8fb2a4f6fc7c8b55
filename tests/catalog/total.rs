//! Every entry of the lists of what never raises, run on extreme values on a real server.

use super::database;
use sqlveil::catalog::{Catalog, total};
use sqlveil::types::Oid;
use std::fmt::Write as _;
use tokio_postgres::Client;

/// Extreme values of a type, as SQL.
fn extremes(kind: u32) -> Vec<&'static str> {
    match kind {
        0 => vec!["NULL"],
        16 => vec!["true", "false"],
        17 => vec!["''::bytea", "'\\x00ff'::bytea", "decode(repeat('ff', 1000000), 'hex')"],
        18 => vec!["''::\"char\"", "'x'::\"char\"", "'\\377'::\"char\""],
        19 => vec!["''::name", "repeat('é', 31)::name", "'A b\"'::name"],
        20 => vec!["'-9223372036854775808'::int8", "9223372036854775807", "0::int8"],
        21 => vec!["'-32768'::int2", "32767::int2", "0::int2"],
        23 => vec!["'-2147483648'::int4", "2147483647", "0"],
        25 => vec![
            "''::text",
            "repeat('x', 1000000)",
            "'İıßﬁ\u{1F600}\u{10FFFF}\u{301}'::text",
            "'\\'::text",
            "E'\\x01\\n\\t'::text",
            "'%_[('::text",
        ],
        26 => vec!["0::oid", "4294967295::oid"],
        27 => vec!["'(0,0)'::tid", "'(4294967295,65535)'::tid"],
        28 => vec!["'0'::xid", "'4294967295'::xid"],
        650 => vec!["'0.0.0.0/0'::cidr", "'::/0'::cidr", "'255.255.255.255/32'::cidr"],
        700 => vec![
            "'NaN'::float4",
            "'Infinity'::float4",
            "'-Infinity'::float4",
            "3.4028235e38::float4",
            "1e-45::float4",
            "'-0'::float4",
        ],
        701 => vec![
            "'NaN'::float8",
            "'Infinity'::float8",
            "'-Infinity'::float8",
            "1.7976931348623157e308::float8",
            "5e-324::float8",
            "'-0'::float8",
        ],
        774 => vec!["'00:00:00:00:00:00:00:00'::macaddr8", "'ff:ff:ff:ff:ff:ff:ff:ff'::macaddr8"],
        790 => vec!["'-92233720368547758.08'::money", "'92233720368547758.07'::money"],
        829 => vec!["'00:00:00:00:00:00'::macaddr", "'ff:ff:ff:ff:ff:ff'::macaddr"],
        869 => vec!["'0.0.0.0/0'::inet", "'ffff::ffff/1'::inet", "'255.255.255.255'::inet"],
        1042 => vec!["''::bpchar", "'  '::bpchar", "repeat('é ', 500000)::bpchar"],
        1043 => vec!["''::varchar", "repeat('é', 500000)::varchar", "'\\'::varchar"],
        1082 => vec![
            "'infinity'::date",
            "'-infinity'::date",
            "'4714-11-24 BC'::date",
            "'5874897-12-31'::date",
            "'2000-02-29'::date",
        ],
        1083 => vec!["'00:00'::time", "'24:00'::time", "'23:59:59.999999'::time"],
        1114 => vec![
            "'infinity'::timestamp",
            "'-infinity'::timestamp",
            "'4714-11-24 00:00:00 BC'::timestamp",
            "'294276-12-31 23:59:59.999999'::timestamp",
        ],
        1184 => vec![
            "'infinity'::timestamptz",
            "'-infinity'::timestamptz",
            "'4714-11-24 00:00:00+00 BC'::timestamptz",
            "'294276-12-31 23:59:59.999999+00'::timestamptz",
        ],
        1186 => vec![
            "'0'::interval",
            "'178000000 years'::interval",
            "'-178000000 years'::interval",
            "make_interval(days => 2147483647, months => -2147483648)",
            "make_interval(hours => 2147483647, secs => 2147483647)",
        ],
        1266 => vec!["'00:00+15:59'::timetz", "'24:00-15:59'::timetz"],
        1560 => vec!["B''", "B'101'", "repeat('1', 100000)::bit(100000)"],
        1562 => vec!["''::varbit", "'101'::varbit"],
        1700 => vec![
            "'NaN'::numeric",
            "0::numeric",
            "(repeat('9', 131072) || '.' || repeat('9', 16383))::numeric",
            "-(repeat('9', 131072))::numeric",
            "('0.' || repeat('0', 16382) || '1')::numeric",
        ],
        2950 => vec!["'00000000-0000-0000-0000-000000000000'::uuid", "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"],
        3220 => vec!["'0/0'::pg_lsn", "'FFFFFFFF/FFFFFFFF'::pg_lsn"],
        3802 => vec![
            "'null'::jsonb",
            "'1e1000'::jsonb",
            "'[]'::jsonb",
            "'{\"a\":{\"a\":1}}'::jsonb",
            "'\"x\"'::jsonb",
            "(repeat('[', 500) || repeat(']', 500))::jsonb",
        ],
        other => panic!("no values for type {other}"),
    }
}

/// Every combination of extreme values, each in a row of its own so that nothing is folded away, in time zones at both ends.
async fn never_raises(client: &Client, types: &[u32], make: impl Fn(&[&str]) -> String) {
    let mut from = String::from("(VALUES (1)) AS one");
    for (i, kind) in types.iter().enumerate() {
        let values: Vec<String> = extremes(*kind).iter().map(|v| format!("({v})")).collect();
        write!(from, ", (VALUES {}, (NULL)) AS t{i}(v)", values.join(", ")).unwrap();
    }
    let names: Vec<String> = (0..types.len()).map(|i| format!("t{i}.v")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sql = format!("SELECT count(x) FROM (SELECT {} AS x FROM {from} OFFSET 0) AS s", make(&names));
    client.simple_query(&sql).await.unwrap_or_else(|e| panic!("{e:?}\n{}", &sql[..sql.len().min(2000)]));
}

#[tokio::test]
async fn what_is_listed_as_total_never_raises() {
    let (client, _) = database().await;
    let catalog = Catalog::load(&client).await.unwrap();
    for zone in ["UTC", "Etc/GMT+12", "Pacific/Kiritimati"] {
        client.batch_execute(&format!("SET TimeZone = '{zone}'")).await.unwrap();
        for (name, left, right) in total::reviewed::operators() {
            assert!(catalog.operator_is_total(name, Oid(left), Oid(right)));
            if left == 0 {
                never_raises(&client, &[right], |v| format!("{name} {}", v[0])).await;
            } else {
                never_raises(&client, &[left, right], |v| format!("{} {name} {}", v[0], v[1])).await;
            }
        }
        for (name, args) in total::reviewed::functions() {
            assert!(catalog.functions.contains_key(*name), "{name}");
            never_raises(&client, args, |v| format!("pg_catalog.{name}({})", v.join(", "))).await;
        }
        for (from, to) in total::reviewed::casts() {
            // Printing an interval raises before PostgreSQL 15.
            if from == 1186 && catalog.server_version < 150_000 {
                assert!(!catalog.cast_is_total(Oid(from), Oid(to)));
                continue;
            }
            assert!(catalog.cast_is_total(Oid(from), Oid(to)));
            let target = &catalog.types[&Oid(to)].sql;
            never_raises(&client, &[from], |v| format!("CAST({} AS {target})", v[0])).await;
        }
        for unit in total::reviewed::units() {
            let there = |name: &&str| catalog.functions.contains_key(*name);
            for name in ["extract", "date_part", "date_trunc"].into_iter().filter(there) {
                for kind in [1082, 1083, 1114, 1184] {
                    if catalog.unit_function_is_total(name, unit, Oid(kind)) {
                        never_raises(&client, &[kind], |v| format!("pg_catalog.{name}('{unit}', {})", v[0])).await;
                    }
                }
            }
        }
    }
    for like in total::reviewed::likes() {
        for kind in [25, 1042, 1043, 19] {
            for pattern in ["", "%", "_", "a\\%b", "\\\\", "%İ_%", "é%é%é"] {
                assert!(catalog.like_is_total(like, Oid(kind), pattern));
                never_raises(&client, &[kind], |v| format!("{} {like} '{pattern}'", v[0])).await;
            }
        }
    }
    let long = format!("^({})$", "a.*".repeat(80));
    for matches in ["~", "!~"] {
        for kind in [25, 1042, 1043, 19] {
            for pattern in ["^", "^()$", "^(a.*b)$", "^.*.*.*$", "^_9", &long] {
                assert!(catalog.match_is_total(matches, Oid(kind), pattern));
                never_raises(&client, &[kind], |v| format!("{} {matches} '{pattern}'", v[0])).await;
            }
        }
    }
    // Taken apart in select lists (`resolve`): vectors of catalogs, and arrays whose bounds somebody chose.
    let apart = "SELECT count(*) FROM (SELECT unnest(a), generate_subscripts(a, 1), generate_subscripts(a, 2), generate_subscripts(a, 7)
                 FROM (VALUES ('{}'::int4[]), (NULL), ('[-2147483648:-2147483647]={1,2}'), ('[2147483645:2147483646]={1,2}'), ('{{1},{NULL}}')) AS v(a)) AS s";
    client.simple_query(apart).await.unwrap();
    let vectors = "SELECT count((k).x), count((k).n), count((o).x), count((o).n) FROM (SELECT information_schema._pg_expandarray(indkey) AS k,
                   information_schema._pg_expandarray(indclass) AS o FROM pg_index) AS s";
    client.simple_query(vectors).await.unwrap();
    client
        .simple_query(&vectors.replace("indkey", "''::int2vector").replace("indclass", "NULL::oidvector"))
        .await
        .unwrap();
}

/// The one way in which LIKE raises, so that the check of patterns is known to be needed.
#[tokio::test]
async fn a_pattern_with_a_lone_backslash_raises() {
    let (client, _) = database().await;
    let error = client.simple_query("SELECT v LIKE 'x\\' FROM (VALUES ('x'), ('xy')) AS t(v)").await.unwrap_err();
    assert_eq!(error.code().map(|c| c.code()), Some("22025"));
    assert!(!total::like_pattern_is_total("x\\"));
}
