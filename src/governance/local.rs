//! Local policies: those of one data source (`/policy/handler/{dataSourceId}` of seed 004, as documents under `policies/`), in the shape
//! `jsonPolicies` or the older `jsonRules`. Our addition: `dataSource` names the data source, since documents have no ids.
//!
//! In: one document's node. Out: one [`Policy`] for each entry, limited to that data source. Must never: let an entry apply elsewhere.

use crate::governance::model::{Circumstances, Declared, Inactive, Policy, PolicyBody};
use crate::governance::policy::{data, errors};
use crate::governance::reader::{Placed, Reader, Target};
use crate::governance::tree::{Node, Value};
use crate::governance::v1::{self, conditions, entry, ignore, list, map, v2_rule, word};
use std::sync::Arc;

/// Whether a document holds the policies of one data source.
pub fn is_local(node: &Node) -> bool {
    entry(node, "jsonPolicies").is_some() || entry(node, "jsonRules").is_some()
}

/// Reads one document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "the policies of a data source") else { return };
    let origin = fields.origin.clone();
    let source = fields.optional("dataSource").and_then(|n| reader.name(n));
    let id = fields.optional("dataSourceId");
    if let (None, false) = (&source, fields.has("dataSource")) {
        let help = "write `dataSource: <name>`: documents have no ids";
        match id {
            Some(id) => reader.error(id, "`dataSourceId` does not name a data source", help),
            None => reader.error(node, "the policies of a data source lack the key `dataSource`", help),
        }
    }
    let policies = fields.optional("jsonPolicies");
    let rules = fields.optional("jsonRules");
    let handler = fields.optional("policyHandler");
    let known = ["id", "url", "createdBy", "createdAt", "updatedAt", "ca", "rules", "dataSourcePolicyHandler"];
    ignore(&mut fields, &known);
    reader.finish(fields);
    let entries = match (policies, rules) {
        (Some(policies), None) => of_policies(reader, policies),
        (None, Some(rules)) => of_rules(reader, rules, handler),
        (Some(_), Some(rules)) => {
            reader.error(rules, "`jsonRules` beside `jsonPolicies`", "keep one of the two shapes");
            return;
        }
        (None, None) => {
            reader.error(node, "there are no policies", "list them under `jsonPolicies`, or remove the document");
            return;
        }
    };
    let Some(source) = source else { return };
    reader.refer(Target::DataSource, &source);
    declared.local.push((source.0.clone(), origin));
    for entry in entries {
        push(reader, &source, entry, declared);
    }
}

/// One entry, already in V2 words.
struct Entry {
    /// `<type>_<index>`, as the API numbers them.
    key: String,
    inactive: Option<Inactive>,
    staged: bool,
    node: Node,
    actions: Vec<Node>,
}

fn push(reader: &mut Reader, source: &Placed, entry: Entry, declared: &mut Declared) {
    let before = errors(reader);
    let actions = data(reader, &list(&entry.node, entry.actions));
    if errors(reader) > before {
        return;
    }
    let key = format!("local {} {}", source.0, entry.key);
    declared.policies.push(Arc::new(Policy {
        key: Arc::from(key.as_str()),
        name: key,
        staged: entry.staged,
        inactive: entry.inactive,
        circumstances: Circumstances::Only(source.0.clone()),
        owner_restrictions: Vec::new(),
        body: PolicyBody::Data(actions),
        certification: None,
        origin: reader.origin(&entry.node),
    }));
}

fn of_policies(reader: &mut Reader, node: &Node) -> Vec<Entry> {
    let mut out = Vec::new();
    for (index, item) in reader.list(node, "jsonPolicies").iter().enumerate() {
        let Some(mut flags) = reader.fields(item, "a policy") else { continue };
        let staged = reader.flag(&mut flags, "staged", false);
        let inactive = match (reader.flag(&mut flags, "deleted", false), reader.flag(&mut flags, "disabled", false)) {
            (true, _) => Some(Inactive::Deleted),
            (false, true) => Some(Inactive::Disabled),
            (false, false) => None,
        };
        let Some(actions) = v1::data_action(reader, item, true) else { continue };
        out.push(Entry { key: key_of(item, index), inactive, staged, node: item.clone(), actions });
    }
    out
}

fn key_of(item: &Node, index: usize) -> String {
    match entry(item, "type").map(|n| &n.value) {
        Some(Value::Scalar { text, .. }) => format!("{text}_{index}"),
        _ => format!("policy_{index}"),
    }
}

/// What stands beside `jsonRules`: the masks by column, and the sizes of samples and windows.
#[derive(Default)]
struct Handler {
    masks: Vec<(String, Node)>,
    minimization: Option<Node>,
    time: Option<Node>,
}

