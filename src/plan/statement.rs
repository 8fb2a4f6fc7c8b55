//! One statement to its plan, by kind.
//!
//! INVARIANT(total-match): the kinds that are supported are listed; every other is refused by name.

use super::bounds;
use super::planner::Kept;
use super::settings::{self, Settable};
use super::touched::Touched;
use super::{Effect, ErrorPolicy, Leaves, Plan, PlanInputs, PositionMap, Quotable};
use crate::catalog::RelationKind;
use crate::catalog::own::is_asked_for;
use crate::error::{Family, Refusal, SqlState};
use crate::identity::impersonation::signed_name;
use crate::policy::decision::RelationDecision;
use crate::resolve::{self, Personal, Replacement, Resolved, Sight, Visible};
use crate::rewrite;
use crate::seal::{self, Sealed};
use crate::sql::tree::{Pictured, Tree};
use crate::sql::{NodeEnum, Statement, build, names, pb};
use crate::types::{Oid, quote_ident};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Plans one statement of `text`.
pub(super) fn plan(
    statement: &Statement,
    text: &str,
    inputs: &PlanInputs,
    kept: &Kept,
    now: SystemTime,
) -> Result<Plan, Refusal> {
    let visible = Visible::new();
    let world = &inputs.world;
    let personal = Personal {
        directory: &world.directory,
        acknowledgements: &world.acknowledgements,
        telling: world.telling,
        listed: is_asked_for(text, &inputs.session.search_path),
        backend_pid: inputs.backend_pid,
    };
    let sight = Sight::new(&world.catalog, &world.ruleset, &inputs.caller, &inputs.session, now, personal, &visible)
        .keeping(&world.sights);
    // The system's plain types need no look at what the caller sees.
    let odd = |oid: &&Oid| oid.0 != 0 && !PLAIN_TYPES.contains(&oid.0);
    if let Some(oid) = inputs.param_types.iter().filter(odd).find(|oid| !sight.parameter_type_is_fine(**oid)) {
        return Err(Refusal::new(
            Family::Denied,
            SqlState::UNDEFINED_OBJECT,
            format!("type with OID {oid} does not exist for parameters"),
        ));
    }
    let own_text = text.get(statement.range.clone()).unwrap_or(text);
    // A look at the catalog that comes too early may have found too little.
    let caller = &Pictured::of(&statement.node)?;
    let plan = Kind { statement, caller, own_text, inputs, sight: &sight, kept }.plan();
    plan.map_err(|refusal| sight.catalog_is_current().err().unwrap_or(refusal))
}

/// Parameter types that drivers declare most: bool, bytea, int8, int2, int4, text, float4, float8, bpchar, varchar, date, time, timestamp,
/// timestamptz, numeric, uuid, json, jsonb (pg_type.dat).
const PLAIN_TYPES: &[u32] =
    &[16, 17, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950, 114, 3802];

/// What a setting comes to.
pub(super) enum Setting {
    /// The warehouse's session gets it.
    Forwarded(Effect),
    /// The longest `statement_timeout`, in milliseconds.
    Longest(u32),
    /// The name of an application that may sign it, and what it signs.
    Name(Option<String>),
    /// One that the proxy holds, and its value.
    Own(&'static str, Option<String>),
}

pub(super) struct Kind<'a> {
    pub(super) statement: &'a Statement,
    /// Its node, to hold against what is made of it.
    pub(super) caller: &'a Pictured<'a>,
    own_text: &'a str,
    pub(super) inputs: &'a PlanInputs,
    pub(super) sight: &'a Sight<'a>,
    pub(super) kept: &'a Kept,
}

