//! Statements that write, held against what may be sent: taking the documented additions away gives the caller's tree.
//!
//! In: the caller's and the sealed statement. Out: a verdict. Must never: trust the rewriter or a number of a check; every added
//! expression is made again from the decision, as text.

use super::Broken;
use super::compare::{Comparison, Verdict, expression, flatten, same};
use super::inventory::location;
use crate::policy::decision::{ColumnDecision, ROW_ALIAS, RelationDecision};
use crate::resolve::{Action, Check, Guard, Mention, RowValue, Star, Target, Verb};
use crate::sql::tree::Tree;
use crate::types::quote_ident;
use std::collections::BTreeSet;

fn broken<T>(place: &str) -> Result<T, Broken> {
    Err(Broken::at(place))
}

fn list<'t>(tree: &'t Tree, field: &str) -> &'t [Tree] {
    tree.field(field).map_or(&[], Tree::as_list)
}

fn text<'t>(tree: &'t Tree, field: &str) -> &'t str {
    tree.field(field).and_then(Tree::as_text).unwrap_or_default()
}

fn part<'t>(tree: &'t Tree, field: &str) -> Result<&'t Tree, Broken> {
    tree.field(field).ok_or_else(|| Broken::at("a field that is not there"))
}

/// A node under its expected kind.
fn kind<'t>(tree: &'t Tree, kind: &str) -> Result<&'t Tree, Broken> {
    match tree.unwrap_node() {
        Some((found, inner)) if found == kind => Ok(inner),
        _ => Err(Broken::at(format!("{kind} expected"))),
    }
}

/// `CASE WHEN … THEN … [WHEN … THEN …] [ELSE …] END` without a test value.
struct Case<'t> {
    arms: Vec<(&'t Tree, &'t Tree)>,
    default: Option<&'t Tree>,
}

fn case(tree: &Tree) -> Result<Case<'_>, Broken> {
    let inner = kind(tree, "CaseExpr")?;
    if !is_nothing(inner.field("arg")) {
        return broken("a CASE with a test value");
    }
    let mut arms = Vec::new();
    for arm in list(inner, "args") {
        let when = kind(arm, "CaseWhen")?;
        arms.push((part(when, "expr")?, part(when, "result")?));
    }
    let default = inner.field("defresult").filter(|d| !is_nothing(Some(d)));
    Ok(Case { arms, default })
}

fn is_nothing(tree: Option<&Tree>) -> bool {
    matches!(tree, None | Some(Tree::Nothing))
}

/// The failure of a check, word for word.
fn fails(tree: &Tree, check: usize) -> Verdict {
    let expected = expression(&format!("pg_catalog.current_setting('{}') = ''", Check::setting(check)))?;
    if same(&expected, tree) { Ok(()) } else { broken("a check that fails otherwise") }
}

fn is_expression(tree: &Tree, sql: &str) -> Verdict {
    if same(&expression(sql)?, tree) { Ok(()) } else { broken("an added expression differs") }
}

/// The row rules, all of them and nothing else.
fn rules(decision: &RelationDecision, tree: &Tree) -> Verdict {
    let mut found = Vec::new();
    flatten(tree, &mut found);
    let mut found = found.into_iter();
    for row in &decision.rows {
        one_rule(&row.sql, &mut found)?;
    }
    if found.next().is_none() && !decision.rows.is_empty() { Ok(()) } else { broken("row rules differ") }
}

fn one_rule<'t>(sql: &str, found: &mut impl Iterator<Item = &'t Tree>) -> Verdict {
    let rule = expression(sql)?;
    let mut wanted = Vec::new();
    flatten(&rule, &mut wanted);
    for want in wanted {
        if !found.next().is_some_and(|have| same(want, have)) {
            return broken("a row rule differs");
        }
    }
    Ok(())
}

/// Columns of the row that its rules look at.
fn looked_at(decision: &RelationDecision) -> Result<BTreeSet<String>, Broken> {
    let mut names = BTreeSet::new();
    for row in &decision.rows {
        expression(&row.sql)?.each(&mut |t| {
            if let Tree::Node("ColumnRef", _) = t
                && let [ROW_ALIAS, name] = t.field("fields").map(Tree::strings).unwrap_or_default().as_slice()
            {
                names.insert((*name).to_owned());
            }
        });
    }
    Ok(names)
}

