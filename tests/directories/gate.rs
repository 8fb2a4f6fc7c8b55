//! What stands between the proxy and a directory: counts the connections, and shuts or stalls them when told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Connections are closed.
    Shut,
    /// Connections are taken and nothing passes.
    Stalled,
}

pub struct Gate {
    pub port: u16,
    way: watch::Sender<Way>,
    passed: Arc<AtomicUsize>,
}

impl Gate {
    /// A gate in front of a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (way, ways) = watch::channel(Way::Open);
        let passed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&passed);
        tokio::spawn(async move {
            loop {
                let Ok((mut near, _)) = listener.accept().await else { return };
                let mut ways = ways.clone();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let now = *ways.borrow_and_update();
                    if now == Way::Open
                        && let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await
                    {
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                            _ = ways.wait_for(|way| *way != Way::Open) => {}
                        }
                    }
                    // Held until the way is another one than a stalled one.
                    let _ = ways.wait_for(|way| *way != Way::Stalled).await;
                });
            }
        });
        Self { port: own, way, passed }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Connections so far.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}
