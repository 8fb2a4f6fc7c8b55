//! A versioned, immutable snapshot of the warehouse's own catalog.
//!
//! In: rows of `pg_catalog`, read through the catalog connection. Out: [`Catalog`]. Must never: guess; what was not read does not exist.
//!
//! What is built on it: [`functions`] classes every callable name, [`guard`] and [`reg`] give the checked form of functions and casts that
//! look things up by OID or name, [`system`] is the virtual catalog, [`total`] tells what never raises, [`visibility`] what one caller sees.

pub mod digest;
pub mod effects;
pub mod functions;
pub mod guard;
mod links;
pub mod load;
pub(crate) mod lookup;
pub mod manifest;
pub mod named;
pub mod oids;
pub mod own;
pub mod reg;
pub mod scratch;
pub mod sights;
pub mod synthetic;
pub mod system;
pub mod total;
pub mod views;
pub mod visibility;
pub mod vouch;

pub use functions::{FunctionClass, Identity};
pub use links::Links;
pub use load::LoadError;
pub use named::NamedKind;
pub use visibility::Visibility;

use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The snapshot.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Increases with every change seen.
    pub version: u64,
    /// `server_version_num`, e.g. 150018.
    pub server_version: u32,
    /// Database the snapshot is of.
    pub database: String,
    /// Relations (tables, views, materialized views, foreign and partitioned tables) of every schema, system ones included.
    pub relations: HashMap<QualifiedName, Arc<Relation>>,
    /// Sequences of every schema.
    pub sequences: HashMap<QualifiedName, Sequence>,
    /// Types by OID.
    pub types: HashMap<Oid, Arc<TypeInfo>>,
    /// Types by name.
    pub type_names: HashMap<QualifiedName, Oid>,
    /// Functions of `pg_catalog` by name: all overloads.
    pub functions: HashMap<String, Vec<Function>>,
    /// Functions of `pg_catalog` that no [`manifest`] holds, by name: their signatures.
    pub unclassified: BTreeMap<String, Vec<String>>,
    /// Functions outside `pg_catalog` by name, of the names somebody vouches for; none where an overload is not vouched for.
    pub vouched: BTreeMap<QualifiedName, Vec<vouch::UserFunction>>,
    /// Operators of `pg_catalog` by name: all overloads.
    pub operators: HashMap<String, Vec<Operator>>,
    /// Schemas by name.
    pub schemas: HashMap<String, Oid>,
    /// Casts by (source, target).
    pub casts: HashMap<(Oid, Oid), Cast>,
    /// Registered queries by their text: what the warehouse says of them. Read anew with every snapshot.
    pub queries: BTreeMap<String, Described>,
    /// Functions outside `pg_catalog` that find unqualified names wherever the session looks.
    pub open_functions: std::collections::BTreeSet<QualifiedName>,
    /// Names that functions in SQL have which are the server's own, and no others do: errors tell of them by name alone.
    pub own_sql: Arc<std::collections::BTreeSet<String>>,
    /// Schema of `encrypt(bytea, bytea, text)` of the extension pgcrypto; `None` when the warehouse does not have it. For masks only:
    /// callers reach no function outside `pg_catalog`.
    pub pgcrypto: Option<String>,
    /// The service login may make temporary tables.
    pub temporary: bool,
    /// Collations and objects of text search in `pg_catalog`, by kind and name: the only ones that callers may name.
    pub named: BTreeMap<NamedKind, BTreeMap<String, Oid>>,
    /// Which relations belong together: follows from the rest.
    pub links: Links,
}

/// The columns of a registered query, or why the warehouse refuses it.
pub type Described = Result<Vec<Column>, String>;

