//! What may be sent to the warehouse, message by message.
//!
//! In: [`Sealed`] SQL, names, validated bodies. Out: bytes appended to a buffer. INVARIANT(no-caller-sql): no function here takes SQL
//! as text. The formats are those of the PostgreSQL manual, 55.7, the messages marked F. Must never: append half a message.

use super::kept::Held;
use crate::error::Refusal;
use crate::seal::{Sealed, Values};
use crate::types::Oid;
use crate::wire::Target;
use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;

/// Statements the proxy itself sends: a closed set, none of it from a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// `DISCARD ALL`: back to the session's defaults.
    DiscardAll,
    /// `ROLLBACK`: leave a transaction.
    Rollback,
    /// `SELECT`: nothing, to see that the session answers.
    Nothing,
    /// The session's own temporary tables.
    Scratch,
}

impl Fixed {
    fn text(self) -> &'static str {
        match self {
            Self::DiscardAll => "DISCARD ALL",
            Self::Rollback => "ROLLBACK",
            Self::Nothing => "SELECT",
            Self::Scratch => crate::catalog::scratch::PROBE,
        }
    }
}

/// How names begin that are not for clients: [`parse`] and [`bind_raw`] refuse them.
pub const OWN_NAMES: &str = "sqlveil: ";

/// A portal of this name is never bound.
const NO_PORTAL: &str = "sqlveil: no such portal";

/// A statement of this name is never parsed.
const NO_STATEMENT: &str = "sqlveil: no such statement";

/// Statement and portal of [`fixed_in_batch`].
const OWN: &str = "sqlveil: own";

fn refused(error: &std::io::Error) -> Refusal {
    // The builders fail on a NUL inside a name and on a length over 2^31: both come from the client.
    Refusal::protocol(match error.kind() {
        std::io::ErrorKind::InvalidInput => "invalid name or length in message",
        _ => "message cannot be sent",
    })
}

/// Appends by a builder of postgres-protocol; on failure nothing is appended.
fn append(out: &mut BytesMut, build: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Result<(), Refusal> {
    let before = out.len();
    build(out).map_err(|e| {
        out.truncate(before);
        refused(&e)
    })
}

fn kind(target: Target) -> u8 {
    match target {
        Target::Statement => b'S',
        Target::Portal => b'P',
    }
}

/// Query.
pub fn query(sql: &Sealed, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::query(sql.as_str(), out))
}

/// Query with a statement of our own.
pub fn fixed(statement: Fixed, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::query(statement.text(), out))
}

/// A statement of our own inside a batch of the extended protocol, which goes on behind it: Parse, Bind, Execute, Close of both, Flush.
pub fn fixed_in_batch(statement: Fixed, out: &mut BytesMut) -> Result<(), Refusal> {
    in_batch(statement.text(), out)?;
    frontend::flush(out);
    Ok(())
}

/// As [`fixed_in_batch`], of a statement that the proxy made from values, and without Flush.
pub fn own_in_batch(statement: &Sealed, out: &mut BytesMut) -> Result<(), Refusal> {
    in_batch(statement.as_str(), out)
}

fn in_batch(text: &str, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| {
        frontend::parse(OWN, text, [], out)?;
        Ok(())
    })?;
    bind(OWN, OWN, &[0; 6], out)?;
    append(out, |out| {
        frontend::execute(OWN, 0, out)?;
        frontend::close(b'P', OWN, out)?;
        frontend::close(b'S', OWN, out)
    })
}

/// Parse.
pub fn parse(name: &str, sql: &Sealed, param_types: &[Oid], out: &mut BytesMut) -> Result<(), Refusal> {
    if name.starts_with(OWN_NAMES) {
        return Err(Refusal::protocol("invalid name in parse message"));
    }
    append(out, |out| frontend::parse(name, sql.as_str(), param_types.iter().map(|oid| oid.0), out))
}

/// Parse under a name that belongs to no client alone.
pub fn parse_held(name: &Held, sql: &Sealed, param_types: &[Oid], out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::parse(name.as_str(), sql.as_str(), param_types.iter().map(|oid| oid.0), out))
}

/// [`bind_raw`] of such a statement.
pub fn bind_held(portal: &str, statement: &Held, rest: &[u8], out: &mut BytesMut) -> Result<(), Refusal> {
    bind_raw(portal, statement.as_str(), rest, out)
}

/// Bind of such a statement and the values of its numbers to the unnamed portal.
pub fn bind_values(statement: &Held, values: &Values, out: &mut BytesMut) -> Result<(), Refusal> {
    bind("", statement.as_str(), &values.bound(), out)
}

/// Describe of such a statement.
pub fn describe_held(statement: &Held, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::describe(b'S', statement.as_str(), out))
}

/// Close of such a statement.
pub fn close_held(statement: &Held, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::close(b'S', statement.as_str(), out))
}

/// Close of nothing, which the warehouse answers with CloseComplete: "It is not an error to issue Close against a nonexistent statement"
/// (PostgreSQL manual, 55.2.3).
pub fn close_nothing(out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::close(b'S', NO_STATEMENT, out))
}

/// Bind: `rest` is everything behind the two names (formats, values, result formats) as `wire` checked it, passed on untouched.
pub fn bind_raw(portal: &str, statement: &str, rest: &[u8], out: &mut BytesMut) -> Result<(), Refusal> {
    if portal.starts_with(OWN_NAMES) || portal.contains('\0') || statement.contains('\0') {
        return Err(Refusal::protocol("invalid name in bind message"));
    }
    bind(portal, statement, rest, out)
}

