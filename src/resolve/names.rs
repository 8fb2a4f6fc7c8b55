//! Names of relations, functions, operators and types, as PostgreSQL resolves them on the caller's search path.

use super::{Replacement, Resolver, Sight};
use crate::catalog::functions::{FIRST_NORMAL_OID, FunctionClass, Identity};
use crate::catalog::oids::Mention;
use crate::catalog::scratch::ScratchTable;
use crate::catalog::sights::Asked;
use crate::catalog::{RelationKind, guard, lookup, reg};
use crate::error::{Family, Refusal, SqlState};
use crate::policy::decision::Access;
use crate::policy::permit::Permitted;
use crate::sql::{NodeEnum, names, pb};
use crate::types::{Oid, QualifiedName};

/// The relation's name as the caller wrote it, for messages.
pub fn relation_written(relation: &pb::RangeVar) -> String {
    if relation.schemaname.is_empty() {
        relation.relname.clone()
    } else {
        format!("{}.{}", relation.schemaname, relation.relname)
    }
}

/// Prefix of names that the rewriter makes; callers may not use it.
const RESERVED: &str = "_sv";

/// Refuses a name in one of the places where the printer does not quote names.
pub(super) fn check_plain(name: &str, what: &str, location: i32) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let spelled = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || (spelled && !crate::sql::names::is_keyword(name)) {
        return Ok(());
    }
    Err(Refusal::unsupported(format!("{what} that need quotes are not supported")).at(location))
}

/// Refuses a caller's name that could be taken for one of ours.
pub(super) fn check_reserved(name: &str, location: i32) -> Result<(), Refusal> {
    if name.starts_with(RESERVED) {
        return Err(Refusal::unsupported(format!("names beginning with \"{RESERVED}\" are reserved"))
            .with_hint("Choose another alias.")
            .at(location));
    }
    Ok(())
}

