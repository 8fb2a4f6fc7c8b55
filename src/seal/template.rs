//! Sealed texts with places for literals.
//!
//! In: a sealed text and another of the same statement with other literals. Out: what stands around them, to be filled with literals of the
//! same kinds. Must never: put a literal where it would not be one token among the same tokens.

use super::Sealed;
use crate::plan::{Gap, PositionMap};
use crate::sql::literal::{Literal, Span};
use crate::sql::tokens;

/// A sealed text in which literals are left out.
#[derive(Debug)]
pub struct Template {
    /// What stands before each literal, and the literal's number.
    pub(super) pieces: Box<[(Box<str>, usize)]>,
    pub(super) rest: Box<str>,
    /// Bytes without literals.
    pub(super) bytes: usize,
}

impl Template {
    /// The text of `varied`, whose literals are `tokens` by number, without them; `None` where one of them stands as part of something else
    /// or nowhere.
    pub fn of(varied: &Sealed, literals: &[Literal<'_>]) -> Option<Self> {
        let text = varied.as_str();
        let mut pieces = Vec::new();
        let mut done = 0;
        for (range, _) in tokens(text).ok()? {
            let token = text.get(range.clone())?;
            let Some(number) = literals.iter().position(|literal| literal.token() == token) else { continue };
            pieces.push((text.get(done..range.start)?.into(), number));
            done = range.end;
        }
        let rest: Box<str> = text.get(done..)?.into();
        let occurs = |literal: &Literal<'_>| text.matches(literal.token().trim_matches('\'')).count();
        let placed = |number: usize| pieces.iter().filter(|(_, n)| *n == number).count();
        let all = literals.iter().enumerate().all(|(number, literal)| {
            let placed = placed(number);
            placed > 0 && placed == occurs(literal)
        });
        let bytes = pieces.iter().map(|(piece, _): &(Box<str>, usize)| piece.len()).sum::<usize>() + rest.len();
        all.then_some(Self { pieces: pieces.into(), rest, bytes })
    }

    /// The text with these literals, which are as many and of the same kinds; `None` when they are fewer.
    pub fn fill(&self, literals: &[Literal<'_>]) -> Option<Sealed> {
        let more: usize = literals.iter().map(|literal| literal.token().len()).sum();
        let mut text = String::with_capacity(self.bytes + more * 2);
        for (piece, number) in &self.pieces {
            text.push_str(piece);
            text.push_str(literals.get(*number)?.token());
        }
        text.push_str(&self.rest);
        Some(Sealed::of(text))
    }

    /// The places of `from`, which counts with the literals `made`, with those of `now` in their stead.
    pub fn moved(&self, from: &PositionMap, made: &[Span], now: &[Literal<'_>]) -> PositionMap {
        let mut sent = Vec::new();
        let mut at = 0;
        for (piece, number) in &self.pieces {
            at += piece.len();
            let before = made.get(*number).map_or(0, |span| span.len);
            let now = now.get(*number).map_or(0, |literal| literal.token().len());
            if before != now {
                sent.push(Gap { at, before, now });
            }
            at += before;
        }
        let gap = |(made, now): (&Span, &Literal<'_>)| {
            let (before, now) = (made.len, now.token().len());
            (before != now).then_some(Gap { at: made.start, before, now })
        };
        from.with_gaps(sent, made.iter().zip(now).filter_map(gap).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::literal::Skeleton;

    fn template(varied: &str, literals: &str) -> Option<Template> {
        let skeleton = Skeleton::of(literals).unwrap();
        Template::of(&Sealed { text: varied.to_owned() }, skeleton.literals())
    }

    #[test]
    fn literals_are_put_in_all_their_places() {
        let template = template("SELECT a FROM t WHERE b = 77 AND 'x' = c AND b = 77 LIMIT 5", "77, 'x'").unwrap();
        let other = Skeleton::of("1, 'it''s'").unwrap();
        let filled = template.fill(other.literals()).unwrap();
        assert_eq!(filled.as_str(), "SELECT a FROM t WHERE b = 1 AND 'it''s' = c AND b = 1 LIMIT 5");
        assert_eq!(template.fill(&other.literals()[..1]), None);
    }

    #[test]
    fn a_literal_inside_of_something_else_makes_no_template() {
        for varied in
            ["SELECT 77, '77'", "SELECT 77, x77", "SELECT 77, E'''x'''", "SELECT 'x'", "SELECT 77, 'x', 'ax'", "'"]
        {
            assert!(template(varied, "77, 'x'").is_none(), "{varied}");
        }
    }

    #[test]
    fn positions_move_with_what_stands_before_them() {
        let template = template("SELECT f(77) FROM t WHERE b = 'x' AND c", "77, 'x'").unwrap();
        let (made, now) = (Skeleton::of("f 77 b 'x' c").unwrap(), Skeleton::of("f 7 b 'long' c").unwrap());
        let from = PositionMap::new(vec![(7, 0), (9, 2), (26, 5), (30, 7), (38, 11)]);
        let made: Vec<Span> = made.literals().iter().map(Literal::span).collect();
        let moved = template.moved(&from, &made, now.literals());
        let sent = template.fill(now.literals()).unwrap();
        assert_eq!(sent.as_str(), "SELECT f(7) FROM t WHERE b = 'long' AND c");
        for (place, of_caller) in
            [(7, Some(0)), (9, Some(2)), (25, Some(4)), (29, Some(6)), (40, Some(13)), (30, None), (8, None)]
        {
            assert_eq!(moved.to_caller(place), of_caller, "{place}");
        }
    }
}