impl Catalog {
    /// Whether two snapshots describe the same warehouse; `version` is not compared.
    pub fn same_contents(&self, other: &Self) -> bool {
        // Taken apart without `..` so that a new field cannot be forgotten here.
        let Self {
            version: _,
            server_version,
            database,
            relations,
            sequences,
            types,
            type_names,
            functions,
            unclassified,
            vouched,
            operators,
            schemas,
            casts,
            queries,
            open_functions,
            own_sql,
            pgcrypto,
            temporary,
            named,
            links: _,
        } = self;
        *server_version == other.server_version
            && *database == other.database
            && *schemas == other.schemas
            && *type_names == other.type_names
            && *relations == other.relations
            && *sequences == other.sequences
            && *types == other.types
            && *casts == other.casts
            && *queries == other.queries
            && *functions == other.functions
            && *unclassified == other.unclassified
            && *vouched == other.vouched
            && *operators == other.operators
            && *open_functions == other.open_functions
            && *own_sql == other.own_sql
            && *pgcrypto == other.pgcrypto
            && *temporary == other.temporary
            && *named == other.named
    }
}

/// `pg_class.relkind` of the relations kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum RelationKind {
    #[default]
    Table,
    Partitioned,
    View,
    MaterializedView,
    Foreign,
}

/// A relation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// Schema and name.
    pub name: QualifiedName,
    /// Kind.
    pub kind: RelationKind,
    /// OID of the relation's row type.
    pub row_type: Oid,
    /// Live columns in order.
    pub columns: Vec<Column>,
    /// Columns that are computed when they are read, which may raise: those that a view's definition computes, virtual generated ones, all
    /// of an [`Self::opaque`] relation; and those that are so in a relation below it.
    pub computed: std::collections::BTreeSet<String>,
    /// Of a view: what in its definition may answer differently under a caller's settings.
    pub session_dependent: std::collections::BTreeSet<String>,
    /// Reading it may raise on some row, for all that is known: by a view's definition, a virtual generated column, another server.
    pub may_raise: bool,
    /// A foreign table, or a relation above one: what another server says is not for callers.
    pub far: bool,
    /// The same, of a server of which nobody says that its tables are tables: what it reads may be a view with conditions of its own.
    pub opaque: bool,
    /// Column names of the primary key, in key order; empty = none (or deferrable).
    pub primary_key: Vec<String>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its constraints.
    pub constraints: Vec<Constraint>,
    /// The warehouse has row-level security of its own on it.
    pub row_security: bool,
    /// Relations it inherits from or is a partition of.
    pub parents: Vec<Oid>,
    /// A rewrite rule (`CREATE RULE`) stands on it, other than a view's own.
    pub rules: bool,
    /// A trigger stands on it, or has stood: those of foreign keys are triggers, too (`relhastriggers`).
    pub has_triggers: bool,
    /// A BEFORE or INSTEAD OF row trigger stands on it: what is stored may differ from what was assigned.
    pub before_triggers: bool,
    /// Stored generated columns, and the columns that each is computed from.
    pub generated_from: std::collections::BTreeMap<String, std::collections::BTreeSet<String>>,
    /// `pg_attrdef` rows of defaults that name what not everyone sees: functions, other relations, types.
    pub alien_defaults: Vec<Oid>,
    /// Its partition key does.
    pub alien_key: bool,
    /// Whether it runs code that finds the session's temporary tables by unqualified names.
    pub open: effects::Open,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Column {
    /// Name.
    pub name: String,
    /// `attnum`.
    pub number: i16,
    /// Type.
    pub type_oid: Oid,
    /// `atttypmod`, -1 for none.
    pub typmod: i32,
    /// NOT NULL.
    pub not_null: bool,
    /// Collation, 0 for none.
    pub collation: Oid,
    /// `GENERATED ALWAYS AS (…)`: its expression names other columns.
    pub generated: bool,
    /// Has a default, is an identity or generated: left out of an INSERT, it does not become NULL.
    pub has_default: bool,
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sequence {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// The column that owns it (`OWNED BY`, identity): relation and column name.
    pub owner: Option<(Oid, String)>,
}

/// An index, for the virtual catalog.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    /// `pg_class.oid` of the index.
    pub oid: Oid,
    /// Name (its schema is the relation's).
    pub name: String,
    /// Columns, included ones too; `None` when the index has an expression or a predicate.
    pub columns: Option<Vec<String>>,
    /// Its expression or predicate names what not everyone sees.
    pub alien: bool,
}

