//! What the seal asks of a session's own temporary tables: they stand bare, so their schema must be written, and be `pg_temp`.
//!
//! In: the caller's tree and the sealed one, where they name a relation. Out: a verdict. Must never: let a bare name through that the
//! warehouse could find anywhere else, whatever was resolved.

use super::Broken;
use super::compare::{Comparison, Verdict};
use super::inventory::location;
use crate::catalog::scratch::SCHEMA;
use crate::resolve::Resolved;
use crate::sql::pb;
use crate::sql::tree::Tree;

impl Comparison<'_> {
    /// A relation that stands bare on both sides: a CTE as it was written, or a temporary table, which has got its schema, and is made
    /// as temporary.
    pub(super) fn unwrapped(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        let temporary = location(caller).is_some_and(|l| self.resolved.temporaries.contains(&l));
        if !temporary {
            return self.fields(caller, sealed, &[]);
        }
        self.fields(caller, sealed, &["catalogname", "schemaname", "relpersistence"])?;
        let text = |t: &'_ Tree, field| t.field(field).and_then(Tree::as_text).unwrap_or_default().to_owned();
        let made =
            text(caller, "relpersistence") == text(sealed, "relpersistence") || text(sealed, "relpersistence") == "t";
        if text(sealed, "catalogname").is_empty() && text(sealed, "schemaname") == SCHEMA && made {
            Ok(())
        } else {
            Err(Broken::at("a bare relation outside the session's own schema"))
        }
    }

    /// CREATE TABLE in both forms: IF NOT EXISTS may have been left out, not added.
    pub(super) fn made(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["if_not_exists"])?;
        let given = |t: &'_ Tree| t.field("if_not_exists") == Some(&Tree::Bool(true));
        if given(sealed) && !given(caller) { Err(Broken::at("IF NOT EXISTS was added")) } else { Ok(()) }
    }

    /// Whether a statement writes to a temporary table.
    pub(super) fn writes_own(&self, caller: &Tree) -> bool {
        caller.field("relation").and_then(location).is_some_and(|l| self.resolved.temporaries.contains(&l))
    }

    /// COPY FROM STDIN: from nowhere else.
    pub(super) fn copied_in(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &[])?;
        let empty = |field| sealed.field(field).and_then(Tree::as_text).is_none_or(str::is_empty);
        let plain = sealed.field("is_program") == Some(&Tree::Bool(false))
            && sealed.field("is_from") == Some(&Tree::Bool(true))
            && empty("filename")
            && sealed.field("where_clause").is_none_or(|w| *w == Tree::Nothing);
        if plain { Ok(()) } else { Err(Broken::at("a COPY of another form")) }
    }

    /// DROP: every name has got the schema, and nothing but tables and indexes of it is dropped.
    pub(super) fn dropped(&mut self, caller: &Tree, sealed: &Tree) -> Verdict {
        self.fields(caller, sealed, &["objects"])?;
        let kind = number::<pb::ObjectType>(sealed, "remove_type");
        if !matches!(kind, Some(pb::ObjectType::ObjectTable | pb::ObjectType::ObjectIndex)) {
            return Err(Broken::at("a DROP of something else"));
        }
        let objects = |t: &'_ Tree| t.field("objects").map(|l| l.as_list().to_vec()).unwrap_or_default();
        let (c, s) = (objects(caller), objects(sealed));
        let parts = |t: &'_ Tree| {
            let list = t.unwrap_node().filter(|(kind, _)| *kind == "List").and_then(|(_, l)| l.field("items"));
            list.map(|items| items.strings().into_iter().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
        };
        let own = |(c, s): (&Tree, &Tree)| match (parts(c).last(), parts(s).as_slice()) {
            (Some(name), [schema, sealed]) => schema == SCHEMA && name == sealed,
            _ => false,
        };
        if !c.is_empty() && c.len() == s.len() && c.iter().zip(&s).all(own) {
            Ok(())
        } else {
            Err(Broken::at("a DROP outside the session's own schema"))
        }
    }
}

fn number<E: TryFrom<i32>>(tree: &Tree, field: &str) -> Option<E> {
    match tree.field(field) {
        Some(Tree::Int(n)) => i32::try_from(*n).ok().and_then(|n| E::try_from(n).ok()),
        _ => None,
    }
}

/// Parts of definitions, by the lists of what a temporary table may be made of; `None` when the node is none of those.
pub(super) fn take(tree: &Tree, resolved: &Resolved) -> Option<Verdict> {
    use pb::{AlterTableType as A, ConstrType as C, ObjectType as O};
    let own = |field: &str| {
        let place = tree.field(field).and_then(location);
        place.is_some_and(|l| resolved.temporaries.contains(&l))
    };
    let empty = |fields: &[&str]| {
        fields.iter().all(|f| match tree.field(f) {
            None | Some(Tree::Nothing) => true,
            Some(Tree::Text(text)) => text.is_empty(),
            Some(Tree::List(items)) => items.is_empty(),
            Some(_) => false,
        })
    };
    let Tree::Node(name, _) = tree else { return None };
    let fine = match *name {
        "CreateStmt" => {
            own("relation")
                && empty(&["inh_relations", "partbound", "partspec", "of_typename", "tablespacename", "access_method"])
        }
        "IntoClause" => own("rel") && empty(&["table_space_name", "access_method", "view_query"]),
        "CreateTableAsStmt" => number::<O>(tree, "objtype") == Some(O::ObjectTable),
        "IndexStmt" => own("relation") && empty(&["table_space", "exclude_op_names"]),
        "AlterTableStmt" => own("relation") && number::<O>(tree, "objtype") == Some(O::ObjectTable),
        "VacuumRelation" => own("relation"),
        "VacuumStmt" => {
            tree.field("is_vacuumcmd") == Some(&Tree::Bool(false))
                && tree.field("rels").is_some_and(|rels| !rels.as_list().is_empty())
        }
        "TableLikeClause" => own("relation"),
        "RenameStmt" => {
            own("relation")
                && empty(&["object"])
                && matches!(number::<O>(tree, "rename_type"), Some(O::ObjectTable | O::ObjectColumn))
        }
        "AlterTableCmd" => matches!(
            number::<A>(tree, "subtype"),
            Some(
                A::AtAddColumn
                    | A::AtDropColumn
                    | A::AtSetNotNull
                    | A::AtDropNotNull
                    | A::AtAddConstraint
                    | A::AtDropConstraint
            )
        ),
        "Constraint" => {
            empty(&["pktable", "fk_attrs", "exclusions", "where_clause", "indexname", "indexspace"])
                && matches!(
                    number::<C>(tree, "contype"),
                    Some(
                        C::ConstrNull
                            | C::ConstrNotnull
                            | C::ConstrDefault
                            | C::ConstrIdentity
                            | C::ConstrGenerated
                            | C::ConstrCheck
                            | C::ConstrPrimary
                            | C::ConstrUnique
                            | C::ConstrAttrDeferrable
                            | C::ConstrAttrNotDeferrable
                            | C::ConstrAttrDeferred
                            | C::ConstrAttrImmediate
                    )
                )
        }
        _ => return None,
    };
    Some(if fine { Ok(()) } else { Err(Broken::at(format!("a {name} that no temporary table has"))) })
}
