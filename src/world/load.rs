//! From configuration to worlds, once: what `serve` does at its start and `check` and `explain` do at all.
//!
//! In: the configuration. Out: a [`World`] a connection, and every problem of documents, identities, warehouses and policies.
//! Must never: stop at the first problem.

use super::World;
use super::documents::{self, Documents, Read};
use super::warehouse::Warehouse;
use crate::config::Config;
use crate::governance::model::Declared;
use crate::governance::problem::{Problem, any_error};
use crate::identity::{Acknowledgements, Directory};
use crate::policy::{Ruleset, Salts};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Worlds by `connectionKey`.
pub type ByConnection = BTreeMap<Arc<str>, World>;

/// What was loaded.
pub struct Loaded {
    /// A world for each connection that could be reached, when the documents have no error. Use them only when no problem is one.
    pub worlds: ByConnection,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    /// Policies read.
    pub policies: usize,
    /// Users read.
    pub users: usize,
    pub(super) documents: Option<Arc<Documents>>,
    pub(super) fingerprint: documents::Fingerprint,
    pub(super) warehouses: Vec<Warehouse>,
}

impl Loaded {
    /// What governance declares; `None` when the documents have errors.
    pub fn declared(&self) -> Option<&Declared> {
        self.documents.as_ref().map(|documents| &documents.declared)
    }

    /// The worlds and the warnings, or every problem.
    ///
    /// # Errors
    /// When any problem is an error.
    pub fn into_result(self) -> Result<(ByConnection, Vec<Problem>), Vec<Problem>> {
        if any_error(&self.problems) { Err(self.problems) } else { Ok((self.worlds, self.problems)) }
    }
}

/// The salts of this configuration's data sources and projects.
pub(super) fn salts(config: &Config) -> Salts {
    Salts::new(config.secret.derive("salts").expose())
}

/// Reads the documents, away from the async threads.
pub(super) async fn read_documents(config: &Arc<Config>) -> Read {
    let shared = Arc::clone(config);
    match tokio::task::spawn_blocking(move || documents::read(&shared)).await {
        Ok(read) => read,
        Err(_) => {
            let help = "this is a defect of sqlveil; report it";
            Read {
                problems: vec![Problem::in_file(&config.governance, "reading the documents failed", help)],
                ..Read::default()
            }
        }
    }
}

/// What administrators declare, without any warehouse.
pub struct Governed {
    /// The governance documents.
    pub declared: Declared,
    /// Who there is.
    pub directory: Arc<Directory>,
    /// What keys and salts are derived from.
    pub salts: Salts,
}

/// Reads the documents alone.
///
/// # Errors
/// Every problem, when one is an error.
pub async fn governed(config: &Arc<Config>) -> Result<Governed, Vec<Problem>> {
    let read = read_documents(config).await;
    match read.documents {
        Some(Documents { declared, directory }) => Ok(Governed { declared, directory, salts: salts(config) }),
        None => Err(read.problems),
    }
}

/// When documents are bound to a warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// In any case: the documents are new, or not confirmed yet.
    Anew,
    /// Only to a catalog that has changed: what was bound to the one before is in force.
    IfChanged,
}

/// A warehouse after an attempt to bind documents to it.
pub(super) struct Attempt {
    /// The warehouse, with its fresh catalog when it was reached.
    pub warehouse: Warehouse,
    /// Whether the catalog differs from the one before.
    pub changed: bool,
    /// The bound policies; `None` when there is no catalog, or no documents to bind.
    pub ruleset: Option<Ruleset>,
    /// Whether the warehouse confirmed the policies. Sources whose rules it did not confirm refuse.
    pub settled: bool,
    /// What binding found.
    pub problems: Vec<Problem>,
    /// Why the warehouse could not be asked.
    pub unreachable: Option<Problem>,
}

