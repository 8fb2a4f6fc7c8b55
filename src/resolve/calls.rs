//! Calls: functions, aggregates, windows, and the words that are functions (`current_date`).

use super::Replacement;
use super::Resolver;
use super::alias::{OID, is_alias};
use super::expression::{Facts, Type, oid};
use super::names::{alias_shown_as, string_constant};
use super::near;
use super::scope::Scope;
use crate::catalog::total::function_is_listed;
use crate::catalog::{Function, guard};
use crate::error::{Refusal, SqlState};
use crate::sql::tree::Tree;
use crate::sql::{names, pb};
use crate::types::Oid;

impl Resolver<'_, '_> {
    /// The argument of a guard may come to stand inside a sub-select, where aggregates, window functions and sets mean something else.
    pub(super) fn scalar_argument(&self, argument: &pb::Node, location: i32) -> Result<(), Refusal> {
        let mut scalar = true;
        Tree::of(argument)?.each(&mut |t| {
            if let Tree::Node("FuncCall", _) = t {
                let parts = t.field("funcname").map(Tree::strings).unwrap_or_default();
                let name = parts.last().copied();
                // Outside `pg_catalog` there may be aggregates too.
                let known = name.is_some_and(|n| self.sight.catalog.functions.contains_key(n));
                scalar &= known || !self.sight.catalog.vouched.keys().any(|q| Some(q.name.as_str()) == name);
                let overloads = name.and_then(|n| self.sight.catalog.functions.get(n)).map_or(&[][..], Vec::as_slice);
                scalar &= overloads.iter().all(|f| f.kind == 'f' && !f.returns_set);
            }
        });
        if scalar {
            return Ok(());
        }
        Err(Refusal::unsupported("a catalog function of an aggregate, a window or a set is not supported")
            .with_hint("Compute the argument in a sub-select first.")
            .at(location))
    }

