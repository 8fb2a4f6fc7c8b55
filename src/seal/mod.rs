//! The independent check of what is about to be sent, and the only maker of [`Sealed`].
//!
//! In: the caller's tree, what its names mean, the rewritten tree. Out: [`Sealed`] and the map of positions.
//! Must never: trust a pass. The text is parsed again and held against the caller's tree, node by node, over a generic picture of both
//! that no field can escape: every difference must be one that is documented here.
//!
//! Policy views that are the same in every statement are printed, parsed and held against their decisions once: a statement is checked with
//! names in their places, and their texts, in brackets, are put where these names stood. Builds with debug assertions parse and check the
//! whole besides.

mod compare;
mod inventory;
mod left_out;
mod own;
mod parameters;
mod scratch;
mod sewn;
mod template;
mod write;

use crate::catalog::Catalog;
use crate::error::Refusal;
use crate::plan::PositionMap;
use crate::policy::kept::ByDecision;
use crate::resolve::{RelationUse, Resolved};
use crate::sql::tree::{Pictured, Tree};
use crate::sql::{self, NodeEnum};
use crate::telemetry::{Stage, stages};

/// SQL text that may be sent to the warehouse: printed by us from a checked tree. Only this room can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    text: String,
}

/// Target of the trace events by which a test compares what was sealed with what a warehouse logged: the SHA-256 of each text that may
/// be sent, in hex, in the field `sha256`. Never the text: it holds secrets.
pub const DIGESTS: &str = "sqlveil::sealed";

impl Sealed {
    /// The empty statement.
    pub fn empty() -> Self {
        Self { text: String::new() }
    }
    /// A text that was checked, or made from values alone.
    fn of(text: String) -> Self {
        if tracing::enabled!(target: DIGESTS, tracing::Level::TRACE) {
            use sha2::{Digest, Sha256};
            let digest = crate::types::hex(Sha256::digest(&text));
            tracing::trace!(target: DIGESTS, sha256 = digest, "sealed");
        }
        Self { text }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Several statements as one simple Query string; returns the byte offset at which each begins.
    pub fn join<'a>(parts: impl Iterator<Item = &'a Sealed>) -> (Self, Vec<usize>) {
        let mut text = String::new();
        let mut starts = Vec::new();
        for part in parts {
            if !text.is_empty() {
                text.push_str(";\n");
            }
            starts.push(text.len());
            text.push_str(&part.text);
        }
        (Self::of(text), starts)
    }
}

/// What is made of decisions once, for all statements.
#[derive(Debug)]
pub struct Views {
    /// Pictures of policy views, made by this room.
    expected: ByDecision<Tree>,
    /// Texts of the rewriter's policy views that were found to be those.
    checked: ByDecision<String>,
}

impl Views {
    /// Room for about so many, fewer when they are large.
    pub fn new(most: usize) -> Self {
        Self { expected: ByDecision::new(most), checked: ByDecision::new(most) }
    }

    /// Forgets what was made of decisions that are no more.
    pub fn prune(&self) {
        self.expected.prune();
        self.checked.prune();
    }
}

/// The rewriter's policy view of a relation, with its children or alone, that holds nothing of a statement's own.
pub type BodyOf<'b> = &'b dyn Fn(&RelationUse, bool) -> Result<NodeEnum, Refusal>;

/// Prints a rewritten statement and seals it against the caller's own. Views that the rewriter left out are asked of `body`.
///
/// # Errors
/// XX000 when the text does not stand for what the caller wrote under the permit: a defect of ours, logged without the text.
pub fn seal(
    caller: &Pictured<'_>,
    rewritten: NodeEnum,
    resolved: &Resolved,
    catalog: &Catalog,
    views: &Views,
    body: BodyOf<'_>,
) -> Result<(Sealed, PositionMap), Refusal> {
    let _stage = stages::enter(Stage::Seal);
    let text = sql::print(rewritten)?;
    #[cfg(feature = "disarm")]
    let text = crate::disarm::tampered(text);
    #[cfg(feature = "disarm")]
    if crate::disarm::is_off(crate::disarm::Defence::Seal) {
        return Ok((Sealed::of(text), PositionMap::default()));
    }
    let sealed = check(caller, &text, resolved, catalog, views).and_then(|checked| {
        if checked.stand_ins.is_empty() {
            return Ok((Sealed::of(text), PositionMap::new(checked.pairs)));
        }
        let (whole, pairs) = sewn::sewn(&text, checked, resolved, views, body)?;
        // What the statement and its views are each by themselves, they are together.
        #[cfg(debug_assertions)]
        {
            let mut again = check(caller, &whole, resolved, catalog, views)?;
            again.pairs.sort_unstable();
            if !again.stand_ins.is_empty() || again.pairs != pairs {
                return Err(Broken::at("a text that was put together"));
            }
        }
        Ok((Sealed::of(whole), PositionMap::new(pairs)))
    });
    sealed.map_err(|broken| {
        tracing::error!(target: "seal", why = broken.0, "a rewritten statement did not pass the seal");
        Refusal::internal("the rewritten statement did not pass its check and was not sent")
            .with_hint("This is a defect of sqlveil; the log says where.")
    })
}

/// Why a text was not sealed: the kind of construct, never its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl Broken {
    fn at(place: impl Into<String>) -> Self {
        Self(place.into())
    }
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.message.into_owned())
    }
}

/// The check itself: the text, parsed again, must be the caller's tree but for the documented rewrites.
fn check(
    caller: &Pictured<'_>,
    text: &str,
    resolved: &Resolved,
    catalog: &Catalog,
    views: &Views,
) -> Result<Checked, Broken> {
    let parsed = sql::parse(text)?;
    let mut statements = parsed.statements.into_iter();
    let (Some(sealed), None) = (statements.next(), statements.next()) else {
        return Err(Broken::at("not exactly one statement"));
    };
    if resolved.bare && !matches!(caller.node(), NodeEnum::ExplainStmt(_)) {
        return Err(Broken::at("bare relations outside EXPLAIN"));
    }
    let caller = caller.picture();
    let sealed = Tree::of(&sealed.node)?;
    inventory::take(caller, resolved, catalog)?;
    left_out::take(caller, resolved)?;
    let mut comparison = compare::Comparison::new(resolved, catalog, &views.expected);
    comparison.nodes(caller, &sealed)?;
    Ok(comparison.checked())
}

/// What a check found.
struct Checked {
    /// Places in the text, and where what stands there stands in the caller's.
    pairs: Vec<(u32, u32)>,
    /// Where views have to be put.
    stand_ins: Vec<StandIn>,
}

/// A name in a view's place.
#[derive(Debug, Clone, Copy)]
struct StandIn {
    /// Where it stands in the text.
    at: usize,
    /// Where the caller mentions the relation.
    relation: i32,
    /// Whether the relation is read with its children.
    with_children: bool,
}

pub use parameters::{Parametrized, Values};
pub use template::Template;

pub use own::{clear, deallocate, handover, lock_shared, placeholder, reset_settings, set_own, show_own};

#[cfg(test)]
mod tests;
