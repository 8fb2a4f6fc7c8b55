//! Pass *targets*: statements that write.
//!
//! The relation that is written is `"s"."t" AS _sv`. A masked column that the caller mentions becomes its mask. Row rules `P` stand
//! before the caller's condition: conjuncts that never raise beside them, the others behind a barrier,
//! `P AND total AND CASE WHEN P THEN rest ELSE FALSE END`. What is written is checked where RETURNING shows it,
//! `CASE WHEN P THEN item WHEN current_setting('sqlveil.check_0') = '' THEN NULL END`: that setting does not exist, and the error of asking
//! for it tells which check failed.

use super::{Rewriter, view::Body};
use crate::error::Refusal;
use crate::policy::decision::{ROW_ALIAS, RelationDecision};
use crate::resolve::{Action, Check, Guard, Mention, NewRows, RowValue, Star, Target};
use crate::sql::{NodeEnum, build, names, parse_expression, pb};
use std::sync::Arc;

impl Rewriter<'_> {
    pub(super) fn write(&self, node: &mut NodeEnum) -> Result<(), Refusal> {
        if self.write_temporary(node)? {
            return Ok(());
        }
        match node {
            NodeEnum::InsertStmt(insert) => self.insert(insert),
            NodeEnum::UpdateStmt(update) => {
                self.with(&mut update.with_clause)?;
                let target = self.target_of(update.relation.as_ref())?;
                self.assignments(&mut update.target_list, target)?;
                update.from_clause.iter_mut().try_for_each(|n| self.in_from(n))?;
                self.guarded(&mut update.where_clause, target)?;
                self.returning(&mut update.returning_clause, target)?;
                stand_bare(&mut update.relation, target)
            }
            NodeEnum::DeleteStmt(delete) => {
                self.with(&mut delete.with_clause)?;
                let target = self.target_of(delete.relation.as_ref())?;
                delete.using_clause.iter_mut().try_for_each(|n| self.in_from(n))?;
                self.guarded(&mut delete.where_clause, target)?;
                self.returning(&mut delete.returning_clause, target)?;
                stand_bare(&mut delete.relation, target)
            }
            NodeEnum::MergeStmt(merge) => self.merge(merge),
            _ => Err(Refusal::internal("a statement that writes of another kind")),
        }
    }

    fn target_of(&self, relation: Option<&pb::RangeVar>) -> Result<&Target, Refusal> {
        // INVARIANT(default-deny): no permit, no write.
        let target = relation.and_then(|r| self.resolved.targets.get(&r.location));
        target.ok_or_else(|| Refusal::internal("a relation that is written was not resolved"))
    }

    fn insert(&self, insert: &mut pb::InsertStmt) -> Result<(), Refusal> {
        self.with(&mut insert.with_clause)?;
        let target = self.target_of(insert.relation.as_ref())?;
        for column in &mut insert.cols {
            self.parts(column)?;
        }
        if let Some(implied) = &target.columns {
            insert.cols = implied.iter().map(|name| column_item(name)).collect();
        }
        match insert.select_stmt.as_deref_mut().and_then(|n| n.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select)?,
            Some(_) => return Err(Refusal::internal("an INSERT from something unexpected")),
            None => {}
        }
        if let Some(conflict) = insert.on_conflict_clause.as_deref_mut() {
            if let Some(infer) = conflict.infer.as_deref_mut() {
                for element in &mut infer.index_elems {
                    if let Some(NodeEnum::IndexElem(element)) = &mut element.node {
                        self.boxed(&mut element.expr)?;
                    }
                }
                self.boxed(&mut infer.where_clause)?;
            }
            self.assignments(&mut conflict.target_list, target)?;
            self.boxed(&mut conflict.where_clause)?;
            if let Some(check) = target.conflict {
                let yes = || parse_expression("TRUE");
                let own = conflict.where_clause.take().map_or_else(yes, |n| Ok(*n))?;
                let rules = self.rules(target)?;
                conflict.where_clause =
                    Some(Box::new(build::case(vec![(rules, own), (failed(check)?, build::null())], None)));
            }
        }
        self.returning(&mut insert.returning_clause, target)?;
        stand_bare(&mut insert.relation, target)
    }

    fn merge(&self, merge: &mut pb::MergeStmt) -> Result<(), Refusal> {
        self.with(&mut merge.with_clause)?;
        let target = self.target_of(merge.relation.as_ref())?;
        if let Some(source) = merge.source_relation.as_deref_mut() {
            self.in_from(source)?;
        }
        self.guarded(&mut merge.join_condition, target)?;
        for (place, node) in merge.merge_when_clauses.iter_mut().enumerate() {
            let Some(NodeEnum::MergeWhenClause(when)) = &mut node.node else {
                return Err(Refusal::internal("a MERGE holds something else than WHEN"));
            };
            self.boxed(&mut when.condition)?;
            if let Some(implied) = target.implied.get(&place) {
                when.target_list = implied.iter().map(|name| column_item(name)).collect();
            }
            let update = when.command_type == pb::CmdType::CmdUpdate as i32;
            if update {
                self.assignments(&mut when.target_list, target)?;
            } else {
                for column in &mut when.target_list {
                    self.parts(column)?;
                }
                when.values.iter_mut().try_for_each(|n| self.expression(n))?;
            }
            let Some(action) = target.actions.get(&place) else { continue };
            let mut values: Vec<Option<&mut pb::Node>> = if update {
                when.target_list.iter_mut().map(value_of).collect()
            } else {
                when.values.iter_mut().map(Some).collect()
            };
            self.act(&mut values, action, target)?;
        }
        stand_bare(&mut merge.relation, target)
    }

    /// Puts the check of the row that an action makes around one of its values.
    fn act(&self, values: &mut [Option<&mut pb::Node>], action: &Action, target: &Target) -> Result<(), Refusal> {
        let lost = || Refusal::internal("an action lost a value");
        let mut rules = self.rules(target)?;
        if !action.row.is_empty() {
            let mut row = build::select();
            for (name, (value, type_sql)) in &action.row {
                let value = match value {
                    RowValue::Assigned(at) => values.get(*at).and_then(|v| v.as_deref()).cloned().ok_or_else(lost)?,
                    RowValue::Old => build::column(&[ROW_ALIAS, name]),
                    RowValue::Null => build::null(),
                };
                row.target_list.push(build::target(typed(value, type_sql)?, name));
            }
            let mut check = build::select();
            check.target_list.push(build::target(rules, ""));
            check.from_clause.push(build::node(NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
                lateral: false,
                subquery: Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(row))))),
                alias: Some(build::alias(ROW_ALIAS)),
            }))));
            rules = build::node(NodeEnum::SubLink(Box::new(pb::SubLink {
                sub_link_type: pb::SubLinkType::ExprSublink as i32,
                subselect: Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(check))))),
                location: -1,
                ..pb::SubLink::default()
            })));
        }
        let carrier = values.get_mut(action.at).and_then(Option::as_deref_mut).ok_or_else(lost)?;
        let mut value = std::mem::take(carrier);
        if let Some(type_sql) = &action.carrier_type {
            value = typed(value, type_sql)?;
        }
        *carrier = build::case(vec![(rules, value), (failed(action.check)?, build::null())], None);
        Ok(())
    }

    /// A column reference to the relation that is written.
    pub(super) fn mentioned(&self, mention: &Mention) -> Result<pb::Node, Refusal> {
        let target = self.resolved.targets.get(&mention.target);
        let column = target.and_then(|t| t.permitted.decision().columns.iter().find(|c| c.name == mention.column));
        let column = column.ok_or_else(|| Refusal::internal("a column that is not there was mentioned"))?;
        match &column.mask {
            Some(mask) => parse_expression(&mask.sql),
            None => Ok(build::column(&[ROW_ALIAS, &column.name])),
        }
    }

    /// Expressions in the brackets of a target.
    fn parts(&self, node: &mut pb::Node) -> Result<(), Refusal> {
        let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
            return Err(Refusal::internal("a column list holds something else"));
        };
        target.indirection.iter_mut().try_for_each(|n| self.expression(n))
    }

    /// SET.
    fn assignments(&self, list: &mut [pb::Node], target: &Target) -> Result<(), Refusal> {
        for node in list {
            self.parts(node)?;
            let Some(NodeEnum::ResTarget(set)) = &mut node.node else { continue };
            let (location, Some(value)) = (set.location, set.val.as_deref_mut()) else {
                return Err(Refusal::internal("a target without a value"));
            };
            self.expression(value)?;
            if let Some(guard) = target.guards.get(&location) {
                let own = std::mem::take(value);
                *value = self.differing(own, guard, target.permitted.decision())?;
            }
        }
        Ok(())
    }

    /// A value for a masked column, unless it is the mask.
    fn differing(&self, value: pb::Node, guard: &Guard, decision: &RelationDecision) -> Result<pb::Node, Refusal> {
        let mask = decision.columns.iter().find(|c| c.name == guard.column).and_then(|c| c.mask.as_ref());
        let mask = mask.ok_or_else(|| Refusal::internal("a guard of a column without a mask"))?;
        let text = |node: pb::Node| if guard.as_text { build::cast(node, "text") } else { node };
        let own = typed(value.clone(), &guard.type_sql)?;
        let differs = build::node(NodeEnum::AExpr(Box::new(pb::AExpr {
            kind: pb::AExprKind::AexprDistinct as i32,
            name: vec![build::string("=")],
            lexpr: Some(Box::new(text(own.clone()))),
            rexpr: Some(Box::new(text(parse_expression(&mask.sql)?))),
            location: -1,
            ..pb::AExpr::default()
        })));
        let kept = if guard.untyped { own } else { value };
        Ok(build::case(vec![(differs, kept), (failed(guard.check)?, build::null())], None))
    }

    /// The row rules, all of them.
    fn rules(&self, target: &Target) -> Result<pb::Node, Refusal> {
        let rules = build::all_of(self.conditions(target)?.conditions.clone());
        rules.ok_or_else(|| Refusal::internal("a check without a rule"))
    }

    fn conditions(&self, target: &Target) -> Result<Arc<Body>, Refusal> {
        let decision = target.permitted.decision();
        self.bodies.get(decision, 0, || Body::of(decision, false))
    }

    /// A condition on rows that are written.
    fn guarded(&self, condition: &mut Option<Box<pb::Node>>, target: &Target) -> Result<(), Refusal> {
        let rows = &target.permitted.decision().rows;
        if rows.is_empty() {
            return self.boxed(condition);
        }
        let mut conjuncts = Vec::new();
        if let Some(condition) = condition.take() {
            flatten(*condition, &mut conjuncts);
        }
        conjuncts.iter_mut().try_for_each(|n| self.expression(n))?;
        if conjuncts.len() != target.split.len() {
            return Err(Refusal::internal("a condition that was split otherwise"));
        }
        let (mut total, mut rest) = (Vec::new(), Vec::new());
        for (conjunct, never_raises) in conjuncts.into_iter().zip(&target.split) {
            if *never_raises { total.push(conjunct) } else { rest.push(conjunct) }
        }
        let rules = self.conditions(target)?;
        let rules = rules.conditions.iter().zip(rows);
        // A sub-query beside the others could become a join above them.
        let first = rules.filter(|(_, row)| rest.is_empty() || !row.has_subquery).map(|(rule, _)| rule.clone());
        let mut all: Vec<pb::Node> = first.chain(total).collect();
        if let Some(rest) = build::all_of(rest) {
            all.push(build::case(vec![(self.rules(target)?, rest)], Some(build::no())));
        }
        *condition = build::all_of(all).map(Box::new);
        Ok(())
    }

    /// RETURNING, with stars taken apart and the check of new rows.
    fn returning(&self, clause: &mut Option<pb::ReturningClause>, target: &Target) -> Result<(), Refusal> {
        if let Some(clause) = clause.as_mut() {
            let mut exprs = Vec::new();
            for mut node in std::mem::take(&mut clause.exprs) {
                match star_location(&node).and_then(|l| self.resolved.stars.get(&l)) {
                    Some(stars) => {
                        for star in stars {
                            exprs.push(self.star(star)?);
                        }
                    }
                    None => {
                        self.target(&mut node)?;
                        exprs.push(node);
                    }
                }
            }
            clause.exprs = exprs;
        }
        let Some(NewRows { check, at, type_sql }) = &target.new_rows else { return Ok(()) };
        let rules = self.rules(target)?;
        let (Some(at), Some(clause)) = (at, clause.as_mut()) else {
            let checked = build::case(vec![(rules, build::null()), (failed(*check)?, build::null())], None);
            *clause = Some(pb::ReturningClause { options: Vec::new(), exprs: vec![build::target(checked, "")] });
            return Ok(());
        };
        let Some(NodeEnum::ResTarget(item)) = clause.exprs.get_mut(*at).and_then(|n| n.node.as_mut()) else {
            return Err(Refusal::internal("the item that carries a check is not there"));
        };
        let value = item.val.take().map(|v| *v).ok_or_else(|| Refusal::internal("a target without a value"))?;
        if item.name.is_empty() {
            item.name = names::figure_column_name(Some(&value));
        }
        let null = || match type_sql {
            Some(type_sql) => typed(build::null(), type_sql),
            None => Ok(build::null()),
        };
        let otherwise = type_sql.is_some().then(null).transpose()?;
        item.val = Some(Box::new(build::case(vec![(rules, value), (failed(*check)?, null()?)], otherwise)));
        Ok(())
    }

    fn star(&self, star: &Star) -> Result<pb::Node, Refusal> {
        Ok(match star {
            Star::Target(mention) => {
                let value = self.mentioned(mention)?;
                let plain = matches!(value.node, Some(NodeEnum::ColumnRef(_)));
                build::target(value, if plain { "" } else { mention.column.as_str() })
            }
            Star::Column(item, column) => build::target(build::column(&[item, column]), ""),
            Star::Item(item) => {
                let fields = vec![build::string(item), build::node(NodeEnum::AStar(pb::AStar {}))];
                build::target(build::node(NodeEnum::ColumnRef(pb::ColumnRef { fields, location: -1 })), "")
            }
        })
    }
}

