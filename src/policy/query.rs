//! Query sources: a SELECT written by an administrator that is a relation for callers (`query` of a `data` document, seed 004).
//!
//! In: the text as declared. Out: its canonical text, in which every relation is qualified, or why it is refused. The warehouse then
//! says which columns it has ([`crate::catalog::Described`]). Must never: let through anything but one SELECT that only reads, or a
//! name whose meaning a search path could change.
//!
//! The canonical text ends with `OFFSET '0'` unless it has a LIMIT of its own: the rows that its own conditions leave out are hidden
//! like those of a row rule, so neither a policy's predicate nor a caller's condition may run before these conditions did.

use crate::catalog::Catalog;
use crate::catalog::views::session_dependent;
use crate::governance::model::{Declared, DeclaredQuery, Source};
use crate::sql::tree::Tree;
use crate::sql::{self, NodeEnum, build, pb};
use crate::types::{QualifiedName, quote_ident};
use std::collections::BTreeSet;

/// A query that may be registered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Canonical {
    /// What is sent, in parentheses, where the relation stands.
    pub(crate) sql: String,
    /// Relations it reads.
    pub(crate) relations: BTreeSet<QualifiedName>,
    /// Functions it calls: schema, when written, and name.
    functions: BTreeSet<(Option<String>, String)>,
    /// Its picture.
    tree: Tree,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn fault(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { message: message.into(), help: help.into() }
}

/// The canonical texts of every acceptable query of a connection: what the warehouse has to describe.
pub fn queries(declared: &Declared, connection_key: &str) -> BTreeSet<String> {
    let documents = declared.data.iter().filter(|d| d.connection_key == connection_key);
    let sources = documents.flat_map(|d| d.sources.iter().flatten());
    let declared = sources.filter_map(|source| match source {
        Source::Table(table) => table.query.as_ref(),
        Source::All { .. } => None,
    });
    declared.filter_map(|query| canonical(query).ok().map(|c| c.sql)).collect()
}

/// Checks a query and makes its text independent of any search path.
pub(crate) fn canonical(declared: &DeclaredQuery) -> Result<Canonical, Fault> {
    sql::limits::with_stack(&declared.sql, || Ok(checked(declared)))
        .unwrap_or_else(|refusal| Err(fault(format!("the query cannot be read: {refusal}"), "make it shorter")))
}

fn checked(declared: &DeclaredQuery) -> Result<Canonical, Fault> {
    let text = declared.sql.trim().trim_end_matches(';');
    let select = one_select(text)?;
    let tree = picture(&select)?;
    let mut found = Found::default();
    tree.each(&mut |t| found.look(t));
    if let Some(fault) = found.fault {
        return Err(fault);
    }
    let ctes = found.ctes;
    let mut relations = BTreeSet::new();
    // From the last to the first, so that earlier places stay where they are.
    found.relations.sort_by_key(|(at, _, _)| std::cmp::Reverse(*at));
    let mut qualified = text.to_owned();
    for (at, schema, name) in found.relations {
        if !schema.is_empty() {
            relations.insert(QualifiedName::new(schema, name));
        } else if !ctes.contains(&name) {
            relations.insert(QualifiedName::new(declared.schema.as_str(), name));
            match at.filter(|at| qualified.is_char_boundary(*at)) {
                Some(at) => qualified.insert_str(at, &format!("{}.", quote_ident(&declared.schema))),
                None => return Err(fault("a relation of the query has no place in its text", "qualify its name")),
            }
        }
    }
    let mut select = one_select(&qualified)?;
    let mut again = Found::default();
    picture(&select)?.each(&mut |t| again.look(t));
    if again.relations.iter().any(|(_, schema, name)| schema.is_empty() && !ctes.contains(name)) {
        return Err(fault("not every relation of the query could be qualified", "write `schema.table` everywhere"));
    }
    if select.limit_count.is_none() && select.limit_offset.is_none() {
        build::fence(&mut select);
    }
    let unprintable = || fault("the query cannot be printed faithfully", "write it in a simpler form");
    let sql = sql::print(NodeEnum::SelectStmt(Box::new(select.clone()))).map_err(|_| unprintable())?;
    if !picture(&one_select(&sql)?)?.same_but_places(&picture(&select)?) {
        return Err(unprintable());
    }
    Ok(Canonical { sql, relations, functions: again.functions, tree })
}

