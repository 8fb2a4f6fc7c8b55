//! Predicates: their text, and their truth over a row in SQL's three values.

use crate::evaluate::Caller;
use crate::spec::{Cell, Operand, Predicate, Source, Table, below};
use std::cmp::Ordering;

impl Predicate {
    /// The text as an administrator writes it.
    pub fn text(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let operand = |operand: &Operand| match operand {
            Operand::Column(name) => (*name).to_owned(),
            Operand::Tagged(tag) => format!("@columnTagged('{tag}')"),
        };
        let list = |values: &[String]| values.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Equals(o, text) => format!("{} = {}", operand(o), quoted(text)),
            Self::Compare(o, op, number) => format!("{} {op} {number}", operand(o)),
            Self::Dated(o, op, day) => format!("{} {op} DATE '{day}'", operand(o)),
            Self::IsNull(o, null) => format!("{} IS {}NULL", operand(o), if *null { "" } else { "NOT " }),
            Self::In(o, values, within) => {
                format!("{} {}IN ({})", operand(o), if *within { "" } else { "NOT " }, list(values))
            }
            Self::Begins(o, prefix) => format!("{} LIKE {}", operand(o), quoted(&format!("{prefix}%"))),
            Self::Flag(o) => operand(o),
            Self::Mine(o) => format!("{} = @username", operand(o)),
            Self::InGroups(groups) => format!("@isInGroups({})", list(groups)),
            Self::HasAttribute(name, value) => format!("@hasAttribute({}, {})", quoted(name), quoted(value)),
            Self::GroupsContain(o) => format!("@groupsContains({})", operand(o)),
            Self::ValuesContain(name, o) => format!("@attributeValuesContains({}, {})", quoted(name), operand(o)),
            Self::And(a, b) => format!("({} AND {})", a.text(), b.text()),
            Self::Or(a, b) => format!("({} OR {})", a.text(), b.text()),
            Self::Not(a) => format!("(NOT {})", a.text()),
        }
    }

    /// TRUE, FALSE or NULL.
    pub fn holds(&self, table: &Table, source: &Source, row: &[Cell], caller: &Caller) -> Option<bool> {
        let value = |operand: &Operand| row[place(operand, table, source).expect("a valid predicate")].clone();
        let within = |set: &[&String], cell: Cell| match cell {
            // An empty set holds nothing, not even perhaps.
            _ if set.is_empty() => Some(false),
            None => None,
            Some(text) => Some(set.iter().any(|v| **v == text)),
        };
        match self {
            Self::Equals(o, text) => value(o).map(|v| v == *text),
            Self::Compare(o, op, number) => {
                let number = i128::from(*number) * 100;
                value(o).map(|v| ordered(crate::mask::hundredths(&v).cmp(&number), op))
            }
            // ISO dates of four-digit years are ordered as texts are.
            Self::Dated(o, op, day) => value(o).map(|v| ordered(v.as_str().cmp(day), op)),
            Self::IsNull(o, null) => Some(value(o).is_none() == *null),
            Self::In(o, values, wanted) => value(o).map(|v| values.contains(&v) == *wanted),
            Self::Begins(o, prefix) => value(o).map(|v| v.starts_with(prefix.as_str())),
            Self::Flag(o) => value(o).map(|v| v == "t"),
            Self::Mine(o) => value(o).map(|v| v == caller.user),
            Self::InGroups(groups) => Some(caller.groups.iter().any(|(g, _)| groups.contains(g))),
            Self::HasAttribute(name, wanted) => {
                Some(caller.attributes.get(name).is_some_and(|values| values.iter().any(|(v, _)| v == wanted)))
            }
            Self::GroupsContain(o) => {
                let set: Vec<&String> = caller.groups.iter().map(|(g, _)| g).collect();
                within(&set, value(o))
            }
            Self::ValuesContain(name, o) => {
                let set: Vec<&String> = caller.attributes.get(name).into_iter().flatten().map(|(v, _)| v).collect();
                within(&set, value(o))
            }
            Self::And(a, b) => match (a.holds(table, source, row, caller), b.holds(table, source, row, caller)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.holds(table, source, row, caller), b.holds(table, source, row, caller)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Not(a) => a.holds(table, source, row, caller).map(|t| !t),
        }
    }

    /// Every operand.
    pub fn operands(&self) -> Vec<&Operand> {
        match self {
            Self::Equals(o, _)
            | Self::Compare(o, _, _)
            | Self::Dated(o, _, _)
            | Self::IsNull(o, _)
            | Self::In(o, _, _)
            | Self::Begins(o, _)
            | Self::Flag(o)
            | Self::Mine(o)
            | Self::GroupsContain(o)
            | Self::ValuesContain(_, o) => vec![o],
            Self::InGroups(_) | Self::HasAttribute(..) => Vec::new(),
            Self::And(a, b) | Self::Or(a, b) => [a.operands(), b.operands()].concat(),
            Self::Not(a) => a.operands(),
        }
    }
}

fn ordered(ordering: Ordering, op: &str) -> bool {
    match op {
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        ">=" => ordering.is_ge(),
        "=" => ordering.is_eq(),
        _ => ordering.is_ne(),
    }
}

/// The column an operand means; nothing when there is none, or several carry the tag.
pub fn place(operand: &Operand, table: &Table, source: &Source) -> Option<usize> {
    let named = |name: &str| table.columns.iter().position(|(c, _)| *c == name);
    match operand {
        Operand::Column(name) => named(name),
        Operand::Tagged(tag) => {
            let mut carrying = source.column_tags.iter().filter(|(_, tags)| tags.iter().any(|t| below(tag, t)));
            match (carrying.next(), carrying.next()) {
                (Some((name, _)), None) => named(name),
                _ => None,
            }
        }
    }
}
