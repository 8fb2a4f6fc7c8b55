//! What the proxy itself says to a client (PostgreSQL manual, 55.7 Message Formats, the messages marked B).
//!
//! In: values. Out: bytes appended to a buffer. Must never: invent the text of an error ([`super::errors`] has the one voice).

use bytes::{BufMut, BytesMut};

/// Transaction status of ReadyForQuery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    Idle,
    /// `T`: in one.
    Block,
    /// `E`: in a failed one.
    Failed,
}

impl TransactionStatus {
    /// From the byte of ReadyForQuery.
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Block),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
    /// To the byte of ReadyForQuery.
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Block => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Appends one message: tag, length, and what `body` writes.
pub fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_i32(0);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length);
    }
}

/// A String: its bytes and NUL. NULs inside (never valid in PostgreSQL text) end it, as they would for a reader.
pub fn string(out: &mut BytesMut, text: &str) {
    let text = text.split('\0').next().unwrap_or_default();
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

/// `Z`.
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    message(out, b'Z', |b| b.put_u8(status.byte()));
}

/// `S`.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |b| {
        string(b, name);
        string(b, value);
    });
}

/// `K`: the key a CancelRequest must show; four bytes in protocol 3.0, up to 256 in 3.2.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    message(out, b'K', |b| {
        b.put_i32(pid);
        b.put_slice(secret);
    });
}

/// `R` 0: AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |b| b.put_i32(0));
}

/// `R` 3: AuthenticationCleartextPassword.
pub fn authentication_cleartext_password(out: &mut BytesMut) {
    message(out, b'R', |b| b.put_i32(3));
}

/// `R` 10: AuthenticationSASL with the mechanisms offered.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, b'R', |b| {
        b.put_i32(10);
        for name in mechanisms {
            string(b, name);
        }
        b.put_u8(0);
    });
}

/// `R` 11: AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |b| {
        b.put_i32(11);
        b.put_slice(data);
    });
}

/// `R` 12: AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    message(out, b'R', |b| {
        b.put_i32(12);
        b.put_slice(data);
    });
}

/// `v`: the newest minor version spoken, and the protocol options not recognized.
pub fn negotiate_protocol_version(out: &mut BytesMut, minor: u16, options: &[String]) {
    message(out, b'v', |b| {
        b.put_i32(0x0003_0000 | i32::from(minor));
        b.put_i32(i32::try_from(options.len()).unwrap_or(i32::MAX));
        for option in options {
            string(b, option);
        }
    });
}

/// `C`: CommandComplete.
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |b| string(b, tag));
}

/// `s`: PortalSuspended.
pub fn portal_suspended(out: &mut BytesMut) {
    message(out, b's', |_| {});
}

/// `3`: CloseComplete.
pub fn close_complete(out: &mut BytesMut) {
    message(out, b'3', |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_length() {
        let mut out = BytesMut::new();
        ready_for_query(&mut out, TransactionStatus::Failed);
        parameter_status(&mut out, "a", "b");
        assert_eq!(&out[..], b"Z\0\0\0\x05ES\0\0\0\x08a\0b\0");
        out.clear();
        backend_key_data(&mut out, 1, b"wxyz");
        assert_eq!(&out[..], b"K\0\0\0\x0c\0\0\0\x01wxyz");
        out.clear();
        negotiate_protocol_version(&mut out, 2, &["_pq_.x".into()]);
        assert_eq!(&out[..], b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0");
        out.clear();
        authentication_sasl(&mut out, &["A", "B"]);
        assert_eq!(&out[..], b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0");
    }
}
