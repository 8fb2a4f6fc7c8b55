//! Where a word is a value: `SET x TO word` and `EXPLAIN (FORMAT word)` mean strings to PostgreSQL, quoted as identifiers or not at all.
//!
//! In: the tokens of a text, one after the other, whether or not they make statements. Out: whether a word is a value that may be data.
//! Must never: take an assignment of UPDATE for a setting (what stands there are columns), or a value for a name.
//!
//! The grammar is PostgreSQL's (`gram.y`: `VariableSetStmt`, `FunctionSetResetClause`, `utility_option_list`, `copy_generic_opt_list`).

use pg_query::protobuf::Token;

/// What settings may be set to that tells nothing of anybody.
const PLAIN: [&str; 9] = ["on", "off", "true", "false", "default", "none", "local", "from", "current"];
/// The same of options of EXPLAIN and COPY.
const FORMATS: [&str; 7] = ["text", "xml", "json", "yaml", "csv", "binary", "match"];

/// What the next token may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The first of a statement.
    First,
    /// Anything of no concern here.
    Any,
    /// Behind CREATE: what is made.
    Made,
    /// Behind EXPLAIN: perhaps options.
    Explained,
    /// Behind the parenthesis of EXPLAIN: an option, or a query.
    OptionOrQuery,
    /// The name of an option.
    Option,
    /// What an option is set to.
    OptionValue,
    /// Inside the parentheses of an option: names.
    OptionNames(u32),
    /// Behind SET: a name, or what stands before it.
    Name,
    /// Behind the name; whether a value may follow at once.
    Named(bool),
    /// Behind SET TIME: the name goes on, or it was the name.
    Time,
    /// A time zone.
    Zone,
    /// A value.
    Value,
    /// Behind a value: one more, or something else.
    Listed,
}

/// Follows a text.
#[derive(Debug)]
pub(super) struct Words {
    next: Next,
    /// The statement is a SET: nothing but values follows.
    all: bool,
    /// In this statement SET sets a setting wherever it stands.
    always: bool,
    /// UPDATE stood before: SET assigns to columns.
    updates: bool,
    /// COPY: options may come behind its direction.
    copies: bool,
    directed: bool,
    depth: u32,
    last: i32,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            next: Next::First,
            all: false,
            always: false,
            updates: false,
            copies: false,
            directed: false,
            depth: 0,
            last: 0,
        }
    }
}

/// Whether a token is written as a word or in double quotes.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '"') || !c.is_ascii())
}

fn withheld(word: &str, known: &[&str]) -> bool {
    is_word(word) && !known.iter().any(|known| word.eq_ignore_ascii_case(known))
}

impl Words {
    /// The next token, comments left out; whether it is a word that stands for a value. Literals are none of its concern.
    pub(super) fn is_value(&mut self, token: i32, text: &str) -> bool {
        let is_value = self.follow(token, text);
        if is_value {
            // A BEGIN that is a value begins nothing.
            self.last = 0;
        }
        is_value
    }

