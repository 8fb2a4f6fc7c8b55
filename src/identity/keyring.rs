//! The keys of an issuer as they are now: read from a file when it changes, or fetched from a URL. Needs the network: async.
//!
//! In: an issuer. Out: what a token of it proves, or why not. Must never: use keys that are older than stated, fetch more often than stated
//! whoever asks, or let a login wait for longer than a fetch may take.

use super::token::{self, KeySet, Proven, Rejected};
use crate::config::authentication::{Issuer, KeysFrom, Remote};
use crate::config::tls;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Why a token was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// The token is not good.
    #[error("{0}")]
    Rejected(#[from] Rejected),
    /// There are no keys to check it with; the log says why.
    #[error("the issuer's keys are not to be had")]
    NoKeys,
}

/// Which version of a file was read: device, inode, length, change in nanoseconds.
type Stamp = (u64, u64, u64, i128);

#[derive(Debug)]
struct Held {
    keys: KeySet,
    at: Instant,
    stamp: Option<Stamp>,
}

#[derive(Debug, Default)]
struct Fetching {
    last: Option<Instant>,
    failing: bool,
    /// The version of the file that could not be used.
    bad: Option<Stamp>,
}

/// The keys of one issuer. Shared by all connections.
#[derive(Debug)]
pub struct Keyring {
    issuer: Arc<Issuer>,
    held: ArcSwapOption<Held>,
    fetching: Mutex<Fetching>,
}

