//! Reads `directories`.
//!
//! In: the configuration file and the servers under `ldap`. Out: every [`Register`], or every problem at its line. Must never: take a
//! directory whose answers would be too old as soon as they come.

use super::{Kind, Register, ldap, sql};
use crate::config::authentication::{LdapServer, LdapServers, Users};
use crate::config::load::Context;
use crate::config::reader::{Entries, Reader};
use crate::governance::tree::Node;
use std::sync::Arc;
use std::time::Duration;

/// What is read for each directory needs besides its own entry.
pub(super) struct Loading<'a> {
    pub(super) context: &'a Context<'a>,
    servers: &'a LdapServers,
}

impl Loading<'_> {
    /// The server of that name under `ldap`.
    pub(super) fn server(&self, reader: &mut Reader, node: &Node) -> Option<Arc<LdapServer>> {
        let name = reader.string(node)?;
        match self.servers.get(&name) {
            Some(server) => server.clone(),
            None => {
                let origin = reader.origin(node);
                reader.error(&origin, format!("`{name}` is not declared"), "name an entry of `ldap`");
                None
            }
        }
    }
}

/// All of them; `None` when the configuration has none.
pub(in crate::config) fn read(
    context: &Context<'_>,
    reader: &mut Reader,
    top: &mut Entries<'_>,
    servers: &LdapServers,
) -> Option<Vec<Arc<Register>>> {
    let node = reader.optional(top, "directories")?;
    let loading = Loading { context, servers };
    let entries = reader.named(node);
    let read = |(name, _, node): (&str, _, &Node)| register(&loading, reader, name, node).map(Arc::new);
    Some(entries.into_iter().filter_map(read).collect())
}

fn register(loading: &Loading<'_>, reader: &mut Reader, name: &str, node: &Node) -> Option<Register> {
    let mut entries = reader.map(node)?;
    let origin = entries.origin.clone();
    let iam = reader.optional(&mut entries, "iam").map_or(Some(name.to_owned()), |node| reader.string(node));
    let users = reader.optional(&mut entries, "users").map_or(Some(Users::Declared), |node| users(reader, node));
    let mut duration = |reader: &mut Reader, key, usual| {
        let node = reader.optional(&mut entries, key);
        node.map_or(Some(Duration::from_secs(usual)), |node| reader.some_duration(node))
    };
    let refresh = duration(reader, "refresh", 300);
    let grace = duration(reader, "grace", 3600);
    let timeout = duration(reader, "timeout", 5);
    let lookups = reader.optional(&mut entries, "lookups").map_or(Some(4), |node| reader.count(node, 1, 100));
    let any = users == Some(Users::Any);
    let kind = reader.required(&mut entries, "kind").and_then(|node| {
        Some(match reader.string(node)?.as_str() {
            "ldap" => ldap::read(loading, reader, &mut entries).map(Kind::Ldap),
            "sql" => sql::read(loading, reader, name, &mut entries, any).map(Kind::Sql),
            _ => {
                let origin = reader.origin(node);
                reader.error(&origin, "unknown kind of directory", "one of ldap, sql");
                // What belongs to which kind is not known.
                return None;
            }
        })
    });
    let kind = kind?;
    reader.close(entries);
    if let (Some(refresh), Some(grace), Some(timeout)) = (refresh, grace, timeout)
        && grace < refresh.saturating_add(timeout)
    {
        let message = "`grace` is below `refresh` and `timeout` together";
        let help = "what is known of users would be too old before it can be asked again; make `grace` longer";
        reader.error(&origin, message, help);
    }
    if let Some(refresh) = refresh.filter(|refresh| *refresh < Duration::from_secs(1)) {
        let message = format!("`refresh` is {} ms: every user would be asked about all the time", refresh.as_millis());
        reader.error(&origin, message, "write 1s or more");
    }
    Some(Register {
        name: name.into(),
        origin,
        iam: iam?.into(),
        users: users?,
        refresh: refresh?,
        grace: grace?,
        timeout: timeout?,
        lookups: lookups?,
        kind: kind?,
    })
}

fn users(reader: &mut Reader, node: &Node) -> Option<Users> {
    let words = [("declared", Users::Declared), ("any", Users::Any)];
    let help = "`declared`: users of the identity file; `any`: all that the directory knows";
    reader.word(node, &words, "declared or any is expected here", help)
}
