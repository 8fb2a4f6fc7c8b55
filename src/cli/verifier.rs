//! `sqlveil verifier`: makes the stored verifier of a password for the identity file.
//!
//! In: a password, as [`super::password`] asks for it. Out: the verifier. Must never: print, keep or log the password.

use super::password;
use crate::identity::Verifier;
use std::io::{self, Write};

/// Asks for a password and prints its verifier: alone, or with `user` as an entry of the identity file.
///
/// # Errors
/// When there is no usable password, or `out` cannot be written.
pub fn run(user: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    write(user, &password::ask(user)?, out)
}

fn write(user: Option<&str>, password: &[u8], out: &mut dyn Write) -> io::Result<()> {
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
}
