//! Requests to undo the mask Reversible, of our own shape: `requestKey, dataSource, column, requester, reason, state, approvedBy?,
//! expiration?, project?, values?`. They stand for the unmask tasks of seed 001 (`POST /dataSource/{id}/reverseMask`), whose two
//! spellings of the reason, `unmaskingReason` and `unmaskReasoning`, are read too.
//!
//! In: one document's node. Out: an [`UnmaskRequest`], or problems. Must never: take a request for approved that nobody else approved,
//! or that holds for ever.

use crate::governance::model::{Declared, UnmaskRequest, UnmaskState};
use crate::governance::reader::{Fields, Reader, Target};
use crate::governance::tree::Node;

const STATES: [&str; 4] = ["pending", "approved", "denied", "completed"];

/// Reads one `unmaskRequests` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "an unmask request") else { return };
    let origin = fields.origin.clone();
    let key = reader.required_name(&mut fields, "requestKey");
    let data_source = reader.required_name(&mut fields, "dataSource");
    let column = reader.required_name(&mut fields, "column");
    let requester = reader.required_name(&mut fields, "requester");
    let reason = reason(reader, &mut fields);
    let state = reader.required(&mut fields, "state").and_then(|n| reader.word(n, "state", &STATES, true));
    let approved_by = reader.optional_name(&mut fields, "approvedBy").map(|(name, _)| name);
    let project = reader.optional_name(&mut fields, "project").map(|(name, _)| name);
    let expiration = fields.optional("expiration").map(|n| reader.instant(n));
    let values = fields.optional("values").map(|n| {
        let items = reader.list(n, "values");
        items.iter().filter_map(|item| reader.name(item)).map(|(value, _)| value).collect()
    });
    reader.finish(fields);
    let (Some(key), Some(data_source), Some(column), Some(requester)) = (key, data_source, column, requester) else {
        return;
    };
    reader.refer(Target::DataSource, &data_source);
    let (Some(reason), Some(state)) = (reason, state) else { return };
    if expiration == Some(None) {
        return;
    }
    let expiration = expiration.flatten();
    let state = match (state, approved_by.as_ref(), expiration) {
        ("approved", None, _) => {
            reader.error_at(&origin, "an approved request without `approvedBy`", "name who approved it");
            return;
        }
        ("approved", Some(approver), _) if *approver == requester.0 => {
            let message = "the request is approved by who made it";
            reader.error_at(&origin, message, "somebody else has to approve it");
            return;
        }
        ("approved", _, None) => {
            reader.error_at(&origin, "an approved request without `expiration`", "say until when it holds");
            return;
        }
        ("approved", ..) => UnmaskState::Approved,
        ("denied", ..) => UnmaskState::Denied,
        ("completed", ..) => UnmaskState::Completed,
        _ => UnmaskState::Pending,
    };
    declared.unmask_requests.push(UnmaskRequest {
        key: key.0,
        data_source: data_source.0,
        column: column.0,
        requester: requester.0,
        reason,
        state,
        approved_by,
        project,
        values,
        expiration,
        origin,
    });
}

/// The reason, under one of its names.
fn reason(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<String> {
    let given: Vec<&Node> =
        ["reason", "unmaskingReason", "unmaskReasoning"].into_iter().filter_map(|name| fields.optional(name)).collect();
    match given.as_slice() {
        [one] => reader.name(one).map(|(text, _)| text),
        [] => {
            reader.error_at(
                &fields.origin,
                "an unmask request lacks the key `reason`",
                "say why the values are needed",
            );
            None
        }
        [_, second, ..] => {
            reader.error(second, "the reason is given twice", "keep one of the two");
            None
        }
    }
}