/// Describe and Execute of the unnamed portal, all rows, and Sync (PostgreSQL manual, 55.7).
pub const RUN_DESCRIBED: &[u8] = b"D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";

/// The same without Describe.
pub const RUN: &[u8] = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";

/// Bind of the unnamed portal as by [`bind_raw`], and behind it `run`: [`RUN`] or [`RUN_DESCRIBED`], nothing else.
pub fn run(statement: &str, rest: &[u8], run: &'static [u8], out: &mut BytesMut) -> Result<(), Refusal> {
    bind_raw("", statement, rest, out)?;
    out.put_slice(run);
    Ok(())
}

fn bind(portal: &str, statement: &str, rest: &[u8], out: &mut BytesMut) -> Result<(), Refusal> {
    let length = 4 + portal.len() + 1 + statement.len() + 1 + rest.len();
    let length = i32::try_from(length).map_err(|_| Refusal::protocol("bind message is too long"))?;
    out.put_u8(b'B');
    out.put_i32(length);
    for name in [portal, statement] {
        out.put_slice(name.as_bytes());
        out.put_u8(0);
    }
    out.put_slice(rest);
    Ok(())
}

/// Describe.
pub fn describe(target: Target, name: &str, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::describe(kind(target), name, out))
}

/// Execute; `max_rows` 0 = all.
pub fn execute(portal: &str, max_rows: i32, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::execute(portal, max_rows, out))
}

/// Close.
pub fn close(target: Target, name: &str, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::close(kind(target), name, out))
}

/// Sync.
pub fn sync(out: &mut BytesMut) {
    frontend::sync(out);
}

/// Flush.
pub fn flush(out: &mut BytesMut) {
    frontend::flush(out);
}

/// Terminate.
pub fn terminate(out: &mut BytesMut) {
    frontend::terminate(out);
}

/// CopyData.
pub fn copy_data(data: &[u8], out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::CopyData::new(data).map(|message| message.write(out)))
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    frontend::copy_done(out);
}

/// CopyFail. The reason ends up in the warehouse's error message, which only the sender of the rows gets.
pub fn copy_fail(reason: &str, out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::copy_fail(reason, out))
}

/// Makes the warehouse fail the current transaction as a refused statement must: Execute of a portal that cannot exist answers
/// 34000, the transaction is then aborted and everything up to Sync is skipped. The caller of this function hides the answer.
pub fn fail_transaction(out: &mut BytesMut) -> Result<(), Refusal> {
    append(out, |out| frontend::execute(NO_PORTAL, 0, out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frontend;

    /// Reads back what was written with the other room's reader.
    fn read(out: &BytesMut) -> Frontend<'_> {
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize + 1, out.len());
        Frontend::parse(out[0], &out[5..]).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut out = BytesMut::new();
        bind_raw("p", "s", &[0, 0, 0, 0, 0, 0], &mut out).unwrap();
        assert_eq!(read(&out), Frontend::Bind { portal: "p", statement: "s", rest: &[0, 0, 0, 0, 0, 0] });
        out.clear();
        parse("s", &Sealed::empty(), &[Oid(23)], &mut out).unwrap();
        assert_eq!(read(&out), Frontend::Parse { name: "s", sql: "", param_types: vec![Oid(23)] });
        out.clear();
        describe(Target::Portal, "p", &mut out).unwrap();
        assert_eq!(read(&out), Frontend::Describe(Target::Portal, "p"));
        out.clear();
        close(Target::Statement, "s", &mut out).unwrap();
        assert_eq!(read(&out), Frontend::Close(Target::Statement, "s"));
        out.clear();
        fixed(Fixed::DiscardAll, &mut out).unwrap();
        assert_eq!(read(&out), Frontend::Query { sql: "DISCARD ALL" });
    }

    #[test]
    fn a_run_is_what_its_messages_are_one_by_one() {
        let (mut one, mut other) = (BytesMut::new(), BytesMut::new());
        for (described, bytes) in [(true, RUN_DESCRIBED), (false, RUN)] {
            run("s", &[0; 6], bytes, &mut one).unwrap();
            bind_raw("", "s", &[0; 6], &mut other).unwrap();
            if described {
                describe(Target::Portal, "", &mut other).unwrap();
            }
            execute("", 0, &mut other).unwrap();
            sync(&mut other);
        }
        assert_eq!(one, other);
    }

    #[test]
    fn names_with_nul_append_nothing() {
        let mut out = BytesMut::from(&b"before"[..]);
        assert!(parse("a\0b", &Sealed::empty(), &[], &mut out).is_err());
        assert!(bind_raw("a\0b", "", &[], &mut out).is_err());
        assert!(bind_raw("", "a\0b", &[], &mut out).is_err());
        assert!(execute("a\0b", 0, &mut out).is_err());
        assert!(describe(Target::Portal, "a\0b", &mut out).is_err());
        assert_eq!(&out[..], b"before");
    }

    #[test]
    fn the_failing_portal_cannot_be_bound() {
        let mut out = BytesMut::new();
        fail_transaction(&mut out).unwrap();
        let Frontend::Execute { portal, .. } = read(&out) else { panic!("not an Execute") };
        assert!(bind_raw(portal, "", &[0; 6], &mut BytesMut::new()).is_err());
    }
}
