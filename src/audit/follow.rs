//! Serves a sink from the folder of the trail: what is written there is handed on, in order, however late.
//!
//! In: a chain's segments. Out: whole lines to a sink, and a file that says how far it came. Must never: skip a line, or say that lines were
//! delivered before they were. A sink that fails gets the same lines again: each may get lines twice, but for the table, which notices.

use super::segments::{self, Segment};
use super::sinks::Sink;
use super::trail::Trail;
use crate::config::audit::Audit;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

/// Most bytes of lines that are handed on together.
const BATCH: u64 = 1 << 20;
/// How often the end of a chain that is being written is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Waits after failures grow from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long stopping waits for sinks; the rest is handed on by the next run.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a sink's files of a chain end with: how far it came, and who hands it on.
const POSITION: &str = ".position";
const LOCK: &str = ".lock";

/// How far a sink came in a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The segment.
    pub segment: u64,
    /// Bytes of it that were handed on.
    pub offset: u64,
    /// All of the chain was.
    #[serde(default)]
    pub done: bool,
}

fn place_file(folder: &Path, sink: &str, chain: &str) -> PathBuf {
    folder.join(format!("{sink}-{chain}{POSITION}"))
}

fn read_place(path: &Path) -> Place {
    // What is not readable was never finished writing: lines are handed on again.
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Whether every sink has been given the whole of a segment.
pub fn is_through(folder: &Path, sinks: &[&str], segment: &Segment) -> bool {
    sinks.iter().all(|sink| {
        let place = read_place(&place_file(folder, sink, &segment.chain));
        place.done || place.segment > segment.number
    })
}

/// Removes what is remembered of chains of which nothing is left.
pub fn forget(folder: &Path) -> io::Result<()> {
    let there = segments::list(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of = name.strip_suffix(POSITION).or_else(|| name.strip_suffix(LOCK));
        let Some((_, chain)) = of.and_then(|of| of.split_once('-')) else { continue };
        if !there.iter().any(|segment| segment.chain == chain) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A chain on its way to a sink.
struct Chain {
    folder: PathBuf,
    chain: String,
    path: PathBuf,
    place: Place,
    /// Held while nobody else may hand the chain on.
    _lock: File,
}

/// What there is to hand on.
enum Found {
    Lines(Vec<u8>, Place),
    /// Nothing yet.
    NotYet,
    /// Nothing any more.
    End,
}

impl Chain {
    /// `None` when another proxy hands it on, or it is done.
    fn begin(folder: &Path, sink: &str, chain: &str) -> io::Result<Option<Self>> {
        let path = place_file(folder, sink, chain);
        let lock = folder.join(format!("{sink}-{chain}{LOCK}"));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut place = read_place(&path);
        if place.done {
            return Ok(None);
        }
        // The first may have been removed by a run that did not know of this sink.
        let first = segments::list(folder)?.iter().filter(|of| of.chain == chain).map(|of| of.number).min();
        if let Some(first) = first.filter(|first| *first > place.segment) {
            place = Place { segment: first, ..Place::default() };
        }
        Ok(Some(Self { folder: folder.to_path_buf(), chain: chain.to_owned(), path, place, _lock: lock }))
    }

    /// What is next. `ends`: nobody writes the chain any more.
    fn next(&self, ends: bool) -> io::Result<Found> {
        let mut place = self.place.clone();
        loop {
            let segment = Segment::of(&self.folder, &self.chain, place.segment);
            let later = Segment::of(&self.folder, &self.chain, place.segment + 1).path.exists();
            let mut bytes = Vec::new();
            match File::open(&segment.path) {
                Ok(mut file) => {
                    file.seek(SeekFrom::Start(place.offset))?;
                    // A line that is longer is read whole.
                    while Read::by_ref(&mut file).take(BATCH).read_to_end(&mut bytes)? > 0 && !bytes.contains(&b'\n') {}
                }
                // Old, and removed: by somebody who did not know of this sink.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            // What is behind the last line feed is not written yet, or never was.
            if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
                bytes.truncate(end + 1);
                place.offset += u64::try_from(bytes.len()).unwrap_or_default();
                return Ok(Found::Lines(bytes, place));
            }
            // A segment that has a successor is whole.
            if !later {
                return Ok(if ends { Found::End } else { Found::NotYet });
            }
            (place.segment, place.offset) = (place.segment + 1, 0);
        }
    }

    /// Writes down how far it came.
    fn came_to(&mut self, place: Place) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&place)?)?;
        drop(file);
        fs::rename(new, &self.path)?;
        self.place = place;
        Ok(())
    }
}

