//! Sealed texts with parameters in place of their open numbers.
//!
//! In: a [`Template`] and numbers that it was filled with. Out: the same text with `$1`, `$2`, … where the numbers stood: a statement that the
//! warehouse parses once and runs with many values. Must never: stand for another tree than the filled text does, or hold a parameter of the
//! caller's.

use super::{Sealed, Template};
use crate::sql::literal::Literal;
use crate::sql::tree::Tree;
use crate::sql::{self, NodeEnum};
use crate::types::Oid;

/// Most parameters of a statement.
const MOST: usize = 64;

/// `int4` (pg_type.dat): what a number of so few digits is to PostgreSQL's lexer.
const INT4: Oid = Oid(23);

/// A text with parameters, each an `int4`.
#[derive(Debug, PartialEq, Eq)]
pub struct Parametrized {
    text: Sealed,
    types: Box<[Oid]>,
    /// Where each parameter stands in the text, and which literal is its value.
    places: Box<[(usize, usize)]>,
}

/// Values of the parameters of a [`Parametrized`], in their order. Numbers, so that nothing of a caller's text can be among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values(Box<[i32]>);

impl Values {
    /// What stands in a Bind message behind the names (PostgreSQL manual, 55.7): one format for all, binary; the values; results as text.
    pub fn bound(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.0.len() * 8);
        out.extend_from_slice(&[0, 1, 0, 1]);
        // There are never more than `MOST`.
        out.extend_from_slice(&u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_be_bytes());
        for value in &self.0 {
            out.extend_from_slice(&4i32.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        out.extend_from_slice(&[0, 0]);
        out
    }
}

impl Template {
    /// The text with parameters; `None` when a literal is no number, there are too many, or parsing it does not lead to the tree of the text
    /// that is filled with these literals.
    pub fn parametrized(&self, literals: &[Literal<'_>]) -> Option<Parametrized> {
        if self.pieces.is_empty() || self.pieces.len() > MOST || literals.iter().any(Literal::is_string) {
            return None;
        }
        let mut text = String::with_capacity(self.bytes + self.pieces.len() * 3);
        let mut places = Vec::with_capacity(self.pieces.len());
        for (place, (piece, number)) in self.pieces.iter().enumerate() {
            text.push_str(piece);
            places.push((text.len(), *number));
            text.push_str(&parameter(place));
        }
        text.push_str(&self.rest);
        let filled = tree(self.fill(literals)?.as_str())?;
        let values: Option<Vec<i64>> =
            places.iter().map(|(_, number)| literals.get(*number)?.token().parse().ok()).collect();
        let same =
            tree(&text).and_then(|read| with_values(read, &values?)).is_some_and(|read| read.same_but_places(&filled));
        let types = vec![INT4; places.len()].into();
        same.then(|| Parametrized { text: Sealed::of(text), types, places: places.into() })
    }
}

fn parameter(place: usize) -> String {
    format!("${}", place + 1)
}

/// The tree of a text of one statement.
fn tree(text: &str) -> Option<Tree> {
    let mut parsed = sql::parse(text).ok()?.statements;
    let statement = parsed.pop()?;
    if !parsed.is_empty() {
        return None;
    }
    Tree::of::<NodeEnum>(&statement.node).ok()
}

/// The tree with constants in place of its parameters; `None` when it has another parameter than each of these once.
fn with_values(read: Tree, values: &[i64]) -> Option<Tree> {
    let mut found = 0;
    let tree = put(read, values, &mut found)?;
    (found == values.len()).then_some(tree)
}

fn put(tree: Tree, values: &[i64], found: &mut usize) -> Option<Tree> {
    if let Some(value) = value_of(&tree, values)? {
        *found += 1;
        return Some(value);
    }
    Some(match tree {
        Tree::Variant(kind, inner) => Tree::Variant(kind, Box::new(put(*inner, values, found)?)),
        Tree::List(items) => Tree::List(items.into_iter().map(|i| put(i, values, found)).collect::<Option<_>>()?),
        Tree::Node(kind, fields) => {
            let fields = fields.into_iter().map(|(name, value)| Some((name, put(value, values, found)?)));
            Tree::Node(kind, fields.collect::<Option<_>>()?)
        }
        other @ (Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_)) => other,
    })
}

/// The constant that a parameter, or a parameter with a minus sign, stands for. The outer `None`: a parameter that is none of ours.
#[allow(clippy::option_option)]
fn value_of(tree: &Tree, values: &[i64]) -> Option<Option<Tree>> {
    let Tree::Variant(kind, inner) = tree else { return Some(None) };
    let value = |inner: &Tree| match inner.field("number") {
        Some(Tree::Int(number)) => usize::try_from(*number - 1).ok().and_then(|at| values.get(at)).copied(),
        _ => None,
    };
    match *kind {
        "ParamRef" => value(inner).and_then(constant).map(Some),
        // The grammar makes one constant of a minus sign and a number.
        "AExpr" if is_minus(inner) => match inner.field("rexpr").and_then(Tree::unwrap_node) {
            Some(("ParamRef", of)) => value(of).and_then(|value| constant(-value)).map(Some),
            _ => Some(None),
        },
        _ => Some(None),
    }
}

fn is_minus(e: &Tree) -> bool {
    let plain = matches!(e.field("kind"), Some(Tree::Int(kind)) if i32::try_from(*kind) == Ok(sql::pb::AExprKind::AexprOp as i32));
    let prefix = matches!(e.field("lexpr"), Some(Tree::Nothing));
    plain && prefix && e.field("name").is_some_and(|name| name.strings() == ["-"])
}

/// The picture of a number in a tree.
fn constant(value: i64) -> Option<Tree> {
    let ival = sql::pb::Integer { ival: i32::try_from(value).ok()? };
    let val = Some(sql::pb::a_const::Val::Ival(ival));
    Tree::of(&NodeEnum::AConst(sql::pb::AConst { isnull: false, location: 0, val })).ok()
}

impl Parametrized {
    /// The text.
    pub fn text(&self) -> &Sealed {
        &self.text
    }

