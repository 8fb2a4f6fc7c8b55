//! V1 policy documents (`/policy/global` of seed 004) rewritten as V2 ones, so that one reader gives both their meaning.
//!
//! In: a V1 node. Out: the same in V2 keys and words, each at its own place in the file. Must never: drop a condition, or let a V1 key
//! pass that nobody asked for.

use crate::governance::reader::{Fields, Reader, kind};
use crate::governance::tree::{Key, Node, Value};

/// Whether a policy document is a V1 one: its actions are a list of typed actions. (V2: a mapping, or a list without types.)
pub fn is_global(node: &Node) -> bool {
    let of_v1 = |kind: &Node| match &kind.value {
        Value::Scalar { text, .. } => text == "subscription" || KINDS.contains(&text.as_str()),
        _ => false,
    };
    let typed = |action: &Node| entry(action, "type").is_some_and(of_v1) || entry(action, "subscriptionType").is_some();
    match entry(node, "actions").map(|actions| &actions.value) {
        Some(Value::List(actions)) => actions.first().is_some_and(typed),
        Some(Value::Map(_)) => entry(node, "actions").is_some_and(|a| entry(a, "subscriptionType").is_some()),
        _ => false,
    }
}

/// The value of a key of a mapping.
pub fn entry<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}

/// A mapping at the place of a node.
pub fn map(at: &Node, entries: Vec<(&str, Node)>) -> Node {
    let key = |name: &str, value: &Node| Key { name: name.to_owned(), line: value.line, column: value.column };
    let entries = entries.into_iter().map(|(name, value)| (key(name, &value), value)).collect();
    Node { line: at.line, column: at.column, value: Value::Map(entries) }
}

/// A list at the place of a node.
pub fn list(at: &Node, items: Vec<Node>) -> Node {
    Node { line: at.line, column: at.column, value: Value::List(items) }
}

/// A text at the place of a node.
pub fn word(at: &Node, text: &str) -> Node {
    Node { line: at.line, column: at.column, value: Value::Scalar { text: text.to_owned(), plain: false } }
}

/// What the V1 API adds to what it stores; it says nothing about enforcement.
const KEPT_BY_THE_API: [&str; 14] = [
    "id",
    "template",
    "systemGenerated",
    "metadata",
    "clonedFrom",
    "createdBy",
    "createdByName",
    "createdAt",
    "updatedAt",
    "live",
    "reason",
    "conflict",
    "changedOnApply",
    "parentPolicyId",
];

/// Takes keys that say nothing about enforcement.
pub fn ignore(fields: &mut Fields<'_>, names: &[&'static str]) {
    for name in names {
        fields.take(name);
    }
}

/// Rewrites a global policy.
pub fn global(reader: &mut Reader, node: &Node) -> Option<Node> {
    let mut fields = reader.fields(node, "a policy")?;
    let mut out: Vec<(&str, Node)> = Vec::new();
    let name = reader.required(&mut fields, "name").cloned();
    let key = fields.optional("policyKey").cloned().or_else(|| name.clone());
    out.extend(key.map(|key| ("policyKey", key)));
    out.extend(name.map(|name| ("name", name)));
    let kind = reader.required(&mut fields, "type").cloned();
    for same in ["staged", "deleted", "disabled", "ownerRestrictions"] {
        out.extend(fields.take(same).cloned().map(|value| (same, value)));
    }
    match fields.optional("certification") {
        // Only whether it has been certified.
        Some(Node { value: Value::Scalar { .. }, .. }) | None => {}
        Some(object) => out.push(("certification", object.clone())),
    }
    if let Some(given) = fields.take("circumstances") {
        circumstances(reader, given, &mut out);
    }
    let actions = reader.required(&mut fields, "actions");
    ignore(&mut fields, &KEPT_BY_THE_API);
    reader.finish(fields);
    let subscription = matches!(&kind.as_ref()?.value, Value::Scalar { text, .. } if text == "subscription");
    let actions = actions?;
    let items = reader.one_or_many(actions, "actions");
    let actions = if subscription {
        let [action] = items else {
            let message = format!("a subscription policy with {} actions", items.len());
            reader.error(actions, message, "write one action; several policies may apply to a data source");
            return None;
        };
        subscription_action(reader, action)?
    } else {
        let found: Vec<Option<Vec<Node>>> = items.iter().map(|action| data_action(reader, action, false)).collect();
        let found: Option<Vec<Vec<Node>>> = found.into_iter().collect();
        list(actions, found?.into_iter().flatten().collect())
    };
    out.extend(kind.map(|kind| ("type", kind)));
    out.push(("actions", actions));
    Some(map(node, out))
}

