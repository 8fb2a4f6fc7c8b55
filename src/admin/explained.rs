//! What a statement would become for a caller, and why, without running it.
//!
//! In: a world, a caller, a statement. Out: for every relation and column the rules that apply and those considered and why not, the
//! predicates, and the text that would be sent, salts replaced. Must never: run the statement, or show a salt. For administrators: it shows
//! policy text.

use crate::error::Refusal;
use crate::identity::Caller;
use crate::plan::{Plan, PlanInputs, Planner, Progress, SessionView};
use crate::policy::explain::Explanation;
use crate::sql;
use crate::sql::tree::Tree;
use crate::types::QualifiedName;
use crate::world::World;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// What a statement becomes for a caller, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The caller.
    pub user: String,
    /// The project acted under.
    pub project: Option<String>,
    /// Every relation the statement names, decided.
    pub relations: Vec<Explanation>,
    /// What would be sent to the warehouse; empty when it is refused.
    pub sent: Vec<Sent>,
    /// Why it is refused.
    pub refused: Option<Refused>,
}

/// One statement as it would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The text, salts replaced.
    pub sql: String,
    /// What the caller would be told beside the result.
    pub notices: Vec<String>,
}

/// The error the caller would get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Message and SQLSTATE.
    pub error: String,
    /// Its detail.
    pub detail: Option<String>,
    /// Its hint.
    pub hint: Option<String>,
}

/// Explains a statement.
pub fn explain(world: &Arc<World>, caller: &Arc<Caller>, text: &str) -> Explained {
    let mut session = Asked::new(world, caller);
    let planned = Planner::default().plan_string(text, &mut session);
    let mut relations = written(text, &session.view.search_path, world);
    if let Ok(plans) = &planned {
        // What the statement really reads; a name may also be that of a common table expression.
        let read: BTreeSet<&str> = plans.iter().flat_map(|p| p.touched.sources()).map(|s| &**s).collect();
        relations.retain(|name| world.ruleset.source_of(name).is_none_or(|source| read.contains(source)));
        let known = |name: &&QualifiedName| world.ruleset.source_of(name).is_some_and(|source| read.contains(source));
        relations.extend(world.ruleset.registered().filter(known).cloned());
    }
    let now = SystemTime::now();
    let mut explained = Explained {
        user: caller.user.to_string(),
        project: caller.project.as_ref().map(ToString::to_string),
        relations: relations.iter().map(|name| world.ruleset.explain(caller, name, now)).collect(),
        sent: Vec::new(),
        refused: None,
    };
    match planned {
        Ok(plans) => {
            let sent = |plan: &Arc<Plan>| Sent {
                sql: world.ruleset.redact(plan.sealed.as_str()),
                notices: plan.notices.iter().map(|(_, notice)| notice.to_string()).collect(),
            };
            explained.sent = plans.iter().map(sent).collect();
        }
        Err(refusal) => {
            let error = refusal.to_string();
            explained.refused = Some(Refused { error, detail: refusal.detail, hint: refusal.hint });
        }
    }
    explained
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for relation in &self.relations {
            writeln!(f, "{relation}")?;
        }
        let Some(refused) = &self.refused else {
            writeln!(f, "sent to the warehouse")?;
            for sent in &self.sent {
                writeln!(f, "  {}", sent.sql)?;
                for notice in &sent.notices {
                    writeln!(f, "  notice: {notice}")?;
                }
            }
            return Ok(());
        };
        writeln!(f, "refused\n  {}", refused.error)?;
        for (title, line) in [("detail", &refused.detail), ("hint", &refused.hint)] {
            if let Some(line) = line {
                writeln!(f, "  {title}: {line}")?;
            }
        }
        Ok(())
    }
}

/// The relations a text names, found along the search path among what is registered. Only for showing: deciding is the planner's.
fn written(text: &str, search_path: &[String], world: &World) -> BTreeSet<QualifiedName> {
    let Ok(parsed) = sql::parse(text) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    let mut common = BTreeSet::new();
    for statement in &parsed.statements {
        let Ok(tree) = Tree::of(&statement.node) else { continue };
        tree.each(&mut |node| {
            let text = |field: &str| node.field(field).and_then(Tree::as_text).unwrap_or_default().to_owned();
            match node {
                Tree::Node("RangeVar", _) => {
                    names.insert((text("schemaname"), text("relname")));
                }
                Tree::Node("CommonTableExpr", _) => {
                    common.insert(text("ctename"));
                }
                _ => {}
            }
        });
    }
    let registered: BTreeSet<&QualifiedName> = world.ruleset.registered().collect();
    names
        .into_iter()
        .filter_map(|(schema, name)| {
            if !schema.is_empty() {
                return Some(QualifiedName { schema, name });
            }
            let candidates = search_path.iter().map(|schema| QualifiedName::new(schema, &name));
            let found = candidates.into_iter().find(|candidate| registered.contains(candidate));
            let unknown = || (!common.contains(&name)).then(|| QualifiedName::new("public", &name));
            found.or_else(unknown)
        })
        .collect()
}

/// A session that only asks.
pub(crate) struct Asked {
    world: Arc<World>,
    caller: Arc<Caller>,
    view: Arc<SessionView>,
}

