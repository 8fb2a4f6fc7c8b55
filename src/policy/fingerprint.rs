//! What fingerprints mean for masks: the range of a column, and from it the size of its buckets.
//!
//! In: fingerprint documents and the data sources they speak of. Out: columns that know theirs. Must never: look at the warehouse; a
//! range that moved with hidden rows would tell of them.

use super::nearest::did_you_mean;
use super::source::{DataSource, DictColumn};
use super::sqltype::{has_fixed_text, is_int, is_number, oids::*};
use crate::catalog::Catalog;
use crate::governance::model::{ColumnFingerprint, Fingerprint, Origin, TimePrecision};
use crate::governance::problem::Problem;
use crate::types::{Oid, quote_ident};
use std::collections::HashMap;
use std::sync::Arc;

/// Buckets wanted of a column grouped by its fingerprint, about.
const BUCKETS: f64 = 10.0;

/// The range of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Span {
    /// Least and greatest, as text of a decimal number and as a number.
    Numbers { texts: (String, String), least: f64, greatest: f64 },
    /// Seconds from the first to the last instant.
    Times(i64),
}

/// What to measure of a data source to make its fingerprint.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The data source's name.
    pub source: Arc<str>,
    /// Its relation, as SQL.
    relation: String,
    /// Columns whose range is measured.
    ranged: Vec<(String, Oid)>,
    /// Columns whose values may be listed.
    listed: Vec<String>,
}

/// Values that fewer rows hold are not listed: they would tell of those rows.
const FEWEST_HOLDERS: u32 = 5;

impl Measure {
    /// What can be measured of a data source.
    pub(crate) fn of(source: &DataSource, catalog: &Catalog) -> Self {
        let ranged = source.columns.iter().filter(|c| has_span(c.type_oid)).map(|c| (c.name.clone(), c.type_oid));
        // Truth values and enums have a domain of their own.
        let own_domain = |ty: Oid| ty == BOOL || catalog.types.get(&ty).is_some_and(|t| t.kind == 'e');
        let listed = source.columns.iter().filter(|c| has_fixed_text(catalog, c.type_oid) && !own_domain(c.type_oid));
        Self {
            source: Arc::clone(&source.name),
            relation: source.relation_sql(),
            ranged: ranged.collect(),
            listed: listed.map(|c| c.name.clone()).collect(),
        }
    }

    /// One row: the number of rows, then least and greatest of each ranged column as text. To be run with ISO dates in UTC.
    pub fn ranges_sql(&self) -> String {
        let mut sql = String::from("SELECT pg_catalog.count(*)");
        for (name, ty) in &self.ranged {
            let value = format!("_sx.{}", quote_ident(name));
            // Neither NaN nor infinities: a difference with itself is 0 for numbers alone.
            let finite = match *ty {
                TIME => format!("{value} IS NOT NULL"),
                ty if is_number(ty) => format!("({value} - {value}) = 0"),
                _ => format!("pg_catalog.isfinite({value})"),
            };
            for end in ["min", "max"] {
                sql.push_str(&format!(", (pg_catalog.{end}({value}) FILTER (WHERE {finite}))::pg_catalog.text"));
            }
        }
        sql + &format!(" FROM {} AS _sx", self.relation)
    }

    /// Columns whose values may be listed, each with the statement: at most `most` + 1 rows of a value and whether enough rows hold it.
    pub fn values_sql(&self, most: usize) -> impl Iterator<Item = (&str, String)> {
        self.listed.iter().map(move |name| {
            let value = format!("_sx.{}", quote_ident(name));
            let sql = format!(
                "SELECT ({value})::pg_catalog.text, pg_catalog.count(*) >= {FEWEST_HOLDERS} FROM {} AS _sx \
                 WHERE {value} IS NOT NULL GROUP BY {value} ORDER BY 1 LIMIT {}",
                self.relation,
                most.saturating_add(1)
            );
            (name.as_str(), sql)
        })
    }