/// Circumstances: each with an operator of its own; a mix of operators would leave open what is meant.
fn circumstances(reader: &mut Reader, given: &Node, out: &mut Vec<(&str, Node)>) {
    if given.is_null() {
        return out.push(("circumstances", given.clone()));
    }
    let mut operators: Vec<(Node, bool)> = Vec::new();
    let items = reader.one_or_many(given, "circumstances");
    let found: Vec<Node> = items.iter().filter_map(|item| circumstance(reader, item, &mut operators)).collect();
    let all = operators.first().is_some_and(|(_, all)| *all);
    if let Some((node, _)) = operators.iter().find(|(_, other)| *other != all) {
        reader.error(node, "circumstances with different operators", "write the same `operator` in each of them");
    }
    if let Some((node, all)) = operators.first() {
        out.push(("circumstanceOperator", word(node, if *all { "all" } else { "any" })));
    }
    out.push(("circumstances", list(given, found)));
}

fn circumstance(reader: &mut Reader, node: &Node, operators: &mut Vec<(Node, bool)>) -> Option<Node> {
    let mut fields = reader.fields(node, "a circumstance")?;
    if let Some(operator) = fields.optional("operator")
        && let Some(all) = is_all(reader, operator)
    {
        operators.push((operator.clone(), all));
    }
    let mut out = Vec::new();
    out.extend(reader.required(&mut fields, "type").cloned().map(|value| ("type", value)));
    for (object, plain) in [("columnTag", "columnTag"), ("tag", "tag")] {
        if let Some(tag) = fields.optional(object) {
            out.push((plain, tag_name(reader, tag)?));
        }
    }
    if let Some(regex) = fields.optional("columnRegex") {
        let mut inner = reader.fields(regex, "a columnRegex")?;
        for same in ["regex", "caseInsensitive"] {
            out.extend(inner.optional(same).cloned().map(|value| (same, value)));
        }
        reader.finish(inner);
    }
    for same in ["regex", "caseInsensitive", "server", "startDate", "endDate"] {
        out.extend(fields.optional(same).cloned().map(|value| (same, value)));
    }
    reader.finish(fields);
    Some(map(node, out))
}

/// A tag: `{name, displayName, hasLeafNodes, source}`, or its name.
fn tag_name(reader: &mut Reader, node: &Node) -> Option<Node> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(node.clone());
    }
    let mut fields = reader.fields(node, "a tag")?;
    let name = reader.required(&mut fields, "name").cloned();
    ignore(&mut fields, &["displayName", "hasLeafNodes", "source", "id"]);
    reader.finish(fields);
    name
}

/// `and` and `or`, or the V2 words.
fn is_all(reader: &mut Reader, node: &Node) -> Option<bool> {
    let word = reader.word(node, "operator", &["and", "or", "all", "any"], true)?;
    Some(matches!(word, "and" | "all"))
}

/// The one action of a subscription policy.
fn subscription_action(reader: &mut Reader, node: &Node) -> Option<Node> {
    let mut fields = reader.fields(node, "an action")?;
    if let Some(kind) = fields.optional("type") {
        reader.word(kind, "action type", &["subscription"], false);
    }
    let given = reader.required(&mut fields, "subscriptionType")?;
    let v1 = reader.word(given, "subscriptionType", &["automatic", "approval", "policy", "manual"], false);
    let v2 = match v1 {
        Some("automatic") => "anyone",
        Some("approval") => "approval",
        Some("policy") => "entitlements",
        _ => "manual",
    };
    let mut out = vec![("type", word(given, v2))];
    let same = ["accessGrant", "description", "allowDiscovery", "approvals", "advanced"];
    for same in same {
        out.extend(fields.optional(same).cloned().map(|value| (same, value)));
    }
    for shared in ["shareResponsibility", "automaticSubscription"] {
        // The API reports both for `manual`, where they mean nothing.
        let value = fields.optional(shared).cloned();
        out.extend(value.filter(|_| v2 != "manual").map(|value| (shared, value)));
    }
    if let Some(exceptions) = fields.optional("exceptions") {
        if v2 == "entitlements" {
            out.push(("entitlements", conditions(reader, exceptions, "exceptions")?));
        } else {
            let help = "write `subscriptionType: policy`, or remove them";
            reader.error(exceptions, "`exceptions` have a meaning with `subscriptionType: policy` only", help);
        }
    }
    if v2 == "entitlements" && !fields.has("exceptions") && !fields.has("advanced") {
        reader.error(
            given,
            "`subscriptionType: policy` without `exceptions`",
            "add `exceptions`: they say who may subscribe",
        );
    }
    ignore(&mut fields, &["createdAt", "createdBy", "rules"]);
    reader.finish(fields);
    v1?;
    Some(map(node, out))
}

