//! Functions outside `pg_catalog` that somebody vouches for: the only ones callers may call.
//!
//! In: the list of the configuration, and what the warehouse says of each function. Out: those that are as was said, by name, and remarks
//! on the others. Must never: let a name be called of which one overload is not vouched for: which overload a call means depends on
//! types the proxy does not infer.
//!
//! Whoever vouches says that the function computes its answer from its arguments, or from what every caller may see: the proxy cannot
//! look into it, and it runs with the rights of the service login (or of its owner).

use super::functions::{FIRST_NORMAL_OID, takes_and_gives_harmless_types};
use super::{Catalog, Function};
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// One entry of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouching {
    /// `schema.name(argument types)`.
    pub function: String,
    /// Its name.
    pub name: QualifiedName,
    /// `provolatile` as expected: `i`, `s` or `v`.
    pub volatility: char,
    /// Who answers for it.
    pub vouched_by: String,
    /// It never raises, on any arguments.
    pub total: bool,
}

/// A function that may be called.
#[derive(Debug, Clone, PartialEq)]
pub struct UserFunction {
    /// As the catalog has it.
    pub function: Function,
    /// It never raises.
    pub total: bool,
    /// Who answers for it.
    pub vouched_by: String,
}

/// What is to be said of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Which entry.
    pub entry: usize,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub help: String,
}

/// What the warehouse says of one function outside `pg_catalog`.
struct Found {
    name: QualifiedName,
    signature: String,
    function: Function,
    definer: bool,
    executable: bool,
}

const NAMED: &str = "SELECT n.nspname::text, p.proname::text, p.oid, p.proargtypes::oid[], p.pronargdefaults, p.provariadic, p.prorettype, \
    p.provolatile, p.prokind, p.proleakproof, l.lanname::text, p.proretset, p.prosecdef, \
    has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE'), \
    format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) \
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
    WHERE p.proname = ANY ($1::text[]) AND n.nspname::text !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY p.oid";

/// The OID of each entry's function, by the server's own reading of the text.
async fn oids(client: &Client, list: &[Vouching]) -> Result<Vec<Option<Oid>>, tokio_postgres::Error> {
    let mut oids = Vec::with_capacity(list.len());
    for entry in list {
        let asked = client.query_one("SELECT pg_catalog.to_regprocedure($1::text)::oid", &[&entry.function]).await;
        oids.push(match asked {
            Ok(row) => row.try_get::<_, Option<u32>>(0)?.map(Oid),
            // Before PostgreSQL 16 an unknown type is an error.
            Err(error) if error.as_db_error().is_some() => None,
            Err(error) => return Err(error),
        });
    }
    Ok(oids)
}

