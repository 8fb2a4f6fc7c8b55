use super::{Lane, Place, Socket, here, spawn, step_aside};
use bytes::BytesMut;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Does what takes long.
fn apart(work: impl FnOnce()) {
    step_aside();
    work();
}

const SOON: Duration = Duration::from_secs(20);

fn lane() -> Lane {
    Lane::start("lane-of-a-test".into(), || {}).unwrap()
}

/// What a future on that lane comes to.
async fn on<T: Send + 'static>(lane: &Lane, work: impl Future<Output = T> + Send + 'static) -> T {
    let (tell, told) = oneshot::channel();
    timeout(SOON, lane.spawn(async move { drop(tell.send(work.await)) })).await.expect("it ends");
    told.await.expect("it has told")
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, there)
}

/// A socket that is polled by who asks for it.
type Later = Box<dyn FnOnce() -> io::Result<Socket> + Send>;

async fn tcp_pair() -> (Later, Later) {
    let (one, two) = pair().await;
    (Box::new(move || Socket::tcp(one)), Box::new(move || Socket::tcp(two)))
}

fn unix_pair() -> (Later, Later) {
    let (one, two) = UnixStream::pair().unwrap();
    (Box::new(move || Socket::unix(one)), Box::new(move || Socket::unix(two)))
}