/// `{operator, conditions}` as V2 lists of groups, attributes and purposes.
pub fn conditions(reader: &mut Reader, node: &Node, what: &'static str) -> Option<Node> {
    let mut fields = reader.fields(node, what)?;
    let operator = fields.optional("operator");
    let all = operator.map(|operator| is_all(reader, operator));
    let given = reader.required(&mut fields, "conditions");
    reader.finish(fields);
    listed(reader, node, operator.zip(all.flatten()), given?)
}

/// Conditions as V2 lists.
fn listed(reader: &mut Reader, at: &Node, operator: Option<(&Node, bool)>, given: &Node) -> Option<Node> {
    let (mut groups, mut attributes, mut purposes) = (Vec::new(), Vec::new(), Vec::new());
    for item in reader.one_or_many(given, "conditions") {
        let mut fields = reader.fields(item, "a condition")?;
        let kind = condition_kind(reader, &mut fields);
        if let Some(field) = fields.optional("field") {
            let help = "remove it: rows are matched by row rules (`visibility`)";
            reader.error(field, "`field` in a condition on who somebody is", help);
        }
        match kind? {
            "groups" => {
                let group = reader.required(&mut fields, "group")?;
                groups.push(named(reader, group, "a group", &[("name", "name"), ("iam", "iam")], &["id"])?);
            }
            "authorizations" => {
                let keys = [("auth", "name"), ("value", "value"), ("iam", "iam")];
                let attribute = reader.required(&mut fields, "authorization")?;
                attributes.push(named(reader, attribute, "an authorization", &keys, &[])?);
            }
            _ => purposes.extend(reader.required(&mut fields, "value").cloned()),
        }
        reader.finish(fields);
    }
    let mut out = Vec::new();
    if let Some((operator, all)) = operator {
        out.push(("operator", word(operator, if all { "all" } else { "any" })));
    }
    for (name, found) in [("groups", groups), ("attributes", attributes), ("purposes", purposes)] {
        if !found.is_empty() {
            out.push((name, list(given, found)));
        }
    }
    Some(map(at, out))
}

fn condition_kind(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<&'static str> {
    let kind = reader.required(fields, "type")?;
    reader.word(kind, "condition type", &["groups", "authorizations", "purposes"], false)
}

