//! MERGE: what it is about is joined under the row rules, so that a hidden row is one that does not match; what its actions write is
//! checked with the values they assign, for it has no RETURNING before PostgreSQL 17.
//!
//! In: the statement. Out: its meaning, as for [`super::write`]. Must never: let an action write a row whose check would see another
//! value than the one stored.

use super::Resolver;
use super::expression::Type;
use super::from::{Left, check_names};
use super::scope::Scope;
use super::target::{Action, Check, RowValue, Verb};
use super::writable::{keeps_counts, looked_at, writable_column};
use super::write::Assigned;
use crate::catalog::effects::Change;
use crate::error::Refusal;
use crate::policy::decision::{RelationDecision, type_text};
use crate::sql::tree::Tree;
use crate::sql::{NodeEnum, pb};
use std::collections::BTreeMap;

impl Resolver<'_, '_> {
    pub(super) fn merge(&mut self, merge: &mut pb::MergeStmt, parent: Option<&Scope<'_>>) -> Result<(), Refusal> {
        if merge.returning_clause.is_some() {
            return Err(Refusal::unsupported("MERGE … RETURNING is not supported"));
        }
        let mut scope = Scope::below(parent);
        if let Some(with) = &mut merge.with_clause {
            self.with(with, &mut scope)?;
        }
        let (location, item) = self.target(merge.relation.as_ref(), Verb::Merge)?;
        let Some(source) = merge.source_relation.as_deref_mut() else {
            return Err(Refusal::internal("a MERGE without a source"));
        };
        let source = self.in_from(source, &scope, &Left::default(), true)?;
        check_names(std::slice::from_ref(&item), &source.items)?;
        // Actions for what does not match see the source alone.
        let mut alone = Scope::below(Some(&scope));
        alone.items.clone_from(&source.items);
        alone.merged.clone_from(&source.merged);
        let mut both = Scope::below(Some(&scope));
        both.items = std::iter::once(item).chain(source.items).collect();
        both.merged = source.merged;
        self.split(merge.join_condition.as_deref_mut(), &both, location)?;
        for (at, node) in merge.merge_when_clauses.iter_mut().enumerate() {
            let Some(NodeEnum::MergeWhenClause(when)) = &mut node.node else {
                return Err(Refusal::internal("a MERGE holds something else than WHEN"));
            };
            let matched = match pb::MergeMatchKind::try_from(when.match_kind).unwrap_or_default() {
                pb::MergeMatchKind::MergeWhenMatched => true,
                pb::MergeMatchKind::MergeWhenNotMatchedByTarget => false,
                pb::MergeMatchKind::MergeWhenNotMatchedBySource | pb::MergeMatchKind::Undefined => {
                    return Err(Refusal::unsupported("WHEN NOT MATCHED BY SOURCE is not supported"));
                }
            };
            self.action(when, if matched { &both } else { &alone }, at, location)?;
        }
        Ok(())
    }

    fn action(
        &mut self,
        when: &mut pb::MergeWhenClause,
        scope: &Scope<'_>,
        place: usize,
        location: i32,
    ) -> Result<(), Refusal> {
        let decision = self.decision_of(location)?;
        self.optional(&mut when.condition, scope)?;
        match pb::CmdType::try_from(when.command_type).unwrap_or_default() {
            pb::CmdType::CmdDelete => self.sight.keeps_referrers(&decision, Change::Deleted),
            pb::CmdType::CmdNothing => Ok(()),
            pb::CmdType::CmdUpdate => {
                let assigned = self.assign(&mut when.target_list, scope, location, true)?;
                let values: Vec<Option<&pb::Node>> = when.target_list.iter().map(value_of).collect();
                self.checked(&decision, &assigned, &values, false, scope, place, location)
            }
            pb::CmdType::CmdInsert => {
                for node in &mut when.target_list {
                    let Some(NodeEnum::ResTarget(target)) = &mut node.node else {
                        return Err(Refusal::internal("a column list holds something else"));
                    };
                    writable_column(&decision, &target.name, target.location)?;
                    for part in &mut target.indirection {
                        self.expression(part, scope)?;
                    }
                }
                self.each(&mut when.values, scope)?;
                let mut names: Vec<(String, bool)> = when.target_list.iter().filter_map(named).collect();
                if names.is_empty() && !when.values.is_empty() {
                    let implied = decision.columns.iter().take(when.values.len());
                    names = implied.map(|c| (c.name.clone(), false)).collect();
                    for (name, _) in &names {
                        writable_column(&decision, name, -1)?;
                    }
                    let columns = names.iter().map(|(name, _)| name.clone()).collect();
                    self.target_mut(location)?.implied.insert(place, columns);
                }
                keeps_counts(&decision, names.iter().map(|(name, _)| name.as_str()), self.sight.catalog)?;
                let default = |at: usize| {
                    matches!(when.values.get(at).map(|v| &v.node), Some(Some(NodeEnum::SetToDefault(_))) | None)
                };
                let assigned: Vec<Assigned> = names
                    .into_iter()
                    .enumerate()
                    .map(|(at, (name, in_parts))| Assigned { name, at, opaque: in_parts || default(at) })
                    .collect();
                let values: Vec<Option<&pb::Node>> = when.values.iter().map(Some).collect();
                self.checked(&decision, &assigned, &values, true, scope, place, location)
            }
            _ => Err(Refusal::unsupported("this action of MERGE is not supported")),
        }
    }

