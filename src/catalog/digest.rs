//! Whether a warehouse's catalog is as it was, without reading it whole.
//!
//! In: a connection. Out: a [`Digest`] of every system catalog that [`Catalog::load_with`] looks at. Two that are alike mean snapshots that are
//! alike; two that differ mean only that it has to be looked. Must never: leave out a system catalog that a snapshot depends on.
//!
//! A row of a system catalog that is written has the writing transaction as its `xmin` (PostgreSQL manual, 5.5 and 70.6), so that their number,
//! their sum and the sum of their hashes change with every change of a catalog. What is changed in place, and keeps its `xmin`, is part of the
//! digest itself (`index_set_state_flags`, `vac_update_relstats` in the sources). Temporary tables of sessions are left out.

use super::{Catalog, LoadError};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tokio_postgres::Client;

/// A picture of the system catalogs, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

/// The system catalogs, which of their rows count, and what of a row counts besides its `xmin`.
const CATALOGS: &[(&str, &str, &str)] = &[
    ("pg_attrdef", "t.adrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_attribute", "t.attrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_auth_members", "", ""),
    ("pg_cast", "", ""),
    (
        "pg_class",
        "t.relpersistence <> 't'",
        "sum(t.relhasindex::int4 + 2 * t.relhasrules::int4 + 4 * t.relhastriggers::int4 + 8 * t.relhassubclass::int4), \
            sum(hashint4(t.oid::int4)::int8 * (1 + t.relhasrules::int4 + 2 * t.relhastriggers::int4))",
    ),
    ("pg_collation", "", ""),
    ("pg_constraint", "t.conrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_database", "t.datname = current_database()", ""),
    (
        "pg_depend",
        "NOT (t.refclassid = 'pg_class'::regclass AND t.refobjid IN (SELECT oid FROM temporary)) \
            AND NOT (t.classid = 'pg_class'::regclass AND t.objid IN (SELECT oid FROM temporary)) \
            AND NOT (t.refclassid = 'pg_type'::regclass AND t.refobjid IN (SELECT oid FROM temporary_types))",
        "",
    ),
    ("pg_enum", "", ""),
    ("pg_extension", "", ""),
    ("pg_foreign_data_wrapper", "", ""),
    ("pg_foreign_server", "", ""),
    ("pg_foreign_table", "", ""),
    (
        "pg_index",
        "t.indrelid NOT IN (SELECT oid FROM temporary)",
        "sum(hashint4(t.indexrelid::int4)::int8 * (1 + t.indisvalid::int4 + 2 * t.indisready::int4 + 4 * t.indislive::int4))",
    ),
    ("pg_inherits", "t.inhrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_language", "", ""),
    ("pg_namespace", "t.nspname::text !~ '^pg_(toast_)?temp_'", ""),
    ("pg_operator", "", ""),
    ("pg_partitioned_table", "t.partrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_policy", "", ""),
    ("pg_proc", "", ""),
    ("pg_range", "", ""),
    ("pg_rewrite", "t.ev_class NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_trigger", "t.tgrelid NOT IN (SELECT oid FROM temporary)", ""),
    ("pg_ts_config", "", ""),
    ("pg_ts_dict", "", ""),
    ("pg_ts_parser", "", ""),
    ("pg_type", "t.oid NOT IN (SELECT oid FROM temporary_types)", ""),
];

/// Temporary relations of any session, and their types.
const TEMPORARY: &str = "WITH temporary AS (SELECT oid FROM pg_class WHERE relpersistence = 't'), \
    temporary_types AS (SELECT y.oid FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace WHERE n.nspname::text ~ '^pg_(toast_)?temp_')";

fn statement() -> String {
    let mut sql = String::from(TEMPORARY);
    for (number, (catalog, counted, besides)) in CATALOGS.iter().enumerate() {
        let joined = if number == 0 { "" } else { " UNION ALL" };
        let counted = if counted.is_empty() { "true" } else { counted };
        let besides = if besides.is_empty() { "0" } else { besides };
        // A String takes everything.
        let _ = write!(
            sql,
            "{joined} SELECT ROW('{catalog}', count(*), sum(t.xmin::text::int8), sum(hashtext(t.xmin::text)::int8), {besides})::text \
                FROM {catalog} t WHERE {counted}"
        );
    }
    // Which rights the login has besides those that are granted.
    sql.push_str(" UNION ALL SELECT ROW(r.oid, r.rolsuper, r.rolinherit, r.rolbypassrls, r.rolname)::text FROM pg_roles r WHERE r.rolname = current_user");
    sql.push_str(" UNION ALL SELECT ROW(current_setting('server_version_num'), current_database())::text");
    sql
}

impl Digest {
    /// Looks at the catalogs of a warehouse, in the transaction that the client is in.
    pub(super) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let mut digest = String::new();
        for row in client.query(&statement(), &[]).await? {
            digest.push_str(row.try_get(0)?);
            digest.push('\n');
        }
        Ok(Self(digest))
    }
}

impl Catalog {
    /// As [`Catalog::load_with`], unless the warehouse's catalog is as it was when `known` was made of it over a connection like this one: then
    /// `None`. Gives the digest with the snapshot.
    ///
    /// Not cancel safe, as [`Catalog::load`].
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub async fn load_changed(
        client: &Client,
        shards: &BTreeSet<String>,
        known: Option<&Digest>,
    ) -> Result<Option<(Self, Digest)>, LoadError> {
        super::load::within(client, async || {
            let digest = Digest::of(client).await?;
            if known == Some(&digest) {
                return Ok(None);
            }
            Ok(Some((super::load::read(client, shards).await?, digest)))
        })
        .await
    }
}
