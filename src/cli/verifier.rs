//! `sqlveil verifier`: the verifier of a password, for the identity file.
//!
//! In: one line of standard input. Out: one line. Must never: echo or keep the password.

use crate::identity::scram::Verifier;
use std::io::{self, BufRead, Write};

/// Reads a password, writes its verifier; false when there was no password.
///
/// # Errors
/// When the input cannot be read or the output cannot be written.
pub fn run(input: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    let mut password = String::new();
    input.read_line(&mut password)?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Ok(false);
    }
    writeln!(out, "{}", Verifier::generate(password.as_bytes()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_a_verifier_and_nothing_gives_none() {
        let mut out = Vec::new();
        assert!(run(&mut "secret\nmore\n".as_bytes(), &mut out).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.trim_end().parse::<Verifier>().is_ok() && !text.contains("secret"));
        for nothing in ["", "\n", "\r\n"] {
            assert!(!run(&mut nothing.as_bytes(), &mut Vec::new()).unwrap());
        }
    }
}