impl Sight<'_> {
    /// Whether a parameter may be declared of this type: one the caller may name, that neither reads the catalog nor tells a relation's
    /// columns. Hidden and unknown ones are told apart by nobody.
    pub fn parameter_type_is_fine(&self, oid: Oid) -> bool {
        let Some(info) = self.catalog.types.get(&oid) else { return false };
        let element = self.catalog.types.get(&info.element).filter(|_| info.category == 'A').unwrap_or(info);
        let row = element.kind == 'c' && self.catalog.is_row_type(element);
        !row && !super::is_alias(oid)
            && !super::is_alias(element.oid)
            && !reg::cast_is_refused(oid)
            && self.visibility().type_is_visible(oid)
            && self.visibility().type_is_visible(element.oid)
    }

    /// The session's own temporary table that a name stands for, if it does: looked for before every other schema unless the search
    /// path names `pg_temp` (PostgreSQL manual, 20.11.1).
    ///
    /// # Errors
    /// 42P01 for a name in `pg_temp` that is not there; 0A000 when it is not known what a name stands for.
    pub fn temporary(&self, relation: &pb::RangeVar) -> Result<Option<&ScratchTable>, Refusal> {
        let scratch = &self.session.scratch;
        let elsewhere = !relation.catalogname.is_empty() && relation.catalogname != self.session.database;
        if scratch.is_empty() || elsewhere {
            return Ok(None);
        }
        if !relation.schemaname.is_empty() && !scratch.is_schema(&relation.schemaname) {
            return Ok(None);
        }
        if !scratch.is_certain() {
            return Err(Refusal::unsupported("it is not known which temporary tables the session has at this point")
                .with_hint("Send the statement again, in a query string of its own.")
                .at(relation.location));
        }
        let found = scratch.table(&relation.relname);
        if !relation.schemaname.is_empty() {
            let missing = || Refusal::undefined_table(&relation_written(relation)).at(relation.location);
            return found.map(Some).ok_or_else(missing);
        }
        let Some(table) = found else { return Ok(None) };
        let path = &self.session.search_path;
        let Some(at) = path.iter().position(|s| scratch.is_schema(s)) else { return Ok(Some(table)) };
        let implicit = (!path.iter().any(|s| s == "pg_catalog")).then_some("pg_catalog");
        let before = path.iter().take(at).map(String::as_str);
        let hidden = implicit.into_iter().chain(before).all(|schema| {
            matches!(self.access(&QualifiedName::new(schema, relation.relname.as_str())), Access::Hidden)
        });
        Ok(hidden.then_some(table))
    }

    /// Whether a new relation of this name is made in the session's own temporary schema.
    ///
    /// # Errors
    /// 42P16 for a temporary relation elsewhere, as PostgreSQL says it.
    pub fn makes_temporary(&self, relation: &pb::RangeVar) -> Result<bool, Refusal> {
        let scratch = &self.session.scratch;
        let own = scratch.is_schema(&relation.schemaname);
        if relation.relpersistence == "t" && !relation.schemaname.is_empty() && !own {
            return Err(Refusal::new(
                Family::Caller,
                SqlState("42P16"),
                "cannot create temporary relation in non-temporary schema",
            )
            .at(relation.location));
        }
        let first = self.session.search_path.first().is_some_and(|s| scratch.is_schema(s));
        Ok(relation.relpersistence == "t"
            || (relation.relpersistence == "p" && (own || (relation.schemaname.is_empty() && first))))
    }

    /// Refuses a temporary table with a column of a type that reads or prints the catalog, or that is not known: what a policy hides
    /// could be printed by it.
    pub(super) fn usable(&self, table: &ScratchTable, relation: &pb::RangeVar) -> Result<(), Refusal> {
        let odd = table.columns.iter().flatten().find(|c| {
            // The system's scalar types need no look at what the caller sees.
            let plain = |oid: Oid| {
                let info = self.catalog.types.get(&oid).filter(|t| oid.0 < FIRST_NORMAL_OID && t.kind == 'b');
                info.is_some_and(|t| t.category != 'A' && !super::is_alias(oid) && !reg::cast_is_refused(oid))
            };
            c.type_oid.is_some_and(|oid| !plain(oid) && !self.parameter_type_is_fine(oid))
        });
        match odd {
            None => Ok(()),
            Some(column) => Err(Refusal::unsupported(format!(
                "temporary table \"{}\" cannot be read: the type of its column \"{}\" is not supported",
                relation.relname, column.name
            ))
            .with_hint("Drop it, and cast the column to text or oid where the table is made.")
            .at(relation.location)),
        }
    }

    /// Resolves a relation name on the search path and decides it.
    ///
    /// # Errors
    /// 42P01, 42501; 0A000 for another database.
    pub fn relation(&self, relation: &pb::RangeVar) -> Result<Permitted, Refusal> {
        let written = relation_written(relation);
        if !relation.catalogname.is_empty() && relation.catalogname != self.session.database {
            return Err(Refusal::unsupported(format!(
                "cross-database references are not implemented: \"{}.{written}\"",
                relation.catalogname
            ))
            .at(relation.location));
        }
        Permitted::decide(self.found(relation), &written).map_err(|refusal| refusal.at(relation.location))
    }

    /// What a name on the search path stands for, temporary tables left aside.
    pub fn found(&self, relation: &pb::RangeVar) -> Access {
        let decide = |schema: &str| self.access(&QualifiedName::new(schema, relation.relname.as_str()));
        if relation.schemaname.is_empty() {
            let path = self.session.search_path.iter().map(String::as_str);
            let implicit = (!self.session.search_path.iter().any(|s| s == "pg_catalog")).then_some("pg_catalog");
            implicit
                .into_iter()
                .chain(path)
                .map(decide)
                .find(|access| match access {
                    Access::Hidden => false,
                    Access::Visible(_) | Access::Discoverable { .. } | Access::Invalid => true,
                })
                .unwrap_or(Access::Hidden)
        } else {
            decide(&relation.schemaname)
        }
    }

    /// What kind of relation COPY would copy these columns of.
    ///
    /// # Errors
    /// As for reading it; 42703 and 42701 for the columns. COPY points to nothing.
    pub fn copied(&self, relation: &pb::RangeVar, columns: &[&str]) -> Result<Option<RelationKind>, Refusal> {
        let nowhere = |refusal| Refusal { position: None, ..refusal };
        if let Some(table) = self.temporary(relation).map_err(nowhere)? {
            self.usable(table, relation).map_err(nowhere)?;
            let own: Option<Vec<&str>> = table.columns.as_ref().map(|c| c.iter().map(|c| c.name.as_str()).collect());
            return named_once(&relation.relname, columns, own.as_deref()).map(|()| Some(RelationKind::Table));
        }
        let permitted = self.relation(relation).map_err(nowhere)?;
        let decision = permitted.decision();
        let own: Vec<&str> = decision.columns.iter().map(|c| c.name.as_str()).collect();
        named_once(&relation.relname, columns, Some(&own))?;
        Ok(decision.relation(self.catalog).map(|r| r.kind))
    }
}

