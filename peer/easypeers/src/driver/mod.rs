//! The driver of the pure cores: a task that owns a peer's mesh, signalling and links, and feeds them
//! with what links, trackers, timers and the application bring.
//!
//! Each part is a struct that owns its fields. What it wants from the others it returns as a value,
//! an [`Action`](action::Action), and the loop carries that out.
//!
//! - `run_loop`: one membership of one swarm: its parts and the loop that runs them.
//! - `link_table`: the links. `link_task` and `outbox`: one link's task and its queue. `frames`: what
//!   arrives on links as checked inputs for the mesh.
//! - `dialer`: offers, answers and new connections.
//! - `signer`: signs what this peer sends.
//! - `sender`: broadcasts of this peer. `content`: the application's data as content of envelopes.
//! - `direct`: sealed messages in both directions. `parts` puts large ones together.
//! - `report`: the view, events and counts. `tracker_status`: the state in words.
//! - `bridged`: messages of Easypeers 1 in the mesh. `v1_bridge`: peers of Easypeers 1, behind the
//!   feature `compat`.

mod action;
mod bridged;
mod command;
mod content;
mod dialer;
mod direct;
mod frames;
mod link_table;
mod link_task;
mod outbox;
mod parts;
mod report;
mod run_loop;
mod sender;
mod signer;
#[cfg(test)]
mod tests;
mod tracker_status;
#[cfg(feature = "compat")]
mod v1_bridge;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use easypeers_core::session::Credentials;
use easypeers_proto::crypto::topic::TopicError;
use easypeers_proto::crypto::{Identity, TopicKey};
use easypeers_proto::wire::extension::PeerKind;
use easypeers_proto::{InfoHash, PeerId};
use tokio::sync::{broadcast, mpsc};

pub(crate) use command::Command;

use crate::link::{LinkOptions, Transport};
use crate::model::{Event, IceServers, JoinError, LinkError, Options, View};
use crate::rt;
use command::Reply;
use run_loop::{End, Membership, Setup};
use tracker_status::TrackerStatus;

/// Longest message of the data channel that links take, in bytes: a piece of a stream.
#[cfg(not(target_family = "wasm"))]
const CHANNEL_MESSAGE: u32 = 16 << 10;

/// The same in compatibility mode: a peer of Easypeers 1 may send a whole message at once.
#[cfg(all(not(target_family = "wasm"), feature = "compat"))]
const V1_CHANNEL_MESSAGE: u32 = 256 << 10;

/// What this peer tells its neighbours that it is.
const KIND: PeerKind = if cfg!(target_family = "wasm") {
    PeerKind::Browser
} else {
    PeerKind::Native
};

/// What stays when a peer moves from one membership to the next.
#[derive(Debug)]
struct Node {
    topic: String,
    options: Options,
    identity: Arc<Identity>,
    /// That of the identity, or in compatibility mode any other.
    address: PeerId,
    identifier: InfoHash,
    transport: Arc<Transport>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    view: Arc<RwLock<View>>,
}

/// Starts a peer's task.
pub(crate) async fn spawn(
    topic: String,
    options: Options,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
) -> Result<Arc<RwLock<View>>, JoinError> {
    let identity = options
        .identity
        .clone()
        .unwrap_or_else(|| Arc::new(Identity::from_seed(&rt::random())));
    let identifier = options
        .identifier
        .unwrap_or_else(|| InfoHash::of_topic(&topic));
    let ice_servers = match &options.ice_servers {
        IceServers::Only(servers) => servers.clone(),
        IceServers::Auto => dialer::default_ice_servers(&options.trackers),
    };
    let transport = Transport::new(LinkOptions {
        ice_servers,
        relay_only: options.relay_only,
        #[cfg(not(target_family = "wasm"))]
        bind: options.bind.clone(),
        #[cfg(not(target_family = "wasm"))]
        udp_ports: options.udp_ports.clone(),
        #[cfg(not(target_family = "wasm"))]
        public_addresses: options.public_addresses.clone(),
        #[cfg(not(target_family = "wasm"))]
        max_message: channel_message(&options),
    })
    .await?;
    // With `Auto`, trackers may still name a TURN server.
    let final_servers = options.ice_servers != IceServers::Auto;
    if options.relay_only && final_servers && !transport.has_relay() {
        return Err(LinkError::NoRelay.into());
    }
    #[cfg(feature = "compat")]
    let address = match options.address {
        Some(address) if address != identity.address() && !options.compat => {
            return Err(JoinError::ForeignAddress(address));
        }
        address => address.unwrap_or_else(|| identity.address()),
    };
    #[cfg(not(feature = "compat"))]
    let address = identity.address();
    let mut trackers = TrackerStatus::new(&options.trackers);
    let view = View::new(
        trackers.status(0, options.max_peers),
        trackers.list(),
        address,
        identifier,
        &options,
    );
    let mut node = Node {
        topic,
        options,
        identity,
        address,
        identifier,
        transport: Arc::new(transport),
        commands,
        events,
        view: Arc::new(RwLock::new(view)),
    };
    if node.options.password.as_deref() == Some("") {
        return Err(TopicError::EmptyPassword.into());
    }
    let view = Arc::clone(&node.view);
    rt::spawn(async move {
        // A password that is not empty has a key.
        let mut credentials = node.credentials().await.ok();
        while let Some(current) = credentials {
            credentials = Box::pin(node.live(current)).await;
        }
    });
    Ok(view)
}

