//! The tables, filled by chance once for a run.

use crate::dice::Dice;
use crate::spec::{Cell, Table, Type};
use std::fmt::Write;

/// Values that texts share with groups and attributes, so that entitlements meet them, and some that try quoting.
pub const TEXTS: &[&str] =
    &["Staff", "Sales", "Bonn", "Köln", "a1-22", "B2b-7", "O'Hara", "x\\y", "7", "{a,b}", "", "u1", "ÄÖ ü"];

/// A day in seconds.
pub const DAY: i64 = 86_400;

/// Columns every table has, for predicates that hold everywhere.
const CORE: &[(&str, Type)] =
    &[("id", Type::Int4), ("region", Type::Text), ("qty", Type::Int4), ("born", Type::Date), ("flag", Type::Bool)];

const MORE: &[(&str, Type)] = &[
    ("code", Type::Varchar),
    ("note", Type::Text),
    ("tiny", Type::Int2),
    ("big", Type::Int8),
    ("amount", Type::Numeric),
    ("seen", Type::Instant),
    ("ref", Type::Uuid),
];

/// Five tables; instants lie around `now`.
pub fn tables(now: i64, rows: usize) -> Vec<Table> {
    let mut dice = Dice::new(77);
    ["t0", "t1", "t2", "t3", "t4"]
        .into_iter()
        .enumerate()
        .map(|(number, name)| {
            let mut columns = CORE.to_vec();
            columns.extend(
                MORE.iter().enumerate().filter(|(at, _)| number == 0 || (at + number) % 3 != 0).map(|(_, c)| *c),
            );
            let filled = (0..rows)
                .map(|row| columns.iter().map(|(c, ty)| cell(&mut dice, row, c, *ty, now)).collect())
                .collect();
            Table { name, columns, rows: filled }
        })
        .collect()
}

fn cell(dice: &mut Dice, row: usize, column: &str, ty: Type, now: i64) -> Cell {
    if column == "id" {
        return Some(row.to_string());
    }
    if dice.percent(12) {
        return None;
    }
    Some(match ty {
        Type::Text => dice.pick(TEXTS).to_owned(),
        Type::Varchar => {
            let text = dice.pick(TEXTS);
            text.chars().take(8).collect()
        }
        Type::Int4 => (dice.roll(41) as i64 - 20).to_string(),
        Type::Int2 => (dice.pick(&[-32768i64, -32767, -11, -1, 0, 1, 9, 10, 255, 32767])).to_string(),
        Type::Int8 => (dice.pick(&[i64::MIN, -9_007_199_254_740_993, -101, -1, 0, 7, 99, 100, i64::MAX])).to_string(),
        Type::Numeric => {
            let hundredths = dice.roll(200_001) as i64 - 100_000;
            let sign = if hundredths < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", hundredths.abs() / 100, hundredths.abs() % 100)
        }
        Type::Date => date(dice.roll(20_000) as i64 - 3_000),
        // Half an hour off every whole hour, so that no run is near enough to a rule's edge for the clock to matter.
        Type::Instant => instant(now / 3600 * 3600 + 1800 - 3600 * dice.roll(24 * 60) as i64),
        Type::Uuid => {
            let hex: String = (0..32).map(|_| char::from_digit(dice.roll(16) as u32, 16).unwrap()).collect();
            dashed(&hex)
        }
        Type::Bool => if dice.percent(50) { "t" } else { "f" }.to_owned(),
    })
}

/// Days since 1970 as `YYYY-MM-DD`.
pub fn date(days: i64) -> String {
    jiff::Timestamp::from_second(days * DAY).unwrap().strftime("%Y-%m-%d").to_string()
}

/// Seconds since 1970 as PostgreSQL prints them in UTC.
pub fn instant(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y-%m-%d %H:%M:%S+00").to_string()
}

/// 32 hexadecimal digits as a UUID.
pub fn dashed(hex: &str) -> String {
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// Statements that make and fill the tables.
pub fn sql(tables: &[Table]) -> String {
    let mut out = String::from("SET TimeZone = 'UTC';\n");
    for table in tables {
        let columns: Vec<String> = table.columns.iter().map(|(name, ty)| format!("{name} {}", sql_type(*ty))).collect();
        writeln!(
            out,
            "CREATE TABLE {} ({});",
            table.name,
            columns.join(", ").replacen(" int4", " int4 PRIMARY KEY", 1)
        )
        .unwrap();
        for row in &table.rows {
            let literal =
                |cell: &Cell| cell.as_ref().map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
            let values: Vec<String> = row.iter().map(literal).collect();
            writeln!(out, "INSERT INTO {} VALUES ({});", table.name, values.join(", ")).unwrap();
        }
    }
    out
}

fn sql_type(ty: Type) -> &'static str {
    match ty {
        Type::Text => "text",
        Type::Varchar => "varchar(8)",
        Type::Int2 => "int2",
        Type::Int4 => "int4",
        Type::Int8 => "int8",
        Type::Numeric => "numeric(10,2)",
        Type::Date => "date",
        Type::Instant => "timestamptz",
        Type::Uuid => "uuid",
        Type::Bool => "bool",
    }
}
