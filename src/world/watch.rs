//! Notices when documents may have changed.
//!
//! In: the paths of the configuration. Out: a signal that something moved; what, and whether it matters, the fingerprint tells.
//! Must never: be trusted alone. File systems without events, and links to elsewhere, are covered by looking again now and then.

use crate::config::Config;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// A running watch; dropping it ends it.
pub struct Watch {
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the governance directory with all below it, and the folders that hold it, the identity file and the accounts file, since editors and
    /// deployments replace files and links instead of writing into them. A path that cannot be watched is left to polling.
    pub fn start(config: &Config, changed: [mpsc::Sender<()>; 2]) -> Self {
        let notify = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, matters) {
                for listener in &changed {
                    // A full channel already holds the news.
                    let _ = listener.try_send(());
                }
            }
        };
        let mut watcher = match notify::recommended_watcher(notify) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!("documents are only polled for changes: {error}");
                return Self { _watcher: None };
            }
        };
        let mut paths = vec![(config.governance.clone(), RecursiveMode::Recursive)];
        for path in [&config.governance, &config.identity, &config.accounts] {
            paths.push((folder_of(path), RecursiveMode::NonRecursive));
        }
        // Of a link, what it leads to is replaced, in a folder of its own.
        for path in [&config.identity, &config.accounts].into_iter().filter(|path| path.is_symlink()) {
            let target = std::fs::canonicalize(path).ok();
            paths.extend(target.map(|target| (folder_of(&target), RecursiveMode::NonRecursive)));
        }
        for (path, mode) in paths {
            if let Err(error) = watcher.watch(&path, mode) {
                tracing::warn!(path = %path.display(), "only polled for changes: {error}");
            }
        }
        Self { _watcher: Some(watcher) }
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Reading a file is an event too; only writing counts.
fn matters(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(access) => matches!(access, AccessKind::Close(AccessMode::Write)),
        _ => true,
    }
}
