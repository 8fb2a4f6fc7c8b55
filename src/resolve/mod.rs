//! Names to things: every relation, function, type and column reference of a statement gets its meaning, and the facts that decide
//! where a policy predicate may be flattened.
//!
//! In: a parsed SELECT and a [`Sight`]. Out: [`Resolved`], keyed by the byte location of the construct in the caller's text.
//! Must never: leave a relation, function or type unresolved: that is a refusal, not an `Option`.

mod alias;
mod calls;
mod expanded;
mod expression;
mod extremes;
mod from;
mod merge;
mod named;
mod names;
mod near;
mod needs;
mod operation;
mod own;
mod returning;
mod scope;
mod scratch;
mod scratch_write;
mod select;
mod sequence;
mod sight;
mod sublink;
mod target;
mod twice;
mod writable;
mod write;

pub use alias::is_alias;
use expression::is_steady;
pub use names::relation_written;
pub use near::is_clock;
pub use own::Personal;
pub use scratch::{UNKNOWN_COLLATION, resolve_alter, resolve_index, resolve_table};
pub use scratch_write::written;
pub use select::group_location;
pub use sight::{Sight, Visible};
pub use target::{Action, Check, Guard, Mention, NewRows, RowValue, Star, Target, Verb};
pub(crate) use writable::keeps_counts;

use crate::error::Refusal;
use crate::policy::kept::Listed;
use crate::policy::permit::Permitted;
use crate::sql::pb;
use crate::sql::template::Template;
use crate::sql::tree::Tree;
use crate::telemetry::{Stage, stages};
use crate::types::{Oid, QualifiedName};
use expression::Type;
use extremes::Extremes;
use needs::Needs;
use std::collections::{BTreeMap, BTreeSet};

/// What a statement's names mean.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Relations by the location of their RangeVar.
    pub relations: BTreeMap<i32, RelationUse>,
    /// RangeVars that name a CTE.
    pub ctes: BTreeSet<i32>,
    /// RangeVars that name one of the session's own temporary tables, those that a statement makes or changes included: they stand
    /// bare, in `pg_temp` and nowhere else.
    pub temporaries: BTreeSet<i32>,
    /// Column references that named a schema, by location: the reference without it.
    pub columns: BTreeMap<i32, Vec<String>>,
    /// Names a column that is nowhere to be found: the warehouse will say so.
    pub lacks_column: bool,
    /// Calls and casts that are replaced, by location.
    pub calls: BTreeMap<i32, Replacement>,
    /// Calls of functions outside `pg_catalog`, by location: each of them is vouched for.
    pub functions: BTreeMap<i32, QualifiedName>,
    /// Types outside `pg_catalog`, by location of the type name.
    pub types: BTreeMap<i32, QualifiedName>,
    /// EXPLAIN over the relations themselves: every one of them shows everything.
    pub bare: bool,
    /// Columns to append to a GROUP BY, keyed by the location of its first item: (alias, column).
    pub groups: BTreeMap<i32, Vec<(String, String)>>,
    /// Relations that are written, by the location of their RangeVar.
    pub targets: BTreeMap<i32, Target>,
    /// Column references to relations that are written, by location.
    pub mentions: BTreeMap<i32, Mention>,
    /// Unqualified column references in statements that write, which mean something else than what is written.
    pub others: BTreeSet<i32>,
    /// `*` and `t.*` in RETURNING, by location.
    pub stars: BTreeMap<i32, Vec<Star>>,
    /// A sequence is advanced or set.
    pub sequences: bool,
    /// What the warehouse is made to check row by row, in the order of their numbers.
    pub checks: Vec<Check>,
}

/// One mention of a protected relation.
#[derive(Debug)]
pub struct RelationUse {
    /// The permit.
    pub permitted: Permitted,
    /// Name under which the rest of the statement knows it.
    pub alias: String,
    /// Whether the policy view needs a barrier.
    pub barrier: bool,
    /// Whether columns are kept from the planner's statistics: it tries a caller's operators on common values of a column, those of
    /// hidden rows among them, and what they raise is told.
    pub unguessed: bool,
    /// Whether the planner must not make joins of the rules' sub-queries: the statement's least and greatest values of this relation alone
    /// may come from the ends of an index.
    pub row_by_row: bool,
    /// Columns that the view lists, of which the statement needs no others; `None` = all.
    pub listed: Option<Listed>,
    /// Conjuncts of the caller copied below the barrier, over [`crate::policy::decision::ROW_ALIAS`].
    pub pushed: Vec<pb::Node>,
}

/// What stands for a call or cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// A constant of a type of `pg_catalog`.
    Constant {
        /// Text of the value; `None` = NULL.
        value: Option<String>,
        /// Type name in `pg_catalog`.
        type_name: &'static str,
        /// Whether the type is an array of that type.
        array: bool,
    },
    /// An expression over `$1…$n`, the original arguments.
    Guard(Template),
}

