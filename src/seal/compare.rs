//! The caller's tree and the sealed tree, side by side.

use super::inventory::location;
use super::{Broken, Checked, StandIn};
use crate::catalog::Catalog;
use crate::catalog::total::{function_is_listed, may_be_guessed};
use crate::policy::decision::{ROW_ALIAS, RelationDecision};
use crate::policy::kept::{ByDecision, Variant};
use crate::resolve::{RelationUse, Replacement, Resolved, is_clock};
use crate::rewrite::STAND_IN;
use crate::sql::tree::Tree;
use crate::sql::{self, NodeEnum};
use crate::types::{quote_ident, quote_literal};
use std::sync::Arc;

/// Fields that only say where something stood in a text, or how a call was written (`overlay(a, b, c, d)` and `OVERLAY(a PLACING b …)` are one
/// call; PostgreSQL keeps the form for printing views).
fn is_place(field: &str) -> bool {
    matches!(
        field,
        "funcformat"
            | "location"
            | "stmt_location"
            | "stmt_len"
            | "list_start"
            | "list_end"
            | "rexpr_list_start"
            | "rexpr_list_end"
    )
}

pub(super) struct Comparison<'r> {
    pub(super) resolved: &'r Resolved,
    catalog: &'r Catalog,
    expected: &'r ByDecision<Tree>,
    pairs: Vec<(u32, u32)>,
    stand_ins: Vec<StandIn>,
    /// A relation that is written stands bare in sight: every unqualified reference must be known not to mean it.
    pub(super) bare: bool,
}

pub(super) type Verdict = Result<(), Broken>;

impl<'r> Comparison<'r> {
    pub fn new(resolved: &'r Resolved, catalog: &'r Catalog, expected: &'r ByDecision<Tree>) -> Self {
        Self { resolved, catalog, expected, pairs: Vec::new(), stand_ins: Vec::new(), bare: false }
    }

    pub fn checked(self) -> Checked {
        Checked { pairs: self.pairs, stand_ins: self.stand_ins }
    }

    /// Compares two values that should be the same but for the documented rewrites.
    pub fn nodes(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        if let (Some((kind, c)), Some((sealed_kind, s))) = (caller.unwrap_node(), sealed.unwrap_node()) {
            return self.kinds(kind, c, sealed_kind, s);
        }
        match (caller, sealed) {
            (Tree::Node(name, c), Tree::Node(other, s)) if name == other && c.len() == s.len() => match *name {
                "SelectStmt" => self.select(caller, sealed),
                "ResTarget" => self.target(caller, sealed),
                "ColumnRef" => self.column(caller, sealed),
                "TypeName" => self.type_name(caller, sealed),
                "DropStmt" => self.dropped(caller, sealed),
                "CreateStmt" | "CreateTableAsStmt" => self.made(caller, sealed),
                "FuncCall" => self.call(caller, sealed),
                "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" if self.writes_own(caller) => {
                    self.fields(caller, sealed, &[])
                }
                "CopyStmt" if self.writes_own(caller) => self.copied_in(caller, sealed),
                "InsertStmt" => self.insert(caller, sealed),
                "UpdateStmt" | "DeleteStmt" => self.update(caller, sealed),
                "MergeStmt" => self.merge(caller, sealed),
                "CopyStmt" => self.copy(caller, sealed),
                "RangeVar" => self.named(caller, sealed),
                "DefElem" if is_header(caller) && is_header(sealed) => self.fields(caller, sealed, &["arg"]),
                _ => self.fields(caller, sealed, &[]),
            },
            (Tree::List(c), Tree::List(s)) if c.len() == s.len() => {
                c.iter().zip(s).try_for_each(|(c, s)| self.nodes(c, s))
            }
            (Tree::Variant(c, ci), Tree::Variant(s, si)) if c == s => self.nodes(ci, si),
            (Tree::Nothing, Tree::Nothing) => Ok(()),
            (Tree::Bool(c), Tree::Bool(s)) if c == s => Ok(()),
            (Tree::Int(c), Tree::Int(s)) if c == s => Ok(()),
            (Tree::Text(c), Tree::Text(s)) if c == s => Ok(()),
            (Tree::Node(name, _), _) => Err(Broken::at(format!("{name} differs"))),
            _ => Err(Broken::at("a value differs")),
        }
    }

