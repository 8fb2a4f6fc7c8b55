//! The rules of data policies: masks and row restrictions (V2 `actions[].rules[]` of seed 004).
//!
//! In: one rule's node. Out: a [`Rule`], or problems. Must never: take a mask it does not know for one it knows.

use crate::governance::model::{
    ColumnSelector, EntitlementMatch, FieldSelector, Held, Mask, Rule, RuleKind, TimePrecision,
};
use crate::governance::places::Places;
use crate::governance::policy::{audience, column_regex, operator_is_all, required_tag};
use crate::governance::reader::{Fields, Reader, Target, kind};
use crate::governance::tree::{Node, Value};
use crate::governance::v1;

/// The purpose that stands for any purpose at all (seed 004, V2 example "Purpose").
pub const ANY_PURPOSE: &str = "<ANY PURPOSE>";

/// Longest `time` of a time restriction: 1000 years of seconds.
const MAX_SECONDS: u64 = 1000 * 366 * 86_400;

const RULES: [&str; 7] = [
    "Masking",
    "Row Restriction By User Entitlements",
    "Row Restriction by Custom Where Clause",
    "Time Restriction",
    "Minimization",
    "Purpose Restriction",
    "showRowsNever",
];

/// Reads one rule.
pub fn read(reader: &mut Reader, node: &Node) -> Option<Rule> {
    let mut fields = reader.fields(node, "a rule")?;
    let origin = fields.origin.clone();
    let kind = reader.required(&mut fields, "type").and_then(|n| reader.word(n, "rule type", &RULES, true));
    let exceptions = audience(reader, &mut fields, "exceptions");
    let inclusions = audience(reader, &mut fields, "inclusions");
    let never = kind == Some("showRowsNever");
    let config = if never { fields.take("config") } else { reader.required(&mut fields, "config") };
    reader.finish(fields);
    if never && config.is_none_or(Node::is_null) {
        let predicate_places = Places::all_at(origin.clone());
        return Some(Rule { kind: RuleKind::Never, exceptions, inclusions, origin, predicate_places });
    }
    let (kind, config_node) = (kind?, config?);
    let predicate_places =
        predicate_node(config_node).map_or_else(|| Places::all_at(origin.clone()), |node| reader.places(node));
    let mut config = reader.fields(config_node, "the config of a rule")?;
    let found = match kind {
        "Masking" => masking(reader, &mut config),
        "Row Restriction By User Entitlements" => by_entitlements(reader, &mut config),
        "Row Restriction by Custom Where Clause" => {
            let node = reader.required(&mut config, "predicate");
            node.and_then(|n| predicate(reader, n)).map(RuleKind::RowByWhere)
        }
        "Time Restriction" => time(reader, &mut config),
        "Minimization" => {
            let node = reader.required(&mut config, "percent");
            let percent = node.and_then(|n| reader.integer(n, "percent", 0..=100));
            let percent = percent.and_then(|p| u8::try_from(p).ok());
            let column = reader.optional_name(&mut config, "hashPhrase").map(|(name, _)| name);
            percent.map(|percent| RuleKind::Minimization { percent, column })
        }
        "showRowsNever" => Some(RuleKind::Never),
        _ => purpose(reader, &mut config),
    };
    reader.finish(config);
    Some(Rule { kind: found?, exceptions, inclusions, origin, predicate_places })
}

/// The predicate of a rule's config, for the origin of its problems.
fn predicate_node(config: &Node) -> Option<&Node> {
    let Value::Map(entries) = &config.value else { return None };
    let is_predicate = |name: &str| name == "predicate" || name == "conditionalPredicate";
    entries.iter().find(|(key, _)| is_predicate(&key.name)).map(|(_, node)| node)
}

/// A predicate's text; its meaning is `policy`'s business.
fn predicate(reader: &mut Reader, node: &Node) -> Option<String> {
    let (text, _) = reader.text(node)?;
    if text.trim().is_empty() {
        reader.error(node, "the predicate is empty", "write a condition over the row");
        return None;
    }
    Some(text)
}

