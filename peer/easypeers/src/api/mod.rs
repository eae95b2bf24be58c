//! The API of the library: [`Easypeers`], a handle to a peer that runs in tasks of its own.

mod events;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use easypeers_proto::crypto::Identity;
use easypeers_proto::{InfoHash, MessageId, PeerId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot};

pub use events::{EVENT_QUEUE, Events};

use crate::driver::{self, Command};
use crate::model::{
    Data, Event, JoinError, MAX_MAX_PEERS, MAX_MESSAGE, MIN_MAX_PEERS, Options, PeerInfo, Receipt,
    SendError, Stats, Status, TIMEOUTS, TrackerInfo, View,
};

/// Commands that wait for the peer. A full queue returns [`SendError::Busy`] instead of waiting,
/// because waiting senders would lose their order.
const COMMAND_QUEUE: usize = 4096;

/// A peer in the mesh of a topic. Clones are handles to the same peer; it runs until
/// [`close`](Self::close) or until the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Easypeers {
    commands: mpsc::Sender<Command>,
    events: broadcast::WeakSender<Event>,
    view: Arc<RwLock<View>>,
}

impl Easypeers {
    /// Starts a peer that joins the mesh of `topic`. Returns before it has a link: events and
    /// [`status`](Self::status) report progress. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`JoinError`] for options that cannot work. An unreachable tracker is not an error.
    pub async fn join(topic: &str, mut options: Options) -> Result<Self, JoinError> {
        if !(MIN_MAX_PEERS..=MAX_MAX_PEERS).contains(&options.max_peers) {
            return Err(JoinError::MaxPeers(options.max_peers));
        }
        if options.trackers.is_empty() {
            return Err(JoinError::NoTracker);
        }
        options.timeout = clamped(options.timeout);
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let (events, _) = broadcast::channel(EVENT_QUEUE);
        let weak = events.downgrade();
        let view = driver::spawn(topic.to_owned(), options, receiver, events).await?;
        Ok(Self {
            commands,
            events: weak,
            view,
        })
    }

    /// The events from now on. Every call makes a stream of its own.
    #[must_use]
    pub fn events(&self) -> Events {
        let receiver = self.events.upgrade().map_or_else(
            // Closed: a channel without a sender ends at once.
            || broadcast::channel(1).1,
            |sender| sender.subscribe(),
        );
        Events::new(receiver)
    }

