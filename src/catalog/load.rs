//! Reads the warehouse's catalog into a [`Catalog`].
//!
//! In: an open connection. Out: a snapshot taken in one `REPEATABLE READ READ ONLY` transaction with a dozen set-based queries
//! (PostgreSQL 13 to 18). Must never: read user data, or hand out a snapshot of a database whose text is not UTF-8.

use super::views;
use super::{
    Cast, Catalog, Column, Constraint, Function, Index, NamedKind, Operator, Relation, RelationKind, Sequence, TypeInfo,
};
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::{Client, Row};

/// Why no snapshot could be taken.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The warehouse refused or went away.
    #[error("cannot read the catalog of the warehouse: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// The server is older than what the queries are written for.
    #[error("the warehouse runs PostgreSQL {0}; 13 or later is needed")]
    TooOld(u32),
    /// The database's encoding is not UTF8.
    #[error("database \"{database}\" is encoded in {encoding}; only UTF8 databases are supported")]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\
    SET LOCAL search_path = pg_catalog;\
    SET LOCAL statement_timeout = 0";

const DATABASE: &str = "SELECT current_setting('server_version_num')::int4, d.datname::text, pg_encoding_to_char(d.encoding)::text, \
    has_database_privilege(d.oid, 'TEMPORARY') \
    FROM pg_database d WHERE d.datname = current_database()";

/// Schemas kept: not TOAST, not temporary ones of sessions. Users cannot make schemas whose name begins with `pg_`.
const SCHEMAS: &str = "SELECT oid, nspname::text FROM pg_namespace WHERE nspname::text !~ '^pg_(toast|temp_)'";

const RELATIONS: &str = "SELECT c.oid, c.relnamespace, c.relname::text, c.relkind, c.reltype, c.relrowsecurity, c.relhasrules AND c.relkind <> 'v', \
    EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 1 = 1 AND t.tgtype & 66 <> 0), \
    CASE WHEN c.relkind = 'f' THEN (SELECT s.srvname::text FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver \
        WHERE f.ftrelid = c.oid) END, c.relhastriggers FROM pg_class c \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.attcollation, \
    a.attgenerated <> ''::\"char\", a.atthasdef OR a.attidentity <> ''::\"char\", a.attgenerated = 'v'::\"char\" \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

/// With the column that owns it, by `OWNED BY` (`a`) or as an identity (`i`).
const SEQUENCES: &str = "SELECT c.oid, c.relnamespace, c.relname::text, coalesce(d.refobjid, 0::oid), a.attname::text \
    FROM pg_class c LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 \
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
    LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE c.relkind = 'S'";

const INDEXES: &str = "SELECT i.indrelid, i.indexrelid, c.relname::text, i.indkey::int2[], \
    i.indexprs IS NOT NULL OR i.indpred IS NOT NULL \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid ORDER BY i.indrelid, i.indexrelid";

const CONSTRAINTS: &str = "SELECT conrelid, oid, conname::text, contype, conkey, confrelid, confkey, condeferrable, conindid, \
    confupdtype, confdeltype \
    FROM pg_constraint WHERE conrelid <> 0 ORDER BY conrelid, oid";

const PARENTS: &str = "SELECT inhrelid, inhparent FROM pg_inherits ORDER BY inhrelid, inhseqno";

const TYPES: &str = "SELECT t.oid, t.typnamespace, t.typname::text, t.typtype, t.typcategory, \
    CASE WHEN t.typlen = -1 THEN t.typelem ELSE 0::oid END, t.typarray, t.typbasetype, t.typrelid, format_type(t.oid, NULL), \
    t.typtypmod, t.typnotnull, ARRAY(SELECT c.oid FROM pg_constraint c WHERE c.contypid = t.oid ORDER BY c.oid) \
    FROM pg_type t";

/// With `search_path` at `pg_catalog` the definition names every other relation with its schema.
const VIEWS: &str = "SELECT c.oid, pg_get_viewdef(c.oid) FROM pg_class c \
    WHERE c.relkind = 'v' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)";

