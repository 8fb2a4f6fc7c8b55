//! CancelRequest to the warehouse (PostgreSQL manual, 55.2.8).
//!
//! In: the key of a session. Out: a request on a connection of its own. Must never: go to another warehouse than the session did.

use super::failure::Failure;
use super::login::BackendKey;
use super::stream::{Peer, dial};
use crate::config::Connection;
use crate::error::Refusal;
use bytes::{BufMut, BytesMut};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// CancelRequest's code (manual 55.7).
const CANCEL_REQUEST: i32 = 80_877_102;

/// Whose statement to cancel.
#[derive(Debug, Clone)]
pub struct CancelTarget {
    pub(super) connection: Arc<Connection>,
    pub(super) peer: Peer,
    pub(super) key: BackendKey,
}

impl CancelTarget {
    /// Process id of the warehouse's session.
    pub fn pid(&self) -> i32 {
        self.key.pid
    }
}

/// Asks the warehouse to cancel what the session is doing, with the TLS settings of the session, within the connect timeout. `Ok` says
/// that the request was delivered, not that anything was cancelled: the protocol has no answer.
///
/// Cancel safe: a dropped future may or may not have sent the request.
pub async fn cancel(target: &CancelTarget) -> Result<(), Refusal> {
    let key: &str = &target.connection.key;
    let sent = tokio::time::timeout(target.connection.connect_timeout, send(target)).await;
    sent.unwrap_or(Err(Failure::Timeout)).map_err(|failure| failure.logged(key))
}

/// [`cancel`] for a session nobody waits for any more: that it cannot be delivered matters to no one.
pub(super) async fn abandon(target: &CancelTarget) {
    if let Ok(Err(failure)) = tokio::time::timeout(target.connection.connect_timeout, send(target)).await {
        tracing::debug!(connection = &*target.connection.key, "cancel not delivered: {failure}");
    }
}

async fn send(target: &CancelTarget) -> Result<(), Failure> {
    let mut dialed = dial(&target.connection, Some(&target.peer)).await?;
    let mut out = BytesMut::new();
    let length = i32::try_from(target.key.secret.len()).map_err(|_| Failure::Protocol("cancel key too long"))?;
    out.put_i32(12 + length);
    out.put_i32(CANCEL_REQUEST);
    out.put_i32(target.key.pid);
    out.put_slice(&target.key.secret);
    dialed.write.write_all(&out).await.map_err(Failure::Lost)?;
    dialed.write.flush().await.map_err(Failure::Lost)?;
    // The server closes when it has dealt with the request; waiting for that keeps cancel and the next statement in order.
    let mut nothing = [0; 1];
    let _ = dialed.read.read(&mut nothing).await;
    Ok(())
}