    /// The range of a ranged column, by its place, when masks would understand it.
    pub fn range(
        &self,
        at: usize,
        least: Option<String>,
        greatest: Option<String>,
    ) -> Option<(&str, (String, String))> {
        let (name, ty) = self.ranged.get(at)?;
        let range = Some((least?, greatest?));
        let said = ColumnFingerprint { name: name.clone(), range, values: Vec::new(), origin: Origin::default() };
        span_of(*ty, &said)?;
        said.range.map(|range| (name.as_str(), range))
    }

    /// How many columns are ranged.
    pub fn ranged(&self) -> usize {
        self.ranged.len()
    }
}

/// Gives the columns of data sources what the documents say of them. With `only_one` connection, an unknown data source is a problem.
pub(crate) fn attach(
    fingerprints: &[Fingerprint],
    sources: &mut [DataSource],
    catalog: &Catalog,
    only_one: bool,
    problems: &mut Vec<Problem>,
) {
    if fingerprints.is_empty() {
        return;
    }
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (index, source) in sources.iter().enumerate() {
        by_name.insert(source.logical.to_string(), index);
        by_name.insert(source.name.to_string(), index);
    }
    for fingerprint in fingerprints {
        match by_name.get(&fingerprint.data_source).and_then(|index| sources.get_mut(*index)) {
            Some(source) => attach_one(fingerprint, source, catalog, problems),
            None if only_one => problems.push(Problem::error(
                &fingerprint.origin,
                format!("there is no data source \"{}\"", fingerprint.data_source),
                "remove the fingerprint, or name a registered data source",
            )),
            None => {}
        }
    }
}

fn attach_one(fingerprint: &Fingerprint, source: &mut DataSource, catalog: &Catalog, problems: &mut Vec<Problem>) {
    for said in &fingerprint.columns {
        let Some(index) = source.columns.iter().position(|c| c.name == said.name) else {
            let hint = did_you_mean(&said.name, source.columns.iter().map(|c| c.name.as_str()));
            let help = if hint.is_empty() { "take the fingerprint again".to_owned() } else { hint };
            let message = format!("\"{}\" has no column \"{}\"", source.name, said.name);
            problems.push(Problem::error(&said.origin, message, help));
            continue;
        };
        let Some(column) = source.columns.get_mut(index) else { continue };
        if said.range.is_some() && span_of(column.type_oid, said).is_none() {
            let ty = catalog.types.get(&column.type_oid).map_or("its type", |t| &t.sql);
            problems.push(Problem::error(
                &said.origin,
                format!("`min` and `max` of \"{}\" are no range of {ty}", said.name),
                "write two numbers, or two ISO dates or times, the lesser first",
            ));
        }
        column.fingerprint = Some(Arc::new(said.clone()));
    }
}

/// The range of a column, when its fingerprint tells it.
pub(crate) fn span(column: &DictColumn) -> Option<Span> {
    span_of(column.type_oid, column.fingerprint.as_deref()?)
}

/// Whether columns of a type have a range.
pub(crate) fn has_span(ty: Oid) -> bool {
    is_number(ty) || [DATE, TIME, TIMESTAMP, TIMESTAMPTZ].contains(&ty)
}

/// The range that two texts stand for in a type.
pub(crate) fn span_of(ty: Oid, said: &ColumnFingerprint) -> Option<Span> {
    let (first, last) = said.range.as_ref()?;
    if is_number(ty) {
        let (least, greatest) = (number(first)?, number(last)?);
        return (least <= greatest && (greatest - least).is_finite()).then(|| Span::Numbers {
            texts: (first.clone(), last.clone()),
            least,
            greatest,
        });
    }
    let seconds = match ty {
        DATE => seconds(first, last, |t| Some(t.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0))),
        TIMESTAMP => seconds(first, last, |t| t.parse::<jiff::civil::DateTime>().ok()),
        TIMESTAMPTZ => seconds(first, last, |t| {
            let instant = t.parse::<jiff::Timestamp>().ok()?;
            Some(instant.to_zoned(jiff::tz::TimeZone::UTC).datetime())
        }),
        TIME => seconds(first, last, |t| {
            let time = t.parse::<jiff::civil::Time>().ok()?;
            Some(jiff::civil::date(2000, 1, 1).to_datetime(time))
        }),
        _ => None,
    };
    seconds.filter(|s| *s >= 0).map(Span::Times)
}