const FUNCTIONS: &str = "SELECT p.proname::text, p.oid, p.proargtypes::oid[], p.pronargdefaults, p.provariadic, p.prorettype, p.provolatile, \
    p.prokind, p.proleakproof, l.lanname::text, p.proretset \
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'pg_catalog'::regnamespace ORDER BY p.oid";

const OPERATORS: &str = "SELECT o.oprname::text, o.oprleft, o.oprright, o.oprresult, o.oprcode::oid, coalesce(p.proleakproof, false) \
    FROM pg_operator o LEFT JOIN pg_proc p ON p.oid = o.oprcode \
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace ORDER BY o.oid";

const CASTS: &str = "SELECT c.castsource, c.casttarget, c.castfunc, c.castcontext, c.castmethod, \
    coalesce(p.proleakproof, c.castmethod = 'b') FROM pg_cast c LEFT JOIN pg_proc p ON p.oid = c.castfunc";

/// What stands in `pg_catalog`; of collations, those that a UTF8 database can use.
const NAMED: &str = "SELECT 'c'::\"char\", collname::text, oid FROM pg_collation \
    WHERE collnamespace = 'pg_catalog'::regnamespace AND collencoding IN (-1, pg_char_to_encoding('UTF8')) \
    UNION ALL SELECT 'f', cfgname::text, oid FROM pg_ts_config WHERE cfgnamespace = 'pg_catalog'::regnamespace \
    UNION ALL SELECT 'd', dictname::text, oid FROM pg_ts_dict WHERE dictnamespace = 'pg_catalog'::regnamespace \
    UNION ALL SELECT 'p', prsname::text, oid FROM pg_ts_parser WHERE prsnamespace = 'pg_catalog'::regnamespace";

/// The function must belong to the extension, not only be called like its own.
const PGCRYPTO: &str = "SELECT n.nspname::text FROM pg_extension e \
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e' \
    JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid \
    JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE e.extname = 'pgcrypto' AND p.proname = 'encrypt' AND p.proargtypes = '17 17 25'::oidvector AND p.prorettype = 17";

/// Expressions of the catalog that name something else than the relation itself, its sequences, the types of its columns, of a domain itself and
/// what it is made of, and what belongs to the system or to an extension: defaults (with their relation), checks, indexes, partition keys, and
/// defaults and checks of domains.
const ALIEN: &str = "SELECT d.objid, coalesce(a.adrelid, 0::oid) FROM pg_depend d \
    LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid \
    LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid \
    LEFT JOIN pg_type m ON m.oid = c.contypid \
    LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid \
    LEFT JOIN pg_partitioned_table p ON d.classid = 'pg_class'::regclass AND p.partrelid = d.objid AND d.objsubid = 0 \
        AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = d.objid AND h.inhparent = d.refobjid AND d.refclassid = d.classid) \
    LEFT JOIN pg_type y ON d.classid = 'pg_type'::regclass AND y.oid = d.objid AND y.typtype = 'd' AND y.typdefaultbin IS NOT NULL \
    CROSS JOIN LATERAL (SELECT coalesce(a.adrelid, c.conrelid, i.indrelid, p.partrelid, 0::oid) AS relation) AS own \
    WHERE d.refobjid >= 16384 AND d.deptype IN ('n', 'a') \
    AND (a.oid IS NOT NULL OR c.contype IN ('c', 'x') OR i.indexrelid IS NOT NULL OR p.partrelid IS NOT NULL OR y.oid IS NOT NULL) \
    AND CASE d.refclassid \
        WHEN 'pg_class'::regclass THEN d.refobjid <> own.relation AND NOT EXISTS (SELECT FROM pg_depend s WHERE s.classid = 'pg_class'::regclass \
            AND s.objid = d.refobjid AND s.refclassid = 'pg_class'::regclass AND s.refobjid = own.relation AND s.deptype IN ('a', 'i')) \
        WHEN 'pg_type'::regclass THEN d.refobjid <> coalesce(c.contypid, 0::oid) AND NOT EXISTS (SELECT FROM pg_type k WHERE k.oid = d.refobjid \
            AND (coalesce(y.typbasetype, m.typbasetype) IN (k.oid, k.typarray) OR EXISTS (SELECT FROM pg_attribute t \
                WHERE t.attrelid = own.relation AND t.attnum > 0 AND NOT t.attisdropped AND t.atttypid IN (k.oid, k.typarray)))) \
        WHEN 'pg_namespace'::regclass THEN false WHEN 'pg_constraint'::regclass THEN false ELSE true END \
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e')";