impl Catalog {
    /// Looks up what is vouched for. Call it outside a transaction, after [`Catalog::load`].
    ///
    /// # Errors
    /// When the warehouse cannot be asked.
    pub async fn vouch(&mut self, client: &Client, list: &[Vouching]) -> Result<Vec<Remark>, tokio_postgres::Error> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&str> = list.iter().map(|v| v.name.name.as_str()).collect();
        let oids = oids(client, list).await?;
        let mut found = Vec::new();
        for row in client.query(NAMED, &[&names]).await? {
            let oid = |at: usize| row.try_get::<_, u32>(at).map(Oid);
            let letter = |at: usize| row.try_get::<_, i8>(at).map(|b| u8::try_from(b).map_or('?', char::from));
            let args: Vec<u32> = row.try_get(3)?;
            let defaults: i16 = row.try_get(4)?;
            found.push(Found {
                name: QualifiedName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?),
                signature: row.try_get(14)?,
                function: Function {
                    oid: oid(2)?,
                    args: args.into_iter().map(Oid).collect(),
                    defaults: usize::try_from(defaults).unwrap_or_default(),
                    variadic: oid(5)?,
                    result: oid(6)?,
                    volatility: letter(7)?,
                    kind: letter(8)?,
                    leakproof: row.try_get(9)?,
                    language: row.try_get(10)?,
                    returns_set: row.try_get(11)?,
                },
                definer: row.try_get(12)?,
                executable: row.try_get(13)?,
            });
        }
        Ok(self.settle(list, &oids, &found))
    }

    /// Keeps what is as was said.
    fn settle(&mut self, list: &[Vouching], oids: &[Option<Oid>], found: &[Found]) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let mut good: BTreeMap<Oid, &Vouching> = BTreeMap::new();
        for (at, entry) in list.iter().enumerate() {
            let mut remark = |message: String, help: &str| {
                let message = format!("function `{}`, vouched for by {}: {message}", entry.function, entry.vouched_by);
                remarks.push(Remark { entry: at, message, help: help.to_owned() });
            };
            let oid = oids.get(at).copied().flatten();
            let Some(known) = found.iter().find(|f| Some(f.function.oid) == oid && f.name == entry.name) else {
                let like: Vec<&str> =
                    found.iter().filter(|f| f.name == entry.name).map(|f| f.signature.as_str()).collect();
                let like = if like.is_empty() { String::new() } else { format!("; there is {}", like.join(", ")) };
                remark(
                    format!("the warehouse has none of that signature{like}"),
                    "correct the name and the argument types, or remove the entry; until then it cannot be called",
                );
                continue;
            };
            if good.contains_key(&known.function.oid) {
                remark("it is listed twice".to_owned(), "keep one of the entries");
                continue;
            }
            if !matches!(known.function.kind, 'f' | 'a' | 'w') || !takes_and_gives_harmless_types(&known.function) {
                remark(
                    "it is a procedure, a trigger, or takes or gives internals of the server".to_owned(),
                    "remove the entry; it cannot be called",
                );
                continue;
            }
            if known.function.volatility != entry.volatility {
                remark(
                    format!("the warehouse says it is {}", volatility(known.function.volatility)),
                    "look at the function again, then change `volatility`; until then it cannot be called",
                );
                continue;
            }
            if !known.executable {
                remark(
                    "the service login may not execute it".to_owned(),
                    "grant EXECUTE on the function and USAGE on its schema to the service login",
                );
            }
            if known.definer {
                remark(
                    "it is SECURITY DEFINER: it runs with the rights of its owner".to_owned(),
                    "make sure that it reads nothing that callers may not see; nothing needs to be changed here",
                );
            } else if known.function.volatility != 'i' && known.function.language != "c" {
                remark(
                    format!(
                        "its {} body may read tables, with the rights of the service login",
                        known.function.language
                    ),
                    "make sure that it reads nothing that callers may not see; nothing needs to be changed here",
                );
            }
            good.insert(known.function.oid, entry);
        }
        // Everything of these names is kept track of, so that a name on a search path is found as the warehouse would find it.
        let mut by_name: BTreeMap<QualifiedName, Vec<UserFunction>> = BTreeMap::new();
        let mut open: BTreeSet<QualifiedName> = BTreeSet::new();
        for known in found {
            let overloads = by_name.entry(known.name.clone()).or_default();
            match good.get(&known.function.oid) {
                Some(entry) => overloads.push(UserFunction {
                    function: known.function.clone(),
                    total: entry.total,
                    vouched_by: entry.vouched_by.clone(),
                }),
                None => {
                    open.insert(known.name.clone());
                    if let Some((at, entry)) = list.iter().enumerate().find(|(_, e)| e.name == known.name)
                        && good.values().any(|g| g.name == known.name)
                    {
                        let message = format!(
                            "function `{}`, vouched for by {}: nobody vouches for `{}`, which has the same name",
                            entry.function, entry.vouched_by, known.signature
                        );
                        let help = "vouch for all functions of a name, or none of them can be called";
                        remarks.push(Remark { entry: at, message, help: help.to_owned() });
                    }
                }
            }
        }
        for name in open {
            by_name.insert(name, Vec::new());
        }
        self.vouched = by_name;
        remarks
    }

    /// The functions of a name outside `pg_catalog` that may be called: all of them, or none.
    pub fn vouched_for(&self, name: &QualifiedName) -> &[UserFunction] {
        self.vouched.get(name).map_or(&[], Vec::as_slice)
    }

    /// A cast made by somebody that calls a function nobody vouches for, from one type (`None`: any) to another.
    pub fn unvouched_cast(&self, from: Option<Oid>, to: Oid) -> bool {
        let own = |function: Oid| function.0 >= FIRST_NORMAL_OID;
        let vouched = |function: Oid| self.vouched.values().flatten().any(|v| v.function.oid == function);
        let refused = |cast: &super::Cast| own(cast.function) && !vouched(cast.function);
        match from {
            Some(from) => self.casts.get(&(from, to)).is_some_and(refused),
            None => self.casts.iter().any(|((_, target), cast)| *target == to && refused(cast)),
        }
    }

    /// Casts that happen without being named, by functions nobody vouches for: source, target.
    pub fn unvouched_implicit_casts(&self) -> Vec<(String, String)> {
        let name = |oid: &Oid| self.types.get(oid).map_or_else(|| oid.to_string(), |t| t.sql.clone());
        let mut found: Vec<(String, String)> = self
            .casts
            .iter()
            .filter(|((from, to), cast)| cast.context != 'e' && self.unvouched_cast(Some(*from), *to))
            .map(|((from, to), _)| (name(from), name(to)))
            .collect();
        found.sort();
        found
    }
}

