//! Pass *relations*: the policy view of one relation.
//!
//! Of the dictionary's columns it lists those that the statement needs: `(SELECT _sv."a", mask AS "b" FROM "s"."t" AS _sv WHERE predicate) AS alias`, for a query source `FROM (query) AS _sv`; with a barrier, `OFFSET '0'` keeps the caller's
//! conditions above, except for copies of conjuncts that never raise. Where a caller's expression may raise, columns of types with
//! operators that do become `COALESCE(a, a)`: no statistics belong to that. What several masks share stands beside the row:
//! `FROM "s"."t" AS _sv LEFT JOIN LATERAL (…) AS _sk ON TRUE`.
//!
//! A view that holds nothing of the statement's own is the same in all of them: its place is taken by a [`stand_in`], for which the seal puts
//! its text, which is printed and checked once.

use crate::catalog::total::may_be_guessed;
use crate::error::Refusal;
use crate::policy::decision::{ColumnDecision, ROW_ALIAS, RelationDecision};
use crate::policy::kept::ByDecision;
use crate::resolve::RelationUse;
use crate::sql::{NodeEnum, build, parse_expression, parse_query, pb};

/// Expressions of a decision, parsed.
#[derive(Debug)]
pub struct Body {
    targets: Vec<pb::Node>,
    pub(super) conditions: Vec<pb::Node>,
    /// The query that stands where the relation would.
    query: Option<pb::Node>,
    /// Aliases and bodies of companions.
    companions: Vec<(String, pb::Node)>,
}

/// Joins a companion to a FROM item.
fn accompanied(item: pb::Node, alias: &str, body: pb::Node) -> Result<pb::Node, Refusal> {
    let beside = build::node(NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
        lateral: true,
        subquery: Some(Box::new(body)),
        alias: Some(build::alias(alias)),
    })));
    Ok(build::node(NodeEnum::JoinExpr(Box::new(pb::JoinExpr {
        jointype: pb::JoinType::JoinLeft as i32,
        is_natural: false,
        larg: Some(Box::new(item)),
        rarg: Some(Box::new(beside)),
        using_clause: Vec::new(),
        join_using_alias: None,
        quals: Some(Box::new(parse_expression("TRUE")?)),
        alias: None,
        rtindex: 0,
    }))))
}

impl Body {
    /// Parses what a decision says; `unguessed` keeps the planner's statistics away from columns whose operators may raise.
    ///
    /// # Errors
    /// XX000 when an expression does not parse.
    pub fn of(decision: &RelationDecision, unguessed: bool) -> Result<Self, Refusal> {
        let target = |column: &ColumnDecision| {
            let value = match &column.mask {
                None => build::column(&[ROW_ALIAS, &column.name]),
                Some(mask) => parse_expression(&mask.sql)?,
            };
            if unguessed && may_be_guessed(column.type_oid) {
                // The same value, type and modifier, but no column, so that the planner has no statistics of it.
                let twice = pb::CoalesceExpr { args: vec![value.clone(), value], ..pb::CoalesceExpr::default() };
                return Ok(build::target(build::node(NodeEnum::CoalesceExpr(Box::new(twice))), &column.name));
            }
            Ok(build::target(value, if column.mask.is_some() { column.name.as_str() } else { "" }))
        };
        Ok(Self {
            targets: decision.columns.iter().map(target).collect::<Result<_, Refusal>>()?,
            conditions: decision.rows.iter().map(|row| parse_expression(&row.sql)).collect::<Result<_, Refusal>>()?,
            companions: decision
                .companions
                .iter()
                .map(|c| Ok((c.alias.to_string(), parse_query(&c.sql)?)))
                .collect::<Result<_, Refusal>>()?,
            query: decision.query.as_ref().map(|query| parse_query(&query.sql)).transpose()?,
        })
    }
}

/// The schema of relations that take the place of views until their texts do. What callers name is never printed as they wrote it.
pub const STAND_IN: &str = "_sv";

