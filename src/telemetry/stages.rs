//! Where the time goes while a statement is planned: a stop-watch of the thread that plans.
//!
//! In: where a stage begins; it ends with what [`enter`] gives. Out: the time of each, without that of the stages inside it. Where no
//! stop-watch runs, nothing is timed. Must never: run for a plan that was kept.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A stage of planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Stage {
    Parse,
    Resolve,
    Decide,
    Rewrite,
    Seal,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Parse, Self::Resolve, Self::Decide, Self::Rewrite, Self::Seal];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Resolve => "resolve",
            Self::Decide => "decide",
            Self::Rewrite => "rewrite",
            Self::Seal => "seal",
        }
    }
}

/// The times of one planning.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// By stage, in the order of [`Stage::ALL`].
    pub times: [Duration; 5],
    /// When it began.
    pub began: Instant,
    /// When it was done.
    pub ended: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    began: Instant,
    /// The stage that is being timed, and since when.
    now: Option<Stage>,
    since: Instant,
    times: [Duration; 5],
}

impl Running {
    /// Another stage begins, or none.
    fn turn(&mut self, stage: Option<Stage>) {
        let now = Instant::now();
        if let Some(time) = self.now.and_then(|stage| self.times.get_mut(stage as usize)) {
            *time += now.saturating_duration_since(self.since);
        }
        (self.now, self.since) = (stage, now);
    }
}

thread_local! {
    static WATCH: Cell<Option<Running>> = const { Cell::new(None) };
}

/// A stop-watch that runs until it is read or dropped.
#[derive(Debug)]
pub struct Watch {
    _here: std::marker::PhantomData<*const ()>,
}

/// Starts the stop-watch of this thread.
pub fn start() -> Watch {
    let now = Instant::now();
    WATCH.set(Some(Running { began: now, now: None, since: now, times: [Duration::ZERO; 5] }));
    Watch { _here: std::marker::PhantomData }
}

impl Watch {
    /// Stops it.
    pub fn read(self) -> Stages {
        let ended = Instant::now();
        match WATCH.take() {
            Some(Running { began, times, .. }) => Stages { times, began, ended },
            None => Stages { times: [Duration::ZERO; 5], began: ended, ended },
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCH.set(None);
    }
}

/// A stage under way; what was under way before goes on when it is dropped.
#[derive(Debug)]
pub struct Under {
    before: Option<Option<Stage>>,
}

/// A stage begins here.
pub fn enter(stage: Stage) -> Under {
    let Some(mut running) = WATCH.get() else { return Under { before: None } };
    let before = running.now;
    running.turn(Some(stage));
    WATCH.set(Some(running));
    Under { before: Some(before) }
}

impl Drop for Under {
    fn drop(&mut self) {
        if let (Some(before), Some(mut running)) = (self.before, WATCH.get()) {
            running.turn(before);
            WATCH.set(Some(running));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_inside_another_is_its_own_time() {
        drop(enter(Stage::Seal));
        let watch = start();
        {
            let _resolve = enter(Stage::Resolve);
            std::thread::sleep(Duration::from_millis(2));
            let _decide = enter(Stage::Decide);
            std::thread::sleep(Duration::from_millis(20));
        }
        let Stages { times: [parse, resolve, decide, rewrite, seal], began, ended } = watch.read();
        assert_eq!((parse, rewrite, seal), (Duration::ZERO, Duration::ZERO, Duration::ZERO));
        assert!(resolve >= Duration::from_millis(2) && decide >= Duration::from_millis(20));
        assert!(resolve + decide <= ended - began);
        assert!(WATCH.get().is_none());
    }
}