fn volatility(letter: char) -> &'static str {
    match letter {
        'i' => "immutable",
        's' => "stable",
        _ => "volatile",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: &str, volatility: char) -> Vouching {
        Vouching {
            function: function.to_owned(),
            name: QualifiedName::new("lib", "f"),
            volatility,
            vouched_by: "jane".to_owned(),
            total: true,
        }
    }

    fn known(oid: u32, args: &[u32]) -> Found {
        let function = Function {
            oid: Oid(oid),
            args: args.iter().copied().map(Oid).collect(),
            result: Oid(25),
            volatility: 'i',
            kind: 'f',
            language: "sql".to_owned(),
            ..Function::default()
        };
        Found {
            name: QualifiedName::new("lib", "f"),
            signature: format!("lib.f({oid})"),
            function,
            definer: false,
            executable: true,
        }
    }

    #[test]
    fn all_overloads_of_a_name_or_none() {
        let name = QualifiedName::new("lib", "f");
        let mut catalog = Catalog::default();
        let remarks = catalog.settle(&[entry("lib.f(int)", 'i')], &[Some(Oid(20_000))], &[known(20_000, &[23])]);
        assert_eq!((remarks, catalog.vouched_for(&name).len()), (vec![], 1));
        let found = [known(20_000, &[23]), known(20_001, &[25])];
        let remarks = catalog.settle(&[entry("lib.f(int)", 'i')], &[Some(Oid(20_000))], &found);
        assert!(remarks[0].message.contains("nobody vouches for `lib.f(20001)`"), "{remarks:?}");
        assert!(catalog.vouched_for(&name).is_empty() && catalog.vouched.contains_key(&name));
    }

    #[test]
    fn what_is_not_as_was_said_cannot_be_called() {
        let name = QualifiedName::new("lib", "f");
        let good = known(20_000, &[23]);
        let mut internal = known(20_000, &[2281]);
        internal.function.volatility = 'i';
        let mut procedure = known(20_000, &[23]);
        procedure.function.kind = 'p';
        for (entry, oid, found) in [
            (entry("lib.f(int)", 'v'), Some(Oid(20_000)), good),
            (entry("lib.f(text)", 'i'), None, known(20_000, &[23])),
            (entry("lib.f(internal)", 'i'), Some(Oid(20_000)), internal),
            (entry("lib.f(int)", 'i'), Some(Oid(20_000)), procedure),
        ] {
            let mut catalog = Catalog::default();
            let remarks = catalog.settle(&[entry], &[oid], &[found]);
            assert!(!remarks.is_empty() && catalog.vouched_for(&name).is_empty());
        }
    }
}
