//! The task of one link: moves bytes between the channel, the session and the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::admission::Role;
use easypeers_proto::wire::extension::PeerKind;
use easypeers_proto::wire::stream::write_keep_alive;
use tokio::sync::mpsc;

use super::outbox::Outbox;
use crate::link::{Link, LinkEvent, LinkReceiver, LinkSender};
use crate::model::Limits;
use crate::rt::{self, Clock};
use easypeers_core::mesh::LinkId;
use easypeers_core::rate::TokenBucket;
use easypeers_core::session::{Channel, Credentials, Session, SessionError, SessionEvent};

/// Time for the handshakes.
const ADMISSION: Duration = Duration::from_secs(25);

/// Time without writing before a keep-alive is sent (BEP 3 peers expect one within two minutes).
const KEEP_ALIVE: Duration = Duration::from_secs(55);

/// The link to a neighbour that does not take 16 KiB in this time is closed.
const STALL: Duration = Duration::from_secs(10);

/// What a link's task reports to the loop.
#[derive(Debug)]
pub(super) enum FromLink {
    Admitted {
        peer: PeerId,
        keys: PublicKeys,
        offered: bool,
        token: u64,
        kind: PeerKind,
    },
    #[cfg(feature = "compat")]
    V1 {
        peer: PeerId,
        offered: bool,
    },
    Frame(Vec<u8>),
    #[cfg(feature = "compat")]
    V1Message(Vec<u8>),
    Suspect,
    Closed(Option<SessionError>),
}

/// Bytes that went through all links.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent and received so far.
    pub(super) fn sum(&self) -> (u64, u64) {
        let order = Ordering::Relaxed;
        (self.sent.load(order), self.received.load(order))
    }
}

/// Everything that a link's task needs.
#[derive(Debug)]
pub(super) struct LinkTask {
    pub(super) id: LinkId,
    pub(super) credentials: Arc<Credentials>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) events: mpsc::Sender<(LinkId, FromLink)>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) limits: Limits,
}

/// Time to read what arrived on a link before it was closed, because the loop may be busy.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Limits how fast a neighbour is read.
struct Throttle {
    clock: Clock,
    limits: Limits,
    frames: TokenBucket,
    bytes: TokenBucket,
}

impl Throttle {
    fn new(limits: Limits) -> Self {
        let clock = Clock::start();
        Self {
            frames: TokenBucket::full(clock.now(), limits.link_frames),
            bytes: TokenBucket::full(clock.now(), limits.link_bytes),
            clock,
            limits,
        }
    }

    /// Counts what was read, and waits if it exceeds the rates.
    async fn pass(&mut self, frames: u16, bytes: usize) {
        let now = self.clock.now();
        let frames = (self.frames).charge(now, self.limits.link_frames, frames.into());
        let bytes = (self.bytes).charge(now, self.limits.link_bytes, bytes as f32);
        let wait = frames.max(bytes);
        if !wait.is_zero() {
            rt::sleep(wait).await;
        }
    }
}

/// Why nothing more is written.
#[derive(Debug, Clone, Copy)]
enum Wrote {
    /// There is nothing more to say.
    All,
    /// The link is closed.
    Refused,
    /// The neighbour takes nothing.
    Stalled,
}

impl LinkTask {
    /// Runs until the link is closed by either side. [`FromLink::Closed`] is the last report.
    pub(super) async fn run(self, link: Link) {
        let channel = Channel {
            role: link.role(),
            local_fingerprint: link.local_fingerprint(),
            remote_fingerprint: link.remote_fingerprint(),
            nonce: rt::random(),
        };
        let (sender, receiver) = link.split();
        let mut read = Box::pin(self.read(channel, receiver));
        let closed = tokio::select! {
            closed = &mut read => closed,
            wrote = self.write(&sender) => match wrote {
                Wrote::All | Wrote::Stalled => None,
                // The other side has closed. What it sent before is still read.
                Wrote::Refused => rt::timeout(LAST_WORDS, &mut read).await.flatten(),
            },
        };
        drop(read);
        if closed.is_some() {
            // Frames that still wait, such as a goodbye, have a chance to arrive.
            self.outbox.close();
            rt::timeout(Duration::from_secs(1), self.write(&sender)).await;
        }
        sender.close().await;
        let _ = self.events.send((self.id, FromLink::Closed(closed))).await;
    }

