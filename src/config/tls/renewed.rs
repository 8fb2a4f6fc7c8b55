//! Certificates that are replaced while the proxy runs: whoever connects gets the newest that could be read.
//!
//! In: the files of `tls`, and the moments to look at them. Out: [`ServerTls`] as of now. Must never: take a certificate whose key does not
//! fit, or have nothing to show because files are being replaced.

use super::clients::{Stamp, stamp};
use super::{ServerTls, TlsError};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What TLS towards clients is read from.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Refuse clients that do not ask for TLS.
    pub required: bool,
    /// Authorities of client certificates, and their revocation lists.
    pub clients: Option<(PathBuf, Option<PathBuf>)>,
}

/// What a look at the files has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// What was there before.
    Same,
    /// Another certificate, or other authorities, from now on.
    Renewed,
    /// They cannot be used; those read last stay.
    Unusable(TlsError),
}

/// TLS towards clients, read again when its files change.
#[derive(Debug)]
pub struct Renewed {
    files: Files,
    held: ArcSwap<ServerTls>,
    /// Of the files last tried, good or bad.
    tried: Mutex<Vec<Option<Stamp>>>,
}

impl Files {
    fn load(&self) -> Result<ServerTls, TlsError> {
        let clients = self.clients.as_ref().map(|(authorities, lists)| (authorities.as_path(), lists.as_deref()));
        ServerTls::load(&self.certificate, &self.key, self.required, clients)
    }

    /// Revocation lists look after themselves.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let authorities = self.clients.as_ref().map(|(authorities, _)| authorities);
        [Some(&self.certificate), Some(&self.key), authorities].into_iter().flatten().map(|file| stamp(file)).collect()
    }
}

impl Renewed {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let tried = Mutex::new(files.stamps());
        let held = ArcSwap::from_pointee(files.load()?);
        Ok(Self { files, held, tried })
    }

    /// What a connection that begins now gets.
    pub fn now(&self) -> Arc<ServerTls> {
        self.held.load_full()
    }

    /// Looks at the files, and reads them when they are others than the last time. Blocks on the disk.
    pub fn look(&self) -> Look {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is seen the next time.
        let now = self.files.stamps();
        if *tried == now {
            return Look::Same;
        }
        *tried = now;
        match self.files.load() {
            Ok(loaded) => {
                self.held.store(Arc::new(loaded));
                Look::Renewed
            }
            Err(error) => Look::Unusable(error),
        }
    }
}
