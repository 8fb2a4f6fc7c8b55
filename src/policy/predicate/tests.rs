//! The policy language, text in and text out.

use super::*;
use crate::policy::salt::Salt;
use crate::policy::source::DataSource;
use crate::policy::template::Filling;
use crate::policy::testing::{catalog, in_groups, source};
use proptest::prelude::*;

fn try_compile(text: &str) -> Result<Compiled, Fault> {
    compile(text, &source(), &catalog())
}

fn sql(text: &str) -> String {
    match try_compile(text) {
        Ok(compiled) => compiled.sql.fill(Filling::Probe),
        Err(fault) => panic!("{text}: {fault} ({})", fault.help),
    }
}

fn fault(text: &str) -> String {
    match try_compile(text) {
        Ok(compiled) => panic!("{text} compiles to {}", compiled.sql.fill(Filling::Probe)),
        Err(fault) => format!("{fault} | {}", fault.help),
    }
}

#[test]
fn names_quotes_and_literals() {
    assert_eq!(sql("`country` = 'it''s'"), r#"(_sv."country" = 'it''s')"#);
    assert_eq!(sql(r#""country" <> 'a\'"#), r#"(_sv."country" <> 'a\')"#, "a backslash is no escape");
    assert_eq!(sql("COUNTRY = 'x'"), r#"(_sv."country" = 'x')"#);
    assert_eq!(sql("person.country = 'x'"), r#"(_sv."country" = 'x')"#);
    assert_eq!(sql("hr.person.country = 'x'"), r#"(_sv."country" = 'x')"#);
    assert_eq!(sql("active"), r#"_sv."active""#);
    assert_eq!(sql("NULL"), "NULL");
    assert_eq!(sql("id = 1 -- comment"), r#"(_sv."id" = 1)"#);
}

#[test]
fn the_seeds_predicates() {
    let two = r#"(_sv."country" IN ('USA', 'CANADA', 'MEXICO'))"#;
    assert_eq!(sql("@columnTagged('Discovered.Country')  in ('USA', 'CANADA', 'MEXICO')"), two);
    assert_eq!(sql("@columnTagged('Discovered.Country') = 'USA'"), r#"(_sv."country" = 'USA')"#);
    let groups = r#"((_sv."country")::pg_catalog.text = ANY ('{"1"}'::pg_catalog.text[]))"#;
    assert_eq!(sql("(`country` in (@groups()))"), groups);
    assert_eq!(
        sql("@isInGroups('Engineers', 'Founders') AND @hasAttribute('Auth1', 'Super Secret')"),
        "(FALSE AND FALSE)"
    );
}

#[test]
fn operators() {
    let cases = [
        ("id + 1 * 2 > 3", r#"((_sv."id" + (1 * 2)) > 3)"#),
        ("NOT active OR id IS NULL", r#"((NOT _sv."active") OR (_sv."id" IS NULL))"#),
        ("id NOT BETWEEN 1 AND 5", r#"(NOT ((_sv."id" >= 1) AND (_sv."id" <= 5)))"#),
        ("country NOT LIKE 'a%'", r#"(NOT (_sv."country" LIKE 'a%'))"#),
        ("country ILIKE 'a!%' ESCAPE '!'", r#"(_sv."country" ILIKE 'a!%' ESCAPE '!')"#),
        ("country || '-' = ssn", r#"((_sv."country" || ('-')::pg_catalog.text) = _sv."ssn")"#),
        (
            "CASE WHEN id > 1 THEN 'a' ELSE country END = 'a'",
            r#"((CASE WHEN (_sv."id" > 1) THEN 'a' ELSE _sv."country" END) = 'a')"#,
        ),
        ("CASE id WHEN 1 THEN TRUE END", r#"(CASE WHEN (_sv."id" = 1) THEN TRUE ELSE NULL END)"#),
        ("COALESCE(country, 'x') = 'x'", r#"(COALESCE(_sv."country", 'x') = 'x')"#),
        (
            "NULLIF(country, 'x') IS NOT NULL",
            r#"((CASE WHEN (_sv."country" = 'x') THEN NULL ELSE _sv."country" END) IS NOT NULL)"#,
        ),
        ("CAST(id AS TEXT) = '1'", r#"(((_sv."id")::pg_catalog.text)::pg_catalog."text" = '1')"#),
        ("salary::integer > 5", r#"((_sv."salary")::pg_catalog."int4" > 5)"#),
        ("id IS DISTINCT FROM 3", r#"(_sv."id" IS DISTINCT FROM 3)"#),
        ("mood = 'happy'", r#"(_sv."mood" = 'happy')"#),
        ("note = 'x'", r#"(_sv."note" = 'x')"#),
        ("lower(country) = 'de'", r#"(pg_catalog."lower"(_sv."country") = 'de')"#),
        ("pg_catalog.length(code) > 1", r#"(pg_catalog."length"(_sv."code") > 1)"#),
        ("SUBSTRING(country FROM 2) = 'a'", r#"(pg_catalog."substr"(_sv."country", 2) = 'a')"#),
        ("'a' = ANY(labels)", r#"('a' = ANY (_sv."labels"))"#),
        ("country = ANY(ARRAY['a', 'b'])", r#"(_sv."country" IN ('a', 'b'))"#),
        ("-id < -1", r#"((- _sv."id") < (- 1))"#),
        ("id > 1e3", r#"(_sv."id" > 1e3)"#),
    ];
    for (text, expected) in cases {
        assert_eq!(sql(text), expected, "{text}");
    }
}

#[test]
fn times_do_not_depend_on_the_session() {
    let cases = [
        ("born >= '2024-01-01'", r#"(_sv."born" >= '2024-01-01'::pg_catalog.date)"#),
        ("seen >= '2024-01-01'", r#"(_sv."seen" >= '2024-01-01 00:00:00+00'::pg_catalog.timestamptz)"#),
        (
            "seen > now() - INTERVAL '30' DAY",
            r#"(_sv."seen" > pg_catalog.timezone('UTC', (pg_catalog.timezone('UTC', pg_catalog.now()) - '30 day'::pg_catalog.interval)))"#,
        ),
        ("made > now()", r#"(_sv."made" > pg_catalog.timezone('UTC', pg_catalog.now()))"#),
        ("born <= CURRENT_DATE", r#"(_sv."born" <= (pg_catalog.timezone('UTC', pg_catalog.now()))::pg_catalog.date)"#),
        ("seen < made", r#"(pg_catalog.timezone('UTC', _sv."seen") < _sv."made")"#),
        ("CAST(seen AS DATE) = born", r#"((pg_catalog.timezone('UTC', _sv."seen"))::pg_catalog."date" = _sv."born")"#),
        (
            "EXTRACT(YEAR FROM seen) = 2024",
            r#"(pg_catalog.date_part('year', pg_catalog.timezone('UTC', _sv."seen")) = 2024)"#,
        ),
        ("date_trunc('month', seen) = seen", r#"(pg_catalog.date_trunc('month', (_sv."seen"), 'UTC') = _sv."seen")"#),
        (
            "to_char(seen, 'YYYY') = '2024'",
            r#"(pg_catalog.to_char(pg_catalog.timezone('UTC', _sv."seen"), 'YYYY') = '2024')"#,
        ),
        ("DATE '2024-02-03' = born", r#"(('2024-02-03'::pg_catalog.date)::pg_catalog."date" = _sv."born")"#),
    ];
    for (text, expected) in cases {
        assert_eq!(sql(text), expected, "{text}");
    }
    for text in [
        "born = '03/04/2024'",
        "seen = 'now'",
        "CAST(seen AS TEXT) = 'x'",
        "CAST(country AS DATE) = born",
        "CAST(rate AS TEXT) = '1'",
        "made || '' = 'x'",
        "seen IN (@groups())",
        "CAST(raw AS TEXT) = 'x'",
        "to_char(country, 'x') = 'x'",
        "EXTRACT(HOUR FROM born) = 1",
    ] {
        fault(text);
    }
}

#[test]
fn sets_of_one_column_of_one_table_can_be_arrays() {
    let few = |text: &str| try_compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}")).few;
    let one = few("country IN (SELECT e.country FROM public.entitled e WHERE e.login = @username)").unwrap();
    assert_eq!(
        one.sql.fill(Filling::Probe),
        r#"(_sv."country" = ANY (ARRAY(SELECT "e"."country" FROM "public"."entitled" AS "e" WHERE ("e"."login" = 'user'::pg_catalog.text))))"#
    );
    assert_eq!(one.probes.len(), 1);
    let probe = one.probes.first().unwrap();
    assert!(probe.contains("s.attname IN ('login')") && probe.contains("c.relname = 'entitled'"), "{probe}");
    // Negated, beside others, of a whole table, of a part of it that no single value decides.
    for (text, fixed) in [
        (
            "country NOT IN (SELECT e.country FROM public.entitled e WHERE 'x' = e.login AND e.country <> 'de')",
            "('login')",
        ),
        (
            "id > 5 OR country IN (SELECT country FROM public.entitled WHERE (login = 'a') AND country = 'b')",
            "('country', 'login')",
        ),
    ] {
        let few = few(text).unwrap();
        assert!(few.probes.iter().all(|p| p.contains(&format!("s.attname IN {fixed}"))), "{text}: {:?}", few.probes);
    }
    let whole = few("country IN (SELECT country FROM public.entitled WHERE login > 'a')").unwrap();
    assert!(whole.probes.iter().all(|p| !p.contains("pg_stats")), "{:?}", whole.probes);
    // Looks at the row, is no plain set, or stands beside one that is none.
    for text in [
        "id > 1",
        "country IN (SELECT e.country FROM public.entitled e WHERE e.login = @username AND person.id > 1)",
        "country IN (SELECT e.country FROM public.entitled e WHERE e.country = @columnTagged('Discovered.Country'))",
        "EXISTS (SELECT 1 FROM public.entitled WHERE login = @username)",
        "id IN (SELECT e.id FROM public.events e JOIN public.entitled t ON t.login = 'x')",
        "country IN (SELECT lower(e.country) FROM public.entitled e)",
        "country IN (SELECT country FROM public.entitled UNION SELECT login FROM public.entitled)",
        "country IN (SELECT country FROM public.entitled) AND EXISTS (SELECT 1 FROM public.entitled)",
    ] {
        assert!(few(text).is_none(), "{text}");
    }
}

#[test]
fn sub_selects_read_other_tables_by_qualified_name() {
    let compiled =
        try_compile("country IN (SELECT e.country FROM public.entitled e WHERE e.login = @username AND person.id > 1)")
            .unwrap();
    assert!(compiled.has_subquery);
    assert_eq!(
        compiled.sql.fill(Filling::Probe),
        r#"(_sv."country" IN (SELECT "e"."country" FROM "public"."entitled" AS "e" WHERE (("e"."login" = 'user'::pg_catalog.text) AND (_sv."id" > 1))))"#
    );
    assert_eq!(
        sql("EXISTS (SELECT * FROM public.entitled WHERE entitled.country = person.country)"),
        r#"(EXISTS (SELECT 1 FROM "public"."entitled" AS "entitled" WHERE ("entitled"."country" = _sv."country")))"#
    );
    assert_eq!(
        sql("id = (SELECT max(v.id) FROM hr.person v GROUP BY v.country HAVING count(*) > 1)"),
        r#"(_sv."id" = (SELECT pg_catalog.max("v"."id") FROM "hr"."person" AS "v" GROUP BY "v"."country" HAVING (pg_catalog.count(*) > 1)))"#
    );
    assert_eq!(
        sql("id IN (SELECT e.id FROM public.events e JOIN public.entitled t ON t.login = 'x') OR FALSE"),
        r#"((_sv."id" IN (SELECT "e"."id" FROM "public"."events" AS "e" JOIN "public"."entitled" AS "t" ON ("t"."login" = 'x'))) OR FALSE)"#
    );
    // A tagged column is the data source's own, also where a sub-select has one of the same name.
    assert_eq!(
        sql("EXISTS (SELECT 1 FROM public.entitled WHERE country = @columnTagged('Discovered.Country'))"),
        r#"(EXISTS (SELECT 1 FROM "public"."entitled" AS "entitled" WHERE ("entitled"."country" = _sv."country")))"#
    );
    for text in [
        "country IN (SELECT country FROM entitled)",
        "country IN (SELECT country FROM public.nowhere)",
        "country IN (SELECT relname FROM pg_catalog.pg_class)",
        "country IN (SELECT country, login FROM public.entitled)",
        "country IN (SELECT * FROM public.entitled)",
        "country IN (SELECT country FROM public.entitled _sv)",
        "country IN (SELECT country FROM public.entitled LIMIT 1)",
        "country IN (WITH x AS (SELECT 1) SELECT country FROM public.entitled)",
        "country IN (SELECT country FROM (SELECT country FROM public.entitled) x)",
        "country IN (SELECT country FROM public.entitled FOR UPDATE)",
        "country IN (SELECT country INTO x FROM public.entitled)",
        "country IN (SELECT e.country FROM public.entitled e, public.entitled e)",
        "country IN (SELECT lower FROM lower('x'))",
        "id IN (SELECT e.id FROM public.events e JOIN public.entitled t USING (id))",
        "EXISTS (DELETE FROM public.entitled)",
        "max(id) = 1",
    ] {
        fault(text);
    }
}

#[test]
fn what_is_not_of_the_language_is_refused_with_its_place() {
    let cases = [
        (
            "cuontry = 'x'",
            "\"hr.person\" has no column \"cuontry\", at character 1 of the predicate | did you mean \"country\"?",
        ),
        ("id = 1 AND\n nosuch = 2", "at line 2, character 2 of the predicate"),
        ("nick = 'x'", "has no column"),
        ("ctid IS NULL", "has no column"),
        ("id = 1; DROP TABLE x", "unexpected ; after the predicate"),
        ("id", "a condition is needed, not int4"),
        ("id = 'x' OR", "cannot read the predicate"),
        ("random() < 0.5", "may not be used in a policy"),
        ("pg_read_file('x') = 'x'", "there is no function pg_read_file"),
        ("version() = 'x'", "may not be used in a policy"),
        ("current_user = 'x'", "use @username"),
        ("other.f(id) = 1", "only functions of pg_catalog"),
        ("@columntagged('Nowhere')= 'x'", "carries the tag Nowhere"),
        ("@columnTagged('Discovered') = 'x'", "2 columns of \"hr.person\" carry the tag Discovered: ssn, country"),
        ("@columnTagged(country) = 'x'", "a text in single quotes"),
        ("@columnTagd('x') = 'x'", "did you mean \"@columnTagged\"?"),
        ("@groups = 'x'", "write @groups()"),
        ("country = @groups()", "a set of the caller's values is not one value"),
        ("id = TRUE", "cannot compare int4 with bool"),
        ("id = $1", "literal"),
        ("country = E'a'", ""),
        ("country = \"a\"", "has no column \"a\""),
        ("country ~ 'x'", ""),
        ("country SIMILAR TO 'x'", "not part of the policy language"),
        ("country COLLATE \"C\" = 'x'", "not part of the policy language"),
        ("labels[1] = 'x'", ""),
        ("(id, ssn) = (1, 'x')", "not part of the policy language"),
        ("country IN ()", ""),
        ("CAST(id AS regclass) = 1", "not part of the policy language"),
        ("sum(id) OVER () = 1", "this form of call"),
        ("EXISTS(SELECT 1)", "only a plain sub-select"),
    ];
    for (text, expected) in cases {
        let found = fault(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn long_chains_are_flat_and_deep_ones_refused() {
    let long = vec!["id = 1"; 1_400].join(" OR ");
    let parsed = crate::sql::parse_expression(&sql(&long)).unwrap();
    let Some(crate::sql::NodeEnum::BoolExpr(chain)) = parsed.node else { panic!("a chain") };
    assert_eq!(chain.args.len(), 1_400);
    assert!(fault(&vec!["id = 1"; 2_000].join(" OR ")).contains("too long"));
    assert!(fault(&format!("id = {}", vec!["1"; 2_000].join(" + "))).contains("nested too deeply"));
    assert!(fault(&format!("{}active{}", "NOT (".repeat(200), ")".repeat(200))).contains("recursion limit"));
    assert!(fault(&"x".repeat(70_000)).contains("too long"));
}

#[test]
fn lists_are_one_list_where_nothing_is_converted() {
    assert_eq!(sql("id IN (1, 2)"), r#"(_sv."id" IN (1, 2))"#);
    assert_eq!(
        sql("country IN ('a', @groups(), 'b')"),
        r#"((_sv."country" IN ('a', 'b')) OR ((_sv."country")::pg_catalog.text = ANY ('{"1"}'::pg_catalog.text[])))"#
    );
    assert_eq!(
        sql("made IN ('2024-01-01', now())"),
        r#"(_sv."made" IN ('2024-01-01'::pg_catalog.timestamp, pg_catalog.timezone('UTC', pg_catalog.now())))"#
    );
    assert_eq!(
        sql("seen IN (made, '2024-01-01')"),
        r#"((_sv."seen" IN ('2024-01-01 00:00:00+00'::pg_catalog.timestamptz)) OR (pg_catalog.timezone('UTC', _sv."seen") = _sv."made"))"#
    );
}

#[test]
fn totality() {
    let cases = [
        ("country = 'x' AND id > 3 OR born IS NULL", true),
        ("country IN (@groups()) OR ssn LIKE 'a%'", true),
        ("country LIKE ssn", false),
        ("country LIKE 'a\\'", false),
        ("id + 1 > 3", false),
        ("1 + 1 > 3", true),
        ("salary > 3", true),
        ("CAST(country AS INTEGER) = 1", false),
        ("rate > salary", false),
        ("born IN (@groups())", false),
        ("country IN (SELECT country FROM public.entitled)", true),
        ("country = (SELECT country FROM public.entitled)", false),
        ("seen > now()", true),
        ("mood = 'ok'", true),
    ];
    for (text, expected) in cases {
        assert_eq!(try_compile(text).unwrap().total, expected, "{text}");
    }
}

#[test]
fn caller_values_are_one_literal_each() {
    let salt = Salt::neutral();
    let mut ann = in_groups("o'neil", &["a', 'b", "c\"d\\"]);
    ann.purposes.insert("Fraud".into());
    let fill =
        |text: &str| try_compile(text).unwrap().sql.fill(Filling::For { caller: &ann, mask: &salt, source: &salt });
    assert_eq!(fill("country = @username"), r#"(_sv."country" = 'o''neil'::pg_catalog.text)"#);
    assert_eq!(
        fill("@groupsContains(country)"),
        r#"((_sv."country")::pg_catalog.text = ANY ('{"a'', ''b","c\"d\\"}'::pg_catalog.text[]))"#
    );
    assert_eq!(fill("@attributeValuesContains('x', country)"), "FALSE");
    assert_eq!(fill("country <> ALL(@attributes('x'))"), "(NOT FALSE)");
    assert_eq!(
        fill("country IN (@purposes())"),
        r#"((_sv."country")::pg_catalog.text = ANY ('{"Fraud"}'::pg_catalog.text[]))"#
    );
    assert_eq!(fill("@isInGroups('a'', ''b')"), "TRUE");
    assert_eq!(fill("@iam = 'bim'"), "('bim'::pg_catalog.text = 'bim')");
}

fn fixture() -> (DataSource, crate::catalog::Catalog) {
    (source(), catalog())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is written, the compiler answers; what it accepts is one expression of PostgreSQL's grammar.
    #[test]
    fn any_text_is_compiled_or_refused(text in "[a-zA-Z0-9 '\"`@().,=<>|%_+*/;:$\\\\\\[\\]-]{0,60}") {
        let (source, catalog) = fixture();
        if let Ok(compiled) = compile(&text, &source, &catalog) {
            prop_assert!(crate::sql::parse_expression(&compiled.sql.fill(Filling::Probe)).is_ok(), "{}", text);
        }
    }

    /// Texts made of the language's words.
    #[test]
    fn sentences_are_compiled_or_refused(words in proptest::collection::vec(prop_oneof![
        Just("country"), Just("id"), Just("="), Just("'x'"), Just("AND"), Just("OR"), Just("NOT"), Just("("), Just(")"),
        Just("IN"), Just("@groups()"), Just("IS NULL"), Just("LIKE"), Just("1"), Just("||"), Just("CASE WHEN"), Just("THEN"),
        Just("END"), Just("SELECT"), Just("FROM"), Just("public.entitled"), Just("EXISTS"), Just("@username"), Just(","),
        Just("BETWEEN"), Just("-"), Just("CAST("), Just("AS TEXT)"), Just("now()"), Just("seen"), Just("''"),
    ], 0..14)) {
        let (source, catalog) = fixture();
        let text = words.join(" ");
        if let Ok(compiled) = compile(&text, &source, &catalog) {
            prop_assert!(crate::sql::parse_expression(&compiled.sql.fill(Filling::Probe)).is_ok(), "{}", text);
        }
    }
}
