//! All swarms of this process: infohash to [`members::Swarm`], behind shard locks. A lock is held for
//! one look-up and one change, never while anything is written to a socket.

pub(crate) mod members;
pub(crate) mod sweep;

use std::sync::Arc;

use dashmap::{DashMap, Entry};
use easypeers_proto::tracker::ScrapeEntry;
use easypeers_proto::{InfoHash, PeerId};

use self::members::{Change, Presence, Swarm};
use crate::cluster::urn::Places;
use crate::cluster::{Dirty, Others};
use crate::metrics::{Metrics, Role, SwarmSizes};
use crate::session::Connection;

/// Locks among which swarms are spread. More than cores, so that a sweep over one shard delays
/// few announces even with a million swarms.
const SHARDS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Swarms {
    map: DashMap<InfoHash, Swarm<Arc<Connection>>>,
    metrics: Arc<Metrics>,
    max_swarms: usize,
    /// Of a node: told which counts changed.
    dirty: Option<Arc<Dirty>>,
}

/// What an announce wants.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) presence: Presence,
    /// Receivers wanted.
    pub(crate) receivers: usize,
    /// Of a node: peers elsewhere, among whom receivers are drawn too.
    pub(crate) others: Option<&'a Others>,
    pub(crate) now_ms: u64,
    /// The peer may not be new to this connection's list of swarms: it is full.
    pub(crate) known_only: bool,
    /// The owner of the id was found dead: take it over.
    pub(crate) take_over: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    Accepted {
        complete: u32,
        incomplete: u32,
        /// This connection did not own the peer before.
        joined: bool,
        /// Of a node: which offers are for peers here.
        places: Option<Places>,
    },
    /// The id belongs to another connection.
    Owned(Arc<Connection>),
    /// A new swarm would be one too many for this process, or for this connection.
    TooManySwarms,
    TooManyOnConnection,
}

impl Swarms {
    pub(crate) fn new(metrics: Arc<Metrics>, max_swarms: usize, dirty: Option<Arc<Dirty>>) -> Self {
        Self {
            map: DashMap::with_shard_amount(SHARDS),
            metrics,
            max_swarms,
            dirty,
        }
    }

