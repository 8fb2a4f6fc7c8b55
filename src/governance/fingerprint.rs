//! Fingerprint documents, of our own shape, as `sqlveil fingerprint` writes them:
//! `dataSource, instant, rows, columns: [{name, min, max, values}]`.
//!
//! In: one document's node. Out: a [`Fingerprint`], or problems. Must never: take half a range for a range.

use crate::governance::model::{ColumnFingerprint, Declared, Fingerprint};
use crate::governance::reader::{Reader, Target};
use crate::governance::tree::Node;

/// Longest list of values: what is longer is no category.
const MAX_VALUES: usize = 1000;

/// Reads one `fingerprints` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a fingerprint") else { return };
    let origin = fields.origin.clone();
    let data_source = reader.required_name(&mut fields, "dataSource");
    let instant = reader.required(&mut fields, "instant").and_then(|n| reader.instant(n));
    let rows = reader.required(&mut fields, "rows").and_then(|n| reader.integer(n, "rows", 0..=u64::MAX));
    let mut columns: Vec<ColumnFingerprint> = Vec::new();
    for item in reader.optional_list(&mut fields, "columns") {
        let Some(column) = column(reader, item) else { continue };
        if columns.iter().any(|c| c.name == column.name) {
            reader.error(item, format!("the column `{}` is listed twice", column.name), "remove one of them");
        } else {
            columns.push(column);
        }
    }
    reader.finish(fields);
    let Some(data_source) = data_source else { return };
    reader.refer(Target::DataSource, &data_source);
    if let (Some(instant), Some(rows)) = (instant, rows) {
        declared.fingerprints.push(Fingerprint { data_source: data_source.0, instant, rows, columns, origin });
    }
}

fn column(reader: &mut Reader, node: &Node) -> Option<ColumnFingerprint> {
    let mut fields = reader.fields(node, "a column of a fingerprint")?;
    let origin = fields.origin.clone();
    let name = reader.required_name(&mut fields, "name");
    let least = fields.optional("min").map(|n| reader.scalar(n));
    let greatest = fields.optional("max").map(|n| reader.scalar(n));
    let items = reader.optional_list(&mut fields, "values");
    let mut values: Vec<String> = Vec::new();
    for item in items {
        let Some((value, _)) = reader.scalar(item) else { continue };
        if values.contains(&value) {
            reader.warn(item, "a value is listed twice", "remove one of them");
        } else {
            values.push(value);
        }
    }
    if items.len() > MAX_VALUES {
        reader.error_at(
            &origin,
            format!("more than {MAX_VALUES} values"),
            "list those of columns with few values only",
        );
    }
    reader.finish(fields);
    let range = match (least, greatest) {
        (None, None) => None,
        (Some(least), Some(greatest)) => Some((least?.0, greatest?.0)),
        _ => {
            reader.error_at(&origin, "`min` without `max`, or `max` without `min`", "give both, or neither");
            return None;
        }
    };
    Some(ColumnFingerprint { name: name?.0, range, values, origin })
}