/// A decimal number as PostgreSQL writes one, neither NaN nor infinite.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    text.parse::<f64>().ok().filter(|n| plain && n.is_finite())
}

fn seconds(first: &str, last: &str, read: impl Fn(&str) -> Option<jiff::civil::DateTime>) -> Option<i64> {
    let (first, last) = (read(first)?, read(last)?);
    (first <= last).then(|| last.duration_since(first).as_secs())
}

/// The least of 1, 2, 5 × 10^k that gives no more than about ten buckets, as decimal text. Whole numbers are grouped at least by two:
/// steps of one would show them.
pub(crate) fn bucket_size(ty: Oid, least: f64, greatest: f64) -> String {
    let wanted = (greatest - least) / BUCKETS;
    let floor = if is_int(ty) { 2.0 } else { f64::MIN_POSITIVE };
    let wanted = if wanted > 0.0 { wanted.max(floor) } else { floor.max(1.0) };
    let mut power = wanted.log10().floor();
    let head = wanted / 10f64.powf(power);
    // A quotient that should be whole may be a hair above it.
    let digit = [1u8, 2, 5].into_iter().find(|d| head <= f64::from(*d) * (1.0 + 1e-9));
    let digit = digit.unwrap_or_else(|| {
        power += 1.0;
        1
    });
    // INVARIANT: the logarithm of a positive f64 is between -324 and 309.
    #[allow(clippy::cast_possible_truncation)]
    let power = power as i32;
    match usize::try_from(power.abs()).unwrap_or(0) {
        zeros if power >= 0 && zeros <= 30 => format!("{digit}{}", "0".repeat(zeros)),
        zeros if power < 0 && zeros <= 30 => format!("0.{}{digit}", "0".repeat(zeros - 1)),
        _ => format!("{digit}e{power}"),
    }
}

