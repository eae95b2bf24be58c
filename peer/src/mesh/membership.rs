//! Membership: how links are found without a tracker, and how a full mesh takes a newcomer in.
//!
//! A member that misses links sends NEED on a random walk. The first member on its way that misses
//! links too *invites* it: makes an offer, which travels back along the walk as SIGNAL; the answer
//! follows the offer's way. Beyond [`PAIRING`] links of the walk a full member invites as well, and
//! becomes a *host*.
//!
//! A host has one link too many for a moment. It asks a neighbour by SPLIT to link to its guest in
//! place of itself, the offer and its answer going through it, and loses that neighbour once the new
//! link is up: the edge is split, every degree stays what it was, the guest has two links more
//! (insertion into a random regular graph: Law and Siu, INFOCOM 2003). The same happens to a
//! newcomer whose offer a tracker handed to a full member. What fails is tried with another
//! neighbour; a guest that has links elsewhere is let go if none can be had.
//!
//! Invariants: at most [`SLACK`] links above `max_peers`; a link is never closed for a split before
//! the one in its place is up; a guest with fewer than two links is not let go; everything here ends
//! by a deadline, and every map is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use shared::wire::frame::SignalKind;
use shared::{MessageId, PeerId};

use super::message::{Packet, Signal};
use super::seen::Recent;
use super::{LinkId, Mesh, Now, Output, Reason};

/// Links above `max_peers` for as long as a split takes.
pub(super) const SLACK: usize = 2;

/// Links of a walk on which only members that miss links invite.
const PAIRING: u8 = 6;

/// Links of a walk in all: enough to reach any part of a mesh of a million.
const WALK: u8 = 16;

/// Walks of ours at once.
const SEEKS: usize = 3;

/// Time for a walk to bring an offer.
const SEEK: Duration = Duration::from_secs(3);

/// From an offer to a link that is up.
const OPEN: Duration = Duration::from_secs(15);

/// Invitations under way at once, and the exchanges of others whose way is remembered.
const INVITES: usize = 8;
const PATHS: usize = 4096;
const PATH_AGE: Duration = Duration::from_secs(30);

/// Session descriptions passed on for one exchange: an offer, its answer, a refusal.
const RELAYS: u8 = 4;

/// Neighbours asked to take a guest over.
const PARTNERS: u8 = 3;

/// First and longest pause after walks that brought nothing.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// After a link came up, so long for its host to bring another.
const SPLITTING: Duration = Duration::from_secs(2);

/// A link is not split before it is so old, if there are older ones.
const SETTLED: Duration = Duration::from_secs(60);

/// The way of an exchange through us.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// Towards who looks for links.
    seeker: Option<LinkId>,
    /// Towards who invites.
    inviter: Option<LinkId>,
    relays: u8,
}

/// A walk of ours.
#[derive(Debug)]
struct Seek {
    /// Links that it may bring.
    links: usize,
    /// Who invited us.
    peer: Option<PeerId>,
    deadline: Now,
}

/// An invitation of ours.
#[derive(Debug)]
struct Invite {
    peer: PeerId,
    /// The host that it was asked by.
    host: Option<LinkId>,
    deadline: Now,
}

/// A guest that a neighbour is asked to take over.
#[derive(Debug)]
struct Hosting {
    tries: u8,
    /// The neighbour, and the exchange.
    partner: Option<(LinkId, MessageId)>,
    deadline: Now,
}

#[derive(Debug)]
pub(super) struct Membership {
    paths: Recent<MessageId, Path>,
    seeks: BTreeMap<MessageId, Seek>,
    invites: BTreeMap<MessageId, Invite>,
    hosting: BTreeMap<LinkId, Hosting>,
    next_seek: Now,
    pause: Duration,
}

impl Membership {
    pub(super) fn new() -> Self {
        Self {
            paths: Recent::new(PATHS, PATH_AGE),
            seeks: BTreeMap::new(),
            invites: BTreeMap::new(),
            hosting: BTreeMap::new(),
            next_seek: Now::ZERO,
            pause: PAUSE.0,
        }
    }

    /// Links under way that nobody else counts.
    fn expected(&self) -> usize {
        self.seeks.values().map(|seek| seek.links).sum::<usize>() + self.invited()
    }

    /// Invitations that add a link: those for a host replace one.
    fn invited(&self) -> usize {
        let adds = |invite: &&Invite| invite.host.is_none();
        self.invites.values().filter(adds).count()
    }

