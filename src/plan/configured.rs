//! `SELECT set_config(…)`: SET as a function (manual, 9.28.1), by which drivers, object mappers and dumps set what they need.
//!
//! In: a SELECT that reads nothing and calls it among its results. Out: the plan, with the effect of the SET that each call stands for.
//! Must never: let through what SET would refuse, or a call that is made for some rows only, or for none.

use super::statement::{Kind, Setting};
use super::{Effect, Leaves, Plan, bounds, settings};
use crate::error::Refusal;
use crate::resolve::{Replacement, Resolved};
use crate::sql::tree::Pictured;
use crate::sql::{NodeEnum, build, names, pb};
use crate::types::quote_literal;
use std::collections::BTreeMap;

/// The second argument.
enum Value<'a> {
    /// A constant.
    Text(&'a str),
    /// NULL: the default.
    Default,
    /// A parameter: what it is will be known too late to look at it.
    Parameter,
}

/// One call.
struct Asked<'a> {
    name: &'a str,
    value: Value<'a>,
    local: bool,
    location: i32,
}

impl Kind<'_> {
    /// The plan of a SELECT whose results are calls of `set_config` and what may stand beside them; `None` for every other.
    ///
    /// # Errors
    /// Those of SET, and 0A000 for calls whose meaning is not known beforehand.
    pub(super) fn configure(&self, select: &pb::SelectStmt) -> Result<Option<Plan>, Refusal> {
        let calls: Vec<&pb::FuncCall> = select.target_list.iter().filter_map(call).collect();
        let listed = if calls.is_empty() { None } else { listed(select) };
        // Of a setting that is shown there is one row, and the call is made for it.
        let one_row = || pb::SelectStmt { from_clause: Vec::new(), where_clause: None, ..select.clone() };
        let one_row = (listed == Some(true)).then(one_row);
        let node = one_row.clone().map(|select| NodeEnum::SelectStmt(Box::new(select)));
        let pictured = node.as_ref().map(Pictured::of).transpose()?;
        let (caller, select) = (pictured.as_ref().unwrap_or(self.caller), one_row.as_ref().unwrap_or(select));
        let calls: Vec<&pb::FuncCall> = select.target_list.iter().filter_map(call).collect();
        if listed == Some(false) {
            let nothing = Replacement::Constant { value: None, type_name: "text", array: false };
            let replaced = calls.iter().map(|call| (call.location, nothing.clone())).collect();
            return self.query(caller, select, replaced, Effect::None).map(Some);
        }
        if calls.is_empty() || !is_one_row(select) {
            return Ok(None);
        }
        let (mut replaced, mut effect) = (BTreeMap::new(), Effect::None);
        let moves = self.inputs.session.moves;
        let mut ties = false;
        for call in calls {
            let Some(asked) = Asked::read(call) else {
                return Err(Refusal::unsupported("set_config() is supported with a constant name and a constant flag")
                    .at(call.location));
            };
            let (text, its) = self.configured(&asked).map_err(|refusal| refusal.at(asked.location))?;
            replaced.insert(asked.location, Replacement::Guard(text.into()));
            ties |= moves && !asked.local && matches!(asked.value, Value::Parameter);
            effect = match (effect, its) {
                (Effect::None, one) | (one, Effect::None) => one,
                // One at a time is kept.
                (Effect::Configured { .. }, one) | (one, Effect::Configured { .. }) if moves => {
                    ties = true;
                    one
                }
                _ => {
                    let text =
                        "set_config() of several settings that the proxy holds is not supported in one statement";
                    return Err(Refusal::unsupported(text).at(asked.location));
                }
            };
        }
        let plan = self.query(caller, select, replaced, effect)?;
        Ok(Some(if ties { Plan { leaves: Leaves::Ties, ..plan } } else { plan }))
    }

    /// What a call becomes, over its arguments, and the effect of the SET it stands for.
    fn configured(&self, asked: &Asked<'_>) -> Result<(String, Effect), Refusal> {
        let (name, local) = (asked.name.to_ascii_lowercase(), asked.local);
        let value = match asked.value {
            Value::Parameter => {
                let bounded = self.inputs.session.longest.is_some() && name == "statement_timeout";
                let acts = self.inputs.session.acts;
                if bounded || acts.others || acts.signs_name || bounds::is_bounded(&name) || !settings::any_value(&name)
                {
                    let text = format!("set_config() of \"{name}\" is supported with a constant value");
                    return Err(Refusal::unsupported(text));
                }
                return Ok((format!("pg_catalog.set_config({}, $2, {local})", quote_literal(&name)), Effect::None));
            }
            Value::Text(text) => Some(text),
            Value::Default => None,
        };
        let set = pb::VariableSetStmt {
            kind: match value {
                Some(_) => pb::VariableSetKind::VarSetValue,
                None => pb::VariableSetKind::VarSetDefault,
            }
            .into(),
            name: name.clone(),
            args: value.map(build::text_constant).into_iter().collect(),
            is_local: local,
            ..pb::VariableSetStmt::default()
        };
        let passed = format!("pg_catalog.set_config({}, $2, {local})", quote_literal(&name));
        let otherwise = || {
            Err(Refusal::unsupported(format!("set_config() of \"{name}\" to this value is not supported"))
                .with_hint("Use SET."))
        };
        match self.setting(&set)? {
            Setting::Forwarded(Effect::Forwarded { name: of, back, local }) => {
                let node = NodeEnum::VariableSetStmt(set);
                let plan =
                    self.sealed(&Pictured::of(&node)?, node.clone(), &Resolved::default(), Effect::None, false)?;
                let statement = (!back).then_some(plan.sealed);
                Ok((passed, Effect::Configured { name: of, statement, local }))
            }
            Setting::Forwarded(_) => Ok((passed, Effect::None)),
            // One text is a whole list here, and one element of it in SET.
            Setting::Own("search_path", _) => {
                let placeholder = quote_literal(crate::seal::placeholder("search_path"));
                let text = quote_literal(value.unwrap_or_default());
                let text = format!("pg_catalog.set_config({placeholder}, {text}, {local})");
                Ok((text, Effect::Set { name: "search_path", value: value.map(str::to_owned), local }))
            }
            // For whom and for what one acts is said in a statement of its own.
            Setting::Own(..) => {
                let text = format!("permission denied to set parameter \"{name}\" by a function");
                Err(Refusal::denied(text).with_hint("Use SET."))
            }
            Setting::Longest(_) | Setting::Name(_) => otherwise(),
        }
    }
}

