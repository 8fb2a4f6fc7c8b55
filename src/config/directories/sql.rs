//! A directory that is a PostgreSQL database: one query for groups, one for attributes, one for who there is.
//!
//! In: an entry of `directories` with `kind: sql`. Out: [`SqlDirectory`]. Must never: take a text that is more than one SELECT, or one
//! into which the user is not bound.

use super::LONGEST;
use super::load::Loading;
use crate::config::reader::{Entries, Reader};
use crate::config::tls::SslMode;
use crate::config::{Connection, Host};
use crate::governance::model::Origin;
use crate::governance::tree::Node;
use crate::sql::{self, NodeEnum};
use std::net::IpAddr;
use std::sync::Arc;

/// Most rows of a query about one user.
pub const ROWS: usize = 10_000;

/// A database and what it is asked.
#[derive(Debug, Clone)]
pub struct SqlDirectory {
    /// The database and the login to it.
    pub connection: Arc<Connection>,
    /// Gives the user's own name when there is such a user.
    pub user: Option<Query>,
    /// Gives his groups.
    pub groups: Option<Query>,
    /// Gives names and values of his attributes.
    pub attributes: Option<Query>,
}

/// A query with the user's name as its only parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Where it stands.
    pub origin: Origin,
    /// What is sent: the administrator's query inside one that makes its columns text and bounds its rows.
    pub sql: String,
    /// The query with all its columns, to see how many they are.
    pub bare: String,
    /// How many they have to be.
    pub columns: usize,
}

impl Query {
    /// A query of so many columns.
    fn read(reader: &mut Reader, node: &Node, columns: usize) -> Option<Self> {
        let origin = reader.origin(node);
        let text = reader.string(node)?;
        if let Err(why) = one_select(&text) {
            let help = "write one SELECT, with $1 where the user's name belongs and no semicolon";
            reader.error(&origin, why, help);
            return None;
        }
        let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
        let texts: Vec<String> =
            names.iter().map(|name| format!("pg_catalog.left(_sv.{name}::pg_catalog.text, {})", LONGEST + 1)).collect();
        // One more than is taken, so that too many are noticed. The line feed ends a comment of the query.
        let sql =
            format!("SELECT {} FROM ({text}\n) AS _sv ({}) LIMIT {}", texts.join(", "), names.join(", "), ROWS + 1);
        Some(Self { origin, sql, bare: inside(&text), columns })
    }
}

fn inside(text: &str) -> String {
    format!("SELECT * FROM ({text}\n) AS _sv")
}

/// Whether a text is one SELECT that has `$1` and no other parameter, by itself and inside another.
fn one_select(text: &str) -> Result<(), String> {
    let inner = sql::parse_apart(text).map_err(|refusal| format!("not SQL: {}", refusal.message))?;
    let [statement] = inner.statements.as_slice() else { return Err("not one statement".to_owned()) };
    match &statement.node {
        NodeEnum::SelectStmt(select) if select.into_clause.is_none() && select.locking_clause.is_empty() => {}
        _ => return Err("not a SELECT".to_owned()),
    }
    let outer = sql::parse_apart(&inside(text)).map(|parsed| parsed.statements.len());
    if outer != Ok(1) {
        return Err("not a SELECT that can stand inside another".to_owned());
    }
    match parameters(&statement.node).as_slice() {
        [] => Err("the user is not asked for: there is no $1".to_owned()),
        numbers if numbers.iter().all(|number| *number == 1) => Ok(()),
        _ => Err("$1 is the only parameter there is".to_owned()),
    }
}

/// The numbers of all parameters, wherever they stand.
fn parameters(node: &NodeEnum) -> Vec<i64> {
    fn walk(value: &serde_json::Value, found: &mut Vec<i64>) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(parameter) = fields.get("ParamRef") {
                    found.push(parameter.get("number").and_then(serde_json::Value::as_i64).unwrap_or(0));
                }
                fields.values().for_each(|value| walk(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(tree) = serde_json::to_value(node) {
        walk(&tree, &mut found);
    }
    found
}

/// Groups decide what is seen: who can answer in the database's place decides it.
fn warn_if_forgeable(reader: &mut Reader, origin: &Origin, connection: &Connection) {
    let near = match &connection.host {
        Host::Unix(_) => true,
        Host::Tcp(host) => host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    };
    match connection.tls.mode {
        SslMode::VerifyFull | SslMode::VerifyCa => {}
        SslMode::Disable | SslMode::Prefer | SslMode::Require if near => {}
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            let message = "somebody on the way to this directory could say who is in which group";
            reader.warning(origin, message, "write `sslmode: verify-full` in its `connection`");
        }
    }
}

pub(super) fn read(
    loading: &Loading<'_>,
    reader: &mut Reader,
    name: &str,
    entries: &mut Entries<'_>,
    any: bool,
) -> Option<SqlDirectory> {
    let connection = reader
        .required(entries, "connection")
        .and_then(|node| loading.context.database(reader, &format!("directory {name}"), node));
    let mut query = |reader: &mut Reader, key, columns| {
        let node = reader.optional(entries, key);
        node.map(|node| Query::read(reader, node, columns))
    };
    let (user, groups) = (query(reader, "user", 1), query(reader, "groups", 1));
    let attributes = query(reader, "attributes", 2);
    let origin = entries.origin.clone();
    if let Some(connection) = &connection {
        warn_if_forgeable(reader, &origin, connection);
    }
    if groups.is_none() && attributes.is_none() {
        reader.error(&origin, "this directory says nothing of users", "write `groups`, `attributes` or both");
    }
    if any && user.is_none() {
        let help = "write a query that gives the name of a user who exists: user: \"SELECT login FROM hr.staff WHERE login = $1\"";
        reader.error(&origin, "`users: any` needs to know who there is", help);
    }
    let all = |query: Option<Option<Query>>| match query {
        Some(query) => query.map(Some),
        None => Some(None),
    };
    Some(SqlDirectory {
        connection: Arc::new(connection?),
        user: all(user)?,
        groups: all(groups)?,
        attributes: all(attributes)?,
    })
}