    fn splitting(&self) -> usize {
        let running = |hosting: &&Hosting| hosting.partner.is_some();
        self.hosting.values().filter(running).count()
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.hosting.remove(&link);
        for hosting in self.hosting.values_mut() {
            if matches!(hosting.partner, Some((partner, _)) if partner == link) {
                // Taken over, or lost: either way there is a link less.
                hosting.partner = None;
            }
        }
    }
}

impl Mesh {
    pub(super) fn membership_deadline(&self) -> Option<Now> {
        let state = &self.membership;
        let seeks = state.seeks.values().map(|seek| seek.deadline);
        let invites = state.invites.values().map(|invite| invite.deadline);
        let hosting = state.hosting.values().filter(|h| h.partner.is_some());
        let hosting = hosting.map(|hosting| hosting.deadline);
        let next = self.may_seek().then_some(state.next_seek);
        seeks.chain(invites).chain(hosting).chain(next).min()
    }

    /// Links that are missed and not under way.
    pub(crate) fn room(&self) -> usize {
        let taken = self.links.len() + self.membership.expected();
        self.settings.max_peers.saturating_sub(taken)
    }

    /// Links that could be accepted now, a guest's included.
    pub(crate) fn guest_room(&self) -> usize {
        let taken = self.links.len() + self.membership.invited();
        (self.settings.max_peers + SLACK).saturating_sub(taken)
    }

    fn may_seek(&self) -> bool {
        self.room() > 0 && self.membership.seeks.len() < SEEKS && self.mesh_links().next().is_some()
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
        let before = self.membership.seeks.len();
        self.membership.seeks.retain(|_, seek| seek.deadline > now);
        if self.membership.seeks.len() < before {
            self.rest(now);
        }
        self.tend_guests(now);
        while now >= self.membership.next_seek && self.may_seek() {
            self.seek(now);
        }
    }

    /// A walk brought nothing: a pause before the next, each longer than the one before.
    fn rest(&mut self, now: Now) {
        let pause = self.membership.pause;
        let part = self.rng.random_range(0.75..=1.0);
        self.membership.next_seek = now + pause.mul_f64(part);
        self.membership.pause = (pause * 2).min(PAUSE.1);
    }

    /// Links were lost: look at once.
    pub(super) fn seek_soon(&mut self, now: Now) {
        self.membership.pause = PAUSE.0;
        self.membership.next_seek = self.membership.next_seek.min(now);
    }

    fn seek(&mut self, now: Now) {
        let missing = self.room();
        let links: Vec<LinkId> = self.mesh_links().map(|(id, _)| id).collect();
        let Some(link) = links.choose(&mut self.rng).copied() else {
            return;
        };
        let id = MessageId::new(self.rng.random());
        let seek = Seek {
            links: missing.min(2),
            peer: None,
            deadline: now + SEEK,
        };
        self.membership.seeks.insert(id, seek);
        let packet = Packet::Need {
            id,
            from: self.settings.me,
            hops: 0,
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
        };
        self.send_control(link, packet);
    }

    pub(super) fn on_need(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        from: PeerId,
        hops: u8,
        missing: u32,
    ) {
        let path = Path {
            seeker: Some(link),
            inviter: None,
            relays: 0,
        };
        let ours = self.membership.seeks.contains_key(&id);
        // Where it came from first is the way back, which so has no circles.
        if !ours && !self.membership.paths.contains(&id) {
            self.membership.paths.insert(now, id, path);
        }
        let hops = hops.saturating_add(1);
        let stranger = from != self.settings.me && !ours && !self.is_known(from);
        let hungry = self.room() > 0;
        let host = hops > PAIRING
            && missing > 1
            && self.guest_room() > self.membership.splitting()
            && self.mesh_links().count() > 1;
        if stranger && (hungry || host) && self.membership.invites.len() < INVITES {
            self.invite(now, id, from, None);
        } else if hops < WALK {
            let others: Vec<LinkId> = (self.mesh_links())
                .filter(|(other, state)| *other != link && state.peer != from)
                .map(|(other, _)| other)
                .collect();
            // At a dead end it turns round.
            let next = others.choose(&mut self.rng).copied().unwrap_or(link);
            let packet = Packet::Need {
                id,
                from,
                hops,
                missing,
            };
            self.send_control(next, packet);
        }
    }

    /// Whether there is a link to this peer, or one under way.
    fn is_known(&self, peer: PeerId) -> bool {
        self.is_neighbor(peer) || self.expects(peer)
    }

