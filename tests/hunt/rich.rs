//! The second pair of warehouses: every kind of mask and row rule, and two fillings that take the same room.
//!
//! Nothing in it was ever analysed, and each relation has as many blocks in both: the planner makes the same plans over both, so that
//! answers can be compared byte by byte in order, whatever raises and whatever depends on a plan. Visible values may raise here.

use crate::support::Stage;

/// Relations by what hides in them. `person`: every mask, no rows. `staff`: rows by attribute, masks. `sale`: rows by group. `visit`: rows
/// by time, a conditional mask. `sample`: minimization. `audit`: a purpose. `own`: a rule with a sub-query. `odd`: a rule that may itself
/// raise. `part`: partitioned. `base`, `child`: inheritance, each with its rule. `rare`: K-anonymization (no index, which
/// would give its rows in the order of what is masked). `v_staff`: a view under a rule.
/// `m_sale`: a materialized view under a rule. `report`: a registered query. `kinds`: shown whole. `entitled`, `vault`: not registered.
pub const SCHEMA: &str = r#"
CREATE EXTENSION pgcrypto;
CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, city text, ssn text, phone varchar(20), age int, born date, seen timestamptz,
    salary numeric(10,2), bonus float8, card varchar(19), iban text, score int, vote bool, feeling mood, kind text, note text, doc jsonb,
    arr int[], tags text[], f float8, n numeric, big bigint, small int2, flag bool, span interval, local timestamp, raw bytea, uid uuid,
    nick text COLLATE nd, boss int, code text);
CREATE TABLE staff (id int PRIMARY KEY, city text, name text, note text, pay numeric, hired date, rate float8, n int, doc jsonb, arr int[],
    code varchar(12), boss int, at timestamptz, span interval, raw bytea, nick text COLLATE nd, ssn text, plus positive);
