//! What the caller's tree is made of: only node kinds, functions, operators and types on the lists, wherever they stand.
//!
//! Taken over the generic picture, so that no construct can hide in a field that a walk forgot.

use super::Broken;
use crate::catalog::functions::FunctionClass;
use crate::catalog::named::is_shown;
use crate::catalog::{Catalog, Function, NamedKind};
use crate::policy::decision::{COMPANION_PREFIX, ROW_ALIAS};
use crate::resolve::Resolved;
use crate::sql::tree::Tree;
use ahash::AHashSet;
use std::sync::LazyLock;

/// Node kinds that may stand in a sealed statement.
static KINDS: LazyLock<AHashSet<&str>> = LazyLock::new(|| LISTED.iter().copied().collect());
const LISTED: &[&str] = &[
    "AArrayExpr",
    "AConst",
    "AExpr",
    "AIndices",
    "AIndirection",
    "AStar",
    "BoolExpr",
    "BooleanTest",
    "CaseExpr",
    "CaseWhen",
    "CoalesceExpr",
    "CollateClause",
    "ColumnDef",
    "ColumnRef",
    "CommonTableExpr",
    "CopyStmt",
    "DeclareCursorStmt",
    "DefElem",
    "DeleteStmt",
    "ExecuteStmt",
    "ExplainStmt",
    "Float",
    "FuncCall",
    "GroupingFunc",
    "GroupingSet",
    "IndexElem",
    "InsertStmt",
    "Integer",
    "JoinExpr",
    "JsonIsPredicate",
    "List",
    "MergeStmt",
    "MergeWhenClause",
    "MinMaxExpr",
    "MultiAssignRef",
    "NamedArgExpr",
    "NullTest",
    "ParamRef",
    "PrepareStmt",
    "RangeFunction",
    "RangeSubselect",
    "RangeTableFunc",
    "RangeTableFuncCol",
    "RangeTableSample",
    "RangeVar",
    "ResTarget",
    "RowExpr",
    "SelectStmt",
    "SetToDefault",
    "SortBy",
    "SqlvalueFunction",
    "String",
    "SubLink",
    "TypeCast",
    "TypeName",
    "UpdateStmt",
    "WindowDef",
    "XmlExpr",
    "XmlSerialize",
    // Statements without expressions.
    "ClosePortalStmt",
    "DeallocateStmt",
    "DiscardStmt",
    "FetchStmt",
    "TransactionStmt",
    "TruncateStmt",
    "UnlistenStmt",
    "VariableSetStmt",
    "VariableShowStmt",
    "Boolean",
    "BitString",
    // Temporary tables: what of these may be said is looked at one by one.
    "AlterTableCmd",
    "AlterTableStmt",
    "Constraint",
    "CreateStmt",
    "CreateTableAsStmt",
    "DropStmt",
    "IndexElem",
    "IndexStmt",
    "RenameStmt",
    "TableLikeClause",
    "VacuumRelation",
    "VacuumStmt",
];

/// Checks every node of the caller's tree.
pub(super) fn take(tree: &Tree, resolved: &Resolved, catalog: &Catalog) -> Result<(), Broken> {
    let mut verdict = Ok(());
    tree.each(&mut |t| {
        if verdict.is_ok() {
            verdict = one(t, resolved, catalog);
        }
    });
    verdict
}

