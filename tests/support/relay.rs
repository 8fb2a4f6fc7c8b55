//! A TCP relay that injects faults: what is between two machines when it does not work.
//!
//! A runner includes it by its path.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of bytes and connections. It holds for connections that are there and for those to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Each piece comes so much later.
    Slow(Duration),
    /// Connections stay and nothing passes: a cable that is pulled, a peer that is gone without a word.
    Stalled,
    /// Connections are closed (FIN), new ones as soon as they come.
    Shut,
    /// Connections are reset (RST).
    Reset,
    /// So many bytes of the answers pass, of each connection from now on; then it is closed.
    Cut(usize),
}

pub struct Relay {
    pub port: u16,
    way: watch::Sender<Way>,
}

impl Relay {
    /// Before a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (way, ways) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, port, ways.clone()));
            }
        });
        Self { port: own, way }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
}

async fn pass(mut near: TcpStream, port: u16, mut ways: watch::Receiver<Way>) {
    near.set_nodelay(true).unwrap();
    if ways.wait_for(|way| *way != Way::Stalled).await.is_err() {
        return;
    }
    match *ways.borrow_and_update() {
        Way::Shut => return,
        Way::Reset => return reset(near),
        Way::Open | Way::Slow(_) | Way::Stalled | Way::Cut(_) => {}
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    far.set_nodelay(true).unwrap();
    let end = {
        let (mut near_in, mut near_out) = near.split();
        let (mut far_in, mut far_out) = far.split();
        tokio::select! {
            end = copy(&mut near_in, &mut far_out, ways.clone(), false) => end,
            end = copy(&mut far_in, &mut near_out, ways, true) => end,
        }
    };
    if let End::Reset = end {
        reset(near);
        reset(far);
    }
}

async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut ways: watch::Receiver<Way>,
    answers: bool,
) -> End {
    let mut buffer = vec![0; 64 * 1024];
    let mut left: Option<usize> = None;
    loop {
        let way = *ways.borrow_and_update();
        match way {
            Way::Open | Way::Slow(_) | Way::Cut(_) => {}
            Way::Shut => return End::Closed,
            Way::Reset => return End::Reset,
            Way::Stalled => {
                if ways.changed().await.is_err() {
                    return End::Closed;
                }
                continue;
            }
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = ways.changed() => match changed {
                Ok(()) => {
                    left = None;
                    continue;
                }
                Err(_) => return End::Closed,
            },
        };
        let Ok(mut read @ 1..) = read else { return End::Closed };
        // What was read goes on when something passes again.
        let way = match ways.wait_for(|way| *way != Way::Stalled).await {
            Ok(way) => *way,
            Err(_) => return End::Closed,
        };
        let mut last = false;
        match way {
            Way::Slow(delay) => tokio::time::sleep(delay).await,
            Way::Cut(bytes) if answers => {
                let so_far = left.get_or_insert(bytes);
                last = read >= *so_far;
                read = read.min(*so_far);
                *so_far -= read;
            }
            Way::Shut => return End::Closed,
            Way::Reset => return End::Reset,
            Way::Open | Way::Stalled | Way::Cut(_) => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() || last {
            return End::Closed;
        }
    }
}

/// Closes with a reset: what was sent and not read is thrown away (SO_LINGER of no time, socket(7)).
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
