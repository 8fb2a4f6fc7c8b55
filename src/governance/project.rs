//! Purpose and project documents (V2 `POST /api/v2/purpose` and `/api/v2/project` of seed 004), projects with our addition `members`.
//!
//! In: one document's node. Out: [`Purpose`]s or a [`Project`], or problems. Must never: open a project wider than it was written.

use crate::governance::data::principal;
use crate::governance::model::{Declared, Equalization, Owner, Project, Purpose};
use crate::governance::policy::{approvals, attributes, entitlements, groups};
use crate::governance::reader::{Fields, Placed, Reader, Target};
use crate::governance::tree::{Node, Value};

/// Reads one `purposes` document: a purpose and its sub-purposes, which inherit the acknowledgement unless they have their own.
pub fn read_purpose(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a purpose") else { return };
    let origin = fields.origin.clone();
    let name = reader.required_name(&mut fields, "name").filter(|placed| well_formed(reader, placed));
    reader.optional_text(&mut fields, "description");
    let acknowledgement = reader.optional_text(&mut fields, "acknowledgement");
    // A parameter of the request in V2, of the object in V1.
    let re_acknowledge =
        reader.flag(&mut fields, "reAcknowledgeRequired", false) | reader.flag(&mut fields, "reAcknowledge", false);
    if let Some(node) = fields.optional("kAnonNoiseReduction") {
        reader.text(node);
        reader.warn(
            node,
            "`kAnonNoiseReduction` has no effect yet",
            "nothing is loosened by it; remove it to be clear",
        );
    }
    let subpurposes = reader.optional_list(&mut fields, "subpurposes");
    reader.finish(fields);
    let Some((root, _)) = name else { return };
    declared.purposes.push(Purpose {
        name: root.clone(),
        acknowledgement: acknowledgement.clone(),
        re_acknowledge,
        origin,
    });
    for item in subpurposes {
        let Some(mut fields) = reader.fields(item, "a sub-purpose") else { continue };
        let origin = fields.origin.clone();
        let name = reader.required_name(&mut fields, "name").filter(|placed| well_formed(reader, placed));
        reader.optional_text(&mut fields, "description");
        let own = reader.optional_text(&mut fields, "acknowledgement");
        reader.finish(fields);
        let Some((name, at)) = name else { continue };
        if !name.strip_prefix(&root).is_some_and(|rest| rest.starts_with('.')) {
            let message = format!("the sub-purpose `{name}` does not begin with `{root}.`");
            reader.error_at(&at, message, "write the full dotted name");
            continue;
        }
        let acknowledgement = own.or_else(|| acknowledgement.clone());
        declared.purposes.push(Purpose { name, acknowledgement, re_acknowledge, origin });
    }
}

fn well_formed(reader: &mut Reader, placed: &Placed) -> bool {
    let (name, origin) = placed;
    if name.starts_with('<') {
        reader.error_at(
            origin,
            format!("`{name}` cannot be the name of a purpose"),
            "names in angle brackets are reserved",
        );
        return false;
    }
    if let Some(why) = crate::governance::tags::malformed(name) {
        reader.error_at(origin, format!("`{name}` is not a purpose name: {why}"), "write dotted segments");
        return false;
    }
    true
}

