//! A small warehouse catalog and builders of declarations, for the tests of this room.

use super::salt::Salts;
use super::source::{DataSource, expand};
use super::sqltype::oids::*;
use crate::catalog::{Cast, Catalog, Column, Function, Relation, RelationKind, TypeInfo};
use crate::governance::model::*;
use crate::identity::{Caller, Entitlement};
use crate::types::{Oid, QualifiedName};
use std::sync::Arc;

const MOOD: Oid = Oid(90_001);
const CITEXT: Oid = Oid(90_010);
const EMAIL: Oid = Oid(90_020);
const SHORT_TEXT: Oid = Oid(90_030);

fn type_info(oid: Oid, schema: &str, name: &str, kind: char, category: char, element: Oid, base: Oid) -> TypeInfo {
    let sql = if schema == "pg_catalog" { name.to_owned() } else { format!("{schema}.{name}") };
    TypeInfo {
        oid,
        name: QualifiedName::new(schema, name),
        kind,
        category,
        element,
        array: NONE,
        base,
        typmod: -1,
        not_null: false,
        checks: Vec::new(),
        checked: false,
        alien_default: false,
        relation: NONE,
        sql,
    }
}

/// Policies as documents declare them.
pub(crate) fn shared(policies: Vec<Policy>) -> Vec<Arc<Policy>> {
    policies.into_iter().map(Arc::new).collect()
}

/// The catalog: `hr.person` (a column of every interesting type), `public.entitled`, `public.events`.
pub(crate) fn catalog() -> Catalog {
    let mut catalog = Catalog { version: 1, server_version: 150_000, database: "tpc".into(), ..Catalog::default() };
    catalog.pgcrypto = Some("public".into());
    let builtin = [
        (BOOL, "bool", 'B'),
        (BYTEA, "bytea", 'U'),
        (NAME, "name", 'S'),
        (INT8, "int8", 'N'),
        (INT2, "int2", 'N'),
        (INT4, "int4", 'N'),
        (TEXT, "text", 'S'),
        (FLOAT4, "float4", 'N'),
        (FLOAT8, "float8", 'N'),
        (BPCHAR, "bpchar", 'S'),
        (VARCHAR, "varchar", 'S'),
        (DATE, "date", 'D'),
        (TIME, "time", 'D'),
        (TIMESTAMP, "timestamp", 'D'),
        (TIMESTAMPTZ, "timestamptz", 'D'),
        (INTERVAL, "interval", 'T'),
        (TIMETZ, "timetz", 'D'),
        (BIT, "bit", 'V'),
        (VARBIT, "varbit", 'V'),
        (NUMERIC, "numeric", 'N'),
        (UUID, "uuid", 'U'),
        (Oid(3802), "jsonb", 'U'),
    ];
    let mut types: Vec<TypeInfo> =
        builtin.iter().map(|(oid, name, c)| type_info(*oid, "pg_catalog", name, 'b', *c, NONE, NONE)).collect();
    types.push(type_info(TEXT_ARRAY, "pg_catalog", "_text", 'b', 'A', TEXT, NONE));
    types.push(type_info(Oid(2249), "pg_catalog", "record", 'p', 'P', NONE, NONE));
    types.push(type_info(MOOD, "hr", "mood", 'e', 'E', NONE, NONE));
    types.push(type_info(Oid(90_002), "hr", "_mood", 'b', 'A', MOOD, NONE));
    types.push(type_info(CITEXT, "public", "citext", 'b', 'S', NONE, NONE));
    types.push(type_info(Oid(90_011), "public", "_citext", 'b', 'A', CITEXT, NONE));
    types.push(type_info(EMAIL, "hr", "email", 'd', 'S', NONE, CITEXT));
    types.push(type_info(SHORT_TEXT, "hr", "short_text", 'd', 'S', NONE, TEXT));
    for info in types {
        catalog.type_names.insert(info.name.clone(), info.oid);
        catalog.types.insert(info.oid, Arc::new(info));
    }
    for (oid, schema) in [(11, "pg_catalog"), (2200, "public"), (90_000, "hr")] {
        catalog.schemas.insert(schema.into(), Oid(oid));
    }
    relation(
        &mut catalog,
        50_001,
        "hr",
        "person",
        &[
            ("id", INT4, -1),
            ("ssn", VARCHAR, 15),
            ("country", TEXT, -1),
            ("salary", NUMERIC, ((10 << 16) | 2) + 4),
            ("born", DATE, -1),
            ("seen", TIMESTAMPTZ, -1),
            ("made", TIMESTAMP, 3),
            ("mood", MOOD, -1),
            ("nick", CITEXT, -1),
            ("code", BPCHAR, 9),
            ("ref", UUID, -1),
            ("raw", BYTEA, -1),
            ("rate", FLOAT8, -1),
            ("note", SHORT_TEXT, -1),
            ("active", BOOL, -1),
            ("labels", TEXT_ARRAY, -1),
            ("at", TIME, -1),
            ("small", INT2, -1),
            ("big", INT8, -1),
            ("mass", FLOAT4, -1),
            ("free", NUMERIC, -1),
        ],
    );
    relation(&mut catalog, 50_002, "public", "entitled", &[("login", TEXT, -1), ("country", TEXT, -1)]);
    relation(&mut catalog, 50_003, "public", "events", &[("id", INT8, -1), ("at", TIMESTAMPTZ, -1)]);
    relation(&mut catalog, 1_259, "pg_catalog", "pg_class", &[("relname", NAME, -1)]);
    functions(&mut catalog);
    catalog
}