/// Reads the catalog, binds the documents and has the warehouse confirm them. Without documents only reaches for the warehouse. When
/// it is out of reach the last catalog serves, and what needs its word is refused until it is back. `most` = how often policies may
/// apply to data sources.
pub(super) async fn attempt(
    mut warehouse: Warehouse,
    documents: Option<Arc<Documents>>,
    salts: Salts,
    binding: Binding,
    most: usize,
) -> Attempt {
    let (mut changed, mut unreachable) = match warehouse.refresh().await {
        Ok(changed) => (changed, None),
        Err(problem) => (false, Some(problem)),
    };
    if let (Some(documents), None) = (&documents, &unreachable) {
        let queries = crate::policy::query::queries(&documents.declared, &warehouse.connection.key);
        match warehouse.describe(&queries).await {
            Ok(more) => changed |= more,
            Err(problem) => unreachable = Some(problem),
        }
    }
    if documents.is_some() && binding == Binding::IfChanged && !changed && unreachable.is_none() {
        // Sets that have grown are looked up otherwise, without any change of the catalog.
        match warehouse.resized().await {
            Ok(more) => changed = more,
            Err(problem) => unreachable = Some(problem),
        }
    }
    let documents = documents.filter(|_| changed || binding == Binding::Anew);
    let (Some(documents), Some(catalog)) = (documents, warehouse.catalog.clone()) else {
        return Attempt { warehouse, changed, ruleset: None, settled: false, problems: Vec::new(), unreachable };
    };
    let key = Arc::clone(&warehouse.connection.key);
    // Compiling every policy against every table is work, not waiting.
    let bind = move || Ruleset::bind_within(&documents.declared, &key, &catalog, &salts, most);
    let Ok((mut ruleset, mut problems)) = tokio::task::spawn_blocking(bind).await else {
        let problems = vec![defect(&warehouse.connection.key)];
        return Attempt { warehouse, changed, ruleset: None, settled: false, problems, unreachable };
    };
    problems.extend(warehouse.remarks.iter().cloned());
    let mut settled = false;
    if unreachable.is_none() {
        match warehouse.run(ruleset.probes()).await {
            Ok(failures) => {
                changed |= warehouse.sizes(ruleset.probes(), &failures);
                let (confirmed, more) = ruleset.settle(&failures);
                ruleset = confirmed;
                problems.extend(more);
                settled = true;
            }
            Err(problem) => unreachable = Some(problem),
        }
    }
    Attempt { warehouse, changed, ruleset: Some(ruleset), settled, problems, unreachable }
}

fn defect(connection_key: &str) -> Problem {
    let message = format!("connection `{connection_key}`: binding the policies failed");
    Problem::nowhere(message, "this is a defect of sqlveil; report it")
}

/// [`attempt`] on all warehouses at once, so that a slow one does not hold up the others. The order is kept.
pub(super) async fn attempt_all(
    warehouses: Vec<(Warehouse, Binding)>,
    documents: Option<Arc<Documents>>,
    salts: &Salts,
    config: &Config,
) -> Vec<Attempt> {
    let connections: Vec<_> = warehouses.iter().map(|(w, _)| Arc::clone(&w.connection)).collect();
    let mut running = JoinSet::new();
    for (index, (warehouse, binding)) in warehouses.into_iter().enumerate() {
        let (documents, salts, most) = (documents.clone(), salts.clone(), config.limits.bindings);
        running.spawn(async move { (index, attempt(warehouse, documents, salts, binding, most).await) });
    }
    let mut done: BTreeMap<usize, Attempt> = BTreeMap::new();
    while let Some(joined) = running.join_next().await {
        if let Ok((index, attempt)) = joined {
            done.insert(index, attempt);
        }
    }
    let lost = |connection: &Arc<crate::config::Connection>| Attempt {
        warehouse: Warehouse::new(Arc::clone(connection), &config.file),
        changed: false,
        ruleset: None,
        settled: false,
        problems: vec![defect(&connection.key)],
        unreachable: None,
    };
    connections.iter().enumerate().map(|(index, c)| done.remove(&index).unwrap_or_else(|| lost(c))).collect()
}

/// Loads everything once. Policies are bound only when the documents themselves have no error; warehouses are reached for in any
/// case, so that all that can be known is told at once.
pub async fn load(config: &Arc<Config>) -> Loaded {
    let Read { documents, policies, users, mut problems, fingerprint } = read_documents(config).await;
    let documents = documents.map(Arc::new);
    let reach = |c| (Warehouse::new(Arc::clone(c), &config.file), Binding::Anew);
    let warehouses = config.connections.values().map(reach).collect();
    let attempts = attempt_all(warehouses, documents.clone(), &salts(config), config).await;
    let acknowledgements = Arc::new(Acknowledgements::at(&config.acknowledgements));
    let mut worlds = BTreeMap::new();
    let mut reached = Vec::new();
    for attempt in attempts {
        problems.extend(attempt.problems);
        problems.extend(attempt.unreachable);
        if let (Some(documents), Some(ruleset), Some(catalog)) =
            (&documents, attempt.ruleset, &attempt.warehouse.catalog)
        {
            let world = World {
                version: 1,
                catalog: Arc::clone(catalog),
                ruleset: Arc::new(ruleset),
                directory: Arc::clone(&documents.directory),
                acknowledgements: Arc::clone(&acknowledgements),
                telling: config.telling,
                sights: Default::default(),
            };
            worlds.insert(Arc::clone(&attempt.warehouse.connection.key), world);
        }
        reached.push(attempt.warehouse);
    }
    let mut loaded = Loaded { worlds, problems, policies, users, documents, fingerprint, warehouses: reached };
    once(&mut loaded.problems);
    loaded
}

/// Drops problems that were found more than once: policies are bound once a connection.
pub(super) fn once(problems: &mut Vec<Problem>) {
    let mut seen = HashSet::with_capacity(problems.len());
    problems.retain(|problem| seen.insert(problem.clone()));
}