    fn invite(&mut self, now: Now, id: MessageId, peer: PeerId, host: Option<LinkId>) {
        let deadline = now + OPEN;
        let invite = Invite {
            peer,
            host,
            deadline,
        };
        self.membership.invites.insert(id, invite);
        self.out.push_back(Output::Invite { id, peer });
    }

    pub(super) fn on_split(&mut self, now: Now, link: LinkId, id: MessageId, peer: PeerId) {
        let path = Path {
            seeker: Some(link),
            inviter: None,
            relays: 0,
        };
        let new = self.membership.paths.insert(now, id, path);
        let able = new
            && peer != self.settings.me
            && !self.is_known(peer)
            && self.membership.invites.len() < INVITES
            && self
                .membership
                .hosting
                .values()
                .all(|h| !matches!(h.partner, Some((l, _)) if l == link));
        if able {
            self.invite(now, id, peer, Some(link));
        } else if new {
            self.refuse(link, id);
        }
    }

    fn refuse(&mut self, link: LinkId, id: MessageId) {
        let Some(to) = self.up_peer(link) else {
            return;
        };
        let signal = Signal {
            id,
            kind: SignalKind::Refusal,
            from: self.settings.me,
            to,
            sdp: "".into(),
        };
        self.send_control(link, Packet::Signal(signal));
    }

    /// A description for us, or one to pass on along the way of its exchange.
    pub(super) fn on_signal(&mut self, now: Now, link: LinkId, signal: Signal) {
        let Signal { id, kind, from, .. } = signal;
        if signal.to == self.settings.me {
            return match kind {
                SignalKind::Offer => self.on_offer(now, link, signal),
                SignalKind::Answer => {
                    let invites = &self.membership.invites;
                    if invites.get(&id).is_some_and(|invite| invite.peer == from) {
                        self.out.push_back(Output::Signal(signal));
                    }
                }
                SignalKind::Refusal => self.on_refusal(now, link, id),
            };
        }
        let Some(path) = self.membership.paths.get_mut(&id) else {
            return;
        };
        let next = match kind {
            SignalKind::Offer if path.seeker != Some(link) => {
                path.inviter = Some(link);
                path.seeker
            }
            SignalKind::Answer => path.inviter,
            _ if path.inviter == Some(link) => path.seeker,
            _ => path.inviter,
        };
        path.relays += 1;
        if path.relays <= RELAYS
            && let Some(next) = next.filter(|next| *next != link && self.is_up(*next))
        {
            self.send_control(next, Packet::Signal(signal));
        }
    }

    fn on_offer(&mut self, now: Now, link: LinkId, signal: Signal) {
        let (id, from) = (signal.id, signal.from);
        let path = Path {
            seeker: None,
            inviter: Some(link),
            relays: 0,
        };
        self.membership.paths.insert(now, id, path);
        if from == self.settings.me || self.is_known(from) || self.guest_room() == 0 {
            return self.send_signal(id, from, SignalKind::Refusal, &"".into());
        }
        // Of a walk of ours, or of a split that a host asked for.
        let links = self.membership.seeks.get(&id).map_or(1, |seek| seek.links);
        let seek = Seek {
            links,
            peer: Some(from),
            deadline: now + OPEN,
        };
        self.membership.seeks.insert(id, seek);
        self.out.push_back(Output::Signal(signal));
    }

    /// Sends a description of ours along the way of its exchange.
    pub(super) fn send_signal(
        &mut self,
        id: MessageId,
        to: PeerId,
        kind: SignalKind,
        sdp: &Arc<str>,
    ) {
        let Some(path) = self.membership.paths.get(&id) else {
            return;
        };
        let Some(link) = path
            .seeker
            .or(path.inviter)
            .filter(|link| self.is_up(*link))
        else {
            return;
        };
        let signal = Signal {
            id,
            kind,
            from: self.settings.me,
            to,
            sdp: Arc::clone(sdp),
        };
        self.send_control(link, Packet::Signal(signal));
    }

    fn on_refusal(&mut self, now: Now, link: LinkId, id: MessageId) {
        let hosting = self.membership.hosting.values_mut();
        for hosting in hosting {
            if hosting.partner == Some((link, id)) {
                hosting.partner = None;
            }
        }
        if self.membership.invites.contains_key(&id) {
            self.out.push_back(Output::Withdraw(id));
            self.on_exchange_failed(now, id);
        }
    }