fn relation(catalog: &mut Catalog, oid: u32, schema: &str, name: &str, columns: &[(&str, Oid, i32)]) {
    let name = QualifiedName::new(schema, name);
    let columns = columns
        .iter()
        .zip(1i16..)
        .map(|((name, type_oid, typmod), number)| Column {
            name: (*name).into(),
            number,
            type_oid: *type_oid,
            typmod: *typmod,
            not_null: *name == "id",
            collation: if super::sqltype::is_text(*type_oid) { Oid(100) } else { NONE },
            ..Column::default()
        })
        .collect();
    let relation =
        Relation { oid: Oid(oid), name: name.clone(), kind: RelationKind::Table, columns, ..Relation::default() };
    catalog.relations.insert(name, Arc::new(relation));
}

fn functions(catalog: &mut Catalog) {
    let list: [(&str, &[Oid], Oid, char, char); 14] = [
        ("lower", &[TEXT], TEXT, 'i', 'f'),
        ("upper", &[TEXT], TEXT, 'i', 'f'),
        ("length", &[TEXT], INT4, 'i', 'f'),
        ("length", &[BPCHAR], INT4, 'i', 'f'),
        ("abs", &[INT4], INT4, 'i', 'f'),
        ("abs", &[NUMERIC], NUMERIC, 'i', 'f'),
        ("now", &[], TIMESTAMPTZ, 's', 'f'),
        ("random", &[], FLOAT8, 'v', 'f'),
        ("date_trunc", &[TEXT, TIMESTAMP], TIMESTAMP, 'i', 'f'),
        ("to_char", &[TIMESTAMP, TEXT], TEXT, 's', 'f'),
        ("version", &[], TEXT, 's', 'f'),
        ("max", &[INT4], INT4, 'i', 'a'),
        ("substr", &[TEXT, INT4], TEXT, 'i', 'f'),
        ("md5", &[TEXT], TEXT, 'i', 'f'),
    ];
    for (number, (name, args, result, volatility, kind)) in (1_000u32..).zip(list) {
        let function = Function {
            oid: Oid(number),
            args: args.to_vec(),
            result,
            volatility,
            kind,
            language: "internal".into(),
            ..Function::default()
        };
        catalog.functions.entry(name.into()).or_default().push(function);
    }
    for pair in [(INT4, INT8), (INT4, NUMERIC), (VARCHAR, TEXT), (INT4, TEXT)] {
        catalog.casts.insert(pair, Cast { context: 'i', method: 'f', ..Cast::default() });
    }
}

/// Someone with no entitlements.
pub(crate) fn caller(user: &str) -> Caller {
    Caller {
        user: user.into(),
        iam: "bim".into(),
        groups: Default::default(),
        attributes: Default::default(),
        project: None,
        purposes: Default::default(),
        before: None,
    }
}

/// Someone in groups, vouched for by `bim`.
pub(crate) fn in_groups(user: &str, groups: &[&str]) -> Caller {
    let mut caller = caller(user);
    caller.groups = groups.iter().map(|g| Entitlement { value: (*g).into(), iam: "bim".into() }).collect();
    caller
}