fn handler(reader: &mut Reader, node: &Node) -> Option<Handler> {
    let mut out = Handler::default();
    let mut fields = reader.fields(node, "a policyHandler")?;
    for item in reader.optional_list(&mut fields, "maskingConfiguration") {
        let mut inner = reader.fields(item, "a maskingConfiguration")?;
        let name = reader.required_name(&mut inner, "name");
        out.masks.extend(name.map(|(name, _)| (name, item.clone())));
    }
    if let Some(filters) = fields.optional("additionalFilters") {
        let mut inner = reader.fields(filters, "additionalFilters")?;
        out.minimization = inner.optional("minimization").cloned();
        out.time = inner.optional("time").cloned();
        reader.finish(inner);
    }
    reader.finish(fields);
    Some(out)
}

fn of_rules(reader: &mut Reader, node: &Node, given: Option<&Node>) -> Vec<Entry> {
    let handler = match given {
        Some(given) => match handler(reader, given) {
            Some(handler) => handler,
            None => return Vec::new(),
        },
        None => Handler::default(),
    };
    let mut out = Vec::new();
    for (index, item) in reader.list(node, "jsonRules").iter().enumerate() {
        let Some(rules) = old_rule(reader, item, &handler) else { continue };
        let actions = rules.into_iter().map(|rule| map(item, vec![("rules", list(item, vec![rule]))])).collect();
        out.push(Entry { key: key_of(item, index), inactive: None, staged: false, node: item.clone(), actions });
    }
    out
}

/// A rule of `jsonRules` as V2 rules, each for an action of its own.
fn old_rule(reader: &mut Reader, node: &Node, handler: &Handler) -> Option<Vec<Node>> {
    let mut fields = reader.fields(node, "a rule")?;
    let kinds = ["prerequisite", "visibility", "masking", "additional"];
    let kind = reader.required(&mut fields, "type").and_then(|n| reader.word(n, "rule type", &kinds, false))?;
    let name = fields.optional("name");
    let columns = fields.optional("fields");
    let operator = fields.optional("operator").cloned();
    let given = fields.optional("conditions").cloned();
    reader.finish(fields);
    let body = |node: &Node| {
        let mut out: Vec<(&str, Node)> = operator.iter().map(|operator| ("operator", operator.clone())).collect();
        out.extend(given.iter().map(|given| ("conditions", given.clone())));
        map(node, out)
    };
    if let "prerequisite" | "visibility" = kind {
        let config = map(node, vec![("qualifications", body(node))]);
        let inner = map(node, vec![("type", word(node, kind)), ("config", config)]);
        let action = map(node, vec![("type", word(node, kind)), ("rules", list(node, vec![inner]))]);
        let actions = v1::data_action(reader, &action, true)?;
        return Some(actions.iter().filter_map(|action| entry(action, "rules")).filter_map(first).cloned().collect());
    }
    // Conditions of the others say who is not touched.
    let audience = match &given {
        Some(_) => vec![("exceptions", conditions(reader, &body(node), "a rule")?)],
        None => Vec::new(),
    };
    if kind == "masking" {
        let Some(columns) = columns else {
            reader.error(node, "a masking rule lacks the key `fields`", "name the masked columns");
            return None;
        };
        return masks(reader, node, columns, handler, &audience);
    }
    let Some(name) = name else {
        reader.error(node, "an additional rule lacks the key `name`", "write `name: minimization` or `name: time`");
        return None;
    };
    let which = reader.word(name, "additional rule", &["minimization", "time"], false)?;
    let size = if which == "time" { &handler.time } else { &handler.minimization };
    let Some(size) = size else {
        let message = format!("a rule `{which}` without `policyHandler.additionalFilters.{which}`");
        reader.error(name, message, "add it: it says how much is shown");
        return None;
    };
    Some(vec![match which {
        "time" => {
            let config = map(size, vec![("isOlderOrNewer", word(size, "newer")), ("time", size.clone())]);
            v2_rule(node, "Time Restriction", config, &audience)
        }
        _ => v2_rule(node, "Minimization", size.clone(), &audience),
    }])
}

fn first(node: &Node) -> Option<&Node> {
    match &node.value {
        Value::List(items) => items.first(),
        _ => None,
    }
}

/// One V2 rule for each masked column: each has a mask of its own.
fn masks(
    reader: &mut Reader,
    node: &Node,
    columns: &Node,
    handler: &Handler,
    audience: &[(&str, Node)],
) -> Option<Vec<Node>> {
    let mut out = Vec::new();
    let items = reader.some(columns, "fields", "name the masked columns")?;
    for column in items {
        let (name, _) = reader.name(column)?;
        let Some((_, mask)) = handler.masks.iter().find(|(masked, _)| *masked == name) else {
            let help = "add one with this `name`: it says how the column is masked";
            reader.error(column, format!("no `policyHandler.maskingConfiguration` for the column `{name}`"), help);
            return None;
        };
        let field = map(column, vec![("type", word(column, "column")), ("column", column.clone())]);
        let config = map(node, vec![("fields", list(columns, vec![field])), ("maskingConfig", mask.clone())]);
        out.push(v2_rule(node, "Masking", config, audience));
    }
    Some(out)
}