/// The relation under its name in the warehouse.
fn stand_bare(relation: &mut Option<pb::RangeVar>, target: &Target) -> Result<(), Refusal> {
    let relation = relation.as_mut().ok_or_else(|| Refusal::internal("a statement that writes to nothing"))?;
    let remote = &target.permitted.decision().remote;
    *relation = pb::RangeVar {
        catalogname: String::new(),
        schemaname: remote.schema.clone(),
        relname: remote.name.clone(),
        inh: relation.inh,
        relpersistence: "p".to_owned(),
        alias: Some(build::alias(ROW_ALIAS)),
        location: relation.location,
    };
    Ok(())
}

fn column_item(name: &str) -> pb::Node {
    build::node(NodeEnum::ResTarget(Box::new(pb::ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: None,
        location: -1,
    })))
}

fn value_of(node: &mut pb::Node) -> Option<&mut pb::Node> {
    match &mut node.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref_mut(),
        _ => None,
    }
}

/// `(value)::type`.
fn typed(value: pb::Node, type_sql: &str) -> Result<pb::Node, Refusal> {
    let mut cast = parse_expression(&format!("NULL::{type_sql}"))?;
    match &mut cast.node {
        Some(NodeEnum::TypeCast(cast)) => cast.arg = Some(Box::new(value)),
        _ => return Err(Refusal::internal("a type that is not one")),
    }
    Ok(cast)
}

/// Asks for the setting that does not exist.
fn failed(check: usize) -> Result<pb::Node, Refusal> {
    parse_expression(&format!("pg_catalog.current_setting('{}') = ''", Check::setting(check)))
}

/// Conjuncts, as the seal and resolution take a condition apart.
fn flatten(condition: pb::Node, into: &mut Vec<pb::Node>) {
    match condition.node {
        Some(NodeEnum::BoolExpr(and)) if and.boolop == pb::BoolExprType::AndExpr as i32 => {
            and.args.into_iter().for_each(|part| flatten(part, into));
        }
        _ => into.push(condition),
    }
}

/// The location of a star that is a whole item.
fn star_location(node: &pb::Node) -> Option<i32> {
    let Some(NodeEnum::ResTarget(target)) = &node.node else { return None };
    match target.val.as_deref().and_then(|v| v.node.as_ref()) {
        Some(NodeEnum::ColumnRef(c)) => Some(c.location),
        _ => None,
    }
}