CREATE TABLE sale (id int PRIMARY KEY, region text, person_id int, amount numeric(10,2), note text, day date, qty int, tax float8);
CREATE TABLE visit (id int PRIMARY KEY, at timestamptz, who text, kind text, remark text, n int);
CREATE TABLE sample (id int PRIMARY KEY, note text, n int);
CREATE TABLE audit (id int PRIMARY KEY, city text, note text, n int);
CREATE TABLE own (id int PRIMARY KEY, person_id int, note text, n int);
CREATE TABLE entitled (person_id int, login text);
CREATE TABLE odd (id int PRIMARY KEY, d int, note text);
CREATE TABLE part (id int, city text, note text, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (100);
CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (100) TO (100000);
CREATE TABLE base (id int PRIMARY KEY, city text, note text);
CREATE TABLE child (extra int) INHERITS (base);
CREATE TABLE rare (id int PRIMARY KEY, zip text, job text, n int);
CREATE TABLE kinds (id int PRIMARY KEY, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, t text, v varchar(9), c char(6),
    nm name, d date, ti time, tz timetz, ts timestamp, tstz timestamptz, iv interval, j json, jb jsonb, by bytea, u uuid, ip inet, cd cidr,
    mac macaddr, p point, bx box, ia int[], ta text[], na numeric[], tsv tsvector, tsq tsquery, r4 int4range, rn numrange, rt tstzrange,
    mr int4multirange, bi bit(5), vb varbit, m money, o oid, x xml, md mood);
CREATE TABLE vault (id int PRIMARY KEY, code text);
CREATE VIEW v_staff AS SELECT s.id, s.city, s.note, s.n, p.name AS boss FROM staff s LEFT JOIN person p ON p.id = s.boss;
CREATE MATERIALIZED VIEW m_sale AS SELECT id, region, note, qty FROM sale WITH NO DATA;
CREATE INDEX ON staff (city); CREATE INDEX ON staff (note); CREATE INDEX ON staff (n); CREATE INDEX ON staff USING gin (doc);
CREATE INDEX ON person (ssn); CREATE INDEX ON person (salary); CREATE INDEX ON person (age); CREATE INDEX ON person (lower(note));
CREATE INDEX ON sale (region); CREATE INDEX ON sale (person_id); CREATE INDEX ON sale (note); CREATE INDEX ON own (person_id);
CREATE INDEX ON part (city); CREATE INDEX ON visit (at); CREATE INDEX ON odd (d);
"#;

/// What a caller may see, the same in both; `{x}` stands for a cell that is hidden, given by [`Side`].
const SHOWN: &str = r#"
INSERT INTO person SELECT i, (ARRAY['Ann', 'Bo', 'Cy', 'Dée', ''])[1 + i % 5] || i % 7, (ARRAY['Bonn', 'Ulm', 'Köln', NULL])[1 + i % 4], 's' || i % 9,
    '0151-' || {phone}, i / 10 * 10 + {digit}, date '1970-01-01' + i * 365 - extract(doy from date '1970-01-01' + i * 365)::int + {doy}, timestamptz '2021-01-01 12:00+00' + i * interval '1 day' + {digit} * interval '1 minute',
    {salary}, {bonus}, '4' || lpad((i * 7919)::text, 15, '0'), 'DE' || 70000 + i, i % 11 - 3, i % 3 = 0, (ARRAY['sad', 'ok', 'glad', NULL])[1 + i % 4]::mood,
    (ARRAY['open', 'closed'])[1 + i % 2], CASE WHEN i % 2 = 1 THEN {secret} ELSE (ARRAY['5', 'x', '', '(', '1e3', NULL])[1 + i % 6] END, {doc}, {arr}, {tags},
    (ARRAY['NaN', '0', '1e308', '-1', 'Infinity', '0.5'])[1 + i % 6]::float8, (ARRAY['NaN', '0', '1e100', '-1', NULL, '0.5'])[1 + i % 6]::numeric,
    (ARRAY[0, 9223372036854775807, -5, 12])[1 + i % 4], i % 300, i % 3 = 1, (i - 5) * interval '1 day 01:00', timestamp '2020-02-29' + i * interval '31 days',
    decode(lpad(to_hex(i * 77), 6, '0'), 'hex'), ('00000000-0000-4000-8000-0000000000' || (10 + i))::uuid, (ARRAY['Nick', 'nick', 'NICK', 'x'])[1 + i % 4], i % 13, i::text
    FROM generate_series(1, 40) i;
INSERT INTO staff SELECT i, (ARRAY['Bonn', 'Ulm'])[1 + i % 2], 'name' || i % 8, (ARRAY['12', 'x', '', '7', '1e3', NULL, '[1]'])[1 + i % 7], i * 10.5, date '2020-01-01' + i, i / 3.0 - 2, i % 6,
    jsonb_build_object('a', i % 5, 's', i::text, 'l', jsonb_build_array(i, NULL)), ARRAY[i, NULL, i % 4], 'c' || i % 6, i % 9 + 1, timestamptz '2024-01-01 00:00+00' + i * interval '13 hours',
    i * interval '1 hour', decode(lpad(i::text, 4, '0'), 'hex'), (ARRAY['Ab', 'aB', 'c'])[1 + i % 3], {secret}, i FROM generate_series(1, 30) i;
INSERT INTO sale SELECT i, (ARRAY['north', 'south'])[1 + i % 2], i % 12 + 1, i * 3.5, (ARRAY['9', 'y', ''])[1 + i % 3], date '2023-12-25' + i % 9, i % 5, i / 7.0 FROM generate_series(1, 30) i;
INSERT INTO visit SELECT i, timestamptz '2190-01-01 00:00+00' + i * interval '1 day', 'w' || i % 4, (ARRAY['open', 'closed'])[1 + i % 2], CASE WHEN i % 2 = 1 THEN {secret} ELSE 'r' || i % 3 END, i % 4 FROM generate_series(1, 16) i;
INSERT INTO audit SELECT i, 'Ulm', 'u' || i % 3, i % 3 FROM generate_series(1, 12) i;
INSERT INTO own SELECT i, i % 10 + 1, (ARRAY['3', 'z', ''])[1 + i % 3], i % 4 FROM generate_series(1, 25) i;
INSERT INTO entitled SELECT i, 'ana' FROM generate_series(1, 10) i; INSERT INTO entitled SELECT i, 'bob' FROM generate_series(1, 5) i;
INSERT INTO odd SELECT i, i % 5 + 1, 'o' || i % 3 FROM generate_series(1, 12) i;
INSERT INTO part SELECT i * 10, (ARRAY['Bonn', 'Ulm'])[1 + i % 2], (ARRAY['4', 'p'])[1 + i % 2], i % 4 FROM generate_series(1, 20) i;
INSERT INTO base SELECT i, (ARRAY['Bonn', 'Ulm'])[1 + i % 2], 'b' || i % 3 FROM generate_series(1, 8) i;
INSERT INTO child SELECT i, (ARRAY['Bonn', 'Ulm'])[1 + i % 2], 'h' || i % 3, i FROM generate_series(11, 18) i;
INSERT INTO rare SELECT i, 'z' || i % 3, 'j' || i % 2, i % 7 FROM generate_series(1, 30) i;
INSERT INTO kinds SELECT i, i % 2 = 0, i % 5 - 2, (ARRAY[0, 2147483647, -1, 7])[1 + i % 4], (ARRAY[0, 9223372036854775807, -1])[1 + i % 3], i / 3.0, (ARRAY['NaN', '-0', '1e300'])[1 + i % 3]::float8,
    (ARRAY['NaN', '1.50', 'Infinity', '-7'])[1 + i % 4]::numeric, (ARRAY['a', 'A b', '', 'Zoë', '17', '{"a":1}', '(', NULL])[1 + i % 8], 'v' || i, 'c' || i % 3, 'n' || i, (ARRAY['infinity', '2024-02-29', '0044-03-15 BC'])[1 + i % 3]::date,
    '12:34:56.789', '12:34:56+02', (ARRAY['infinity', '2001-02-03 04:05:06', '-infinity'])[1 + i % 3]::timestamp, (ARRAY['infinity', '2001-02-03 04:05:06+00', '-infinity'])[1 + i % 3]::timestamptz, (i - 4) * interval '1 mon 2 days',
    '{"a": [1, 2.50], "b": null}', jsonb_build_object('a', i, 'k' || i, '[1,{"z":2}]'::jsonb), decode(to_hex(4096 + i * 99), 'hex'), 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.1.2.3/24', '10.1.0.0/16', '08:00:2b:01:02:03',
    point(i, -i), box(point(0, 0), point(i, 2)), ARRAY[i, NULL, 3], ARRAY['a b', NULL, '"'], ARRAY[1.5, 'NaN'], 'fat:2 cat:1', 'fat & cat', int4range(i, i + 5), numrange(i, NULL), '[2001-01-01 00:00+00,)', '{[1,3),[7,9)}',
    '10101', '101', 12.34, i, '<a>1</a>', 'ok' FROM generate_series(1, 10) i;
"#;

/// Hidden rows. What is in braces is given by [`Side`]; `{rows}` is how many.
const HIDDEN: &str = r#"
INSERT INTO staff SELECT i, 'Rom', {secret}, {text}, {numeric}, {date}, {float}, {int}, {json}, {ints}, 'h' || i % 100, {int} % 100, {instant}, {span}, {bytes}, {secret}, {secret}, {positive} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO sale SELECT i, 'west', {int}, {cents}, {text}, {date}, {int}, {float} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO visit SELECT i, {past}, {secret}, 'open', {text}, {int} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO audit SELECT i, 'Rom', {text}, {int} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO own SELECT i, 500 + i % 3, {text}, {int} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO entitled SELECT 600 + i, 'nobody' FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO odd SELECT i, {odd}, {text} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO part SELECT i, 'Rom', {text}, {int} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO part SELECT 1 + i * 2, 'Rom', {text}, {int} FROM generate_series(1, {rows}) i;
INSERT INTO base SELECT i, 'Rom', {text} FROM generate_series(1000, 999 + {rows}) i;
INSERT INTO child SELECT i, 'Rom', {text}, {int} FROM generate_series(2000, 1999 + {rows}) i;
INSERT INTO rare SELECT 100 + i, {secret} || i, {secret} || i, 3 FROM generate_series(1, 8) i;
INSERT INTO vault SELECT i, {secret} FROM generate_series(1, {rows}) i;
REFRESH MATERIALIZED VIEW m_sale;
"#;

/// One filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Nothing of it raises, and there is little of it.
    Tame,
    /// Everything of it raises where an expression meets it.
    Wild,
}