    /// Two nodes, with their kinds: where a whole construct is replaced.
    fn kinds(&mut self, kind: &'static str, c: &Tree, sealed_kind: &'static str, s: &Tree) -> Verdict {
        match kind {
            "RangeVar" => {
                let use_ = location(c).and_then(|l| self.resolved.relations.get(&l));
                match (use_, sealed_kind) {
                    (Some(use_), "RangeVar") if self.resolved.bare => self.bare(use_, c, s),
                    (Some(use_), "RangeVar") => self.stand_in(use_, c, s),
                    (Some(use_), "RangeSubselect") => self.view(use_, c, None, s),
                    (None, "RangeVar") => self.nodes(c, s),
                    _ => Err(Broken::at("a relation that is not behind its view")),
                }
            }
            "ColumnRef" => {
                // `tableoid` of a system catalog is the constant that everyone knows; nothing else becomes one.
                let columns = c.field("fields").map(Tree::strings).unwrap_or_default();
                match location(c).and_then(|l| self.resolved.calls.get(&l)) {
                    Some(known @ (Replacement::Constant { type_name: "oid", .. } | Replacement::Guard(_)))
                        if columns.last() == Some(&"tableoid") =>
                    {
                        self.replaced(known, kind, c, sealed_kind, s)
                    }
                    Some(_) => Err(Broken::at("a column that became something else")),
                    None => self.reference(c, sealed_kind, s),
                }
            }
            "RangeTableSample" => {
                let relation = c.field("relation").and_then(Tree::unwrap_node).map(|(_, r)| r);
                let use_ = relation.and_then(location).and_then(|l| self.resolved.relations.get(&l));
                let temporary = relation.and_then(location).is_some_and(|l| self.resolved.temporaries.contains(&l));
                match (relation, use_, sealed_kind) {
                    (Some(_), None, "RangeTableSample") if temporary => self.nodes(c, s),
                    (Some(relation), Some(use_), "RangeSubselect") => self.view(use_, relation, Some(c), s),
                    _ => Err(Broken::at("a sample that is not behind its view")),
                }
            }
            "FuncCall" | "TypeCast" | "SqlvalueFunction" => {
                let replacement = location(c).and_then(|l| self.resolved.calls.get(&l));
                match replacement {
                    Some(replacement) => self.replaced(replacement, kind, c, sealed_kind, s),
                    None if kind == sealed_kind => self.nodes(c, s),
                    None => Err(Broken::at(format!("{kind} became {sealed_kind}"))),
                }
            }
            _ if kind == sealed_kind => self.nodes(c, s),
            _ => Err(Broken::at(format!("{kind} became {sealed_kind}"))),
        }
    }

    /// All fields in order, but those in `except`; places are noted, not compared.
    pub(super) fn fields(&mut self, caller: &Tree, sealed: &Tree, except: &[&str]) -> Verdict {
        let (Tree::Node(name, c), Tree::Node(_, s)) = (caller, sealed) else {
            return Err(Broken::at("not a node"));
        };
        // A target begins where its expression does, and no error points to it: `DATE 'x'` is printed as `'x'::date`.
        if *name != "ResTarget" {
            self.placed(caller, sealed);
        }
        for ((name, c), (other, s)) in c.iter().zip(s) {
            if name != other {
                return Err(Broken::at("fields in another order"));
            }
            if !is_place(name) && !except.contains(name) {
                self.nodes(c, s)?;
            }
        }
        Ok(())
    }

    /// Notes where something of the caller's stands now.
    pub(super) fn placed(&mut self, caller: &Tree, sealed: &Tree) {
        if let (Some(c), Some(s)) = (location(caller), location(sealed))
            && let (Ok(c), Ok(s)) = (u32::try_from(c), u32::try_from(s))
        {
            self.pairs.push((s, c));
        }
    }

