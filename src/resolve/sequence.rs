//! Sequences follow their tables: who may write the table may draw from the sequences that its columns own.
//!
//! In: a call of `nextval`, `currval` or `setval` that names its sequence. Out: the call with the name the sequence has in the warehouse.
//! Must never: take a name that is computed, or tell of a sequence whose column the caller does not see. `lastval` stays denied: it
//! answers with whatever sequence was drawn from last, a trigger's included.

use super::names::string_constant;
use super::{Replacement, Resolver};
use crate::error::Refusal;
use crate::sql::{NodeEnum, names, pb};
use crate::types::{QualifiedName, quote_literal};

/// The functions that take a sequence first.
pub(super) fn takes_sequence(function: &str) -> bool {
    matches!(function, "nextval" | "currval" | "setval")
}

/// What a sequence argument names.
enum Named {
    /// The sequence itself.
    Sequence(pb::RangeVar),
    /// The column that owns it: `pg_get_serial_sequence('table', 'column')`.
    Column(pb::RangeVar, String),
}

impl Resolver<'_, '_> {
    /// Notes what stands for a call that takes a sequence.
    pub(super) fn sequence(&mut self, name: &str, call: &pb::FuncCall) -> Result<(), Refusal> {
        let plain = !call.agg_star
            && !call.agg_distinct
            && !call.func_variadic
            && call.over.is_none()
            && call.agg_filter.is_none()
            && call.agg_order.is_empty();
        let counts = if name == "setval" { 2..=3 } else { 1..=1 };
        let named = call.args.iter().any(|a| matches!(a.node, Some(NodeEnum::NamedArgExpr(_))));
        let Some(first) = call.args.first().filter(|_| plain && !named && counts.contains(&call.args.len())) else {
            return Err(Refusal::unsupported(format!("this form of {name}() is not supported")).at(call.location));
        };
        let argument = self.named(first)?.ok_or_else(|| {
            Refusal::unsupported(format!("{name}() is supported with the name of a sequence"))
                .with_hint("Write the name as a constant, or pg_get_serial_sequence('table', 'column').")
                .at(call.location)
        })?;
        let found = match &argument {
            Named::Sequence(sequence) => self.sequence_named(sequence),
            Named::Column(table, column) => self.sequence_of(table, column)?,
        };
        let shown = match &argument {
            Named::Sequence(sequence) => super::relation_written(sequence),
            Named::Column(table, column) => format!("{}.{column}", super::relation_written(table)),
        };
        let (remote, writes) = found.ok_or_else(|| Refusal::undefined_table(&shown).at(call.location))?;
        if !writes {
            return Err(Refusal::denied(format!("permission denied for sequence {shown}"))
                .with_hint("A sequence follows its table: it needs a grant with `accessGrant: WRITE`.")
                .at(call.location));
        }
        let rest: String = (2..=call.args.len()).map(|n| format!(", ${n}")).collect();
        let sequence = format!("{}::pg_catalog.regclass", quote_literal(&remote.to_sql()));
        self.resolved.sequences = true;
        self.replace(call.location, Replacement::Guard(format!("pg_catalog.{name}({sequence}{rest})").into()))
    }