/// What a sink was handed so far, and whether it takes it.
#[derive(Debug, Default)]
pub struct Handed {
    bytes: AtomicU64,
    fails: AtomicBool,
}

impl Handed {
    /// Bytes of lines that it has taken.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the last attempt failed.
    pub fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }
}

/// The sinks of a running proxy. Dropping it leaves them alone: they end with the runtime.
pub struct Following {
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    handed: Vec<(&'static str, Arc<Handed>)>,
}

impl Following {
    /// Begins to serve every sink that is configured.
    pub fn start(settings: Option<&Audit>, trail: &Trail) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut handed = Vec::new();
        let begin = |sink: Sink| {
            let (folder, chain) = (settings?.folder.clone(), trail.chain()?.to_owned());
            let told = Arc::new(Handed::default());
            handed.push((sink.name(), Arc::clone(&told)));
            Some(tokio::spawn(run(folder, chain, sink, told, stopped.clone())))
        };
        let tasks = settings.map(Sink::of).unwrap_or_default().into_iter().filter_map(begin).collect();
        Self { stop, tasks: Mutex::new(tasks), handed }
    }

    /// What each sink was handed, by name.
    pub fn handed(&self) -> &[(&'static str, Arc<Handed>)] {
        &self.handed
    }

    /// Hands on what is left, for some seconds at most. The chain has ended. Cancel safe.
    pub async fn end(&self) {
        let _ = self.stop.send(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("an audit sink ended by a defect of ours");
            }
        }
    }
}

/// Hands on what earlier runs left, then what this one writes, until `stopped`, and then what is left for some seconds.
async fn run(folder: PathBuf, own: String, mut sink: Sink, handed: Arc<Handed>, mut stopped: watch::Receiver<bool>) {
    let name = sink.name();
    let chains = segments::list(&folder).unwrap_or_default();
    let mut names: Vec<String> = chains.iter().map(|segment| segment.chain.clone()).collect();
    names.dedup();
    for chain in names.into_iter().filter(|chain| *chain != own) {
        // One that another proxy is still writing is its own to hand on.
        let newest = chains.iter().rfind(|segment| segment.chain == chain);
        if newest.is_some_and(|segment| segment.is_open().unwrap_or(true)) {
            continue;
        }
        hand_on(&folder, &chain, true, (&mut sink, &handed), &mut stopped).await;
    }
    hand_on(&folder, &own, false, (&mut sink, &handed), &mut stopped).await;
    tracing::debug!(sink = name, "audit sink ended");
}