#[tokio::test]
async fn futures_are_woken_by_themselves_by_others_and_by_timers() {
    let lane = lane();
    let (send, mut receive) = mpsc::channel(1);
    let heard = on(&lane, async move {
        let mut turns = 0;
        poll_fn(|cx| {
            turns += 1;
            cx.waker().wake_by_ref();
            if turns < 5 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        sleep(Duration::from_millis(5)).await;
        // From a task of the runtime, and from another future of the lane.
        let elsewhere = send.clone();
        tokio::spawn(async move { elsewhere.send(here()).await });
        spawn(async move { send.send(here()).await.unwrap() });
        let own = here();
        let mut heard = vec![receive.recv().await.unwrap(), receive.recv().await.unwrap()];
        assert_eq!(receive.recv().await, None);
        heard.retain(|place| *place == own);
        (heard, own)
    });
    let (heard, own) = heard.await;
    assert!(matches!(own, Some(Place::Lane(_))));
    assert_eq!(heard, [own], "one of them came from the lane");
}

#[tokio::test]
async fn a_panic_ends_no_other() {
    let lane = lane();
    let other = lane.spawn(sleep(Duration::from_millis(100)));
    let mut running = JoinSet::new();
    running.spawn(lane.spawn(async { panic!("of the test") }));
    assert!(running.join_next().await.unwrap().unwrap_err().is_panic());
    timeout(SOON, other).await.expect("it goes on");
    assert_eq!(on(&lane, async { 7 }).await, 7);
}

/// Says when it is dropped.
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

async fn until(flag: &AtomicBool) {
    let seen = async {
        while !flag.load(SeqCst) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, seen).await.expect("it was dropped");
}

#[tokio::test]
async fn who_is_not_wanted_any_more_is_dropped() {
    let lane = lane();
    let gone: [Arc<AtomicBool>; 3] = Default::default();
    let forever = |gone: &Arc<AtomicBool>| {
        let told = Told(Arc::clone(gone));
        async move {
            let _told = told;
            std::future::pending::<()>().await;
        }
    };
    let (first, second) = (lane.spawn(forever(&gone[0])), lane.spawn(forever(&gone[1])));
    assert_eq!(on(&lane, async { 1 }).await, 1, "both have begun");
    drop(first);
    until(&gone[0]).await;
    assert!(!gone[1].load(SeqCst));
    // With the lane, whether they have begun or not.
    let third = lane.spawn(forever(&gone[2]));
    drop(lane);
    until(&gone[1]).await;
    until(&gone[2]).await;
    timeout(SOON, async { tokio::join!(second, third) }).await.expect("they have ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_while_one_is_busy_apart() {
    let lane = lane();
    let mut busy = Vec::new();
    let mut release = Vec::new();
    let busy_now = Arc::new(AtomicUsize::new(0));
    for round in 0..3 {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy_now = Arc::clone(&busy_now);
        release.push(go);
        busy.push(lane.spawn(async move {
            for _ in 0..=round {
                apart(|| {
                    busy_now.fetch_add(1, SeqCst);
                    wait.recv().unwrap();
                });
                // Behind it the future goes on as before: it is woken, and may make sockets.
                sleep(Duration::from_millis(1)).await;
                let (one, two) = UnixStream::pair().unwrap();
                let (mut one, mut two) = (Socket::unix(one).unwrap(), Socket::unix(two).unwrap());
                one.write_all(b"x").await.unwrap();
                assert_eq!(two.read_u8().await.unwrap(), b'x');
            }
        }));
    }
    while busy_now.load(SeqCst) < 3 {
        sleep(Duration::from_millis(1)).await;
    }
    // All three hold a thread, and the lane still serves.
    for n in 0..50 {
        assert_eq!(on(&lane, async move { n }).await, n);
    }
    for (round, go) in release.iter().enumerate() {
        (0..=round).for_each(|_| go.send(()).unwrap());
    }
    for one in busy {
        timeout(SOON, one).await.expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_busy_apart_and_all_of_them_come_back() {
    let lane = lane();
    let (go, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    // More than there are threads for.
    for _ in 0..100 {
        let (go, busy) = (Arc::clone(&go), Arc::clone(&busy));
        all.spawn(lane.spawn(async move {
            apart(|| {
                busy.fetch_add(1, SeqCst);
                while !go.load(SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            sleep(Duration::from_millis(1)).await;
        }));
    }
    while busy.load(SeqCst) < 60 {
        sleep(Duration::from_millis(1)).await;
    }
    go.store(true, SeqCst);
    while let Some(ended) = timeout(SOON, all.join_next()).await.expect("all of them end") {
        ended.unwrap();
    }
    assert_eq!(busy.load(SeqCst), 100);
}

#[tokio::test]
async fn who_always_has_something_to_read_leaves_others_their_turn() {
    let lane = lane();
    let endless = lane.spawn(async {
        let (one, two) = UnixStream::pair().unwrap();
        let (mut one, mut two) = (Socket::unix(one).unwrap(), Socket::unix(two).unwrap());
        loop {
            one.write_u8(1).await.unwrap();
            two.read_u8().await.unwrap();
        }
    });
    for n in 0..20 {
        assert_eq!(on(&lane, async move { n }).await, n);
    }
    drop(endless);
}

/// Sends back whatever comes, all but the last bytes at a time, until the end.
async fn echo(mut socket: Socket) -> usize {
    let (mut all, mut buffer) = (0_usize, BytesMut::new());
    loop {
        if !all.is_multiple_of(3) {
            buffer.reserve(64 * 1024);
        }
        let (before, kept) = (buffer.len(), all % 7);
        let came = poll_fn(|cx| socket.poll_fill(cx, &mut buffer)).await.unwrap();
        assert_eq!(buffer.len(), before + came);
        all += came;
        let keep = if came > 0 { kept.min(buffer.len()) } else { 0 };
        let mut out = buffer.split_to(buffer.len() - keep);
        if !all.is_multiple_of(2) {
            // Of one piece again: what is received into has moved.
            buffer = BytesMut::from(&buffer[..]);
        }
        socket.write_all_buf(&mut out).await.unwrap();
        if came == 0 {
            break;
        }
    }
    socket.shutdown().await.unwrap();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_and_little_comes_back_whole() {
    let lane = lane();
    let all_sizes = [vec![1, 2, 100], vec![16 * 1024, 16 * 1024 + 1, 5], vec![3 << 20, 7, 9 << 20]];
    for (sizes, local) in all_sizes.into_iter().flat_map(|sizes| [(sizes.clone(), false), (sizes, true)]) {
        let (near, far) = if local { unix_pair() } else { tcp_pair().await };
        let echoing = tokio::spawn(async move { echo(far().unwrap()).await });
        let wanted: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| (n % 251) as u8).collect();
        let sent = wanted.clone();
        let came = on(&lane, async move {
            let (mut read, mut write) = tokio::io::split(near().unwrap());
            spawn(async move {
                let mut rest = sent.as_slice();
                for size in sizes {
                    let (part, behind) = rest.split_at(size);
                    write.write_all(part).await.unwrap();
                    sleep(Duration::from_millis(2)).await;
                    rest = behind;
                }
                write.shutdown().await.unwrap();
            });
            let mut came = Vec::new();
            // A slow reader: the writer meets a full socket.
            sleep(Duration::from_millis(50)).await;
            read.read_to_end(&mut came).await.unwrap();
            came
        });
        assert!(came.await == wanted);
        assert_eq!(echoing.await.unwrap(), wanted.len());
    }
}

#[tokio::test]
async fn an_end_that_comes_with_the_last_bytes_is_seen() {
    let lane = lane();
    for _ in 0..50 {
        let (near, mut far) = pair().await;
        let reading = on(&lane, async move {
            let mut near = Socket::tcp(near).unwrap();
            let mut first = [0; 2];
            assert_eq!(near.peek(&mut first).await.unwrap().min(1), 1);
            let mut all = Vec::new();
            near.read_to_end(&mut all).await.unwrap();
            all
        });
        let writing = async {
            far.write_all(b"abc").await.unwrap();
            far.write_all(b"def").await.unwrap();
            drop(far);
        };
        assert_eq!(tokio::join!(reading, writing).0, b"abcdef");
    }
    // And one that is broken off.
    let (near, far) = pair().await;
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    let reading = on(&lane, async move { Socket::tcp(near).unwrap().read_u8().await });
    let (read, ()) = tokio::join!(reading, async { drop(far) });
    assert!(read.is_err());
}

#[tokio::test]
async fn a_socket_moves_with_what_it_has_not_read() {
    let (first, second) = (lane(), lane());
    let (near, mut far) = pair().await;
    far.write_all(b"1234").await.unwrap();
    let socket = on(&first, async move {
        let mut near = Socket::tcp(near).unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'1');
        near
    });
    let mut socket = socket.await;
    let on_first = socket.place();
    // Polled by a lane, read by a task of the runtime.
    assert_eq!(socket.read_u8().await.unwrap(), b'2');
    let later = tokio::spawn(async move {
        sleep(Duration::from_millis(20)).await;
        far.write_all(b"56").await.unwrap();
        far
    });
    let socket = on(&second, async move {
        socket.come_here().unwrap();
        assert_ne!(socket.place(), on_first);
        assert_eq!(socket.place(), here());
        for wanted in *b"345" {
            assert_eq!(socket.read_u8().await.unwrap(), wanted);
        }
        socket
    });
    let (mut socket, mut far) = (socket.await, later.await.unwrap());
    socket.come_here().unwrap();
    assert!(matches!(socket.place(), Some(Place::Runtime(_))));
    assert_eq!(socket.read_u8().await.unwrap(), b'6');
    assert!(socket.is_quiet());
    far.write_all(b"7").await.unwrap();
    assert_eq!(timeout(SOON, socket.read_u8()).await.unwrap().unwrap(), b'7');
}

/// Many sockets at once, read by futures of their lane, by such that poll through wakers of their own, and by tasks of the runtime; some
/// step aside now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_is_lost() {
    let lanes = [lane(), lane()];
    let mut all = JoinSet::new();
    for number in 0..24_usize {
        let (near, far) = UnixStream::pair().unwrap();
        let steps_aside = number % 5 == 0;
        all.spawn(lanes[number % 2].spawn(async move {
            let mut far = Socket::unix(far).unwrap();
            while let Ok(byte) = far.read_u8().await {
                if steps_aside && byte % 16 == 0 {
                    apart(|| std::thread::sleep(Duration::from_micros(50)));
                }
                far.write_u8(byte).await.unwrap();
            }
        }));
        let ping = async move {
            let mut near = Socket::unix(near).unwrap();
            for round in 0..400_u32 {
                near.write_u8(round as u8).await.unwrap();
                let back = timeout(SOON, near.read_u8()).await.expect("an answer").unwrap();
                assert_eq!(back, round as u8);
            }
        };
        match number % 3 {
            0 => _ = all.spawn(ping),
            1 => _ = all.spawn(lanes[(number + 1) % 2].spawn(ping)),
            // Two of them in one future, each with a waker of its own.
            _ => {
                _ = all.spawn(lanes[number % 2].spawn(async move {
                    let mut both = futures_util::stream::FuturesUnordered::new();
                    both.push(futures_util::future::Either::Left(ping));
                    both.push(futures_util::future::Either::Right(sleep(Duration::from_millis(1))));
                    while futures_util::StreamExt::next(&mut both).await.is_some() {}
                }))
            }
        }
    }
    while let Some(ended) = timeout(Duration::from_secs(60), all.join_next()).await.expect("all of them end") {
        ended.unwrap();
    }
}
