//! Expressions of our own that stand for a caller's call or cast, parsed once for all statements that use them.
//!
//! In: the text of an expression over `$1…$n`. Out: its tree for the rewriter, and apart from that its picture for the seal. Must never: make
//! one of the two from the other: the seal checks what the rewriter did.

use super::tree::Tree;
use super::{parse_expression, pb};
use crate::error::Refusal;
use std::sync::{Arc, OnceLock};

/// An expression. Clones share what was made of it.
#[derive(Clone)]
pub struct Template(Arc<Made>);

struct Made {
    text: String,
    node: OnceLock<pb::Node>,
    picture: OnceLock<Tree>,
}

impl Template {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Its tree, to be copied into a statement.
    ///
    /// # Errors
    /// XX000 when the text does not parse.
    pub fn node(&self) -> Result<&pb::Node, Refusal> {
        if let Some(node) = self.0.node.get() {
            return Ok(node);
        }
        let node = parse_expression(&self.0.text)?;
        Ok(self.0.node.get_or_init(|| node))
    }

    /// What a statement that holds it is compared with.
    ///
    /// # Errors
    /// XX000 when the text does not parse.
    pub fn picture(&self) -> Result<&Tree, Refusal> {
        if let Some(picture) = self.0.picture.get() {
            return Ok(picture);
        }
        let picture = Tree::of(&parse_expression(&self.0.text)?)?;
        Ok(self.0.picture.get_or_init(|| picture))
    }
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        Self(Arc::new(Made { text, node: OnceLock::new(), picture: OnceLock::new() }))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.text == other.0.text
    }
}

impl Eq for Template {}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.0.text).finish()
    }
}

/// Bytes of memory that a text takes with its trees, about: a token takes some hundred times as much as its text, a constant three times.
pub fn memory(text: &str) -> usize {
    let (mut code, mut quoted) = (0_usize, 0_usize);
    for (at, part) in text.split('\'').enumerate() {
        let into = if at % 2 == 0 { &mut code } else { &mut quoted };
        *into = into.saturating_add(part.len());
    }
    code.saturating_mul(100).saturating_add(quoted.saturating_mul(3))
}