fn one_select(text: &str) -> Result<pb::SelectStmt, Fault> {
    let help = "write exactly one SELECT";
    let parsed =
        sql::parse(text).map_err(|refusal| fault(format!("the query is not SQL: {}", refusal.message), help))?;
    let mut statements = parsed.statements.into_iter().map(|s| s.node);
    match (statements.next(), statements.next()) {
        (Some(NodeEnum::SelectStmt(select)), None) => Ok(*select),
        (None, _) => Err(fault("the query is empty", help)),
        (Some(_), Some(_)) => Err(fault("the query holds more than one statement", help)),
        (Some(other), None) => Err(fault(format!("{} is not a query", sql::names::kind_name(&other)), help)),
    }
}

fn picture(select: &pb::SelectStmt) -> Result<Tree, Fault> {
    Tree::of(select).map_err(|_| fault("the query cannot be checked", "write it in a simpler form"))
}

/// What a query is made of.
#[derive(Default)]
struct Found {
    fault: Option<Fault>,
    /// Place, schema (perhaps empty) and name of every relation.
    relations: Vec<(Option<usize>, String, String)>,
    /// Names of common table expressions, wherever they are in force: such a name is never qualified, so that one used beyond its
    /// scope is unknown to the warehouse and the query refused.
    ctes: BTreeSet<String>,
    functions: BTreeSet<(Option<String>, String)>,
}

impl Found {
    fn look(&mut self, tree: &Tree) {
        let reads = "a registered query only reads";
        match tree {
            Tree::Variant(kind @ ("InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"), _) => {
                let verb = kind.trim_end_matches("Stmt").to_uppercase();
                self.refuse(format!("{verb} inside the query"), reads);
            }
            Tree::Variant("LockingClause", _) => self.refuse("row locks (FOR UPDATE, FOR SHARE) in the query", reads),
            Tree::Node("IntoClause", _) => self.refuse("SELECT INTO in the query", reads),
            Tree::Node("ParamRef", _) => {
                self.refuse("a parameter ($1) in the query", "write the value, or filter with a row rule");
            }
            Tree::Node("SqlValueFunction", _) => self.value_function(tree),
            Tree::Node("RangeVar", _) => self.relation(tree),
            Tree::Node("CommonTableExpr", _) => self.ctes.extend(text(tree, "ctename")),
            Tree::Node("FuncCall", _) => {
                let parts = tree.field("funcname").map(Tree::strings).unwrap_or_default();
                match parts.as_slice() {
                    [name] => self.functions.insert((None, (*name).to_owned())),
                    [.., schema, name] => self.functions.insert((Some((*schema).to_owned()), (*name).to_owned())),
                    [] => false,
                };
            }
            _ => {}
        }
    }

    fn refuse(&mut self, message: impl Into<String>, help: &str) {
        self.fault.get_or_insert_with(|| fault(message, help));
    }

    /// `current_user` and its like would answer with the proxy's own login.
    fn value_function(&mut self, tree: &Tree) {
        use pb::SqlValueFunctionOp as Op;
        let op = match tree.field("op") {
            Some(Tree::Int(op)) => i32::try_from(*op).ok().and_then(|op| Op::try_from(op).ok()),
            _ => None,
        };
        let about_login = matches!(
            op,
            None | Some(Op::SvfopCurrentRole | Op::SvfopCurrentUser | Op::SvfopUser | Op::SvfopSessionUser)
        );
        if about_login {
            let help = "it would name the login of the proxy; compare with @username in a row rule instead";
            self.refuse("`current_user` or the like in the query", help);
        }
    }

