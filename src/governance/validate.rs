//! What documents owe each other: unique keys, and names that exist.
//!
//! In: everything read, and every name used. Out: problems. Must never: look at the warehouse or at identities; groups and
//! attributes live there.

use crate::governance::applied;
use crate::governance::model::{
    Audience, Circumstances, Declared, Equalization, Origin, PolicyBody, Source, tag_matches,
};
use crate::governance::problem::Problem;
use crate::governance::reader::{Reference, Target, closest};
use crate::governance::tags;
use std::collections::{BTreeMap, BTreeSet};

/// Unknown names that a known one is sought for: each is compared with all that are known.
const MOST_HINTS: usize = 100;

/// Checks the whole set.
pub fn check(declared: &Declared, references: &[Reference]) -> Vec<Problem> {
    let mut problems = Vec::new();
    // Keys of local policies are made of the data source's name, which is checked below.
    let own = declared.policies.iter().filter(|p| !matches!(p.circumstances, Circumstances::Only(_)));
    unique(&mut problems, "policyKey", own.map(|p| (p.key.to_string(), &p.origin)));
    let local = declared.local.iter().map(|(source, origin)| (source.clone(), origin));
    unique(&mut problems, "set of local policies of", local);
    let applied = declared.applied.iter().map(|a| (format!("{} on {}", a.policy, a.data_source), &a.origin));
    unique(&mut problems, "application of", applied);
    problems.extend(applied::check(declared));
    unique(&mut problems, "projectKey", declared.projects.iter().map(|p| (p.key.clone(), &p.origin)));
    unique(&mut problems, "purpose", declared.purposes.iter().map(|p| (p.name.clone(), &p.origin)));
    unique(&mut problems, "connectionKey", declared.data.iter().map(|d| (d.connection_key.clone(), &d.origin)));
    unique(&mut problems, "fingerprint of", declared.fingerprints.iter().map(|f| (f.data_source.clone(), &f.origin)));
    unique(&mut problems, "requestKey", declared.unmask_requests.iter().map(|r| (r.key.clone(), &r.origin)));
    let sources = sources(&mut problems, declared);
    grants(&mut problems, declared);
    equalized(&mut problems, declared);
    names(&mut problems, declared, references, sources.as_ref());
    problems
}

/// Reports each key that was declared before.
fn unique<'a>(problems: &mut Vec<Problem>, what: &str, keys: impl Iterator<Item = (String, &'a Origin)>) {
    let mut seen: BTreeMap<String, &Origin> = BTreeMap::new();
    for (key, origin) in keys {
        match seen.get(&key) {
            Some(first) => problems.push(Problem::error(
                origin,
                format!("the {what} `{key}` is declared twice"),
                format!("it stands first at {first}; each must be unique"),
            )),
            None => {
                seen.insert(key, origin);
            }
        }
    }
}

/// Checks the sources; gives the names of all data sources when they can be known without the warehouse.
fn sources(problems: &mut Vec<Problem>, declared: &Declared) -> Option<BTreeSet<String>> {
    let mut complete = true;
    let mut names = Vec::new();
    for document in &declared.data {
        complete &=
            document.name_template.data_source.as_deref().is_none_or(|f| !f.to_lowercase().contains("<database>"));
        let Some(list) = &document.sources else {
            complete = false;
            continue;
        };
        let mut every = Vec::new();
        let mut tables = Vec::new();
        for source in list {
            match source {
                Source::All { origin } => every.push(("all".to_owned(), origin)),
                Source::Table(table) => {
                    if table.query.is_none() {
                        tables.push((table.remote.to_string(), &table.origin));
                    }
                    names.push((table.data_source_name(document, ""), &table.origin));
                }
            }
        }
        complete &= every.is_empty();
        unique(problems, "source", every.into_iter());
        unique(problems, "table", tables.into_iter());
    }
    unique(problems, "data source", names.iter().map(|(name, origin)| (name.clone(), *origin)));
    complete.then(|| names.into_iter().map(|(name, _)| name).collect())
}

