//! A measuring stick for `benches/pgbench/run`: a relay that walks the frames of PostgreSQL's protocol (manual, 54.2) both ways and decides
//! nothing. What a proxy costs beyond this is what it does beyond passing bytes on.
//!
//! In: `LISTEN WAREHOUSE [CERTIFICATE KEY]`, addresses and PEM files. Out: each client's bytes to the warehouse and back, logins untouched; with
//! a certificate an SSLRequest is answered by TLS that ends here, as PgBouncer's does. Must never: be taken for a part of the product.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// `SSLRequest`: its length, 8, and its code (manual, 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// As much as is read at once.
const CHUNK: usize = 64 * 1024;

/// A type byte and a length that counts itself.
const HEADER: usize = 5;

/// Where frames begin in a stream of bytes.
#[derive(Default)]
struct Walk {
    /// Bytes of the frame's body that are still to come.
    body: usize,
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    known: usize,
    frames: u64,
}

impl Walk {
    fn over(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEADER - self.known).min(bytes.len());
            self.header[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == HEADER {
                let [_, a, b, c, d] = self.header;
                self.body = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                self.known = 0;
                self.frames += 1;
            }
        }
    }
}

/// One direction until its end, which is passed on.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<u64> {
    let (mut walk, mut chunk) = (Walk::default(), vec![0; CHUNK]);
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            to.shutdown().await?;
            return Ok(walk.frames);
        }
        walk.over(&chunk[..read]);
        to.write_all(&chunk[..read]).await?;
        to.flush().await?;
    }
}

/// The first message of a client, which has no type byte.
async fn first(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize((length as usize).clamp(8, 64 * 1024), 0);
    client.read_exact(&mut message[4..]).await?;
    Ok(message)
}

async fn serve(mut client: TcpStream, warehouse: &str, tls: Option<TlsAcceptor>) -> io::Result<u64> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(warehouse).await?;
    server.set_nodelay(true)?;
    let mut startup = first(&mut client).await?;
    let asked = startup == SSL_REQUEST;
    if asked && let Some(tls) = tls {
        client.write_all(b"S").await?;
        let mut client = tls.accept(client).await?;
        server.write_all(&first(&mut client).await?).await?;
        let (read, write) = tokio::io::split(client);
        let (from, to) = server.split();
        return tokio::try_join!(pump(read, to), pump(from, write)).map(|(asked, answered)| asked + answered);
    }
    if asked {
        client.write_all(b"N").await?;
        startup = first(&mut client).await?;
    }
    server.write_all(&startup).await?;
    let ((read, write), (from, to)) = (client.split(), server.split());
    tokio::try_join!(pump(read, to), pump(from, write)).map(|(asked, answered)| asked + answered)
}

fn acceptor(certificate: &str, key: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate).expect("a certificate").collect::<Result<_, _>>();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(chain.expect("a certificate"), PrivateKeyDer::from_pem_file(key).expect("a key"))
        .expect("a key of the certificate");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, warehouse, tls) = match arguments.as_slice() {
        [listen, warehouse] => (listen, warehouse, None),
        [listen, warehouse, certificate, key] => (listen, warehouse, Some(acceptor(certificate, key))),
        _ => panic!("usage: relay LISTEN WAREHOUSE [CERTIFICATE KEY]"),
    };
    let listener = TcpListener::bind(listen).await.expect("the address to listen on");
    loop {
        let (client, _) = listener.accept().await.expect("a client");
        let (warehouse, tls) = (warehouse.clone(), tls.clone());
        // Clients leave as they like.
        tokio::spawn(async move { serve(client, &warehouse, tls).await.map(std::hint::black_box) });
    }
}
