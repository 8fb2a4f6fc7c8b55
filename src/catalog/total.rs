//! What never raises: operators, functions and casts that return a value for every value of their argument types.
//!
//! In: a name and argument types. Out: yes or no. Must never: say yes to what was not reviewed or marked `proleakproof`.

use super::Catalog;
use crate::types::Oid;

impl Catalog {
    /// Whether `pg_catalog` operator `name` over these exact operand types never raises (`left` 0 for prefix operators).
    pub fn operator_is_total(&self, _name: &str, _left: Oid, _right: Oid) -> bool {
        false
    }
    /// Whether `pg_catalog` function `name` over these exact argument types never raises.
    pub fn function_is_total(&self, _name: &str, _args: &[Oid]) -> bool {
        false
    }
    /// Whether a cast between two types never raises.
    pub fn cast_is_total(&self, _from: Oid, _to: Oid) -> bool {
        false
    }
}

/// Whether `LIKE` with this constant pattern (and the default escape) never raises: a trailing lone backslash does.
pub fn like_pattern_is_total(pattern: &str) -> bool {
    pattern.chars().rev().take_while(|c| *c == '\\').count() % 2 == 0
}
