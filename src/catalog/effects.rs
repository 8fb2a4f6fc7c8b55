//! What reading or writing a relation sets off in the warehouse beside itself: generated columns, triggers, the actions of foreign keys, and
//! functions that look names up in the session.
//!
//! In: the system catalogs (PostgreSQL 13 to 18), and which columns of a relation are set or that its rows are deleted. Out: notes on
//! [`Relation`], and every relation whose rows follow. Must never: leave out an action that may happen; one that will not may be in it.

use super::{Catalog, Relation};
use crate::types::{Oid, QualifiedName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio_postgres::{Client, Error, Row};

/// Columns that stored generated columns are computed from. Up to PostgreSQL 14 the column itself depends on them, later its expression.
const GENERATED: &str = "SELECT a.attrelid, a.attname::text, b.attname::text FROM pg_attribute a \
    LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum \
    LEFT JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid NOT IN (0, a.attnum) \
        AND (d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid \
            OR d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum) \
    LEFT JOIN pg_attribute b ON b.attrelid = a.attrelid AND b.attnum = d.refobjsubid \
    WHERE a.attgenerated <> ''::\"char\" AND a.attnum > 0 AND NOT a.attisdropped";

/// Functions that find unqualified names wherever the session looks, temporary tables included: written neither in C nor with their names
/// bound (`BEGIN ATOMIC`), and without a `search_path` of their own that is empty or ends with `pg_temp` (manual, CREATE FUNCTION, "Writing
/// SECURITY DEFINER Functions Safely").
macro_rules! open_functions {
    () => {
        "FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang \
        WHERE p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c') AND to_jsonb(p) ->> 'prosqlbody' IS NULL \
        AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s \
            WHERE s ~ '^search_path=(\"\"|pg_catalog)?$' OR s ~ '^search_path=(.*,)? *\"?pg_temp\"? *$')"
    };
}

const OPEN_FUNCTIONS: &str = concat!(
    "SELECT (SELECT nspname::text FROM pg_namespace n WHERE n.oid = p.pronamespace), p.proname::text ",
    open_functions!()
);

/// Names that functions in SQL have which are the server's own, and no others do.
const OWN_SQL: &str = "SELECT p.proname::text FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'sql' \
    GROUP BY 1 HAVING bool_and(p.oid < 16384)";

/// Relations that run such a function, along the server's own record of what depends on what; whether reading does it (a view's rule, a
/// type, a policy), or only writing.
const OPEN: &str = concat!(
    "WITH RECURSIVE open (classid, objid) AS (SELECT 'pg_proc'::regclass::oid, p.oid ",
    open_functions!(),
    " UNION \
        SELECT x.classid, x.objid FROM open o CROSS JOIN LATERAL (\
            SELECT d.classid, d.objid FROM pg_depend d WHERE d.refclassid = o.classid AND d.refobjid = o.objid \
            UNION ALL SELECT 'pg_type'::regclass, c.contypid FROM pg_constraint c \
                WHERE o.classid = 'pg_constraint'::regclass AND c.oid = o.objid AND c.contypid <> 0 \
            UNION ALL SELECT 'pg_class'::regclass, r.ev_class FROM pg_rewrite r \
                WHERE o.classid = 'pg_rewrite'::regclass AND r.oid = o.objid) x) \
    SELECT objid, true FROM open WHERE classid = 'pg_class'::regclass \
    UNION SELECT p.polrelid, true FROM open JOIN pg_policy p ON p.oid = objid WHERE classid = 'pg_policy'::regclass \
    UNION SELECT t.tgrelid, false FROM open JOIN pg_trigger t ON t.oid = objid WHERE classid = 'pg_trigger'::regclass \
    UNION SELECT a.adrelid, false FROM open JOIN pg_attrdef a ON a.oid = objid WHERE classid = 'pg_attrdef'::regclass \
    UNION SELECT c.conrelid, false FROM open JOIN pg_constraint c ON c.oid = objid \
        WHERE classid = 'pg_constraint'::regclass AND c.conrelid <> 0 \
    UNION SELECT i.indrelid, false FROM open JOIN pg_index i ON i.indexrelid = objid WHERE classid = 'pg_class'::regclass"
);

/// Which names a relation's code finds in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Open {
    /// Reading the relation runs such code.
    pub read: bool,
    /// Writing it does.
    pub written: bool,
}