/// A mapping with other keys; a name alone stands for `{name}`.
fn named(
    reader: &mut Reader,
    node: &Node,
    what: &'static str,
    keys: &[(&'static str, &'static str)],
    ignored: &[&'static str],
) -> Option<Node> {
    if what == "a group" && !matches!(node.value, Value::Map(_)) {
        return Some(map(node, vec![("name", node.clone())]));
    }
    let mut fields = reader.fields(node, what)?;
    let out = keys.iter().filter_map(|(from, to)| fields.optional(from).cloned().map(|value| (*to, value))).collect();
    ignore(&mut fields, ignored);
    reader.finish(fields);
    Some(map(node, out))
}

/// Rule types of `jsonPolicies` and of V1 actions.
const KINDS: [&str; 10] = [
    "masking",
    "visibility",
    "rowOrObjectRestriction",
    "prerequisite",
    "minimization",
    "time",
    "customWhere",
    "showRowsNever",
    "exemption",
    "external",
];

/// One action of a data policy as V2 actions: one, or two where a row rule gives both qualifications and a predicate. `local`: fields
/// are column names; otherwise they are tags.
pub fn data_action(reader: &mut Reader, node: &Node, local: bool) -> Option<Vec<Node>> {
    let mut fields = reader.fields(node, "an action")?;
    let kind = reader.required(&mut fields, "type").and_then(|n| data_kind(reader, n));
    let description = fields.optional("description").cloned();
    let rules = reader.required(&mut fields, "rules");
    ignore(&mut fields, &["createdAt", "createdBy", "policyHash", "staged", "disabled", "deleted"]);
    if let Some(global) = fields.optional("global") {
        let help = "remove the entry: a global policy is declared by a document of its own and applies by itself";
        reader.error(global, "a copy of a global policy among the policies of a data source", help);
    }
    reader.finish(fields);
    let (kind, rules) = (kind?, rules?);
    let items = reader.some(rules, "rules", "add a rule")?;
    let found: Vec<Option<Vec<Node>>> = items.iter().map(|item| rule(reader, item, kind, local)).collect();
    let found: Option<Vec<Vec<Node>>> = found.into_iter().collect();
    let found = found?;
    // Chains run side by side: rule n of each has the same audience, so that each ends at the same rule.
    let width = found.iter().map(Vec::len).max().unwrap_or(1);
    let chain = |at: usize| -> Vec<Node> {
        found.iter().filter_map(|rules| rules.get(at).or_else(|| rules.first()).cloned()).collect()
    };
    let action = |at: usize| {
        let mut out = vec![("rules", list(rules, chain(at)))];
        out.extend(description.clone().filter(|d| !is_empty_text(d)).map(|d| ("description", d)));
        map(node, out)
    };
    Some((0..width).map(action).collect())
}

fn is_empty_text(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text.is_empty())
}

/// The kind of an action; two of them cannot be enforced.
fn data_kind(reader: &mut Reader, node: &Node) -> Option<&'static str> {
    let kind = reader.word(node, "type of data policy", &KINDS, false)?;
    match kind {
        "exemption" => {
            let help = "a policy must not widen what others hide: name the exempted under `exceptions` of those rules";
            reader.error(node, "an `exemption` cannot be enforced", help);
            None
        }
        "external" => {
            let help = "write the rules out as masking, visibility, customWhere, …";
            reader.error(node, "an `external` policy is decided elsewhere and cannot be enforced", help);
            None
        }
        kind => Some(kind),
    }
}

/// One rule; two that are enforced together where a row rule gives both qualifications and a predicate.
fn rule(reader: &mut Reader, node: &Node, outer: &'static str, local: bool) -> Option<Vec<Node>> {
    let mut fields = reader.fields(node, "a rule")?;
    if let Some(inner) = fields.optional("type") {
        let rows = |kind: &str| matches!(kind, "visibility" | "rowOrObjectRestriction");
        let kind = data_kind(reader, inner)?;
        if kind != outer && !(rows(kind) && rows(outer)) {
            let message = format!("a rule of type `{kind}` in a policy of type `{outer}`");
            reader.error(inner, message, "put it into a policy of its own type");
            return None;
        }
    }
    let mut audience = Vec::new();
    for name in ["exceptions", "inclusions"] {
        if let Some(given) = fields.optional(name) {
            audience.push((name, conditions(reader, given, name)?));
        }
    }
    let config = fields.take("config");
    ignore(&mut fields, &["ruleAppliedForUser"]);
    reader.finish(fields);
    if outer == "showRowsNever" {
        return Some(vec![v2_rule(node, "showRowsNever", map(node, Vec::new()), &audience)]);
    }
    let Some(config) = config else {
        reader.error(node, "a rule lacks the key `config`", "add `config`");
        return None;
    };
    Some(match outer {
        "masking" => vec![v2_rule(node, "Masking", masking(reader, config, local)?, &audience)],
        "prerequisite" => vec![v2_rule(node, "Purpose Restriction", prerequisite(reader, config)?, &audience)],
        "minimization" => vec![v2_rule(node, "Minimization", config.clone(), &audience)],
        "time" => vec![v2_rule(node, "Time Restriction", time(reader, config)?, &audience)],
        "customWhere" => {
            vec![v2_rule(node, "Row Restriction by Custom Where Clause", config.clone(), &audience)]
        }
        _ => visibility(reader, node, config, &audience)?,
    })
}