/// Resolves one SELECT (or VALUES, TABLE) with everything below it.
///
/// # Errors
/// 42P01, 42501, 42883, 42704 for names; 0A000 for constructs that are not supported; all with the caller's position.
pub fn resolve(select: &mut pb::SelectStmt, sight: &Sight<'_>, params: &[Oid]) -> Result<Resolved, Refusal> {
    let picture = Tree::of(select)?;
    resolve_with_output(select, &picture, sight, params, BTreeMap::new()).map(|(resolved, _)| resolved)
}

/// Columns that a query gives, by name and type; `None` for what is not known.
pub type Output = Option<Vec<(String, Option<Oid>)>>;

/// As [`resolve`], by the query's picture, with the columns that the query gives: name and type, as far as they are known.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with_output(
    select: &mut pb::SelectStmt,
    picture: &Tree,
    sight: &Sight<'_>,
    params: &[Oid],
    configured: BTreeMap<i32, Replacement>,
) -> Result<(Resolved, Output), Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut resolver = Resolver::new(sight, params);
    resolver.configured = configured;
    resolver.raises = false;
    resolver.shown = alias::shown(select);
    resolver.repeated = repeated_params(picture);
    resolver.needs = Needs::of(picture);
    let output = resolver.select(select, None, None)?;
    let columns = output.columns.map(|c| c.into_iter().map(|c| (c.name, expanded::told(c.type_oid))).collect());
    Ok((resolver.finish(), columns))
}

/// Resolves one INSERT, UPDATE, DELETE or MERGE with everything below it, by its picture.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_write(
    node: &mut crate::sql::NodeEnum,
    picture: &Tree,
    sight: &Sight<'_>,
    params: &[Oid],
) -> Result<(Resolved, bool), Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut resolver = Resolver::new(sight, params);
    resolver.repeated = repeated_params(picture);
    resolver.needs = Needs::of(picture);
    let (_, returns) = resolver.write(node, None)?;
    Ok((resolver.finish(), returns))
}