/// Reads everything of this module into the relations; returns the functions that look names up in the session.
pub(super) async fn read(
    client: &Client,
    relations: &mut HashMap<Oid, Relation>,
) -> Result<BTreeSet<QualifiedName>, Error> {
    for row in client.query(GENERATED, &[]).await? {
        let Some(relation) = relations.get_mut(&Oid(row.try_get(0)?)) else { continue };
        let from = relation.generated_from.entry(row.try_get(1)?).or_default();
        from.extend(row.try_get::<_, Option<String>>(2)?);
    }
    for row in client.query(OPEN, &[]).await? {
        if let Some(relation) = relations.get_mut(&Oid(row.try_get(0)?)) {
            relation.open.read |= row.try_get::<_, bool>(1)?;
            relation.open.written = true;
        }
    }
    let rows = client.query(OPEN_FUNCTIONS, &[]).await?;
    let name = |row: &Row| Ok(QualifiedName::new(row.try_get::<_, String>(0)?, row.try_get::<_, String>(1)?));
    rows.iter().map(name).collect()
}

/// Reads [`Catalog::own_sql`].
pub(super) async fn read_own_sql(client: &Client) -> Result<BTreeSet<String>, Error> {
    client.query(OWN_SQL, &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// What happens to rows of a relation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// They are deleted.
    Deleted,
    /// These columns get new values.
    Set(BTreeSet<String>),
    /// Any column may get a new value.
    Anything,
}

impl Change {
    /// Whether a column may get a new value.
    pub fn sets(&self, column: &str) -> bool {
        match self {
            Self::Deleted => false,
            Self::Set(columns) => columns.contains(column),
            Self::Anything => true,
        }
    }

    /// What happens when either does: to be deleted sets nothing.
    fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::Deleted) | (Self::Anything, _) => {}
            (Self::Set(known), Self::Set(more)) => known.extend(more),
            (Self::Deleted, other) | (_, other @ Self::Anything) => *self = other,
        }
    }
}

impl Relation {
    /// The columns that change with these, stored generated ones included; of one whose expression names none it is taken that it may.
    fn with_generated(&self, columns: BTreeSet<String>) -> BTreeSet<String> {
        let follows = |from: &BTreeSet<String>| from.is_empty() || from.iter().any(|c| columns.contains(c));
        let generated: Vec<String> =
            self.generated_from.iter().filter(|(_, from)| follows(from)).map(|(name, _)| name.clone()).collect();
        columns.into_iter().chain(generated).collect()
    }
}

impl Catalog {
    /// The relation, those it is part of, and its parts.
    pub fn family(&self, oid: Oid) -> BTreeSet<Oid> {
        self.reached(oid, |relation| self.relation_of(relation).map_or(&[], |r| r.parents.as_slice()))
    }

    /// The relation and those that inherit from it or are its partitions, at any depth.
    pub fn below(&self, oid: Oid) -> BTreeSet<Oid> {
        self.reached(oid, |_| &[])
    }

    /// The relation and all that is reached from it through children, and whatever else is `near`.
    fn reached<'s>(&'s self, oid: Oid, near: impl Fn(Oid) -> &'s [Oid]) -> BTreeSet<Oid> {
        let (mut reached, mut pending) = (BTreeSet::new(), vec![oid]);
        while let Some(oid) = pending.pop() {
            if reached.insert(oid) {
                pending.extend(self.children(oid).iter().chain(near(oid)));
            }
        }
        reached
    }

    /// Whether a row of the relation may be changed before it is stored: by a trigger of the relation or of one below it.
    pub fn fires_before(&self, oid: Oid) -> bool {
        self.below(oid).into_iter().any(|oid| self.relation_of(oid).is_some_and(|r| r.before_triggers))
    }

    /// What changes when these columns are set: generated ones with them, and anything where a trigger may change the row.
    pub fn change(&self, relation: &Relation, columns: BTreeSet<String>) -> Change {
        if self.fires_before(relation.oid) { Change::Anything } else { Change::Set(relation.with_generated(columns)) }
    }

    /// The relations whose rows may follow a change through the actions of foreign keys, by OID, and how. The relation itself is in it when
    /// it refers to itself.
    pub fn set_off(&self, oid: Oid, change: Change) -> BTreeMap<Oid, (Arc<Relation>, Change)> {
        let mut found: BTreeMap<Oid, (Arc<Relation>, Change)> = BTreeMap::new();
        let mut followed = BTreeSet::new();
        let mut pending = vec![(oid, change)];
        while let Some((oid, change)) = pending.pop() {
            let family = self.family(oid);
            for child in family.iter().flat_map(|member| self.referring(*member)) {
                for key in child.constraints.iter().filter(|c| c.kind == 'f' && family.contains(&c.references)) {
                    let follows = match key.follows(&change) {
                        Some(Change::Set(columns)) => self.change(child, columns),
                        Some(follows) => follows,
                        None => continue,
                    };
                    // Rows may be set by one key and deleted by another: each is followed, whatever is known of the relation.
                    if followed.insert((child.oid, follows.clone())) {
                        let known = found.entry(child.oid).or_insert_with(|| (Arc::clone(child), Change::Deleted));
                        known.1.add(follows.clone());
                        pending.push((child.oid, follows));
                    }
                }
            }
        }
        found
    }
}