    /// A level: GROUP BY may be longer, by qualified columns.
    fn select(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["group_clause"])?;
        let list = |t: &'_ Tree| t.field("group_clause").map(|l| l.as_list().to_vec()).unwrap_or_default();
        let (c, s) = (list(caller), list(sealed));
        for (c, s) in c.iter().zip(&s) {
            self.nodes(c, s)?;
        }
        let extra = s.get(c.len()..).ok_or_else(|| Broken::at("a shorter GROUP BY"))?;
        let plain = extra.iter().all(|e| match e.unwrap_node() {
            Some(("ColumnRef", column)) => column.field("fields").is_some_and(|f| f.strings().len() == 2),
            _ => false,
        });
        if !plain || (!extra.is_empty() && c.is_empty()) {
            return Err(Broken::at("GROUP BY grew by something other than columns"));
        }
        Ok(())
    }

    /// A target: it may have got the name that PostgreSQL would have given it.
    fn target(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["name"])?;
        let name = |t: &'_ Tree| t.field("name").and_then(Tree::as_text).unwrap_or_default().to_owned();
        let (c, s) = (name(caller), name(sealed));
        // Inside row constructors and the like a target has no name at all, and none is given.
        if c == s || (c.is_empty() && !s.is_empty()) { Ok(()) } else { Err(Broken::at("a target's name differs")) }
    }

    /// A column reference: it may have lost its schema.
    pub(super) fn column(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["fields"])?;
        let list = |t: &'_ Tree| t.field("fields").map(|l| l.as_list().to_vec()).unwrap_or_default();
        let (c, s) = (list(caller), list(sealed));
        let shortened = location(caller).is_some_and(|l| self.resolved.columns.contains_key(&l));
        let skip = c.len().checked_sub(s.len()).ok_or_else(|| Broken::at("a longer column reference"))?;
        if s.is_empty() || (skip > 0 && !(shortened && s.len() >= 2)) {
            return Err(Broken::at("a column reference lost more than its schema"));
        }
        c.iter().skip(skip).zip(&s).try_for_each(|(c, s)| self.nodes(c, s))
    }

    /// A call: a function outside `pg_catalog` may have got the schema that resolution found.
    fn call(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["funcname"])?;
        let names = |t: &'_ Tree| {
            t.field("funcname")
                .map(|n| n.strings().into_iter().map(str::to_owned).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        let (c, s) = (names(caller), names(sealed));
        let as_found = location(caller).and_then(|l| self.resolved.functions.get(&l)).map(|q| {
            s == [q.schema.as_str(), q.name.as_str()]
                && c.last() == Some(&q.name)
                && (c.len() == 1 || c == s)
                && !self.catalog.vouched_for(q).is_empty()
        });
        if as_found.unwrap_or(c == s) { Ok(()) } else { Err(Broken::at("a function's name differs")) }
    }

    /// A type: it may have got the schema that resolution found.
    fn type_name(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["names"])?;
        let names = |t: &'_ Tree| {
            t.field("names").map(|n| n.strings().into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
        };
        let (c, s) = (names(caller), names(sealed));
        let found = location(caller).and_then(|l| self.resolved.types.get(&l));
        let as_found = found.is_some_and(|q| s == [q.schema.as_str(), q.name.as_str()]);
        if (c == s && found.is_none()) || as_found { Ok(()) } else { Err(Broken::at("a type's name differs")) }
    }

    /// A call or cast and what stands for it.
    fn replaced(
        &mut self,
        replacement: &Replacement,
        kind: &'static str,
        c: &Tree,
        sealed_kind: &'static str,
        s: &Tree,
    ) -> Verdict {
        // Errors about the whole of an expression point to its first character.
        let whole = |t: &Tree| {
            let mut first = None;
            t.each(&mut |t| first = first.into_iter().chain(location(t)).min());
            first.and_then(|at| u32::try_from(at).ok())
        };
        if let (Some(s), Some(c)) = (whole(s), whole(c)) {
            self.pairs.push((s, c));
        }
        match replacement {
            Replacement::Constant { value, type_name, array } => {
                let literal = value.as_deref().map_or_else(|| "NULL".to_owned(), quote_literal);
                let brackets = if *array { "[]" } else { "" };
                let expected = expression(&format!("{literal}::pg_catalog.{type_name}{brackets}"))?;
                let (expected_kind, expected) = expected.unwrap_node().ok_or_else(|| Broken::at("no constant"))?;
                if expected_kind == sealed_kind && same(expected, s) {
                    Ok(())
                } else {
                    Err(Broken::at("a constant differs"))
                }
            }
            Replacement::Guard(template) => {
                let arguments: Vec<Tree> = match kind {
                    "FuncCall" => c.field("args").map(|a| a.as_list().to_vec()).unwrap_or_default(),
                    _ => c.field("arg").cloned().into_iter().collect(),
                };
                let template = template.picture()?;
                let (template_kind, template) = template.unwrap_node().ok_or_else(|| Broken::at("no guard"))?;
                if template_kind != sealed_kind {
                    return Err(Broken::at("a guard of another kind"));
                }
                self.template(template, s, &arguments)
            }
        }
    }

    /// A guard's template against the sealed tree; its parameters stand for the caller's arguments.
    fn template(&mut self, template: &Tree, sealed: &Tree, arguments: &[Tree]) -> Verdict {
        if let Some(("ParamRef", param)) = template.unwrap_node() {
            let number = match param.field("number") {
                Some(Tree::Int(n)) => usize::try_from(*n).ok().and_then(|n| n.checked_sub(1)),
                _ => None,
            };
            let argument = number.and_then(|n| arguments.get(n)).ok_or_else(|| Broken::at("a guard's argument"))?;
            return self.nodes(argument, sealed);
        }
        match (template, sealed) {
            (Tree::Node(a, x), Tree::Node(b, y)) if a == b && x.len() == y.len() => x.iter().zip(y).try_for_each(
                |((name, x), (_, y))| {
                    if is_place(name) { Ok(()) } else { self.template(x, y, arguments) }
                },
            ),
            (Tree::Variant(a, x), Tree::Variant(b, y)) if a == b => self.template(x, y, arguments),
            (Tree::List(x), Tree::List(y)) if x.len() == y.len() => {
                x.iter().zip(y).try_for_each(|(x, y)| self.template(x, y, arguments))
            }
            (x, y) if x == y => Ok(()),
            _ => Err(Broken::at("a guard differs")),
        }
    }

    /// A policy view: built again from the decision, as text, and compared with what is about to be sent.
    fn view(&mut self, use_: &RelationUse, relation: &Tree, sample: Option<&Tree>, sealed: &Tree) -> Verdict {
        let decision = use_.permitted.decision();
        let written = relation.field("relname").and_then(Tree::as_text).unwrap_or_default();
        if written != decision.logical.name {
            return Err(Broken::at("a view of another relation"));
        }
        if sealed.field("lateral") != Some(&Tree::Bool(false)) {
            return Err(Broken::at("a lateral view"));
        }
        self.alias(use_, relation, sealed)?;
        let Some(("SelectStmt", body)) = sealed.field("subquery").and_then(Tree::unwrap_node) else {
            return Err(Broken::at("a view that is not a SELECT"));
        };
        let only = relation.field("inh") == Some(&Tree::Bool(false));
        let expected = expected(self.expected, use_, only)?;
        let (Tree::Node(_, want), Tree::Node(_, have)) = (&*expected, body) else {
            return Err(Broken::at("a view that is not a SELECT"));
        };
        view_fields(use_, want, have, &mut |want, have| sample.map(|sample| self.sampled(want, have, sample).is_ok()))
    }

    /// The name that stands in for a view, under the view's alias.
    fn stand_in(&mut self, use_: &RelationUse, relation: &Tree, sealed: &Tree) -> Verdict {
        let written = relation.field("relname").and_then(Tree::as_text).unwrap_or_default();
        if written != use_.permitted.decision().logical.name {
            return Err(Broken::at("a view of another relation"));
        }
        let (Some(at), Some(place)) = (location(sealed), location(relation)) else {
            return Err(Broken::at("a view without a place"));
        };
        let is = |field: &str, text: &str| sealed.field(field).and_then(Tree::as_text) == Some(text);
        let named = is("catalogname", "") && is("schemaname", STAND_IN) && is("relname", &place.to_string());
        let plain = sealed.field("inh") == Some(&Tree::Bool(true)) && is("relpersistence", "p");
        if !named || !plain || !use_.pushed.is_empty() {
            return Err(Broken::at("a relation that is not behind its view"));
        }
        self.alias(use_, relation, sealed)?;
        let at = usize::try_from(at).map_err(|_| Broken::at("a view without a place"))?;
        let with_children = relation.field("inh") != Some(&Tree::Bool(false));
        self.stand_ins.push(StandIn { at, relation: place, with_children });
        Ok(())
    }

    /// A relation in an EXPLAIN where nothing is hidden: by its name in the warehouse, else as the caller wrote it.
    fn bare(&mut self, use_: &RelationUse, c: &Tree, s: &Tree) -> Verdict {
        let decision = use_.permitted.decision();
        if !decision.shows_everything(self.catalog) {
            return Err(Broken::at("a bare relation that hides something"));
        }
        let is = |field: &str, name: &str| s.field(field).and_then(Tree::as_text) == Some(name);
        if !is("catalogname", "") || !is("schemaname", &decision.remote.schema) || !is("relname", &decision.remote.name)
        {
            return Err(Broken::at("another relation"));
        }
        self.fields(c, s, &["catalogname", "schemaname", "relname"])
    }

    fn alias(&mut self, use_: &RelationUse, relation: &Tree, sealed: &Tree) -> Verdict {
        let alias = sealed.field("alias").ok_or_else(|| Broken::at("a view without a name"))?;
        let name = alias.field("aliasname").and_then(Tree::as_text).unwrap_or_default();
        let written = match relation.field("alias") {
            Some(Tree::Nothing) | None => relation.field("relname").and_then(Tree::as_text),
            Some(alias) => alias.field("aliasname").and_then(Tree::as_text),
        };
        if Some(name) != written || name != use_.alias {
            return Err(Broken::at("a view under another name"));
        }
        let columns = |t: Option<&Tree>| {
            t.and_then(|a| a.field("colnames"))
                .map(|n| n.strings().into_iter().map(str::to_owned).collect::<Vec<_>>())
                .unwrap_or_default()
        };
        if columns(relation.field("alias")) == columns(Some(alias)) {
            Ok(())
        } else {
            Err(Broken::at("a view's column names differ"))
        }
    }

    /// A sampled base relation: the caller's own method and arguments around the expected relation.
    fn sampled(&mut self, want: &Tree, have: &Tree, sample: &Tree) -> Verdict {
        let ([want], [have]) = (want.as_list(), have.as_list()) else {
            return Err(Broken::at("a sampled view reads from several"));
        };
        self.sampled_item(want, have, sample)
    }

    /// The sample stands innermost; companions are joined around it.
    fn sampled_item(&mut self, want: &Tree, have: &Tree, sample: &Tree) -> Verdict {
        let have = match (want.unwrap_node(), have.unwrap_node()) {
            (Some(("JoinExpr", Tree::Node(_, w))), Some(("JoinExpr", Tree::Node(_, h)))) => {
                for ((name, w), (other, h)) in w.iter().zip(h) {
                    match *name {
                        _ if name != other => return Err(Broken::at("fields in another order")),
                        "larg" => self.sampled_item(w, h, sample)?,
                        _ if is_place(name) || same(w, h) => {}
                        _ => return Err(Broken::at("a companion differs")),
                    }
                }
                return Ok(());
            }
            (Some(_), Some(("RangeTableSample", have))) => have,
            _ => return Err(Broken::at("a view lost its sample")),
        };
        if !have.field("relation").is_some_and(|r| same(want, r)) {
            return Err(Broken::at("a sample of another relation"));
        }
        for field in ["method", "args", "repeatable"] {
            match (sample.field(field), have.field(field)) {
                (Some(c), Some(s)) => self.nodes(c, s)?,
                _ => return Err(Broken::at("a sample's parts")),
            }
        }
        Ok(())
    }
}