impl Catalog {
    /// Takes a snapshot; `version` is left 0 for the holder to set.
    ///
    /// Not cancel safe: a dropped future may leave the connection inside a transaction; drop the connection with it.
    pub async fn load(client: &Client) -> Result<Self, LoadError> {
        Self::load_with(client, &BTreeSet::new()).await
    }

    /// The same with foreign servers of which somebody says that foreign tables there stand for tables.
    ///
    /// Not cancel safe, as [`Self::load`].
    pub async fn load_with(client: &Client, shards: &BTreeSet<String>) -> Result<Self, LoadError> {
        within(client, async || read(client, shards).await).await
    }
}

/// Reads in one transaction.
pub(super) async fn within<T>(
    client: &Client,
    read: impl AsyncFnOnce() -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    client.batch_execute(BEGIN).await?;
    let read = read().await;
    // The transaction only read: a failure to end it is a failure of the connection.
    let ended = client.batch_execute("ROLLBACK").await;
    let read = read?;
    ended?;
    Ok(read)
}

pub(super) async fn read(client: &Client, shards: &BTreeSet<String>) -> Result<Catalog, LoadError> {
    let mut catalog = Catalog::default();
    read_database(client, &mut catalog).await?;
    let schemas = read_schemas(client, &mut catalog).await?;
    let mut relations = read_relations(client, &schemas, shards).await?;
    read_sequences(client, &schemas, &mut catalog).await?;
    read_columns(client, &mut relations).await?;
    for row in client.query(PARENTS, &[]).await? {
        if let Some(relation) = relations.get_mut(&oid(&row, 0)?) {
            relation.parents.push(oid(&row, 1)?);
        }
    }
    pass_upwards(&mut relations);
    read_functions(client, &mut catalog).await?;
    read_views(client, &mut relations, &catalog.functions).await?;
    let index_columns = read_indexes(client, &mut relations).await?;
    read_constraints(client, &mut relations, &index_columns).await?;
    let alien = read_alien(client, &mut relations).await?;
    catalog.open_functions = super::effects::read(client, &mut relations).await?;
    catalog.own_sql = Arc::new(super::effects::read_own_sql(client).await?);
    catalog.relations = relations.into_values().map(|r| (r.name.clone(), Arc::new(r))).collect();
    read_types(client, &schemas, &alien, &mut catalog).await?;
    catalog.unclassified = catalog.find_unclassified();
    read_operators(client, &mut catalog).await?;
    read_casts(client, &mut catalog).await?;
    read_named(client, &mut catalog).await?;
    if let Some(row) = client.query_opt(PGCRYPTO, &[]).await? {
        catalog.pgcrypto = Some(row.try_get(0)?);
    }
    Ok(catalog)
}

async fn read_database(client: &Client, catalog: &mut Catalog) -> Result<(), LoadError> {
    let row = client.query_one(DATABASE, &[]).await?;
    let version: i32 = row.try_get(0)?;
    let database: String = row.try_get(1)?;
    let encoding: String = row.try_get(2)?;
    if encoding != "UTF8" {
        return Err(LoadError::Encoding { database, encoding });
    }
    let version = u32::try_from(version).unwrap_or_default();
    if version < 130_000 {
        return Err(LoadError::TooOld(version / 10_000));
    }
    catalog.server_version = version;
    catalog.database = database;
    catalog.temporary = row.try_get(3)?;
    Ok(())
}

async fn read_schemas(client: &Client, catalog: &mut Catalog) -> Result<HashMap<Oid, String>, LoadError> {
    let mut by_oid = HashMap::new();
    for row in client.query(SCHEMAS, &[]).await? {
        let (id, name) = (oid(&row, 0)?, row.try_get::<_, String>(1)?);
        catalog.schemas.insert(name.clone(), id);
        by_oid.insert(id, name);
    }
    Ok(by_oid)
}

