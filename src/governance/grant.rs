//! Grant documents, of our own shape: `dataSource, user | group, iam?, state?, accessGrant?, expiration?,
//! approvals?`. They stand for the manual
//! subscriptions of seed 004 (`POST /dataSource/{id}/access`).
//!
//! In: one document's node. Out: a [`Grant`], or problems. Must never: make a grant that does not say to whom.

use crate::governance::model::{Approved, Declared, Grant, GrantState, Owner};
use crate::governance::policy::permission;
use crate::governance::reader::{Fields, Reader, Target};
use crate::governance::tree::Node;

const STATES: [&str; 6] = ["subscribed", "owner", "expert", "ingest", "pending", "denied"];

/// Reads one `grants` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a grant") else { return };
    let origin = fields.origin.clone();
    let data_source = reader.required_name(&mut fields, "dataSource");
    let user = reader.optional_name(&mut fields, "user");
    let group = reader.optional_name(&mut fields, "group");
    let iam = reader.optional_name(&mut fields, "iam").map(|(iam, _)| iam);
    let state = match fields.optional("state") {
        Some(node) => reader.word(node, "state", &STATES, true),
        None => Some("subscribed"),
    };
    let access = match fields.optional("accessGrant") {
        Some(node) => reader.word(node, "access", &["READ", "WRITE"], true),
        None => Some("READ"),
    };
    let expiration = fields.optional("expiration").map(|n| reader.instant(n));
    let approvals = approvals(reader, &mut fields);
    reader.finish(fields);
    let grantee = match (user, group) {
        (Some((name, _)), None) => Owner { is_group: false, name, iam },
        (None, Some((name, _))) => Owner { is_group: true, name, iam },
        _ => {
            reader.error_at(
                &origin,
                "a grant needs either `user` or `group`",
                "name the grantee in one of the two ways",
            );
            return;
        }
    };
    let Some(data_source) = data_source else { return };
    reader.refer(Target::DataSource, &data_source);
    // An expiration that cannot be read must not become a grant without one.
    let (Some(state), Some(access)) = (state, access) else { return };
    if expiration == Some(None) {
        return;
    }
    let state = match state {
        "owner" => GrantState::Owner,
        "expert" => GrantState::Expert,
        "ingest" => GrantState::Ingest,
        "pending" => GrantState::Pending,
        "denied" => GrantState::Denied,
        _ => GrantState::Subscribed,
    };
    if state.gives_access()
        && let Some(missing) = approvals.iter().find(|approval| !approval.given)
    {
        let help = "write `state: pending` until it is approved";
        let message = format!("a grant in force whose approval by {} is not given", missing.permission.word());
        reader.error_at(&origin, message, help);
        return;
    }
    declared.grants.push(Grant {
        data_source: data_source.0,
        grantee,
        state,
        write: access == "WRITE",
        expiration: expiration.flatten(),
        approvals,
        origin,
    });
}

/// `approvals: [{requiredPermission, state?, approver?}]`, as the API reports them with a subscription.
fn approvals(reader: &mut Reader, fields: &mut Fields<'_>) -> Vec<Approved> {
    let mut out = Vec::new();
    for item in reader.optional_list(fields, "approvals") {
        let Some(mut inner) = reader.fields(item, "an approval") else { continue };
        let permission = permission(reader, &mut inner);
        let states = ["approved", "pending", "denied"];
        let state = match inner.optional("state") {
            Some(node) => reader.word(node, "state of an approval", &states, true),
            None => Some("approved"),
        };
        let approver = reader.optional_name(&mut inner, "approver").map(|(name, _)| name);
        reader.finish(inner);
        if let (Some(permission), Some(state)) = (permission, state) {
            out.push(Approved { permission, approver, given: state == "approved" });
        }
    }
    out
}
