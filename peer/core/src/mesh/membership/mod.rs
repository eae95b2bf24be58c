//! Membership: how links are found without a tracker, how a full mesh takes a newcomer in, how it
//! stays random, and how two meshes become one. Everything here travels along the links that there
//! are; nothing needs a tracker.
//!
//! - `walk`: LINK_REQUEST, a random walk that finds a member for a purpose.
//! - `exchange`: SIGNAL, the offer and the answer of the two ends of a walk, along its way.
//! - `split`: a full member takes a newcomer in by splitting an edge.
//! - `flip`: two full members exchange neighbours; so the mesh stays random, and two meshes that meet
//!   are joined by many edges.
//! - `heavy`: a link of its own for heavy traffic between two members.
//! - `shuffle`: members that are not neighbours, for when walks find nobody.
//!
//! Invariants: at most [`SLACK`] links above `max_peers`; a link is closed for a split or a flip only
//! after the one in its place is up; a neighbour with fewer than two links is not let go; everything
//! ends by a deadline, and every map is bounded.

mod exchange;
mod flip;
mod heavy;
mod shuffle;
mod split;
mod walk;

use std::time::Duration;

use easypeers_proto::{MessageId, PeerId};

use super::{LinkId, Mesh, Now};
use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use exchange::{Invite, Path, Seek};
use flip::Flips;
use shuffle::Passive;
use split::Extra;

/// Links above `max_peers` for as long as an exchange of neighbours takes.
pub(super) const SLACK: usize = 2;

/// From an offer to a link that is up.
const OPEN: Duration = Duration::from_secs(15);

/// Exchanges of others whose way is remembered, and for how long.
const PATHS: u32 = 4096;
const PATH_AGE: Duration = Duration::from_secs(30);

/// Peers whose splits are counted, and for how long.
const GUESTS: u32 = 1024;
const GUEST_AGE: Duration = Duration::from_secs(600);

/// First and longest pause after walks that brought nothing.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Links that a member which misses most of them asks of strangers, whatever its walks may bring.
const SPARE: usize = 2;

#[derive(Debug)]
pub(super) struct Membership {
    paths: ExpiringMap<MessageId, Path>,
    /// Walks of ours, and offers that we answered.
    seeks: Map<MessageId, Seek>,
    /// Offers of ours.
    invites: Map<MessageId, Invite>,
    /// Links that are one too many, while neighbours are exchanged for them.
    extras: Map<LinkId, Extra>,
    /// Links for heavy traffic between their ends until then, beside those of the mesh.
    direct: Map<LinkId, Now>,
    guests: ExpiringMap<PeerId, u8>,
    flips: Flips,
    passive: Passive,
    next_seek: Now,
    pause: Duration,
}

impl Membership {
    pub(super) fn new() -> Self {
        Self {
            paths: ExpiringMap::new(PATHS, PATH_AGE),
            seeks: Map::default(),
            invites: Map::default(),
            extras: Map::default(),
            direct: Map::default(),
            guests: ExpiringMap::new(GUESTS, GUEST_AGE),
            flips: Flips::new(),
            passive: Passive::default(),
            next_seek: Now::ZERO,
            pause: PAUSE.0,
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.paths.expire(now);
        self.guests.expire(now);
        self.flips.expire(now);
    }

    /// Invitations that add a link: others replace one.
    fn invited(&self) -> usize {
        let adds = |invite: &&Invite| invite.host.is_none();
        self.invites.values().filter(adds).count()
    }

    /// Neighbours that another one is about to take the place of.
    fn leaving(&self) -> Vec<LinkId> {
        let invites = self.invites.values().filter_map(|invite| invite.host);
        let seeks = self.seeks.values().filter_map(|seek| seek.host);
        invites.chain(seeks).collect()
    }

    /// The link that takes this one's place.
    pub(super) fn heir(&self, link: LinkId) -> Option<LinkId> {
        let mut extras = self.extras.iter();
        let heir = extras.find(|(_, extra)| extra.gives_up(link));
        heir.map(|(heir, _)| *heir)
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.extras.remove(&link);
        self.direct.remove(&link);
        // Its place is taken, or it is lost: either way there is a link less.
        self.extras.retain(|_, extra| !extra.gives_up(link));
    }
}

impl Mesh {
    pub(super) fn membership_deadline(&self) -> Option<Now> {
        let state = &self.membership;
        let seeks = state.seeks.values().map(|seek| seek.deadline);
        let invites = state.invites.values().map(|invite| invite.deadline);
        let extras = state.extras.values().filter_map(Extra::deadline);
        let direct = state.direct.values().copied();
        let next = self.may_seek().then_some(state.next_seek);
        let idle = self.idle_deadline();
        seeks
            .chain(invites)
            .chain(extras)
            .chain(direct)
            .chain(next)
            .chain(idle)
            .min()
    }

    /// Ends what took too long, lets go of links that are too many, looks for those that miss.
    pub(super) fn tend(&mut self, now: Now) {
        let late: Vec<MessageId> = (self.membership.invites.iter())
            .filter(|(_, invite)| invite.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.on_exchange_failed(now, id);
        }
        self.end_seeks(now);
        self.tend_direct_links(now);
        self.tend_extras(now);
        self.seek_links(now);
        self.tend_flips(now);
        self.tend_shuffle(now);
    }

    /// Links that count: those for heavy traffic between their ends come on top.
    pub(super) fn counted(&self) -> usize {
        self.links.len() - self.membership.direct.len()
    }

    /// Links that are missed.
    pub fn missing(&self) -> usize {
        self.settings.max_peers.saturating_sub(self.counted())
    }

    /// Links that are missed and not under way.
    pub fn room(&self) -> usize {
        let seeks = self.membership.seeks.values().map(|seek| seek.links);
        let expected = seeks.sum::<usize>() + self.membership.invited();
        self.missing().saturating_sub(expected)
    }

    /// Links that are worth an offer to strangers. Walks of ours may lead nowhere: who has lost most of its
    /// links may be in a part of the mesh that broke off.
    pub fn offered(&self) -> usize {
        let most_lost = self.counted() * 2 < self.settings.max_peers;
        let spare = if most_lost { SPARE } else { 0 };
        self.room().max(spare.min(self.missing()))
    }

    /// Links that could be accepted now, one too many for a while included.
    pub fn guest_room(&self) -> usize {
        let taken = self.links.len() + self.membership.invited();
        (self.settings.max_peers + SLACK).saturating_sub(taken)
    }

    /// Whether there is a link to this peer, or one under way.
    fn is_known(&self, peer: PeerId) -> bool {
        let state = &self.membership;
        self.is_neighbor(peer)
            || state.invites.values().any(|invite| invite.peer == peer)
            || state.seeks.values().any(|seek| seek.peer == Some(peer))
    }

    /// Whether this peer may become a neighbour.
    fn is_stranger(&self, peer: PeerId) -> bool {
        peer != self.settings.me && !self.is_known(peer) && !self.is_banned(peer)
    }
}
