//! `replica`: which of several proxies this one is, and how it reaches the others.
//!
//! In: the section of the configuration, which may be the same for all but `id`. Out: [`Replica`]. Must never: leave two replicas with one
//! id in one configuration.

use super::reader::{Entries, Reader};
use crate::governance::tree::Node;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Ids go into seven bits of the key by which statements are cancelled.
const MOST: u64 = 127;

/// One of several proxies that clients take for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Which one: 1 to 127.
    pub id: u8,
    /// Where the others reach it.
    pub listen: SocketAddr,
    /// Where it reaches the others, `HOST:PORT` by id.
    pub peers: BTreeMap<u8, String>,
    /// Longest time to pass a request on.
    pub timeout: Duration,
}

/// Reads the section.
pub(super) fn read(reader: &mut Reader, top: &mut Entries<'_>) -> Option<Replica> {
    let node = reader.optional(top, "replica")?;
    let mut entries = reader.map(node)?;
    let id = reader.required(&mut entries, "id").and_then(|node| id(reader, node));
    let listen = reader.required(&mut entries, "listen").and_then(|node| address(reader, node));
    let listed = reader.required(&mut entries, "peers");
    let timeout = reader.optional(&mut entries, "timeout").map(|node| reader.some_duration(node));
    let mut peers = BTreeMap::new();
    for (name, origin, node) in listed.map(|node| reader.named(node)).unwrap_or_default() {
        let Some(peer) = name.parse::<u8>().ok().filter(|id| (1..=MOST).contains(&u64::from(*id))) else {
            reader.error(&origin, "not the id of a replica", format!("write a number from 1 to {MOST}"));
            continue;
        };
        let Some(text) = reader.string(node) else { continue };
        let port =
            text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            let origin = reader.origin(node);
            reader.error(&origin, "not an address", "write \"HOST:PORT\", the `listen` of that replica");
            continue;
        }
        // Whichever replica reads the list, its own entry is nobody to ask.
        if id != Some(peer) {
            peers.insert(peer, text);
        }
    }
    reader.close(entries);
    Some(Replica { id: id?, listen: listen?, peers, timeout: timeout.unwrap_or(Some(Duration::from_secs(5)))? })
}

fn id(reader: &mut Reader, node: &Node) -> Option<u8> {
    reader.integer(node, 1, MOST).and_then(|id| u8::try_from(id).ok())
}

fn address(reader: &mut Reader, node: &Node) -> Option<SocketAddr> {
    let text = reader.string(node)?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let origin = reader.origin(node);
    reader.error(&origin, "not an address to listen on", "write \"ADDRESS:PORT\" with a numeric address");
    None
}