/// Refuses columns that are not there (as far as those that are there are known), or named twice.
fn named_once(relation: &str, columns: &[&str], own: Option<&[&str]>) -> Result<(), Refusal> {
    let wrong = |code, text: String| Err(Refusal::new(Family::Caller, SqlState(code), text));
    for (at, column) in columns.iter().enumerate() {
        if own.is_some_and(|own| !own.contains(column)) {
            return wrong("42703", format!("column \"{column}\" of relation \"{relation}\" does not exist"));
        }
        if columns.iter().take(at).any(|c| c == column) {
            return wrong("42701", format!("column \"{column}\" specified more than once"));
        }
    }
    Ok(())
}

impl Resolver<'_, '_> {
    /// Checks a type name and notes those outside `pg_catalog`. `None`: a type whose OID is not known (an array of such).
    pub(super) fn type_name(&mut self, name: &pb::TypeName) -> Result<Option<Oid>, Refusal> {
        // The grammar takes any expression here, the server (`typenameTypeMod`, parse_type.c) and the printer do not.
        let simple = |modifier: &pb::Node| match &modifier.node {
            Some(NodeEnum::AConst(_)) => true,
            Some(NodeEnum::ColumnRef(column)) => column.fields.len() == 1,
            _ => false,
        };
        if !name.typmods.iter().all(simple) {
            let text = "type modifiers must be simple constants or identifiers";
            return Err(Refusal::new(Family::Caller, SqlState::SYNTAX_ERROR, text).at(name.location));
        }
        let parts = names::parts(&name.names).unwrap_or_default();
        let missing = |written: &str| {
            let array = if name.array_bounds.is_empty() { "" } else { "[]" };
            let text = format!("type \"{written}{array}\" does not exist");
            Refusal::new(Family::Caller, SqlState::UNDEFINED_OBJECT, text).at(name.location)
        };
        if name.pct_type || name.setof {
            return Err(Refusal::unsupported("%TYPE and SETOF are not supported").at(name.location));
        }
        let catalog = self.sight.catalog;
        let (qualified, written) = match parts.as_slice() {
            [one] => {
                let path = self.sight.session.search_path.iter().map(String::as_str);
                let found = std::iter::once("pg_catalog").chain(path).find_map(|schema| {
                    let candidate = QualifiedName::new(schema, *one);
                    catalog.type_names.get(&candidate).map(|oid| (candidate, *oid))
                });
                (found, (*one).to_owned())
            }
            [schema, one] => {
                let candidate = QualifiedName::new(*schema, *one);
                let found = catalog.type_names.get(&candidate).map(|oid| (candidate, *oid));
                (found, format!("{schema}.{one}"))
            }
            _ => return Err(missing(&parts.join("."))),
        };
        let (qualified, oid) = qualified.ok_or_else(|| missing(&written))?;
        let info = catalog.types.get(&oid).ok_or_else(|| missing(&written))?;
        // The caller names the types of what he sees, and none that reads or prints the catalog behind the seal's back.
        if !self.sight.visibility().type_is_visible(oid) {
            return Err(missing(&written));
        }
        if reg::cast_is_refused(oid) {
            return Err(Refusal::unsupported(format!("type {written} is not supported here")).at(name.location));
        }
        let mut base = info;
        while let Some(below) = catalog.types.get(&base.base).filter(|_| base.kind == 'd') {
            base = below;
        }
        if base.oid != oid && super::is_alias(base.oid) {
            return Err(Refusal::unsupported(format!("type {written} is not supported here")).at(name.location));
        }
        // The row type of a relation tells its columns; an array of one does too.
        let element = catalog.types.get(&info.element).filter(|_| info.category == 'A').unwrap_or(info);
        let is_row_type = element.kind == 'c' && catalog.is_row_type(element);
        if is_row_type {
            return Err(missing(&written));
        }
        if qualified.schema != "pg_catalog" {
            self.resolved.types.insert(name.location, qualified);
        }
        if name.array_bounds.is_empty() {
            return Ok(Some(oid));
        }
        Ok(Some(info.array).filter(|a| a.0 != 0))
    }