    /// Sends to every member of the mesh. Returns the message's id once it is on its way; with no
    /// link yet, it waits up to 10 s for one. Messages go out in the order of the calls, more
    /// precisely of the futures' first polls, even if an earlier one is not awaited to its end.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, data: impl Into<Data>) -> Result<MessageId, SendError> {
        let data = checked(data.into())?;
        self.ask(|reply| Command::Broadcast { data, reply }).await?
    }

    /// Sends to one member, sealed so that only it can read it, and waits for its receipt.
    ///
    /// # Errors
    /// [`SendError`]. A receiver that cannot be reached is a [`Receipt`], not an error.
    pub async fn send_to(
        &self,
        address: PeerId,
        data: impl Into<Data>,
    ) -> Result<Receipt, SendError> {
        let data = checked(data.into())?;
        if address == self.address() {
            return Err(SendError::ToSelf);
        }
        self.ask(|reply| Command::Direct {
            to: address,
            data,
            reply,
        })
        .await?
    }

    /// Sends to several members, as [`send_to`](Self::send_to) does to one. Receipts are in the order
    /// of `addresses`.
    ///
    /// # Errors
    /// [`SendError`], the first one.
    pub async fn send_to_all(
        &self,
        addresses: &[PeerId],
        data: impl Into<Data>,
    ) -> Result<Vec<Receipt>, SendError> {
        let data = checked(data.into())?;
        futures_util::future::try_join_all(
            addresses.iter().map(|to| self.send_to(*to, data.clone())),
        )
        .await
    }

    /// The address of this peer: SHA-1 of its public keys, its peer id at the tracker.
    #[must_use]
    pub fn address(&self) -> PeerId {
        self.view(|view| view.address)
    }

    /// Takes another address: leaves, and joins again. Works in compatibility mode only, except for
    /// the address of the identity's keys.
    ///
    /// # Errors
    /// [`SendError::ForeignAddress`], [`SendError::Closed`].
    #[cfg(feature = "compat")]
    pub async fn set_address(&self, address: PeerId) -> Result<(), SendError> {
        self.ask(|reply| Command::SetAddress { address, reply })
            .await?
    }

    /// Becomes another peer: leaves, and joins again under this identity.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn set_identity(&self, identity: Arc<Identity>) -> Result<(), SendError> {
        self.ask(|reply| Command::SetIdentity { identity, reply })
            .await
    }

    /// The infohash of the swarm.
    #[must_use]
    pub fn identifier(&self) -> InfoHash {
        self.view(|view| view.identifier)
    }

    /// Leaves this swarm and joins another, given by its infohash.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn set_identifier(&self, identifier: InfoHash) -> Result<(), SendError> {
        self.ask(|reply| Command::SetIdentifier { identifier, reply })
            .await
    }

    /// The number of links that this peer keeps.
    #[must_use]
    pub fn max_peers(&self) -> usize {
        self.view(|view| view.max_peers)
    }

    /// Sets the number of links to keep, at least [`MIN_MAX_PEERS`] and at most [`MAX_MAX_PEERS`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn set_max_peers(&self, max_peers: usize) -> Result<(), SendError> {
        let max_peers = max_peers.clamp(MIN_MAX_PEERS, MAX_MAX_PEERS);
        self.ask(|reply| Command::SetMaxPeers { max_peers, reply })
            .await
    }

    /// Time between two announces.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.view(|view| view.timeout)
    }

    /// Sets the time between two announces, unless the tracker asks for another. At least 1 s, at
    /// most 1 h.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn set_timeout(&self, timeout: Duration) -> Result<(), SendError> {
        let timeout = clamped(timeout);
        self.ask(|reply| Command::SetTimeout { timeout, reply })
            .await
    }

    /// Cuts the link to this neighbour as a failing network would: neither side learns why, and both
    /// look for another link. Returns whether there was such a link.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<bool, SendError> {
        self.ask(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Disconnects from all trackers, or connects to them again, at once. The mesh does not need them
    /// to keep its links.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub async fn use_trackers(&self, use_them: bool) -> Result<(), SendError> {
        self.ask(|reply| Command::UseTrackers { use_them, reply })
            .await
    }

    /// How well this peer is connected, with the reason.
    #[must_use]
    pub fn status(&self) -> Status {
        self.view(|view| view.status.clone())
    }

    /// Links that are up.
    #[must_use]
    pub fn wire_count(&self) -> usize {
        self.view(|view| view.peers.len())
    }

    /// The neighbours.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        // The view of an idle mesh may be old.
        self.view(|view| {
            let mut peers = view.peers.clone();
            let age = view.written.now();
            for peer in &mut peers {
                peer.up += age;
            }
            peers
        })
    }

    /// The trackers, with the state of each.
    #[must_use]
    pub fn trackers(&self) -> Vec<TrackerInfo> {
        self.view(|view| view.trackers.clone())
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.view(|view| view.stats.clone())
    }

    /// Says goodbye to neighbours and trackers and ends. Takes at most about 2 s.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .try_send(command(reply))
            .map_err(|error| match error {
                TrySendError::Full(_) => SendError::Busy,
                TrySendError::Closed(_) => SendError::Closed,
            })?;
        answer.await.map_err(|_| SendError::Closed)
    }

    fn view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        // A writer does not panic while it holds the lock. If one did, the old view would be intact.
        read(
            &self
                .view
                .read()
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        )
    }
}

fn clamped(timeout: Duration) -> Duration {
    timeout.clamp(TIMEOUTS.0, TIMEOUTS.1)
}

fn checked(data: Data) -> Result<Data, SendError> {
    match data.as_bytes().len() {
        length if length > MAX_MESSAGE => Err(SendError::TooLong(length)),
        _ => Ok(data),
    }
}
