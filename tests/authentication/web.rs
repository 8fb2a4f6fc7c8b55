//! A web server that says one thing, counts how often it is asked, and can be made to fail.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub struct Web {
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Web {
    /// Serves a body with status 200.
    pub fn new(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Self { address: listener.local_addr().unwrap(), said: Arc::default(), asked: Arc::default() };
        web.says(body);
        let (said, asked) = (Arc::clone(&web.said), Arc::clone(&web.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                    request.push(byte[0]);
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = said.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        web
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
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
