//! `information_schema`, view by view: of what is not the system's, the same on both ways.

use crate::stage::both;

/// Views whose rows name a relation or a type by these columns; `""` for those of the whole database.
const VIEWS: &[(&str, &str)] = &[
    ("information_schema_catalog_name", ""),
    ("schemata", "schema_name"),
    ("tables", "table_schema"),
    ("columns", "table_schema"),
    ("views", "table_schema"),
    ("table_constraints", "table_schema"),
    ("key_column_usage", "table_schema"),
    ("referential_constraints", "constraint_schema"),
    ("constraint_column_usage", "table_schema"),
    ("constraint_table_usage", "table_schema"),
    ("check_constraints", "constraint_schema"),
    ("domains", "domain_schema"),
    ("domain_constraints", "domain_schema"),
    ("domain_udt_usage", "udt_schema"),
    ("column_domain_usage", "table_schema"),
    ("column_udt_usage", "table_schema"),
    ("column_column_usage", "table_schema"),
    ("element_types", "object_schema"),
    ("attributes", "udt_schema"),
    ("user_defined_types", "user_defined_type_schema"),
    ("udt_privileges", "udt_schema"),
    ("table_privileges", "table_schema"),
    ("column_privileges", "table_schema"),
    ("role_table_grants", "table_schema"),
    ("role_column_grants", "table_schema"),
    ("usage_privileges", "object_schema"),
    ("enabled_roles", ""),
    ("applicable_roles", ""),
    ("administrable_role_authorizations", ""),
    ("sequences", "sequence_schema"),
    ("routines", "routine_schema"),
    ("parameters", "specific_schema"),
    ("triggers", "trigger_schema"),
    ("view_column_usage", "view_schema"),
    ("view_table_usage", "view_schema"),
    ("foreign_tables", "foreign_table_schema"),
    ("sql_features", ""),
];

/// Columns that differ, and why.
const DIFFER: &[(&str, &[&str])] = &[
    // Everything has one owner.
    ("schemata", &["schema_owner"]),
    // Who reads cannot write; PostgreSQL says what could be written by somebody.
    ("tables", &["is_insertable_into"]),
    ("columns", &["is_updatable"]),
    ("views", &["is_updatable", "is_insertable_into"]),
];

/// Views that are empty for everybody: whose code runs, who else has which right, and what other types are made of, is not told.
const EMPTY: &[&str] = &[
    "attributes",
    "column_domain_usage",
    "column_privileges",
    "column_udt_usage",
    "domain_udt_usage",
    "role_column_grants",
    "udt_privileges",
    "usage_privileges",
    "user_defined_types",
    "view_column_usage",
    "view_table_usage",
];

#[tokio::test(flavor = "multi_thread")]
async fn schema() {
    let both = both().await;
    let mut wrong = Vec::new();
    for (view, schema) in VIEWS {
        let only = match *schema {
            "" => "true".to_owned(),
            schema => format!("{schema} NOT IN ('pg_catalog', 'information_schema')"),
        };
        let leave = DIFFER.iter().find(|(name, _)| name == view).map_or_else(String::new, |(_, c)| c.join(","));
        let sql = format!(
            "SELECT to_jsonb(t) - '{{{leave}}}'::text[] FROM information_schema.{view} t WHERE {only} ORDER BY to_jsonb(t)::text"
        );
        if EMPTY.contains(view) {
            let said = both.proxy.psql(&both.role(), &["-At", "-c", &sql]);
            assert!(said.ok && said.out.is_empty(), "{view}: {}{}", said.out, said.err);
        } else {
            wrong.extend(both.same_psql(&["-At", "-c", &sql]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
