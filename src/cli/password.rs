//! A new password, from a prompt or from standard input; never from an argument, which other users of the machine can see.
//!
//! In: the terminal (asked twice, without echo), or the first line of standard input. Out: a password that is not weak. Must never: print,
//! keep or log it.
//!
//! What is weak follows NIST SP 800-63B, 3.1.1.2: length counts, composition does not; what is commonly used, and the user's own name, is
//! refused.

use std::io::{self, BufRead, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

/// Longest password accepted, in bytes.
const LONGEST: usize = 1024;
/// Fewest characters.
const SHORTEST: usize = 8;
/// What everybody tries first, of that length.
const COMMON: [&str; 30] = [
    "password",
    "passwort",
    "password1",
    "password12",
    "password123",
    "passw0rd",
    "p@ssword",
    "p@ssw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "00000000",
    "qwertyui",
    "qwertyuiop",
    "qwerty123",
    "qwertz123",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "abcdefgh",
    "abcd1234",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "changeme",
    "letmein1",
    "postgres",
];

/// Asks for a new password: twice on a terminal, else the first line of standard input.
///
/// # Errors
/// When there is none, the two do not agree, or it is weak.
pub fn ask(user: Option<&str>) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let first = prompt("Password: ")?;
        if prompt("Again: ")? != first {
            return Err(unfit("the two passwords differ"));
        }
        first
    } else {
        line(&mut stdin.lock())?
    };
    fit(user, &password).map(|()| password)
}

fn unfit(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

/// Whether a password may be used.
fn fit(user: Option<&str>, password: &[u8]) -> io::Result<()> {
    if password.is_empty() || password.len() > LONGEST || password.contains(&0) {
        return Err(unfit(format!("a password has 1 to {LONGEST} bytes and no NUL")));
    }
    let text = String::from_utf8_lossy(password).to_lowercase();
    if text.chars().count() < SHORTEST {
        return Err(unfit(format!("the password is weak: it has fewer than {SHORTEST} characters")));
    }
    let numbers: Vec<u32> = text.chars().map(u32::from).collect();
    // aaaaaaaa, abcdefgh, 98765432: each character as far from the last as that from the one before.
    let steps = |pair: &[u32]| match pair {
        [a, b] => i64::from(*b) - i64::from(*a),
        _ => 0,
    };
    let first = numbers.windows(2).next().map(steps);
    let even =
        first.is_some_and(|first| (-1..=1).contains(&first) && numbers.windows(2).all(|pair| steps(pair) == first));
    let own = user.is_some_and(|user| {
        let user = user.to_lowercase();
        text == user || text.strip_prefix(&user).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
    });
    if even || own || COMMON.contains(&text.as_str()) {
        return Err(unfit("the password is weak: it is among the first that anybody would try"));
    }
    Ok(())
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
    // First, so that nobody answers before it is hidden.
    let hidden = Hidden::begin()?;
    write!(terminal, "{question}")?;
    terminal.flush()?;
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

    #[test]
    fn weak_passwords_are_refused() {
        for (user, weak) in [
            (None, &b""[..]),
            (None, b"a\0bcdefghij"),
            (None, &[b'x'; LONGEST + 1]),
            (None, b"short 1"),
            (None, b"Password123"),
            (None, b"aaaaaaaaaaaa"),
            (None, b"abcdefghijk"),
            (None, b"987654321"),
            (Some("analyst"), b"Analyst2026"),
            (Some("bernhard"), b"bernhard"),
        ] {
            assert!(fit(user, weak).is_err(), "{}", String::from_utf8_lossy(weak));
        }
        for good in [&b"open sesame"[..], "pässwörtér".as_bytes(), b"\xff\xfe12 some bytes", b"analyst of the year"]
        {
            assert!(fit(Some("analyst"), good).is_ok(), "{}", String::from_utf8_lossy(good));
        }
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
