//! Policy documents (V2 `POST /api/v2/policy` of seed 004): the frame, circumstances, subscription actions and audiences.
//!
//! In: one document's node. Out: a [`Policy`], or problems. Must never: read a condition as wider than it was written; an empty
//! list of people or of circumstances is a problem, not "everybody" or "everywhere".

use crate::governance::model::{
    Action, Approval, AttributeCondition, Audience, Certification, Circumstance, Circumstances, Declared,
    GroupCondition, Inactive, Owner, Permission, Policy, PolicyBody, Subscription, SubscriptionKind,
};
use crate::governance::reader::{Fields, Placed, Reader, Target};
use crate::governance::tree::Node;
use crate::governance::{local, rules, v1};
use std::sync::Arc;

/// Largest compiled size of a column regex, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Reads one `policies` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    if local::is_local(node) {
        return local::read(reader, node, declared);
    }
    if v1::is_global(node) {
        let before = errors(reader);
        let v2 = v1::global(reader, node);
        if errors(reader) == before
            && let Some(v2) = v2
        {
            read_v2(reader, &v2, declared);
        }
        return;
    }
    read_v2(reader, node, declared);
}

/// Errors found so far.
pub fn errors(reader: &Reader) -> usize {
    reader.problems.iter().filter(|p| p.is_error()).count()
}

fn read_v2(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let before = errors(reader);
    let Some(mut fields) = reader.fields(node, "a policy") else { return };
    let key = reader.required_name(&mut fields, "policyKey");
    let name = reader.required_name(&mut fields, "name");
    let kind = reader
        .required(&mut fields, "type")
        .and_then(|n| reader.word(n, "policy type", &["subscription", "data"], false));
    let staged = reader.flag(&mut fields, "staged", false);
    let inactive = match (reader.flag(&mut fields, "deleted", false), reader.flag(&mut fields, "disabled", false)) {
        (true, _) => Some(Inactive::Deleted),
        (false, true) => Some(Inactive::Disabled),
        (false, false) => None,
    };
    let circumstances = circumstances(reader, &mut fields);
    let owner_restrictions = owner_restrictions(reader, &mut fields);
    let certification = certification(reader, &mut fields);
    let actions = reader.required(&mut fields, "actions");
    let body = match (kind, actions) {
        (Some("subscription"), Some(node)) => subscription(reader, node).map(PolicyBody::Subscription),
        (Some(_), Some(node)) => Some(PolicyBody::Data(data(reader, node))),
        _ => None,
    };
    let origin = fields.origin.clone();
    reader.finish(fields);
    if errors(reader) > before {
        return;
    }
    let (Some((key, _)), Some((name, _)), Some(circumstances), Some(body)) = (key, name, circumstances, body) else {
        return;
    };
    declared.policies.push(Arc::new(Policy {
        key: Arc::from(key),
        name,
        staged,
        inactive,
        circumstances,
        owner_restrictions,
        body,
        certification,
        origin,
    }));
}

/// `operator: any | all` in any letter case; left out = any.
pub fn operator_is_all(reader: &mut Reader, fields: &mut Fields<'_>, name: &'static str) -> bool {
    let Some(node) = fields.optional(name) else { return false };
    reader.word(node, "operator", &["all", "any"], true) == Some("all")
}