fn by_entitlements(reader: &mut Reader, config: &mut Fields<'_>) -> Option<RuleKind> {
    let all = operator_is_all(reader, config, "operator");
    let node = reader.required(config, "matches")?;
    let items = match &node.value {
        Value::Map(_) => std::slice::from_ref(node),
        _ => reader.some(node, "matches", "add a match of a column with the caller's groups or an attribute")?,
    };
    let matches: Vec<Option<EntitlementMatch>> = items.iter().map(|item| entitlement_match(reader, item)).collect();
    let matches: Option<Vec<EntitlementMatch>> = matches.into_iter().collect();
    Some(RuleKind::RowByEntitlement { all, matches: matches? })
}

fn entitlement_match(reader: &mut Reader, node: &Node) -> Option<EntitlementMatch> {
    let mut fields = reader.fields(node, "a match")?;
    let kind = reader
        .required(&mut fields, "type")
        .and_then(|n| reader.word(n, "match type", &["group", "attribute", "purpose"], false));
    let tag = reader.optional_name(&mut fields, "tag").and_then(|placed| reader.used_tag(placed));
    let column = reader.optional_name(&mut fields, "column").map(|(name, _)| name);
    let attribute = reader.optional_name(&mut fields, "attribute").map(|(name, _)| name);
    let iam = reader.optional_name(&mut fields, "iam").map(|(iam, _)| iam);
    reader.finish(fields);
    let column = match (tag, column) {
        (Some(tag), None) => ColumnSelector::Tag(tag),
        (None, Some(name)) => ColumnSelector::Name(name),
        _ => {
            reader.error(
                node,
                "a match needs either `tag` or `column`",
                "name the compared column in one of the two ways",
            );
            return None;
        }
    };
    match (kind?, attribute) {
        ("group", None) => Some(EntitlementMatch { held: Held::Groups, column, iam }),
        ("attribute", Some(name)) => Some(EntitlementMatch { held: Held::Attribute(name), column, iam }),
        ("purpose", None) if iam.is_none() => Some(EntitlementMatch { held: Held::Purposes, column, iam: None }),
        ("purpose", None) => {
            reader.error(node, "`iam` in a match of type purpose", "remove it: purposes come from the project");
            None
        }
        (kind @ ("group" | "purpose"), Some(_)) => {
            let message = format!("`attribute` in a match of type {kind}");
            reader.error(node, message, "remove it, or write `type: attribute`");
            None
        }
        _ => {
            reader.error(node, "a match of type attribute without `attribute`", "name the attribute");
            None
        }
    }
}

fn time(reader: &mut Reader, config: &mut Fields<'_>) -> Option<RuleKind> {
    let side = reader.required(config, "isOlderOrNewer");
    let side = side.and_then(|n| reader.word(n, "side", &["newer", "older"], true));
    let seconds = reader.required(config, "time").and_then(|n| reader.integer(n, "time", 1..=MAX_SECONDS));
    let column = reader.optional_name(config, "eventTimeColumn").map(|(name, _)| name);
    Some(RuleKind::Time { newer: side? == "newer", seconds: seconds?, column })
}

fn purpose(reader: &mut Reader, config: &mut Fields<'_>) -> Option<RuleKind> {
    let all = operator_is_all(reader, config, "operator");
    let node = reader.required(config, "purposes")?;
    let items = reader.some(node, "purposes", "name purposes, or write \"<ANY PURPOSE>\"")?;
    let placed = reader.distinct_names(items);
    if placed.is_empty() {
        return None;
    }
    if placed.iter().any(|(name, _)| name == ANY_PURPOSE) {
        if placed.len() > 1 {
            reader.error(node, format!("`{ANY_PURPOSE}` beside named purposes"), "keep one or the other");
            return None;
        }
    } else {
        placed.iter().for_each(|p| reader.refer(Target::Purpose, p));
    }
    Some(RuleKind::Purpose { all, purposes: placed.into_iter().map(|(name, _)| name).collect() })
}

const FIELDS: [&str; 6] = ["columnTags", "columnRegex", "anyTag", "noTags", "allColumns", "column"];

fn masking(reader: &mut Reader, config: &mut Fields<'_>) -> Option<RuleKind> {
    let conditional = config.optional("conditionalPredicate").map(|n| predicate(reader, n));
    let mask = reader.required(config, "maskingConfig").and_then(|n| mask(reader, n));
    let node = reader.required(config, "fields")?;
    let items = reader.some(node, "fields", "select at least one field, or write `type: allColumns`")?;
    let fields: Vec<Option<FieldSelector>> = items.iter().map(|item| field(reader, item)).collect();
    let fields: Option<Vec<FieldSelector>> = fields.into_iter().collect();
    if conditional == Some(None) {
        return None;
    }
    Some(RuleKind::Masking { fields: fields?, mask: mask?, conditional: conditional.flatten() })
}