/// Reads one `projects` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a project") else { return };
    let origin = fields.origin.clone();
    let key = reader.required_name(&mut fields, "projectKey");
    let name = reader.required_name(&mut fields, "name");
    let description = reader.optional_text(&mut fields, "description");
    reader.optional_text(&mut fields, "documentation");
    let allow_masked_joins = masked_joins(reader, &mut fields);
    let purposes = reader.names(&mut fields, "purposes");
    purposes.iter().for_each(|placed| reader.refer(Target::Purpose, placed));
    let data_sources = reader.names(&mut fields, "datasources");
    data_sources.iter().for_each(|placed| reader.refer(Target::DataSource, placed));
    reader.tags(&mut fields, "tags");
    let mut equalization = fields.optional("equalization").and_then(|n| equalized(reader, n));
    if let Some(node) = fields.optional("workspace") {
        // Shapes of other warehouses (seed 004, projects): "The project will automatically be equalized."
        let help = "remove `workspace`, and write `equalization: true` if that is all it is there for";
        reader.warn(node, "no workspace is made: nothing is written to the warehouse; the project is equalized", help);
        equalization = equalization.or(Some(Equalization::Common));
    }
    let members = reader.optional_list(&mut fields, "members");
    let members: Vec<Owner> = members.iter().filter_map(|item| principal(reader, item, "a member")).collect();
    let policy =
        fields.optional("subscriptionPolicy").map(|n| subscription(reader, n, !members.is_empty())).unwrap_or_default();
    reader.finish(fields);
    let (Some((key, _)), Some((name, _))) = (key, name) else { return };
    declared.projects.push(Project {
        key,
        name,
        purposes: purposes.into_iter().map(|(name, _)| name).collect(),
        data_sources: data_sources.into_iter().map(|(name, _)| name).collect(),
        members,
        open_to_anyone: policy.anyone,
        entitlements: policy.entitlements,
        allow_masked_joins,
        equalization,
        description,
        origin,
    });
}

/// `true`, `false`, or the groups and attributes themselves.
fn equalized(reader: &mut Reader, node: &Node) -> Option<Equalization> {
    if !matches!(&node.value, Value::Map(_)) {
        return reader.flag_of(node, "equalization").filter(|on| *on).map(|_| Equalization::Common);
    }
    let mut fields = reader.fields(node, "equalization")?;
    let (groups, attributes) = (groups(reader, &mut fields), attributes(reader, &mut fields));
    reader.finish(fields);
    if groups.is_empty() && attributes.is_empty() {
        reader.error(node, "`equalization` names nothing", "list groups or attributes, or write `true`");
    }
    Some(Equalization::Given { groups, attributes })
}

/// `allowMaskedJoins` of every example, `allowedMaskedJoins` of the attribute table; not both.
fn masked_joins(reader: &mut Reader, fields: &mut Fields<'_>) -> bool {
    let both = fields.has("allowMaskedJoins") && fields.has("allowedMaskedJoins");
    let first = reader.flag(fields, "allowMaskedJoins", false);
    let second = reader.flag(fields, "allowedMaskedJoins", false);
    if both {
        let origin = fields.origin.clone();
        reader.error_at(
            &origin,
            "both `allowMaskedJoins` and `allowedMaskedJoins` are given",
            "keep one; they mean the same",
        );
    }
    first || second
}

/// Who may act in a project besides its members.
#[derive(Default)]
struct Openness {
    anyone: bool,
    entitlements: Option<crate::governance::model::Audience>,
}

fn subscription(reader: &mut Reader, node: &Node, has_members: bool) -> Openness {
    let Some(mut fields) = reader.fields(node, "a subscriptionPolicy") else { return Openness::default() };
    let kinds = ["anyone", "approval", "entitlements", "manual"];
    let type_node = reader.required(&mut fields, "type");
    let kind = type_node.and_then(|n| reader.word(n, "subscription type", &kinds, false));
    let automatic = reader.flag(&mut fields, "automaticSubscription", true);
    reader.flag(&mut fields, "allowDiscovery", false);
    reader.optional_text(&mut fields, "description");
    let mut open = Openness::default();
    match (kind, type_node) {
        (Some("anyone"), _) => open.anyone = true,
        (Some("entitlements"), _) => open.entitlements = entitlements(reader, &mut fields, node),
        // Who has been approved stands under `members`, as with `manual`.
        // `members` says who was approved.
        (Some("approval"), at) => {
            drop(approvals(reader, &mut fields, node));
            if let (Some(at), false) = (at, has_members) {
                let help = "list who was approved under `members`; it is the list that counts";
                reader.warn(at, "membership by `approval`, and nobody is listed under `members`", help);
            }
        }
        _ => {}
    }
    reader.finish(fields);
    if !automatic && matches!(kind, Some("anyone" | "entitlements")) {
        let help = "list who has joined under `members`, or write `automaticSubscription: true`";
        reader.warn(node, "without automatic subscription only `members` may act in the project", help);
        return Openness::default();
    }
    open
}
