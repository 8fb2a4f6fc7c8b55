//! `sqlveil verifier`: makes the stored verifier of a password for the identity file.
//!
//! In: a password, from a prompt or from standard input; never from an argument, which other users of the machine can see. Out: the
//! verifier. Must never: print, keep or log the password.

use crate::identity::Verifier;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::process::{Command, Stdio};

/// Longest password accepted, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Reads a password (asked for twice on a terminal, else the first line of standard input) and prints its verifier: alone, or with
/// `user` as an entry of the identity file.
///
/// # Errors
/// When there is no usable password, the two do not agree, or `out` cannot be written.
pub fn run(user: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let first = prompt("Password: ")?;
        if prompt("Again: ")? != first {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the two passwords differ"));
        }
        first
    } else {
        line(&mut stdin.lock())?
    };
    write(user, &password, out)
}

fn write(user: Option<&str>, password: &[u8], out: &mut dyn Write) -> io::Result<()> {
    if password.is_empty() || password.len() > MAX_PASSWORD || password.contains(&0) {
        let message = format!("a password has 1 to {MAX_PASSWORD} bytes and no NUL");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let verifier = Verifier::generate(password);
    match user {
        // A JSON string is a YAML string.
        Some(user) => {
            let name = serde_json::Value::from(user);
            writeln!(out, "- name: {name}\n  verifier: \"{verifier}\"")
        }
        None => writeln!(out, "{verifier}"),
    }
}

/// One line without its end.
fn line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.read_until(b'\n', &mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Asks on the terminal, without echo.
fn prompt(question: &str) -> io::Result<Vec<u8>> {
    let mut terminal = io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let hidden = Hidden::begin()?;
    let answer = line(&mut io::stdin().lock());
    drop(hidden);
    writeln!(terminal)?;
    answer
}

/// The terminal without echo, until dropped.
struct Hidden;

impl Hidden {
    fn begin() -> io::Result<Self> {
        // A prompt that shows the password is worse than none.
        if stty("-echo")? { Ok(Self) } else { Err(io::Error::other("the terminal's echo cannot be switched off")) }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = stty("echo");
    }
}

fn stty(setting: &str) -> io::Result<bool> {
    let status = Command::new("stty").arg(setting).stdin(Stdio::inherit()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(user: Option<&str>, password: &[u8]) -> io::Result<String> {
        let mut out = Vec::new();
        write(user, password, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_printed_is_a_verifier() {
        let text = written(None, b"secret").unwrap();
        assert!(text.trim_end().parse::<Verifier>().is_ok(), "{text}");
        assert_ne!(text, written(None, b"secret").unwrap(), "each has a salt of its own");
    }

    #[test]
    fn an_entry_is_read_by_the_identity_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.yaml");
        for user in ["ann", "o'hara: #1", "true", "a\"b"] {
            std::fs::write(&path, format!("users:\n{}", written(Some(user), b"secret").unwrap())).unwrap();
            let (identities, _) = crate::identity::file::load(&path).unwrap();
            assert!(identities.users[user].verifier.is_some());
        }
    }

    #[test]
    fn unusable_passwords_are_refused() {
        assert!(written(None, b"").is_err());
        assert!(written(None, b"a\0b").is_err());
        assert!(written(None, &[b'x'; MAX_PASSWORD + 1]).is_err());
    }

    #[test]
    fn a_line_ends_where_it_ends() {
        for (input, expected) in
            [(&b"a b \r\nrest"[..], &b"a b "[..]), (b"ab", b"ab"), (b"\xff\n", b"\xff"), (b"", b"")]
        {
            assert_eq!(line(&mut &*input).unwrap(), expected);
        }
    }
}
