//! What a client may be told when a statement does not run: four families, one voice.
//!
//! In: facts found by a room. Out: a [`Refusal`], the only error value that may become an ErrorResponse.
//! Must never: carry row values, literals of other people's, policy text, secrets or rewritten SQL.

use std::borrow::Cow;

/// A five-character SQLSTATE (PostgreSQL manual, Appendix A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub &'static str);

/// The codes this proxy raises itself.
#[allow(missing_docs)]
impl SqlState {
    pub const PROTOCOL_VIOLATION: Self = Self("08P01");
    pub const CONNECTION_FAILURE: Self = Self("08006");
    pub const FEATURE_NOT_SUPPORTED: Self = Self("0A000");
    pub const INVALID_PARAMETER_VALUE: Self = Self("22023");
    pub const CHARACTER_NOT_IN_REPERTOIRE: Self = Self("22021");
    pub const ACTIVE_SQL_TRANSACTION: Self = Self("25001");
    pub const IN_FAILED_SQL_TRANSACTION: Self = Self("25P02");
    pub const INVALID_SQL_STATEMENT_NAME: Self = Self("26000");
    pub const INVALID_AUTHORIZATION: Self = Self("28000");
    pub const INVALID_PASSWORD: Self = Self("28P01");
    pub const INVALID_CURSOR_NAME: Self = Self("34000");
    pub const INVALID_CATALOG_NAME: Self = Self("3D000");
    pub const INSUFFICIENT_PRIVILEGE: Self = Self("42501");
    pub const SYNTAX_ERROR: Self = Self("42601");
    pub const UNDEFINED_OBJECT: Self = Self("42704");
    pub const UNDEFINED_FUNCTION: Self = Self("42883");
    pub const UNDEFINED_TABLE: Self = Self("42P01");
    pub const RESERVED_NAME: Self = Self("42939");
    pub const DUPLICATE_PREPARED_STATEMENT: Self = Self("42P05");
    pub const TOO_MANY_CONNECTIONS: Self = Self("53300");
    pub const STATEMENT_TOO_COMPLEX: Self = Self("54001");
    pub const PROGRAM_LIMIT_EXCEEDED: Self = Self("54000");
    pub const QUERY_CANCELED: Self = Self("57014");
    pub const ADMIN_SHUTDOWN: Self = Self("57P01");
    pub const CANNOT_CONNECT_NOW: Self = Self("57P03");
    pub const SYSTEM_ERROR: Self = Self("58000");
    pub const DATA_EXCEPTION: Self = Self("22000");
    pub const INTERNAL_ERROR: Self = Self("XX000");
}

/// Which family a refusal belongs to (for the audit record and the metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Policy says no, or the object must not be seen to exist.
    Denied,
    /// It cannot be proved safe, or is not supported: fail closed.
    Unsupported,
    /// The client broke the protocol.
    Protocol,
    /// The warehouse is unreachable, went away or refused.
    Upstream,
    /// The caller's own mistake (syntax, unknown name).
    Caller,
    /// A defect of ours.
    Internal,
}

/// A statement or connection refused: everything a client is told about it.
///
/// Message style follows PostgreSQL (manual, 55.3 Error Message Style Guide): lower-case first letter, no full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Family, for audit and metrics.
    pub family: Family,
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message.
    pub message: Cow<'static, str>,
    /// Optional detail line.
    pub detail: Option<String>,
    /// Optional hint: what to do about it.
    pub hint: Option<String>,
    /// Byte offset (0-based) into the caller's own statement text; turned into a 1-based character position on the wire.
    pub position: Option<usize>,
    /// PostgreSQL's routine that says this, where clients go by it.
    pub routine: Option<Routine>,
}

/// Routines of PostgreSQL that clients know by name (field R of ErrorResponse, manual, 55.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routine {
    /// A cached plan gives other columns than before (plancache.c): pgjdbc and ActiveRecord prepare again, whatever the text says.
    RevalidateCachedQuery,
}

impl Routine {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::RevalidateCachedQuery => "RevalidateCachedQuery",
        }
    }
}

impl Refusal {
    /// A refusal with a family, a code and a message; other fields empty.
    pub fn new(family: Family, code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { family, code, message: message.into(), detail: None, hint: None, position: None, routine: None }
    }
    /// 42501: policy says no.
    pub fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Family::Denied, SqlState::INSUFFICIENT_PRIVILEGE, message)
    }
    /// 42P01 in PostgreSQL's own words: the relation does not exist for this caller.
    /// `name` as the caller wrote it: `rel` or `schema.rel`.
    pub fn undefined_table(name: &str) -> Self {
        Self::new(Family::Denied, SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    }
    /// 0A000: a construct that cannot be proved safe or is not supported; the message names it.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Family::Unsupported, SqlState::FEATURE_NOT_SUPPORTED, message)
    }
    /// 08P01: the client broke the protocol.
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Family::Protocol, SqlState::PROTOCOL_VIOLATION, message)
    }
    /// 08006: the warehouse cannot be reached or went away.
    pub fn upstream(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Family::Upstream, SqlState::CONNECTION_FAILURE, message)
    }
    /// XX000: a defect of ours. The message must say nothing but where.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Family::Internal, SqlState::INTERNAL_ERROR, message)
    }
    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    /// Adds a position: byte offset into the caller's text. Negative (libpg_query's "unknown") is ignored.
    #[must_use]
    pub fn at(mut self, location: i32) -> Self {
        self.position = usize::try_from(location).ok();
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code.0)
    }
}

impl std::error::Error for Refusal {}
