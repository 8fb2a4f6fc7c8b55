//! `proxy_protocol`: the balancers that say from where a connection comes.
//!
//! In: the section of the configuration. Out: the networks that are believed. Must never: believe everybody because nothing is written.

use super::authentication::{Network, network};
use super::reader::{Entries, Reader};

/// Reads the section: connections from these networks begin with a header; none = there is no such network.
pub(super) fn read(reader: &mut Reader, top: &mut Entries<'_>) -> Vec<Network> {
    let Some(mut entries) = reader.optional(top, "proxy_protocol").and_then(|node| reader.map(node)) else {
        return Vec::new();
    };
    let from = reader.required(&mut entries, "from");
    reader.close(entries);
    let Some(node) = from else { return Vec::new() };
    let origin = reader.origin(node);
    let items = reader.list(node);
    if items.is_empty() {
        reader.error(&origin, "no network", "write the addresses of the balancers, such as [10.0.0.1, 10.0.0.2]");
    }
    let networks: Vec<Network> = items.iter().filter_map(|item| network(reader, item)).collect();
    if networks.iter().any(Network::is_everything) {
        let help = "name the addresses of the balancers alone, unless nobody else reaches this address";
        reader.warning(&origin, "everybody who connects may say from which address he comes", help);
    }
    networks
}