/// What stands for each word in braces: tame, wild. Texts are of one length.
const CELLS: &[(&str, &str, &str)] = &[
    ("{phone}", "'111'", "(ARRAY['999', '000', '123'])[1 + i % 3]"),
    ("{digit}", "(i % 10)", "((i * 7 + 3) % 10)"),
    ("{doy}", "1", "(1 + i * 37 % 360)"),
    ("{salary}", "1000.00", "(ARRAY['NaN', '0', '99999999.99', NULL])[1 + i % 4]::numeric"),
    ("{bonus}", "1", "(ARRAY['NaN', '0', 'Infinity', '1e308'])[1 + i % 4]::float8"),
    ("{secret}", "'1'::text", "(ARRAY['S', '(', '', '{', '\\', NULL])[1 + i % 6]"),
    ("{doc}", "'{\"a\": 1}'::jsonb", "(ARRAY['[]', '\"S\"', '{\"a\": \"S\"}', 'null', NULL])[1 + i % 5]::jsonb"),
    ("{arr}", "'{1,2}'::int[]", "(ARRAY['{0}', '{}', '{NULL}', '{{1,2},{3,4}}'])[1 + i % 4]::int[]"),
    ("{tags}", "'{1}'::text[]", "(ARRAY['{S}', '{}', '{NULL}', NULL])[1 + i % 4]::text[]"),
    ("{text}", "'1'::text", "(ARRAY['SECRET-' || i, 'S', '(', '{', '', '1e999', '2020-13-45', '\\', NULL])[1 + i % 9]"),
    (
        "{numeric}",
        "1::numeric",
        "(ARRAY['NaN', '0', '1e131000', '-1e131000', '1e-16000', 'Infinity', NULL])[1 + i % 7]::numeric",
    ),
    ("{cents}", "1.00", "(ARRAY['NaN', '0', '99999999.99', '-99999999.99', NULL])[1 + i % 5]::numeric"),
    (
        "{date}",
        "'2020-01-01'::date",
        "(ARRAY['infinity', '5874897-12-31', '4713-01-01 BC', '-infinity', NULL])[1 + i % 5]::date",
    ),
    (
        "{instant}",
        "'2020-01-01'::timestamptz",
        "(ARRAY['infinity', '294276-12-31', '4713-01-01 BC', '-infinity', NULL])[1 + i % 5]::timestamptz",
    ),
    (
        "{past}",
        "'1990-01-01'::timestamptz",
        "(ARRAY['1990-01-01', '-infinity', '4713-01-01 BC'])[1 + i % 3]::timestamptz",
    ),
    ("{float}", "1", "(ARRAY['NaN', '0', '1e308', 'Infinity', '-1e308', NULL])[1 + i % 6]::float8"),
    ("{int}", "1", "(ARRAY[0, 2147483647, -2147483648, NULL])[1 + i % 4]"),
    ("{odd}", "60", "(ARRAY[1000000000, -1000000000, 0])[1 + i % 3]"),
    ("{positive}", "1", "2147483647"),
    (
        "{json}",
        "'{\"a\": 1}'::jsonb",
        "(ARRAY['\"S\"', '[]', 'null', '{\"a\": \"S\"}', '{\"s\": \"x(\"}', '1e1000', NULL])[1 + i % 7]::jsonb",
    ),
    ("{ints}", "'{1,2}'::int[]", "(ARRAY['{}', '{{1,2},{3,4}}', '{NULL}', '{0}', NULL])[1 + i % 5]::int[]"),
    ("{span}", "'1 hour'::interval", "(ARRAY['178000000 years', '-178000000 years', '0', NULL])[1 + i % 4]::interval"),
    ("{bytes}", "'\\x01'::bytea", "(ARRAY['\\xff', '\\x', NULL])[1 + i % 3]::bytea"),
    ("{rows}", "3", "40"),
];