/// A V2 rule at the place of a V1 one.
pub fn v2_rule(at: &Node, kind: &str, config: Node, audience: &[(&str, Node)]) -> Node {
    let mut out = vec![("type", word(at, kind)), ("config", config)];
    out.extend(audience.iter().map(|(name, node)| (*name, node.clone())));
    map(at, out)
}

fn masking(reader: &mut Reader, config: &Node, local: bool) -> Option<Node> {
    let mut fields = reader.fields(config, "the config of a rule")?;
    let mut out = Vec::new();
    let given = reader.required(&mut fields, "fields");
    for same in ["maskingConfig", "conditionalPredicate"] {
        out.extend(fields.optional(same).cloned().map(|value| (same, value)));
    }
    reader.finish(fields);
    let given = given?;
    let items = reader.some(given, "fields", "name at least one field")?;
    let found: Vec<Option<Node>> = items.iter().map(|item| field(reader, item, local)).collect();
    let found: Option<Vec<Node>> = found.into_iter().collect();
    out.push(("fields", list(given, found?)));
    Some(map(config, out))
}

/// A field: a column's name in a local policy, a tag in a global one.
fn field(reader: &mut Reader, node: &Node, local: bool) -> Option<Node> {
    match (&node.value, local) {
        (Value::Scalar { .. }, true) => Some(map(node, vec![("type", word(node, "column")), ("column", node.clone())])),
        (Value::Map(_), _) if entry(node, "type").is_some() => Some(node.clone()),
        (Value::Map(_), false) => {
            let name = tag_name(reader, node)?;
            Some(map(node, vec![("type", word(node, "columnTags")), ("columnTag", name)]))
        }
        (_, local) => {
            let wanted = if local { "a column's name" } else { "a tag, as in `{name: Discovered.Country}`" };
            reader.error(node, format!("a field must be {wanted}, found {}", kind(node)), format!("write {wanted}"));
            None
        }
    }
}

fn prerequisite(reader: &mut Reader, config: &Node) -> Option<Node> {
    let mut fields = reader.fields(config, "the config of a rule")?;
    let qualifications = reader.required(&mut fields, "qualifications");
    reader.finish(fields);
    let audience = conditions(reader, qualifications?, "qualifications")?;
    purposes_only(reader, &audience)
}

/// The conditions of a purpose restriction.
pub fn purposes_only(reader: &mut Reader, audience: &Node) -> Option<Node> {
    for other in ["groups", "attributes"] {
        if let Some(found) = entry(audience, other) {
            reader.error(found, "a `prerequisite` on something other than purposes", "move it to `exceptions`");
            return None;
        }
    }
    let out = ["operator", "purposes"].map(|name| entry(audience, name).cloned().map(|value| (name, value)));
    Some(map(audience, out.into_iter().flatten().collect()))
}

/// `time` (seconds back from now), or the names under which policies are reported.
fn time(reader: &mut Reader, config: &Node) -> Option<Node> {
    let mut fields = reader.fields(config, "the config of a rule")?;
    let seconds = fields.optional("time").or_else(|| fields.optional("filterSeconds")).cloned();
    let side = fields.optional("isOlderOrNewer").cloned().unwrap_or_else(|| word(config, "newer"));
    let column = fields.optional("eventTimeColumn").cloned();
    reader.finish(fields);
    let Some(seconds) = seconds else {
        reader.error(config, "the config of a rule lacks the key `time`", "add `time`, in seconds");
        return None;
    };
    let mut out = vec![("isOlderOrNewer", side), ("time", seconds)];
    out.extend(column.map(|column| ("eventTimeColumn", column)));
    Some(map(config, out))
}

/// `qualifications` match columns with what the caller has; `predicate` is what the API compiled them to, or more. Both count.
fn visibility(reader: &mut Reader, node: &Node, config: &Node, audience: &[(&str, Node)]) -> Option<Vec<Node>> {
    let mut fields = reader.fields(config, "the config of a rule")?;
    let qualifications = fields.optional("qualifications");
    let predicate = fields.optional("predicate");
    reader.finish(fields);
    let mut out = Vec::new();
    if let Some(given) = qualifications {
        let mut inner = reader.fields(given, "qualifications")?;
        let operator = inner.optional("operator");
        let all = operator.map(|operator| is_all(reader, operator));
        let list = reader.required(&mut inner, "conditions");
        reader.finish(inner);
        let config = matches(reader, given, operator.zip(all.flatten()), list?)?;
        out.push(v2_rule(node, "Row Restriction By User Entitlements", config, audience));
    }
    if let Some(predicate) = predicate {
        let config = map(config, vec![("predicate", predicate.clone())]);
        out.push(v2_rule(node, "Row Restriction by Custom Where Clause", config, audience));
    }
    if out.is_empty() {
        reader.error(config, "a row rule without `qualifications` and `predicate`", "add one of them");
        return None;
    }
    Some(out)
}