    /// As [`Self::type_name`], where a value arrives without a cast that could be guarded: OID alias types are refused too.
    pub(super) fn plain_type_name(&mut self, name: &pb::TypeName) -> Result<Option<Oid>, Refusal> {
        match Self::reg_type(name) {
            Some(alias) => Err(Refusal::unsupported(format!("type {alias} is not supported here")).at(name.location)),
            None => self.type_name(name),
        }
    }

    /// Whether a type name means one of the OID alias types of `pg_catalog`, and which.
    pub(super) fn reg_type(name: &pb::TypeName) -> Option<String> {
        let parts = names::parts(&name.names)?;
        let base = match parts.as_slice() {
            [one] | ["pg_catalog", one] => *one,
            _ => return None,
        };
        reg::is_reg_type(base).then(|| base.to_owned())
    }

    /// Checks a function call's name; notes what stands for it when it is not called as it is.
    pub(super) fn function(&mut self, call: &pb::FuncCall) -> Result<(), Refusal> {
        // A function that stands in FROM itself cannot be cast there; its column's type is known instead.
        let in_from = std::mem::take(&mut self.function_in_from);
        let parts = names::parts(&call.funcname).unwrap_or_default();
        let undefined = |written: String| {
            Refusal::new(Family::Denied, SqlState::UNDEFINED_FUNCTION, format!("function {written} does not exist"))
                .with_hint(NO_FUNCTION)
                .at(call.location)
        };
        let name = match parts.as_slice() {
            [one] | ["pg_catalog", one] => *one,
            // pgjdbc reads primary keys with it; it only takes an array apart.
            ["information_schema", "_pg_expandarray"] => return Ok(()),
            [schema, one] => {
                let name = QualifiedName::new(*schema, *one);
                if self.sight.catalog.vouched_for(&name).is_empty() || call.location < 0 {
                    return Err(undefined(format!("{}()", parts.join("."))));
                }
                self.resolved.functions.insert(call.location, name);
                return Ok(());
            }
            _ => return Err(undefined(format!("{}()", parts.join(".")))),
        };
        if !self.sight.catalog.functions.contains_key(name) {
            if parts.len() == 1
                && let Some(found) = self.on_the_path(name, call.location)?
            {
                self.resolved.functions.insert(call.location, found);
                return Ok(());
            }
            // `column(relation)` is another spelling of `relation.column`; upstream's search path reaches no other function.
            // A type's name in that place is a cast (manual, 4.2.9).
            let cast = self.sight.catalog.names_a_cast(name);
            let is_type = self.sight.catalog.type_names.contains_key(&QualifiedName::new("pg_catalog", name));
            let projection = (parts.len() == 1
                && !is_type
                && matches!(call.args.as_slice(), [arg] if matches!(arg.node, Some(NodeEnum::ColumnRef(_))))
                || cast
                    && matches!(call.args.as_slice(), [arg] if !matches!(arg.node, Some(NodeEnum::NamedArgExpr(_)))))
                && !call.agg_star
                && !call.agg_distinct
                && !call.agg_within_group
                && !call.func_variadic
                && call.over.is_none()
                && call.agg_filter.is_none()
                && call.agg_order.is_empty();
            return if projection { Ok(()) } else { Err(undefined(format!("{name}()"))) };
        }
        if super::sequence::takes_sequence(name) {
            return self.sequence(name, call);
        }
        if name == "set_config"
            && let Some(replacement) = self.configured.remove(&call.location)
        {
            return self.replace(call.location, replacement);
        }
        match self.sight.catalog.function_class(name) {
            FunctionClass::Allowed if self.gives_alias(name) && !in_from => {
                // As plain text or OID: an identifier would turn other values beside it into names of objects.
                if call.agg_star || call.func_variadic || call.over.is_some() || call.agg_filter.is_some() {
                    return Err(
                        Refusal::unsupported(format!("this form of {name}() is not supported")).at(call.location)
                    );
                }
                let (told, arguments, shown) = (self.sight.told(), call.args.len(), alias_shown_as(name));
                let make = || {
                    let written: Vec<String> = (1..=arguments).map(|n| format!("${n}")).collect();
                    let text = format!("(pg_catalog.{name}({}))::pg_catalog.{shown}", written.join(", "));
                    Some(if shown == "text" { lookup::bare(text, "", told) } else { text })
                };
                let (name, mention) = (name.to_owned(), Mention::Once);
                let asked = Asked::Call { name, arguments, mention, shown: Some(shown) };
                match told.template(asked, make) {
                    Some(template) => self.replace(call.location, Replacement::Guard(template)),
                    None => Err(Refusal::internal("what stands for a call")),
                }
            }
            FunctionClass::Allowed => Ok(()),
            FunctionClass::Denied => Err(Refusal::denied(format!("permission denied for function {name}"))
                .with_hint("The function can reach beyond its arguments, or change the session or the server.")
                .at(call.location)),
            FunctionClass::Identity(identity) => {
                let plain = !call.agg_star
                    && !call.agg_distinct
                    && !call.func_variadic
                    && call.over.is_none()
                    && call.agg_filter.is_none()
                    && call.agg_order.is_empty();
                let takes = match identity {
                    Identity::CurrentSchemas => 1..=1,
                    Identity::CurrentSetting => 1..=2,
                    Identity::CurrentSchema | Identity::CurrentDatabase | Identity::BackendPid | Identity::User => {
                        0..=0
                    }
                };
                if !plain || !takes.contains(&call.args.len()) {
                    return Err(undefined(format!("{name}()")));
                }
                let replacement = self.identity(identity, call)?;
                self.replace(call.location, replacement)
            }
            FunctionClass::Guarded => {
                let plain = !call.agg_star && !call.func_variadic && call.over.is_none() && call.agg_filter.is_none();
                let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
                // What stands in FROM has to stay a call.
                let repeated = guard::repeats(name, call.args.len());
                let mut repeated =
                    call.args.iter().enumerate().filter(|(at, _)| repeated.is_none_or(|only| only == *at));
                let steady = !in_from && repeated.all(|(_, argument)| super::is_steady(argument));
                let mention = if steady { Mention::Freely } else { Mention::Once };
                let shown = (self.gives_alias(name) && !in_from).then(|| alias_shown_as(name));
                let (told, arguments) = (self.sight.told(), call.args.len());
                let make = || {
                    let text = guard::guard(name, arguments, mention, told)?;
                    Some(shown.map_or_else(|| text.clone(), |shown| format!("({text})::pg_catalog.{shown}")))
                };
                let template = (plain && !named)
                    .then(|| told.template(Asked::Call { name: name.to_owned(), arguments, mention, shown }, make))
                    .flatten()
                    .ok_or_else(|| {
                        Refusal::denied(format!("permission denied for function {name}")).at(call.location)
                    })?;
                self.replace(call.location, Replacement::Guard(template))
            }
        }
    }

