//! Test builds only (feature `disarm`): switches off one defence, so that tests can show that they would notice.
//!
//! In: the environment variable `SQLVEIL_DISARM`, read once; for tests in the same process, a change to be made to what is printed before
//! it is sealed. Out: whether a defence is off. Must never: be part of a build without debug assertions, or of one that nobody asked to
//! hold it.

#[cfg(not(debug_assertions))]
compile_error!("the feature `disarm` switches defences off: it is for test builds and never for release");

use std::sync::{OnceLock, RwLock};

/// One defence that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defence {
    /// Barriers below callers' expressions (`resolve`).
    Barrier,
    /// Columns kept from the planner's statistics (`resolve`).
    Guess,
    /// The lists of what never raises (`catalog::total`).
    Total,
    /// The check of what is about to be sent (`seal`).
    Seal,
    /// The list of functions that may be called (`catalog::functions`).
    Functions,
    /// The checked forms of functions that look up objects (`catalog::guard`).
    Guards,
    /// Errors made fit for callers (`relay::errors`).
    Errors,
    /// The virtual catalog (`catalog::system`).
    Catalog,
    /// The list of settings (`plan::settings`).
    Settings,
    /// Deciding again when a prepared statement or cursor is used (`session::deciding`).
    Again,
    /// The caller and the session in the key of kept plans (`plan::cache`).
    Key,
    /// Bounds of depth before parsing (`sql::limits`).
    Depth,
}

/// Every defence, by the word that switches it off.
pub const ALL: &[(&str, Defence)] = &[
    ("barrier", Defence::Barrier),
    ("guess", Defence::Guess),
    ("total", Defence::Total),
    ("seal", Defence::Seal),
    ("functions", Defence::Functions),
    ("guards", Defence::Guards),
    ("errors", Defence::Errors),
    ("catalog", Defence::Catalog),
    ("settings", Defence::Settings),
    ("again", Defence::Again),
    ("key", Defence::Key),
    ("depth", Defence::Depth),
];

/// The variable that names the one defence to switch off.
pub const VARIABLE: &str = "SQLVEIL_DISARM";

/// Whether a defence is switched off.
pub fn is_off(defence: Defence) -> bool {
    static OFF: OnceLock<Option<Defence>> = OnceLock::new();
    let off = OFF.get_or_init(|| {
        let word = std::env::var(VARIABLE).unwrap_or_default();
        ALL.iter().find(|(name, _)| *name == word).map(|(_, defence)| *defence)
    });
    *off == Some(defence)
}

/// A change to a printed statement.
pub type Tamper = Box<dyn Fn(String) -> String + Send + Sync>;

static TAMPER: RwLock<Option<Tamper>> = RwLock::new(None);

/// From now on every printed statement of this process is changed before it is sealed; `None`: no more.
pub fn tamper(with: Option<Tamper>) {
    *TAMPER.write().unwrap_or_else(std::sync::PoisonError::into_inner) = with;
}

/// The text as a test's change leaves it.
pub(crate) fn tampered(text: String) -> String {
    match &*TAMPER.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(with) => with(text),
        None => text,
    }
}
