//! Applications of policies, `{policyKey, dataSource, appliedBy?}`: how a policy with `circumstances: null` comes into force on a data
//! source (`POST /policy/global/applyPolicy` of seed 004, with names instead of ids).
//!
//! In: one document's node. Out: an [`Applied`], or problems. Must never: apply a policy that chooses its data sources by itself.

use crate::governance::model::{Applied, Circumstances, Declared};
use crate::governance::problem::Problem;
use crate::governance::reader::{Reader, Target, closest};
use crate::governance::tree::Node;
use std::collections::HashMap;

/// Reads one `applied` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "an applied policy") else { return };
    let origin = fields.origin.clone();
    let policy = reader.required_name(&mut fields, "policyKey");
    let data_source = reader.required_name(&mut fields, "dataSource");
    let by = reader.optional_name(&mut fields, "appliedBy").map(|(name, _)| name);
    if let Some(merged) = fields.optional("merged")
        && reader.flag_of(merged, "merged") == Some(true)
    {
        reader.error(
            merged,
            "`merged: true` has no meaning here",
            "remove it: rules of several policies all count anyway",
        );
    }
    reader.finish(fields);
    let (Some((policy, _)), Some(data_source)) = (policy, data_source) else { return };
    reader.refer(Target::DataSource, &data_source);
    declared.applied.push(Applied { policy, data_source: data_source.0, by, origin });
}

/// Each names a policy that waits to be applied, once for a data source.
pub fn check(declared: &Declared) -> Vec<Problem> {
    let mut problems = Vec::new();
    if declared.applied.is_empty() {
        return problems;
    }
    let policies: HashMap<&str, &Circumstances> =
        declared.policies.iter().rev().map(|p| (&*p.key, &p.circumstances)).collect();
    for applied in &declared.applied {
        let Some(circumstances) = policies.get(applied.policy.as_str()) else {
            let keys: Vec<&str> = declared.policies.iter().map(|p| &*p.key).collect();
            let help = match closest(&applied.policy, &keys) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "use the `policyKey` of a policy".to_owned(),
            };
            let message = format!("there is no policy `{}` to apply", applied.policy);
            problems.push(Problem::error(&applied.origin, message, help));
            continue;
        };
        if !matches!(circumstances, Circumstances::OwnerApplied) {
            problems.push(Problem::error(
                &applied.origin,
                format!("the policy `{}` chooses its data sources by its circumstances", applied.policy),
                "remove this document, or write `circumstances: null` in the policy",
            ));
        }
    }
    problems
}
