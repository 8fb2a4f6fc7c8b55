//! The few parts of the configuration that commands on users, tokens and accounts need, without the secrets that the proxy needs.
//!
//! In: the configuration file. Out: [`Places`]. Must never: read a secret, so that the commands run where the proxy's environment is not.

use super::given::Overrides;
use super::reader::{Entries, Reader};
use crate::governance::problem::Problem;
use crate::identity::accounts::{Files, USUAL};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where things are written, and how clients come to the proxy.
#[derive(Debug, Clone)]
pub struct Places {
    /// Identities.
    pub files: Files,
    /// The governance directory.
    pub governance: PathBuf,
    /// The first address listened on, when one is named.
    pub listen: Option<SocketAddr>,
    /// Whether clients are offered TLS.
    pub tls: bool,
    /// Names that clients use as the database.
    pub databases: Vec<String>,
}

impl Places {
    /// Reads the file, and what the environment gives beside it. What is wrong with other parts is `sqlveil check`'s to tell.
    ///
    /// # Errors
    /// A file that cannot be read, or names no identities.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Reader::open_with(path, &Overrides::environment()?, |reader, top| read(reader, top, &base))
            .map(|(places, _)| places)
    }
}

fn read(reader: &mut Reader, top: &mut Entries<'_>, base: &Path) -> Option<Places> {
    let identity = reader.required(top, "identity").and_then(|node| reader.string(node)).map(|text| base.join(text));
    let governance =
        reader.required(top, "governance").and_then(|node| reader.string(node)).map(|text| base.join(text));
    let accounts = reader.optional(top, "accounts").and_then(|node| reader.string(node)).map(|text| base.join(text));
    let listen = reader.optional(top, "listen").and_then(|node| {
        let first = reader.list(node).first()?;
        reader.string(first)?.parse().ok()
    });
    let tls = reader.optional(top, "tls").is_some();
    let named = reader.optional(top, "databases");
    let mut databases: Vec<String> = named
        .map(|node| reader.named(node))
        .unwrap_or_default()
        .into_iter()
        .map(|(name, _, _)| name.to_owned())
        .collect();
    let connections = reader.optional(top, "connections").filter(|_| databases.is_empty());
    for (_, _, connection) in connections.map(|node| reader.named(node)).unwrap_or_default() {
        let Some(mut entries) = reader.map(connection) else { continue };
        databases.extend(reader.optional(&mut entries, "database").and_then(|node| reader.string(node)));
    }
    top.leave();
    let identity = identity?;
    Some(Places {
        files: Files {
            named: accounts.is_some(),
            accounts: accounts.unwrap_or_else(|| identity.with_file_name(USUAL)),
            identity,
        },
        governance: governance?,
        listen,
        tls,
        databases,
    })
}