    fn follow(&mut self, token: i32, text: &str) -> bool {
        // A string is no word, whatever letter stands before its quote.
        let strings = [Token::Sconst, Token::Usconst, Token::Bconst, Token::Xconst];
        let text = if strings.iter().any(|string| token == *string as i32) { "'" } else { text };
        let begins =
            token == Token::Ascii59 as i32 || (self.last == Token::BeginP as i32 && token == Token::Atomic as i32);
        self.last = token;
        if begins {
            *self = Self::default();
            return false;
        }
        let is = |wanted: Token| token == wanted as i32;
        let assigns = is(Token::Ascii61) || is(Token::To);
        match self.next {
            Next::First => self.first(token),
            Next::Any => self.any(token),
            Next::Made => {
                self.always = is(Token::Function) || is(Token::Procedure);
                let goes_on = is(Token::Or) || is(Token::Replace);
                self.next = if goes_on { Next::Made } else { Next::Any };
            }
            Next::Explained if is(Token::Ascii40) => self.next = Next::OptionOrQuery,
            Next::Explained => self.any(token),
            Next::OptionOrQuery => {
                let query = [Token::Select, Token::With, Token::WithLa, Token::Values, Token::Table, Token::Ascii40];
                self.next = if query.into_iter().any(is) { Next::Any } else { Next::OptionValue };
            }
            Next::Option => self.next = if is(Token::Ascii41) { Next::Any } else { Next::OptionValue },
            Next::OptionValue if is(Token::Ascii44) => self.next = Next::Option,
            Next::OptionValue if is(Token::Ascii41) => self.next = Next::Any,
            Next::OptionValue if is(Token::Ascii40) => self.next = Next::OptionNames(1),
            Next::OptionValue => return withheld(text, &PLAIN) && withheld(text, &FORMATS),
            Next::OptionNames(depth) => {
                let depth = match depth {
                    depth if is(Token::Ascii40) => depth.saturating_add(1),
                    depth if is(Token::Ascii41) => depth.saturating_sub(1),
                    depth => depth,
                };
                self.next = if depth == 0 { Next::OptionValue } else { Next::OptionNames(depth) };
            }
            Next::Name => return self.name(token, text),
            Next::Time if is(Token::Zone) => self.next = Next::Zone,
            Next::Named(_) | Next::Time if assigns => self.next = Next::Value,
            Next::Named(_) if is(Token::Ascii46) => self.next = Next::Name,
            // Behind ROLE, or without the sign that was forgotten.
            Next::Named(true) => return self.value(token, text),
            Next::Time if self.all => return self.value(token, text),
            Next::Named(false) | Next::Time => self.any(token),
            Next::Zone => {
                if !self.all {
                    self.next = Next::Any;
                }
                // Else it is one of the words that belong to an interval.
                return [Token::Ident, Token::Uident].into_iter().any(is);
            }
            Next::Value => return self.value(token, text),
            Next::Listed if is(Token::Ascii44) => self.next = Next::Value,
            Next::Listed => self.any(token),
        }
        false
    }

    fn first(&mut self, token: i32) {
        let is = |wanted: Token| token == wanted as i32;
        self.next = Next::Any;
        if is(Token::Set) {
            (self.all, self.always, self.next) = (true, true, Next::Name);
        } else if is(Token::Create) {
            self.next = Next::Made;
        } else if is(Token::Explain) {
            self.next = Next::Explained;
        } else {
            self.always = is(Token::Alter);
            self.copies = is(Token::Copy);
            self.any(token);
        }
    }

    fn any(&mut self, token: i32) {
        let is = |wanted: Token| token == wanted as i32;
        self.next = Next::Any;
        if is(Token::Set) && (self.always || !self.updates) {
            self.next = Next::Name;
        } else if is(Token::Ascii40) && self.directed && self.depth == 0 {
            self.next = Next::Option;
        } else if is(Token::Ascii40) {
            self.depth = self.depth.saturating_add(1);
        } else if is(Token::Ascii41) {
            self.depth = self.depth.saturating_sub(1);
        } else if self.copies && self.depth == 0 && (is(Token::To) || is(Token::From)) {
            self.directed = true;
        } else if is(Token::Where) {
            (self.copies, self.directed) = (false, false);
        } else {
            self.updates |= is(Token::Update);
        }
    }

    /// What stands behind SET.
    fn name(&mut self, token: i32, text: &str) -> bool {
        let is = |wanted: Token| token == wanted as i32;
        let any = |wanted: &[Token]| wanted.iter().any(|wanted| token == *wanted as i32);
        if any(&[Token::Ascii61, Token::To]) {
            // SESSION or LOCAL was the name.
            self.next = Next::Value;
        } else if any(&[Token::Session, Token::Local]) {
            self.next = Next::Name;
        } else if is(Token::Time) {
            self.next = Next::Time;
        } else if any(&[Token::Transaction, Token::Characteristics, Token::Constraints, Token::XmlP]) {
            self.next = Next::Named(false);
        } else if any(&[Token::Role, Token::Authorization, Token::Names]) {
            self.next = Next::Named(self.always);
        } else if is_word(text) {
            self.next = Next::Named(self.all);
        } else {
            self.any(token);
        }
        false
    }

    fn value(&mut self, token: i32, text: &str) -> bool {
        let is = |wanted: Token| token == wanted as i32;
        self.next = if self.all || is(Token::Ascii43) || is(Token::Ascii45) { Next::Value } else { Next::Listed };
        withheld(text, &PLAIN)
    }
}