async fn read_relations(
    client: &Client,
    schemas: &HashMap<Oid, String>,
    shards: &BTreeSet<String>,
) -> Result<HashMap<Oid, Relation>, LoadError> {
    let mut relations = HashMap::new();
    for row in client.query(RELATIONS, &[]).await? {
        let Some(schema) = schemas.get(&oid(&row, 1)?) else { continue };
        let kind = match letter(&row, 3)? {
            'p' => RelationKind::Partitioned,
            'v' => RelationKind::View,
            'm' => RelationKind::MaterializedView,
            'f' => RelationKind::Foreign,
            _ => RelationKind::Table,
        };
        let id = oid(&row, 0)?;
        let name = QualifiedName::new(schema.clone(), row.try_get::<_, String>(2)?);
        let (row_security, rules, before_triggers) = (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
        let has_triggers = row.try_get(9)?;
        let row_type = oid(&row, 4)?;
        let far = kind == RelationKind::Foreign;
        let server: Option<String> = row.try_get(8)?;
        let opaque = far && !server.is_some_and(|server| shards.contains(&server));
        let relation =
            Relation { oid: id, name, kind, row_type, row_security, rules, before_triggers, ..Relation::default() };
        // A value that is not of the local column's type raises when its row is fetched.
        relations.insert(id, Relation { far, opaque, has_triggers, may_raise: far, ..relation });
    }
    Ok(relations)
}

async fn read_sequences(
    client: &Client,
    schemas: &HashMap<Oid, String>,
    catalog: &mut Catalog,
) -> Result<(), LoadError> {
    for row in client.query(SEQUENCES, &[]).await? {
        let Some(schema) = schemas.get(&oid(&row, 1)?) else { continue };
        let name = QualifiedName::new(schema.clone(), row.try_get::<_, String>(2)?);
        let column: Option<String> = row.try_get(4)?;
        let owner = oid(&row, 3)?;
        catalog.sequences.insert(name, Sequence { oid: oid(&row, 0)?, owner: column.map(|column| (owner, column)) });
    }
    Ok(())
}

async fn read_columns(client: &Client, relations: &mut HashMap<Oid, Relation>) -> Result<(), LoadError> {
    for row in client.query(COLUMNS, &[]).await? {
        let Some(relation) = relations.get_mut(&oid(&row, 0)?) else { continue };
        let name: String = row.try_get(1)?;
        let is_virtual: bool = row.try_get(9)?;
        if is_virtual || relation.opaque {
            relation.computed.insert(name.clone());
            relation.may_raise = true;
        }
        relation.columns.push(Column {
            name,
            number: row.try_get(2)?,
            type_oid: oid(&row, 3)?,
            typmod: row.try_get(4)?,
            not_null: row.try_get(5)?,
            collation: oid(&row, 6)?,
            generated: row.try_get(7)?,
            has_default: row.try_get(8)?,
        });
    }
    Ok(())
}

/// What is true of a partition or child when it is read is true of those above it, through which it is read.
fn pass_upwards(relations: &mut HashMap<Oid, Relation>) {
    let says = |r: &&Relation| r.may_raise && !r.parents.is_empty();
    let mut pending: Vec<Oid> = relations.values().filter(says).map(|r| r.oid).collect();
    while let Some(child) = pending.pop().and_then(|oid| relations.get(&oid)).cloned() {
        for parent in child.parents {
            let Some(parent) = relations.get_mut(&parent) else { continue };
            let before = (parent.computed.len(), parent.far, parent.opaque, parent.may_raise);
            let own = parent.columns.iter().filter(|c| child.computed.contains(&c.name)).map(|c| c.name.clone());
            parent.computed.extend(own);
            parent.far |= child.far;
            parent.opaque |= child.opaque;
            parent.may_raise = true;
            if before != (parent.computed.len(), parent.far, parent.opaque, parent.may_raise) {
                pending.push(parent.oid);
            }
        }
    }
}

async fn read_views(
    client: &Client,
    relations: &mut HashMap<Oid, Relation>,
    functions: &HashMap<String, Vec<Function>>,
) -> Result<(), LoadError> {
    // What is computed there is not passed on.
    let stored = |r: &Relation| r.computed.is_empty() && !r.may_raise;
    let kind = |r: &Relation| if stored(r) { r.kind } else { RelationKind::View };
    let kinds: views::Kinds = relations.values().map(|r| (r.name.clone(), kind(r))).collect();
    for row in client.query(VIEWS, &[]).await? {
        let Some(view) = relations.get_mut(&oid(&row, 0)?) else { continue };
        let definition: Option<String> = row.try_get(1)?;
        let look = views::look_into(view, definition.as_deref().unwrap_or_default(), &kinds, functions);
        view.may_raise = look.may_raise;
        view.session_dependent = look.session_dependent;
        view.computed = look.computed;
    }
    Ok(())
}

/// Returns the columns of every index by its OID, for the constraints that stand on one.
async fn read_indexes(
    client: &Client,
    relations: &mut HashMap<Oid, Relation>,
) -> Result<HashMap<Oid, Option<Vec<String>>>, LoadError> {
    let mut by_oid = HashMap::new();
    for row in client.query(INDEXES, &[]).await? {
        let Some(relation) = relations.get_mut(&oid(&row, 0)?) else { continue };
        let id = oid(&row, 1)?;
        let keys: Vec<i16> = row.try_get(3)?;
        let computed: bool = row.try_get(4)?;
        let columns = if computed { None } else { column_names(relation, &keys) };
        by_oid.insert(id, columns.clone());
        relation.indexes.push(Index { oid: id, name: row.try_get(2)?, columns, alien: false });
    }
    Ok(by_oid)
}

async fn read_constraints(
    client: &Client,
    relations: &mut HashMap<Oid, Relation>,
    indexes: &HashMap<Oid, Option<Vec<String>>>,
) -> Result<(), LoadError> {
    for row in client.query(CONSTRAINTS, &[]).await? {
        let target = oid(&row, 0)?;
        let kind = letter(&row, 3)?;
        let keys: Vec<i16> = row.try_get::<_, Option<_>>(4)?.unwrap_or_default();
        let references = oid(&row, 5)?;
        let referenced_keys: Vec<i16> = row.try_get::<_, Option<_>>(6)?.unwrap_or_default();
        let deferrable: bool = row.try_get(7)?;
        let index = oid(&row, 8)?;
        let referenced_columns =
            relations.get(&references).and_then(|r| column_names(r, &referenced_keys)).unwrap_or_default();
        let Some(relation) = relations.get_mut(&target) else { continue };
        let columns = match kind {
            // Their index may include further columns, which the definition names.
            'p' | 'u' | 'x' => indexes.get(&index).cloned().flatten(),
            'f' | 'n' => column_names(relation, &keys),
            _ => None,
        };
        if kind == 'p' && !deferrable {
            relation.primary_key = column_names(relation, &keys).unwrap_or_default();
        }
        relation.constraints.push(Constraint {
            oid: oid(&row, 1)?,
            name: row.try_get(2)?,
            kind,
            alien: false,
            columns,
            references,
            referenced_columns,
            on_update: letter(&row, 9)?,
            on_delete: letter(&row, 10)?,
        });
    }
    Ok(())
}

/// Marks the expressions of relations that name what not everyone sees; gives their OIDs and those of others.
async fn read_alien(client: &Client, relations: &mut HashMap<Oid, Relation>) -> Result<HashSet<Oid>, LoadError> {
    let mut alien = HashSet::new();
    for row in client.query(ALIEN, &[]).await? {
        let object = oid(&row, 0)?;
        alien.insert(object);
        if let Some(relation) = relations.get_mut(&oid(&row, 1)?)
            && !relation.alien_defaults.contains(&object)
        {
            relation.alien_defaults.push(object);
        }
    }
    for relation in relations.values_mut() {
        relation.alien_key = alien.contains(&relation.oid);
        relation.indexes.iter_mut().for_each(|index| index.alien = alien.contains(&index.oid));
        relation.constraints.iter_mut().for_each(|constraint| constraint.alien = alien.contains(&constraint.oid));
    }
    Ok(alien)
}

async fn read_types(
    client: &Client,
    schemas: &HashMap<Oid, String>,
    alien: &HashSet<Oid>,
    catalog: &mut Catalog,
) -> Result<(), LoadError> {
    for row in client.query(TYPES, &[]).await? {
        let Some(schema) = schemas.get(&oid(&row, 1)?) else { continue };
        let checks: Vec<u32> = row.try_get(12)?;
        let info = TypeInfo {
            oid: oid(&row, 0)?,
            name: QualifiedName::new(schema.clone(), row.try_get::<_, String>(2)?),
            kind: letter(&row, 3)?,
            category: letter(&row, 4)?,
            element: oid(&row, 5)?,
            array: oid(&row, 6)?,
            base: oid(&row, 7)?,
            relation: oid(&row, 8)?,
            sql: row.try_get(9)?,
            typmod: row.try_get(10)?,
            not_null: row.try_get(11)?,
            checked: !checks.is_empty(),
            checks: checks.into_iter().map(Oid).filter(|check| !alien.contains(check)).collect(),
            alien_default: alien.contains(&oid(&row, 0)?),
        };
        catalog.type_names.insert(info.name.clone(), info.oid);
        catalog.types.insert(info.oid, Arc::new(info));
    }
    Ok(())
}

async fn read_functions(client: &Client, catalog: &mut Catalog) -> Result<(), LoadError> {
    for row in client.query(FUNCTIONS, &[]).await? {
        let name: String = row.try_get(0)?;
        let args: Vec<u32> = row.try_get(2)?;
        let defaults: i16 = row.try_get(3)?;
        catalog.functions.entry(name).or_default().push(Function {
            oid: oid(&row, 1)?,
            args: args.into_iter().map(Oid).collect(),
            defaults: usize::try_from(defaults).unwrap_or_default(),
            variadic: oid(&row, 4)?,
            result: oid(&row, 5)?,
            volatility: letter(&row, 6)?,
            kind: letter(&row, 7)?,
            leakproof: row.try_get(8)?,
            language: row.try_get(9)?,
            returns_set: row.try_get(10)?,
        });
    }
    Ok(())
}

async fn read_operators(client: &Client, catalog: &mut Catalog) -> Result<(), LoadError> {
    for row in client.query(OPERATORS, &[]).await? {
        let name: String = row.try_get(0)?;
        catalog.operators.entry(name).or_default().push(Operator {
            left: oid(&row, 1)?,
            right: oid(&row, 2)?,
            result: oid(&row, 3)?,
            function: oid(&row, 4)?,
            leakproof: row.try_get(5)?,
        });
    }
    Ok(())
}

async fn read_casts(client: &Client, catalog: &mut Catalog) -> Result<(), LoadError> {
    for row in client.query(CASTS, &[]).await? {
        let cast = Cast {
            function: oid(&row, 2)?,
            context: letter(&row, 3)?,
            method: letter(&row, 4)?,
            leakproof: row.try_get(5)?,
        };
        catalog.casts.insert((oid(&row, 0)?, oid(&row, 1)?), cast);
    }
    Ok(())
}

async fn read_named(client: &Client, catalog: &mut Catalog) -> Result<(), LoadError> {
    for row in client.query(NAMED, &[]).await? {
        let kind = match letter(&row, 0)? {
            'c' => NamedKind::Collation,
            'f' => NamedKind::Configuration,
            'd' => NamedKind::Dictionary,
            'p' => NamedKind::Parser,
            _ => continue,
        };
        catalog.named.entry(kind).or_default().insert(row.try_get(1)?, oid(&row, 2)?);
    }
    Ok(())
}

/// Names of the columns with these numbers, in that order; `None` when one is not a column (0: an expression).
fn column_names(relation: &Relation, numbers: &[i16]) -> Option<Vec<String>> {
    numbers.iter().map(|n| relation.columns.iter().find(|c| c.number == *n).map(|c| c.name.clone())).collect()
}

fn oid(row: &Row, index: usize) -> Result<Oid, tokio_postgres::Error> {
    row.try_get::<_, u32>(index).map(Oid)
}

/// A value of type `"char"`; every letter the catalog uses is ASCII.
fn letter(row: &Row, index: usize) -> Result<char, tokio_postgres::Error> {
    row.try_get::<_, i8>(index).map(|b| u8::try_from(b).map_or('?', char::from))
}
