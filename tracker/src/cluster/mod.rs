//! Several trackers that act as one: a peer here gets offers from peers there. One tracker alone is
//! [`Cluster::Solo`] and pays one look at an enum for it.
//!
//! An announce never waits for the engine. It is answered from the swarm here and the last view of
//! it elsewhere; what its offers need of other nodes is left to the tasks of [`run`]. The engine is a
//! [`relay::Relay`]; what is on it is in docs/architecture.md.

mod beats;
mod directory;
mod dirty;
mod inbox;
mod ledger;
mod memory;
mod nodes;
mod others;
mod outgoing;
mod queue;
#[cfg(feature = "redis")]
mod redis;
pub(crate) mod relay;
pub(crate) mod run;
mod traffic;
mod url;
pub(crate) mod urn;
mod views;
mod wanted;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easypeers_proto::cluster::{Body, Frame, NodeId, Offers, RelayedAnswer, RelayedOffer};
use easypeers_proto::tracker::{Announce, Event};
use easypeers_proto::{InfoHash, OfferId, PeerId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::dirty::Dirty;
pub(crate) use self::others::Others;
pub use self::url::{ClusterUrl, ClusterUrlError};

use self::dirty::Written;
use self::inbox::Inbox;
use self::ledger::Ledger;
use self::nodes::Nodes;
use self::others::{Standing, eligible};
use self::outgoing::Outgoing;
use self::relay::{Engine, RelayError, Write};
use self::urn::{Places, Urn};
use self::views::{Part, View, Views};
use self::wanted::Wanted;
use crate::clock::Clock;
use crate::config::Settings;
use crate::metrics::{ClusterAnswerDropped, ClusterMetrics, ClusterOfferDropped, Kind, Metrics};

/// How long views are used after the engine went away.
const AWAY_MS: u64 = 10_000;

/// However often clients announce: the flusher looks once a second, and the engine may be slow.
const MIN_KEEP_MS: u64 = 60_000;

/// Entries of the directory that are void and wait to be removed.
const MAX_VOID: usize = 10_000;

/// Whether this tracker has others beside it.
#[derive(Debug)]
pub(crate) enum Cluster {
    /// It is alone.
    Solo,
    /// It is a node.
    Joined(Arc<Node>),
}

impl Cluster {
    /// As the settings say; a URL that they have was checked.
    pub(crate) fn new(settings: &Settings, metrics: &Arc<ClusterMetrics>, clock: Clock) -> Self {
        let engine = settings.cluster_url.as_ref().map(ClusterUrl::engine);
        match engine {
            Some(Ok(engine)) => Self::Joined(Arc::new(Node::new(settings, engine, metrics, clock))),
            Some(Err(error)) => {
                tracing::error!(%error, "the cluster's URL cannot be used");
                Self::Solo
            }
            None => Self::Solo,
        }
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Solo => None,
            Self::Joined(node) => Some(node),
        }
    }
}

/// Connects to the engine and asks it who is there, as a node does.
///
/// # Errors
/// Why that does not work, without credentials.
pub async fn check_cluster(url: &ClusterUrl) -> Result<(), ClusterUrlError> {
    let told = |error: RelayError| ClusterUrlError::new(error.to_string());
    let inbox = Arc::new(Inbox::new(Arc::clone(&Metrics::new().cluster)));
    let engine = url.engine()?;
    let relay = engine
        .connect(NodeId::new(rand::random()), inbox)
        .await
        .map_err(told)?;
    relay.nodes().await.map_err(told)?;
    Ok(())
}

