//! `advanced` entitlement expressions: conditions on the caller alone, in the same language as predicates.
//!
//! In: text such as `@isInGroups('a', 'b') AND NOT @hasAttribute('n', 'v')`. Out: an [`Expression`], or a [`Fault`] at the offending
//! word. Must never: admit anything that depends on a row, or leave a part of the text unread.

use super::Fault;
use super::call::{arity, text_argument, unknown_template};
use super::compile::at;
use super::dialect;
use crate::governance::model::Expression;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, UnaryOperator,
};
use sqlparser::tokenizer::Location;

/// The functions of this language.
const KNOWN: &str =
    "combine @isInGroups('group', …) and @hasAttribute('name', 'value') with AND, OR, NOT and parentheses";

/// How deep an expression may nest.
const MAX_DEPTH: usize = 50;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    let parsed = dialect::parse(text, "expression").map_err(|mut fault| {
        if fault.help.is_empty() {
            fault.help = KNOWN.to_owned();
        }
        fault
    })?;
    read(&parsed, 0)
}

fn read(expr: &Expr, depth: usize) -> Result<Expression, Fault> {
    let here = at(expr);
    if depth >= MAX_DEPTH {
        return Err(Fault::new(here, "the expression is nested too deeply", "split it into several policies"));
    }
    match expr {
        Expr::Nested(inner) => read(inner, depth + 1),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(Expression::Not(Box::new(read(expr, depth + 1)?))),
        Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => chain(op, expr, depth),
        Expr::Function(call) => function(call, here),
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.starts_with('@') => {
            let name = ident.value.trim_start_matches('@');
            match name.to_ascii_lowercase().as_str() {
                "isingroups" | "hasattribute" => Err(arity(name, "arguments in parentheses", here)),
                _ => Err(foreign(name, here)),
            }
        }
        _ => Err(Fault::new(here, "not a condition on the caller", KNOWN)),
    }
}

/// `a AND b AND …`: flat, however long.
fn chain(op: &BinaryOperator, expr: &Expr, depth: usize) -> Result<Expression, Fault> {
    let mut operands = Vec::new();
    let mut rest = expr;
    while let Expr::BinaryOp { left, op: found, right } = rest {
        if found != op {
            break;
        }
        operands.push(right.as_ref());
        rest = left;
    }
    operands.push(rest);
    let operands = operands.into_iter().rev().map(|e| read(e, depth + 1)).collect::<Result<Vec<_>, _>>()?;
    Ok(if *op == BinaryOperator::And { Expression::All(operands) } else { Expression::Any(operands) })
}

fn function(call: &Function, here: Location) -> Result<Expression, Fault> {
    let plain_call = || Fault::new(here, "not a condition on the caller", KNOWN);
    let Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        within_group,
        filter: None,
        null_treatment: None,
        over: None,
    } = call
    else {
        return Err(plain_call());
    };
    let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() else { return Err(plain_call()) };
    let Some(name) = ident.value.strip_prefix('@').filter(|_| ident.quote_style.is_none()) else {
        return Err(plain_call());
    };
    if !within_group.is_empty() || !list.clauses.is_empty() || list.duplicate_treatment.is_some() {
        return Err(plain_call());
    }
    let mut texts = Vec::new();
    for argument in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
            return Err(Fault::new(here, "only plain arguments are allowed here", KNOWN));
        };
        texts.push(text_argument(argument)?);
    }
    match (name.to_ascii_lowercase().as_str(), texts.as_slice()) {
        ("isingroups", []) => Err(arity(name, "at least one group", here)),
        ("isingroups", _) => Ok(Expression::InGroups(texts)),
        ("hasattribute", [attribute, value]) => Ok(Expression::HasAttribute(attribute.clone(), value.clone())),
        ("hasattribute", _) => Err(arity(name, "the name and the value of an attribute", here)),
        _ => Err(foreign(name, here)),
    }
}

/// A function of predicates that says nothing about the caller alone, or no function at all.
fn foreign(name: &str, here: Location) -> Fault {
    let of_rows = ["columntagged", "groups", "groupscontains", "attributes", "attributevaluescontains", "purposes"];
    let lower = name.to_ascii_lowercase();
    if of_rows.contains(&lower.as_str()) || lower == "username" || lower == "iam" {
        return Fault::new(here, format!("@{name} may be used in predicates over rows only"), KNOWN);
    }
    unknown_template(name, here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::advanced as parse;

    fn groups(names: &[&str]) -> Expression {
        Expression::InGroups(names.iter().map(|n| (*n).to_owned()).collect())
    }

    fn has(name: &str, value: &str) -> Expression {
        Expression::HasAttribute(name.into(), value.into())
    }

    #[test]
    fn precedence_is_that_of_sql() {
        let read = |text: &str| parse(text).unwrap();
        assert_eq!(
            read("@isInGroups('Engineers', 'Founders') AND @hasAttribute('Auth1', 'Super Secret')"),
            Expression::All(vec![groups(&["Engineers", "Founders"]), has("Auth1", "Super Secret")])
        );
        assert_eq!(
            read("@isInGroups('a') or not @isingroups('b') and @HASATTRIBUTE('n', 'it''s')"),
            Expression::Any(vec![
                groups(&["a"]),
                Expression::All(vec![Expression::Not(Box::new(groups(&["b"]))), has("n", "it's")])
            ])
        );
        assert_eq!(
            read("(@isInGroups('a') OR @isInGroups('b'))\n AND (NOT (@isInGroups('c')))"),
            Expression::All(vec![
                Expression::Any(vec![groups(&["a"]), groups(&["b"])]),
                Expression::Not(Box::new(groups(&["c"])))
            ])
        );
        assert!(parse(&vec!["@isInGroups('a')"; 500].join(" OR ")).is_ok());
    }

    #[test]
    fn faults_point_at_the_word() {
        for (text, line, column, message) in [
            (
                "@isInGroups('Engineers', 'Founders'') AND @hasAttribute('Auth1', 'Super Secret')",
                1,
                35,
                "doubled quote",
            ),
            ("@isInGroups('a') AND", 1, 21, "end"),
            ("@isInGroups('a')\n AND @isInGroup('b')", 2, 6, "@isInGroup"),
            ("@isInGroups()", 1, 1, "at least one group"),
            ("@isInGroups", 1, 1, "arguments"),
            ("@isInGroups(a)", 1, 13, "text in single quotes"),
            ("@hasAttribute('a')", 1, 1, "name and the value"),
            ("@isInGroups('a') AND country = 'x'", 1, 22, "not a condition on the caller"),
            ("@columnTagged('x')", 1, 1, "predicates over rows"),
            ("@username", 1, 1, "predicates over rows"),
            ("lower('x')", 1, 1, "not a condition on the caller"),
            ("TRUE", 1, 1, "not a condition on the caller"),
            ("@isInGroups('a') @isInGroups('b')", 1, 18, "unexpected"),
            ("@isInGroups('a', 'b", 1, 18, "unterminated"),
            ("", 1, 1, "end"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.message.to_lowercase().contains(&message.to_lowercase()), "{text}: {fault:?}");
            assert_eq!((fault.line, fault.column), (line, column), "{text}: {fault:?}");
            assert!(!fault.help.is_empty(), "{text}: {fault:?}");
        }
    }
}
