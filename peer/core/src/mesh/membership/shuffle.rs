//! Shuffles: members exchange a few addresses with a random one now and then, so that each has heard
//! of some that are not its neighbours (the passive view of HyParView: Leitão, Pereira and Rodrigues,
//! DSN 2007). They are hints only: a member that walks cannot find links asks one of them, and proves
//! nothing by having been named. An invented address costs a walk.

use std::time::Duration;

use easypeers_proto::wire::frame::{Shuffle, ShuffleReply, WalkTarget};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};

use super::exchange::Path;
use super::{Mesh, Now};
use crate::mesh::LinkId;

/// Members remembered.
const PASSIVE: usize = 48;

/// Members named in one shuffle: neighbours, and others.
const NAMED: (usize, usize) = (3, 5);

/// Links that a shuffle goes along.
const TTL: u8 = 6;

/// Between two shuffles of ours, on average.
const INTERVAL: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Passive {
    peers: Vec<PeerId>,
    next: Option<Now>,
    /// The shuffle of ours that may be answered.
    sent: Option<MessageId>,
}

impl Passive {
    pub(super) fn any(&self, rng: &mut StdRng) -> Option<PeerId> {
        self.peers.choose(rng).copied()
    }
}

impl Mesh {
    /// When something is due that nothing but time brings.
    pub(super) fn idle_deadline(&self) -> Option<Now> {
        self.mesh_links().next()?;
        let shuffle = self.membership.passive.next.unwrap_or(Now::ZERO);
        Some(shuffle.min(self.next_flip().unwrap_or(Now::ZERO)))
    }

    pub(super) fn tend_shuffle(&mut self, now: Now) {
        let due = self.membership.passive.next;
        if due.is_some_and(|due| due > now) {
            return;
        }
        let part = self.rng.random_range(0.5..1.5);
        self.membership.passive.next = Some(now + INTERVAL.mul_f64(part));
        let me = self.settings.me;
        if due.is_none() {
            return;
        }
        let Some(next) = self.next_hop(now, WalkTarget::Random, None, me) else {
            return;
        };
        let id = MessageId::new(self.rng.random());
        self.membership.passive.sent = Some(id);
        let shuffle = Shuffle {
            id,
            from: me,
            hops: 0,
            peers: self.sample(),
        };
        self.send_control(next, shuffle);
    }

    pub(in crate::mesh) fn on_shuffle(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        from: PeerId,
        hops: u8,
        peers: Vec<PeerId>,
    ) {
        if from == self.settings.me || self.membership.paths.contains(&id) {
            return;
        }
        self.membership.paths.insert(now, id, Path::of_walk(link));
        let hops = hops.saturating_add(1);
        self.learn_route(now, from, link, hops);
        let next = self.next_hop(now, WalkTarget::Random, Some(link), from);
        if hops < TTL
            && let Some(next) = next.filter(|next| *next != link)
        {
            let shuffle = Shuffle {
                id,
                from,
                hops,
                peers,
            };
            return self.send_control(next, shuffle);
        }
        let reply = self.sample();
        self.remember_peers(peers);
        self.remember_peers([from]);
        self.send_control(link, ShuffleReply { id, peers: reply });
    }

    pub(in crate::mesh) fn on_shuffle_reply(&mut self, id: MessageId, peers: Vec<PeerId>) {
        if self.membership.passive.sent == Some(id) {
            self.membership.passive.sent = None;
            return self.remember_peers(peers);
        }
        let back = self.membership.paths.get(&id).and_then(|path| path.seeker);
        if let Some(link) = back.filter(|link| self.is_up(*link)) {
            self.send_control(link, ShuffleReply { id, peers });
        }
    }

    fn sample(&mut self) -> Vec<PeerId> {
        let neighbors: Vec<PeerId> = self.mesh_links().map(|(_, link)| link.peer).collect();
        let mut peers = neighbors.into_iter().sample(&mut self.rng, NAMED.0);
        let others = self.membership.passive.peers.iter().copied();
        peers.extend(others.sample(&mut self.rng, NAMED.1));
        peers
    }

    /// Members that were named: they take the places of random ones.
    pub(in crate::mesh) fn remember_peers(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        for peer in peers {
            let known = &mut self.membership.passive.peers;
            if peer == self.settings.me || known.contains(&peer) {
                continue;
            }
            if known.len() < PASSIVE {
                known.push(peer);
            } else {
                let at = self.rng.random_range(0..PASSIVE);
                known[at] = peer;
            }
        }
    }
}