impl Kind<'_> {
    fn plan(&self) -> Result<Plan, Refusal> {
        use NodeEnum as N;
        match &self.statement.node {
            N::SelectStmt(select) => {
                if let Some(plan) = self.select_into(select)? {
                    return Ok(plan);
                }
                if let Some(plan) = self.configure(select)? {
                    return Ok(plan);
                }
                self.query(self.caller, select, BTreeMap::new(), Effect::None)
            }
            N::PrepareStmt(prepare) => self.prepare(prepare),
            N::ExecuteStmt(execute) => self.execute(execute),
            N::DeallocateStmt(d) => {
                let name = (!d.isall && !d.name.is_empty()).then(|| d.name.clone());
                self.utility(Effect::Deallocate(name), false)
            }
            N::DeclareCursorStmt(declare) => self.declare(declare),
            N::FetchStmt(fetch) => {
                let effect = Effect::Fetch { name: fetch.portalname.clone() };
                self.utility(effect, !fetch.ismove).map(cautious)
            }
            N::ClosePortalStmt(close) => {
                let name = (!close.portalname.is_empty()).then(|| close.portalname.clone());
                self.utility(Effect::CloseCursor(name), false)
            }
            N::InsertStmt(_) | N::UpdateStmt(_) | N::DeleteStmt(_) | N::MergeStmt(_) => self.write(),
            N::LockStmt(lock) => self.lock(lock),
            N::TruncateStmt(truncate) => self.truncate(truncate),
            N::CopyStmt(copy) if copy.is_from => self.copy_from(copy),
            N::CopyStmt(copy) => self.copy(copy),
            N::ExplainStmt(explain) => self.explain(explain),
            N::TransactionStmt(transaction) => self.transaction(transaction),
            N::VariableSetStmt(set) => self.set(set),
            N::VariableShowStmt(show) => self.show(show),
            N::DiscardStmt(discard) => match pb::DiscardMode::try_from(discard.target).unwrap_or_default() {
                pb::DiscardMode::DiscardAll => self.utility(Effect::DiscardAll, false),
                pb::DiscardMode::DiscardPlans | pb::DiscardMode::DiscardSequences => self.utility(Effect::None, false),
                pb::DiscardMode::DiscardTemp => self.discard_temp(),
                pb::DiscardMode::Undefined => Err(self.refused()),
            },
            N::CreateStmt(create) => self.create_table(create),
            N::CreateTableAsStmt(create) => self.create_table_as(create),
            N::IndexStmt(index) => self.create_index(index),
            N::AlterTableStmt(alter) => self.alter_table(alter),
            N::RenameStmt(rename) => self.rename(rename),
            N::DropStmt(drop) => self.drop_table(drop),
            N::VacuumStmt(analyze) => self.analyze(analyze),
            // Nobody can LISTEN, so this changes nothing; drivers send it when they reset a session.
            N::UnlistenStmt(_) => self.utility(Effect::None, false),
            _ => Err(self.refused()),
        }
    }

    pub(super) fn refused(&self) -> Refusal {
        let kind = names::kind_name(&self.statement.node);
        let at = i32::try_from(self.statement.range.start).unwrap_or(-1);
        Refusal::unsupported(format!("{kind} is not supported"))
            .with_hint("Supported are SELECT, VALUES, TABLE, EXPLAIN, INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY … TO STDOUT and FROM STDIN, cursors, prepared statements, temporary tables, transactions, SHOW and SET of client settings.")
            .at(at)
    }

    /// A query by itself, whose picture is given: resolved, rewritten, sealed. Calls of `set_config` in it are replaced as was decided.
    pub(super) fn query(
        &self,
        caller: &Pictured<'_>,
        select: &pb::SelectStmt,
        replaced: BTreeMap<i32, Replacement>,
        effect: Effect,
    ) -> Result<Plan, Refusal> {
        let (mut tree, picture, params) = (select.clone(), caller.picture(), &self.inputs.param_types);
        let (resolved, gives) = resolve::resolve_with_output(&mut tree, picture, self.sight, params, replaced)?;
        rewrite::rewrite(&mut tree, &resolved, &self.kept.bodies)?;
        let plan = self.sealed(caller, NodeEnum::SelectStmt(Box::new(tree)), &resolved, effect, true)?;
        Ok(Plan { gives: gives.map(Into::into), ..plan })
    }

    /// A query without parameters inside a statement that gives no rows of its own, or gives them as COPY does.
    fn held_query(
        &self,
        select: &pb::SelectStmt,
        effect: Effect,
        hold: impl Fn(pb::SelectStmt) -> NodeEnum,
    ) -> Result<Plan, Refusal> {
        let mut tree = select.clone();
        let picture = Tree::of(select)?;
        let (resolved, gives) = resolve::resolve_with_output(&mut tree, &picture, self.sight, &[], BTreeMap::new())?;
        rewrite::rewrite(&mut tree, &resolved, &self.kept.bodies)?;
        let caller = hold(select.clone());
        let plan = self.sealed(&Pictured::of(&caller)?, hold(tree), &resolved, effect, false)?;
        Ok(Plan { gives: gives.map(Into::into), ..plan })
    }

    pub(super) fn sealed(
        &self,
        caller: &Pictured<'_>,
        rewritten: NodeEnum,
        resolved: &Resolved,
        effect: Effect,
        returns_rows: bool,
    ) -> Result<Plan, Refusal> {
        self.sight.catalog_is_current()?;
        self.keeps_names(resolved)?;
        let (mentioned, most) = (resolved.relations.len(), self.kept.relations);
        if mentioned > most {
            let text =
                format!("statement is too complex: it mentions {mentioned} relations, at most {most} are allowed");
            return Err(Refusal::new(Family::Unsupported, SqlState::STATEMENT_TOO_COMPLEX, text)
                .with_hint("Split it, or ask an administrator to raise limits.relations."));
        }
        let (sealed, positions) = seal::seal(
            caller,
            rewritten,
            resolved,
            &self.inputs.world.catalog,
            &self.kept.views,
            &|use_, with_children| rewrite::body(&self.kept.bodies, use_, with_children, None),
        )?;
        let read = resolved.relations.values().map(|r| r.permitted.decision());
        let decisions: Vec<_> = read.chain(resolved.targets.values().map(|t| t.permitted.decision())).collect();
        let mut notices = Vec::new();
        for decision in decisions.iter().filter(|d| !d.unmet_purposes.is_empty()) {
            let purposes: Vec<_> = decision.unmet_purposes.iter().map(|p| quote_ident(p)).collect();
            let message = format!(
                "data source \"{}\" shows no rows outside its purposes: {}",
                decision.source,
                purposes.join(", ")
            );
            if !notices.iter().any(|(source, _)| *source == decision.source) {
                notices.push((Arc::clone(&decision.source), message));
            }
        }
        Ok(Plan {
            sealed,
            holds_pid: self.sight.pid_was_told(),
            leaves: self.leaves(resolved, &effect),
            effect,
            tag: None,
            positions,
            errors: ErrorPolicy {
                // Schema and table fields name the relation as the warehouse does.
                hides: decisions.iter().any(|d| d.hides_anything() || d.logical != d.remote || self.tells_of_others(d))
                    || resolved
                        .targets
                        .values()
                        .any(|t| !super::write::whole(t.permitted.decision(), &self.inputs.world.catalog)),
                canonical_data_errors: decisions.iter().any(|d| d.may_raise() || self.may_raise_beneath(d)),
            },
            notices,
            instead: None,
            touched: Arc::new(Touched::of(resolved, caller.picture(), self.inputs.world.catalog.version)),
            returns_rows,
            quotable: Quotable {
                calls: Arc::new(resolved.functions.values().cloned().collect()),
                own_sql: Arc::clone(&self.inputs.world.catalog.own_sql),
            },
            gives: None,
            writing: self.writing(resolved),
            world_version: self.inputs.world.version,
            lacks_column: resolved.lacks_column,
            table: self.only_table(resolved),
            repeated: None,
            valid_until: self.sight.looked_at().chain(decisions.iter().copied()).filter_map(|d| d.valid_until).min(),
        })
    }

    /// The table that a statement is about, when it mentions one relation, once, and that is a plain table.
    fn only_table(&self, resolved: &Resolved) -> Option<Oid> {
        let read = resolved.relations.values().map(|r| &r.permitted);
        let mut uses = read.chain(resolved.targets.values().map(|t| &t.permitted));
        let decision = uses.next()?.decision();
        let catalog = &self.inputs.world.catalog;
        let relation = decision.relation(catalog)?;
        let plain = relation.kind == RelationKind::Table && catalog.children(relation.oid).is_empty();
        let alone = uses.next().is_none() && resolved.temporaries.is_empty();
        (plain && alone && decision.query.is_none() && !decision.is_of_system()).then_some(relation.oid)
    }

    /// What a statement may leave in the session: nothing where it only reads tables, by what comes with the server. Of that no function
    /// which callers may call leaves anything, those of sequences aside.
    fn leaves(&self, resolved: &Resolved, effect: &Effect) -> Leaves {
        let catalog = &self.inputs.world.catalog;
        let plain = |decision: &RelationDecision| {
            decision.relation(catalog).is_some_and(|relation| match relation.kind {
                RelationKind::Table | RelationKind::Partitioned | RelationKind::MaterializedView => {
                    !relation.row_security && !relation.opaque && decision.query.is_none()
                }
                RelationKind::View | RelationKind::Foreign => false,
            })
        };
        let keeps = matches!(effect, Effect::Set { .. } | Effect::Acting { .. } | Effect::Scratch(_));
        let reads = resolved.relations.values().all(|r| plain(r.permitted.decision()));
        let writes = resolved.sequences || !resolved.targets.is_empty() || !resolved.temporaries.is_empty();
        let calls = !resolved.functions.is_empty() || !resolved.types.is_empty();
        if keeps || writes || calls || !reads { Leaves::Traces } else { Leaves::Nothing }
    }

    /// Whether errors may be about what stands behind the relation: a view's tables, another server.
    fn tells_of_others(&self, decision: &RelationDecision) -> bool {
        let catalog = &self.inputs.world.catalog;
        decision.is_view(catalog) || decision.relation(catalog).is_some_and(|r| r.far)
    }

    /// Whether reading the relation, policies aside, may raise on a row that is hidden: by the relation's own conditions, or by policy.
    fn may_raise_beneath(&self, decision: &RelationDecision) -> bool {
        let catalog = &self.inputs.world.catalog;
        let hidden = decision.hides_anything() || decision.is_view(catalog);
        hidden && decision.relation(catalog).is_some_and(|r| r.may_raise)
    }

    /// A statement without anything to rewrite.
    pub(super) fn utility(&self, effect: Effect, returns_rows: bool) -> Result<Plan, Refusal> {
        self.sealed(self.caller, self.caller.node().clone(), &Resolved::default(), effect, returns_rows)
    }

    /// A statement the proxy makes itself.
    pub(super) fn own(&self, sealed: Sealed, effect: Effect, tag: Option<&'static str>) -> Plan {
        Plan {
            sealed,
            holds_pid: self.sight.pid_was_told(),
            leaves: if effect == Effect::None { Leaves::Nothing } else { Leaves::Traces },
            effect,
            returns_rows: tag.is_some(),
            quotable: Quotable::default(),
            gives: None,
            writing: None,
            tag,
            positions: PositionMap::default(),
            errors: ErrorPolicy::default(),
            notices: Vec::new(),
            instead: None,
            touched: Arc::new(Touched::read(std::iter::empty(), self.inputs.world.catalog.version)),
            world_version: self.inputs.world.version,
            lacks_column: false,
            valid_until: None,
            table: None,
            repeated: None,
        }
    }

    fn prepare(&self, prepare: &pb::PrepareStmt) -> Result<Plan, Refusal> {
        let (types, params) = resolve::resolve_types(&prepare.argtypes, self.sight)?;
        let mut argtypes = prepare.argtypes.clone();
        rewrite::rewrite_types(&mut argtypes, &types);
        let Some(mut tree) = prepare.query.as_deref().and_then(|n| n.node.clone()) else {
            return Err(Refusal::internal("a PREPARE of nothing"));
        };
        let mut gives = None;
        let mut resolved = match &mut tree {
            NodeEnum::SelectStmt(select) => {
                let picture = Tree::of(select)?;
                let (resolved, output) =
                    resolve::resolve_with_output(select, &picture, self.sight, &params, BTreeMap::new())?;
                gives = output.map(Into::into);
                rewrite::rewrite(select, &resolved, &self.kept.bodies)?;
                resolved
            }
            written => {
                let picture = Tree::of(written)?;
                let (resolved, _) = resolve::resolve_write(written, &picture, self.sight, &params)?;
                rewrite::rewrite_write(written, &resolved, &self.kept.bodies)?;
                resolved
            }
        };
        resolved.types.extend(types.types);
        let mut rewritten = prepare.clone();
        rewritten.argtypes = argtypes;
        rewritten.query = Some(Box::new(build::node(tree)));
        let effect = Effect::Prepare { name: prepare.name.clone(), sql: self.own_text.to_owned() };
        let plan = self.sealed(self.caller, NodeEnum::PrepareStmt(Box::new(rewritten)), &resolved, effect, false)?;
        Ok(Plan { gives, ..plan })
    }

    fn execute(&self, execute: &pb::ExecuteStmt) -> Result<Plan, Refusal> {
        let mut rewritten = execute.clone();
        let resolved = resolve::resolve_expressions(&mut rewritten.params, self.sight)?;
        rewrite::rewrite_expressions(&mut rewritten.params, &resolved, &self.kept.bodies)?;
        let effect = Effect::Execute { name: execute.name.clone() };
        self.sealed(self.caller, NodeEnum::ExecuteStmt(rewritten), &resolved, effect, true).map(cautious)
    }

    fn declare(&self, declare: &pb::DeclareCursorStmt) -> Result<Plan, Refusal> {
        let Some(NodeEnum::SelectStmt(select)) = declare.query.as_deref().and_then(|n| n.node.as_ref()) else {
            return Err(Refusal::unsupported("DECLARE is supported for SELECT"));
        };
        let effect = Effect::Declare { name: declare.portalname.clone(), sql: self.own_text.to_owned() };
        self.held_query(select, effect, |s| {
            let mut held = declare.clone();
            held.query = Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(s)))));
            NodeEnum::DeclareCursorStmt(Box::new(held))
        })
    }

    /// `COPY relation TO STDOUT` becomes `COPY (SELECT … FROM relation) TO STDOUT`.
    fn copy(&self, copy: &pb::CopyStmt) -> Result<Plan, Refusal> {
        if copy.is_program || !copy.filename.is_empty() {
            return Err(Refusal::denied("permission denied to COPY to a file or program")
                .with_hint("COPY to STDOUT works for everyone; psql's \\copy command does too."));
        }
        for option in &copy.options {
            copy_option(option)?;
        }
        let select = match (&copy.relation, copy.query.as_deref().and_then(|n| n.node.as_ref())) {
            (None, Some(NodeEnum::SelectStmt(select))) => (**select).clone(),
            (None, _) => return Err(Refusal::unsupported("COPY is supported for SELECT")),
            (Some(relation), _) => {
                let mut select = build::select();
                let columns = names::parts(&copy.attlist).unwrap_or_default();
                let kind = self.sight.copied(relation, &columns)?;
                if columns.is_empty() {
                    let star = build::node(NodeEnum::AStar(pb::AStar {}));
                    let fields = pb::ColumnRef { fields: vec![star], location: -1 };
                    select.target_list.push(build::target(build::node(NodeEnum::ColumnRef(fields)), ""));
                }
                for column in columns {
                    select.target_list.push(build::target(build::column(&[column]), ""));
                }
                let mut relation = relation.clone();
                // COPY of a plain table reads that table alone, not its children.
                if kind == Some(crate::catalog::RelationKind::Table) {
                    relation.inh = false;
                }
                select.from_clause.push(build::node(NodeEnum::RangeVar(relation)));
                select
            }
        };
        let options: Vec<pb::Node> = copy.options.clone();
        self.held_query(&select, Effect::None, |s| {
            NodeEnum::CopyStmt(Box::new(pb::CopyStmt {
                relation: None,
                query: Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(s))))),
                attlist: Vec::new(),
                is_from: false,
                is_program: false,
                filename: String::new(),
                options: options.clone(),
                where_clause: None,
            }))
        })
    }

    fn transaction(&self, transaction: &pb::TransactionStmt) -> Result<Plan, Refusal> {
        use pb::TransactionStmtKind as K;
        let name = || transaction.savepoint_name.clone();
        let effect = match K::try_from(transaction.kind).unwrap_or_default() {
            K::TransStmtBegin | K::TransStmtStart => Effect::Begin,
            K::TransStmtCommit => Effect::Commit,
            K::TransStmtRollback => Effect::Rollback,
            K::TransStmtSavepoint => Effect::Savepoint(name()),
            K::TransStmtRelease => Effect::Release(name()),
            K::TransStmtRollbackTo => Effect::RollbackTo(name()),
            K::TransStmtPrepare | K::TransStmtCommitPrepared | K::TransStmtRollbackPrepared | K::Undefined => {
                return Err(Refusal::unsupported("two-phase commit is not supported"));
            }
        };
        self.utility(effect, false)
    }

    fn set(&self, set: &pb::VariableSetStmt) -> Result<Plan, Refusal> {
        use pb::VariableSetKind as K;
        let kind = K::try_from(set.kind).unwrap_or_default();
        match kind {
            K::VarResetAll => return self.utility(Effect::ResetAll, false),
            K::VarSetMulti => {
                return match set.name.as_str() {
                    "TRANSACTION" => self.utility(Effect::None, false),
                    "SESSION CHARACTERISTICS" => self.characteristics(set),
                    _ => Err(Refusal::unsupported("SET TRANSACTION SNAPSHOT is not supported")),
                };
            }
            K::VarSetCurrent | K::Undefined => return Err(Refusal::unsupported("SET … FROM CURRENT is not supported")),
            K::VarSetValue | K::VarSetDefault | K::VarReset => {}
        }
        let tag = (kind == K::VarReset).then_some("RESET");
        if self.is_ones_own_role(set)? {
            let sealed = seal::set_own("sqlveil.nothing", None, set.is_local);
            return Ok(Plan { returns_rows: false, ..self.own(sealed, Effect::None, tag) });
        }
        match self.setting(set)? {
            Setting::Forwarded(effect) => self.utility(effect, false),
            Setting::Longest(longest) => self.longest_timeout(set, longest),
            Setting::Name(None) => self.utility(Effect::Acting { signed: None, local: set.is_local }, false),
            Setting::Name(signed) => {
                // The signature is nobody else's business, and what it says is not known to be true yet.
                let sealed = seal::set_own(settings::USER, Some("signed"), set.is_local);
                let effect = Effect::Acting { signed, local: set.is_local };
                Ok(Plan { returns_rows: false, ..self.own(sealed, effect, None) })
            }
            Setting::Own(name, value) => {
                let sealed = seal::set_own(name, value.as_deref(), set.is_local);
                let effect = Effect::Set { name, value, local: set.is_local };
                Ok(Plan { tag, returns_rows: false, ..self.own(sealed, effect, None) })
            }
        }
    }

    /// SET SESSION CHARACTERISTICS: `default_transaction_isolation` and the like by another name.
    fn characteristics(&self, set: &pb::VariableSetStmt) -> Result<Plan, Refusal> {
        if !self.inputs.session.moves {
            return self.utility(self.forwarded(self.own_text, false, false), false);
        }
        let name = |node: &pb::Node| match &node.node {
            Some(NodeEnum::DefElem(item)) => Some(format!("default_{}", item.defname)),
            _ => None,
        };
        match set.args.as_slice() {
            [one] => match name(one) {
                Some(name) => self.utility(self.forwarded(&name, false, false), false),
                None => Err(self.refused()),
            },
            _ => Ok(Plan { leaves: Leaves::Ties, ..self.utility(Effect::None, false)? }),
        }
    }

    /// Whether a SET asks for the role that the session has anyway: poolers and drivers do when they clear it.
    fn is_ones_own_role(&self, set: &pb::VariableSetStmt) -> Result<bool, Refusal> {
        let back = set.args.is_empty();
        Ok(match set.name.to_ascii_lowercase().as_str() {
            "role" => back || set_value(&set.args)?.plain.eq_ignore_ascii_case("none"),
            "session_authorization" => back,
            _ => false,
        })
    }

    /// What a SET of one value, or of the default, comes to.
    ///
    /// # Errors
    /// 42501 and 0A000 for what may not be set, 22023 out of bounds.
    pub(super) fn setting(&self, set: &pb::VariableSetStmt) -> Result<Setting, Refusal> {
        let value = match pb::VariableSetKind::try_from(set.kind).unwrap_or_default() {
            pb::VariableSetKind::VarSetValue => Some(set_value(&set.args)?),
            _ => None,
        };
        if let Some(value) = &value {
            bounds::planning(&set.name, &value.plain)?;
            if let Some(longest) = self.inputs.session.longest
                && set.name.eq_ignore_ascii_case("statement_timeout")
                && bounds::statement_timeout(&value.plain, longest)? == bounds::Timeout::Longest
            {
                return Ok(Setting::Longest(longest));
            }
        }
        if self.inputs.session.acts.signs_name && set.name.eq_ignore_ascii_case("application_name") {
            return Ok(Setting::Name(value.as_ref().and_then(|v| signed_name(&v.plain)).map(str::to_owned)));
        }
        if set.name.eq_ignore_ascii_case("application_name")
            && value.as_ref().is_some_and(|v| signed_name(&v.plain).is_some())
        {
            return Err(Refusal::denied("permission denied to act for another user by the name of the application")
                .with_hint("This login does not sign names, and the warehouse is not to see a signature."));
        }
        match settings::settable(&set.name, value.as_ref().map(|v| v.plain.as_str())) {
            // It has that value in every session.
            Settable::Pinned if self.inputs.session.moves => Ok(Setting::Forwarded(Effect::None)),
            Settable::Forward | Settable::Pinned => {
                Ok(Setting::Forwarded(self.forwarded(&set.name, value.is_none(), set.is_local)))
            }
            Settable::Own(name) => {
                Ok(Setting::Own(name, value.map(|v| if name == "search_path" { v.list } else { v.plain })))
            }
            Settable::PinnedElsewhere => Err(Refusal::unsupported(format!(
                "parameter \"{}\" is pinned and cannot be changed to that value",
                set.name
            ))),
            Settable::Unknown => Err(Refusal::denied(format!("permission denied to set parameter \"{}\"", set.name))
                .with_hint("Only settings that shape the client's own output may be set.")),
        }
    }

    /// What becomes of a setting that is passed on.
    fn forwarded(&self, name: &str, back: bool, local: bool) -> Effect {
        let name = name.to_ascii_lowercase();
        let session = &self.inputs.session;
        // Those of the transaction end with it.
        let ends = name.starts_with("transaction_") || (local && !session.acts.others);
        if ends || !(session.acts.others || session.moves) {
            return Effect::None;
        }
        Effect::Forwarded { name, back, local }
    }

    /// `SET statement_timeout = 0` under a bound.
    fn longest_timeout(&self, set: &pb::VariableSetStmt, longest: u32) -> Result<Plan, Refusal> {
        let longest_value = i32::try_from(longest).unwrap_or(i32::MAX);
        let bounded = pb::VariableSetStmt { args: vec![build::integer_constant(longest_value)], ..set.clone() };
        let node = NodeEnum::VariableSetStmt(bounded);
        let effect = self.forwarded(&set.name, false, set.is_local);
        let plan = self.sealed(&Pictured::of(&node)?, node.clone(), &Resolved::default(), effect, false)?;
        let notice = format!("statement_timeout is set to {longest} ms, the longest that is allowed here");
        Ok(Plan { notices: vec![("statement_timeout".into(), notice)], ..plan })
    }

    fn show(&self, show: &pb::VariableShowStmt) -> Result<Plan, Refusal> {
        let lower = show.name.to_ascii_lowercase();
        if let Some(value) = self.inputs.session.own_setting(&lower, &self.inputs.caller.user) {
            return Ok(self.own(seal::show_own(&lower, &value), Effect::None, Some("SHOW")));
        }
        if settings::may_show(&lower) {
            return self.utility(Effect::None, true);
        }
        if lower == "all" {
            return Err(Refusal::unsupported("SHOW ALL is not supported").with_hint("Read pg_settings instead."));
        }
        Err(Refusal::denied(format!("permission denied to examine \"{}\"", show.name)))
    }
}