/// A constraint, for the virtual catalog.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Constraint {
    /// `pg_constraint.oid`.
    pub oid: Oid,
    /// Name.
    pub name: String,
    /// `contype`: c check, f foreign key, n not null, p primary key, u unique, t trigger, x exclusion.
    pub kind: char,
    /// It names what not everyone sees: a function, a relation, a type.
    pub alien: bool,
    /// Columns of this relation it names; `None` when it holds an expression (CHECK).
    pub columns: Option<Vec<String>>,
    /// Referenced relation (foreign key), 0 for none.
    pub references: Oid,
    /// Referenced columns.
    pub referenced_columns: Vec<String>,
    /// `confupdtype` of a foreign key: a no action, r restrict, c cascade, n set null, d set default.
    pub on_update: char,
    /// `confdeltype`.
    pub on_delete: char,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TypeInfo {
    /// `pg_type.oid`.
    pub oid: Oid,
    /// Schema and name.
    pub name: QualifiedName,
    /// `typtype`: b base, c composite, d domain, e enum, p pseudo, r range, m multirange.
    pub kind: char,
    /// `typcategory`.
    pub category: char,
    /// Element type of arrays, else 0.
    pub element: Oid,
    /// Array type of this type, else 0.
    pub array: Oid,
    /// Base type of a domain, else 0.
    pub base: Oid,
    /// Modifier a domain puts on its base type, else -1.
    pub typmod: i32,
    /// Its default names what not everyone sees.
    pub alien_default: bool,
    /// A domain that takes no NULL.
    pub not_null: bool,
    /// `pg_constraint` rows of a domain's own checks that name nothing but what everyone sees.
    pub checks: Vec<Oid>,
    /// A domain has checks, these or others.
    pub checked: bool,
    /// Relation of a composite type, else 0.
    pub relation: Oid,
    /// SQL text that names the type, schema-qualified outside `pg_catalog` (`format_type(oid, NULL)` with an empty path).
    pub sql: String,
}

impl TypeInfo {
    /// A domain with a constraint of its own, so that a cast to it may raise.
    pub fn is_constrained(&self) -> bool {
        self.not_null || self.checked
    }
}

/// A function of `pg_catalog`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Function {
    /// `pg_proc.oid`.
    pub oid: Oid,
    /// Argument types (input only).
    pub args: Vec<Oid>,
    /// Number of arguments with defaults.
    pub defaults: usize,
    /// Variadic element type, 0 for none.
    pub variadic: Oid,
    /// Result type.
    pub result: Oid,
    /// `provolatile`: i, s, v.
    pub volatility: char,
    /// `prokind`: f function, a aggregate, w window, p procedure.
    pub kind: char,
    /// `proleakproof`.
    pub leakproof: bool,
    /// Language name.
    pub language: String,
    /// Returns a set.
    pub returns_set: bool,
}

/// An operator of `pg_catalog`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Operator {
    /// Left type, 0 for prefix operators.
    pub left: Oid,
    /// Right type.
    pub right: Oid,
    /// Result type.
    pub result: Oid,
    /// OID of the implementing function.
    pub function: Oid,
    /// Whether that function is `proleakproof`.
    pub leakproof: bool,
}

/// A cast.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cast {
    /// `pg_cast.castfunc`, 0 for none (binary coercible, or through text input and output).
    pub function: Oid,
    /// `castcontext`: e explicit, a assignment, i implicit.
    pub context: char,
    /// `castmethod`: f function, b binary coercible, i input/output.
    pub method: char,
    /// Whether the function is `proleakproof` (true when none is needed: binary coercible).
    pub leakproof: bool,
}