    /// An exchange came to nothing: no offer could be made, or the connection failed.
    pub(super) fn on_exchange_failed(&mut self, now: Now, id: MessageId) {
        if let Some(invite) = self.membership.invites.remove(&id)
            && let Some(host) = invite.host
        {
            self.refuse(host, id);
        }
        if let Some(seek) = self.membership.seeks.remove(&id) {
            if let Some(peer) = seek.peer {
                self.send_signal(id, peer, SignalKind::Refusal, &"".into());
            }
            self.rest(now);
        }
    }

    /// A link is up: whatever it was for is done.
    pub(super) fn settle_exchanges(&mut self, now: Now, peer: PeerId) {
        self.membership
            .seeks
            .retain(|_, seek| seek.peer != Some(peer));
        let mut replaced = Vec::new();
        self.membership.invites.retain(|_, invite| {
            let done = invite.peer == peer;
            if done {
                replaced.extend(invite.host);
            }
            !done
        });
        for host in replaced {
            if self.is_up(host) {
                self.close_link(host, Some(Reason::Split));
            }
        }
        self.membership.pause = PAUSE.0;
        self.membership.next_seek = now + SPLITTING;
    }

    /// Whether a link to this peer is one that we asked for.
    pub(super) fn expects(&self, peer: PeerId) -> bool {
        let state = &self.membership;
        state.invites.values().any(|invite| invite.peer == peer)
            || state.seeks.values().any(|seek| seek.peer == Some(peer))
    }

    /// Whether a link that comes to a full member is that of somebody who needs it.
    pub(super) const fn is_guest(links: u32, max_links: u32) -> bool {
        links < 2 || links + 1 < max_links
    }

    fn tend_guests(&mut self, now: Now) {
        for hosting in self.membership.hosting.values_mut() {
            if hosting.partner.is_some() && hosting.deadline <= now {
                hosting.partner = None;
            }
        }
        loop {
            let up = self.up_links().count();
            let excess = up.saturating_sub(self.settings.max_peers + self.membership.splitting());
            if excess == 0 {
                return;
            }
            // The newest that can use another link.
            let guest = (self.mesh_links())
                .filter(|(id, link)| {
                    let hosting = self.membership.hosting.get(id);
                    let neighbor = link.neighbor();
                    neighbor.links < neighbor.max_links
                        && hosting.is_none_or(|h| h.partner.is_none() && h.tries < PARTNERS)
                })
                .map(|(id, _)| id)
                .max();
            let found = guest.and_then(|guest| Some((guest, self.partner(now, guest)?)));
            let Some((guest, partner)) = found else {
                let most = self.settings.max_peers + self.membership.splitting();
                return self.shed(most);
            };
            self.split(now, guest, partner);
        }
    }

    /// A neighbour to take the guest over: one that has other links, an old one if there is one.
    fn partner(&mut self, now: Now, guest: LinkId) -> Option<LinkId> {
        let hosting = &self.membership.hosting;
        let free: Vec<(LinkId, bool)> = (self.mesh_links())
            .filter(|(id, link)| {
                *id != guest
                    && link.neighbor().links > 1
                    && !hosting.contains_key(id)
                    && hosting
                        .values()
                        .all(|h| !matches!(h.partner, Some((l, _)) if l == *id))
            })
            .map(|(id, link)| (id, link.up_since.is_some_and(|at| now >= at + SETTLED)))
            .collect();
        let old: Vec<LinkId> = free
            .iter()
            .filter(|(_, old)| *old)
            .map(|(id, _)| *id)
            .collect();
        let any: Vec<LinkId> = free.iter().map(|(id, _)| *id).collect();
        let chosen = if old.is_empty() { &any } else { &old };
        chosen.choose(&mut self.rng).copied()
    }

    fn split(&mut self, now: Now, guest: LinkId, partner: LinkId) {
        let Some(peer) = self.up_peer(guest) else {
            return;
        };
        let id = MessageId::new(self.rng.random());
        let path = Path {
            seeker: Some(guest),
            inviter: Some(partner),
            relays: 0,
        };
        self.membership.paths.insert(now, id, path);
        let hosting = self.membership.hosting.entry(guest).or_insert(Hosting {
            tries: 0,
            partner: None,
            deadline: now,
        });
        hosting.tries += 1;
        hosting.partner = Some((partner, id));
        hosting.deadline = now + OPEN + Duration::from_secs(2);
        self.send_control(partner, Packet::Split { id, peer });
    }
}
