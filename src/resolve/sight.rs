//! What one caller can see at one moment: the only way resolution learns that anything exists.

use super::own::Personal;
use crate::catalog::own::{Own, SCHEMA};
use crate::catalog::sights::{Answers, Seeing, Sights};
use crate::catalog::system::system_access;
use crate::catalog::{Catalog, Visibility};
use crate::error::Refusal;
use crate::identity::Caller;
use crate::policy::Ruleset;
use crate::policy::decision::{Access, RelationDecision};
use crate::telemetry::{Stage, stages};
use crate::types::QualifiedName;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Where a [`Sight`] keeps what its caller may see, once someone asks.
pub type Visible = OnceLock<Arc<Seeing>>;

/// Everything that name resolution may ask.
pub struct Sight<'a> {
    /// Warehouse catalog.
    pub catalog: &'a Catalog,
    /// Bound policies.
    pub ruleset: &'a Ruleset,
    /// Who asks.
    pub caller: &'a Caller,
    /// Session settings that change meaning.
    pub session: &'a crate::plan::SessionView,
    /// The instant of the decision.
    pub now: SystemTime,
    /// What the proxy's own relations are made from.
    pub(super) personal: Personal<'a>,
    visible: &'a Visible,
    sights: Option<&'a Sights>,
    view: OnceLock<Visibility<'a>>,
    /// An answer about the catalog was given.
    told: OnceLock<()>,
    /// The session's process id was.
    pid: OnceLock<()>,
}

impl<'a> Sight<'a> {
    /// A sight; computes nothing yet.
    pub fn new(
        catalog: &'a Catalog,
        ruleset: &'a Ruleset,
        caller: &'a Caller,
        session: &'a crate::plan::SessionView,
        now: SystemTime,
        personal: Personal<'a>,
        visible: &'a Visible,
    ) -> Self {
        Self {
            catalog,
            ruleset,
            caller,
            session,
            now,
            personal,
            visible,
            sights: None,
            view: OnceLock::new(),
            told: OnceLock::new(),
            pid: OnceLock::new(),
        }
    }

    /// The same with what is kept of callers under this catalog and these policies.
    #[must_use]
    pub fn keeping(mut self, sights: &'a Sights) -> Self {
        self.sights = Some(sights);
        self
    }

    /// How the caller may see a relation; unregistered ones are hidden.
    pub fn access(&self, name: &QualifiedName) -> Access {
        match name.schema.as_str() {
            "pg_catalog" | "information_schema" if !self.catalog.relations.contains_key(name) => Access::Hidden,
            "pg_catalog" | "information_schema" => system_access(name, self.told()),
            SCHEMA => self.own(&name.name),
            _ => {
                let _stage = stages::enter(Stage::Decide);
                self.ruleset.access(self.caller, name, self.now)
            }
        }
    }

    /// The session's process id, for an answer that tells it.
    pub fn backend_pid(&self) -> i32 {
        self.pid.get_or_init(|| ());
        self.personal.backend_pid
    }

    /// Whether an answer told it.
    pub fn pid_was_told(&self) -> bool {
        self.pid.get().is_some()
    }

    /// As [`Self::visibility`], for an answer that tells what there is.
    pub fn told(&self) -> &Visibility<'a> {
        self.told.get_or_init(|| ());
        self.visibility()
    }

    /// Refuses a statement that reads the catalog behind one that changes it, before the warehouse was asked what came of that.
    ///
    /// # Errors
    /// 0A000.
    pub fn catalog_is_current(&self) -> Result<(), Refusal> {
        if self.session.scratch.is_exact() || self.told.get().is_none() {
            return Ok(());
        }
        Err(Refusal::unsupported(
            "the catalog cannot be read in the same query string behind a statement that makes or drops temporary tables",
        )
        .with_hint("Send it as a query of its own."))
    }

    /// Every relation the caller may see: the input of the virtual catalog.
    pub fn visibility(&self) -> &Visibility<'a> {
        let seeing = self.visible.get_or_init(|| match self.sights {
            Some(sights) => sights.get(self.caller, self.personal.listed, self.now, || self.see()),
            None => Arc::new(self.see()),
        });
        self.view.get_or_init(|| {
            let session = self.session;
            let path = &session.search_path;
            let visibility =
                Visibility::new(self.catalog, &self.caller.user, &session.database, path, &seeing.relations)
                    .keeping(&seeing.scope)
                    .with_scratch(&session.scratch);
            match self.sights {
                Some(sights) => visibility.answering(Answers::new(sights, seeing)),
                None => visibility,
            }
        })
    }

    /// Decides on every relation there is.
    fn see(&self) -> Seeing {
        let _stage = stages::enter(Stage::Decide);
        let seen =
            self.ruleset.registered().filter_map(|name| match self.ruleset.access(self.caller, name, self.now) {
                Access::Visible(decision) => Some(decision),
                Access::Hidden | Access::Discoverable { .. } | Access::Invalid => None,
            });
        let own = Own::ALL.iter().filter(|_| self.personal.listed).map(|own| Arc::clone(own.shape()));
        let relations: Vec<_> = seen.chain(own).collect();
        let until = relations.iter().filter_map(|r| r.valid_until).chain(self.ruleset.next_expiry(self.now)).min();
        Seeing::of(relations, until)
    }

    /// The relations that an answer about the catalog depends on; none when nothing asked.
    pub fn looked_at(&self) -> impl Iterator<Item = &Arc<RelationDecision>> {
        self.visible.get().into_iter().flat_map(|seeing| &seeing.relations)
    }

    /// Schemas of the search path that exist for the caller: those of visible relations, and `public`.
    pub fn existing_path(&self) -> Vec<&'a str> {
        let visible = self.visibility();
        self.session
            .search_path
            .iter()
            .map(String::as_str)
            .filter(|schema| {
                *schema == "pg_catalog"
                    || (*schema == "public" && self.catalog.schemas.contains_key(*schema))
                    || visible.relations.iter().any(|r| r.logical.schema == **schema)
            })
            .collect()
    }
}
