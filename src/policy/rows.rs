//! Row rules as boolean SQL.
//!
//! In: a row rule of a policy and a data source. Out: [`Rows`]. Must never: show rows because something is missing; a rule whose
//! column does not exist hides every row.

use super::bytes::fixed_bytes;
use super::decision::ROW_ALIAS;
use super::predicate::{Few, fixed_text};
use super::source::{DataSource, DictColumn};
use super::sqltype::{base_type, oids::*};
use super::template::{CallerSet, Sql};
use crate::catalog::Catalog;
use crate::governance::model::{ColumnSelector, EntitlementMatch, Held, tag_matches};
use crate::types::quote_ident;

/// A compiled row rule.
#[derive(Clone)]
pub(crate) struct Rows {
    /// The condition for a row to be shown.
    pub(crate) sql: Sql,
    /// Never raises on any row.
    pub(crate) total: bool,
    /// Holds a sub-query that the planner may turn into a join.
    pub(crate) has_subquery: bool,
    /// The form to send while the sets that it looks up are small.
    pub(crate) few: Option<Box<Few>>,
    /// One line for people.
    pub(crate) summary: String,
    /// Columns it looks at.
    pub(crate) columns: Vec<String>,
}

/// What binding a row rule gives besides the rule.
pub(crate) enum Note {
    /// Hides every row; somebody should look.
    Warning(String, &'static str),
    /// The policy is invalid on this data source.
    Error(String, String),
}

/// Longest interval of a time rule: 6000 years of 365.25 days, so that `now() - interval` stays a timestamp.
const MAX_SECONDS: u64 = 6_000 * 31_557_600;

impl Rows {
    /// No row at all.
    pub(crate) fn none(summary: impl Into<String>) -> Self {
        Self {
            sql: Sql::text("FALSE"),
            total: true,
            has_subquery: false,
            few: None,
            summary: summary.into(),
            columns: Vec::new(),
        }
    }
}

fn sql_of(column: &DictColumn) -> String {
    format!("{ROW_ALIAS}.{}", quote_ident(&column.name))
}

/// Rows whose column values are among the caller's groups or attribute values.
pub(crate) fn by_entitlement(
    all: bool,
    matches: &[EntitlementMatch],
    source: &DataSource,
    catalog: &Catalog,
    notes: &mut Vec<Note>,
) -> Option<Rows> {
    let mut tests = Vec::new();
    let mut said = Vec::new();
    let mut columns = Vec::new();
    let mut total = true;
    for one in matches {
        let (set, owner) = match &one.held {
            Held::Groups => (CallerSet::Groups { iam: one.iam.clone() }, "the caller's groups".to_owned()),
            Held::Attribute(name) => (
                CallerSet::Attribute { name: name.clone(), iam: one.iam.clone() },
                format!("the caller's values of attribute {name}"),
            ),
            Held::Purposes => (CallerSet::Purposes, "the caller's purposes".to_owned()),
        };
        let found = matched_columns(&one.column, source, notes)?;
        if found.is_empty() {
            tests.push(Sql::text("FALSE"));
        }
        for column in found {
            let ty = base_type(catalog, column.type_oid);
            match fixed_text(catalog, Sql::text(sql_of(column)), ty) {
                Some((sql, form)) => {
                    tests.push(Sql::contains(set.clone(), sql, form));
                    total &= ty != DATE;
                }
                None => {
                    notes.push(Note::Warning(
                        format!("column \"{}\" cannot be compared with names: no row is shown", column.name),
                        "match a text, number, uuid, boolean, enum or date column",
                    ));
                    tests.push(Sql::text("FALSE"));
                }
            }
            said.push(format!("{} in {owner}", column.name));
            columns.push(column.name.clone());
        }
    }
    if tests.is_empty() {
        return Some(Rows::none("no match is declared"));
    }
    let (word, joined) = if all { (" AND ", " and ") } else { (" OR ", " or ") };
    let sql = Sql::wrap("(", Sql::join(tests, word), ")");
    Some(Rows { sql, total, has_subquery: false, few: None, summary: said.join(joined), columns })
}

/// The columns of a selector; `None` when it names one that does not exist.
fn matched_columns<'a>(
    selector: &ColumnSelector,
    source: &'a DataSource,
    notes: &mut Vec<Note>,
) -> Option<Vec<&'a DictColumn>> {
    match selector {
        ColumnSelector::Tag(tag) => {
            let found: Vec<_> = source.columns.iter().filter(|c| c.tags.iter().any(|t| tag_matches(tag, t))).collect();
            if found.is_empty() {
                notes.push(Note::Warning(
                    format!("no column of \"{}\" carries the tag {tag}: no row is shown", source.logical),
                    "tag a column, or add a `columnTags` circumstance to the policy",
                ));
            }
            Some(found)
        }
        ColumnSelector::Name(name) => {
            let found: Vec<_> = source.columns.iter().filter(|c| c.name == *name).collect();
            if found.is_empty() {
                notes.push(Note::Error(
                    format!("\"{}\" has no column \"{name}\"", source.logical),
                    super::nearest::did_you_mean(name, source.columns.iter().map(|c| c.name.as_str())),
                ));
                return None;
            }
            Some(found)
        }
    }
}

