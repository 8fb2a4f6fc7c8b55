//! Data documents (V2 `POST /api/v2/data` of seed 004), one per connection, with our additions `eventTime`, `highCardinality` and
//! `createdAt` on table sources.
//!
//! In: one document's node. Out: a [`DataDocument`], or problems. Must never: use the credentials of a document; they belong to the
//! configuration.

use crate::governance::fill::has_template;
use crate::governance::model::{
    DataDocument, Declared, DeclaredColumn, DeclaredQuery, NameTemplate, Origin, Owner, Source, TableSource,
};
use crate::governance::reader::{Fields, Reader, kind};
use crate::governance::tree::{Node, Value};
use crate::types::QualifiedName;

/// Reads one `data` document.
pub fn read(reader: &mut Reader, node: &Node, declared: &mut Declared) {
    let Some(mut fields) = reader.fields(node, "a data document") else { return };
    let key = reader.required_name(&mut fields, "connectionKey");
    let connection = fields.optional("connection").map(|n| connection(reader, n)).unwrap_or_default();
    let name_template = fields.optional("nameTemplate").map(|n| name_template(reader, n)).unwrap_or_default();
    let table_tags = fields.optional("options").map(|n| options(reader, n)).unwrap_or_default();
    let owners = owners(reader, &mut fields).unwrap_or_default();
    let sources_node = fields.optional("sources");
    let sources = sources_node.map(|n| sources(reader, n, connection.schema.as_deref()));
    let origin = fields.origin.clone();
    reader.finish(fields);
    let Some((connection_key, _)) = key else { return };
    declared.data.push(DataDocument {
        connection_key,
        server: connection.server,
        schema: connection.schema,
        name_template,
        table_tags,
        owners,
        sources,
        origin,
    });
}

/// What is used of `connection`.
#[derive(Default)]
struct Connection {
    server: Option<String>,
    schema: Option<String>,
}

fn connection(reader: &mut Reader, node: &Node) -> Connection {
    let Some(mut fields) = reader.fields(node, "a connection") else { return Connection::default() };
    if let Some(handler) = reader.required(&mut fields, "handler") {
        let (text, _) = reader.name(handler).unwrap_or_default();
        if !text.is_empty() && !text.eq_ignore_ascii_case("PostgreSQL") && !text.eq_ignore_ascii_case("Redshift") {
            let help = "this proxy speaks to PostgreSQL; write `handler: PostgreSQL`";
            reader.unsupported(handler, format!("the handler `{text}`"), help);
            // What else another warehouse needs is no mistake of its own.
            return Connection::default();
        }
    }
    let mut filled = |reader: &mut Reader, name| fields.optional(name).and_then(|node| reader.filled(node));
    let host = filled(reader, "hostname");
    let user = filled(reader, "username");
    let database = filled(reader, "database");
    let schema = reader.optional_name(&mut fields, "schema");
    let port = fields.optional("port").map(|n| port(reader, n));
    for unused in ["password", "ssl", "authenticationMethod", "connectionStringOptions", "userFiles"] {
        if let Some(node) = fields.optional(unused) {
            let help = "how to reach the warehouse, credentials included, belongs to the configuration; remove it here";
            reader.warn(node, format!("`{unused}` of a data document is not used"), help);
            reader.check_templates(node);
        }
    }
    reader.finish(fields);
    let server = match (user, host, database) {
        (Some(user), Some(host), Some(database)) => {
            Some(format!("{user}@{host}:{}/{database}", port.flatten().unwrap_or(5432)))
        }
        _ => None,
    };
    Connection { server, schema: schema.map(|(name, _)| name) }
}

/// A port, perhaps from a template.
fn port(reader: &mut Reader, node: &Node) -> Option<u64> {
    match &node.value {
        Value::Scalar { text, plain: false } if has_template(text) => {
            let port = reader.filled(node)?.parse().ok().filter(|port| (1..=65_535).contains(port));
            if port.is_none() {
                reader.error(node, "the filled value is no port", "set it to a whole number from 1 to 65535");
            }
            port
        }
        _ => reader.integer(node, "port", 1..=65_535),
    }
}

fn name_template(reader: &mut Reader, node: &Node) -> NameTemplate {
    let Some(mut fields) = reader.fields(node, "a nameTemplate") else { return NameTemplate::default() };
    let mut format = |reader: &mut Reader, name: &'static str| {
        let node = fields.optional(name)?;
        let (text, _) = reader.name(node)?;
        if let Some(unknown) = unknown_placeholder(&text) {
            let message = format!("`{unknown}` is not a placeholder");
            reader.error(node, message, "use <tablename>, <schema> or <database>");
            return None;
        }
        Some(text)
    };
    let template = NameTemplate {
        data_source: format(reader, "dataSourceFormat"),
        schema: format(reader, "schemaFormat"),
        table: format(reader, "tableFormat"),
        schema_project: format(reader, "schemaProjectNameFormat"),
    };
    for native in ["nativeSchemaFormat", "nativeViewFormat"] {
        if let Some(node) = fields.optional(native) {
            reader.unsupported(node, format!("`{native}`"), "remove it: no views are made in the warehouse");
        }
    }
    reader.finish(fields);
    template
}

