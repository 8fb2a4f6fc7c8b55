//! Makers of small tree parts, so that passes read as what they mean.

use super::{NodeEnum, pb};

/// Wraps a kind.
pub fn node(kind: NodeEnum) -> pb::Node {
    pb::Node { node: Some(kind) }
}

/// A name part.
pub fn string(text: &str) -> pb::Node {
    node(NodeEnum::String(pb::String { sval: text.to_owned() }))
}

/// `a.b.c` as a column reference.
pub fn column(path: &[&str]) -> pb::Node {
    node(NodeEnum::ColumnRef(pb::ColumnRef { fields: path.iter().map(|p| string(p)).collect(), location: -1 }))
}

/// A string constant.
pub fn text_constant(value: &str) -> pb::Node {
    node(NodeEnum::AConst(pb::AConst {
        isnull: false,
        location: -1,
        val: Some(pb::a_const::Val::Sval(pb::String { sval: value.to_owned() })),
    }))
}

/// An integer constant.
pub fn integer_constant(value: i32) -> pb::Node {
    node(NodeEnum::AConst(pb::AConst {
        isnull: false,
        location: -1,
        val: Some(pb::a_const::Val::Ival(pb::Integer { ival: value })),
    }))
}

/// `OFFSET '0'`, which changes nothing but that the planner keeps the query by itself: it neither becomes part of the one around it nor gets
/// conditions from there (prepjointree.c `is_simple_subquery`, allpaths.c `subquery_is_pushdown_safe`). Not `OFFSET 0`: an integer has
/// yet to be cast to bigint when the planner asks whether there is an OFFSET that workers would have to know (planner.c `limit_needed`).
pub fn fence(select: &mut pb::SelectStmt) {
    select.limit_offset = Some(Box::new(text_constant("0")));
    select.limit_option = pb::LimitOption::Count as i32;
}

/// `value::pg_catalog.type`.
pub fn cast(value: pb::Node, type_name: &str) -> pb::Node {
    node(NodeEnum::TypeCast(Box::new(pb::TypeCast {
        arg: Some(Box::new(value)),
        type_name: Some(pb::TypeName {
            names: vec![string("pg_catalog"), string(type_name)],
            type_oid: 0,
            setof: false,
            pct_type: false,
            typmods: Vec::new(),
            typemod: -1,
            array_bounds: Vec::new(),
            location: -1,
        }),
        location: -1,
    })))
}

/// A target, named or not.
pub fn target(value: pb::Node, name: &str) -> pb::Node {
    node(NodeEnum::ResTarget(Box::new(pb::ResTarget {
        name: name.to_owned(),
        indirection: Vec::new(),
        val: Some(Box::new(value)),
        location: -1,
    })))
}

/// All of `parts` ANDed; one part stands alone, none gives nothing.
pub fn all_of(mut parts: Vec<pb::Node>) -> Option<pb::Node> {
    if parts.len() > 1 {
        return Some(node(NodeEnum::BoolExpr(Box::new(pb::BoolExpr {
            xpr: None,
            boolop: pb::BoolExprType::AndExpr as i32,
            args: parts,
            location: -1,
        }))));
    }
    parts.pop()
}

/// `condition IS TRUE`: the same rows, and the planner makes no join of a sub-query in it.
pub fn is_true(condition: pb::Node) -> pb::Node {
    node(NodeEnum::BooleanTest(Box::new(pb::BooleanTest {
        xpr: None,
        arg: Some(Box::new(condition)),
        booltesttype: pb::BoolTestType::IsTrue as i32,
        location: -1,
    })))
}

/// An alias without column names.
pub fn alias(name: &str) -> pb::Alias {
    pb::Alias { aliasname: name.to_owned(), colnames: Vec::new() }
}

/// An empty SELECT, to be filled.
pub fn select() -> pb::SelectStmt {
    pb::SelectStmt {
        limit_option: pb::LimitOption::Default as i32,
        op: pb::SetOperation::SetopNone as i32,
        ..pb::SelectStmt::default()
    }
}

/// `CASE WHEN … THEN … END`, with ELSE when there is a default.
pub fn case(arms: Vec<(pb::Node, pb::Node)>, default: Option<pb::Node>) -> pb::Node {
    let arm = |(condition, result)| {
        node(NodeEnum::CaseWhen(Box::new(pb::CaseWhen {
            expr: Some(Box::new(condition)),
            result: Some(Box::new(result)),
            location: -1,
            ..pb::CaseWhen::default()
        })))
    };
    node(NodeEnum::CaseExpr(Box::new(pb::CaseExpr {
        args: arms.into_iter().map(arm).collect(),
        defresult: default.map(Box::new),
        location: -1,
        ..pb::CaseExpr::default()
    })))
}

/// NULL.
pub fn null() -> pb::Node {
    node(NodeEnum::AConst(pb::AConst { isnull: true, location: -1, val: None }))
}

/// FALSE.
pub fn no() -> pb::Node {
    let val = Some(pb::a_const::Val::Boolval(pb::Boolean { boolval: false }));
    node(NodeEnum::AConst(pb::AConst { isnull: false, location: -1, val }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tree::Tree;
    use crate::sql::{parse, parse_expression, print};

    #[test]
    fn whole_conditions_are_tested() {
        for condition in [
            "a IN (SELECT b FROM t)",
            "a = 1 OR b = 2",
            "a = 1 AND b IN (SELECT b FROM t)",
            "NOT a",
            "EXISTS (SELECT)",
            "a IS NULL",
            "a > ALL (SELECT b FROM t)",
            "a COLLATE \"C\" = b",
        ] {
            let mut query = select();
            query.where_clause = Some(Box::new(is_true(parse_expression(condition).unwrap())));
            let printed = print(NodeEnum::SelectStmt(Box::new(query))).unwrap();
            let tested = |text: &str| {
                let mut parsed = parse(text).unwrap();
                let NodeEnum::SelectStmt(select) = parsed.statements.remove(0).node else { panic!("a SELECT") };
                let Some(NodeEnum::BooleanTest(test)) = select.where_clause.unwrap().node else { panic!("{text}") };
                let tree = Tree::of(&*test.arg.unwrap()).unwrap();
                format!("{tree:?}").chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
            };
            assert_eq!(tested(&printed), tested(&format!("SELECT WHERE ({condition}) IS TRUE")), "{printed}");
        }
    }
}