/// Whether a view holds nothing of the statement that it is part of.
pub fn stands_alone(use_: &RelationUse) -> bool {
    use_.pushed.is_empty()
}

/// What takes the place of the policy view of `relation`: a name that says where the caller mentions it.
pub fn stand_in(use_: &RelationUse, relation: &pb::RangeVar) -> pb::Node {
    build::node(NodeEnum::RangeVar(pb::RangeVar {
        catalogname: String::new(),
        schemaname: STAND_IN.to_owned(),
        relname: relation.location.to_string(),
        inh: true,
        relpersistence: "p".to_owned(),
        alias: Some(alias(use_, relation)),
        location: -1,
    }))
}

fn alias(use_: &RelationUse, relation: &pb::RangeVar) -> pb::Alias {
    let columns = relation.alias.as_ref().map(|a| a.colnames.clone()).unwrap_or_default();
    pb::Alias { aliasname: use_.alias.clone(), colnames: columns }
}

/// The policy view that stands for `relation`, sampled or not.
///
/// # Errors
/// XX000 when an expression of the decision does not parse.
pub fn view(
    bodies: &ByDecision<Body>,
    use_: &RelationUse,
    relation: &pb::RangeVar,
    sample: Option<&pb::RangeTableSample>,
) -> Result<pb::Node, Refusal> {
    let select = body(bodies, use_, relation.inh, sample)?;
    Ok(build::node(NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
        lateral: false,
        subquery: Some(Box::new(build::node(select))),
        alias: Some(alias(use_, relation)),
    }))))
}

/// What a policy view selects; of the relation alone unless it is read with its children.
///
/// # Errors
/// As [`view`].
pub fn body(
    bodies: &ByDecision<Body>,
    use_: &RelationUse,
    with_children: bool,
    sample: Option<&pb::RangeTableSample>,
) -> Result<NodeEnum, Refusal> {
    let decision = use_.permitted.decision();
    let mut select = build::select();
    let body = bodies.get(decision, u8::from(use_.unguessed), || Body::of(decision, use_.unguessed))?;
    select.target_list = match &use_.listed {
        Some(listed) => {
            let targets = body.targets.iter().zip(listed.iter()).filter(|(_, listed)| **listed);
            targets.map(|(target, _)| target.clone()).collect()
        }
        None => body.targets.clone(),
    };
    let base = build::node(match &body.query {
        Some(query) => NodeEnum::RangeSubselect(Box::new(pb::RangeSubselect {
            lateral: false,
            subquery: Some(Box::new(query.clone())),
            alias: Some(build::alias(ROW_ALIAS)),
        })),
        None => NodeEnum::RangeVar(pb::RangeVar {
            catalogname: String::new(),
            schemaname: decision.remote.schema.clone(),
            relname: decision.remote.name.clone(),
            inh: with_children,
            relpersistence: "p".to_owned(),
            alias: Some(build::alias(ROW_ALIAS)),
            location: -1,
        }),
    });
    let mut from = match sample {
        None => base,
        Some(sample) => build::node(NodeEnum::RangeTableSample(Box::new(pb::RangeTableSample {
            relation: Some(Box::new(base)),
            method: sample.method.clone(),
            args: sample.args.clone(),
            repeatable: sample.repeatable.clone(),
            location: -1,
        }))),
    };
    for (alias, query) in &body.companions {
        from = accompanied(from, alias, query.clone())?;
    }
    select.from_clause.push(from);
    let rules = body.conditions.iter().zip(&decision.rows);
    let mut conditions: Vec<pb::Node> = rules
        .map(|(condition, rule)| match use_.row_by_row && rule.has_subquery {
            true => build::is_true(condition.clone()),
            false => condition.clone(),
        })
        .collect();
    conditions.extend(use_.pushed.iter().cloned());
    select.where_clause = build::all_of(conditions).map(Box::new);
    if use_.barrier {
        build::fence(&mut select);
    }
    Ok(NodeEnum::SelectStmt(Box::new(select)))
}