/// COPY's option HEADER, switched on: the printer writes `1`, `on` and `true` as the bare word.
fn is_header(option: &Tree) -> bool {
    let text = |t: &Tree, field| t.field(field).and_then(Tree::as_text).map(str::to_ascii_lowercase);
    text(option, "defname").as_deref() == Some("header")
        && match option.field("arg").and_then(Tree::unwrap_node) {
            Some(("Boolean", value)) => value.field("boolval") == Some(&Tree::Bool(true)),
            Some(("Integer", value)) => value.field("ival") == Some(&Tree::Int(1)),
            Some(("String", value)) => matches!(text(value, "sval").as_deref(), Some("true" | "on")),
            Some(_) | None => false,
        }
}

/// Whether a SELECT is the policy view that stands alone for a use.
pub(super) fn is_view(expected: &Tree, use_: &RelationUse, select: &Tree) -> Verdict {
    match (expected, select) {
        (Tree::Node(_, want), Tree::Node(_, have)) => view_fields(use_, want, have, &mut |_, _| None),
        _ => Err(Broken::at("a view that is not a SELECT")),
    }
}

/// Fields of a view by name.
type Fields = [(&'static str, Tree)];

/// Whether a view has the fields it should have; `sampled` says it of a FROM clause that holds a sample.
fn view_fields(
    use_: &RelationUse,
    want: &Fields,
    have: &Fields,
    sampled: &mut dyn FnMut(&Tree, &Tree) -> Option<bool>,
) -> Verdict {
    for ((name, want), (_, have)) in want.iter().zip(have) {
        let equal = match *name {
            "where_clause" => conditions(use_, want, have),
            "from_clause" => sampled(want, have).unwrap_or_else(|| same(want, have)),
            _ => same(want, have),
        };
        if !equal {
            return Err(Broken::at(format!("a view's {name} differs")));
        }
    }
    Ok(())
}

/// Which of the views of a decision a use asks for.
pub(super) fn variant(use_: &RelationUse, only: bool) -> Variant {
    let form = u8::from(only)
        | (u8::from(use_.barrier) << 1)
        | (u8::from(use_.unguessed) << 2)
        | (u8::from(use_.row_by_row) << 3);
    Variant { form, listed: use_.listed.clone() }
}

/// The picture of a policy view, made from the decision alone.
pub(super) fn expected(views: &ByDecision<Tree>, use_: &RelationUse, only: bool) -> Result<Arc<Tree>, Broken> {
    let decision = use_.permitted.decision();
    let text = || statement(&view_text(use_, only));
    views.get(decision, variant(use_, only), text)
}

/// The text of a policy view, made from the decision alone. That the columns it leaves out are not missed is for [`super::left_out::take`] to see.
fn view_text(use_: &RelationUse, only: bool) -> String {
    let RelationUse { barrier, unguessed, row_by_row, .. } = *use_;
    let decision = use_.permitted.decision();
    let lists = |at: usize| use_.listed.as_ref().is_none_or(|listed| listed.get(at) == Some(&true));
    let mut text = String::from("SELECT ");
    for (number, (_, column)) in decision.columns.iter().enumerate().filter(|(at, _)| lists(*at)).enumerate() {
        if number > 0 {
            text.push_str(", ");
        }
        let name = quote_ident(&column.name);
        let value = match &column.mask {
            None => format!("{ROW_ALIAS}.{name}"),
            Some(mask) => format!("({})", mask.sql),
        };
        if unguessed && may_be_guessed(column.type_oid) {
            text.push_str(&format!("COALESCE({value}, {value}) AS {name}"));
        } else {
            text.push_str(&value);
            if column.mask.is_some() {
                text.push_str(&format!(" AS {name}"));
            }
        }
    }
    // A query has no children that ONLY could leave out.
    let only = if only && decision.query.is_none() { "ONLY " } else { "" };
    text.push_str(&format!(" FROM {only}{} AS {ROW_ALIAS}", decision.relation_sql()));
    for companion in &decision.companions {
        text.push_str(&companion.join_sql());
    }
    for (at, row) in decision.rows.iter().enumerate() {
        text.push_str(if at == 0 { " WHERE (" } else { " AND (" });
        text.push_str(&row.sql);
        text.push(')');
        if row_by_row && row.has_subquery {
            text.push_str(" IS TRUE");
        }
    }
    if barrier {
        text.push_str(" OFFSET '0'");
    }
    text
}

/// The policy's conditions come first and are all there; what follows are copies of the caller's own, on columns that are not masked.
fn conditions(use_: &RelationUse, want: &Tree, have: &Tree) -> bool {
    let decision = use_.permitted.decision();
    let (mut wanted, mut found) = (Vec::new(), Vec::new());
    flatten(want, &mut wanted);
    flatten(have, &mut found);
    let Some(copies) = found.get(wanted.len()..) else { return false };
    if !wanted.iter().zip(&found).all(|(w, h)| same(w, h)) {
        return false;
    }
    let mut pushed = Vec::new();
    for node in &use_.pushed {
        match Tree::of(node) {
            Ok(tree) => pushed.push(tree),
            Err(_) => return false,
        }
    }
    let mut expected = Vec::new();
    pushed.iter().for_each(|p| flatten(p, &mut expected));
    (copies.is_empty() || use_.barrier)
        && copies.len() == expected.len()
        && copies.iter().zip(&expected).all(|(c, p)| same(c, p))
        && copies.iter().all(|c| harmless(c, decision))
}

/// Conjuncts of a condition.
pub(super) fn flatten<'t>(condition: &'t Tree, into: &mut Vec<&'t Tree>) {
    match condition.unwrap_node() {
        None => {}
        Some(("BoolExpr", b)) if b.field("boolop") == Some(&Tree::Int(sql::pb::BoolExprType::AndExpr as i64)) => {
            b.field("args").map_or(&[][..], Tree::as_list).iter().for_each(|a| flatten(a, into));
        }
        Some(_) => into.push(condition),
    }
}

/// Constants, parameters, operators and unmasked columns of the relation, nothing else.
fn harmless(copy: &Tree, decision: &RelationDecision) -> bool {
    let mut fine = true;
    copy.each(&mut |t| match t {
        Tree::Variant(kind, inner) => match *kind {
            "AExpr" | "BoolExpr" | "NullTest" | "BooleanTest" | "AConst" | "ParamRef" | "List" | "CoalesceExpr"
            | "CaseExpr" | "CaseWhen" | "String" | "Ival" | "Fval" | "Boolval" | "Sval" | "Bsval" | "Integer"
            | "AArrayExpr" | "RowExpr" => {}
            // What tells the time, and functions that never raise; which of their overloads is the resolver's to know.
            "FuncCall" => {
                let names = inner.field("funcname").map(Tree::strings).unwrap_or_default();
                let known = |name: &str| is_clock(name) || function_is_listed(name);
                let given = |field: &str| !matches!(inner.field(field), Some(Tree::Nothing | Tree::Bool(false)));
                fine &= !["agg_filter", "over", "agg_star", "agg_distinct", "func_variadic"].into_iter().any(given);
                fine &= matches!(names.as_slice(), [one] | ["pg_catalog", one] if known(one));
            }
            // What a name or a role means is told by the warehouse for its own login: only constants of such types may stand here.
            "TypeCast" => {
                let name =
                    inner.field("type_name").and_then(|t| t.field("names")).map(Tree::strings).unwrap_or_default();
                fine &= !matches!(
                    name.last(),
                    Some(&("regclass" | "regtype" | "regnamespace" | "regproc" | "regprocedure" | "regrole"))
                );
            }
            "SqlvalueFunction" => fine &= super::inventory::tells_time(inner),
            "ColumnRef" => {
                let parts = inner.field("fields").map(Tree::strings).unwrap_or_default();
                fine &= match parts.as_slice() {
                    [alias, name] => {
                        *alias == ROW_ALIAS && decision.columns.iter().any(|c| c.name == *name && c.mask.is_none())
                    }
                    _ => false,
                };
            }
            _ => fine = false,
        },
        Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) | Tree::List(_) | Tree::Node(..) => {}
    });
    fine
}

/// Equality but for places.
pub(super) fn same(a: &Tree, b: &Tree) -> bool {
    match (a, b) {
        (Tree::Node(a, x), Tree::Node(b, y)) => {
            a == b
                && x.len() == y.len()
                && x.iter().zip(y).all(|((n, x), (m, y))| n == m && (is_place(n) || same(x, y)))
        }
        (Tree::List(x), Tree::List(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Tree::Variant(a, x), Tree::Variant(b, y)) => a == b && same(x, y),
        (x, y) => x == y,
    }
}

fn statement(text: &str) -> Result<Tree, Broken> {
    let parsed = sql::parse(text)?;
    match parsed.statements.first().map(|s| &s.node) {
        Some(NodeEnum::SelectStmt(select)) => Ok(Tree::of(select)?),
        _ => Err(Broken::at("a view's own text")),
    }
}

pub(super) fn expression(text: &str) -> Result<Tree, Broken> {
    Ok(Tree::of(&sql::parse_expression(text)?)?)
}
