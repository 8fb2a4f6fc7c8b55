//! Pass *calls*: what stands for an identity function, a guarded catalog look-up or a cast to an OID alias type.

use crate::error::Refusal;
use crate::resolve::Replacement;
use crate::sql::{NodeEnum, build, pb, walk};

/// The node that replaces a call or cast with these (already rewritten) arguments.
///
/// # Errors
/// XX000 when a guard's text does not parse or names an argument that is not there.
pub fn replacement(with: &Replacement, arguments: &[pb::Node]) -> Result<pb::Node, Refusal> {
    match with {
        Replacement::Constant { value, type_name, array } => {
            let constant = match value {
                Some(text) => build::text_constant(text),
                None => build::node(NodeEnum::AConst(pb::AConst { isnull: true, location: -1, val: None })),
            };
            let mut cast = build::cast(constant, type_name);
            if *array
                && let Some(NodeEnum::TypeCast(cast)) = &mut cast.node
                && let Some(name) = &mut cast.type_name
            {
                name.array_bounds = vec![build::node(NodeEnum::Integer(pb::Integer { ival: -1 }))];
            }
            Ok(cast)
        }
        Replacement::Guard(template) => {
            let mut node = template.node()?.clone();
            fill(&mut node, arguments)?;
            Ok(node)
        }
    }
}

/// Puts the caller's arguments in the places `$1…$n` of a guard.
fn fill(node: &mut pb::Node, arguments: &[pb::Node]) -> Result<(), Refusal> {
    match &mut node.node {
        Some(NodeEnum::ParamRef(p)) => {
            let argument = usize::try_from(p.number).ok().and_then(|n| n.checked_sub(1)).and_then(|n| arguments.get(n));
            *node = argument.ok_or_else(|| Refusal::internal("a guard names an argument that is not there"))?.clone();
            Ok(())
        }
        Some(NodeEnum::SelectStmt(select)) => fill_select(select, arguments),
        Some(kind) => walk::children(kind, &mut |child| fill(child, arguments)),
        None => Ok(()),
    }
}

fn fill_select(select: &mut pb::SelectStmt, arguments: &[pb::Node]) -> Result<(), Refusal> {
    for list in [&mut select.target_list, &mut select.values_lists] {
        walk::list(list, &mut |n| fill(n, arguments))?;
    }
    for node in [&mut select.where_clause, &mut select.limit_count, &mut select.limit_offset] {
        walk::boxed(node, &mut |n| fill(n, arguments))?;
    }
    for item in &mut select.from_clause {
        match &mut item.node {
            Some(NodeEnum::RangeSubselect(sub)) => {
                if let Some(NodeEnum::SelectStmt(inner)) = sub.subquery.as_deref_mut().and_then(|n| n.node.as_mut()) {
                    fill_select(inner, arguments)?;
                }
            }
            Some(NodeEnum::RangeVar(_)) => {}
            Some(NodeEnum::RangeFunction(function)) => {
                for entry in &mut function.functions {
                    if let Some(NodeEnum::List(list)) = &mut entry.node {
                        for part in list.items.iter_mut().filter(|p| p.node.is_some()) {
                            fill(part, arguments)?;
                        }
                    }
                }
            }
            _ => return Err(Refusal::internal("a guard reads from something unexpected")),
        }
    }
    Ok(())
}