    /// Notes the check of the row that an action makes, if one is needed.
    #[allow(clippy::too_many_arguments)]
    fn checked(
        &mut self,
        decision: &RelationDecision,
        assigned: &[Assigned],
        values: &[Option<&pb::Node>],
        whole: bool,
        scope: &Scope<'_>,
        place: usize,
        location: i32,
    ) -> Result<(), Refusal> {
        if decision.rows.is_empty() {
            return Ok(());
        }
        let cannot = |why: &str| {
            let text = format!(
                "this action of MERGE on \"{}\", which has a row policy, is not supported: {why}",
                decision.logical.name
            );
            Err(Refusal::unsupported(text).with_hint("Write it as INSERT or UPDATE."))
        };
        let catalog = self.sight.catalog;
        let Some(relation) = decision.relation(catalog) else {
            return Err(Refusal::internal("a relation that is not in the catalog"));
        };
        let Some(looked_at) = looked_at(decision) else { return cannot("its rule looks at whole rows") };
        if catalog.fires_before(relation.oid) {
            return cannot("a trigger may change the row");
        }
        if relation.columns.iter().any(|c| c.generated && looked_at.contains(&c.name)) {
            return cannot("its rule looks at a generated column");
        }
        let of = |name: &str| assigned.iter().rev().find(|a| a.name == name);
        if !whole && !looked_at.iter().any(|name| of(name).is_some()) {
            return Ok(());
        }
        let mut row = BTreeMap::new();
        for name in &looked_at {
            let Some(column) = relation.columns.iter().find(|c| c.name == *name) else {
                return cannot("its rule looks at a column that is not there");
            };
            let type_sql = type_text(catalog, column.type_oid, column.typmod)
                .ok_or_else(|| Refusal::internal("a column of a type that is not there"))?;
            let value = match of(name) {
                Some(a) if a.opaque => return cannot("a column of its rule is not given one plain value"),
                Some(a) => RowValue::Assigned(a.at),
                None if !whole => RowValue::Old,
                None if column.has_default => return cannot("a column of its rule is left to its default"),
                None => RowValue::Null,
            };
            let masked = decision.columns.iter().any(|c| c.name == *name && c.mask.is_some());
            if matches!(value, RowValue::Assigned(_)) && masked && !whole {
                return cannot("a column of its rule is masked");
            }
            if let RowValue::Assigned(at) = value
                && values.get(at).copied().flatten().is_none_or(|v| self.is_volatile(v))
            {
                return cannot("a column of its rule is given a value that may differ each time");
            }
            row.insert(name.clone(), (value, type_sql));
        }
        let carrier = assigned.iter().find(|a| !a.opaque && values.get(a.at).copied().flatten().is_some());
        let Some(carrier) = carrier else { return cannot("it gives no column a plain value") };
        let Some(column) = relation.columns.iter().find(|c| c.name == carrier.name) else {
            return Err(Refusal::internal("a column that is not in the catalog"));
        };
        let mut value = values.get(carrier.at).copied().flatten().cloned().unwrap_or_default();
        let untyped = self.expression_again(&mut value, scope)?;
        let carrier_type = if untyped { type_text(catalog, column.type_oid, -1) } else { None };
        let check = self.check(Check::NewRow(decision.logical.name.clone()));
        let action = Action { check, at: carrier.at, carrier_type, row };
        self.target_mut(location)?.actions.insert(place, action);
        Ok(())
    }

    /// Whether a value is a literal or parameter, which takes its type from where it stands.
    fn expression_again(&mut self, value: &mut pb::Node, scope: &Scope<'_>) -> Result<bool, Refusal> {
        match &value.node {
            Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => {
                Ok(self.expression(value, scope)?.type_oid == Type::Literal)
            }
            _ => Ok(false),
        }
    }

    /// Whether an expression may give another value each time it is computed: by a function, or by rows that come in no certain order (a
    /// sample, a LIMIT).
    fn is_volatile(&self, value: &pb::Node) -> bool {
        let mut volatile = false;
        let Ok(tree) = Tree::of(value) else { return true };
        tree.each(&mut |t| match t {
            Tree::Node("FuncCall", _) => {
                let name = t.field("funcname").and_then(|n| n.strings().pop());
                let overloads = name.and_then(|n| self.sight.catalog.functions.get(n));
                volatile |= overloads.is_none_or(|all| all.iter().any(|f| f.volatility == 'v'));
            }
            Tree::Node("SubLink", _) => volatile = true,
            _ => {}
        });
        volatile
    }
}

fn value_of(node: &pb::Node) -> Option<&pb::Node> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
        _ => None,
    }
}

/// Name of a column of an INSERT, and whether only a part of it is given.
fn named(node: &pb::Node) -> Option<(String, bool)> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => Some((target.name.clone(), !target.indirection.is_empty())),
        _ => None,
    }
}