/// The statement's own data is not known here: errors are treated as if everything were hidden.
pub(super) fn cautious(plan: Plan) -> Plan {
    Plan { errors: ErrorPolicy { hides: true, canonical_data_errors: true }, ..plan }
}

/// A SET value as one text, and as an identifier list.
struct SetValue {
    plain: String,
    list: String,
}

fn set_value(args: &[pb::Node]) -> Result<SetValue, Refusal> {
    let mut texts = Vec::new();
    for arg in args {
        let constant = match &arg.node {
            Some(NodeEnum::AConst(c)) => c,
            // `SET TIME ZONE INTERVAL '…'`.
            Some(NodeEnum::TypeCast(cast)) => match cast.arg.as_deref().and_then(|a| a.node.as_ref()) {
                Some(NodeEnum::AConst(c)) => c,
                _ => return Err(Refusal::unsupported("this SET value is not supported")),
            },
            _ => return Err(Refusal::unsupported("this SET value is not supported")),
        };
        texts.push(match &constant.val {
            Some(pb::a_const::Val::Sval(s)) => s.sval.clone(),
            Some(pb::a_const::Val::Ival(i)) => i.ival.to_string(),
            Some(pb::a_const::Val::Fval(f)) => f.fval.clone(),
            Some(pb::a_const::Val::Boolval(b)) => if b.boolval { "on" } else { "off" }.to_owned(),
            Some(pb::a_const::Val::Bsval(_)) | None => {
                return Err(Refusal::unsupported("this SET value is not supported"));
            }
        });
    }
    let list: Vec<String> = texts.iter().map(|t| settings::path_element(t)).collect();
    Ok(SetValue { plain: texts.join(", "), list: list.join(", ") })
}

