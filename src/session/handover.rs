//! How a session of the warehouse comes from one client to another: cleared, with the next one's settings, in the packet of his statement.
//!
//! In: what is in the session ([`Kept`]), the settings of the client. Out: statements ahead of his first, whose answers are taken out of
//! the stream. Must never: let a byte of an answer pass before the session is known to be as it has to be.
//!
//! Nothing is sent where nothing could have been left and the settings are the same. Else `RESET ALL` and the settings; with all that
//! `DISCARD ALL` does but forgetting prepared statements, where something else may have been left; and `DISCARD ALL` itself where there may
//! be prepared statements that nobody knows.

use super::answers::OWN_PARAMETERS;
use super::deciding::Surroundings;
use super::engine::{End, Engine, Outgoing};
use super::queue::{Expect, Expected};
use crate::error::Refusal;
use crate::relay::run::Run;
use crate::seal;
use crate::upstream::message::{self, Fixed};
use crate::upstream::{Kept, Traces};
use crate::wire::body::Body;
use crate::wire::errors::Fields;
use crate::wire::{Header, backend};
use bytes::BytesMut;
use std::sync::Arc;

/// Tag of the one statement that answers with a row.
const ONE_ROW: &str = "SELECT 1";

/// What the warehouse has to answer to one string of statements of ours.
#[derive(Debug)]
pub struct Handover {
    /// The tag of each statement.
    tags: Vec<&'static str>,
    /// How many have come.
    at: usize,
}

/// 08006: whether the client's own statement was run is not known any more.
fn failed() -> Refusal {
    let text = "the warehouse's session could not be made ready";
    Refusal::upstream(text).with_hint("Connect again, and try again.")
}

impl<A: Surroundings> Engine<A> {
    /// The client has this session of the warehouse from now on.
    ///
    /// # Errors
    /// When what makes it ready cannot be sent.
    pub fn attach(&mut self, mut kept: Box<Kept>, out: &mut Outgoing) -> Result<(), End> {
        let wanted = Arc::clone(&self.deciding.settings.current().forwarded);
        let moving = &mut self.deciding.moving;
        moving.turn += 1;
        moving.away = false;
        let own = kept.holder == moving.holder;
        let traces = if own { Traces::None } else { std::mem::take(&mut kept.traces) };
        kept.holder = moving.holder;
        let given = kept.given.replace(Arc::clone(&wanted));
        let same = given.as_ref().is_some_and(|given| Arc::ptr_eq(given, &wanted) || *given == wanted);
        if traces == Traces::All {
            kept.forget_all();
        }
        self.repeats = std::mem::take(&mut kept.repeats);
        moving.kept = Some(kept);
        if traces == Traces::None && same {
            self.tell(&mut out.client);
            return Ok(());
        }
        if traces == Traces::All {
            message::fixed(Fixed::DiscardAll, &mut out.upstream)?;
            self.hand_over(vec!["DISCARD ALL"]);
        } else if given.is_none_or(|given| given.contains_key("statement_timeout")) {
            // By itself, so that the last holder's timeout is not that of the rest.
            message::query(&seal::reset_settings(), &mut out.upstream)?;
            self.hand_over(vec!["RESET"]);
        }
        if traces == Traces::Some || !wanted.is_empty() || self.deciding.moving.handing == 0 {
            let (text, tags) = seal::handover(traces == Traces::Some, wanted.values());
            message::query(&text, &mut out.upstream)?;
            self.hand_over(tags);
        }
        Ok(())
    }

    fn hand_over(&mut self, tags: Vec<&'static str>) {
        self.deciding.moving.handing += 1;
        self.expect(Expect::Handover(Box::new(Handover { tags, at: 0 })), None, Vec::new());
    }

    /// A message of the warehouse while it is made ready. It has come whole.
    ///
    /// # Errors
    /// When it is not the one that has to come now.
    pub(super) fn handed_over(&mut self, header: Header, run: &mut Run<'_>) -> Result<(), End> {
        let Some(Expected { what: Expect::Handover(handover), .. }) = self.queue.front() else {
            return Err(failed().into());
        };
        let (message, _) = run.replace(header.total());
        let body = message.get(Header::LEN..).unwrap_or_default();
        let wanted = handover.tags.get(handover.at).copied();
        match header.tag {
            // They may come at any time (PostgreSQL manual, 55.2.7).
            b'N' | b'A' => Ok(()),
            b'T' | b'D' if wanted == Some(ONE_ROW) => Ok(()),
            b'C' if Body::new(body).string().ok() == wanted && wanted.is_some() => {
                handover.at += 1;
                Ok(())
            }
            b'Z' if wanted.is_none() && body == b"I" => {
                self.queue.pop();
                self.deciding.moving.handing = self.deciding.moving.handing.saturating_sub(1);
                if self.deciding.moving.handing == 0 {
                    self.tell(run.say());
                }
                Ok(())
            }
            tag => {
                let fields = (tag == b'E').then(|| Fields::parse(body).ok()).flatten();
                let code = fields.as_ref().map_or("", |fields| fields.sqlstate());
                tracing::error!(code, "a session of the warehouse could not be cleared for its next holder");
                Err(failed().into())
            }
        }
    }

    /// Tells the client which settings are others in this session than he was told last.
    fn tell(&mut self, out: &mut BytesMut) {
        let moving = &mut self.deciding.moving;
        let Some(kept) = &moving.kept else { return };
        if Arc::ptr_eq(&kept.reported, &moving.seen) {
            return;
        }
        for (name, value) in kept.reported.iter() {
            let own = OWN_PARAMETERS.contains(&&**name);
            if !own && moving.seen.get(name) != Some(value) {
                backend::parameter_status(out, name, value);
            }
        }
        moving.seen = Arc::clone(&kept.reported);
    }
}