/// The coarsest precision that gives at least about ten buckets. Days are no grouping of dates, so those are grouped by weeks at least.
pub(crate) fn precision(ty: Oid, seconds: i64) -> TimePrecision {
    const DAY: i64 = 86_400;
    let steps = [
        (365 * DAY, TimePrecision::Year),
        (91 * DAY, TimePrecision::Quarter),
        (30 * DAY, TimePrecision::Month),
        (7 * DAY, TimePrecision::Week),
        (DAY, TimePrecision::Day),
        (3_600, TimePrecision::Hour),
    ];
    let wanted = steps.into_iter().find(|(length, _)| seconds / length >= 10).map_or(TimePrecision::Minute, |s| s.1);
    match (ty, wanted) {
        (DATE, TimePrecision::Day | TimePrecision::Hour | TimePrecision::Minute) => TimePrecision::Week,
        (_, wanted) => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{catalog, source};

    fn said(name: &str, range: Option<(&str, &str)>) -> ColumnFingerprint {
        let range = range.map(|(a, b)| (a.to_owned(), b.to_owned()));
        ColumnFingerprint { name: name.into(), range, values: Vec::new(), origin: Origin::default() }
    }

    #[test]
    fn buckets_are_nice_and_about_ten() {
        for (least, greatest, step) in [
            (0.0, 100.0, "10"),
            (0.0, 101.0, "20"),
            (-3.0, 17.0, "2"),
            (0.0, 30.0, "5"),
            (0.0, 1.0, "0.1"),
            (0.0, 0.3, "0.05"),
            (0.0, 6e-7, "0.0000001"),
            (5.0, 5.0, "1"),
            (0.0, 9e40, "1e40"),
            (0.0, 7e12, "1000000000000"),
        ] {
            assert_eq!(bucket_size(FLOAT8, least, greatest), step, "{least} {greatest}");
            let n = (greatest - least) / step.parse::<f64>().unwrap();
            assert!(n <= 10.1 && (n >= 3.9 || least == greatest), "{least} {greatest}: {n} buckets");
        }
        for (least, greatest, step) in
            [(0.0, 3.0, "2"), (7.0, 7.0, "2"), (0.0, 100.0, "10"), (-9e18, 9e18, "2000000000000000000")]
        {
            assert_eq!(bucket_size(INT8, least, greatest), step);
        }
    }

    #[test]
    fn precision_follows_the_range() {
        use TimePrecision as P;
        for (days, wanted) in [
            (3651, P::Year),
            (3649, P::Quarter),
            (300, P::Month),
            (299, P::Week),
            (69, P::Day),
            (9, P::Hour),
            (0, P::Minute),
        ] {
            assert_eq!(precision(TIMESTAMP, days * 86_400), wanted, "{days}");
        }
        assert_eq!(precision(DATE, 69 * 86_400), P::Week);
    }

    #[test]
    fn ranges_are_read_as_their_type_writes_them() {
        let span = |ty, a, b| span_of(ty, &said("x", Some((a, b))));
        assert!(
            matches!(span(NUMERIC, "-1.50", "1e3"), Some(Span::Numbers { least, greatest, .. }) if least == -1.5 && greatest == 1000.0)
        );
        assert_eq!(span(DATE, "2024-01-01", "2024-01-03"), Some(Span::Times(172_800)));
        assert_eq!(span(TIMESTAMP, "2024-01-01 00:00:00", "2024-01-01 00:01:00.5"), Some(Span::Times(60)));
        assert_eq!(span(TIMESTAMPTZ, "2024-01-01 00:00:00+00", "2024-01-01 01:00:00+00"), Some(Span::Times(3600)));
        assert_eq!(span(TIME, "01:00:00", "02:00:00"), Some(Span::Times(3600)));
        for (ty, a, b) in [
            (INT4, "2", "1"),
            (INT4, "1", "NaN"),
            (FLOAT8, "-1.7e308", "1.7e308"),
            (INT4, "x", "1"),
            (DATE, "yesterday", "2024-01-01"),
            (TEXT, "a", "b"),
            (DATE, "2024-01-03", "2024-01-01"),
        ] {
            assert_eq!(span(ty, a, b), None, "{a} {b}");
        }
    }

    #[test]
    fn what_does_not_exist_is_a_problem() {
        let catalog = catalog();
        let mut sources = [source()];
        let document = |name: &str, columns: Vec<ColumnFingerprint>| Fingerprint {
            data_source: name.into(),
            instant: jiff::Timestamp::UNIX_EPOCH,
            rows: 1,
            columns,
            origin: Origin::default(),
        };
        let mut problems = Vec::new();
        let list = [
            document("hr.person", vec![said("born", Some(("2000-01-01", "2020-01-01"))), said("bron", None)]),
            document("hr.persona", Vec::new()),
            document("hr.person", vec![said("id", Some(("a", "b")))]),
        ];
        attach(&list, &mut sources, &catalog, true, &mut problems);
        let told: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(
            told,
            [
                "\"hr.person\" has no column \"bron\"",
                "there is no data source \"hr.persona\"",
                "`min` and `max` of \"id\" are no range of int4",
            ]
        );
        assert!(problems[0].help.contains("born"));
        let born = sources[0].columns.iter().find(|c| c.name == "born").unwrap();
        assert!(matches!(super::span(born), Some(Span::Times(_))));
        problems.clear();
        attach(&list[1..2], &mut sources, &catalog, false, &mut problems);
        assert!(problems.is_empty(), "it may be another connection's");
    }
}