fn one(tree: &Tree, resolved: &Resolved, catalog: &Catalog) -> Result<(), Broken> {
    if let Some(verdict) = super::scratch::take(tree, resolved) {
        return verdict;
    }
    match tree {
        Tree::Variant(kind, _) => {
            // Constants' values are variants too: Ival, Fval, Boolval, Sval, Bsval.
            let value = matches!(*kind, "Ival" | "Fval" | "Boolval" | "Sval" | "Bsval");
            if value || KINDS.contains(kind) { Ok(()) } else { Err(Broken::at(format!("kind {kind}"))) }
        }
        Tree::Node("FuncCall", _) => function(tree, resolved, catalog),
        Tree::Node("AExpr", _) => operator(tree.field("name")),
        Tree::Node("SubLink", _) => operator(tree.field("oper_name")),
        Tree::Node("SortBy", _) => operator(tree.field("use_op")),
        Tree::Node("LockingClause", _) => Err(Broken::at("a clause that writes or locks")),
        Tree::Node("InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt", _) => {
            let relation = tree.field("relation").and_then(location);
            let known =
                relation.is_some_and(|l| resolved.targets.contains_key(&l) || resolved.temporaries.contains(&l));
            if known { Ok(()) } else { Err(Broken::at("a statement that writes without a permit")) }
        }
        Tree::Node("ReturningClause", _) if tree.field("options").is_some_and(|o| !o.as_list().is_empty()) => {
            Err(Broken::at("RETURNING with options"))
        }
        Tree::Node("CollateClause", _) => operator(tree.field("collname")),
        Tree::Node("IndexElem", _) => {
            operator(tree.field("collation"))?;
            operator(tree.field("opclass"))
        }
        // The relation that is written stands under a name of ours.
        Tree::Node("ColumnRef", _) if !resolved.targets.is_empty() => {
            let ours = |name: &&str| name.starts_with(ROW_ALIAS) || name.starts_with(COMPANION_PREFIX);
            let qualified = tree.field("fields").map_or(0, |f| f.as_list().len()) > 1;
            if qualified && tree.field("fields").is_some_and(|f| f.strings().first().is_some_and(ours)) {
                return Err(Broken::at("a column reference under a name of ours"));
            }
            Ok(())
        }
        Tree::Node("RangeVar", _) => range_var(tree, resolved, catalog),
        Tree::Node("TypeName", _) => type_name(tree, catalog),
        Tree::Node("ColumnDef" | "RangeTableFuncCol" | "XmlSerialize", _) => {
            let parts = tree.field("type_name").and_then(|t| t.field("names")).map(Tree::strings).unwrap_or_default();
            let reg = parts.last().is_some_and(|name| crate::catalog::reg::is_reg_type(name));
            if reg { Err(Broken::at("a column that reads the catalog")) } else { Ok(()) }
        }
        Tree::Node("SqlValueFunction", _) => match tells_time(tree) {
            true => Ok(()),
            _ if replaced(tree, resolved) => Ok(()),
            _ => Err(Broken::at("a value function that tells about the service login")),
        },
        Tree::Node("TypeCast", _) => {
            let parts = tree.field("type_name").and_then(|t| t.field("names")).map(Tree::strings).unwrap_or_default();
            let reg = parts.last().is_some_and(|name| crate::catalog::reg::is_reg_type(name));
            if reg && !replaced(tree, resolved) { Err(Broken::at("a cast that reads the catalog")) } else { Ok(()) }
        }
        Tree::Node(..) | Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) | Tree::List(_) => Ok(()),
    }
}

/// Whether a word that is a function (`current_date`) is about the clock and nothing else.
pub(super) fn tells_time(tree: &Tree) -> bool {
    use crate::sql::pb::SqlValueFunctionOp as Op;
    let op = match tree.field("op") {
        Some(Tree::Int(op)) => i32::try_from(*op).ok().and_then(|op| Op::try_from(op).ok()),
        _ => None,
    };
    matches!(
        op,
        Some(
            Op::SvfopCurrentDate
                | Op::SvfopCurrentTime
                | Op::SvfopCurrentTimeN
                | Op::SvfopCurrentTimestamp
                | Op::SvfopCurrentTimestampN
                | Op::SvfopLocaltime
                | Op::SvfopLocaltimeN
                | Op::SvfopLocaltimestamp
                | Op::SvfopLocaltimestampN
        )
    )
}

fn function(tree: &Tree, resolved: &Resolved, catalog: &Catalog) -> Result<(), Broken> {
    let parts = tree.field("funcname").map(Tree::strings).unwrap_or_default();
    let name = match parts.as_slice() {
        [one] | ["pg_catalog", one] => *one,
        ["information_schema", "_pg_expandarray"] => return Ok(()),
        [schema, one] if !catalog.vouched_for(&crate::types::QualifiedName::new(*schema, *one)).is_empty() => {
            return Ok(());
        }
        _ => return Err(Broken::at("a function outside pg_catalog")),
    };
    if replaced(tree, resolved) {
        return Ok(());
    }
    let known = catalog.functions.contains_key(name);
    let one_argument = tree.field("args").is_some_and(|a| a.as_list().len() == 1);
    match catalog.function_class(name) {
        FunctionClass::Allowed if known => named(tree, name, catalog),
        // An unknown unqualified name that is no type's can only be `column(relation)`: the warehouse's path reaches no other schema.
        _ if !known && parts.len() == 1 && !is_system_type(name, catalog) => Ok(()),
        // A type's name there is a cast.
        _ if !known && catalog.names_a_cast(name) && one_argument => Ok(()),
        FunctionClass::Allowed | FunctionClass::Identity(_) | FunctionClass::Guarded | FunctionClass::Denied => {
            Err(Broken::at("a function that is not allowed"))
        }
    }
}