/// Whether a SELECT reads nothing and gives one row: each call in its results is made once.
fn is_one_row(select: &pb::SelectStmt) -> bool {
    let results = select.target_list.clone();
    let plain = pb::SelectStmt {
        target_list: results,
        limit_option: select.limit_option,
        op: select.op,
        ..pb::SelectStmt::default()
    };
    plain == *select
}

/// Whether `pg_settings` shows the one setting whose row a SELECT reads; `None` for every other SELECT. So pg_dump and pgAdmin set what only
/// some servers have: where there is no row, nothing is called.
fn listed(select: &pb::SelectStmt) -> Option<bool> {
    let plain = pb::SelectStmt { from_clause: Vec::new(), where_clause: None, ..select.clone() };
    let settings = match select.from_clause.as_slice() {
        [pb::Node { node: Some(NodeEnum::RangeVar(from)) }] => {
            matches!(from.schemaname.as_str(), "" | "pg_catalog")
                && from.relname == "pg_settings"
                && from.alias.is_none()
        }
        // What the view is made of.
        [pb::Node { node: Some(NodeEnum::RangeFunction(from)) }] => {
            let plain = pb::RangeFunction { functions: from.functions.clone(), ..pb::RangeFunction::default() };
            plain == *from && is_settings(&from.functions)
        }
        _ => false,
    };
    let Some(NodeEnum::AExpr(e)) = select.where_clause.as_deref().and_then(|w| w.node.as_ref()) else { return None };
    let equal = e.kind == i32::from(pb::AExprKind::AexprOp)
        && matches!(names::parts(&e.name).as_deref(), Some(["="] | ["pg_catalog", "="]));
    let column = match e.lexpr.as_deref().and_then(|l| l.node.as_ref()) {
        Some(NodeEnum::ColumnRef(c)) => matches!(names::parts(&c.fields).as_deref(), Some(["name"])),
        _ => false,
    };
    if !(is_one_row(&plain) && settings && equal && column) {
        return None;
    }
    let name = e.rexpr.as_deref().and_then(constant)??;
    let listed = crate::catalog::system::classes::SETTINGS.contains(&name);
    let may_be = settings::may_show(&name.to_ascii_lowercase());
    // What may be shown and is not listed is said neither of.
    (listed || !may_be).then_some(listed)
}

