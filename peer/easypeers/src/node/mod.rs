//! The driver of the pure cores: one task that owns the mesh, the signalling and the links of a peer
//! in one swarm, and feeds them with what links, trackers, timers and the application bring.
//!
//! - `swarm`: what one membership of one swarm consists of, and its loop.
//! - `dial`: offers, answers and new links.
//! - `frames`: frames to the core's packets and back, proofs checked on the way.
//! - `author`: our own broadcasts.
//! - `direct`: sealed messages, ours and those for us; `parts` puts large ones together.
//! - `compat`: peers of Easypeers 1.
//! - `status`: the state in words.
//! - `link`, `outbox`: one link's task and its queue.

mod author;
mod compat;
mod dial;
mod direct;
pub(crate) mod frames;
mod link;
mod outbox;
mod parts;
mod status;
mod swarm;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use easypeers_proto::crypto::topic::TopicError;
use easypeers_proto::crypto::{Identity, TopicKey};
use easypeers_proto::wire::extension::Role;
use easypeers_proto::{InfoHash, MessageId, PeerId};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::link::{LinkError, LinkOptions, Transport};
use crate::model::{Data, Event, IceServers, JoinError, Options, Receipt, SendError, View};
use crate::rt;
use easypeers_core::session::Credentials;
use swarm::{End, Swarm};

/// Bytes of a message of the channel: pieces of a stream. An original may send a whole message.
#[cfg(not(target_family = "wasm"))]
const CHANNEL_MESSAGE: u32 = 16 << 10;
#[cfg(not(target_family = "wasm"))]
const COMPAT_CHANNEL_MESSAGE: u32 = 256 << 10;

/// What this peer tells others that it is.
const ROLE: Role = if cfg!(target_family = "wasm") {
    Role::Browser
} else {
    Role::Native
};

/// Between two exchanges of neighbours that a member starts, on average. Each makes two links between
/// four members, so that natively one takes part in twelve an hour, which keep a mesh random and cost
/// next to nothing. Browsers may not afford so many connections: two an hour.
#[cfg(not(target_family = "wasm"))]
const FLIP_INTERVAL: Duration = Duration::from_secs(1200);
#[cfg(target_family = "wasm")]
const FLIP_INTERVAL: Duration = easypeers_core::mesh::BROWSER_FLIP_INTERVAL;

type Reply<T> = oneshot::Sender<T>;

/// What a handle asks of its node.
#[derive(Debug)]
pub(crate) enum Command {
    Broadcast {
        data: Data,
        reply: Reply<Result<MessageId, SendError>>,
    },
    Direct {
        to: PeerId,
        data: Data,
        reply: Reply<Result<Receipt, SendError>>,
    },
    SetIdentity {
        identity: Arc<Identity>,
        reply: Reply<()>,
    },
    SetAddress {
        address: PeerId,
        reply: Reply<Result<(), SendError>>,
    },
    SetIdentifier {
        identifier: InfoHash,
        reply: Reply<()>,
    },
    SetMaxPeers {
        max_peers: usize,
        reply: Reply<()>,
    },
    SetTimeout {
        timeout: Duration,
        reply: Reply<()>,
    },
    Disconnect {
        peer: PeerId,
        reply: Reply<bool>,
    },
    UseTrackers {
        use_them: bool,
        reply: Reply<()>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// What outlives the membership of one swarm.
#[derive(Debug)]
struct Node {
    topic: String,
    options: Options,
    identity: Arc<Identity>,
    /// Where it is not that of the identity.
    address: Option<PeerId>,
    identifier: InfoHash,
    transport: Arc<Transport>,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<Event>,
    view: Arc<RwLock<View>>,
}

/// Starts a node's task.
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
        IceServers::Auto => dial::default_ice_servers(&options.trackers),
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
        max_message: if options.compat {
            COMPAT_CHANNEL_MESSAGE
        } else {
            CHANNEL_MESSAGE
        },
    })
    .await?;
    // Trackers may still name one.
    let final_servers = options.ice_servers != IceServers::Auto;
    if options.relay_only && final_servers && !transport.has_relay() {
        return Err(LinkError::NoRelay.into());
    }
    let address = options
        .address
        .filter(|address| *address != identity.address());
    if let Some(address) = address.filter(|_| !options.compat) {
        return Err(JoinError::ForeignAddress(address));
    }
    let mut known = status::Trackers::new(&options.trackers);
    let view = View::new(
        known.status(0, options.max_peers),
        known.list(),
        address.unwrap_or_else(|| identity.address()),
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

/// Whom to tell that the next membership has begun.
enum Joined {
    Plain(Reply<()>),
    Checked(Reply<Result<(), SendError>>),
}

impl Joined {
    fn send(self) {
        // Who gave up waiting is no concern.
        match self {
            Self::Plain(reply) => drop(reply.send(())),
            Self::Checked(reply) => drop(reply.send(Ok(()))),
        }
    }
}

impl Node {
    /// One membership, from joining to leaving; the credentials of the next one, if there is one.
    async fn live(&mut self, credentials: Arc<Credentials>) -> Option<Arc<Credentials>> {
        let swarm = Swarm::join(self, credentials);
        let reply = match Box::pin(swarm.run(self)).await {
            End::Closed(reply) => {
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
                return None;
            }
            End::SetIdentity(identity, reply) => {
                self.identity = identity;
                self.address = None;
                Joined::Plain(reply)
            }
            End::SetAddress(address, reply) => {
                self.address = Some(address).filter(|address| *address != self.identity.address());
                Joined::Checked(reply)
            }
            End::SetIdentifier(identifier, reply) => {
                self.identifier = identifier;
                Joined::Plain(reply)
            }
        };
        // The password has passed before; if it does not now, the peer ends rather than join others.
        let credentials = self.credentials().await.ok()?;
        let address = credentials.address;
        self.write_view(|view| {
            view.address = address;
            view.identifier = credentials.info_hash;
        });
        reply.send();
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
            address: self.address.unwrap_or_else(|| self.identity.address()),
            compat: self.options.compat,
            kind: ROLE,
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
