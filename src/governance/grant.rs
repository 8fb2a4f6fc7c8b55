//! Grant documents, of our own shape: `dataSource, user | group, iam?, state?, accessGrant?, expiration?`. They stand for the manual
//! subscriptions of seed 004 (`POST /dataSource/{id}/access`).
//!
//! In: one document's node. Out: a [`Grant`], or problems. Must never: make a grant that does not say to whom.

use crate::governance::model::{Declared, Grant, GrantState, Owner};
use crate::governance::reader::{Reader, Target};
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
    declared.grants.push(Grant {
        data_source: data_source.0,
        grantee,
        state,
        write: access == "WRITE",
        expiration: expiration.flatten(),
        origin,
    });
}