    async fn read(&self, channel: Channel, mut receiver: LinkReceiver) -> Option<SessionError> {
        let mut out = Vec::new();
        let credentials = Arc::clone(&self.credentials);
        let mut session = Session::start(credentials, channel, &mut out);
        self.outbox.push_raw(std::mem::take(&mut out));
        let offered = channel.role == Role::Offerer;
        let mut admitted = false;
        let mut throttle = Throttle::new(self.limits);
        let deadline = rt::sleep(ADMISSION);
        tokio::pin!(deadline);
        loop {
            let event = tokio::select! {
                event = receiver.recv() => event?,
                () = &mut deadline, if !admitted => return Some(SessionError::Silent),
            };
            let data = match event {
                LinkEvent::Data(data) => data,
                LinkEvent::Suspect => {
                    self.tell(FromLink::Suspect).await;
                    continue;
                }
                LinkEvent::Recovered => continue,
            };
            let length = data.len() as u64;
            self.traffic.received.fetch_add(length, Ordering::Relaxed);
            let mut input = &data[..];
            let mut frames = 0u16;
            loop {
                let event = session.read(&mut input, &mut out);
                self.outbox.set_number(session.number());
                self.outbox.push_raw(std::mem::take(&mut out));
                let told = match event {
                    Err(error) => return Some(error),
                    Ok(None) => break,
                    Ok(Some(SessionEvent::Frame(frame))) => FromLink::Frame(frame),
                    #[cfg(feature = "compat")]
                    Ok(Some(SessionEvent::V1Message(message))) => FromLink::V1Message(message),
                    Ok(Some(SessionEvent::Admitted {
                        peer,
                        keys,
                        token,
                        kind,
                    })) => {
                        admitted = true;
                        FromLink::Admitted {
                            peer,
                            keys,
                            offered,
                            token,
                            kind,
                        }
                    }
                    #[cfg(feature = "compat")]
                    Ok(Some(SessionEvent::V1 { peer })) => {
                        admitted = true;
                        FromLink::V1 { peer, offered }
                    }
                };
                self.tell(told).await;
                frames = frames.saturating_add(1);
            }
            throttle.pass(frames, data.len()).await;
        }
    }

    /// Writes what the outbox holds, until it is closed and empty or the neighbour is too slow.
    async fn write(&self, sender: &LinkSender) -> Wrote {
        while let Some(batch) = next(&self.outbox).await {
            let length = batch.len() as u64;
            self.traffic.sent.fetch_add(length, Ordering::Relaxed);
            match rt::timeout(STALL, sender.send(&batch)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::debug!(%error, "link cannot be written to");
                    return Wrote::Refused;
                }
                None => {
                    tracing::debug!("neighbour does not read, closing");
                    return Wrote::Stalled;
                }
            }
        }
        Wrote::All
    }

    /// Waits if the loop is busy. Nothing is read meanwhile, so the neighbour waits too.
    async fn tell(&self, event: FromLink) {
        let _ = self.events.send((self.id, event)).await;
    }
}

/// The next bytes to write: frames that wait, or a keep-alive after a long silence. `None` at the end.
async fn next(outbox: &Outbox) -> Option<Vec<u8>> {
    match rt::timeout(KEEP_ALIVE, outbox.take()).await {
        Some(batch) => batch,
        None => {
            let mut keep_alive = Vec::new();
            write_keep_alive(&mut keep_alive);
            Some(keep_alive)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_by_keep_alives() {
        let outbox = Outbox::default();
        let start = tokio::time::Instant::now();
        for _ in 0..2 {
            assert_eq!(next(&outbox).await, Some(vec![0; 4]));
        }
        assert_eq!(start.elapsed(), 2 * KEEP_ALIVE);
        outbox.push_raw(vec![1]);
        assert_eq!(next(&outbox).await, Some(vec![1]));
        assert_eq!(start.elapsed(), 2 * KEEP_ALIVE);
        outbox.close();
        assert_eq!(next(&outbox).await, None);
    }
}