/// Options of COPY … TO STDOUT. Their values are checked before anything is printed: the printer expects what the server would accept,
/// and goes down with the process on anything else.
pub(super) fn copy_option(option: &pb::Node) -> Result<(), Refusal> {
    let Some(NodeEnum::DefElem(option)) = &option.node else {
        return Err(Refusal::internal("a COPY option of another kind"));
    };
    let name = option.defname.as_str();
    let value = option.arg.as_deref().and_then(|a| a.node.as_ref());
    let wrong = |text: String| Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, text));
    let unsupported =
        || Err(Refusal::unsupported(format!("COPY option \"{name}\" is not supported")).at(option.location));
    match (name, value) {
        ("format", Some(NodeEnum::String(s))) => match s.sval.as_str() {
            "text" | "csv" | "binary" => Ok(()),
            other => {
                let text = format!("COPY format \"{other}\" not recognized");
                Err(Refusal::new(Family::Caller, SqlState::INVALID_PARAMETER_VALUE, text).at(option.location))
            }
        },
        ("delimiter" | "null" | "quote" | "escape", Some(NodeEnum::String(_))) => Ok(()),
        ("header", None | Some(NodeEnum::Boolean(_))) => Ok(()),
        ("header", Some(NodeEnum::Integer(i))) if matches!(i.ival, 0 | 1) => Ok(()),
        ("header", Some(NodeEnum::String(s)))
            if ["true", "false", "on", "off"].contains(&s.sval.to_ascii_lowercase().as_str()) =>
        {
            Ok(())
        }
        ("header", Some(_)) => wrong("header requires a Boolean value or \"match\"".to_owned()),
        ("force_quote", Some(NodeEnum::AStar(_))) => Ok(()),
        ("force_quote", Some(NodeEnum::List(columns))) if names::parts(&columns.items).is_some() => Ok(()),
        ("encoding", Some(NodeEnum::String(s))) => match s.sval.to_ascii_lowercase().as_str() {
            "utf8" | "utf-8" => Ok(()),
            _ => unsupported(),
        },
        ("format" | "delimiter" | "null" | "quote" | "escape" | "encoding", None) => {
            wrong(format!("{name} requires a parameter"))
        }
        _ => unsupported(),
    }
}
