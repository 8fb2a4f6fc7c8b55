//! The permit as a value one must hold: only a decision that says "visible" becomes a [`Permitted`], and only a [`Permitted`]
//! relation can be rewritten into a policy view.
//!
//! In: an [`Access`]. Out: [`Permitted`] or the refusal a client sees. Must never: be made any other way.

use super::decision::{Access, RelationDecision};
use crate::error::Refusal;
use std::sync::Arc;

/// A relation that the caller may read, under the decision it carries.
#[derive(Debug, Clone)]
pub struct Permitted {
    decision: Arc<RelationDecision>,
}

impl Permitted {
    /// Turns an access decision into a permit. `written` is the relation's name as the caller wrote it.
    ///
    /// # Errors
    /// 42P01 for what must not be seen to exist, 42501 for what is discoverable or has an invalid policy.
    pub fn decide(access: Access, written: &str) -> Result<Self, Refusal> {
        match access {
            Access::Visible(decision) => Ok(Self { decision }),
            Access::Hidden => Err(Refusal::undefined_table(written)),
            Access::Discoverable { hint } => {
                Err(Refusal::denied(format!("permission denied for table {written}")).with_hint(hint))
            }
            Access::Invalid => {
                let what = "its policy is invalid, or not confirmed by the warehouse yet";
                Err(Refusal::denied(format!("relation \"{written}\" is refused: {what}")).with_hint(
                    "Try again in a few seconds; if it stays so, an administrator can see what is wrong with `sqlveil check`.",
                ))
            }
        }
    }

    /// The decision.
    pub fn decision(&self) -> &Arc<RelationDecision> {
        &self.decision
    }
}
