//! An open link: sending, receiving, closing.
//!
//! Sends byte slices of any length in messages of at most 16 KiB, and receives the other side's
//! messages in order. Sending waits above `HIGH_WATER` until `LOW_WATER` is reached. The stack stops
//! reading from the network when about 512 messages wait here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::admission::Role;
use futures_util::FutureExt;
use tokio::sync::{Mutex, watch};
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use super::connection::{Connection, State};
use super::{FLUSH, HIGH_WATER, LOW_WATER, LinkError, LinkEvent, MAX_PIECE, Terms};

/// First and longest pause between two looks at a full send buffer.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Shared by both halves. Dropping the last one closes the connection.
struct Open {
    connection: Connection,
    channel: Arc<dyn DataChannel>,
    state: watch::Receiver<State>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

/// An open link. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    open: Arc<Open>,
    terms: Terms,
}

impl Link {
    pub(super) fn new(
        connection: Connection,
        channel: Arc<dyn DataChannel>,
        state: watch::Receiver<State>,
        terms: Terms,
    ) -> Self {
        let open = Arc::new(Open {
            connection,
            channel,
            state,
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
        let state = self.open.state.clone();
        let sender = LinkSender {
            open: Arc::clone(&self.open),
            piece: self.terms.remote_max_message.clamp(1, MAX_PIECE),
            turn: Mutex::new(()),
        };
        let receiver = LinkReceiver {
            open: self.open,
            state,
            told_suspect: false,
            ended: false,
        };
        (sender, receiver)
    }
}

/// The sending half.
#[derive(Debug)]
pub struct LinkSender {
    open: Arc<Open>,
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
            self.wait_for_room().await?;
            let sent = self.open.channel.send(piece.into()).await;
            sent.map_err(|_| LinkError::Closed)?;
        }
        Ok(())
    }

    /// Bytes sent that the other side has not acknowledged.
    pub async fn buffered(&self) -> Result<usize, LinkError> {
        let outstanding = self.open.channel.outstanding_bytes().await;
        outstanding.map_err(|_| LinkError::Closed)
    }

    async fn wait_for_room(&self) -> Result<(), LinkError> {
        if self.buffered().await? < HIGH_WATER {
            return Ok(());
        }
        // The stack wakes us below the high mark. From there on we poll, because its event for the
        // low mark is queued behind messages that may wait for a reader.
        let mut pause = LOOK_AGAIN.0;
        loop {
            let below = self.open.channel.writable().await;
            below.map_err(|_| LinkError::Closed)?;
            if self.buffered().await? < LOW_WATER {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN.1);
        }
    }

    /// Waits at most a second until everything sent has arrived, then closes. Idempotent.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(FLUSH, self.flushed()).await;
        self.open.connection.close().await;
    }

    async fn flushed(&self) {
        let mut pause = LOOK_AGAIN.0;
        while !self.open.state.borrow().is_over() && self.buffered().await.is_ok_and(|n| n > 0) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN.1);
        }
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct LinkReceiver {
    open: Arc<Open>,
    state: watch::Receiver<State>,
    told_suspect: bool,
    ended: bool,
}

impl LinkReceiver {
    /// The next event; `None` once the link is closed or has failed. Loses nothing when dropped
    /// before it is ready, so it can be used in a `select!`.
    pub async fn recv(&mut self) -> Option<LinkEvent> {
        while !self.ended {
            let state = *self.state.borrow_and_update();
            if state.is_over() {
                return self.last_words(state);
            }
            if (state == State::Suspect) != self.told_suspect {
                self.told_suspect = !self.told_suspect;
                return Some(if self.told_suspect {
                    LinkEvent::Suspect
                } else {
                    LinkEvent::Recovered
                });
            }
            tokio::select! {
                biased;
                event = self.open.channel.poll() => match event {
                    Some(DataChannelEvent::OnMessage(message)) => {
                        return Some(LinkEvent::Data(message.data.to_vec()));
                    }
                    Some(DataChannelEvent::OnClose) | None => return self.end(),
                    Some(_) => {}
                },
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return self.end();
                    }
                }
            }
        }
        None
    }

    /// Data that arrived before the end is still returned.
    fn last_words(&mut self, state: State) -> Option<LinkEvent> {
        if state == State::Violated {
            return self.end();
        }
        loop {
            match self.open.channel.poll().now_or_never() {
                Some(Some(DataChannelEvent::OnMessage(message))) => {
                    return Some(LinkEvent::Data(message.data.to_vec()));
                }
                Some(Some(event)) if !matches!(event, DataChannelEvent::OnClose) => {}
                _ => return self.end(),
            }
        }
    }

    /// Frees the connection at once: the owner of the other half may take its time.
    fn end(&mut self) -> Option<LinkEvent> {
        self.ended = true;
        let open = Arc::clone(&self.open);
        tokio::spawn(async move { open.connection.close().await });
        None
    }
}
