//! How the policy language is read: portable SQL with back-ticks, double quotes and `@functions`, through sqlparser.
//!
//! In: text. Out: sqlparser's tree of one whole expression. Must never: accept trailing text, or read a backslash as an escape.

use super::Fault;
use sqlparser::ast::Expr;
use sqlparser::dialect::Dialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, Tokenizer};

/// The longest predicate read, in bytes and in words: the parser's tree of a long chain is as deep as the chain is long.
const MAX_LENGTH: usize = 64 * 1024;
const MAX_WORDS: usize = 6_000;

/// The dialect of predicates.
#[derive(Debug)]
struct PolicyDialect;

impl Dialect for PolicyDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_' || ch == '@'
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }
    fn supports_string_literal_backslash_escape(&self) -> bool {
        false
    }
}

/// Parses one expression and nothing else. `what` is how it is called in messages.
pub(super) fn parse(text: &str, what: &str) -> Result<Expr, Fault> {
    let start = Location::new(0, 0);
    let too_long = || Fault::new(start, format!("the {what} is too long"), "shorten it, or move a list into a table");
    if text.len() > MAX_LENGTH {
        return Err(too_long());
    }
    if text.contains('\0') {
        return Err(Fault::new(start, format!("the {what} holds a NUL character"), "remove it"));
    }
    let tokens = Tokenizer::new(&PolicyDialect, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|e| unreadable(text, e.location, &e.message))?;
    let words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).count();
    if words > MAX_WORDS {
        return Err(too_long());
    }
    let mut parser = Parser::new(&PolicyDialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|e| {
        let said = e.to_string();
        let said = said.strip_prefix("sql parser error: ").unwrap_or(&said);
        // The parser appends the place of the word it could not use, and none at the end of the text.
        let (said, place) = said.split_once(" at Line: ").map_or((said, None), |(said, place)| (said, Some(place)));
        let at = place.and_then(located).unwrap_or_else(|| match parser.peek_token().span.start {
            Location { line: 0, .. } => end_of(text),
            next => next,
        });
        let said = said.trim_end_matches(':').replace("found: EOF", "found the end");
        Fault::new(at, format!("cannot read the {what}: {}", lower_first(&said)), help_for(text, at))
    })?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        let message = format!("unexpected {} after the {what}", rest.token);
        return Err(Fault::new(rest.span.start, message, help_for(text, rest.span.start)));
    }
    Ok(parsed)
}

/// A text that cannot be cut into words: mostly a quote without its partner.
fn unreadable(text: &str, at: Location, message: &str) -> Fault {
    let single_line = !text.contains('\n');
    match doubled_quote(text).filter(|_| single_line && message.starts_with("Unterminated string")) {
        Some(column) => Fault::new(
            Location::new(1, column),
            "the text goes on behind this doubled quote, and never ends",
            "write one quote: two of them stand for a quote inside the text",
        ),
        None => Fault::new(at, lower_first(message), "close it"),
    }
}

/// `1, Column: 66` of a parser's message.
fn located(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.parse().ok()?, column.trim().parse().ok()?))
}

/// The place behind the last character.
fn end_of(text: &str) -> Location {
    let line = text.matches('\n').count() as u64 + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    Location::new(line, column)
}

/// The most likely mistake: a quote too many or too few, which makes texts of what stands between texts.
fn help_for(text: &str, at: Location) -> String {
    match doubled_quote(text).filter(|column| !text.contains('\n') && *column < at.column) {
        Some(column) => format!("look at the doubled quote at character {column}: it does not end the text"),
        None => "correct it there or just before".to_owned(),
    }
}

/// The first `''` that is followed by a closing bracket or comma: it was probably meant to be one quote.
fn doubled_quote(text: &str) -> Option<u64> {
    let at = ["'')", "'',"].iter().filter_map(|wrong| text.find(wrong)).min()?;
    let before = text.get(..at)?;
    (!before.ends_with(['(', ',', ' '])).then(|| before.chars().count() as u64 + 1)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_lowercase).chain(chars).collect()
}

/// An identifier as it names something: quoted ones exactly (doubled quotes undone), others in lower case, as PostgreSQL folds.
pub(super) fn name_of(ident: &sqlparser::ast::Ident) -> String {
    match ident.quote_style {
        Some(quote) => ident.value.replace(&format!("{quote}{quote}"), &quote.to_string()),
        None => ident.value.to_lowercase(),
    }
}