fn field(reader: &mut Reader, node: &Node) -> Option<FieldSelector> {
    let mut fields = reader.fields(node, "a field selector")?;
    let kind = reader.required(&mut fields, "type").and_then(|n| reader.word(n, "field selector", &FIELDS, false))?;
    let found = match kind {
        "columnTags" => required_tag(reader, &mut fields, "columnTag").map(FieldSelector::ColumnTag),
        "columnRegex" => column_regex(reader, &mut fields).map(FieldSelector::ColumnRegex),
        "anyTag" => Some(FieldSelector::AnyTag),
        "noTags" => Some(FieldSelector::NoTags),
        "column" => reader.required_name(&mut fields, "column").map(|(name, _)| FieldSelector::Column(name)),
        _ => Some(FieldSelector::AllColumns),
    };
    reader.finish(fields);
    found
}

const MASKS: [&str; 9] = [
    "Null",
    "Constant",
    "Hash",
    "Regular Expression",
    "Grouping",
    "K-Anonymization",
    "Reversible",
    "Format Preserving Masking",
    "Randomized Response",
];

fn mask(reader: &mut Reader, node: &Node) -> Option<Mask> {
    let node = &v1::masking_config(reader, node)?;
    let mut fields = reader.fields(node, "a maskingConfig")?;
    let type_node = reader.required(&mut fields, "type")?;
    if type_node.is_null() {
        reader.error(type_node, "a masking type of null", "write the type in quotes: \"Null\"");
        return None;
    }
    let kind = reader.word(type_node, "masking type", &MASKS, true)?;
    let found = match kind {
        "Null" => Some(Mask::Null),
        "Hash" => Some(Mask::Hash),
        "Reversible" => Some(Mask::Reversible),
        "Constant" => constant(reader, &mut fields),
        "Regular Expression" => regular_expression(reader, &mut fields),
        "Grouping" => grouping(reader, &mut fields),
        "K-Anonymization" => k_anonymization(reader, &mut fields),
        "Randomized Response" => randomized_response(reader, type_node, &mut fields),
        _ => Some(Mask::FormatPreserving),
    };
    reader.finish(fields);
    found
}