async fn hand_on(
    folder: &Path,
    chain: &str,
    over: bool,
    (sink, handed): (&mut Sink, &Handed),
    stopped: &mut watch::Receiver<bool>,
) {
    let name = sink.name();
    let mut following = match Chain::begin(folder, name, chain) {
        Ok(Some(following)) => following,
        Ok(None) => return,
        Err(error) => return tracing::error!(sink = name, chain, %error, "audit records cannot be handed on"),
    };
    let mut wait = RETRY.0;
    // Once told to stop, there is a while for what is left.
    let mut until: Option<Instant> = None;
    loop {
        if until.is_none() && *stopped.borrow() {
            until = Some(Instant::now() + PATIENCE);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        let pause = match step(&mut following, over || until.is_some(), sink, until).await {
            Ok(bytes @ 1..) => {
                handed.bytes.fetch_add(bytes, Ordering::Relaxed);
                if handed.fails.swap(false, Ordering::Relaxed) {
                    tracing::info!(sink = name, "audit records are handed on again");
                }
                wait = RETRY.0;
                continue;
            }
            Ok(0) if over || until.is_some() => return,
            Ok(0) => LOOK,
            Err(error) => {
                if !handed.fails.swap(true, Ordering::Relaxed) {
                    tracing::error!(sink = name, error, "audit records cannot be handed on; they wait in the folder");
                }
                let pause = wait;
                wait = (wait * 2).min(RETRY.1);
                pause
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stopped.wait_for(|stopped| *stopped), if until.is_none() => {}
        }
    }
}

/// Hands on one batch; gives its bytes, 0 when there is none.
async fn step(following: &mut Chain, ends: bool, sink: &mut Sink, until: Option<Instant>) -> Result<u64, String> {
    let told = |error: io::Error| error.to_string();
    match following.next(ends).map_err(told)? {
        Found::Lines(lines, place) => {
            let bytes = u64::try_from(lines.len()).unwrap_or_default();
            let delivered = sink.deliver(&following.chain, lines);
            match until {
                Some(until) => timeout_at(until, delivered).await.map_err(|_| "the proxy stops".to_owned())??,
                None => delivered.await?,
            }
            following.came_to(place).map_err(told)?;
            Ok(bytes)
        }
        Found::NotYet => Ok(0),
        Found::End => {
            // The chain this run writes may get its last lines yet.
            let over = !Segment::of(&following.folder, &following.chain, following.place.segment.max(1))
                .is_open()
                .unwrap_or(true);
            if over {
                let place = Place { done: true, ..following.place.clone() };
                following.came_to(place).map_err(told)?;
            }
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(found: Found) -> Option<(String, Place)> {
        match found {
            Found::Lines(lines, place) => Some((String::from_utf8(lines).unwrap(), place)),
            Found::NotYet | Found::End => None,
        }
    }

    #[test]
    fn lines_are_handed_on_in_order_from_the_first_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let write = |number, text: &str| fs::write(Segment::of(folder.path(), "c", number).path, text).unwrap();
        write(3, "a\nb\n");
        write(4, "c\nhalf");
        let mut chain = Chain::begin(folder.path(), "table", "c").unwrap().unwrap();
        assert!(Chain::begin(folder.path(), "table", "c").unwrap().is_none(), "somebody else does");
        let (text, place) = lines(chain.next(true).unwrap()).unwrap();
        assert_eq!((text.as_str(), place.segment), ("a\nb\n", 3));
        // What was not delivered comes again.
        assert_eq!(lines(chain.next(true).unwrap()).unwrap().0, "a\nb\n");
        chain.came_to(place).unwrap();
        let segment = |number| Segment::of(folder.path(), "c", number);
        assert!(!is_through(folder.path(), &["table"], &segment(3)));
        let (text, place) = lines(chain.next(true).unwrap()).unwrap();
        assert_eq!((text.as_str(), place.segment), ("c\n", 4));
        chain.came_to(place).unwrap();
        assert!(
            is_through(folder.path(), &["table"], &segment(3)) && !is_through(folder.path(), &["table"], &segment(4))
        );
        assert!(!is_through(folder.path(), &["table", "otlp"], &segment(3)), "the other has nothing yet");
        assert!(matches!(chain.next(false).unwrap(), Found::NotYet) && matches!(chain.next(true).unwrap(), Found::End));
        drop(chain);
        let again = Chain::begin(folder.path(), "table", "c").unwrap().unwrap();
        assert_eq!((again.place.segment, again.place.offset), (4, 2));
        forget(folder.path()).unwrap();
        assert_eq!(read_place(&place_file(folder.path(), "table", "c")), again.place);
        [3, 4].iter().for_each(|number| fs::remove_file(segment(*number).path).unwrap());
        forget(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