/// The statements that fill one side.
pub fn filling(side: Side) -> String {
    let mut sql =
        format!("{SHOWN}\nINSERT INTO sample SELECT i, 'q' || i % 3, i % 4 FROM generate_series(1, 40) i;\n{HIDDEN}");
    for (word, tame, wild) in CELLS {
        sql = sql.replace(word, if side == Side::Tame { tame } else { wild });
    }
    sql
}

/// A masking rule on a column tag.
fn mask(key: &str, tag: &str, config: &str, further: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: Masking\n    config: {{fields: [{{type: columnTags, \
         columnTag: {tag}}}], maskingConfig: {{{config}}}{further}}}\n    exceptions: {{groups: [Trusted]}}\n\
         circumstances: [{{type: columnTags, columnTag: {tag}}}]\n"
    )
}

/// A row rule on a table tag.
fn rows(key: &str, tag: &str, kind: &str, config: &str) -> String {
    format!(
        "policyKey: {key}\nname: {key}\ntype: data\nactions:\n- rules:\n  - type: {kind}\n    config: {config}\n    \
         exceptions: {{groups: [Trusted]}}\ncircumstances: [{{type: tags, tag: {tag}}}]\n"
    )
}

/// The policies.
fn policies() -> Vec<String> {
    const WHERE: &str = "Row Restriction by Custom Where Clause";
    const ENTITLED: &str = "Row Restriction By User Entitlements";
    vec![
        "policyKey: who\nname: who\ntype: subscription\nactions: {type: entitlements, entitlements: {groups: [Staff]}}\n".into(),
        mask("hash", "Hash", "type: Hash", ""),
        mask("regex", "Phone", "type: Regular Expression, regex: '\\d{3}$', replacement: 'xxx'", ""),
        mask("ten", "Ten", "type: Grouping, bucketSize: 10", ""),
        mask("year", "Year", "type: Grouping, timePrecision: YEAR", ""),
        mask("hour", "Hour", "type: Grouping, timePrecision: HOUR", ""),
        mask("nothing", "Nothing", "type: 'Null'", ""),
        mask("seven", "Seven", "type: Constant, constant: '7'", ""),
        mask("format", "Format", "type: Format Preserving Masking", ""),
        mask("undo", "Undo", "type: Reversible", ""),
        mask("noise", "Noise", "type: Randomized Response, stddev: 2", ""),
        mask("swap", "Swap", "type: Randomized Response, replacementRatePercent: 40", ""),
        mask("closed", "Closed", "type: 'Null'", ", conditionalPredicate: \"kind = 'closed'\""),
        mask("rare", "Rare", "type: K-Anonymization, kLevel: 3", ""),
        rows("city", "City", ENTITLED, "{matches: [{type: attribute, attribute: city, column: city}]}"),
        rows("region", "Region", ENTITLED, "{matches: [{type: group, column: region}]}"),
        rows("recent", "Recent", "Time Restriction", "{isOlderOrNewer: newer, time: 86400}"),
        rows("some", "Sampled", "Minimization", "{percent: 50}"),
        rows("purpose", "Audited", "Purpose Restriction", "{purposes: [Audit]}"),
        rows("own", "Own", WHERE, "{predicate: \"person_id IN (SELECT e.person_id FROM public.entitled e WHERE e.login = @username)\"}"),
        rows("odd", "Odd", WHERE, "{predicate: \"d * 2 < 100 AND d > 0\"}"),
    ]
}

