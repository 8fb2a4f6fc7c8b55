//! Kinds of statements, as many as there are words of commands: a label of metrics and traces.

/// What kind of statement it is, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    /// WITH that writes.
    With,
    Truncate,
    Copy,
    Explain,
    Show,
    Set,
    Reset,
    Begin,
    Commit,
    Rollback,
    Savepoint,
    Release,
    Prepare,
    Execute,
    Deallocate,
    Declare,
    Fetch,
    Move,
    Close,
    Lock,
    Create,
    Alter,
    Drop,
    Analyze,
    Discard,
    /// Nothing but spaces and comments.
    Empty,
    /// Whatever it is.
    Other,
}

use Kind as K;

/// Words that statements begin with, and tags that answers end with.
const WORDS: [(&str, Kind); 39] = [
    ("SELECT", K::Select),
    ("INSERT", K::Insert),
    ("UPDATE", K::Update),
    ("DELETE", K::Delete),
    ("BEGIN", K::Begin),
    ("COMMIT", K::Commit),
    ("SET", K::Set),
    ("FETCH", K::Fetch),
    ("COPY", K::Copy),
    ("ROLLBACK", K::Rollback),
    ("MERGE", K::Merge),
    ("WITH", K::With),
    ("VALUES", K::Select),
    ("TABLE", K::Select),
    ("TRUNCATE", K::Truncate),
    ("EXPLAIN", K::Explain),
    ("SHOW", K::Show),
    ("RESET", K::Reset),
    ("START", K::Begin),
    ("END", K::Commit),
    ("ABORT", K::Rollback),
    ("SAVEPOINT", K::Savepoint),
    ("RELEASE", K::Release),
    ("PREPARE", K::Prepare),
    ("EXECUTE", K::Execute),
    ("DEALLOCATE", K::Deallocate),
    ("DECLARE", K::Declare),
    ("MOVE", K::Move),
    ("CLOSE", K::Close),
    ("LOCK", K::Lock),
    ("CREATE", K::Create),
    ("ALTER", K::Alter),
    ("DROP", K::Drop),
    ("ANALYZE", K::Analyze),
    ("ANALYSE", K::Analyze),
    ("VACUUM", K::Analyze),
    ("DISCARD", K::Discard),
    ("REINDEX", K::Other),
    ("GRANT", K::Other),
];

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 32] = [
        K::Select,
        K::Insert,
        K::Update,
        K::Delete,
        K::Merge,
        K::With,
        K::Truncate,
        K::Copy,
        K::Explain,
        K::Show,
        K::Set,
        K::Reset,
        K::Begin,
        K::Commit,
        K::Rollback,
        K::Savepoint,
        K::Release,
        K::Prepare,
        K::Execute,
        K::Deallocate,
        K::Declare,
        K::Fetch,
        K::Move,
        K::Close,
        K::Lock,
        K::Create,
        K::Alter,
        K::Drop,
        K::Analyze,
        K::Discard,
        K::Empty,
        K::Other,
    ];

    /// Its number.
    pub fn index(self) -> usize {
        usize::from(self as u8)
    }

    /// By the first word of a statement as it is printed, or of a tag: upper-case letters.
    pub fn of_word(text: &str) -> Self {
        // Of nearly every statement, and of its tag.
        if text.starts_with("SELECT ") {
            return K::Select;
        }
        let end = text.bytes().position(|byte| !byte.is_ascii_uppercase()).unwrap_or(text.len());
        let word = text.get(..end).unwrap_or_default();
        WORDS.iter().find(|(known, _)| *known == word).map_or(K::Other, |(_, kind)| *kind)
    }

    /// By the first word of a statement as somebody wrote it, comments and brackets before it left out.
    pub fn of_text(text: &str) -> Self {
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '(');
            if let Some(comment) = rest.strip_prefix("--") {
                rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
            } else if rest.starts_with("/*") {
                rest = behind_comment(rest);
            } else {
                break;
            }
        }
        if rest.is_empty() {
            return K::Empty;
        }
        let word: String = rest.chars().take(16).take_while(char::is_ascii_alphabetic).collect();
        Self::of_word(&word.to_ascii_uppercase())
    }

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            K::Select => "select",
            K::Insert => "insert",
            K::Update => "update",
            K::Delete => "delete",
            K::Merge => "merge",
            K::With => "with",
            K::Truncate => "truncate",
            K::Copy => "copy",
            K::Explain => "explain",
            K::Show => "show",
            K::Set => "set",
            K::Reset => "reset",
            K::Begin => "begin",
            K::Commit => "commit",
            K::Rollback => "rollback",
            K::Savepoint => "savepoint",
            K::Release => "release",
            K::Prepare => "prepare",
            K::Execute => "execute",
            K::Deallocate => "deallocate",
            K::Declare => "declare",
            K::Fetch => "fetch",
            K::Move => "move",
            K::Close => "close",
            K::Lock => "lock",
            K::Create => "create",
            K::Alter => "alter",
            K::Drop => "drop",
            K::Analyze => "analyze",
            K::Discard => "discard",
            K::Empty => "empty",
            K::Other => "other",
        }
    }
}

/// What stands behind a comment, which may hold others (PostgreSQL manual, 4.1.5); nothing when it does not end.
fn behind_comment(text: &str) -> &str {
    let (mut depth, mut at) = (0usize, 0usize);
    let bytes = text.as_bytes();
    while let Some(two) = bytes.get(at..at.saturating_add(2)) {
        match two {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return text.get(at..).unwrap_or_default();
                }
            }
            _ => at += 1,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_list() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        for (at, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), at);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn kinds_by_first_word() {
        for (text, kind) in [
            ("SELECT 1", K::Select),
            ("INSERT 0 1", K::Insert),
            ("SELECTED", K::Other),
            ("", K::Other),
            ("select", K::Other),
        ] {
            assert_eq!(Kind::of_word(text), kind, "{text}");
        }
        for (text, kind) in [
            (" -- x\n /* a /* b */ c */ (( select 1", K::Select),
            ("insErt into t", K::Insert),
            ("/* never ends", K::Empty),
            (" ; ", K::Empty),
            ("vacuum", K::Analyze),
            ("é", K::Other),
            ("selectselectselectselect", K::Other),
        ] {
            assert_eq!(Kind::of_text(text), kind, "{text}");
        }
    }
}
