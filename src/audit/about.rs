//! What a record says of what a statement is about: its text without literals, the relations and columns with their tags, the rules.
//!
//! In: a plan, the caller's text. Out: members that are the same each time the plan runs, made once. Must never: hold a literal, a predicate,
//! the expression of a mask, or a value of the caller's attributes.

use super::members::Members;
use crate::plan::touched::{Access, Touched, Use};
use crate::plan::{Effect, Plan};
use crate::policy::decision::RelationDecision;
use crate::resolve::Verb;
use crate::sql::redact::{Redacted, SIGNATURE, redact};
use std::sync::Arc;

/// Bytes that may be told of relations and columns; of more only the names of the relations are.
const MOST: usize = 128 << 10;
/// Relations whose names are told at most.
const RELATIONS: usize = 500;

/// Appends the members of a plan's statement. `text` is asked for when nobody has yet.
pub(super) fn of_plan<'t>(plan: &Plan, text: impl Fn() -> &'t str, members: &mut Members) {
    members.more(plan.touched.told.get_or_init(|| about(&plan.touched, text()).into_boxed()));
}

fn about(touched: &Touched, text: &str) -> Members {
    let mut members = of_text(&redact(text));
    let relations = relations(&touched.uses);
    let mut sources = Members::default();
    sources.objects("sources", relations.iter().map(|uses| source(uses)));
    if sources.bytes().len() <= MOST {
        members.more(sources.bytes());
    } else {
        let decisions = relations.iter().filter_map(|uses| uses.first()).map(|use_| &use_.decision);
        members.objects("sources", decisions.take(RELATIONS).map(|decision| name_of(decision)));
        members.flag("sourcesAreCut", true);
    }
    members.number("catalog", touched.catalog_version);
    members
}

/// What a record would say of a plan and its text.
pub fn told(plan: &Plan, text: &str) -> serde_json::Value {
    let mut members = Members::default();
    of_plan(plan, || text, &mut members);
    let object = [b"{", members.bytes(), b"}"].concat();
    serde_json::from_slice(&object).unwrap_or_default()
}

/// The members of a text alone.
pub(super) fn of_text(redacted: &Redacted) -> Members {
    let mut members = Members::with_capacity(redacted.text.len() + 512);
    push_statement("statement", &redacted.text, &mut members);
    members.text("fingerprint", &redacted.fingerprint);
    members
}

/// A statement's text, cut where it is too long.
pub(super) fn push_statement(name: &'static str, text: &str, members: &mut Members) {
    if !members.long_text(name, text) {
        members.flag("statementIsCut", true);
    }
}

/// A statement's text as it was written. One with a signature is withheld: who reads it could act for the user until it expires.
pub(super) fn push_text(text: &str, plan: Option<&Plan>, members: &mut Members) {
    let signed = plan.is_some_and(|plan| matches!(plan.effect, Effect::Acting { signed: Some(_), .. }));
    if signed || text.contains(SIGNATURE) {
        members.flag("textIsWithheld", true);
    } else {
        push_statement("text", text, members);
    }
}

/// Uses of one relation belong together.
fn relations(uses: &[Use]) -> Vec<Vec<&Use>> {
    let mut found: Vec<Vec<&Use>> = Vec::new();
    for use_ in uses {
        let same = |of: &&mut Vec<&Use>| of.first().is_some_and(|first| Arc::ptr_eq(&first.decision, &use_.decision));
        match found.iter_mut().find(same) {
            Some(of) => of.push(use_),
            None => found.push(vec![use_]),
        }
    }
    found
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert => "insert",
        Verb::Update => "update",
        Verb::Delete => "delete",
        Verb::Merge => "merge",
    }
}

fn name_of(decision: &RelationDecision) -> Members {
    let mut members = Members::default();
    members.text("name", &decision.source).text("relation", &decision.logical.to_string());
    members
}

fn source(uses: &[&Use]) -> Members {
    let Some(first) = uses.first() else { return Members::default() };
    let decision = &first.decision;
    let mut members = name_of(decision);
    let read = uses.iter().any(|use_| matches!(use_.access, Access::Read(_))).then_some("read");
    let written = uses.iter().filter_map(|use_| match &use_.access {
        Access::Read(_) => None,
        Access::Written(how, _) => Some(verb(*how)),
    });
    members.texts("access", read.into_iter().chain(written));
    if decision.is_of_system() {
        return members;
    }
    members.texts_if("tags", decision.tags.relation.iter().map(String::as_str));
    let (shown, written) = columns(uses, decision);
    if read.is_some() {
        members.texts("columns", shown.iter().copied());
    }
    if let Some(written) = &written {
        members.texts("written", written.iter().copied());
    }
    let is_touched = |name: &str| shown.contains(&name) || written.as_ref().is_some_and(|w| w.contains(&name));
    let touched = || decision.columns.iter().filter(|column| is_touched(&column.name));
    let mut tagged = Members::default();
    for column in touched() {
        if let Some(tags) = decision.tags.columns.get(&column.name) {
            tagged.texts_of(&column.name, tags.iter().map(String::as_str));
        }
    }
    let mut masked = Members::default();
    for column in touched() {
        if let Some(mask) = &column.mask {
            let mut of = Members::default();
            of.text("mask", mask.kind).text("policy", &mask.policy);
            masked.object_of(&column.name, &of);
        }
    }
    members.object_if("columnTags", &tagged).object_if("masks", &masked);
    let mut filters: Vec<&str> = decision.rows.iter().map(|rule| &*rule.policy).collect();
    filters.dedup();
    members.texts_if("rowPolicies", filters);
    members.texts_if("unmetPurposes", decision.unmet_purposes.iter().map(String::as_str));
    // What concerns columns that the statement does not touch did not shape it.
    let concerned = |columns: &[String]| columns.is_empty() || columns.iter().any(|name| is_touched(name));
    let rules = decision.trace.iter().filter(|rule| rule.applied && concerned(&rule.columns)).map(|rule| {
        let mut of = Members::default();
        of.text("policy", &rule.policy);
        if let Some((action, rule)) = rule.rule {
            of.text("rule", &format!("{action}.{rule}"));
        }
        of.text("kind", &rule.kind);
        of
    });
    members.objects("rules", rules);
    members
}

/// Names of the columns that are read, and of those that are written.
fn columns<'d>(uses: &[&'d Use], decision: &'d RelationDecision) -> (Vec<&'d str>, Option<Vec<&'d str>>) {
    let (mut shown, mut written) = (vec![false; decision.columns.len()], None::<Vec<&str>>);
    for use_ in uses {
        match &use_.access {
            Access::Read(None) => shown.fill(true),
            Access::Read(Some(listed)) => shown.iter_mut().zip(listed.iter()).for_each(|(shown, read)| *shown |= read),
            Access::Written(Verb::Delete, _) | Access::Written(_, None) => {
                written.get_or_insert_default().extend(decision.columns.iter().map(|c| c.name.as_str()));
            }
            Access::Written(_, Some(names)) => {
                written.get_or_insert_default().extend(names.iter().map(String::as_str));
            }
        }
    }
    let names = decision.columns.iter().zip(shown).filter(|(_, shown)| *shown).map(|(column, _)| column.name.as_str());
    (names.collect(), written)
}
