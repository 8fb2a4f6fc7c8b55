//! What a client sends after login (PostgreSQL manual, 55.7 Message Formats, the messages marked F).
//!
//! In: a tag and a body. Out: [`Frontend`], borrowing from the body, checked to its last byte. Must never: keep a message whose
//! parts disagree with its counts.

use super::body::Body;
use crate::error::Refusal;
use crate::types::Oid;

/// What Describe and Close name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `S`: a prepared statement.
    Statement,
    /// `P`: a portal.
    Portal,
}

/// A client's message.
#[derive(Debug, Clone, PartialEq)]
pub enum Frontend<'a> {
    /// `Q`: simple query.
    Query {
        /// The statement string.
        sql: &'a str,
    },
    /// `P`: prepare.
    Parse {
        /// Statement name, empty for the unnamed one.
        name: &'a str,
        /// One statement, or none.
        sql: &'a str,
        /// Declared parameter types, 0 for "infer".
        param_types: Vec<Oid>,
    },
    /// `B`: bind; the rest was checked and is passed on as it is.
    Bind {
        /// Portal name.
        portal: &'a str,
        /// Statement name.
        statement: &'a str,
        /// Formats, values and result formats: everything behind the two names.
        rest: &'a [u8],
    },
    /// `D`.
    Describe(Target, &'a str),
    /// `E`.
    Execute {
        /// Portal name.
        portal: &'a str,
        /// Row limit, 0 for none. PostgreSQL takes a negative one as none too.
        max_rows: i32,
    },
    /// `C`.
    Close(Target, &'a str),
    /// `H`.
    Flush,
    /// `S`.
    Sync,
    /// `X`.
    Terminate,
    /// `d`.
    CopyData,
    /// `c`.
    CopyDone,
    /// `f`.
    CopyFail,
    /// `F`: the fast-path function call, always refused.
    FunctionCall,
    /// `p`: an answer to an authentication request; meaningless after login.
    Authentication(&'a [u8]),
}

fn format_codes(body: &mut Body<'_>) -> Result<usize, Refusal> {
    let n = body.count()?;
    for _ in 0..n {
        // 0 text, 1 binary (55.7, Bind).
        if !matches!(body.i16()?, 0 | 1) {
            return Err(Refusal::protocol("unsupported format code"));
        }
    }
    Ok(n)
}

fn bind<'a>(mut body: Body<'a>) -> Result<Frontend<'a>, Refusal> {
    let portal = body.string()?;
    let statement = body.string()?;
    let rest = body.clone().rest();
    let formats = format_codes(&mut body)?;
    let values = body.count()?;
    if formats > 1 && formats != values {
        return Err(Refusal::protocol(format!("bind message has {formats} parameter formats but {values} parameters")));
    }
    for _ in 0..values {
        match body.i32()? {
            -1 => {}
            n => {
                let n =
                    usize::try_from(n).map_err(|_| Refusal::protocol("invalid parameter length in bind message"))?;
                body.take(n)?;
            }
        }
    }
    format_codes(&mut body)?;
    body.end()?;
    Ok(Frontend::Bind { portal, statement, rest })
}

fn target<'a>(body: &mut Body<'a>, what: &str) -> Result<(Target, &'a str), Refusal> {
    let kind = match body.u8()? {
        b'S' => Target::Statement,
        b'P' => Target::Portal,
        other => return Err(Refusal::protocol(format!("invalid {what} message subtype {other}"))),
    };
    Ok((kind, body.string()?))
}

impl<'a> Frontend<'a> {
    /// Reads one message; the body must be consumed exactly. Pure, never panics.
    pub fn parse(tag: u8, body: &'a [u8]) -> Result<Self, Refusal> {
        let mut body = Body::new(body);
        let message = match tag {
            b'Q' => Self::Query { sql: body.string()? },
            b'P' => {
                let name = body.string()?;
                let sql = body.string()?;
                let n = body.count()?;
                // Not reserved before the bytes were seen: a count is a claim.
                let mut param_types = Vec::new();
                for _ in 0..n {
                    param_types.push(Oid(body.u32()?));
                }
                Self::Parse { name, sql, param_types }
            }
            b'B' => return bind(body),
            b'D' => {
                let (kind, name) = target(&mut body, "DESCRIBE")?;
                Self::Describe(kind, name)
            }
            b'C' => {
                let (kind, name) = target(&mut body, "CLOSE")?;
                Self::Close(kind, name)
            }
            b'E' => Self::Execute { portal: body.string()?, max_rows: body.i32()? },
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'd' => {
                body.rest();
                Self::CopyData
            }
            b'c' => Self::CopyDone,
            b'f' => {
                body.string()?;
                Self::CopyFail
            }
            b'F' => {
                body.rest();
                Self::FunctionCall
            }
            b'p' => Self::Authentication(body.rest()),
            other => return Err(Refusal::protocol(format!("invalid frontend message type {other}"))),
        };
        body.end()?;
        Ok(message)
    }
}