/// Adds what is registered, the policies and the callers: `ana` under the rules, `bob` under them with a project and its purpose, `max`
/// exempt, `eve` subscribed to nothing.
pub fn govern(stage: Stage) -> Stage {
    let tagged = |table: &str, tag: &str, columns: &str| {
        format!("table: {table}\nschema: public\ntags: {{table: [{tag}], columns: [{columns}]}}")
    };
    let column = |name: &str, tag: &str| format!("{{columnName: {name}, tags: [{tag}]}}");
    let person: Vec<String> = [
        ("ssn", "Hash"),
        ("phone", "Phone"),
        ("age", "Ten"),
        ("born", "Year"),
        ("seen", "Hour"),
        ("salary", "Nothing"),
        ("bonus", "Seven"),
        ("card", "Format"),
        ("iban", "Undo"),
        ("score", "Noise"),
        ("vote", "Swap"),
        ("feeling", "Swap"),
        ("note", "Closed"),
        ("doc", "Nothing"),
        ("arr", "Nothing"),
        ("tags", "Nothing"),
    ]
    .iter()
    .map(|(name, tag)| column(name, tag))
    .collect();
    let mut stage = stage
        .source(&format!("table: person\nschema: public\ntags: {{columns: [{}]}}", person.join(", ")))
        .source(&tagged("staff", "City", &column("ssn", "Nothing")))
        .source(&tagged("sale", "Region", ""))
        .source(&format!("{}\neventTime: at", tagged("visit", "Recent", &column("remark", "Closed"))))
        .source(&format!("{}\nhighCardinality: id", tagged("sample", "Sampled", "")))
        .source(&tagged("audit", "Audited, City", ""))
        .source(&tagged("own", "Own", ""))
        .source(&tagged("odd", "Odd", ""))
        .source(&tagged("part", "City", ""))
        .source(&tagged("base", "City", ""))
        .source(&tagged("child", "City", ""))
        .source(&format!("table: rare\nschema: public\ntags: {{columns: [{}, {}]}}", column("zip", "Rare"), column("job", "Rare")))
        .source(&tagged("v_staff", "City", ""))
        .source(&tagged("m_sale", "Region", ""))
        .source("table: kinds\nschema: public")
        .source("query: SELECT s.id, s.note, s.n FROM staff s WHERE s.city IN ('Bonn', 'Ulm')\nnaming: {datasource: report, schema: reports, table: report}")
        .tags(&[
            "Hash", "Phone", "Ten", "Year", "Hour", "Nothing", "Seven", "Format", "Undo", "Noise", "Swap", "Closed", "Rare", "City",
            "Region", "Recent", "Sampled", "Audited", "Own", "Odd",
        ])
        .purpose("Audit")
        .project("projectKey: audit\nname: audit\npurposes: [Audit]\nmembers: [{type: user, name: bob}]\n")
        .writes("ana", &crate::writes::tables())
        .user("ana", &["Staff", "north", "south"], &[("city", &["Bonn", "Ulm"])])
        .user("bob", &["Staff", "north"], &[("city", &["Ulm"])])
        .user("max", &["Staff", "Trusted"], &[])
        .user("eve", &[], &[("city", &["Rom"])]);
    for policy in policies() {
        stage = stage.policy(&policy);
    }
    stage
}
