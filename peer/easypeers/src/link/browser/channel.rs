//! An open link: sending, receiving, closing. Like the native one, it sends bytes in messages of at
//! most 16 KiB and waits while too many are on their way.

use std::rc::Rc;

use easypeers_proto::crypto::admission::Role;
use tokio::sync::{Mutex, watch};
use web_sys::RtcDataChannel;

use super::connection::{Connection, Facts, State};
use super::{LinkError, LinkEvent, Terms};
use crate::link::{FLUSH, HIGH_WATER, LOW_WATER, MAX_PIECE};
use crate::rt;

/// Shared by both halves. Dropping the last one closes the connection.
#[derive(Debug)]
struct Open {
    connection: Connection,
    channel: RtcDataChannel,
}

/// An open link. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    open: Rc<Open>,
    terms: Terms,
}

impl Link {
    pub(super) fn new(connection: Connection, channel: RtcDataChannel, terms: Terms) -> Self {
        let open = Rc::new(Open {
            connection,
            channel,
        });
        Self { open, terms }
    }

    /// Whether we made the offer or the answer.
    pub fn role(&self) -> Role {
        self.terms.role
    }

    /// SHA-256 of our DTLS certificate, as in the description we sent.
    pub fn local_fingerprint(&self) -> [u8; 32] {
        self.terms.local_fingerprint
    }

    /// SHA-256 of the other side's DTLS certificate, as in the description we got. The connection
    /// is with the holder of that certificate.
    pub fn remote_fingerprint(&self) -> [u8; 32] {
        self.terms.remote_fingerprint
    }

    /// The two directions. The link closes when both are dropped, or by [`LinkSender::close`].
    pub fn split(self) -> (LinkSender, LinkReceiver) {
        let sender = LinkSender {
            open: Rc::clone(&self.open),
            piece: self.terms.remote_max_message.clamp(1, MAX_PIECE),
            turn: Mutex::new(()),
        };
        let facts = self.open.connection.subscribe();
        let receiver = LinkReceiver {
            open: self.open,
            facts,
            told_suspect: false,
        };
        (sender, receiver)
    }
}

/// The sending half.
#[derive(Debug)]
pub struct LinkSender {
    open: Rc<Open>,
    piece: usize,
    /// Held while the pieces of one slice are sent, so the pieces of two slices do not mix.
    turn: Mutex<()>,
}

impl LinkSender {
    /// Sends bytes, in order, and waits while too many are on their way.
    ///
    /// # Errors
    ///
    /// [`LinkError::Closed`] when the link is closed by either side. Some of the bytes may have
    /// been sent.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), LinkError> {
        let _turn = self.turn.lock().await;
        for piece in bytes.chunks(self.piece) {
            if self.buffered() >= HIGH_WATER {
                // Its event for the low mark is news.
                let low = |facts: &Facts| facts.state.is_over() || self.buffered() <= LOW_WATER;
                self.open.connection.wait_for(low).await;
            }
            let sent = self.open.channel.send_with_u8_array(piece);
            sent.map_err(|_| LinkError::Closed)?;
        }
        Ok(())
    }

    /// Bytes that the browser has not sent.
    fn buffered(&self) -> usize {
        self.open.channel.buffered_amount() as usize
    }

    /// Waits at most a second until everything was sent, then closes. Idempotent.
    pub async fn close(&self) {
        self.open.channel.set_buffered_amount_low_threshold(0);
        let sent = |facts: &Facts| facts.state.is_over() || self.buffered() == 0;
        rt::timeout(FLUSH, self.open.connection.wait_for(sent)).await;
        self.open.connection.close();
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct LinkReceiver {
    open: Rc<Open>,
    facts: watch::Receiver<Facts>,
    told_suspect: bool,
}

impl LinkReceiver {
    /// The next event; `None` once the link is closed or has failed. Loses nothing when dropped
    /// before it is ready, so it can be used in a `select!`.
    pub async fn recv(&mut self) -> Option<LinkEvent> {
        loop {
            let state = self.facts.borrow_and_update().state;
            if state == State::Violated {
                return None;
            }
            // Data that arrived before the end is still returned.
            if let Some(message) = self.open.connection.take() {
                return Some(LinkEvent::Data(message));
            }
            if state.is_over() {
                return None;
            }
            if (state == State::Suspect) != self.told_suspect {
                self.told_suspect = !self.told_suspect;
                return Some(if self.told_suspect {
                    LinkEvent::Suspect
                } else {
                    LinkEvent::Recovered
                });
            }
            self.facts.changed().await.ok()?;
        }
    }
}