    /// Types of its parameters, for Parse.
    pub fn types(&self) -> &[Oid] {
        &self.types
    }

    /// The parameters' values, of the literals that it is filled with; `None` when they are fewer, or no numbers.
    pub fn values(&self, literals: &[Literal<'_>]) -> Option<Values> {
        let value = |(_, number): &(usize, usize)| literals.get(*number)?.token().parse().ok();
        self.places.iter().map(value).collect::<Option<_>>().map(Values)
    }

    /// The place in the text that is filled with these values, of a place in the text with parameters.
    pub fn filled(&self, place: usize, values: &Values) -> usize {
        let before = self.places.iter().zip(&values.0).enumerate().take_while(|(_, ((at, _), _))| *at < place);
        let (longer, shorter) = before.fold((0, 0), |(longer, shorter), (number, (_, value))| {
            (longer + value.to_string().len(), shorter + parameter(number).len())
        });
        (place + longer).saturating_sub(shorter)
    }

    /// A statement of the proxy's own that asks for a number and does nothing with it, and that number: for the model of a warehouse.
    #[doc(hidden)]
    pub fn of_own(statement: Sealed) -> (Self, Values) {
        (Self { text: statement, types: [INT4].into(), places: Box::default() }, Values([1].into()))
    }

    /// Bytes of memory it takes, about.
    pub fn memory(&self) -> usize {
        self.text.as_str().len() + self.places.len() * 20 + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::literal::Skeleton;

    fn parametrized(text: &str) -> Option<(Parametrized, Template)> {
        let skeleton = Skeleton::of(text).unwrap();
        let varied = skeleton.varied(|_| true);
        let others = Skeleton::of(&varied).unwrap();
        let template = Template::of(&Sealed { text: varied.clone() }, others.literals()).unwrap();
        template.parametrized(skeleton.literals()).map(|made| (made, template))
    }

    #[test]
    fn numbers_become_parameters() {
        let (made, template) = parametrized("UPDATE t SET a = a + -5 WHERE b=77 AND c IN (1, 2)").unwrap();
        assert_eq!(made.text().as_str(), "UPDATE t SET a = a + -$1 WHERE b=$2 AND c IN ($3, $4)");
        assert_eq!(made.types(), [INT4; 4]);
        let now = Skeleton::of("2147483647 0 30 4").unwrap();
        let values = made.values(now.literals()).unwrap();
        assert_eq!(values, Values([2_147_483_647, 0, 30, 4].into()));
        assert_eq!(&values.bound()[..14], [0, 1, 0, 1, 0, 4, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(&values.bound()[values.bound().len() - 6..], [0, 0, 0, 4, 0, 0]);
        let filled = template.fill(now.literals()).unwrap();
        for word in ["a +", "b=", "WHERE", "AND", "c IN", ")"] {
            let place = made.text().as_str().find(word).unwrap();
            assert_eq!(Some(made.filled(place, &values)), filled.as_str().find(word), "{word}");
        }
        assert_eq!(made.values(&now.literals()[..3]), None);
        assert_eq!(made.values(Skeleton::of("1 2 3 'x'").unwrap().literals()), None);
    }

    #[test]
    fn what_is_no_expression_or_no_number_makes_none() {
        for text in [
            "SELECT a FROM t WHERE b = 'x'",
            "SELECT a FROM t WHERE b = $1 AND c = 5",
            "SELECT a::varchar(5) FROM t",
            "SELECT interval '1' day(3), 5",
        ] {
            assert!(parametrized(text).is_none(), "{text}");
        }
    }
}
