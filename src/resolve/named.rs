//! Collations and objects of text search that a statement names: in COLLATE clauses and in arguments of functions.
//!
//! In: a clause or a call, what is known of its arguments. Out: nothing, or a checked form of the call. Must never: leave a name to the
//! warehouse that it could find outside `pg_catalog`: its answer would tell what is there.

use super::alias::is_alias;
use super::expression::{Facts, Type};
use super::names::string_constant;
use super::scope::{Found, Scope};
use super::{Replacement, Resolver, Sight};
use crate::catalog::named::{self, NamedKind};
use crate::catalog::vouch::UserFunction;
use crate::catalog::{Catalog, Function};
use crate::error::Refusal;
use crate::sql::{NodeEnum, names, pb};
use crate::types::Oid;

/// Polymorphic types (manual, table 38.1) of single values and of arrays: what such arguments have in common is converted to one type.
const POLYMORPHIC: &[u32] = &[2277, 2283, 2776, 5077, 5078, 5079];

impl Sight<'_> {
    /// Checks the name of a collation; an empty one stands for none.
    ///
    /// # Errors
    /// Those of [`named::find`].
    pub(super) fn collation(&self, name: &[pb::Node], location: i32) -> Result<(), Refusal> {
        if name.is_empty() {
            return Ok(());
        }
        let parts = names::parts(name).ok_or_else(|| Refusal::internal("a collation without a name"))?;
        let found = named::find(NamedKind::Collation, &parts, self.catalog, || self.visibility());
        found.map(drop).map_err(|refusal| refusal.at(location))
    }
}