/// Parameters that are mentioned more than once: the first mention in PostgreSQL's own order fixes the type for all.
fn repeated_params(statement: &Tree) -> BTreeSet<i64> {
    let (mut once, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    statement.each(&mut |t| {
        if let Tree::Node("ParamRef", _) = t
            && let Some(Tree::Int(number)) = t.field("number")
            && !once.insert(*number)
        {
            repeated.insert(*number);
        }
    });
    repeated
}

/// Resolves expressions that stand alone (arguments of EXECUTE).
///
/// # Errors
/// As [`resolve`].
pub fn resolve_expressions(nodes: &mut [pb::Node], sight: &Sight<'_>) -> Result<Resolved, Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut resolver = Resolver::new(sight, &[]);
    let scope = scope::Scope::root();
    for node in nodes {
        resolver.expression(node, &scope)?;
    }
    Ok(resolver.finish())
}

/// Resolves type names that stand alone (parameter types of PREPARE).
///
/// # Errors
/// As [`resolve`].
pub fn resolve_types(nodes: &[pb::Node], sight: &Sight<'_>) -> Result<(Resolved, Vec<Oid>), Refusal> {
    let _stage = stages::enter(Stage::Resolve);
    let mut resolver = Resolver::new(sight, &[]);
    let mut oids = Vec::new();
    for node in nodes {
        match &node.node {
            Some(crate::sql::NodeEnum::TypeName(name)) => {
                oids.push(resolver.plain_type_name(name)?.unwrap_or_default());
            }
            _ => return Err(Refusal::internal("a parameter type is not a type name")),
        }
    }
    Ok((resolver.finish(), oids))
}

/// The work in progress.
struct Resolver<'a, 's> {
    sight: &'a Sight<'s>,
    params: &'a [Oid],
    resolved: Resolved,
    /// Uses whose rows may meet a caller's expression that can raise.
    exposed: BTreeSet<i32>,
    /// Such an expression was met whose relations are not known: every use is exposed.
    all_exposed: bool,
    /// The next call stands in FROM itself.
    function_in_from: bool,
    /// The star or row that comes next is given to the caller as it is: nothing asks for the names of its columns.
    row_is_listed: bool,
    /// How many queries the one being resolved is inside of, itself included.
    depth: usize,
    /// The cast to an OID alias type that comes next is to give an OID.
    wants_oid: bool,
    /// What becomes of the calls of `set_config` that are permitted, by place.
    configured: BTreeMap<i32, Replacement>,
    /// Casts of literals to OID aliases in the outermost SELECT list.
    shown: BTreeSet<i32>,
    /// Parameters mentioned more than once.
    repeated: BTreeSet<i64>,
    /// Columns that are needed.
    needs: Needs,
    /// Something in the statement may raise, be it on groups or in the order of rows; or it was not looked at whether.
    raises: bool,
    /// Uses of which their query asks for the least and greatest values alone.
    extremes: BTreeMap<i32, Extremes>,
    /// Masked columns that the condition over a relation alone looks at more than once, by use.
    twice: BTreeMap<i32, BTreeSet<String>>,
    /// Total conjuncts by use, ready to be copied below a barrier.
    pushable: BTreeMap<i32, Vec<pb::Node>>,
}

impl<'a, 's> Resolver<'a, 's> {
    fn new(sight: &'a Sight<'s>, params: &'a [Oid]) -> Self {
        Self {
            sight,
            params,
            resolved: Resolved::default(),
            exposed: BTreeSet::new(),
            all_exposed: false,
            function_in_from: false,
            wants_oid: false,
            row_is_listed: false,
            depth: 0,
            configured: BTreeMap::new(),
            shown: BTreeSet::new(),
            repeated: BTreeSet::new(),
            needs: Needs::default(),
            raises: true,
            extremes: BTreeMap::new(),
            twice: BTreeMap::new(),
            pushable: BTreeMap::new(),
        }
    }

    /// Takes the barrier decision for every use.
    ///
    /// A caller's conjunct that never raises gives no signal wherever the planner runs it, so a relation all of whose conjuncts are
    /// total stays flat. Otherwise the relation gets a barrier, with its own total conjuncts copied below so that indexes still serve.
    /// A policy predicate with a sub-query may become a join, below which the planner runs scan conditions, expressions below outer joins,
    /// and even the caller's ORDER BY (an early sort under a Gather Merge): such a relation gets the barrier unless nothing in the whole
    /// statement can raise, wherever it is run.
    /// A policy predicate that may itself raise is always evaluated behind a barrier and before everything of the caller's.
    /// A long mask gets it so that the planner computes it once a row and does not copy it to every place that mentions the column, and so
    /// does any mask that a condition looks at twice, unless others would be computed of rows that it leaves out.
    /// A view of the warehouse hides the rows that its own conditions and joins leave out: it is taken like a row policy with a sub-query.
    /// A query source is both: its own conditions hide rows, may hold anything, and are not looked into. It always gets the barrier and
    /// nothing is copied below.
    fn finish(mut self) -> Resolved {
        std::mem::take(&mut self.needs).settle(&mut self.resolved.relations);
        let calm = self.is_calm();
        for (location, relation) in &mut self.resolved.relations {
            let decision = relation.permitted.decision();
            let rows = &decision.rows;
            let query = decision.query.is_some();
            // The sets of the virtual catalog are long, and cost less than the indexes that a barrier would keep from serving.
            let long = decision.masks_at_length() && !decision.is_of_system();
            let long = long || self.twice.get(location).is_some_and(|twice| only_these(relation, twice));
            if rows.is_empty() && !query && !long && !decision.is_view(self.sight.catalog) {
                continue;
            }
            let own_total = rows.iter().all(|r| r.total);
            let joins = decision.is_view(self.sight.catalog);
            let sub_query = rows.iter().any(|r| r.has_subquery) && !calm;
            let joined = joins || sub_query || !decision.companions.is_empty();
            let exposed = self.all_exposed || self.exposed.contains(location);
            relation.barrier = !own_total || joined || exposed || query || long;
            relation.unguessed = exposed;
            let ends = self.extremes.get(location).is_some_and(|ends| ends.are_ends(decision, self.sight.catalog));
            relation.row_by_row = !relation.barrier && rows.iter().any(|r| r.has_subquery) && ends;
            #[cfg(feature = "disarm")]
            {
                use crate::disarm::{Defence, is_off};
                relation.barrier &= !is_off(Defence::Barrier);
                relation.unguessed &= !is_off(Defence::Guess);
            }
            if relation.barrier && own_total && !query {
                relation.pushed = self.pushable.remove(location).unwrap_or_default();
            }
        }
        self.resolved
    }
}

impl Resolver<'_, '_> {
    /// Whether nothing of the statement raises on any row of any relation, hidden ones included: neither what the caller wrote nor what
    /// policies, views of the warehouse and query sources compute.
    fn is_calm(&self) -> bool {
        !self.raises
            && !self.all_exposed
            && self.exposed.is_empty()
            && self.resolved.targets.is_empty()
            && !self.resolved.relations.values().any(|relation| self.may_raise(relation))
    }

    /// Whether something may raise that stands in a relation's policy view or behind it.
    fn may_raise(&self, relation: &RelationUse) -> bool {
        let decision = relation.permitted.decision();
        decision.is_of_system()
            || decision.may_raise()
            || decision.query.is_some()
            || decision.is_view(self.sight.catalog)
    }
}

/// Whether the masks that a view computes are of these columns and no others.
fn only_these(relation: &RelationUse, columns: &BTreeSet<String>) -> bool {
    let listed = |at: usize| relation.listed.as_ref().is_none_or(|listed| listed.get(at) == Some(&true));
    let mut all = relation.permitted.decision().columns.iter().enumerate();
    let constant = |mask: &Option<crate::policy::decision::MaskDecision>| mask.as_ref().is_none_or(|m| m.constant);
    !columns.is_empty() && all.all(|(at, c)| constant(&c.mask) || !listed(at) || columns.contains(&c.name))
}

#[cfg(test)]
mod tests;
