//! What the proxies, which run in this process, tell besides answers: panics, defects in their log, digests of what they sealed.

use sha2::{Digest, Sha256};
use sqlveil::seal::DIGESTS;
use std::collections::HashSet;
use std::sync::{LazyLock, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

/// Statements that the proxy sends of its own accord (`upstream::message::Fixed`), and the empty one.
const FIXED: &[&str] = &["DISCARD ALL", "ROLLBACK", "SELECT", "", sqlveil::catalog::scratch::PROBE];

static SEALED: LazyLock<Mutex<HashSet<[u8; 32]>>> =
    LazyLock::new(|| Mutex::new(FIXED.iter().map(|text| Sha256::digest(text).into()).collect()));
static TROUBLE: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Watch;

/// The fields of one event.
#[derive(Default)]
struct Told {
    sha256: Option<String>,
    text: String,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "sha256" => self.sha256 = Some(value.to_owned()),
            name => self.text.push_str(&format!("{name}={value} ")),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.text.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl tracing::Subscriber for Watch {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        !about.is_span() && (about.target() == DIGESTS || *about.level() == Level::ERROR)
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        match told.sha256 {
            Some(hex) => drop(SEALED.lock().unwrap().insert(bytes(&hex))),
            None => trouble(format!("logged by {}: {}", event.metadata().target(), told.text)),
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn bytes(hex: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
}

fn trouble(text: String) {
    eprintln!("{text}");
    TROUBLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
}

/// From now on everything is seen.
pub fn begin() {
    tracing::subscriber::set_global_default(Watch).expect("the first subscriber");
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        trouble(format!("panic: {panic}"));
        before(panic);
    }));
}

/// Whether a text was sealed.
pub fn is_sealed(text: &str) -> bool {
    SEALED.lock().unwrap().contains(&<[u8; 32]>::from(Sha256::digest(text)))
}

/// How many texts were sealed.
pub fn sealed() -> usize {
    SEALED.lock().unwrap().len()
}

/// Panics and errors logged since the last call.
pub fn take_trouble() -> Vec<String> {
    std::mem::take(&mut TROUBLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}
