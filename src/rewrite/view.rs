//! Pass *relations*: the policy view of one relation.
//!
//! `(SELECT _sv."a", mask AS "b" FROM "s"."t" AS _sv WHERE predicate) AS alias`; with a barrier, `OFFSET 0` keeps the caller's
//! conditions above, except for copies of conjuncts that never raise. Where a caller's expression may raise, columns of types with
//! operators that do become `COALESCE(a, a)`: no statistics belong to that.

use crate::catalog::total::may_be_guessed;
use crate::error::Refusal;
use crate::policy::decision::ROW_ALIAS;
use crate::resolve::RelationUse;
use crate::sql::{NodeEnum, build, parse_expression, pb};

/// The policy view that stands for `relation`, sampled or not.
///
/// # Errors
/// XX000 when an expression of the decision does not parse.
pub fn view(
    use_: &RelationUse,
    relation: &pb::RangeVar,
    sample: Option<&pb::RangeTableSample>,
) -> Result<pb::Node, Refusal> {
    let decision = use_.permitted.decision();
    let mut select = build::select();
    for column in &decision.columns {
        let value = match &column.mask {
            None => build::column(&[ROW_ALIAS, &column.name]),
            Some(mask) => parse_expression(&mask.sql)?,
        };
        select.target_list.push(if use_.unguessed && may_be_guessed(column.type_oid) {
            // The same value, type and modifier, but no column, so that the planner has no statistics of it.
            let twice = pb::CoalesceExpr { args: vec![value.clone(), value], ..pb::CoalesceExpr::default() };
            build::target(build::node(NodeEnum::CoalesceExpr(Box::new(twice))), &column.name)
        } else {
            let name = if column.mask.is_some() { column.name.as_str() } else { "" };
            build::target(value, name)
        });
    }
    let base = build::node(NodeEnum::RangeVar(pb::RangeVar {
        catalogname: String::new(),
        schemaname: decision.remote.schema.clone(),
        relname: decision.remote.name.clone(),
        inh: relation.inh,
        relpersistence: "p".to_owned(),
        alias: Some(build::alias(ROW_ALIAS)),
        location: -1,
    }));
    select.from_clause.push(match sample {
        None => base,
        Some(sample) => build::node(NodeEnum::RangeTableSample(Box::new(pb::RangeTableSample {
            relation: Some(Box::new(base)),
            method: sample.method.clone(),
            args: sample.args.clone(),
            repeatable: sample.repeatable.clone(),
            location: -1,
        }))),
    });
    let mut conditions =
        decision.rows.iter().map(|row| parse_expression(&row.sql)).collect::<Result<Vec<_>, Refusal>>()?;
    conditions.extend(use_.pushed.iter().cloned());
    select.where_clause = build::all_of(conditions).map(Box::new);
    if use_.barrier {
        select.limit_offset = Some(Box::new(build::integer_constant(0)));
        select.limit_option = pb::LimitOption::Count as i32;
    }
    let columns = relation.alias.as_ref().map(|a| a.colnames.clone()).unwrap_or_default();
    Ok(build::node(NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
        lateral: false,
        subquery: Some(Box::new(build::node(NodeEnum::SelectStmt(Box::new(select))))),
        alias: Some(pb::Alias { aliasname: use_.alias.clone(), colnames: columns }),
    }))))
}