    /// What the first argument names; the casts and calls in it stand for nothing, as the name does not stay.
    fn named(&mut self, argument: &pb::Node) -> Result<Option<Named>, Refusal> {
        let nothing = || Replacement::Constant { value: None, type_name: "text", array: false };
        if let Some(text) = string_constant(argument) {
            return Ok(relation(text).map(Named::Sequence));
        }
        match &argument.node {
            Some(NodeEnum::TypeCast(cast)) => {
                let type_name = cast.type_name.as_ref().and_then(|t| names::parts(&t.names)).unwrap_or_default();
                let fits = matches!(type_name.as_slice(), ["regclass" | "text"] | ["pg_catalog", "regclass" | "text"]);
                let plain = cast.type_name.as_ref().is_some_and(|t| t.array_bounds.is_empty());
                let Some(inner) = cast.arg.as_deref().filter(|_| fits && plain) else { return Ok(None) };
                self.replace(cast.location, nothing())?;
                self.named(inner)
            }
            Some(NodeEnum::FuncCall(call)) => {
                let name = names::parts(&call.funcname).unwrap_or_default();
                let serial =
                    matches!(name.as_slice(), ["pg_get_serial_sequence"] | ["pg_catalog", "pg_get_serial_sequence"]);
                let (true, [table, column]) = (serial, call.args.as_slice()) else { return Ok(None) };
                let (Some(table), Some(column)) = (string_constant(table), string_constant(column)) else {
                    return Ok(None);
                };
                self.replace(call.location, nothing())?;
                Ok(relation(table).map(|table| Named::Column(table, column.to_owned())))
            }
            _ => Ok(None),
        }
    }

    /// A sequence by its own name, in the schema that its table has for callers; whether the caller may write that table.
    fn sequence_named(&self, written: &pb::RangeVar) -> Option<(QualifiedName, bool)> {
        let find = |schema: &str| {
            let mut relations = self.sight.visibility().relations.iter();
            relations.find_map(|d| {
                if d.query.is_some() || d.logical.schema != schema {
                    return None;
                }
                let mut sequences = self.sight.catalog.sequences.iter();
                let owned = sequences.find(|(name, sequence)| {
                    name.name == written.relname
                        && name.schema == d.remote.schema
                        && sequence.owner.as_ref().is_some_and(|(relation, column)| {
                            *relation == d.oid && d.columns.iter().any(|c| c.name == *column)
                        })
                });
                owned.map(|(name, _)| (name.clone(), d.write))
            })
        };
        match written.schemaname.as_str() {
            "" => self.sight.session.search_path.iter().find_map(|schema| find(schema)),
            schema => find(schema),
        }
    }

    /// The sequence that a column owns.
    fn sequence_of(&self, table: &pb::RangeVar, column: &str) -> Result<Option<(QualifiedName, bool)>, Refusal> {
        let permitted = self.sight.relation(table).map_err(|refusal| Refusal { position: None, ..refusal })?;
        let decision = permitted.decision();
        if decision.query.is_some() || !decision.columns.iter().any(|c| c.name == column) {
            return Ok(None);
        }
        let mut sequences = self.sight.catalog.sequences.iter();
        let owned = sequences.find(|(_, sequence)| {
            sequence.owner.as_ref().is_some_and(|(relation, owner)| *relation == decision.oid && owner == column)
        });
        Ok(owned.map(|(name, _)| (name.clone(), decision.write)))
    }
}

/// A name as `regclass` reads it: perhaps qualified, folded and quoted as an identifier. The text is read and goes nowhere.
fn relation(text: &str) -> Option<pb::RangeVar> {
    let parsed = crate::sql::parse_apart(&format!("TABLE {text}")).ok()?;
    let [statement] = parsed.statements.as_slice() else { return None };
    let NodeEnum::SelectStmt(select) = &statement.node else { return None };
    let bare = select.sort_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.locking_clause.is_empty()
        && select.larg.is_none();
    match (select.from_clause.as_slice(), bare) {
        ([one], true) => match &one.node {
            Some(NodeEnum::RangeVar(r)) if r.alias.is_none() && r.catalogname.is_empty() && r.inh => Some(r.clone()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::relation;

    #[test]
    fn names_are_read_as_identifiers() {
        let read = |text| relation(text).map(|r| (r.schemaname, r.relname));
        assert_eq!(read("Seq"), Some((String::new(), "seq".to_owned())));
        assert_eq!(read("public.\"My Seq\""), Some(("public".to_owned(), "My Seq".to_owned())));
        for text in
            ["a; DROP TABLE b", "a UNION TABLE b", "a, b", "", "a LIMIT 1", "db.public.a", "ONLY a", "a ORDER BY 1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