impl Resolver<'_, '_> {
    /// Arguments that name configurations, dictionaries and parsers of text search. Constants are resolved here, as the catalog shows them;
    /// what is computed is looked up among what the caller may name, NULL when it is not there.
    pub(super) fn named_arguments(&mut self, name: &str, call: &pb::FuncCall, args: &[Facts]) -> Result<(), Refusal> {
        let catalog = self.sight.catalog;
        let overloads = catalog.functions.get(name).map_or(&[][..], Vec::as_slice);
        let takes = |f: &Function, at| NamedKind::of_argument(name, f, at);
        let takes_any = |f: &Function| (0..f.args.len()).any(|at| takes(f, at).is_some());
        if !overloads.iter().any(takes_any) {
            return Ok(());
        }
        let refused = |text: &str, hint: &'static str| {
            Err(Refusal::unsupported(text.to_owned()).with_hint(hint).at(call.location))
        };
        let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
        if named || call.func_variadic {
            let hint = "Write the arguments in their order.";
            return refused("named arguments of functions of text search are not supported", hint);
        }
        let fits = |f: &&Function| {
            let count = f.args.len().saturating_sub(f.defaults)..=f.args.len();
            let each = |(at, wanted): (usize, &Oid)| {
                let given = args.get(at).map(|a| a.type_oid);
                let cast = call.args.get(at).is_some_and(Self::is_reg_cast);
                (cast && takes(f, at).is_some()) || given.is_none_or(|given| coerces(given, *wanted, catalog))
            };
            count.contains(&args.len()) && f.args.iter().enumerate().all(each)
        };
        let fitting: Vec<&Function> = overloads.iter().filter(fits).collect();
        let mut forms: Vec<String> = (1..=args.len()).map(|n| format!("${n}")).collect();
        let mut computed = false;
        for (at, (argument, form)) in call.args.iter().zip(&mut forms).enumerate() {
            let kinds = fitting.iter().map(|f| takes(f, at));
            let Some(kind) = kinds.clone().flatten().next() else { continue };
            let certain = kinds.clone().all(|k| k == Some(kind));
            if self.is_settled(argument) {
                continue;
            }
            let constant = string_constant(argument);
            // Upstream finds the same.
            if constant.is_some_and(|text| named::is_shown(kind, text, catalog)) {
                continue;
            }
            match constant.map(|text| named::find_text(kind, text, catalog, || self.sight.visibility())) {
                Some(Ok(_)) => {}
                Some(Err(refusal)) if certain => {
                    let place = match &argument.node {
                        Some(NodeEnum::AConst(c)) => c.location,
                        _ => call.location,
                    };
                    // Parsers are looked up when the function runs, which knows no place.
                    return Err(if kind == NamedKind::Parser { refusal } else { refusal.at(place) });
                }
                None if certain => {
                    computed = true;
                    let oid = named::oid_of(kind, form, catalog);
                    *form = match kind {
                        NamedKind::Collation => format!("{oid}::pg_catalog.regcollation"),
                        NamedKind::Configuration => format!("{oid}::pg_catalog.regconfig"),
                        NamedKind::Dictionary => format!("{oid}::pg_catalog.regdictionary"),
                        NamedKind::Parser => oid,
                    };
                }
                Some(Err(_)) | None => {
                    let text = "it is not known whether an argument is text or names an object of text search";
                    return refused(
                        text,
                        "Cast the arguments to their types: 'english'::regconfig, …::text, …::tsquery.",
                    );
                }
            }
        }
        if !computed {
            return Ok(());
        }
        self.replace(call.location, Replacement::Guard(format!("pg_catalog.{name}({})", forms.join(", ")).into()))
    }

    /// Whether an argument is NULL, or a constant of an alias type that was resolved already.
    fn is_settled(&self, argument: &pb::Node) -> bool {
        match &argument.node {
            Some(NodeEnum::AConst(c)) => c.val.is_none(),
            Some(NodeEnum::TypeCast(cast)) => {
                Self::is_reg_cast(argument)
                    && matches!(self.resolved.calls.get(&cast.location), Some(Replacement::Constant { .. }))
            }
            _ => false,
        }
    }

    /// JSON becomes a row like the one given: one whose columns are not known might hold an OID alias, which reads a string as a name.
    pub(super) fn populates_known(
        &self,
        name: &str,
        call: &pb::FuncCall,
        args: &[Facts],
        scope: &Scope<'_>,
    ) -> Result<(), Refusal> {
        let unclear = args.first().is_some_and(|a| a.type_oid == Type::Unclear);
        let harmless = |found| match found {
            Found::Row { item } => {
                let columns = item.columns.as_deref();
                columns.is_some_and(|all| all.iter().all(|c| c.type_oid.is_some_and(|oid| !is_alias(oid))))
            }
            Found::Column { .. } | Found::Unknown | Found::Nothing => false,
        };
        let row = match call.args.first().and_then(|a| a.node.as_ref()) {
            Some(NodeEnum::ColumnRef(c)) => match names::parts(&c.fields).as_deref() {
                Some([one]) => harmless(scope.unqualified(one)),
                _ => false,
            },
            _ => false,
        };
        if !unclear || row || !(name.starts_with("json_populate_record") || name.starts_with("jsonb_populate_record")) {
            return Ok(());
        }
        Err(Refusal::unsupported(format!("{name}() of a row whose type is not named is not supported"))
            .with_hint("Cast NULL to a named composite type, or use json_to_record with column definitions.")
            .at(call.location))
    }

    /// Refuses an OID alias where the warehouse would convert what stands beside it to the same type, or give it out again as one.
    pub(super) fn no_alias_spreads<'f>(
        &self,
        name: &str,
        call: &pb::FuncCall,
        mut args: impl Iterator<Item = &'f Facts>,
    ) -> Result<(), Refusal> {
        if !args.any(|a| matches!(a.type_oid, Type::Known(oid) if is_alias(oid))) {
            return Ok(());
        }
        let polymorphic = |oid: &&Oid| POLYMORPHIC.contains(&oid.0);
        let overloads = self.sight.catalog.functions.get(name);
        let spreads = |f: &Function| f.args.iter().chain([&f.result]).filter(polymorphic).count() > 1;
        if !overloads.is_some_and(|o| o.iter().any(spreads)) {
            return Ok(());
        }
        Err(Refusal::unsupported(format!("{name}() of an object identifier is not supported"))
            .with_hint("Cast the identifier to oid or text.")
            .at(call.location))
    }

    /// Of functions outside `pg_catalog`: an argument of an OID alias type must be a cast of a constant, which was resolved.
    pub(super) fn resolved_aliases(&self, overloads: &[UserFunction], call: &pb::FuncCall) -> Result<(), Refusal> {
        let alias = |at: usize| overloads.iter().any(|v| v.function.args.get(at).is_some_and(|t| is_alias(*t)));
        if call.args.iter().enumerate().all(|(at, argument)| !alias(at) || self.is_settled(argument)) {
            return Ok(());
        }
        Err(Refusal::unsupported("an object identifier that is not a constant is not supported as this argument")
            .with_hint("Write a cast of a constant, for instance 'english'::regconfig.")
            .at(call.location))
    }
}

/// Whether a value may be given for an argument without a cast that is written, for all that is known.
fn coerces(given: Type, wanted: Oid, catalog: &Catalog) -> bool {
    let Type::Known(given) = given else { return true };
    let plain = |oid: Oid| catalog.types.get(&oid).is_some_and(|t| t.kind == 'b');
    given == wanted
        || !plain(given)
        || !plain(wanted)
        || catalog.casts.get(&(given, wanted)).is_some_and(|cast| cast.context == 'i')
}