fn circumstances(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Circumstances> {
    let all = operator_is_all(reader, fields, "circumstanceOperator");
    let Some(node) = fields.take("circumstances") else { return Some(Circumstances::Everywhere) };
    if node.is_null() {
        return Some(Circumstances::OwnerApplied);
    }
    let help =
        "list at least one; leave the key out for every data source, or write null for none until an owner applies it";
    let items = reader.some(node, "circumstances", help)?;
    let list: Vec<Circumstance> = items.iter().filter_map(|item| circumstance(reader, item)).collect();
    Some(Circumstances::When { all, list })
}

const CIRCUMSTANCES: [&str; 7] = ["tags", "columnTags", "columnRegex", "anyTag", "noTags", "time", "server"];

fn circumstance(reader: &mut Reader, node: &Node) -> Option<Circumstance> {
    let mut fields = reader.fields(node, "a circumstance")?;
    let kind = reader
        .required(&mut fields, "type")
        .and_then(|n| reader.word(n, "circumstance type", &CIRCUMSTANCES, false))?;
    let found = match kind {
        "tags" => required_tag(reader, &mut fields, "tag").map(Circumstance::Tag),
        "columnTags" => required_tag(reader, &mut fields, "columnTag").map(Circumstance::ColumnTag),
        "columnRegex" => column_regex(reader, &mut fields).map(Circumstance::ColumnRegex),
        "anyTag" => Some(Circumstance::AnyTag),
        "noTags" => Some(Circumstance::NoTags),
        "time" => time(reader, node, &mut fields),
        _ => reader.required_name(&mut fields, "server").map(|(server, _)| Circumstance::Server(server)),
    };
    reader.finish(fields);
    found
}

fn time(reader: &mut Reader, node: &Node, fields: &mut Fields<'_>) -> Option<Circumstance> {
    let start = fields.optional("startDate").map(|n| reader.instant(n));
    let end = fields.optional("endDate").map(|n| reader.instant(n));
    match (&start, &end) {
        (None, None) => {
            reader.error(node, "a time circumstance without `startDate` and `endDate`", "give at least one of them");
            return None;
        }
        (Some(Some(start)), Some(Some(end))) if start > end => {
            reader.error(node, "`startDate` is after `endDate`", "no data source can match; swap the dates");
            return None;
        }
        _ => {}
    }
    if start == Some(None) || end == Some(None) {
        return None;
    }
    Some(Circumstance::Time { start: start.flatten(), end: end.flatten() })
}

/// A tag that must be there.
pub fn required_tag(reader: &mut Reader, fields: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let placed = reader.required_name(fields, name)?;
    reader.used_tag(placed)
}

/// `regex` and `caseInsensitive`, over column names.
pub fn column_regex(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Arc<regex::Regex>> {
    let insensitive = reader.flag(fields, "caseInsensitive", false);
    let node = reader.required(fields, "regex")?;
    let (text, _) = reader.name(node)?;
    match regex::RegexBuilder::new(&text).case_insensitive(insensitive).size_limit(REGEX_SIZE).nest_limit(50).build() {
        Ok(regex) => Some(Arc::new(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            reader.error(node, "the regular expression is too large", "make it smaller");
            None
        }
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last).to_owned();
            reader.error(
                node,
                format!("the regular expression does not compile: {why}"),
                "correct it; look-around and back-references are not available",
            );
            None
        }
    }
}

/// `ownerRestrictions`: `{users: [{iamid, username}], groups: [name]}`, or a list of such objects.
fn owner_restrictions(reader: &mut Reader, fields: &mut Fields<'_>) -> Vec<Owner> {
    let Some(node) = fields.optional("ownerRestrictions") else { return Vec::new() };
    let mut owners = Vec::new();
    for item in reader.one_or_many(node, "ownerRestrictions") {
        let Some(mut fields) = reader.fields(item, "an owner restriction") else { continue };
        for user in reader.optional_list(&mut fields, "users") {
            let Some(mut fields) = reader.fields(user, "an owner") else { continue };
            let iam = reader.optional_name(&mut fields, "iamid").map(|(iam, _)| iam);
            if let Some((name, _)) = reader.required_name(&mut fields, "username") {
                owners.push(Owner { is_group: false, name, iam });
            }
            reader.finish(fields);
        }
        for group in groups(reader, &mut fields) {
            owners.push(Owner { is_group: true, name: group.name, iam: group.iam });
        }
        reader.finish(fields);
    }
    if owners.is_empty() {
        reader.error(node, "`ownerRestrictions` names nobody", "name users or groups, or remove the key");
    }
    owners
}

fn certification(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Certification> {
    let node = fields.optional("certification")?;
    let mut fields = reader.fields(node, "a certification")?;
    let text = reader.required(&mut fields, "text").and_then(|n| reader.text(n)).map(|(text, _)| text);
    let label = reader.optional_text(&mut fields, "label");
    let tags = reader.tags(&mut fields, "tags");
    let recertify = reader.flag(&mut fields, "recertify", false);
    reader.finish(fields);
    Some(Certification { text: text?, label, tags, recertify })
}

/// `actions` of a subscription policy: one object.
fn subscription(reader: &mut Reader, node: &Node) -> Option<Subscription> {
    let mut fields = reader.fields(node, "the actions of a subscription policy")?;
    let kinds = ["anyone", "approval", "entitlements", "manual"];
    let kind_node = reader.required(&mut fields, "type")?;
    let kind = reader.word(kind_node, "subscription type", &kinds, false)?;
    let automatic = reader.optional_flag(&mut fields, "automaticSubscription");
    let description = reader.optional_text(&mut fields, "description");
    let allow_discovery = reader.flag(&mut fields, "allowDiscovery", false);
    let share = reader.optional_flag(&mut fields, "shareResponsibility");
    let grant = fields.optional("accessGrant").and_then(|n| reader.word(n, "access", &["READ", "WRITE"], true));
    let found = match kind {
        "anyone" => Some(SubscriptionKind::Anyone),
        "manual" => {
            if automatic.is_some() || share.is_some() {
                let help = "remove it: with `manual` only explicit grants count";
                reader.warn(
                    node,
                    "`automaticSubscription` and `shareResponsibility` have no effect with `manual`",
                    help,
                );
            }
            Some(SubscriptionKind::Manual)
        }
        "approval" => {
            if automatic == Some(true) {
                let help = "remove it: whoever is approved gets a document under grants/";
                reader.error(kind_node, "`automaticSubscription: true` with `approval`", help);
            }
            approvals(reader, &mut fields, node).map(SubscriptionKind::Approval)
        }
        _ => entitlements(reader, &mut fields, node).map(SubscriptionKind::Entitlements),
    };
    reader.finish(fields);
    let kind = found?;
    let by_grant = matches!(kind, SubscriptionKind::Manual | SubscriptionKind::Approval(_));
    let automatic = automatic.unwrap_or(true) && !by_grant;
    Some(Subscription {
        kind,
        automatic,
        allow_discovery,
        share_responsibility: share.unwrap_or(false),
        write: grant == Some("WRITE"),
        description,
    })
}

/// `approvals` of a subscription policy or a project: who has to approve a request.
pub fn approvals(reader: &mut Reader, fields: &mut Fields<'_>, node: &Node) -> Option<Vec<Approval>> {
    let help = "say who approves, as in `approvals: [{requiredPermission: OWNER}]`";
    let Some(given) = fields.optional("approvals") else {
        reader.error(node, "`approvals` are missing", help);
        return None;
    };
    let items = reader.some(given, "approvals", help)?;
    let found: Vec<Option<Approval>> = items
        .iter()
        .map(|item| {
            let mut fields = reader.fields(item, "an approval")?;
            let permission = permission(reader, &mut fields);
            let specific = reader.flag(&mut fields, "specificApproverRequired", false);
            reader.finish(fields);
            Some(Approval { permission: permission?, specific })
        })
        .collect();
    found.into_iter().collect()
}

/// `requiredPermission`.
pub fn permission(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Permission> {
    let node = reader.required(fields, "requiredPermission")?;
    Some(match reader.word(node, "permission", &["OWNER", "GOVERNANCE", "ADMIN"], true)? {
        "OWNER" => Permission::Owner,
        "GOVERNANCE" => Permission::Governance,
        _ => Permission::Admin,
    })
}

/// An `advanced` expression; a mistake in it is told at its word.
fn expression(reader: &mut Reader, node: &Node) -> Option<Audience> {
    let (text, _) = reader.text(node)?;
    match crate::policy::advanced(&text) {
        Ok(expression) => Some(Audience { advanced: Some(Arc::new(expression)), ..Audience::default() }),
        Err(fault) => {
            let place = reader.places(node).place(fault.line, fault.column);
            reader.error_at(&place, fault.message, fault.help);
            None
        }
    }
}

/// `entitlements` or `advanced`, of a subscription policy or a project.
pub fn entitlements(reader: &mut Reader, fields: &mut Fields<'_>, node: &Node) -> Option<Audience> {
    let advanced = fields.optional("advanced");
    let lists = fields.optional("entitlements");
    match (advanced, lists) {
        (Some(node), Some(_)) => {
            reader.error(node, "`advanced` beside `entitlements`", "keep one of them");
            None
        }
        (Some(node), None) => expression(reader, node),
        (None, None) => {
            reader.error(
                node,
                "`entitlements` are missing",
                "add `entitlements` with `groups` or `attributes`, or `advanced`",
            );
            None
        }
        (None, Some(lists)) => {
            let mut inner = reader.fields(lists, "entitlements")?;
            let all = operator_is_all(reader, &mut inner, "operator");
            let groups = groups(reader, &mut inner);
            let attributes = attributes(reader, &mut inner);
            reader.finish(inner);
            if groups.is_empty() && attributes.is_empty() {
                reader.error(lists, "`entitlements` name nobody", "list at least one group or attribute");
                return None;
            }
            Some(Audience { all, groups, attributes, ..Audience::default() })
        }
    }
}

/// `exceptions` or `inclusions` of a rule. Null, or no condition at all, = not given for exceptions; for inclusions an object without
/// any condition is a problem, since "only for nobody" would switch the rule off.
pub fn audience(reader: &mut Reader, fields: &mut Fields<'_>, name: &'static str) -> Option<Audience> {
    let node = fields.optional(name)?;
    let mut inner = reader.fields(node, name)?;
    let all = operator_is_all(reader, &mut inner, "operator");
    let groups = groups(reader, &mut inner);
    let attributes = attributes(reader, &mut inner);
    let purposes = purposes(reader, &mut inner);
    reader.finish(inner);
    if groups.is_empty() && attributes.is_empty() && purposes.is_empty() {
        if name == "inclusions" {
            reader.error(node, "`inclusions` name nobody", "list groups, attributes or purposes, or remove the key");
        }
        return None;
    }
    Some(Audience { all, groups, attributes, purposes, advanced: None })
}

/// `groups`: names, or `{name, iam}`.
pub fn groups(reader: &mut Reader, fields: &mut Fields<'_>) -> Vec<GroupCondition> {
    let mut out = Vec::new();
    for item in reader.optional_list(fields, "groups") {
        let group = if matches!(item.value, crate::governance::tree::Value::Map(_)) {
            let Some(mut inner) = reader.fields(item, "a group") else { continue };
            let name = reader.required_name(&mut inner, "name");
            let iam = reader.optional_name(&mut inner, "iam").map(|(iam, _)| iam);
            reader.finish(inner);
            name.map(|(name, _)| GroupCondition { name, iam })
        } else {
            reader.name(item).map(|(name, _)| GroupCondition { name, iam: None })
        };
        out.extend(group);
    }
    out
}

/// `attributes`: `{name, value, iam?}`.
pub fn attributes(reader: &mut Reader, fields: &mut Fields<'_>) -> Vec<AttributeCondition> {
    let mut out = Vec::new();
    for item in reader.optional_list(fields, "attributes") {
        let Some(mut inner) = reader.fields(item, "an attribute") else { continue };
        let name = reader.required_name(&mut inner, "name");
        let value = reader.required(&mut inner, "value").and_then(|n| reader.scalar(n));
        let iam = reader.optional_name(&mut inner, "iam").map(|(iam, _)| iam);
        reader.finish(inner);
        if let (Some((name, _)), Some((value, _))) = (name, value) {
            out.push(AttributeCondition { name, value, iam });
        }
    }
    out
}

/// `purposes`: dotted names, each to be declared.
fn purposes(reader: &mut Reader, fields: &mut Fields<'_>) -> Vec<String> {
    let found: Vec<Placed> = reader.names(fields, "purposes");
    found.iter().for_each(|placed| reader.refer(Target::Purpose, placed));
    found.into_iter().map(|(name, _)| name).collect()
}

/// `actions` of a data policy: a list of `{rules, description?}`.
pub fn data(reader: &mut Reader, node: &Node) -> Vec<Action> {
    let Some(items) = reader.some(node, "actions", "add an action with `rules`") else { return Vec::new() };
    let mut actions = Vec::new();
    for item in items {
        let Some(mut fields) = reader.fields(item, "an action") else { continue };
        let mut found = Vec::new();
        let list = reader.required(&mut fields, "rules");
        for rule in list.and_then(|n| reader.some(n, "rules", "add a rule")).unwrap_or_default() {
            found.extend(rules::read(reader, rule));
        }
        let description = reader.optional_text(&mut fields, "description");
        reader.finish(fields);
        actions.push(Action { rules: found, description });
    }
    actions
}