impl super::Constraint {
    /// What becomes of the referring rows (manual, 5.4.5): `c` cascade, `n` set null, `d` set default; `a` and `r` change nothing.
    fn follows(&self, change: &Change) -> Option<Change> {
        let own =
            || self.columns.clone().map_or(Change::Anything, |columns| Change::Set(columns.into_iter().collect()));
        match change {
            Change::Deleted => match self.on_delete {
                'c' => Some(Change::Deleted),
                'n' | 'd' => Some(own()),
                _ => None,
            },
            Change::Set(_) | Change::Anything => {
                let touched =
                    self.referenced_columns.is_empty() || self.referenced_columns.iter().any(|c| change.sets(c));
                (touched && matches!(self.on_update, 'c' | 'n' | 'd')).then(own)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Constraint;
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn catalog(relations: Vec<Relation>) -> Catalog {
        let relations = relations.into_iter().map(|r| (r.name.clone(), Arc::new(r))).collect();
        Catalog { relations, ..Catalog::default() }
    }

    fn table(oid: u32, name: &str, keys: &[(u32, &str, &str, char, char)]) -> Relation {
        let constraints = keys.iter().map(|(to, column, referred, on_update, on_delete)| Constraint {
            kind: 'f',
            columns: Some(vec![(*column).to_owned()]),
            references: Oid(*to),
            referenced_columns: vec![(*referred).to_owned()],
            on_update: *on_update,
            on_delete: *on_delete,
            ..Constraint::default()
        });
        let constraints = constraints.collect();
        Relation { oid: Oid(oid), name: QualifiedName::new("public", name), constraints, ..Relation::default() }
    }

    #[test]
    fn actions_are_followed_along_foreign_keys() {
        let mut grandchild = table(3, "grandchild", &[(2, "up", "code", 'c', 'c')]);
        grandchild.generated_from = BTreeMap::from([("shown".to_owned(), set(&["up"]))]);
        let child = table(2, "child", &[(1, "code", "id", 'c', 'd')]);
        let stays = table(4, "stays", &[(1, "up", "id", 'a', 'r')]);
        let catalog = catalog(vec![table(1, "top", &[]), child, grandchild, stays]);
        let changes = |change| -> Vec<(u32, Change)> {
            catalog.set_off(Oid(1), change).into_iter().map(|(oid, (_, change))| (oid.0, change)).collect()
        };
        let code = Change::Set(set(&["code"]));
        let below = Change::Set(set(&["up", "shown"]));
        assert_eq!(changes(Change::Set(set(&["id"]))), [(2, code.clone()), (3, below.clone())]);
        assert_eq!(changes(Change::Deleted), [(2, code), (3, below)]);
        assert_eq!(changes(Change::Set(set(&["other"]))), []);
        assert_eq!(changes(Change::Anything).len(), 2);
    }

    #[test]
    fn rows_that_are_set_by_one_key_and_deleted_by_another_are_followed_both_ways() {
        for keys in
            [[(1, "a", "id", 'a', 'n'), (1, "b", "id", 'a', 'c')], [(1, "b", "id", 'a', 'c'), (1, "a", "id", 'a', 'n')]]
        {
            let grandchild = table(3, "grandchild", &[(2, "up", "id", 'a', 'd')]);
            let catalog = catalog(vec![table(1, "top", &[]), table(2, "child", &keys), grandchild]);
            let found = catalog.set_off(Oid(1), Change::Deleted);
            assert_eq!(found.get(&Oid(2)).map(|(_, change)| change), Some(&Change::Set(set(&["a"]))));
            assert_eq!(found.get(&Oid(3)).map(|(_, change)| change), Some(&Change::Set(set(&["up"]))));
        }
    }

    #[test]
    fn a_circle_of_keys_ends() {
        let catalog = catalog(vec![
            table(1, "a", &[(2, "b", "b", 'c', 'n'), (1, "up", "b", 'c', 'c')]),
            table(2, "b", &[(1, "b", "b", 'c', 'c')]),
        ]);
        let found = catalog.set_off(Oid(1), Change::Set(set(&["b"])));
        assert_eq!(found.keys().map(|oid| oid.0).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn generated_columns_follow_their_own() {
        let relation = Relation {
            generated_from: BTreeMap::from([("g".to_owned(), set(&["a"])), ("constant".to_owned(), set(&[]))]),
            ..Relation::default()
        };
        assert_eq!(relation.with_generated(set(&["a"])), set(&["a", "g", "constant"]));
        assert_eq!(relation.with_generated(set(&["b"])), set(&["b", "constant"]));
    }
}