fn column<'d>(decision: &'d RelationDecision, name: &str) -> Result<&'d ColumnDecision, Broken> {
    let found = decision.columns.iter().find(|c| c.name == name);
    found.ok_or_else(|| Broken::at("a column outside the dictionary"))
}

impl<'r> Comparison<'r> {
    fn written(&self, statement: &Tree) -> Result<&'r Target, Broken> {
        let at = statement.field("relation").and_then(location);
        let target = at.and_then(|l| self.resolved.targets.get(&l));
        target.ok_or_else(|| Broken::at("a statement that writes without a permit"))
    }

    /// Compares with the bare relation in sight.
    fn beside<T>(&mut self, look: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        let before = std::mem::replace(&mut self.bare, true);
        let verdict = look(self);
        self.bare = before;
        verdict
    }

    /// The relation under its own name in the warehouse and our alias.
    fn stands_bare(&mut self, target: &Target, caller: &Tree, sealed: &Tree, alias: Option<&str>) -> Verdict {
        let remote = &target.permitted.decision().remote;
        if !target.permitted.decision().write {
            return broken("a relation that may not be written");
        }
        let named = text(sealed, "catalogname").is_empty()
            && text(sealed, "schemaname") == remote.schema
            && text(sealed, "relname") == remote.name
            && text(caller, "relname") == target.permitted.decision().logical.name
            && caller.field("inh") == sealed.field("inh")
            && text(sealed, "relpersistence") == "p";
        let given = sealed.field("alias").filter(|a| !is_nothing(Some(a)));
        let aliased = match (alias, given) {
            (None, None) => true,
            (Some(alias), Some(given)) => text(given, "aliasname") == alias && list(given, "colnames").is_empty(),
            _ => false,
        };
        if named && aliased { Ok(()) } else { broken("another relation is written") }
    }

    fn bare_relation(&mut self, target: &Target, c: &Tree, s: &Tree) -> Verdict {
        self.stands_bare(target, part(c, "relation")?, part(s, "relation")?, Some(ROW_ALIAS))
    }

    /// A relation that is named alone: of TRUNCATE.
    pub(super) fn named(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        match location(caller).and_then(|l| self.resolved.targets.get(&l)) {
            Some(target) => self.stands_bare(target, caller, sealed, None),
            None => self.unwrapped(caller, sealed),
        }
    }

    pub(super) fn copy(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        if caller.field("is_from") != Some(&Tree::Bool(true)) {
            return self.fields(caller, sealed, &[]);
        }
        self.fields(caller, sealed, &["relation", "attlist"])?;
        let target = self.written(caller)?;
        self.stands_bare(target, part(caller, "relation")?, part(sealed, "relation")?, None)?;
        let decision = target.permitted.decision();
        let plain = decision.rows.is_empty()
            && caller.field("is_program") == Some(&Tree::Bool(false))
            && text(caller, "filename").is_empty()
            && is_nothing(caller.field("where_clause"));
        if !plain {
            return broken("a COPY FROM of another form");
        }
        let (written, sent) = (part(caller, "attlist")?.strings(), part(sealed, "attlist")?.strings());
        let fits = if written.is_empty() {
            // All but generated columns, which cannot be copied into.
            let mut columns = decision.columns.iter().map(|c| c.name.as_str());
            !sent.is_empty() && sent.iter().all(|s| columns.any(|c| c == *s))
        } else {
            sent == written && sent.iter().all(|s| decision.columns.iter().any(|c| c.name == *s))
        };
        if fits { Ok(()) } else { broken("a COPY of other columns") }
    }

    pub(super) fn insert(&mut self, c: &Tree, s: &Tree) -> Verdict {
        let target = self.written(c)?;
        self.fields(c, s, &["relation", "cols", "on_conflict_clause", "returning_clause"])?;
        self.bare_relation(target, c, s)?;
        self.columns(target.columns.as_deref(), target.permitted.decision(), list(c, "cols"), list(s, "cols"))?;
        self.beside(|this| {
            this.conflict(target, part(c, "on_conflict_clause")?, part(s, "on_conflict_clause")?)?;
            this.returning(target, c, s)
        })?;
        let unchecked = !target.permitted.decision().rows.is_empty() && target.new_rows.is_none();
        if unchecked { broken("new rows are not checked") } else { Ok(()) }
    }

    /// A column list: the caller's, or the first columns of the dictionary.
    fn columns(&mut self, implied: Option<&[String]>, decision: &RelationDecision, c: &[Tree], s: &[Tree]) -> Verdict {
        for item in s {
            column(decision, text(kind(item, "ResTarget")?, "name"))?;
        }
        let Some(implied) = implied else {
            if c.len() != s.len() {
                return broken("a column list differs");
            }
            return c.iter().zip(s).try_for_each(|(c, s)| self.nodes(c, s));
        };
        let first = s.len() == implied.len()
            && s.len() <= decision.columns.len()
            && s.iter().zip(&decision.columns).all(|(s, c)| {
                kind(s, "ResTarget").is_ok_and(|t| text(t, "name") == c.name && list(t, "indirection").is_empty())
            });
        if c.is_empty() && first { Ok(()) } else { broken("an implied column list differs") }
    }

    fn conflict(&mut self, target: &Target, c: &Tree, s: &Tree) -> Verdict {
        if is_nothing(Some(c)) {
            return if is_nothing(Some(s)) { Ok(()) } else { broken("a conflict clause was added") };
        }
        self.fields(c, s, &["target_list", "where_clause"])?;
        self.assignments(target, list(c, "target_list"), list(s, "target_list"))?;
        let updates = !list(c, "target_list").is_empty();
        let (own, sent) = (part(c, "where_clause")?, part(s, "where_clause")?);
        let Some(check) = target.conflict else {
            if updates && !target.permitted.decision().rows.is_empty() {
                return broken("rows in conflict are not checked");
            }
            return self.nodes(own, sent);
        };
        let sent = case(sent)?;
        let ([(shown, kept), (failed, null)], None) = (sent.arms.as_slice(), sent.default) else {
            return broken("a conflict's condition of another form");
        };
        rules(target.permitted.decision(), shown)?;
        fails(failed, check)?;
        is_expression(null, "NULL")?;
        if is_nothing(Some(own)) { is_expression(kept, "TRUE") } else { self.nodes(own, kept) }
    }

    /// UPDATE and DELETE.
    pub(super) fn update(&mut self, c: &Tree, s: &Tree) -> Verdict {
        let target = self.written(c)?;
        self.fields(c, s, &["relation", "target_list", "where_clause", "returning_clause"])?;
        self.bare_relation(target, c, s)?;
        self.beside(|this| {
            let (assigned, sent) = (list(c, "target_list"), list(s, "target_list"));
            this.assignments(target, assigned, sent)?;
            this.guarded(target, part(c, "where_clause")?, part(s, "where_clause")?)?;
            let looked_at = looked_at(target.permitted.decision())?;
            let sets = assigned.iter().any(|t| kind(t, "ResTarget").is_ok_and(|t| looked_at.contains(text(t, "name"))));
            if sets && target.new_rows.is_none() {
                return broken("new rows are not checked");
            }
            this.returning(target, c, s)
        })
    }

    /// SET: a masked column only behind its guard.
    fn assignments(&mut self, target: &Target, c: &[Tree], s: &[Tree]) -> Verdict {
        if c.len() != s.len() {
            return broken("SET of other columns");
        }
        let decision = target.permitted.decision();
        for (c, s) in c.iter().zip(s) {
            let (c, s) = (kind(c, "ResTarget")?, kind(s, "ResTarget")?);
            self.fields(c, s, &["val"])?;
            let column = column(decision, text(c, "name"))?;
            let (own, sent) = (part(c, "val")?, part(s, "val")?);
            let default = matches!(own.unwrap_node(), Some(("SetToDefault", _)));
            match location(c).and_then(|l| target.guards.get(&l)) {
                Some(guard) if guard.column == column.name => self.differing(guard, column, own, sent)?,
                None if column.mask.is_none() || default => self.nodes(own, sent)?,
                _ => return broken("a masked column is written without its guard"),
            }
        }
        Ok(())
    }

    fn differing(&mut self, guard: &Guard, column: &ColumnDecision, own: &Tree, sent: &Tree) -> Verdict {
        let mask = column.mask.as_ref().ok_or_else(|| Broken::at("a guard of a column without a mask"))?;
        let sent = case(sent)?;
        let ([(differs, kept), (failed, null)], None) = (sent.arms.as_slice(), sent.default) else {
            return broken("a guard of another form");
        };
        fails(failed, guard.check)?;
        is_expression(null, "NULL")?;
        let comparison = kind(differs, "AExpr")?;
        let distinct = crate::sql::pb::AExprKind::AexprDistinct as i64;
        if comparison.field("kind") != Some(&Tree::Int(distinct)) {
            return broken("a guard that compares otherwise");
        }
        let (mut value, mut masked) = (part(comparison, "lexpr")?, part(comparison, "rexpr")?);
        if guard.as_text {
            (value, masked) = (cast_of(value, "pg_catalog.text")?, cast_of(masked, "pg_catalog.text")?);
        }
        is_expression(masked, &mask.sql)?;
        self.nodes(own, cast_of(value, &guard.type_sql)?)?;
        self.nodes(own, if guard.untyped { cast_of(kept, &guard.type_sql)? } else { kept })
    }

    /// WHERE of UPDATE and DELETE, ON of MERGE.
    fn guarded(&mut self, target: &Target, own: &Tree, sent: &Tree) -> Verdict {
        let decision = target.permitted.decision();
        if decision.rows.is_empty() {
            return self.nodes(own, sent);
        }
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        if !is_nothing(Some(own)) {
            flatten(own, &mut wanted);
        }
        flatten(sent, &mut found);
        if wanted.len() != target.split.len() {
            return broken("a condition that was split otherwise");
        }
        let rest: Vec<&Tree> = wanted.iter().zip(&target.split).filter(|(_, t)| !**t).map(|(w, _)| *w).collect();
        let total = wanted.iter().zip(&target.split).filter(|(_, t)| **t).map(|(w, _)| *w);
        let mut found = found.into_iter();
        for row in decision.rows.iter().filter(|row| rest.is_empty() || !row.has_subquery) {
            one_rule(&row.sql, &mut found)?;
        }
        for want in total {
            let have = found.next().ok_or_else(|| Broken::at("a condition was lost"))?;
            self.nodes(want, have)?;
        }
        if !rest.is_empty() {
            let sent = case(found.next().ok_or_else(|| Broken::at("a condition was lost"))?)?;
            let ([(shown, kept)], Some(default)) = (sent.arms.as_slice(), sent.default) else {
                return broken("a barrier of another form");
            };
            rules(decision, shown)?;
            is_expression(default, "FALSE")?;
            let mut kept_parts = Vec::new();
            flatten(kept, &mut kept_parts);
            if kept_parts.len() != rest.len() {
                return broken("a condition behind a barrier differs");
            }
            rest.iter().zip(kept_parts).try_for_each(|(want, have)| self.nodes(want, have))?;
        }
        if found.next().is_none() { Ok(()) } else { broken("a condition was added") }
    }

    /// RETURNING: the caller's items, stars taken apart, one of them with the check of new rows.
    fn returning(&mut self, target: &Target, c: &Tree, s: &Tree) -> Verdict {
        let (own, sent) = (part(c, "returning_clause")?, part(s, "returning_clause")?);
        let exprs = |clause: &Tree| list(clause, "exprs").to_vec();
        let (own, sent) = (exprs(own), exprs(sent));
        let decision = target.permitted.decision();
        let mut sent_items = sent.iter();
        let mut at = 0usize;
        let check = target.new_rows.as_ref();
        let mut checked = false;
        for item in &own {
            let star = kind(item, "ResTarget")?.field("val").and_then(Tree::unwrap_node);
            let stars = match star {
                Some(("ColumnRef", column)) => location(column).and_then(|l| self.resolved.stars.get(&l)),
                _ => None,
            };
            let count = stars.map_or(1, Vec::len);
            for nth in 0..count {
                let have = sent_items.next().ok_or_else(|| Broken::at("RETURNING lost an item"))?;
                let have = kind(have, "ResTarget")?;
                let mut value = part(have, "val")?;
                if let Some(new_rows) = check.filter(|n| n.at == Some(at)) {
                    let sent = case(value)?;
                    let [(shown, kept), (failed, null)] = sent.arms.as_slice() else {
                        return broken("a check of another form");
                    };
                    rules(decision, shown)?;
                    fails(failed, new_rows.check)?;
                    let nothing = new_rows.type_sql.as_ref().map_or("NULL".to_owned(), |t| format!("NULL::{t}"));
                    is_expression(null, &nothing)?;
                    match (sent.default, &new_rows.type_sql) {
                        (Some(default), Some(_)) => is_expression(default, &nothing)?,
                        (None, None) => {}
                        _ => return broken("a check of another form"),
                    }
                    value = kept;
                    checked = true;
                }
                match stars {
                    Some(stars) => {
                        let star = stars.get(nth).ok_or_else(|| Broken::at("a star"))?;
                        self.star(star, text(have, "name"), value)?;
                    }
                    None => self.returned(kind(item, "ResTarget")?, have, value)?,
                }
                at += 1;
            }
        }
        match (check, sent_items.next(), sent_items.next()) {
            (None, None, None) => Ok(()),
            (Some(new_rows), None, None) if new_rows.at.is_some() && checked => Ok(()),
            (Some(new_rows), Some(added), None) if new_rows.at.is_none() && own.is_empty() => {
                let value = case(part(kind(added, "ResTarget")?, "val")?)?;
                let ([(shown, kept), (failed, null)], None) = (value.arms.as_slice(), value.default) else {
                    return broken("a check of another form");
                };
                rules(decision, shown)?;
                fails(failed, new_rows.check)?;
                is_expression(kept, "NULL")?;
                is_expression(null, "NULL")
            }
            _ => broken("RETURNING differs"),
        }
    }

    /// One item of RETURNING; it may have got the name that PostgreSQL would have given it.
    fn returned(&mut self, c: &Tree, s: &Tree, value: &Tree) -> Verdict {
        self.fields(c, s, &["name", "val"])?;
        let (own, sent) = (text(c, "name"), text(s, "name"));
        if own != sent && !own.is_empty() {
            return broken("an item's name differs");
        }
        self.nodes(part(c, "val")?, value)
    }

    fn star(&mut self, star: &Star, name: &str, value: &Tree) -> Verdict {
        match star {
            Star::Target(mention) => {
                self.mention(mention, value)?;
                if name.is_empty() || name == mention.column { Ok(()) } else { broken("a column's name differs") }
            }
            Star::Column(item, column) => {
                is_expression(value, &format!("{}.{}", quote_ident(item), quote_ident(column)))
            }
            Star::Item(item) => {
                let column = kind(value, "ColumnRef")?;
                let fields = list(column, "fields");
                let starred = matches!(fields.get(1).and_then(Tree::unwrap_node), Some(("AStar", _)));
                let own = item.starts_with(ROW_ALIAS);
                if fields.len() == 2 && starred && !own && part(column, "fields")?.strings() == [item.as_str()] {
                    return Ok(());
                }
                broken("a star differs")
            }
        }
    }

    /// A reference to a column of a bare relation: its mask, or the column.
    fn mention(&mut self, mention: &Mention, sealed: &Tree) -> Verdict {
        let target = self.resolved.targets.get(&mention.target).ok_or_else(|| Broken::at("a mention of nothing"))?;
        let column = column(target.permitted.decision(), &mention.column)?;
        match &column.mask {
            Some(mask) => is_expression(sealed, &mask.sql),
            None => is_expression(sealed, &format!("{ROW_ALIAS}.{}", quote_ident(&column.name))),
        }
    }

    /// A column reference of the caller.
    pub(super) fn reference(&mut self, c: &Tree, sealed_kind: &'static str, s: &Tree) -> Verdict {
        let at = location(c);
        if let Some(mention) = at.and_then(|l| self.resolved.mentions.get(&l)) {
            // Compared whole: its wrapper is not at hand, so it is put back.
            let sealed = Tree::Node("Node", vec![("node", Tree::Variant(sealed_kind, Box::new(s.clone())))]);
            self.placed(c, s);
            return self.mention(mention, &sealed);
        }
        if sealed_kind != "ColumnRef" {
            return broken("a column reference became something else");
        }
        let other = at.is_some_and(|l| self.resolved.others.contains(&l));
        if self.bare && list(c, "fields").len() == 1 && !other {
            return broken("a column reference that may mean the bare relation");
        }
        self.column(c, s)
    }

    pub(super) fn merge(&mut self, c: &Tree, s: &Tree) -> Verdict {
        let target = self.written(c)?;
        self.fields(c, s, &["relation", "join_condition", "merge_when_clauses"])?;
        self.bare_relation(target, c, s)?;
        if target.verb != Verb::Merge {
            return broken("a MERGE under another name");
        }
        self.beside(|this| this.guarded(target, part(c, "join_condition")?, part(s, "join_condition")?))?;
        let (own, sent) = (list(c, "merge_when_clauses"), list(s, "merge_when_clauses"));
        if own.len() != sent.len() {
            return broken("other actions of MERGE");
        }
        for (place, (c, s)) in own.iter().zip(sent).enumerate() {
            let (c, s) = (kind(c, "MergeWhenClause")?, kind(s, "MergeWhenClause")?);
            let matched = crate::sql::pb::MergeMatchKind::MergeWhenMatched as i64;
            if c.field("match_kind") == Some(&Tree::Int(matched)) {
                self.beside(|this| this.action(target, place, c, s))?;
            } else {
                self.action(target, place, c, s)?;
            }
        }
        Ok(())
    }

    fn action(&mut self, target: &Target, place: usize, c: &Tree, s: &Tree) -> Verdict {
        use crate::sql::pb::CmdType;
        self.fields(c, s, &["target_list", "values"])?;
        let decision = target.permitted.decision();
        let (own, sent) = (list(c, "target_list"), list(s, "target_list"));
        let action = target.actions.get(&place);
        let insert = c.field("command_type") == Some(&Tree::Int(CmdType::CmdInsert as i64));
        let update = c.field("command_type") == Some(&Tree::Int(CmdType::CmdUpdate as i64));
        if !insert && !update {
            return if own.is_empty() && sent.is_empty() && list(c, "values").is_empty() && list(s, "values").is_empty()
            {
                Ok(())
            } else {
                broken("an action of another form")
            };
        }
        let looked_at = looked_at(decision)?;
        let sets = own.iter().any(|t| kind(t, "ResTarget").is_ok_and(|t| looked_at.contains(text(t, "name"))));
        if action.is_none() && !decision.rows.is_empty() && (insert || sets) {
            return broken("new rows are not checked");
        }
        if insert {
            self.columns(target.implied.get(&place).map(Vec::as_slice), decision, own, sent)?;
            let (own, sent) = (list(c, "values"), list(s, "values"));
            if own.len() != sent.len() {
                return broken("other values of an action");
            }
            for (at, (own, sent)) in own.iter().zip(sent).enumerate() {
                match action.filter(|a| a.at == at) {
                    Some(action) => {
                        let all: Vec<&Tree> = list(c, "values").iter().collect();
                        let kept = self.acted(target, action, sent, &all)?;
                        self.nodes(own, kept)?;
                    }
                    None => self.nodes(own, sent)?,
                }
            }
            return Ok(());
        }
        let Some(action) = action else { return self.assignments(target, own, sent) };
        // With the check taken away, what is left are assignments as any.
        let mut peeled = sent.to_vec();
        let all: Vec<&Tree> =
            own.iter().map(|t| kind(t, "ResTarget").and_then(|t| part(t, "val"))).collect::<Result<_, _>>()?;
        let carrier = peeled.get_mut(action.at).ok_or_else(|| Broken::at("a check on nothing"))?;
        let value = part(kind(carrier, "ResTarget")?, "val")?.clone();
        let kept = self.acted(target, action, &value, &all)?.clone();
        *carrier = with_value(carrier, kept)?;
        self.assignments(target, own, &peeled)
    }

    /// The value of an action that carries the check of the row; gives the value itself.
    fn acted<'t>(
        &mut self,
        target: &Target,
        action: &Action,
        sent: &'t Tree,
        own: &[&Tree],
    ) -> Result<&'t Tree, Broken> {
        let decision = target.permitted.decision();
        let sent = case(sent)?;
        let ([(shown, kept), (failed, null)], None) = (sent.arms.as_slice(), sent.default) else {
            return broken("a check of another form");
        };
        fails(failed, action.check)?;
        is_expression(null, "NULL")?;
        if looked_at(decision)? != action.row.keys().cloned().collect() {
            return broken("a check of another row");
        }
        if action.row.is_empty() {
            rules(decision, shown)?;
        } else {
            let link = kind(shown, "SubLink")?;
            let expression = crate::sql::pb::SubLinkType::ExprSublink as i64;
            if link.field("sub_link_type") != Some(&Tree::Int(expression)) || !is_nothing(link.field("testexpr")) {
                return broken("a check of another form");
            }
            let check = kind(part(link, "subselect")?, "SelectStmt")?;
            let ([rule], [row]) = (list(check, "target_list"), list(check, "from_clause")) else {
                return broken("a check of another form");
            };
            rules(decision, part(kind(rule, "ResTarget")?, "val")?)?;
            let row = kind(row, "RangeSubselect")?;
            let alias = part(row, "alias")?;
            if text(alias, "aliasname") != ROW_ALIAS || row.field("lateral") != Some(&Tree::Bool(false)) {
                return broken("a check of another row");
            }
            let row = kind(part(row, "subquery")?, "SelectStmt")?;
            only(check, &["target_list", "from_clause"])?;
            only(row, &["target_list"])?;
            let columns = list(row, "target_list");
            if columns.len() != action.row.len() {
                return broken("a check of another row");
            }
            for (have, (name, (value, type_sql))) in columns.iter().zip(&action.row) {
                let have = kind(have, "ResTarget")?;
                if text(have, "name") != name {
                    return broken("a check of another row");
                }
                let have = cast_of(part(have, "val")?, type_sql)?;
                match value {
                    RowValue::Assigned(at) => {
                        let own = own.get(*at).ok_or_else(|| Broken::at("a check of another row"))?;
                        self.nodes(own, have)?;
                    }
                    RowValue::Old => is_expression(have, &format!("{ROW_ALIAS}.{}", quote_ident(name)))?,
                    RowValue::Null => is_expression(have, "NULL")?,
                }
            }
        }
        match &action.carrier_type {
            Some(type_sql) => cast_of(kept, type_sql),
            None => Ok(kept),
        }
    }
}