fn constant(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Mask> {
    let node = reader.required(fields, "constant")?;
    if node.is_null() {
        reader.error(node, "a constant of null", "use the masking type \"Null\", or write the text in quotes");
        return None;
    }
    reader.scalar(node).map(|(text, _)| Mask::Constant(text))
}

fn regular_expression(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Mask> {
    let case_insensitive = reader.flag(fields, "caseInsensitive", false);
    let global = reader.flag(fields, "global", false);
    let replacement = reader.required(fields, "replacement").and_then(|n| reader.scalar(n));
    let node = reader.required(fields, "regex")?;
    let (regex, _) = reader.scalar(node)?;
    if regex.is_empty() {
        reader.error(
            node,
            "the regular expression is empty",
            "it would leave every value as it is; write one that matches",
        );
        return None;
    }
    Some(Mask::Regex { regex, replacement: replacement?.0, case_insensitive, global })
}

const PRECISIONS: [&str; 8] = ["MIN", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];

fn grouping(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Mask> {
    let bucket = fields.optional("bucketSize");
    let precision = fields.optional("timePrecision");
    match (bucket, precision) {
        (Some(node), None) => bucket_size(reader, node).map(Mask::GroupingNumber),
        (None, Some(node)) => {
            let precision = match reader.word(node, "time precision", &PRECISIONS, true)? {
                "MIN" | "MINUTE" => TimePrecision::Minute,
                "HOUR" => TimePrecision::Hour,
                "DAY" => TimePrecision::Day,
                "WEEK" => TimePrecision::Week,
                "MONTH" => TimePrecision::Month,
                "QUARTER" => TimePrecision::Quarter,
                _ => TimePrecision::Year,
            };
            Some(Mask::GroupingTime(precision))
        }
        (Some(node), Some(_)) => {
            reader.error(node, "`bucketSize` beside `timePrecision`", "keep the one that fits the column");
            None
        }
        (None, None) => Some(Mask::GroupingFingerprint),
    }
}

/// k without a parameter (semantics 7).
const DEFAULT_K: u64 = 5;
const MAX_K: u64 = 1_000_000_000;

fn k_anonymization(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Mask> {
    let level = fields.optional("kLevel");
    let probability = fields.optional("reIdProbability");
    match (level, probability) {
        (None, None) => Some(Mask::KAnonymization(DEFAULT_K)),
        (Some(node), None) => reader.integer(node, "kLevel", 2..=MAX_K).map(Mask::KAnonymization),
        (None, Some(node)) => {
            let percent = percentage(reader, node, "reIdProbability")?;
            let k = smallest_group(percent);
            if k < 2 {
                let help = "a combination that occurs once is shown at 100 percent; write a smaller number";
                reader.warn(node, "`reIdProbability` of 100 masks nothing", help);
            }
            Some(Mask::KAnonymization(k))
        }
        (Some(node), Some(_)) => {
            reader.error(node, "`kLevel` beside `reIdProbability`", "keep one: k is 100 / reIdProbability, rounded up");
            None
        }
    }
}

/// ⌈100 / percent⌉, at most [`MAX_K`].
fn smallest_group(percent: f64) -> u64 {
    let k = (100.0 / percent).ceil().min(1e9);
    // INVARIANT: between 1 and MAX_K, so the conversion is exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let k = k as u64;
    k.clamp(1, MAX_K)
}

fn randomized_response(reader: &mut Reader, type_node: &Node, fields: &mut Fields<'_>) -> Option<Mask> {
    let rate = fields.optional("replacementRatePercent");
    let stddev = fields.optional("stddev");
    let clip_node = fields.optional("clip");
    let clip = reader.flag(fields, "clip", false);
    match (rate, stddev) {
        (Some(node), None) => {
            if let Some(clip) = clip_node {
                reader.error(
                    clip,
                    "`clip` beside `replacementRatePercent`",
                    "remove it: it is for numbers with `stddev`",
                );
                return None;
            }
            percentage(reader, node, "replacementRatePercent").map(Mask::RandomizedCategory)
        }
        (None, Some(node)) => deviation(reader, node).map(|stddev| Mask::RandomizedNumber { stddev, clip }),
        (Some(node), Some(_)) => {
            let help = "keep the rate for categories, the deviation for numbers";
            reader.error(node, "`replacementRatePercent` beside `stddev`", help);
            None
        }
        (None, None) => {
            let help = "add `replacementRatePercent` for categories, or `stddev` for numbers";
            reader.error(type_node, "Randomized Response without a parameter", help);
            None
        }
    }
}

/// A decimal number as written without quotes.
fn decimal(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Scalar { text, plain: true } if text.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            text.parse::<f64>().ok().filter(|n| n.is_finite())
        }
        _ => None,
    }
}

/// A number above 0 and at most 100.
fn percentage(reader: &mut Reader, node: &Node, what: &str) -> Option<f64> {
    let found = decimal(node).filter(|n| *n > 0.0 && *n <= 100.0);
    if found.is_none() {
        let message = format!("`{what}` must be a number above 0 and at most 100, found {}", kind(node));
        reader.error(node, message, "write a percentage, without quotes and sign");
    }
    found
}

/// Noise outside these bounds would be lost in, or would drown, every number type.
fn deviation(reader: &mut Reader, node: &Node) -> Option<f64> {
    let found = decimal(node).filter(|n| (1e-12..=1e18).contains(n));
    if found.is_none() {
        let message = format!("`stddev` must be a number above 0 (1e-12 to 1e18), found {}", kind(node));
        reader.error(node, message, "write a deviation in the unit of the column, without quotes");
    }
    found
}

/// A positive decimal number, kept as its text: digits, at most one point.
fn bucket_size(reader: &mut Reader, node: &Node) -> Option<String> {
    if let Value::Scalar { text, plain: true } = &node.value {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let positive = text.bytes().any(|b| (b'1'..=b'9').contains(&b));
        if digits(whole) && digits(fraction) && positive && text.len() <= 40 {
            return Some(text.clone());
        }
    }
    let message = format!("`bucketSize` must be a number above 0, found {}", kind(node));
    reader.error(node, message, "write a decimal number, without quotes and exponent");
    None
}