    /// The function outside `pg_catalog` that an unqualified name means on the caller's search path.
    fn on_the_path(&self, name: &str, location: i32) -> Result<Option<QualifiedName>, Refusal> {
        let vouched = &self.sight.catalog.vouched;
        if vouched.is_empty() || location < 0 {
            return Ok(None);
        }
        let path = self.sight.session.search_path.iter();
        let mut named =
            path.map(|schema| QualifiedName::new(schema.as_str(), name)).filter(|n| vouched.contains_key(n));
        let (first, second) = (named.next(), named.next());
        match (first, second) {
            (Some(first), None) => Ok(Some(first).filter(|f| !self.sight.catalog.vouched_for(f).is_empty())),
            // The warehouse would choose by the types of arguments.
            (Some(first), Some(second)) if first != second => {
                Err(Refusal::unsupported(format!("function {name} is in several schemas of the search path"))
                    .with_hint("Write its schema.")
                    .at(location))
            }
            (Some(first), Some(_)) => Ok(Some(first).filter(|f| !self.sight.catalog.vouched_for(f).is_empty())),
            (None, _) => Ok(None),
        }
    }

    /// Whether some overload of a function gives an OID alias.
    pub(super) fn gives_alias(&self, name: &str) -> bool {
        let overloads = self.sight.catalog.functions.get(name);
        overloads.is_some_and(|o| o.iter().any(|f| super::is_alias(f.result)))
    }