impl Keyring {
    /// A keyring without keys yet.
    pub fn new(issuer: Arc<Issuer>) -> Self {
        Self { issuer, held: ArcSwapOption::empty(), fetching: Mutex::default() }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Checks a token. One signed with a key that is not known yet makes the keys be fetched again, as often as is allowed: issuers
    /// change theirs.
    ///
    /// # Errors
    /// What is wrong with it, or that there are no keys.
    pub async fn verify(&self, token: &str) -> Result<Proven, Untaken> {
        let held = self.current().await.ok_or(Untaken::NoKeys)?;
        match token::verify(token, &self.issuer, &held.keys, Timestamp::now()) {
            Err(Rejected::UnknownKey) => match self.renewed(&held).await {
                Some(newer) => Ok(token::verify(token, &self.issuer, &newer.keys, Timestamp::now())?),
                None => Err(Rejected::UnknownKey.into()),
            },
            found => Ok(found?),
        }
    }

    /// Gets the keys ready before anybody asks; whether there are any.
    pub async fn ready(&self) -> bool {
        self.current().await.is_some()
    }

    async fn current(&self) -> Option<Arc<Held>> {
        match &self.issuer.keys {
            KeysFrom::File(path) => self.of_file(path).await,
            KeysFrom::Url(remote) => self.of_url(remote).await,
        }
    }

    async fn of_file(&self, path: &Path) -> Option<Arc<Held>> {
        let now = tokio::fs::metadata(path).await.ok().map(|m| stamp(&m));
        let held = self.held.load_full();
        if let Some(held) = &held
            && now.is_some()
            && held.stamp == now
        {
            return Some(Arc::clone(held));
        }
        let mut fetching = self.fetching.lock().await;
        if fetching.failing && fetching.bad == now {
            return held;
        }
        let read = tokio::fs::read(path).await.map_err(|error| error.to_string());
        match read.and_then(|bytes| KeySet::parse(&bytes).map_err(|error| error.to_string())) {
            Ok(keys) => {
                *fetching = Fetching::default();
                Some(self.hold(keys, now))
            }
            Err(why) => {
                let (issuer, file) = (&*self.issuer.name, path.display());
                let then = match &held {
                    Some(_) => "the keys read last stay in force",
                    None => "logins by its tokens are refused",
                };
                tracing::error!(issuer, "{file} cannot be used as a key set: {why}; {then}");
                *fetching = Fetching { failing: true, bad: now, last: None };
                held
            }
        }
    }

    async fn of_url(&self, remote: &Remote) -> Option<Arc<Held>> {
        let young = |held: &Arc<Held>, limit: Duration| held.at.elapsed() < limit;
        let held = self.held.load_full();
        if let Some(held) = held.as_ref().filter(|held| young(held, remote.refresh)) {
            return Some(Arc::clone(held));
        }
        let usable = held.filter(|held| young(held, remote.stale));
        let mut fetching = match &usable {
            // Whoever fetches already is not waited for where what is held will do.
            Some(held) => match self.fetching.try_lock() {
                Ok(fetching) => fetching,
                Err(_) => return Some(Arc::clone(held)),
            },
            None => self.fetching.lock().await,
        };
        if let Some(held) = self.held.load_full().filter(|held| young(held, remote.refresh)) {
            return Some(held);
        }
        match self.fetch(remote, &mut fetching).await {
            Some(held) => Some(held),
            None => usable,
        }
    }

    /// Keys newer than those, if there may be any.
    async fn renewed(&self, than: &Arc<Held>) -> Option<Arc<Held>> {
        let KeysFrom::Url(remote) = &self.issuer.keys else { return None };
        let mut fetching = self.fetching.lock().await;
        match self.held.load_full() {
            Some(held) if !Arc::ptr_eq(&held, than) => Some(held),
            _ => self.fetch(remote, &mut fetching).await,
        }
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn fetch(&self, remote: &Remote, fetching: &mut Fetching) -> Option<Arc<Held>> {
        if fetching.last.is_some_and(|last| last.elapsed() < remote.pause) {
            return None;
        }
        let got = ask(remote).await;
        // From its end on: a slow server is asked less often, not more.
        fetching.last = Some(Instant::now());
        let issuer = &*self.issuer.name;
        match got {
            Ok(keys) => {
                if std::mem::take(&mut fetching.failing) {
                    tracing::info!(issuer, "the keys can be fetched again");
                }
                Some(self.hold(keys, None))
            }
            Err(why) => {
                let left = self.held.load_full().and_then(|held| remote.stale.checked_sub(held.at.elapsed()));
                match left {
                    Some(left) => {
                        let seconds = left.as_secs();
                        tracing::error!(
                            issuer,
                            url = remote.url,
                            seconds,
                            "the keys cannot be fetched: {why}; those held are used for as long"
                        );
                    }
                    None => {
                        tracing::error!(
                            issuer,
                            url = remote.url,
                            "the keys cannot be fetched: {why}; logins by its tokens are refused"
                        );
                    }
                }
                fetching.failing = true;
                None
            }
        }
    }

    fn hold(&self, keys: KeySet, stamp: Option<Stamp>) -> Arc<Held> {
        tracing::info!(issuer = &*self.issuer.name, keys = keys.len(), "keys in force");
        let held = Arc::new(Held { keys, at: Instant::now(), stamp });
        self.held.store(Some(Arc::clone(&held)));
        held
    }
}

/// Asks a URL for keys once.
///
/// # Errors
/// Why there are none, in words for an administrator.
pub async fn ask(remote: &Remote) -> Result<KeySet, String> {
    let wanted = remote.clone();
    match tokio::task::spawn_blocking(move || get(&wanted)).await {
        Ok(got) => got.and_then(|bytes| KeySet::parse(&bytes).map_err(|error| error.to_string())),
        Err(_) => Err("the fetch was broken off".to_owned()),
    }
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    (metadata.dev(), metadata.ino(), metadata.len(), changed)
}

/// One GET, blocking. Nobody is followed elsewhere: what another place says is not what the issuer says.
fn get(remote: &Remote) -> Result<Vec<u8>, String> {
    let roots: Vec<Certificate<'static>> =
        remote.roots.iter().map(|root| Certificate::from_der(root.as_ref()).to_owned()).collect();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(tls::provider())
        .build();
    let mut config = ureq::Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        .timeout_global(Some(remote.timeout))
        .user_agent("sqlveil")
        .accept("application/jwk-set+json, application/json");
    if remote.url.starts_with("http://") {
        // This machine: nobody in between.
        config = config.proxy(None);
    }
    let mut response = config.build().new_agent().get(&remote.url).call().map_err(|error| error.to_string())?;
    if response.status() != 200 {
        return Err(format!("HTTP status {}", response.status().as_u16()));
    }
    let limit = token::MAX_SET as u64 + 1;
    response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::authentication::{ClaimPath, Claims, Iam, Mapping, Users};
    use crate::governance::model::Origin;
    use std::io::Write;
    use std::sync::Mutex as Sync;

    #[derive(Clone, Default)]
    struct Log(Arc<Sync<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn keyring(keys: KeysFrom) -> Keyring {
        Keyring::new(Arc::new(Issuer {
            name: "corp".into(),
            origin: Origin::default(),
            issuer: "i".into(),
            audience: vec!["a".into()],
            keys,
            algorithms: vec![],
            leeway: Duration::ZERO,
            kind: None,
            iam: Iam::One("corp".into()),
            users: Users::Declared,
            claims: Claims {
                user: ClaimPath(vec!["sub".into()]),
                map: Mapping::default(),
                groups: None,
                attributes: vec![],
            },
            require: vec![],
            discovery: String::new(),
            scope: String::new(),
        }))
    }

    /// Who runs the proxy is told why nobody logs in, once for each attempt to get keys and not for each login, and never a token.
    #[tokio::test]
    async fn keys_that_are_not_to_be_had_are_told_in_the_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _listening = tracing::subscriber::set_default(subscriber);
        // A port that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let remote = Remote {
            url: format!("http://127.0.0.1:{port}/keys"),
            roots: Arc::default(),
            refresh: Duration::from_secs(60),
            stale: Duration::from_secs(60),
            pause: Duration::from_secs(60),
            timeout: Duration::from_secs(1),
        };
        let url = keyring(KeysFrom::Url(remote));
        for _ in 0..3 {
            assert_eq!(url.verify("secret.token.here").await, Err(Untaken::NoKeys));
        }
        let file = keyring(KeysFrom::File("/nonexistent/jwks.json".into()));
        for _ in 0..3 {
            assert_eq!(file.verify("secret.token.here").await, Err(Untaken::NoKeys));
        }
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.matches("the keys cannot be fetched").count(), 1, "{said}");
        assert_eq!(said.matches("logins by its tokens are refused").count(), 2, "{said}");
        assert_eq!(said.matches("/nonexistent/jwks.json cannot be used as a key set").count(), 1, "{said}");
        assert!(said.contains("issuer=\"corp\"") && !said.contains("secret"), "{said}");
    }
}
