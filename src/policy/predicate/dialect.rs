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

/// Parses one expression and nothing else.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let start = Location::new(0, 0);
    if text.len() > MAX_LENGTH {
        return Err(Fault::new(start, "the predicate is too long", "shorten it, or move a list into a table"));
    }
    if text.contains('\0') {
        return Err(Fault::new(start, "the predicate holds a NUL character", ""));
    }
    let tokens = Tokenizer::new(&PolicyDialect, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|e| Fault::new(e.location, e.message.to_lowercase(), ""))?;
    let words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).count();
    if words > MAX_WORDS {
        return Err(Fault::new(start, "the predicate is too long", "shorten it, or move a list into a table"));
    }
    let mut parser = Parser::new(&PolicyDialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|e| {
        let at = parser.peek_token().span.start;
        let text = e.to_string();
        let text = text.strip_prefix("sql parser error: ").unwrap_or(&text);
        // The parser appends its own position; ours is shown in one form.
        let text = text.split(" at Line: ").next().unwrap_or(text);
        Fault::new(at, format!("cannot read the predicate: {text}"), "")
    })?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        return Err(Fault::new(rest.span.start, format!("unexpected {} after the predicate", rest.token), ""));
    }
    Ok(parsed)
}

/// An identifier as it names something: quoted ones exactly (doubled quotes undone), others in lower case, as PostgreSQL folds.
pub(super) fn name_of(ident: &sqlparser::ast::Ident) -> String {
    match ident.quote_style {
        Some(quote) => ident.value.replace(&format!("{quote}{quote}"), &quote.to_string()),
        None => ident.value.to_lowercase(),
    }
}