    /// Function calls.
    pub(super) fn call(&mut self, call: &mut pb::FuncCall, scope: &Scope<'_>) -> Result<Facts, Refusal> {
        if let Err(refusal) = self.function(call) {
            return Err(self.of_arguments(refusal, call, scope)?);
        }
        let name = names::parts(&call.funcname).and_then(|p| p.last().map(|n| (*n).to_owned())).unwrap_or_default();
        let plain = call.agg_order.is_empty()
            && call.agg_filter.is_none()
            && call.over.is_none()
            && !call.agg_star
            && !call.agg_distinct
            && !call.func_variadic
            && !self.resolved.calls.contains_key(&call.location);
        let catalog = self.sight.catalog;
        let vouched = self.resolved.functions.get(&call.location).map(|name| catalog.vouched_for(name));
        let own: Vec<Function> = vouched.into_iter().flatten().map(|v| v.function.clone()).collect();
        let overloads = if vouched.is_some() { Some(&own) } else { catalog.functions.get(&name) };
        let aggregate = call.over.is_none() && overloads.is_some_and(|o| o.iter().any(|f| f.kind == 'a'));
        if matches!(self.resolved.calls.get(&call.location), Some(Replacement::Guard(template)) if template.text().contains("SELECT"))
        {
            for argument in &call.args {
                self.scalar_argument(argument, call.location)?;
            }
        }
        let unit = call.args.first().and_then(string_constant).map(str::to_owned);
        // What looks objects up takes them by OID.
        let looks_up = matches!(self.resolved.calls.get(&call.location), Some(Replacement::Guard(_)));
        let sequence = super::sequence::takes_sequence(&name) && self.resolved.calls.contains_key(&call.location);
        let mut args = Vec::with_capacity(call.args.len());
        for (at, argument) in call.args.iter_mut().enumerate() {
            if sequence && at == 0 {
                // The name of the sequence was resolved with the call.
                args.push(Facts::constant(Type::Unclear));
                continue;
            }
            self.wants_oid = looks_up && Self::is_reg_cast(argument);
            args.push(self.expression(argument, scope)?);
        }
        match vouched {
            None => {
                self.named_arguments(&name, call, &args)?;
                self.no_alias_spreads(&name, call, args.iter())?;
                self.populates_known(&name, call, &args, scope)?;
            }
            Some(vouched) => self.resolved_aliases(vouched, call)?,
        }
        // `age(xid)` tells how many transactions the warehouse has run: here no transaction is known, so it has no age.
        if name == "age"
            && let [of] = args.as_slice()
            && of.type_oid == Type::Known(oid::XID)
        {
            let nothing = "CASE WHEN ($1) IS NULL THEN NULL::pg_catalog.int4 END".to_owned();
            self.replace(call.location, Replacement::Guard(nothing.into()))?;
            return Ok(Facts::of_parts(&args, Type::Known(oid::INT4)).but(false));
        }
        if name == "age"
            && let [of] = args.as_slice()
            && !matches!(of.type_oid, Type::Literal | Type::Known(oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ))
        {
            return Err(Refusal::denied("permission denied for function age of this argument")
                .with_hint("Cast the argument to timestamp or timestamptz.")
                .at(call.location));
        }
        let mut rest = self.each(&mut call.agg_order, scope)?;
        rest.extend(self.optional(&mut call.agg_filter, scope)?);
        self.no_alias_spreads(&name, call, rest.iter())?;
        if let Some(over) = &mut call.over {
            super::names::check_plain(&over.name, "window names", over.location)?;
            self.window(over, scope, &mut rest)?;
        }
        let types: Option<Vec<Oid>> = args
            .iter()
            .map(|a| match a.type_oid {
                Type::Known(oid) => Some(oid),
                Type::Literal => Some(oid::TEXT),
                Type::Unclear => None,
            })
            .collect();
        let known = |a: &Facts| match a.type_oid {
            Type::Known(oid) => Some(oid),
            Type::Literal | Type::Unclear => None,
        };
        let guarded = looks_up && guard::is_total(&name, &args.iter().map(known).collect::<Vec<_>>());
        let of_unit = match (&unit, args.as_slice()) {
            (Some(unit), [_, value]) => match value.type_oid {
                Type::Known(value) => self.sight.catalog.unit_function_is_total(&name, unit, value),
                Type::Literal | Type::Unclear => false,
            },
            _ => false,
        };
        let total = guarded
            || plain
                && (of_unit
                    || types.as_ref().is_some_and(|t| match vouched {
                        Some(vouched) => {
                            vouched.iter().any(|v| v.total && v.function.args == *t && !v.function.returns_set)
                        }
                        None => catalog.function_is_total(&name, t),
                    }));
        let exact = types
            .and_then(|t| overloads?.iter().find(|f| f.args == t && !f.returns_set).map(|f| Type::Known(f.result)));
        let result = exact.or_else(|| self.only_result(overloads?)).unwrap_or(Type::Unclear);
        // Replaced by its text or OID (see `function`).
        let result = match (result, self.resolved.calls.get(&call.location)) {
            (Type::Known(oid), Some(Replacement::Guard(_))) if is_alias(oid) => {
                Type::Known(if alias_shown_as(&name) == "text" { oid::TEXT } else { OID })
            }
            _ => result,
        };
        // A name on the caller's path is another function.
        let given: Vec<Type> = args.iter().map(|a| a.type_oid).collect();
        let expanded = super::expanded::result(call, &given, catalog).filter(|_| vouched.is_none());
        let (total, result) = expanded.map_or((total, result), |row| (true, row));
        // What is told by the clock.
        let own = plain && vouched.is_none();
        let near = match (&unit, args.as_slice()) {
            (None, []) if own => near::clock(&name, 0).map(|near| (near, result)),
            (Some(unit), [_, of]) if own && name == "date_trunc" => near::truncated(unit, of),
            _ => None,
        };
        let told = near.is_some() && args.is_empty();
        let (near, total, result) = near.map_or((None, total, result), |(near, kind)| (Some(near), true, kind));
        let parts: Vec<_> = args.into_iter().chain(rest).collect();
        let mut facts = Facts::of_parts(&parts, result).but(total && !aggregate);
        facts.aggregates |= aggregate;
        facts.loose &= !aggregate;
        facts.pushable = told || facts.pushable && vouched.is_none() && function_is_listed(&name);
        if aggregate {
            let argument = match (given.as_slice(), call.agg_star) {
                ([], true) => Some(None),
                ([Type::Known(one)], false) => Some(Some(*one)),
                _ => None,
            };
            let listed = vouched.is_none() && call.agg_order.is_empty() && !call.func_variadic;
            // A sum in a sub-query may be asked for or not as hidden rows are there or not.
            let sums = matches!(name.as_str(), "sum" | "avg") && argument == Some(Some(oid::NUMERIC));
            let bounded = self.depth == 1 || !sums;
            self.raises |= !listed || !bounded || !argument.is_some_and(|of| catalog.aggregate_is_total(&name, of));
        }
        facts.near = near;
        Ok(facts)
    }