/// The operand of a cast to exactly this type.
fn cast_of<'t>(tree: &'t Tree, type_sql: &str) -> Result<&'t Tree, Broken> {
    let cast = kind(tree, "TypeCast")?;
    let expected = expression(&format!("NULL::{type_sql}"))?;
    let expected = kind(&expected, "TypeCast")?;
    if same(part(expected, "type_name")?, part(cast, "type_name")?) {
        part(cast, "arg")
    } else {
        broken("a cast to another type")
    }
}

/// A SELECT with nothing but these clauses.
fn only(select: &Tree, clauses: &[&str]) -> Verdict {
    let Tree::Node(_, fields) = select else { return broken("not a SELECT") };
    let expected = Tree::of(&crate::sql::build::select())?;
    for (name, value) in fields {
        if !clauses.contains(name) && expected.field(name).is_none_or(|e| e != value) {
            return broken("a check of another form");
        }
    }
    Ok(())
}

/// A target with another value.
fn with_value(target: &Tree, value: Tree) -> Result<Tree, Broken> {
    let mut copy = target.clone();
    let Tree::Node(_, wrapper) = &mut copy else { return broken("not a node") };
    let Some((_, Tree::Variant("ResTarget", inner))) = wrapper.first_mut() else { return broken("not a target") };
    let Tree::Node(_, fields) = inner.as_mut() else { return broken("not a target") };
    match fields.iter_mut().find(|(name, _)| *name == "val") {
        Some((_, slot)) => *slot = value,
        None => return broken("not a target"),
    }
    Ok(copy)
}