/// Two grants for the same grantee, data source and kind of access contradict each other or are one too many.
fn grants(problems: &mut Vec<Problem>, declared: &Declared) {
    let keys = declared.grants.iter().map(|grant| {
        let kind = if grant.grantee.is_group { "group" } else { "user" };
        let iam = grant.grantee.iam.as_deref().map(|iam| format!(" of {iam}")).unwrap_or_default();
        let access = if grant.write { "WRITE" } else { "READ" };
        (format!("{access} on {} to {kind} {}{iam}", grant.data_source, grant.grantee.name), &grant.origin)
    });
    unique(problems, "grant of", keys);
}

/// In an equalized project nobody has groups and attributes beyond the equalized ones, so a rule that is only for those who have them
/// binds nobody there. That follows from what equalizing is, but hardly from what the author of the rule thought of.
fn equalized(problems: &mut Vec<Problem>, declared: &Declared) {
    for project in &declared.projects {
        let given = |audience: &Audience| match &project.equalization {
            None => true,
            Some(Equalization::Common) => audience.groups.is_empty() && audience.attributes.is_empty(),
            Some(Equalization::Given { groups, attributes }) => {
                audience.groups.iter().all(|g| groups.iter().any(|h| h.name == g.name))
                    && audience
                        .attributes
                        .iter()
                        .all(|a| attributes.iter().any(|b| (&b.name, &b.value) == (&a.name, &a.value)))
            }
        };
        let enforced = declared.policies.iter().filter(|p| p.set_aside().is_none());
        let escaped = enforced.filter(|policy| match &policy.body {
            PolicyBody::Data(actions) => {
                let mut inclusions = actions.iter().flat_map(|a| &a.rules).filter_map(|r| r.inclusions.as_ref());
                inclusions.any(|audience| !given(audience))
            }
            PolicyBody::Subscription(_) => false,
        });
        let keys: Vec<String> = escaped.map(|p| format!("\"{}\"", p.key)).collect();
        if !keys.is_empty() {
            problems.push(Problem::warning(
                &project.origin,
                format!(
                    "rules that are only for some groups or attributes may bind nobody in the equalized project `{}`: {}",
                    project.key,
                    keys.join(", ")
                ),
                "write `exceptions` instead of `inclusions` there, or list the groups and attributes in `equalization`",
            ));
        }
    }
}

fn names(
    problems: &mut Vec<Problem>,
    declared: &Declared,
    references: &[Reference],
    sources: Option<&BTreeSet<String>>,
) {
    let mut hints = 0;
    for Reference { target, name, origin } in references {
        let known = match target {
            Target::Tag => tags::known(&declared.tags, name),
            Target::Purpose => declared.purposes.iter().any(|p| p.name == *name || tag_matches(name, &p.name)),
            Target::DataSource => sources.is_none_or(|names| names.contains(name)),
        };
        if known {
            continue;
        }
        let (what, mut candidates, remedy): (_, Vec<&str>, _) = match target {
            Target::Tag => {
                ("tag", declared.tags.iter().map(String::as_str).collect(), "declare it in a document under tags/")
            }
            Target::Purpose => (
                "purpose",
                declared.purposes.iter().map(|p| p.name.as_str()).collect(),
                "declare it in a document under purposes/",
            ),
            Target::DataSource => (
                "data source",
                sources.into_iter().flatten().map(String::as_str).collect(),
                "register it in a document under data/",
            ),
        };
        hints += 1;
        if hints > MOST_HINTS {
            candidates.clear();
        }
        let help = match closest(name, &candidates) {
            Some(near) => format!("did you mean `{near}`? Otherwise {remedy}"),
            None => remedy.to_owned(),
        };
        problems.push(Problem::error(origin, format!("the {what} `{name}` is not declared"), help));
    }
}