    /// 42883 names the types of the arguments, as far as they are known; an argument that is wrong itself is told first.
    fn of_arguments(
        &mut self,
        refusal: Refusal,
        call: &mut pb::FuncCall,
        scope: &Scope<'_>,
    ) -> Result<Refusal, Refusal> {
        if refusal.code != SqlState::UNDEFINED_FUNCTION {
            return Ok(refusal);
        }
        let catalog = self.sight.catalog;
        let types: Option<Vec<&str>> = self
            .each(&mut call.args, scope)?
            .iter()
            .map(|a| match a.type_oid {
                Type::Known(oid) => catalog.types.get(&oid).map(|t| t.sql.as_str()),
                Type::Literal => Some("unknown"),
                Type::Unclear => None,
            })
            .collect();
        Ok(match (types, refusal.message.split_once("()")) {
            (Some(types), Some((before, after))) => {
                let message = format!("{before}({}){after}", types.join(", "));
                Refusal { message: message.into(), ..refusal }
            }
            _ => refusal,
        })
    }

    /// The result type that all overloads of a function share, when it does not depend on the arguments.
    fn only_result(&self, overloads: &[crate::catalog::Function]) -> Option<Type> {
        let first = overloads.first()?.result;
        let fixed = self.sight.catalog.types.get(&first).is_some_and(|t| t.kind != 'p');
        (fixed && overloads.iter().all(|f| f.result == first)).then_some(Type::Known(first))
    }

    /// A window definition's expressions.
    pub(super) fn window(
        &mut self,
        window: &mut pb::WindowDef,
        scope: &Scope<'_>,
        facts: &mut Vec<Facts>,
    ) -> Result<(), Refusal> {
        facts.extend(self.each(&mut window.partition_clause, scope)?);
        facts.extend(self.each(&mut window.order_clause, scope)?);
        facts.extend(self.optional(&mut window.start_offset, scope)?);
        facts.extend(self.optional(&mut window.end_offset, scope)?);
        Ok(())
    }

    /// `current_user` and family answer for the caller.
    pub(super) fn value_function(&self, f: &pb::SqlValueFunction) -> Option<Replacement> {
        use pb::SqlValueFunctionOp as Op;
        let name = |value: Option<String>| Some(Replacement::Constant { value, type_name: "name", array: false });
        match Op::try_from(f.op).unwrap_or_default() {
            Op::SvfopCurrentRole | Op::SvfopCurrentUser | Op::SvfopUser | Op::SvfopSessionUser => {
                name(Some(self.sight.caller.user.to_string()))
            }
            Op::SvfopCurrentCatalog => name(Some(self.sight.session.database.clone())),
            Op::SvfopCurrentSchema => name(self.current_schema()),
            Op::SqlvalueFunctionOpUndefined
            | Op::SvfopCurrentDate
            | Op::SvfopCurrentTime
            | Op::SvfopCurrentTimeN
            | Op::SvfopCurrentTimestamp
            | Op::SvfopCurrentTimestampN
            | Op::SvfopLocaltime
            | Op::SvfopLocaltimeN
            | Op::SvfopLocaltimestamp
            | Op::SvfopLocaltimestampN => None,
        }
    }
}

pub(super) fn value_function_type(op: i32) -> Type {
    use pb::SqlValueFunctionOp as Op;
    match Op::try_from(op).unwrap_or_default() {
        Op::SvfopCurrentDate => Type::Known(oid::DATE),
        Op::SvfopCurrentTimestamp => Type::Known(oid::TIMESTAMPTZ),
        Op::SvfopLocaltimestamp => Type::Known(oid::TIMESTAMP),
        Op::SvfopCurrentTime => Type::Known(oid::TIMETZ),
        Op::SvfopLocaltime => Type::Known(oid::TIME),
        Op::SvfopCurrentRole
        | Op::SvfopCurrentUser
        | Op::SvfopUser
        | Op::SvfopSessionUser
        | Op::SvfopCurrentCatalog
        | Op::SvfopCurrentSchema => Type::Known(Oid(19)),
        // With a precision they round, which may overflow.
        Op::SqlvalueFunctionOpUndefined
        | Op::SvfopCurrentTimeN
        | Op::SvfopCurrentTimestampN
        | Op::SvfopLocaltimeN
        | Op::SvfopLocaltimestampN => Type::Unclear,
    }
}
