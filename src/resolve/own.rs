//! The rows of the proxy's own relations, for one caller at one moment.
//!
//! In: what the caller may see, his projects, what he has acknowledged. Out: an [`Access`] that carries the rows. Must never: hold
//! anything of another caller, or be kept longer than it is true.

use super::Sight;
use crate::catalog::own::Own;
use crate::identity::{Acknowledgements, Directory, Membership};
use crate::plan::settings::ACKNOWLEDGE;
use crate::policy::decision::Access;
use crate::policy::told::{Elsewhere, Telling, Told};
use crate::types::quote_literal;
use serde_json::{Value, json};
use std::time::SystemTime;

/// What the answers are made from besides policies.
#[derive(Clone, Copy)]
pub struct Personal<'a> {
    /// Users and projects.
    pub directory: &'a Directory,
    /// What has been acknowledged.
    pub acknowledgements: &'a Acknowledgements,
    /// How much is told of policies.
    pub telling: Telling,
    /// Whether the catalog lists the relations.
    pub listed: bool,
    /// The session's process id.
    pub backend_pid: i32,
}

impl Sight<'_> {
    /// A relation of the proxy's own, by its bare name.
    pub(super) fn own(&self, name: &str) -> Access {
        let Some(own) = Own::of(name) else { return Access::Hidden };
        let projects = self.personal.directory.projects_of(self.caller);
        match own {
            Own::Access => self.my_access(&projects),
            Own::Projects => own.with(&projects.iter().map(|p| self.project(p)).collect::<Vec<_>>(), None),
            Own::Purposes => own.with(&projects.iter().flat_map(|p| self.purposes(p)).collect::<Vec<_>>(), None),
            // What is acknowledged can change at any moment, here or beside another proxy: the answer is never kept.
            Own::Pending => match self.pending(&projects) {
                Some(rows) => own.with(&rows, Some(SystemTime::UNIX_EPOCH)),
                None => Access::Invalid,
            },
        }
    }

    fn my_access(&self, projects: &[Membership<'_>]) -> Access {
        let elsewhere: Vec<Elsewhere<'_>> = projects
            .iter()
            .filter(|project| !self.is_acting(project))
            .filter_map(|project| Some(Elsewhere { project: project.key, caller: project.under.as_ref()? }))
            .collect();
        let (lines, until) = self.ruleset.told(self.caller, &elsewhere, self.now, self.personal.telling);
        let row = |line: Told| {
            json!({
                "table_schema": line.relation.schema,
                "table_name": line.relation.name,
                "column_name": line.column,
                "seen": line.seen,
                "mask": line.mask,
                "why": line.why,
                "would_show_more": line.more,
            })
        };
        Own::Access.with(&lines.into_iter().map(row).collect::<Vec<_>>(), until)
    }

    fn is_acting(&self, project: &Membership<'_>) -> bool {
        self.caller.project.as_ref() == Some(project.key)
    }

    fn project(&self, project: &Membership<'_>) -> Value {
        json!({
            "project": **project.key,
            "name": project.name,
            "description": project.description,
            "purposes": project.purposes,
            "acting": self.is_acting(project),
            "may_enter": project.under.is_some(),
            "equalized": project.equalized,
            "masked_joins": project.masked_joins,
        })
    }

    fn purposes(&self, project: &Membership<'_>) -> Vec<Value> {
        let acting = self.is_acting(project);
        let row = |purpose: &String| json!({"purpose": purpose, "project": **project.key, "acting": acting});
        project.purposes.iter().map(row).collect()
    }

    /// `None` when what was acknowledged cannot be read.
    fn pending(&self, projects: &[Membership<'_>]) -> Option<Vec<Value>> {
        let mut rows = Vec::new();
        for project in projects.iter().filter(|p| p.under.is_some()) {
            let asked = self.personal.directory.acknowledgements(project.key);
            if asked.is_empty() {
                continue;
            }
            let missing = self.personal.acknowledgements.missing(self.caller, project.key, asked);
            let missing = missing.inspect_err(|error| tracing::error!(%error, "the acknowledgements cannot be read"));
            rows.extend(missing.ok()?.into_iter().map(|one| {
                json!({
                    "project": **project.key,
                    "purpose": one.purpose,
                    "text": one.text,
                    "accept": format!("SET {ACKNOWLEDGE} = {}", quote_literal(project.key)),
                })
            }));
        }
        Some(rows)
    }
}
