//! Which functions of `pg_catalog` a caller may call.
//!
//! In: a function's name. Out: its [`FunctionClass`]. Must never: allow a name because it is unknown.

use super::Catalog;

/// What may be done with a call of a function, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionClass {
    /// Every overload computes from its arguments (and the clock) alone.
    Allowed,
    /// Tells about the session: the proxy answers with a constant.
    Identity(Identity),
    /// Looks up objects: replaced by [`super::guard::guard`].
    Guarded,
    /// Not callable.
    Denied,
}

/// Functions about the session, answered for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// `current_schema()`: first schema of the caller's search path that exists for him.
    CurrentSchema,
    /// `current_schemas(boolean)`.
    CurrentSchemas,
    /// `current_database()`.
    CurrentDatabase,
    /// `pg_backend_pid()`.
    BackendPid,
    /// `current_setting('literal' [, missing_ok])`.
    CurrentSetting,
    /// `current_user`, `session_user`, `getpgusername()` in call form.
    User,
}

impl Catalog {
    /// The class of every overload of `pg_catalog.name` together.
    pub fn function_class(&self, _name: &str) -> FunctionClass {
        FunctionClass::Denied
    }
}