/// Whether what stands in FROM is `pg_show_all_settings()` alone.
fn is_settings(functions: &[pb::Node]) -> bool {
    let [pb::Node { node: Some(NodeEnum::List(function)) }] = functions else { return false };
    let Some(NodeEnum::FuncCall(call)) = function.items.first().and_then(|f| f.node.as_ref()) else { return false };
    let named = names::parts(&call.funcname);
    call.args.is_empty()
        && matches!(named.as_deref(), Some(["pg_show_all_settings"] | ["pg_catalog", "pg_show_all_settings"]))
}

/// The call of `set_config` that a result is.
fn call(result: &pb::Node) -> Option<&pb::FuncCall> {
    let Some(NodeEnum::ResTarget(target)) = &result.node else { return None };
    let Some(NodeEnum::FuncCall(call)) = target.val.as_deref().and_then(|v| v.node.as_ref()) else { return None };
    match names::parts(&call.funcname)?.as_slice() {
        ["set_config"] | ["pg_catalog", "set_config"] => Some(call),
        _ => None,
    }
}

impl<'a> Asked<'a> {
    /// Reads a plain call; `None` for every other, and for one that does not say beforehand what it sets.
    fn read(call: &'a pb::FuncCall) -> Option<Self> {
        let plain = pb::FuncCall {
            funcname: call.funcname.clone(),
            args: call.args.clone(),
            funcformat: call.funcformat,
            location: call.location,
            ..pb::FuncCall::default()
        };
        let [name, value, local] = call.args.as_slice() else { return None };
        let value = match &uncast(value)?.node {
            Some(NodeEnum::ParamRef(_)) => Value::Parameter,
            _ => constant(value)?.map_or(Value::Default, Value::Text),
        };
        let local = match &local.node {
            Some(NodeEnum::AConst(c)) => match &c.val {
                Some(pb::a_const::Val::Boolval(b)) => b.boolval,
                _ => return None,
            },
            _ => return None,
        };
        (plain == *call && call.location >= 0).then_some(())?;
        Some(Self { name: constant(name)??, value, local, location: call.location })
    }
}

/// What is cast to text, or the node itself.
fn uncast(node: &pb::Node) -> Option<&pb::Node> {
    match &node.node {
        Some(NodeEnum::TypeCast(cast)) => {
            let to = cast.type_name.as_ref()?;
            let text = matches!(names::parts(&to.names)?.as_slice(), ["text"] | ["pg_catalog", "text"]);
            if text && to.array_bounds.is_empty() { cast.arg.as_deref() } else { None }
        }
        _ => Some(node),
    }
}

/// A constant of text, or NULL; `None` for everything else.
fn constant(node: &pb::Node) -> Option<Option<&str>> {
    match &uncast(node)?.node {
        Some(NodeEnum::AConst(c)) if c.isnull => Some(None),
        Some(NodeEnum::AConst(c)) => match &c.val {
            Some(pb::a_const::Val::Sval(s)) => Some(Some(s.sval.as_str())),
            _ => None,
        },
        _ => None,
    }
}