    /// Notes a replacement; a construct without a location cannot be found again and is refused.
    pub(super) fn replace(&mut self, location: i32, replacement: Replacement) -> Result<(), Refusal> {
        if location < 0 {
            return Err(Refusal::unsupported("this form of a catalog function is not supported"));
        }
        self.resolved.calls.insert(location, replacement);
        Ok(())
    }

    /// Functions about the session are answered with constants.
    fn identity(&self, identity: Identity, call: &pb::FuncCall) -> Result<Replacement, Refusal> {
        let constant = |value: Option<String>, type_name, array| Replacement::Constant { value, type_name, array };
        let arguments = match identity {
            Identity::CurrentSchemas => 1..=1,
            Identity::CurrentSetting => 1..=2,
            Identity::CurrentSchema | Identity::CurrentDatabase | Identity::BackendPid | Identity::User => 0..=0,
        };
        if !arguments.contains(&call.args.len()) {
            let name = names::parts(&call.funcname).unwrap_or_default().join(".");
            let message = format!("function {name} does not exist with {} arguments", call.args.len());
            return Err(Refusal::new(Family::Caller, SqlState::UNDEFINED_FUNCTION, message).at(call.location));
        }
        Ok(match identity {
            Identity::CurrentSchema => constant(self.current_schema(), "name", false),
            Identity::CurrentSchemas => {
                let implicit = match call.args.as_slice() {
                    [arg] => boolean_constant(arg),
                    _ => None,
                };
                let implicit = implicit.ok_or_else(|| {
                    Refusal::unsupported("current_schemas() is supported with a constant argument").at(call.location)
                })?;
                let mut path = self.sight.existing_path();
                if implicit && !path.contains(&"pg_catalog") {
                    path.insert(0, "pg_catalog");
                }
                constant(Some(array_literal(&path)), "name", true)
            }
            Identity::CurrentDatabase => constant(Some(self.sight.session.database.clone()), "name", false),
            Identity::BackendPid => constant(Some(self.sight.backend_pid().to_string()), "int4", false),
            Identity::User => constant(Some(self.sight.caller.user.to_string()), "name", false),
            Identity::CurrentSetting => return self.current_setting(call),
        })
    }

    /// First schema of the search path that exists for the caller.
    pub(super) fn current_schema(&self) -> Option<String> {
        self.sight.existing_path().first().map(|s| (*s).to_owned())
    }