/// This tracker as a node.
pub(crate) struct Node {
    id: NodeId,
    engine: Arc<dyn Engine>,
    /// The URL, to be shown.
    place: String,
    required: bool,
    clock: Clock,
    /// How long entries of the directory are good for, in milliseconds.
    keep_ms: u64,
    up: AtomicBool,
    /// When the engine went away.
    away_since_ms: AtomicU64,
    /// Seconds that the directory's clock is ahead of ours.
    ahead_s: AtomicI64,
    /// The last ping that came back.
    pong: AtomicU64,
    views: Views,
    nodes: Mutex<Nodes>,
    /// Offers that went to others: who may answer.
    sent: Mutex<Ledger<NodeId>>,
    /// Offers of others that went to peers here: where their answers go.
    origins: Mutex<Ledger<NodeId>>,
    keys: RandomState,
    inbox: Arc<Inbox>,
    outgoing: Outgoing,
    wanted: Wanted,
    dirty: Arc<Dirty>,
    written: Mutex<Written>,
    void: Mutex<Vec<Write>>,
    /// Somebody has come: look who.
    hello: Notify,
    /// It drains: nothing of it shall be in the directory.
    leave: Notify,
    left: CancellationToken,
    metrics: Arc<ClusterMetrics>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    fn new(
        settings: &Settings,
        engine: Arc<dyn Engine>,
        metrics: &Arc<ClusterMetrics>,
        clock: Clock,
    ) -> Self {
        let place = settings.cluster_url.as_ref().map(ToString::to_string);
        metrics.configured.set(1);
        Self {
            id: NodeId::new(rand::random()),
            engine,
            place: place.unwrap_or_default(),
            required: settings.cluster_required,
            clock,
            keep_ms: (2 * settings.announce_interval.as_millis() as u64).max(MIN_KEEP_MS),
            up: AtomicBool::new(false),
            away_since_ms: AtomicU64::new(0),
            ahead_s: AtomicI64::new(0),
            pong: AtomicU64::new(0),
            views: Views::new(),
            nodes: Mutex::default(),
            sent: Mutex::new(Ledger::new()),
            origins: Mutex::new(Ledger::new()),
            keys: RandomState::new(),
            inbox: Arc::new(Inbox::new(Arc::clone(metrics))),
            outgoing: Outgoing::new(Arc::clone(metrics)),
            wanted: Wanted::new(Arc::clone(metrics)),
            dirty: Arc::new(Dirty::new()),
            written: Mutex::default(),
            void: Mutex::default(),
            hello: Notify::new(),
            leave: Notify::new(),
            left: CancellationToken::new(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Where swarms say that their counts changed.
    pub(crate) fn dirty(&self) -> Arc<Dirty> {
        Arc::clone(&self.dirty)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether clients should rather go to another node: the engine is away, and it matters here.
    pub(crate) fn is_missed(&self) -> bool {
        self.required && !self.is_up()
    }

    /// Whether peers here wait for answers from elsewhere.
    pub(crate) fn awaits_answer(&self, now_ms: u64) -> bool {
        let mut sent = lock(&self.sent);
        sent.expire(now_ms);
        self.is_up() && !sent.is_empty()
    }

    /// Takes this node out of the directory; ends when that is done, or cannot be.
    pub(crate) async fn leave(&self) {
        if self.is_up() {
            self.leave.notify_one();
            self.left.cancelled().await;
        }
    }

    /// What the others have of a swarm.
    pub(crate) fn others(&self, info_hash: &InfoHash, now_ms: u64) -> Others {
        let nobody = || Others {
            parts: Arc::new([]),
            standing: Standing::Aged,
        };
        let up = self.is_up();
        let view = match self.views.of(info_hash) {
            Some(view) => view,
            None if up => return nobody(),
            None => View {
                read_ms: 0,
                parts: Arc::new([]),
            },
        };
        let standing = match up {
            true if view.is_recent(now_ms) => Standing::Fresh,
            true if view.is_fresh(now_ms) => Standing::Seen,
            true => Standing::Aged,
            false => Standing::Away,
        };
        let away_ms = now_ms.saturating_sub(self.away_since_ms.load(Ordering::Relaxed));
        if !up && away_ms > AWAY_MS {
            return Others {
                parts: Arc::new([]),
                standing,
            };
        }
        if !view.parts.is_empty() {
            let age_ms = now_ms.saturating_sub(view.read_ms);
            self.metrics.view_age.observe(age_ms as f64 / 1000.0);
        }
        let parts = self.living(view.parts);
        Others { parts, standing }
    }

    /// Those of the parts that are at nodes which take offers.
    fn living(&self, parts: Arc<[Part]>) -> Arc<[Part]> {
        let nodes = lock(&self.nodes);
        if parts.iter().all(|part| nodes.is_alive(part.node)) {
            return parts;
        }
        let parts = parts.iter().filter(|part| nodes.is_alive(part.node));
        parts.copied().collect()
    }

    /// Counts elsewhere, for a scrape. Has them read if they are old.
    pub(crate) fn counts(&self, info_hash: &InfoHash, now_ms: u64) -> (u32, u32) {
        let others = self.others(info_hash, now_ms);
        if others.standing == Standing::Aged {
            self.wanted.add(*info_hash, None);
        }
        others.counts()
    }

    /// Has a swarm's view read if an announce, which has no offers left for others, found it old.
    pub(crate) fn look_at(&self, info_hash: InfoHash, others: &Others) {
        if others.standing == Standing::Aged {
            self.wanted.add(info_hash, None);
        }
    }

    /// Sends the offers of an announce whose places are not here. Returns how many found no peer
    /// anywhere; offers that wait for a view are not among them.
    pub(crate) fn relay(
        &self,
        announce: &Announce<'_>,
        limit: usize,
        places: &Places,
        others: &Others,
        now_ms: u64,
    ) -> usize {
        let limit = limit.min(announce.offers.len());
        // Whether who is there is known better in a moment.
        let wait = match others.standing {
            Standing::Fresh | Standing::Away => false,
            Standing::Seen => places.used() < limit,
            Standing::Aged => true,
        };
        let candidates = announce.offers.iter().take(limit).enumerate();
        let remote: Vec<_> = candidates
            .filter(|(place, _)| match wait {
                true => !places.is_local(*place),
                false => places.is_remote(*place),
            })
            .map(|(_, offer)| RelayedOffer {
                offer_id: offer.offer_id,
                offer: offer.offer,
            })
            .collect();
        let left_over = limit - places.local() - remote.len();
        if remote.is_empty() {
            self.look_at(announce.info_hash, others);
            return left_over;
        }
        // Seeders have nothing for each other.
        let incomplete_only = announce.complete || announce.event == Event::Completed;
        let offers = Offers {
            info_hash: announce.info_hash,
            peer_id: announce.peer_id,
            incomplete_only,
            offers: remote,
        };
        if !wait {
            return left_over + self.deal(&offers, &others.parts, 0, now_ms);
        }
        let count = offers.offers.len();
        let frame = Frame {
            node: self.id,
            body: Body::Offers(offers),
        };
        match frame.encode() {
            Ok(frame) => self.wanted.add(announce.info_hash, Some((frame, count))),
            Err(_) => self
                .metrics
                .offers_dropped
                .add(ClusterOfferDropped::TooLarge, count),
        }
        left_over
    }

    /// Deals offers among nodes; how many are left over.
    fn deal(&self, offers: &Offers<'_>, parts: &[Part], tries: u8, now_ms: u64) -> usize {
        let weights = parts
            .iter()
            .map(|part| eligible(part, offers.incomplete_only));
        let mut urn = Urn::new(weights);
        let mut batches = vec![Vec::new(); parts.len()];
        let mut left_over = 0;
        let mut rng = rand::rng();
        for offer in &offers.offers {
            match urn.draw(&mut rng) {
                Some(place) => batches[place].push(*offer),
                None => left_over += 1,
            }
        }
        for (part, offers_here) in parts.iter().zip(batches) {
            if offers_here.is_empty() {
                continue;
            }
            let batch = Offers {
                offers: offers_here,
                ..offers.clone_head()
            };
            let count = batch.offers.len();
            {
                // Before it leaves: the answer may be faster than the word that it arrived.
                let mut sent = lock(&self.sent);
                for offer in &batch.offers {
                    let key = self.sent_key(part.node, &batch, &offer.offer_id);
                    sent.insert(key, part.node, now_ms);
                }
            }
            let frame = Frame {
                node: self.id,
                body: Body::Offers(batch),
            };
            match frame.encode() {
                Ok(bytes) => {
                    self.outgoing
                        .add(self.is_up(), part.node, bytes, Kind::Offers, count, tries)
                }
                Err(_) => self
                    .metrics
                    .offers_dropped
                    .add(ClusterOfferDropped::TooLarge, count),
            }
        }
        left_over
    }

    fn sent_key(&self, node: NodeId, offers: &Offers<'_>, offer: &OfferId) -> u64 {
        self.answer_key(node, &offers.info_hash, &offers.peer_id, offer)
    }

    /// What an answer from a node must match.
    fn answer_key(&self, node: NodeId, swarm: &InfoHash, offerer: &PeerId, offer: &OfferId) -> u64 {
        self.keys.hash_one((node, swarm, offerer, offer))
    }

    /// An offer of a peer here goes to one here: an older one from elsewhere that looks the same, of
    /// a peer that has moved, is not what the answer will be to.
    pub(crate) fn forget_origin(&self, key: u64, now_ms: u64) {
        let mut origins = lock(&self.origins);
        if !origins.is_empty() {
            while origins.take(key, now_ms).is_some() {}
        }
    }

    /// The node that an offer, which a peer here now answers, came from.
    pub(crate) fn take_origin(&self, key: u64, now_ms: u64) -> Option<NodeId> {
        lock(&self.origins).take(key, now_ms)
    }

    /// Sends an answer to the node of the peer that offered.
    pub(crate) fn answer(&self, to: NodeId, answer: RelayedAnswer<'_>) {
        let frame = Frame {
            node: self.id,
            body: Body::Answer(answer),
        };
        match frame.encode() {
            Ok(bytes) => self
                .outgoing
                .add(self.is_up(), to, bytes, Kind::Answer, 1, 0),
            Err(_) => self
                .metrics
                .answers_dropped
                .inc(ClusterAnswerDropped::TooLarge),
        }
    }
}

/// Offers without the offers.
trait Head {
    fn clone_head(&self) -> Self;
}

impl Head for Offers<'_> {
    fn clone_head(&self) -> Self {
        Self {
            info_hash: self.info_hash,
            peer_id: self.peer_id,
            incomplete_only: self.incomplete_only,
            offers: Vec::new(),
        }
    }
}