/// Conditions with a `field`: the row is shown when the caller has what stands in it.
pub fn matches(reader: &mut Reader, at: &Node, operator: Option<(&Node, bool)>, given: &Node) -> Option<Node> {
    let mut found = Vec::new();
    for item in reader.one_or_many(given, "conditions") {
        let mut fields = reader.fields(item, "a condition")?;
        let kind = condition_kind(reader, &mut fields);
        let field = reader.required(&mut fields, "field")?.clone();
        let mut out = Vec::new();
        let held = match kind? {
            "groups" => fields.optional("group"),
            "authorizations" => reader.required(&mut fields, "authorization"),
            _ => None,
        };
        if let Some(held) = held {
            let mut inner = reader.fields(held, "a condition")?;
            out.extend(inner.optional("auth").cloned().map(|value| ("attribute", value)));
            out.extend(inner.optional("iam").cloned().map(|value| ("iam", value)));
            let fixed = ["name", "value"].map(|name| inner.optional(name));
            reader.finish(inner);
            if let Some(fixed) = fixed.into_iter().flatten().find(|fixed| !is_empty_text(fixed)) {
                let help =
                    "remove it: the value is the one in the row; who is not restricted stands under `exceptions`";
                reader.error(fixed, "a fixed value beside `field`", help);
                return None;
            }
        }
        ignore(&mut fields, &["value"]);
        reader.finish(fields);
        let kind = match kind? {
            "groups" => "group",
            "authorizations" => "attribute",
            _ => "purpose",
        };
        out.push(("type", word(item, kind)));
        out.push(("column", field));
        found.push(map(item, out));
    }
    let mut out = vec![("matches", list(given, found))];
    if let Some((operator, all)) = operator {
        out.push(("operator", word(operator, if all { "all" } else { "any" })));
    }
    Some(map(at, out))
}

/// V1 masks as V2 ones: `{type, metadata: {…}}` becomes `{type, …}`; `Consistent Value` is Hash, Null (`constant: null`) or Constant.
/// A V2 mask is given back as it is.
pub fn masking_config(reader: &mut Reader, node: &Node) -> Option<Node> {
    let consistent = matches!(entry(node, "type").map(|n| &n.value), Some(Value::Scalar { text, .. }) if text.eq_ignore_ascii_case("Consistent Value"));
    if !consistent && entry(node, "metadata").is_none() {
        return Some(node.clone());
    }
    let mut fields = reader.fields(node, "a maskingConfig")?;
    let kind = reader.required(&mut fields, "type").cloned();
    let metadata = fields.optional("metadata").cloned();
    ignore(&mut fields, &["name", "actionType"]);
    reader.finish(fields);
    let kind = kind?;
    let metadata = match metadata {
        Some(Node { value: Value::Map(entries), .. }) => entries,
        Some(other) => {
            reader.fields(&other, "the metadata of a mask");
            return None;
        }
        None => Vec::new(),
    };
    let constant = metadata.iter().find(|(key, _)| key.name == "constant").map(|(_, value)| value.is_null());
    let kind = match (consistent, constant) {
        (false, _) => kind,
        (true, None) => word(&kind, "Hash"),
        (true, Some(true)) => word(&kind, "Null"),
        (true, Some(false)) => word(&kind, "Constant"),
    };
    let key = Key { name: "type".to_owned(), line: kind.line, column: kind.column };
    let kept = metadata.into_iter().filter(|(key, value)| !(consistent && key.name == "constant" && value.is_null()));
    let entries = std::iter::once((key, kind)).chain(kept).collect();
    Some(Node { line: node.line, column: node.column, value: Value::Map(entries) })
}

#[cfg(test)]
mod tests;