pub(crate) fn group(name: &str, iam: Option<&str>) -> GroupCondition {
    GroupCondition { name: name.into(), iam: iam.map(Into::into) }
}

pub(crate) fn owner(name: &str, is_group: bool) -> Owner {
    Owner { is_group, name: name.into(), iam: None }
}

/// A data policy without actions that applies everywhere.
pub(crate) fn policy(key: &str) -> Policy {
    Policy {
        key: key.into(),
        name: key.into(),
        staged: false,
        inactive: None,
        circumstances: Circumstances::Everywhere,
        owner_restrictions: Vec::new(),
        body: PolicyBody::Data(Vec::new()),
        certification: None,
        origin: Origin::default(),
    }
}

/// A data policy whose rules form one chain.
pub(crate) fn data_policy(key: &str, rules: Vec<Rule>) -> Policy {
    Policy { body: PolicyBody::Data(vec![Action { rules, description: None }]), ..policy(key) }
}

/// A subscription policy.
pub(crate) fn subscription(key: &str, kind: SubscriptionKind) -> Policy {
    let subscription = Subscription {
        kind,
        automatic: true,
        allow_discovery: false,
        share_responsibility: false,
        write: false,
        description: None,
    };
    Policy { body: PolicyBody::Subscription(subscription), ..policy(key) }
}

/// A rule for everyone.
pub(crate) fn rule(kind: RuleKind) -> Rule {
    Rule {
        kind,
        exceptions: None,
        inclusions: None,
        origin: Origin::default(),
        predicate_places: crate::governance::places::Places::default(),
    }
}

/// A mask on columns carrying a tag.
pub(crate) fn masking(tag: &str, mask: Mask) -> RuleKind {
    RuleKind::Masking { fields: vec![FieldSelector::ColumnTag(tag.into())], mask, conditional: None }
}

/// A mask on the columns of that name.
pub(crate) fn mask_column(name: &str, mask: Mask, conditional: Option<&str>) -> RuleKind {
    let regex = Arc::new(regex::Regex::new(&format!("^{name}$")).unwrap());
    RuleKind::Masking {
        fields: vec![FieldSelector::ColumnRegex(regex)],
        mask,
        conditional: conditional.map(Into::into),
    }
}

pub(crate) fn document(sources: Option<Vec<Source>>) -> DataDocument {
    DataDocument {
        connection_key: "main".into(),
        server: Some("svc@db:5432/tpc".into()),
        schema: None,
        name_template: NameTemplate::default(),
        table_tags: Vec::new(),
        owners: Vec::new(),
        sources,
        origin: Origin::default(),
    }
}

pub(crate) fn table(schema: &str, name: &str) -> Source {
    Source::Table(Box::new(TableSource {
        remote: QualifiedName::new(schema, name),
        query: None,
        data_source: None,
        logical_schema: None,
        logical_table: None,
        columns: None,
        table_tags: Vec::new(),
        column_tags: Vec::new(),
        owners: None,
        event_time: None,
        high_cardinality: None,
        created_at: None,
        description: None,
        column_descriptions: Vec::new(),
        origin: Origin::default(),
    }))
}

/// `hr.person` as document: tagged `PCI.Cards`, `ssn` tagged `Discovered.Passport`, `country` tagged `Discovered.Country`.
pub(crate) fn person() -> DataDocument {
    let mut source = table("hr", "person");
    if let Source::Table(t) = &mut source {
        t.table_tags = vec!["PCI.Cards".into()];
        t.column_tags = vec![
            ("ssn".into(), vec!["Discovered.Passport".into()]),
            ("country".into(), vec!["Discovered.Country".into()]),
        ];
        t.event_time = Some("seen".into());
        t.high_cardinality = Some("id".into());
        t.created_at = Some("2020-12-10T00:00:00Z".parse().unwrap());
    }
    document(Some(vec![source]))
}

/// `hr.person` as data source.
pub(crate) fn source() -> DataSource {
    let declared = Declared { data: vec![person()], ..Declared::default() };
    expand(&declared, "main", &catalog(), &Salts::new(b"s"), &mut Vec::new()).remove(0)
}