/// A column that a row rule names itself, or the data source's column of that role. `Err`: what hides every row.
fn role<'a>(
    named: Option<&str>,
    of_source: Option<&'a DictColumn>,
    source: &'a DataSource,
    what: (&str, &'static str),
    notes: &mut Vec<Note>,
) -> Result<&'a DictColumn, Rows> {
    match (named, of_source) {
        (Some(name), _) => source.columns.iter().find(|c| c.name == name).ok_or_else(|| {
            notes.push(Note::Error(
                format!("\"{}\" has no column \"{name}\"", source.logical),
                super::nearest::did_you_mean(name, source.columns.iter().map(|c| c.name.as_str())),
            ));
            Rows::none(format!("there is no column {name}"))
        }),
        (None, Some(column)) => Ok(column),
        (None, None) => {
            notes.push(Note::Warning(
                format!("\"{}\" has no {} column: no row is shown", source.logical, what.0),
                what.1,
            ));
            Err(Rows::none(format!("the data source has no {} column", what.0)))
        }
    }
}

/// Rows newer or older than an age.
pub(crate) fn by_time(
    newer: bool,
    seconds: u64,
    column: Option<&str>,
    source: &DataSource,
    catalog: &Catalog,
    notes: &mut Vec<Note>,
) -> Rows {
    let what = ("event time", "name one with `eventTime`");
    let column = match role(column, source.event_time.as_ref(), source, what, notes) {
        Ok(column) => column,
        Err(none) => return none,
    };
    // Timestamps without time zone are read as UTC, so that the caller's TimeZone moves nothing.
    let now = match base_type(catalog, column.type_oid) {
        TIMESTAMPTZ => "pg_catalog.now()",
        TIMESTAMP | DATE => "pg_catalog.timezone('UTC', pg_catalog.now())",
        _ => {
            notes.push(Note::Warning(
                format!("event time column \"{}\" is no date or timestamp: no row is shown", column.name),
                "name a date or timestamp column with `eventTime`",
            ));
            return Rows::none("the event time column is no date or timestamp");
        }
    };
    let value = sql_of(column);
    let seconds = seconds.min(MAX_SECONDS);
    // Whole seconds do not depend on any calendar, unlike days.
    let limit = format!("({now} - '{seconds} seconds'::pg_catalog.\"interval\")");
    let op = if newer { ">=" } else { "<" };
    Rows {
        sql: Sql::text(format!("({value} {op} {limit})")),
        total: true,
        has_subquery: false,
        few: None,
        summary: format!("{} {} than {seconds} seconds", column.name, if newer { "newer" } else { "older" }),
        columns: vec![column.name.clone()],
    }
}