/// SASLInitialResponse: the mechanism's name and the client-first message (55.7).
pub fn sasl_initial(body: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let mut body = Body::new(body);
    let mechanism = body.string()?;
    let n = body.i32()?;
    // -1: no initial response (55.7); every mechanism here needs one.
    let n = usize::try_from(n).map_err(|_| Refusal::protocol("malformed SASL message"))?;
    let data = body.take(n)?;
    body.end()?;
    Ok((mechanism, data))
}

/// The body of a PasswordMessage: one text.
pub fn password(body: &[u8]) -> Result<&str, Refusal> {
    let mut body = Body::new(body);
    let text = body.string()?;
    body.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_parses() {
        assert_eq!(Frontend::parse(b'Q', b"select 1\0"), Ok(Frontend::Query { sql: "select 1" }));
        assert_eq!(
            Frontend::parse(b'P', b"s\0select $1\0\0\x01\0\0\0\x17"),
            Ok(Frontend::Parse { name: "s", sql: "select $1", param_types: vec![Oid(23)] })
        );
        let bind = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0";
        assert!(matches!(Frontend::parse(b'B', bind), Ok(Frontend::Bind { portal: "p", statement: "s", .. })));
        assert_eq!(Frontend::parse(b'D', b"Sx\0"), Ok(Frontend::Describe(Target::Statement, "x")));
        assert_eq!(Frontend::parse(b'C', b"P\0"), Ok(Frontend::Close(Target::Portal, "")));
        assert_eq!(Frontend::parse(b'E', b"p\0\0\0\0\x05"), Ok(Frontend::Execute { portal: "p", max_rows: 5 }));
        assert_eq!(Frontend::parse(b'S', b""), Ok(Frontend::Sync));
        assert_eq!(sasl_initial(b"SCRAM-SHA-256\0\0\0\0\x01n"), Ok(("SCRAM-SHA-256", &b"n"[..])));
    }

    #[test]
    fn what_is_left_over_or_missing_is_refused() {
        for (tag, body) in [
            (b'Q', &b"select 1"[..]),
            (b'Q', b"a\0b\0"),
            (b'S', b"x"),
            (b'P', b"s\0q\0\0\x02\0\0\0\x17"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09ab\0\0"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            (b'B', b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0"),
            (b'B', b"\0\0\0\x01\0\x07\0\0\0\0"),
            (b'D', b"X\0"),
            (b'E', b"p\0\0\0"),
            (b'z', b""),
        ] {
            assert_eq!(Frontend::parse(tag, body).unwrap_err().code.0, "08P01", "{} {body:?}", tag as char);
        }
        assert_eq!(Frontend::parse(b'Q', b"\xc3\x28\0").unwrap_err().code.0, "22021");
    }

    fn whole(tag: u8) -> Vec<u8> {
        match tag {
            b'Q' => b"select 1\0".to_vec(),
            b'P' => b"s\0select $1\0\0\x01\0\0\0\x17".to_vec(),
            b'B' => b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0".to_vec(),
            b'D' | b'C' => b"Sname\0".to_vec(),
            b'E' => b"p\0\0\0\0\x05".to_vec(),
            b'f' => b"why\0".to_vec(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn random_and_truncated_bodies_never_panic(
            tag in prop::sample::select(b"QPBDCEHSXdcfFp".to_vec()),
            noise in prop::collection::vec(any::<u8>(), 0..48),
            cut in any::<prop::sample::Index>(),
        ) {
            for body in [noise.clone(), { let w = whole(tag); let n = cut.index(w.len() + 1); w[..n].to_vec() }] {
                if let Err(refusal) = Frontend::parse(tag, &body) {
                    prop_assert!(matches!(refusal.code.0, "08P01" | "22021"));
                }
            }
            let _ = sasl_initial(&noise);
            let _ = super::super::startup::Startup::parse(&noise);
            let _ = super::super::errors::Fields::parse(&noise);
        }
    }
}
