//! What changes, as data and as text.
//!
//! In: changes by data source and who they concern. Out: [`Report`]. Must never: hold SQL.

use super::people::listed;
use crate::policy::compare::Change;
use serde::Serialize;
use std::fmt;

/// Everything that changes between two sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Users who may no longer log in.
    pub users_removed: Vec<String>,
    /// Users who may log in now.
    pub users_added: Vec<String>,
    /// Projects that users may no longer act under.
    pub memberships_removed: Vec<Affected>,
    /// Projects that users may act under now.
    pub memberships_added: Vec<Affected>,
    /// What else one should know.
    pub notes: Vec<String>,
    /// Changes by data source, and by who they concern.
    pub sources: Vec<SourceChanges>,
}

/// A caller: a user, perhaps under a project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Affected {
    /// The user.
    pub user: String,
    /// The project acted under.
    pub project: Option<String>,
}

/// What changes on one data source for some callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceChanges {
    /// Connection, by key.
    pub connection: String,
    /// Data source.
    pub data_source: String,
    /// Name callers write.
    pub relation: String,
    /// For whom.
    pub affected: Vec<Affected>,
    /// What.
    pub changes: Vec<Change>,
}

impl Report {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.users_removed.is_empty()
            && self.users_added.is_empty()
            && self.memberships_removed.is_empty()
            && self.memberships_added.is_empty()
            && self.notes.is_empty()
            && self.sources.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changes for anybody");
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let users = |names: &[String]| {
            let affected: Vec<Affected> =
                names.iter().map(|user| Affected { user: user.clone(), project: None }).collect();
            listed(&affected)
        };
        for (sign, names, words) in
            [('-', &self.users_removed, "may no longer log in"), ('+', &self.users_added, "may log in now")]
        {
            if !names.is_empty() {
                writeln!(f, "{sign} {words}: {}", users(names))?;
            }
        }
        for (sign, affected, words) in
            [('-', &self.memberships_removed, "may no longer act"), ('+', &self.memberships_added, "may act now")]
        {
            if !affected.is_empty() {
                writeln!(f, "{sign} {words}: {}", listed(affected))?;
            }
        }
        let mut last = "";
        for source in &self.sources {
            if source.relation != last {
                writeln!(
                    f,
                    "{} (data source {}, connection {})",
                    source.relation, source.data_source, source.connection
                )?;
                last = &source.relation;
            }
            writeln!(f, "  for {}", listed(&source.affected))?;
            for change in &source.changes {
                writeln!(f, "    {change}")?;
            }
        }
        Ok(())
    }
}