    fn relation(&mut self, tree: &Tree) {
        if text(tree, "catalogname").is_some() {
            return self.refuse("a relation of another database in the query", "write `schema.table`");
        }
        let at = match tree.field("location") {
            Some(Tree::Int(at)) => usize::try_from(*at).ok(),
            _ => None,
        };
        let name = text(tree, "relname").unwrap_or_default();
        self.relations.push((at, text(tree, "schemaname").unwrap_or_default(), name));
    }
}

/// A text field that is not empty.
fn text(tree: &Tree, field: &str) -> Option<String> {
    tree.field(field).and_then(Tree::as_text).filter(|t| !t.is_empty()).map(str::to_owned)
}

impl Canonical {
    /// What in it may answer differently under a caller's settings.
    pub(crate) fn session_dependent(&self, catalog: &Catalog) -> BTreeSet<String> {
        session_dependent(&self.tree, &catalog.functions)
    }

    /// Functions it calls that do not always give the same answer, or of which nothing is known.
    pub(crate) fn volatile(&self, catalog: &Catalog) -> Vec<String> {
        let doubtful = |(schema, name): &&(Option<String>, String)| match schema.as_deref() {
            None | Some("pg_catalog") => {
                catalog.functions.get(name).is_some_and(|all| all.iter().any(|f| f.volatility == 'v'))
            }
            Some(_) => true,
        };
        let shown = |(schema, name): &(Option<String>, String)| match schema {
            Some(schema) => format!("{schema}.{name}"),
            None => name.clone(),
        };
        self.functions.iter().filter(doubtful).map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::model::Origin;

    fn read(sql: &str) -> Result<Canonical, Fault> {
        canonical(&DeclaredQuery { sql: sql.into(), schema: "raw".into(), origin: Origin::default() })
    }

    #[test]
    fn relations_are_qualified_wherever_they_stand() {
        let query = read(
            "WITH big AS (SELECT * FROM orders WHERE total > 9) \
             SELECT b.id, (SELECT max(x) FROM \"Odd t\") AS m FROM big b JOIN other.t USING (id) \
             WHERE b.id IN (TABLE ids) AND EXISTS (SELECT FROM ONLY parts);",
        )
        .unwrap();
        let shown: Vec<String> = query.relations.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["other.t", "raw.Odd t", "raw.ids", "raw.orders", "raw.parts"]);
        for part in
            ["FROM raw.orders", "FROM raw.\"Odd t\"", "FROM big b", "FROM raw.ids", "ONLY raw.parts", "OFFSET '0'"]
        {
            assert!(query.sql.contains(part), "{part} in {}", query.sql);
        }
    }

    #[test]
    fn a_canonical_text_stays_as_it_is() {
        for sql in
            ["SELECT 1 AS a UNION ALL SELECT 2", "VALUES (1, 'x')", "SELECT a FROM t ORDER BY a LIMIT 3", "TABLE t"]
        {
            let once = read(sql).unwrap();
            assert_eq!(read(&once.sql).unwrap().sql, once.sql);
        }
    }

    #[test]
    fn only_one_select_that_reads_is_taken() {
        for (sql, why) in [
            ("", "is empty"),
            ("SELECT 1; SELECT 2", "more than one"),
            ("DELETE FROM t", "not a query"),
            ("SELECT * FROM t FOR UPDATE", "row locks"),
            ("SELECT * INTO x FROM t", "SELECT INTO"),
            ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "DELETE inside"),
            ("SELECT * FROM t WHERE a = $1", "parameter"),
            ("SELECT current_user", "current_user"),
            ("SELECT * FROM (SELECT session_user) x", "current_user"),
            ("SELECT * FROM db.s.t", "another database"),
            ("SELECT FROM WHERE", "not SQL"),
            ("SELECT 1) AS x, (SELECT 2", "not SQL"),
        ] {
            let fault = read(sql).unwrap_err();
            assert!(fault.message.contains(why), "{sql}: {}", fault.message);
        }
    }

    #[test]
    fn doubtful_functions_are_told() {
        let catalog = crate::policy::testing::catalog();
        let query = read("SELECT random(), lower('A'), ext.f(1) FROM t").unwrap();
        assert_eq!(query.volatile(&catalog), ["random", "ext.f"]);
    }
}
