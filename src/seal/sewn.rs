//! Statements and their policy views, put together from texts that were checked apart.
//!
//! In: a text that was checked, with names in the places of views. Out: the text with the views. Must never: put anything but a whole
//! bracketed query, or in place of anything but one such name.

use super::compare::{is_view, variant};
use super::{BodyOf, Broken, Checked, StandIn, Views};
use crate::resolve::{RelationUse, Resolved};
use crate::rewrite::STAND_IN;
use crate::sql::{self, NodeEnum, tree::Tree};
use std::sync::Arc;

/// Puts the views into a text; gives it with the pairs of places, sorted.
pub(super) fn sewn(
    text: &str,
    checked: Checked,
    resolved: &Resolved,
    views: &Views,
    body: BodyOf<'_>,
) -> Result<(String, Vec<(u32, u32)>), Broken> {
    let Checked { mut pairs, mut stand_ins } = checked;
    stand_ins.sort_unstable_by_key(|stand_in| stand_in.at);
    pairs.sort_unstable();
    let mut out = String::with_capacity(text.len() * 2);
    let mut moved = Vec::with_capacity(pairs.len());
    let mut places = pairs.into_iter().peekable();
    let mut done = 0;
    for stand_in in &stand_ins {
        let name = format!("{STAND_IN}.\"{}\"", stand_in.relation);
        let before = text.get(done..stand_in.at).ok_or_else(|| Broken::at("places out of order"))?;
        if !text.get(stand_in.at..).is_some_and(|rest| rest.starts_with(&name)) {
            return Err(Broken::at("a view's place is not where it was"));
        }
        while let Some((place, caller)) = places.next_if(|(place, _)| (*place as usize) < stand_in.at) {
            moved.push((shifted(place, done, out.len())?, caller));
        }
        out.push_str(before);
        let use_ = resolved.relations.get(&stand_in.relation).ok_or_else(|| Broken::at("a view of no relation"))?;
        out.push('(');
        out.push_str(&view(use_, stand_in, views, body)?);
        out.push(')');
        done = stand_in.at + name.len();
    }
    for (place, caller) in places {
        moved.push((shifted(place, done, out.len())?, caller));
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Ok((out, moved))
}

/// A place behind `from` of the text is as far behind `to` in what it becomes.
fn shifted(place: u32, from: usize, to: usize) -> Result<u32, Broken> {
    let moved = (place as usize).checked_sub(from).map(|distance| to + distance);
    moved.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| Broken::at("a place inside of a view's name"))
}

/// The text of a view: the rewriter's, printed, parsed and held against what this room makes of the decision.
fn view(use_: &RelationUse, stand_in: &StandIn, views: &Views, body: BodyOf<'_>) -> Result<Arc<String>, Broken> {
    if !use_.pushed.is_empty() {
        return Err(Broken::at("a view with conditions of the statement"));
    }
    let decision = use_.permitted.decision();
    views.checked.get(decision, variant(use_, !stand_in.with_children), || {
        let text = sql::print(body(use_, stand_in.with_children)?)?;
        #[cfg(feature = "disarm")]
        let text = crate::disarm::tampered(text);
        let mut statements = sql::parse(&text)?.statements.into_iter().map(|statement| statement.node);
        let (Some(NodeEnum::SelectStmt(select)), None) = (statements.next(), statements.next()) else {
            return Err(Broken::at("a view that is not a SELECT"));
        };
        let expected = super::compare::expected(&views.expected, use_, !stand_in.with_children)?;
        is_view(&expected, use_, &Tree::of(&*select)?).map(|()| text)
    })
}