/// A first argument that is a constant and sure to name an object of text search must name one of `pg_catalog`.
fn named(tree: &Tree, name: &str, catalog: &Catalog) -> Result<(), Broken> {
    let args = tree.field("args").map(Tree::as_list).unwrap_or_default();
    let constant = args.first().and_then(|a| a.unwrap_node()?.1.field("val")?.field("sval")?.as_text());
    let overloads = catalog.functions.get(name).map_or(&[][..], Vec::as_slice);
    let fit = |f: &&Function| (f.args.len().saturating_sub(f.defaults)..=f.args.len()).contains(&args.len());
    let mut kinds = overloads.iter().filter(fit).map(|f| NamedKind::of_argument(name, f, 0));
    match (constant, kinds.clone().next().flatten()) {
        (Some(text), Some(kind)) if kinds.all(|k| k == Some(kind)) && !is_shown(kind, text, catalog) => {
            Err(Broken::at("a name of an object outside pg_catalog"))
        }
        _ => Ok(()),
    }
}

fn is_system_type(name: &str, catalog: &Catalog) -> bool {
    catalog.type_names.contains_key(&crate::types::QualifiedName::new("pg_catalog", name))
}

/// A type that reads the catalog may be named only by a cast that is replaced; types that print it, nowhere.
fn type_name(tree: &Tree, catalog: &Catalog) -> Result<(), Broken> {
    let parts = tree.field("names").map(Tree::strings).unwrap_or_default();
    let name = match parts.as_slice() {
        [one] | ["pg_catalog", one] => *one,
        _ => return Ok(()),
    };
    let oid = catalog.type_names.get(&crate::types::QualifiedName::new("pg_catalog", name));
    if oid.is_some_and(|oid| crate::catalog::reg::cast_is_refused(*oid)) {
        return Err(Broken::at("a type that prints the catalog"));
    }
    Ok(())
}

/// A relation that is neither behind a view nor a CTE does not pass; a CTE may not be named like a system relation, so that an
/// unqualified name reaches nothing on the warehouse's path should scopes ever be read differently there.
fn range_var(tree: &Tree, resolved: &Resolved, catalog: &Catalog) -> Result<(), Broken> {
    let Some(location) = location(tree) else { return Err(Broken::at("a relation without a place")) };
    let known = resolved.relations.contains_key(&location) || resolved.targets.contains_key(&location);
    if known || resolved.temporaries.contains(&location) {
        return Ok(());
    }
    let bare = ["schemaname", "catalogname"].iter().all(|f| tree.field(f).and_then(Tree::as_text) == Some(""));
    let name = tree.field("relname").and_then(Tree::as_text).unwrap_or_default();
    let system = crate::types::QualifiedName::new("pg_catalog", name);
    if resolved.ctes.contains(&location) && bare && !catalog.relations.contains_key(&system) {
        return Ok(());
    }
    Err(Broken::at("a relation that is neither behind a view nor a CTE"))
}

fn operator(name: Option<&Tree>) -> Result<(), Broken> {
    match name.map(Tree::strings).unwrap_or_default().as_slice() {
        [] | [_] | ["pg_catalog", _] => Ok(()),
        _ => Err(Broken::at("an operator outside pg_catalog")),
    }
}

fn replaced(tree: &Tree, resolved: &Resolved) -> bool {
    location(tree).is_some_and(|l| resolved.calls.contains_key(&l))
}

/// The location field of a node, when it has one.
pub(super) fn location(tree: &Tree) -> Option<i32> {
    match tree.field("location") {
        Some(Tree::Int(at)) => i32::try_from(*at).ok().filter(|at| *at >= 0),
        _ => None,
    }
}
