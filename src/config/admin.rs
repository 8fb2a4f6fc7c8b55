//! `admin`: where the proxy is administered over HTTP, and who may.
//!
//! In: the section of the configuration. Out: [`Admin`]. Must never: leave the interface open: whoever is not known by a token or a
//! certificate sees no more than whether the proxy lives and is ready.

use super::Secret;
use super::load::Context;
use super::reader::{Entries, Reader};
use super::tls::{Look, Renewed};
use rustls::ServerConfig;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Fewer bytes than this are guessed.
const SHORTEST_TOKEN: usize = 16;
/// HTTP/1.1 in ALPN (RFC 7301, section 6).
const ALPN: &[u8] = b"http/1.1";

/// The interface for administrators.
#[derive(Clone)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What whoever asks has to show, unless he has a certificate.
    pub token: Option<Secret>,
    /// TLS; asks for certificates where there is `client_ca`.
    pub tls: Option<Arc<Renewed>>,
    /// A certificate that an authority of `client_ca` has signed will do.
    pub certificates: bool,
    /// `/metrics` is for everybody who reaches the address.
    pub open_metrics: bool,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, token, tls, certificates, open_metrics } = self;
        f.debug_struct("Admin")
            .field("listen", listen)
            .field("token", token)
            .field("tls", &tls.is_some())
            .field("certificates", certificates)
            .field("open_metrics", open_metrics)
            .finish()
    }
}

impl Admin {
    /// What a connection that begins now gets, with the certificates as they are now; `None`: no TLS. Blocks on the disk.
    pub fn tls_now(&self) -> Option<Arc<ServerConfig>> {
        let tls = self.tls.as_ref()?;
        if let Look::Unusable(error) = tls.look() {
            tracing::error!(%error, "the changed certificates of `admin.tls` cannot be used: those read last stay in force");
        }
        let mut config = ServerConfig::clone(&tls.now().config);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Some(Arc::new(config))
    }
}

/// Reads the section.
pub(super) fn read(context: &Context<'_>, reader: &mut Reader, top: &mut Entries<'_>) -> Option<Admin> {
    let mut entries = reader.optional(top, "admin").and_then(|node| reader.map(node))?;
    let listen_node = reader.required(&mut entries, "listen");
    let listen = listen_node.and_then(|node| super::load::address(reader, node, "127.0.0.1:6434"));
    let token_node = reader.optional(&mut entries, "token");
    let token = token_node.and_then(|node| context.secret(reader, node));
    let tls_node = reader.optional(&mut entries, "tls");
    let tls = tls_node.and_then(|node| context.server_tls(reader, node));
    let plaintext = reader.optional(&mut entries, "plaintext").and_then(|node| reader.boolean(node)).unwrap_or(false);
    let open_metrics = reader.optional(&mut entries, "open_metrics").and_then(|node| reader.boolean(node));
    let origin = entries.origin.clone();
    reader.close(entries);
    if let (Some(token), Some(node)) = (&token, token_node)
        && (token.expose().len() < SHORTEST_TOKEN || !token.expose().iter().all(u8::is_ascii_graphic))
    {
        let origin = reader.origin(node);
        let message = format!("a token has at least {SHORTEST_TOKEN} bytes, all of them printable ASCII");
        reader.error(&origin, message, "make one with `openssl rand -hex 32`");
        return None;
    }
    let certificates = tls.as_ref().is_some_and(|tls| tls.now().asks_for_certificates);
    let broken = (token_node.is_some() && token.is_none()) || (tls_node.is_some() && tls.is_none());
    if !broken && token.is_none() && !certificates {
        reader.error(
            &origin,
            "nobody could be known here: neither `token` nor `client_ca` in `tls`",
            "write `token: {file: PATH}` or {env: VARIABLE}, or name the authorities of administrators' certificates",
        );
        return None;
    }
    let listen = listen?;
    if !broken && tls.is_none() && !listen.ip().is_loopback() && !plaintext {
        let origin = listen_node.map_or(origin, |node| reader.origin(node));
        reader.error(
            &origin,
            format!("{listen} can be reached from other machines, and without TLS they can read the token"),
            "listen on 127.0.0.1, add `tls`, or write `plaintext: true` where the network itself keeps others out",
        );
        return None;
    }
    if broken {
        return None;
    }
    Some(Admin { listen, token, tls: tls.map(Arc::new), certificates, open_metrics: open_metrics.unwrap_or(false) })
}