    /// `current_setting('name')`: settings that the proxy holds are constants, harmless ones pass, others are refused.
    fn current_setting(&self, call: &pb::FuncCall) -> Result<Replacement, Refusal> {
        let Some(name) = call.args.first().and_then(string_constant) else {
            let [_] = call.args.as_slice() else {
                return Err(Refusal::unsupported("current_setting() is supported with constants").at(call.location));
            };
            if let Some(argument) = call.args.first() {
                self.scalar_argument(argument, call.location)?;
            }
            // psql's \dconfig: of each setting that pg_settings shows.
            let (own, shown) =
                (self.sight.session.own_settings(&self.sight.caller.user), crate::plan::settings::shown());
            let (mut values, mut names) =
                (crate::catalog::lookup::Map::default(), crate::catalog::lookup::Map::default());
            own.into_iter().for_each(|(name, value)| values.add(name, value));
            let listed = crate::catalog::system::classes::SETTINGS.iter().map(|name| name.to_ascii_lowercase());
            shown.map(str::to_owned).chain(listed).for_each(|name| names.add(name.clone(), name));
            let text = format!(
                "(SELECT COALESCE({}, pg_catalog.current_setting({}, true)) \
                 FROM (SELECT pg_catalog.lower(($1)::pg_catalog.text) AS a1 OFFSET 0) AS g)",
                values.find("g.a1"),
                names.find("g.a1")
            );
            return Ok(Replacement::Guard(text.into()));
        };
        let lower = name.to_ascii_lowercase();
        if let Some(value) = self.sight.session.own_setting(&lower, &self.sight.caller.user) {
            return Ok(Replacement::Constant { value: Some(value), type_name: "text", array: false });
        }
        if !crate::plan::settings::may_show(&lower) {
            // Settings of one's own choice (manual, 20.16) cannot be made here, so there are none.
            if lower.contains('.') {
                return match call.args.get(1).map(boolean_constant) {
                    Some(Some(true)) => Ok(Replacement::Constant { value: None, type_name: "text", array: false }),
                    None | Some(Some(false)) => Err(Refusal::new(
                        Family::Caller,
                        SqlState::UNDEFINED_OBJECT,
                        format!("unrecognized configuration parameter \"{name}\""),
                    )),
                    Some(None) => {
                        Err(Refusal::unsupported("current_setting() is supported with constants").at(call.location))
                    }
                };
            }
            return Err(Refusal::denied(format!("permission denied to examine \"{name}\"")).at(call.location));
        }
        let quoted = crate::types::quote_literal(&lower);
        Ok(Replacement::Guard(format!("pg_catalog.current_setting({quoted}, true)").into()))
    }
}

/// PostgreSQL's own hint (parse_func.c): whether there is such a function outside `pg_catalog` is not told.
const NO_FUNCTION: &str =
    "No function matches the given name and argument types. You might need to add explicit type casts.";

/// What a function's OID alias becomes: the name where the name is what one asks for, the OID where objects are compared.
pub(super) fn alias_shown_as(function: &str) -> &'static str {
    if function == "pg_typeof" { "text" } else { "oid" }
}

/// The value of a string constant node.
pub(super) fn string_constant(node: &pb::Node) -> Option<&str> {
    match &node.node {
        Some(NodeEnum::AConst(c)) => match &c.val {
            Some(pb::a_const::Val::Sval(s)) => Some(s.sval.as_str()),
            _ => None,
        },
        _ => None,
    }
}

fn boolean_constant(node: &pb::Node) -> Option<bool> {
    match &node.node {
        Some(NodeEnum::AConst(c)) => match &c.val {
            Some(pb::a_const::Val::Boolval(b)) => Some(b.boolval),
            _ => None,
        },
        _ => None,
    }
}

/// A `{…}` literal of quoted elements.
fn array_literal(items: &[&str]) -> String {
    let quoted: Vec<String> =
        items.iter().map(|i| format!("\"{}\"", i.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    format!("{{{}}}", quoted.join(","))
}