/// The caller that waits for the next membership.
enum Waiting {
    Plain(Reply<()>),
    #[cfg(feature = "compat")]
    Checked(Reply<Result<(), crate::model::SendError>>),
}

impl Waiting {
    fn joined(self) {
        // The caller may have stopped waiting.
        match self {
            Self::Plain(reply) => drop(reply.send(())),
            #[cfg(feature = "compat")]
            Self::Checked(reply) => drop(reply.send(Ok(()))),
        }
    }
}

impl Node {
    /// One membership, from joining to leaving; the credentials of the next one, if there is one.
    async fn live(&mut self, credentials: Arc<Credentials>) -> Option<Arc<Credentials>> {
        let (max_peers, timeout) = self.settings();
        let membership = Membership::join(Setup {
            options: &self.options,
            max_peers,
            timeout,
            credentials,
            transport: Arc::clone(&self.transport),
            view: Arc::clone(&self.view),
            events: self.events.clone(),
        });
        let caller = match Box::pin(membership.run(&mut self.commands)).await {
            End::Closed(reply) => {
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
                return None;
            }
            End::SetIdentity(identity, reply) => {
                self.identity = identity;
                self.address = self.identity.address();
                Waiting::Plain(reply)
            }
            #[cfg(feature = "compat")]
            End::SetAddress(address, reply) => {
                self.address = address;
                Waiting::Checked(reply)
            }
            End::SetIdentifier(identifier, reply) => {
                self.identifier = identifier;
                Waiting::Plain(reply)
            }
        };
        // The password was accepted before. If it is not now, the peer ends.
        let credentials = self.credentials().await.ok()?;
        let address = credentials.address;
        self.write_view(|view| {
            view.address = address;
            view.identifier = credentials.info_hash;
        });
        caller.joined();
        Some(credentials)
    }

    async fn credentials(&self) -> Result<Arc<Credentials>, TopicError> {
        let info_hash = self.identifier;
        let topic_key = match self.options.password.clone() {
            // Argon2 takes a good part of a second, by intention.
            Some(password) => {
                rt::blocking(move || TopicKey::from_password(&password, &info_hash)).await?
            }
            None if info_hash == InfoHash::of_topic(&self.topic) => {
                TopicKey::from_topic(&self.topic)
            }
            None => TopicKey::from_info_hash(&info_hash),
        };
        Ok(Arc::new(Credentials {
            identity: Arc::clone(&self.identity),
            topic_key,
            info_hash,
            address: self.address,
            #[cfg(feature = "compat")]
            accepts_v1: self.options.compat,
            kind: KIND,
        }))
    }

    fn write_view(&self, change: impl FnOnce(&mut View)) {
        // Nothing panics while it holds the lock.
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut view);
    }

    /// `max_peers` and `timeout` as they are set now.
    fn settings(&self) -> (usize, Duration) {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        (view.max_peers, view.timeout)
    }
}

/// Longest message of the data channel that this peer's links take, in bytes.
#[cfg(all(not(target_family = "wasm"), feature = "compat"))]
const fn channel_message(options: &Options) -> u32 {
    if options.compat {
        V1_CHANNEL_MESSAGE
    } else {
        CHANNEL_MESSAGE
    }
}

#[cfg(all(not(target_family = "wasm"), not(feature = "compat")))]
const fn channel_message(_options: &Options) -> u32 {
    CHANNEL_MESSAGE
}