/// A sample of rows: those whose `highCardinality` value hashes into the percentile. The data source's own salt is used under every
/// project, so that changing projects shows no other sample.
pub(crate) fn by_sample(
    percent: u8,
    column: Option<&str>,
    source: &DataSource,
    catalog: &Catalog,
    notes: &mut Vec<Note>,
) -> Rows {
    let what = ("high-cardinality", "name one with `highCardinality`");
    let column = match role(column, source.high_cardinality.as_ref(), source, what, notes) {
        Ok(column) => column,
        Err(none) => return none,
    };
    let value = sql_of(column);
    let Some(bytes) = fixed_bytes(catalog, column, &value) else {
        notes.push(Note::Warning(
            format!("high-cardinality column \"{}\" cannot be hashed: no row is shown", column.name),
            "name a text, number, uuid, boolean, enum or time column with `highCardinality`",
        ));
        return Rows::none("the high-cardinality column cannot be hashed");
    };
    let digest = Sql::text("pg_catalog.sha256(").and(Sql::source_salt()).then(&format!(" || {bytes})"));
    let head = Sql::wrap("('x' || pg_catalog.substr(pg_catalog.encode(", digest, ", 'hex'), 1, 8))");
    let number = Sql::wrap("((", head, ")::pg_catalog.\"bit\"(32)::pg_catalog.int8 % '100'::pg_catalog.int8)");
    Rows {
        sql: Sql::wrap("(", number, &format!(" < '{}'::pg_catalog.int8)", percent.min(100))),
        total: true,
        has_subquery: false,
        few: None,
        summary: format!("{percent} percent of rows by {}", column.name),
        columns: vec![column.name.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::template::Filling;
    use crate::policy::testing::{catalog, source};

    fn matching(attribute: Option<&str>, column: ColumnSelector) -> EntitlementMatch {
        let held = attribute.map_or(Held::Groups, |name| Held::Attribute(name.into()));
        EntitlementMatch { held, column, iam: None }
    }

    #[test]
    fn matches_are_joined_by_the_operator() {
        let (source, catalog) = (source(), catalog());
        let matches = [
            matching(None, ColumnSelector::Tag("Discovered".into())),
            matching(Some("site"), ColumnSelector::Name("id".into())),
        ];
        let sql = |all| {
            let mut notes = Vec::new();
            let rows = by_entitlement(all, &matches, &source, &catalog, &mut notes).unwrap();
            assert!(notes.is_empty() && rows.total);
            rows.sql.fill(Filling::Probe)
        };
        assert_eq!(sql(true).matches(" AND ").count(), 2, "two tagged columns and one named");
        assert_eq!(sql(false).matches(" OR ").count(), 2);
        assert!(sql(true).contains(r#"(_sv."id" = ANY ('{"1"}'::pg_catalog.int4[]))"#));
    }

    #[test]
    fn what_is_missing_hides() {
        let (mut source, catalog) = (source(), catalog());
        let mut notes = Vec::new();
        let tagless = [matching(None, ColumnSelector::Tag("Nowhere".into()))];
        let rows = by_entitlement(true, &tagless, &source, &catalog, &mut notes).unwrap();
        assert_eq!(rows.sql.fill(Filling::Probe), "(FALSE)");
        assert!(matches!(notes.pop(), Some(Note::Warning(..))));
        let nameless = [matching(None, ColumnSelector::Name("cuontry".into()))];
        assert!(by_entitlement(true, &nameless, &source, &catalog, &mut notes).is_none());
        assert!(matches!(notes.pop(), Some(Note::Error(_, help)) if help.contains("country")));
        let setting = [matching(None, ColumnSelector::Name("seen".into()))];
        let rows = by_entitlement(false, &setting, &source, &catalog, &mut notes).unwrap();
        assert_eq!(rows.sql.fill(Filling::Probe), "(FALSE)");
        notes.clear();
        source.event_time = None;
        source.high_cardinality = None;
        assert_eq!(by_time(true, 60, None, &source, &catalog, &mut notes).sql.fill(Filling::Probe), "FALSE");
        assert_eq!(by_sample(10, None, &source, &catalog, &mut notes).sql.fill(Filling::Probe), "FALSE");
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn ages_do_not_overflow_and_do_not_move_with_the_time_zone() {
        let (mut source, catalog) = (source(), catalog());
        let mut notes = Vec::new();
        let newer = by_time(true, u64::MAX, None, &source, &catalog, &mut notes).sql.fill(Filling::Probe);
        assert_eq!(
            newer,
            format!(r#"(_sv."seen" >= (pg_catalog.now() - '{MAX_SECONDS} seconds'::pg_catalog."interval"))"#)
        );
        source.event_time = source.columns.iter().find(|c| c.name == "born").cloned();
        let older = by_time(false, 60, None, &source, &catalog, &mut notes).sql.fill(Filling::Probe);
        assert!(older.contains("< (pg_catalog.timezone('UTC', pg_catalog.now()) - '60 seconds'"), "{older}");
        source.event_time = source.columns.iter().find(|c| c.name == "ssn").cloned();
        assert_eq!(by_time(false, 60, None, &source, &catalog, &mut notes).sql.fill(Filling::Probe), "FALSE");
        assert_eq!(notes.len(), 1);
    }
}
