//! A web server that says one thing, counts how often it is asked, and can be made to fail.

use crate::papers::Papers;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn serve(mut stream: impl Read + Write, said: &Mutex<String>, asked: &AtomicUsize) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|n| n > 0) {
            return;
        }
        request.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = said.lock().unwrap().clone();
    let _ = stream.write_all(answer.as_bytes());
}

pub struct Web {
    address: SocketAddr,
    scheme: &'static str,
    said: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Web {
    /// Serves a body with status 200.
    pub fn new(body: &str) -> Self {
        Self::start(body, None)
    }

    /// The same over TLS, with the server certificate of the papers.
    pub fn over_tls(body: &str, papers: &Papers) -> Self {
        let file = |name: &str| papers.folder().join(name);
        let chain = CertificateDer::pem_file_iter(file("server.crt")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(sqlveil::config::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(body, Some(Arc::new(config)))
    }

    fn start(body: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, scheme) = (listener.local_addr().unwrap(), if tls.is_some() { "https" } else { "http" });
        let web = Self { address, scheme, said: Arc::default(), asked: Arc::default() };
        web.says(body);
        let (said, asked) = (Arc::clone(&web.said), Arc::clone(&web.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                match &tls {
                    None => serve(stream, &said, &asked),
                    Some(tls) => {
                        let mut over = StreamOwned::new(ServerConnection::new(Arc::clone(tls)).unwrap(), stream);
                        serve(&mut over, &said, &asked);
                        over.conn.send_close_notify();
                        let _ = over.flush();
                    }
                }
            }
        });
        web
    }

    pub fn url(&self) -> String {
        format!("{}://{}/keys", self.scheme, self.address)
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn says(&self, body: &str) {
        self.answers(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
    }

    /// The whole answer.
    pub fn answers(&self, answer: &str) {
        *self.said.lock().unwrap() = answer.to_owned();
    }
}