/// The first `<…>` of a format that is no known placeholder.
fn unknown_placeholder(format: &str) -> Option<String> {
    let mut rest = format;
    while let Some((_, tail)) = rest.split_once('<') {
        let Some((name, after)) = tail.split_once('>') else { return Some(format!("<{tail}")) };
        if !["tablename", "schema", "database"].contains(&name.to_lowercase().as_str()) {
            return Some(format!("<{name}>"));
        }
        rest = after;
    }
    None
}

impl NameTemplate {
    /// Fills a format: `<tablename>`, `<schema>`, `<database>` are replaced by the lower-cased name, their capitalised forms by the
    /// capitalised one (seed 004, data sources: "All cases of the name … should be lowercase").
    pub fn expand(format: &str, schema: &str, table: &str, database: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some((head, tail)) = rest.split_once('<') {
            out.push_str(head);
            let Some((name, after)) = tail.split_once('>') else {
                out.push('<');
                rest = tail;
                continue;
            };
            let value = match name.to_lowercase().as_str() {
                "tablename" => table,
                "schema" => schema,
                _ => database,
            };
            let lower = value.to_lowercase();
            if name.starts_with(char::is_uppercase) {
                let mut chars = lower.chars();
                out.extend(chars.next().into_iter().flat_map(char::to_uppercase));
                out.push_str(chars.as_str());
            } else {
                out.push_str(&lower);
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

impl TableSource {
    /// The name callers write: `naming`, else the document's template, else that of the warehouse, part by part.
    pub fn logical_name(&self, document: &DataDocument, database: &str) -> QualifiedName {
        let part = |own: &Option<String>, template: &Option<String>, remote: &str| match (own, template) {
            (Some(name), _) => name.clone(),
            (None, Some(format)) => NameTemplate::expand(format, &self.remote.schema, &self.remote.name, database),
            (None, None) => remote.to_owned(),
        };
        let template = &document.name_template;
        QualifiedName {
            schema: part(&self.logical_schema, &template.schema, &self.remote.schema),
            name: part(&self.logical_table, &template.table, &self.remote.name),
        }
    }

    /// The data source's name: `naming.datasource`, else the document's template, else the name callers write.
    pub fn data_source_name(&self, document: &DataDocument, database: &str) -> String {
        match (&self.data_source, &document.name_template.data_source) {
            (Some(name), _) => name.clone(),
            (None, Some(format)) => NameTemplate::expand(format, &self.remote.schema, &self.remote.name, database),
            (None, None) => self.logical_name(document, database).to_string(),
        }
    }
}

fn options(reader: &mut Reader, node: &Node) -> Vec<String> {
    let Some(mut fields) = reader.fields(node, "the options of a data document") else { return Vec::new() };
    if let Some(node) = fields.optional("staleDataTolerance") {
        reader.integer(node, "staleDataTolerance", 0..=u64::from(u32::MAX));
    }
    reader.flag(&mut fields, "disableSensitiveDataDiscovery", false);
    reader.flag(&mut fields, "hardDelete", false);
    if let Some(node) = fields.optional("domainCollectionId") {
        reader.unsupported(node, "domains", "remove `domainCollectionId`");
    }
    let tags = reader.tags(&mut fields, "tableTags");
    reader.finish(fields);
    tags
}

/// `owners`: one `{type, name, iam?}` or a list of them; `None` when left out.
pub fn owners(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Vec<Owner>> {
    let node = fields.optional("owners")?;
    let items = reader.one_or_many(node, "owners");
    Some(items.iter().filter_map(|item| principal(reader, item, "an owner")).collect())
}

/// `{type: user|group, name, iam?}`.
pub fn principal(reader: &mut Reader, node: &Node, what: &'static str) -> Option<Owner> {
    let mut fields = reader.fields(node, what)?;
    let kind = reader
        .required(&mut fields, "type")
        .and_then(|n| reader.word(n, "kind of principal", &["user", "group"], false));
    let name = reader.required_name(&mut fields, "name");
    let iam = reader.optional_name(&mut fields, "iam").map(|(iam, _)| iam);
    reader.finish(fields);
    Some(Owner { is_group: kind? == "group", name: name?.0, iam })
}

fn sources(reader: &mut Reader, node: &Node, schema: Option<&str>) -> Vec<Source> {
    let items = reader.list(node, "sources");
    if items.is_empty() {
        reader.warn(
            node,
            "`sources` is empty: nothing of this connection is registered",
            "list tables or write `- all: true`",
        );
    }
    items.iter().filter_map(|item| source(reader, item, schema)).collect()
}

fn source(reader: &mut Reader, node: &Node, schema: Option<&str>) -> Option<Source> {
    let mut fields = reader.fields(node, "a source")?;
    let origin = fields.origin.clone();
    if fields.has("all") {
        let all = reader.optional_flag(&mut fields, "all");
        reader.finish(fields);
        if all == Some(false) {
            reader.error(node, "`all: false` registers nothing", "remove the entry or write `all: true`");
        }
        return (all == Some(true)).then_some(Source::All { origin });
    }
    if let Some(node) = fields.optional("query") {
        return query(reader, node, fields, origin, schema).map(|query| Source::Table(Box::new(query)));
    }
    table(reader, fields, origin, schema).map(|table| Source::Table(Box::new(table)))
}

fn table(reader: &mut Reader, mut fields: Fields<'_>, origin: Origin, schema: Option<&str>) -> Option<TableSource> {
    let table = reader.required_name(&mut fields, "table");
    let schema = match (fields.has("schema"), schema) {
        (false, Some(default)) => {
            fields.take("schema");
            Some(default.to_owned())
        }
        _ => reader.required_name(&mut fields, "schema").map(|(name, _)| name),
    };
    let naming = naming(reader, &mut fields);
    let described = described(reader, fields, origin);
    let remote = QualifiedName::new(schema?, table?.0);
    let (data_source, logical_schema, logical_table) = naming;
    Some(TableSource { remote, data_source, logical_schema, logical_table, ..described })
}

/// A `query` source. It has no name in the warehouse, so `naming` must give it one: `schema` and `table`.
fn query(
    reader: &mut Reader,
    node: &Node,
    mut fields: Fields<'_>,
    origin: Origin,
    schema: Option<&str>,
) -> Option<TableSource> {
    let text = reader.text(node).map(|(sql, origin)| DeclaredQuery {
        sql,
        schema: schema.unwrap_or("public").to_owned(),
        origin,
    });
    for other in ["table", "schema"] {
        if let Some(extra) = fields.optional(other) {
            let message = format!("`{other}` beside `query`: a query has no name in the warehouse");
            reader.error(extra, message, "write what callers shall call it as `naming: {schema: …, table: …}`");
        }
    }
    let named = fields.has("naming");
    let (data_source, logical_schema, logical_table) = naming(reader, &mut fields);
    let described = described(reader, fields, origin.clone());
    let (Some(logical_schema), Some(logical_table)) = (logical_schema, logical_table) else {
        let message =
            if named { "the `naming` of a query lacks `schema` or `table`" } else { "a query without `naming`" };
        reader.error_at(&origin, message, "add `naming: {datasource: …, schema: …, table: …}`");
        return None;
    };
    let remote = QualifiedName::new(logical_schema.clone(), logical_table.clone());
    let logical = (Some(logical_schema), Some(logical_table));
    Some(TableSource {
        remote,
        query: Some(text?),
        data_source,
        logical_schema: logical.0,
        logical_table: logical.1,
        ..described
    })
}

/// What is said of a source besides its names, which are left empty.
fn described(reader: &mut Reader, mut fields: Fields<'_>, origin: Origin) -> TableSource {
    let description = reader.optional_text(&mut fields, "description");
    reader.optional_text(&mut fields, "documentation");
    let owners = owners(reader, &mut fields);
    let columns = columns(reader, &mut fields);
    let mut column_descriptions = column_descriptions(reader, &mut fields, columns.as_deref());
    for column in columns.iter().flatten() {
        if let Some(text) = &column.description
            && !column_descriptions.iter().any(|(name, _)| *name == column.name)
        {
            column_descriptions.push((column.name.clone(), text.clone()));
        }
    }
    let (table_tags, column_tags) = source_tags(reader, &mut fields, columns.as_deref());
    let event_time = role(reader, &mut fields, "eventTime", columns.as_deref());
    let high_cardinality = role(reader, &mut fields, "highCardinality", columns.as_deref());
    let created_at = fields.optional("createdAt").and_then(|n| reader.instant(n));
    reader.finish(fields);
    TableSource {
        remote: QualifiedName::default(),
        query: None,
        data_source: None,
        logical_schema: None,
        logical_table: None,
        columns,
        table_tags,
        column_tags,
        owners,
        event_time,
        high_cardinality,
        created_at,
        description,
        column_descriptions,
        origin,
    }
}

fn naming(reader: &mut Reader, fields: &mut Fields<'_>) -> (Option<String>, Option<String>, Option<String>) {
    let Some(mut inner) = fields.optional("naming").and_then(|n| reader.fields(n, "naming")) else {
        return (None, None, None);
    };
    let mut one = |name| reader.optional_name(&mut inner, name).map(|(text, _)| text);
    let names = (one("datasource"), one("schema"), one("table"));
    reader.finish(inner);
    names
}

fn columns(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<Vec<DeclaredColumn>> {
    let node = fields.optional("columns")?;
    let mut out: Vec<DeclaredColumn> = Vec::new();
    // Said once: the rest of the document cannot be held against such a list.
    if let Some(bare) = reader.list(node, "columns").iter().find(|item| !matches!(item.value, Value::Map(_))) {
        reader.error(
            bare,
            format!("a column must be an object, found {}", kind(bare)),
            "write {name: …} for each column",
        );
        return None;
    }
    for item in reader.list(node, "columns") {
        let Some(mut inner) = reader.fields(item, "a column") else { continue };
        let name = reader.required_name(&mut inner, "name");
        let data_type = reader.optional_name(&mut inner, "dataType").map(|(text, _)| text);
        reader.flag(&mut inner, "nullable", true);
        reader.optional_name(&mut inner, "remoteType");
        reader.flag(&mut inner, "primaryKey", false);
        let description = reader.optional_text(&mut inner, "description");
        reader.finish(inner);
        let Some((name, _)) = name else { continue };
        if out.iter().any(|c| c.name == name) {
            reader.error(item, format!("the column `{name}` is listed twice"), "remove one of them");
        } else {
            out.push(DeclaredColumn { name, data_type, description });
        }
    }
    if out.is_empty() {
        reader.error(node, "`columns` is empty", "list the columns, or remove the key for all of them");
    }
    Some(out)
}

/// A column a source speaks of: when columns are pinned it must be one of them.
fn pinned(reader: &mut Reader, node: &Node, columns: Option<&[DeclaredColumn]>) -> Option<String> {
    let (name, _) = reader.name(node)?;
    if let Some(columns) = columns
        && !columns.iter().any(|c| c.name == name)
    {
        reader.error(
            node,
            format!("`{name}` is not among the `columns` of this source"),
            "add it there or correct the name",
        );
        return None;
    }
    Some(name)
}

fn role(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
    role: &'static str,
    columns: Option<&[DeclaredColumn]>,
) -> Option<String> {
    let node = fields.optional(role)?;
    pinned(reader, node, columns)
}

fn column_descriptions(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
    columns: Option<&[DeclaredColumn]>,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for item in reader.optional_list(fields, "columnDescriptions") {
        let Some(mut inner) = reader.fields(item, "a column description") else { continue };
        let column = reader.required(&mut inner, "columnName").and_then(|n| pinned(reader, n, columns));
        let text = reader.required(&mut inner, "description").and_then(|n| reader.text(n));
        reader.finish(inner);
        if let (Some(column), Some((text, _))) = (column, text) {
            out.push((column, text));
        }
    }
    out
}

type SourceTags = (Vec<String>, Vec<(String, Vec<String>)>);

fn source_tags(reader: &mut Reader, fields: &mut Fields<'_>, columns: Option<&[DeclaredColumn]>) -> SourceTags {
    let Some(mut inner) = fields.optional("tags").and_then(|n| reader.fields(n, "the tags of a source")) else {
        return SourceTags::default();
    };
    let table = reader.tags(&mut inner, "table");
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for item in reader.optional_list(&mut inner, "columns") {
        let Some(mut entry) = reader.fields(item, "a tagged column") else { continue };
        let name = reader.required(&mut entry, "columnName").and_then(|n| pinned(reader, n, columns));
        let tags = reader.tags(&mut entry, "tags");
        reader.finish(entry);
        let Some(name) = name else { continue };
        if tags.is_empty() {
            reader.error(item, format!("no tags for the column `{name}`"), "list its tags, or remove the entry");
        } else if out.iter().any(|(n, _)| *n == name) {
            reader.error(item, format!("the column `{name}` is tagged twice"), "put its tags into one entry");
        } else {
            out.push((name, tags));
        }
    }
    reader.finish(inner);
    (table, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_lower_and_capitalise() {
        assert_eq!(NameTemplate::expand("<schema> <tablename>", "TPC", "CUSTOMER", "db"), "tpc customer");
        assert_eq!(NameTemplate::expand("<Schema>.<Tablename>@<database>", "TPC", "CUSTOMER", "Db"), "Tpc.Customer@db");
        assert_eq!(NameTemplate::expand("plain", "a", "b", "c"), "plain");
        assert_eq!(unknown_placeholder("<schema>.<tabel>"), Some("<tabel>".into()));
        assert_eq!(unknown_placeholder("<schema"), Some("<schema".into()));
        assert_eq!(unknown_placeholder("<Database>_<tablename>"), None);
    }
}