impl Asked {
    pub(crate) fn new(world: &Arc<World>, caller: &Arc<Caller>) -> Self {
        let view = SessionView {
            search_path_text: "\"$user\", public".to_owned(),
            search_path: vec![caller.user.to_string(), "public".to_owned()],
            database: world.catalog.database.clone(),
            project: caller.project.as_deref().unwrap_or_default().to_owned(),
            user: String::new(),
            acts: Default::default(),
            longest: None,
            moves: false,
            scratch: Default::default(),
        };
        Self { world: Arc::clone(world), caller: Arc::clone(caller), view: Arc::new(view) }
    }
}

impl Progress for Asked {
    fn inputs(&self) -> Result<PlanInputs, Refusal> {
        Ok(PlanInputs {
            backend_pid: 0,
            param_types: Vec::new(),
            caller: Arc::clone(&self.caller),
            world: Arc::clone(&self.world),
            session: Arc::clone(&self.view),
        })
    }
    fn admit(&mut self, _: &Arc<Plan>) -> Result<(), Refusal> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::{Declared, Mask, SubscriptionKind};
    use crate::identity::Directory;
    use crate::policy::testing::{caller, catalog, data_policy, masking, person, rule, shared, subscription};
    use crate::policy::{Ruleset, Salts};

    fn world() -> Arc<World> {
        let policies = vec![
            subscription("anyone", SubscriptionKind::Anyone),
            data_policy("hash", vec![rule(masking("Discovered", Mask::Hash))]),
        ];
        let declared = Declared { data: vec![person()], policies: shared(policies), ..Declared::default() };
        let catalog = catalog();
        let (ruleset, _) = Ruleset::bind(&declared, "main", &catalog, &Salts::new(b"secret"));
        Arc::new(World {
            version: 1,
            catalog: Arc::new(catalog),
            ruleset: Arc::new(ruleset.settle(&[]).0),
            directory: Arc::new(Directory::default()),
            acknowledgements: Arc::default(),
            telling: Default::default(),
            sights: Default::default(),
        })
    }

    #[test]
    fn relations_predicates_and_the_text_are_told_without_salts() {
        let text = explain(&world(), &Arc::new(caller("ann")), "WITH e AS (SELECT 1) SELECT p.ssn FROM hr.person p, e");
        let data = serde_json::to_value(&text).unwrap();
        let text = text.to_string();
        assert!(text.starts_with("hr.person (data source hr.person): visible\n"), "{text}");
        assert!(text.contains("sent to the warehouse\n  WITH e AS"), "{text}");
        assert!(text.matches("<salt>").count() >= 3, "{text}");
        assert!(!text.contains("public.e"), "{text}");
        assert_eq!(data["relations"][0]["policyInfo"]["masked"][0]["actionType"], "Hash", "{data}");
        assert!(data["sent"][0]["sql"].as_str().unwrap().contains("<salt>") && data["refused"].is_null(), "{data}");
    }

    #[test]
    fn a_refusal_is_told_with_the_relations_named() {
        let text = explain(&world(), &Arc::new(caller("ann")), "SELECT * FROM nothing, hr.person").to_string();
        assert!(text.contains("public.nothing: not registered"), "{text}");
        assert!(text.contains("refused\n  relation \"nothing\" does not exist (42P01)"), "{text}");
    }

    /// Or every change of identities would stay in memory for as long as plans made before it do.
    #[test]
    fn kept_plans_do_not_keep_the_identities_they_were_made_under() {
        let (planner, sql) = (Planner::default(), "SELECT ssn FROM hr.person");
        let world = world();
        let mut asked = Asked::new(&world, &Arc::new(caller("ann")));
        let first = planner.plan_string(sql, &mut asked).unwrap();
        assert!(Arc::ptr_eq(&first[0], &planner.plan_string(sql, &mut asked).unwrap()[0]), "it is kept");
        let (left, directory) = (Arc::downgrade(&world), Arc::downgrade(&world.directory));
        drop((asked, first, world));
        assert!(left.upgrade().is_none() && directory.upgrade().is_none());
    }

    /// Or catalogs of yesterday would stay in memory until other plans take their room.
    #[test]
    fn what_was_planned_under_a_world_that_is_no_more_is_forgotten() {
        let (planner, sql) = (Planner::default(), "SELECT ssn FROM hr.person");
        let (old, new) = (world(), world());
        let plan = |world: &Arc<World>| {
            let mut asked = Asked::new(world, &Arc::new(caller("ann")));
            planner.plan_string(sql, &mut asked).unwrap().remove(0)
        };
        let (first, second) = (plan(&old), plan(&new));
        planner.keep_only([&*old, &*new].into_iter());
        assert!(Arc::ptr_eq(&first, &plan(&old)) && Arc::ptr_eq(&second, &plan(&new)), "both are in force");
        let left = Arc::downgrade(&old.catalog);
        drop((old, first));
        planner.keep_only(std::iter::once(&*new));
        assert!(left.upgrade().is_none() && Arc::ptr_eq(&second, &plan(&new)));
        drop((new, second));
        planner.keep_only(std::iter::empty());
        let told = format!("{planner:?}");
        assert!(told.contains("plans: 0") && told.matches("kept: 0").count() == 3, "{told}");
    }
}