    /// Adds or refreshes a peer and chooses who gets its offers.
    pub(crate) fn announce(
        &self,
        request: &Request<'_>,
        chosen: &mut Vec<(PeerId, Arc<Connection>)>,
    ) -> Outcome {
        let mut entry = match self.map.entry(request.info_hash) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => {
                if request.known_only {
                    return Outcome::TooManyOnConnection;
                }
                if self.metrics.swarms.get() as usize >= self.max_swarms {
                    return Outcome::TooManySwarms;
                }
                self.metrics.swarms.inc();
                entry.insert(Swarm::default())
            }
        };
        let swarm = entry.value_mut();
        let joined = match swarm.owner(&request.peer_id) {
            Some(owner) if owner == request.connection => false,
            Some(owner) if !owner.has_ended() && !request.take_over => {
                return Outcome::Owned(Arc::clone(owner));
            }
            _ => true,
        };
        if joined && request.known_only {
            return Outcome::TooManyOnConnection;
        }
        let Request {
            peer_id,
            connection,
            presence,
            now_ms,
            ..
        } = *request;
        let change = swarm.announce(peer_id, connection, presence, now_ms);
        self.count(change);
        // Seeders have nothing for each other.
        let incomplete_only = change.to == Role::Complete;
        let places = request.others.map(|others| {
            let here = swarm.eligible(&peer_id, incomplete_only);
            others.places(here, incomplete_only, request.receivers)
        });
        let receivers = places.map_or(request.receivers, |places| places.local());
        if receivers > 0 {
            let mut rng = rand::rng();
            swarm.choose(&peer_id, incomplete_only, receivers, &mut rng, chosen);
        }
        let (complete, incomplete) = swarm.counts();
        drop(entry);
        if change.from != Some(change.to) {
            self.changed(request.info_hash);
        }
        Outcome::Accepted {
            complete,
            incomplete,
            joined,
            places,
        }
    }

    /// Removes a peer if it belongs to the connection. Returns the counts after it, or the other
    /// owner.
    pub(crate) fn leave(
        &self,
        info_hash: &InfoHash,
        peer_id: &PeerId,
        connection: &Arc<Connection>,
    ) -> Result<(u32, u32), Arc<Connection>> {
        let Some(mut entry) = self.map.get_mut(info_hash) else {
            return Ok((0, 0));
        };
        let swarm = entry.value_mut();
        let removed = swarm.remove(peer_id, connection);
        match removed {
            Some(role) => self.metrics.peers(role).dec(),
            None => {
                if let Some(owner) = swarm.owner(peer_id) {
                    return Err(Arc::clone(owner));
                }
            }
        }
        let counts = swarm.counts();
        drop(entry);
        if counts == (0, 0)
            && self
                .map
                .remove_if(info_hash, |_, swarm| swarm.is_empty())
                .is_some()
        {
            self.metrics.swarms.dec();
        }
        if removed.is_some() {
            self.changed(*info_hash);
        }
        Ok(counts)
    }

    /// The connection that a peer is reached by.
    pub(crate) fn owner(&self, info_hash: &InfoHash, peer_id: &PeerId) -> Option<Arc<Connection>> {
        self.map.get(info_hash)?.owner(peer_id).cloned()
    }

    /// Counts of one swarm; zeros for one that is not there.
    pub(crate) fn scrape(&self, info_hash: InfoHash) -> ScrapeEntry {
        let swarm = self.map.get(&info_hash);
        let (complete, incomplete) = swarm.as_ref().map_or((0, 0), |swarm| swarm.counts());
        let downloaded = swarm.map_or(0, |swarm| swarm.downloaded());
        ScrapeEntry {
            info_hash,
            complete,
            incomplete,
            downloaded,
        }
    }

    /// Removes peers that did not announce since `oldest_announce_ms` and whose connection has
    /// been silent since `silent_ms`, and swarms that are empty then.
    pub(crate) fn expire(&self, oldest_announce_ms: u64, silent_ms: u64) {
        let mut sizes = SwarmSizes::default();
        let mut changed = Vec::new();
        self.map.retain(|info_hash, swarm| {
            let (complete, incomplete) = swarm.expire(|peer| {
                peer.announced_ms < oldest_announce_ms
                    && (peer.connection.heard_ms() < silent_ms || peer.connection.has_ended())
            });
            self.metrics.peers(Role::Complete).sub(complete as i64);
            self.metrics.peers(Role::Incomplete).sub(incomplete as i64);
            self.metrics
                .peers_expired
                .inc_by((complete + incomplete) as u64);
            if complete + incomplete > 0 && self.dirty.is_some() {
                changed.push(*info_hash);
            }
            if swarm.is_empty() {
                self.metrics.swarms.dec();
            } else {
                sizes.add(swarm.len());
            }
            !swarm.is_empty()
        });
        self.metrics.swarm_peers.set(sizes);
        changed
            .into_iter()
            .for_each(|info_hash| self.changed(info_hash));
    }

    /// Puts up to `count` random peers other than `except` into `chosen`: for offers that come from
    /// another node.
    pub(crate) fn choose(
        &self,
        info_hash: &InfoHash,
        except: &PeerId,
        incomplete_only: bool,
        count: usize,
        chosen: &mut Vec<(PeerId, Arc<Connection>)>,
    ) {
        if let Some(swarm) = self.map.get(info_hash) {
            swarm.choose(except, incomplete_only, count, &mut rand::rng(), chosen);
        }
    }

    /// Calls `visit` with every swarm, under a lock: it must not look at swarms.
    pub(crate) fn each(&self, mut visit: impl FnMut(InfoHash)) {
        self.map.iter().for_each(|swarm| visit(*swarm.key()));
    }

    /// No lock may be held.
    fn changed(&self, info_hash: InfoHash) {
        if let Some(dirty) = &self.dirty {
            dirty.mark(info_hash);
        }
    }

    fn count(&self, change: Change) {
        if change.from == Some(change.to) {
            return;
        }
        if let Some(from) = change.from {
            self.metrics.peers(from).dec();
        }
        self.metrics.peers(change.to).inc();
    }
}
