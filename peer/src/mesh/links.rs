//! Links: accepted when there is room, counted when both sides accepted, probed when silent.
//!
//! Both sides send NEIGHBOR when they accept a link; a link is *up* on a side that has sent and
//! received it. Two links to one peer are resolved by both sides alike: a newer epoch is a
//! restarted peer and wins; else, offers that crossed, the link stays whose offerer has the lower
//! address; else, two links made by one side, the higher token.

use std::time::Duration;

use rand::RngExt;
use shared::PeerId;
use shared::crypto::PublicKeys;

use super::membership::SLACK;
use super::message::{Class, Neighbor, Packet, Probe};
use super::{Goodbye, LinkId, Mesh, Now, Output, Reason};

/// Silence before a neighbour is asked whether it lives.
const IDLE: Duration = Duration::from_secs(5);

/// Time for an answer to a probe.
const PROBE: Duration = Duration::from_secs(3);

/// Unanswered probes after which a neighbour is dead.
const MISSES: u8 = 3;

/// Time from our NEIGHBOR to that of the other side: what a proof and a full round trip take on a
/// bad line. A peer that neither accepts nor refuses is let go.
const ACCEPT: Duration = Duration::from_secs(10);

/// Peers named in a goodbye, for somebody who needs others to try.
const PEERS_TO_TRY: usize = 8;

/// A probe without an answer yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    token: u64,
    sent: Now,
    deadline: Now,
    misses: u8,
}

/// A link whose peer is proven.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    /// None for a peer of Easypeers 1.
    pub(super) keys: Option<PublicKeys>,
    pub(super) offered: bool,
    token: u64,
    admitted: Now,
    /// Our NEIGHBOR went.
    accepted: bool,
    /// Anything came.
    last_heard: Now,
    /// Its NEIGHBOR came; until then the link is not up.
    neighbor: Option<Neighbor>,
    pub(super) up_since: Option<Now>,
    probe: Option<Pending>,
    pub(super) rtt: Option<Duration>,
}

impl Link {
    pub(super) const fn new(
        now: Now,
        peer: PeerId,
        keys: Option<PublicKeys>,
        offered: bool,
        token: u64,
    ) -> Self {
        Self {
            peer,
            keys,
            offered,
            token,
            admitted: now,
            accepted: false,
            last_heard: now,
            neighbor: None,
            up_since: None,
            probe: None,
            rtt: None,
        }
    }

    pub(super) const fn is_compat(&self) -> bool {
        self.keys.is_none()
    }

    /// What its peer last said of itself.
    pub(super) fn neighbor(&self) -> Neighbor {
        self.neighbor.unwrap_or(Neighbor {
            epoch: 0,
            links: 0,
            max_links: 0,
        })
    }

    pub(super) const fn heard(&mut self, now: Now) {
        self.last_heard = now;
    }

    /// Whether its peer has other links, or is not a neighbour yet.
    fn spare(&self) -> bool {
        self.up_since.is_none() || self.neighbor.is_none_or(|neighbor| neighbor.links > 1)
    }

    pub(super) fn deadline(&self) -> Now {
        match (&self.probe, self.up_since) {
            // The original answers no probes; its connection's own liveness must do.
            _ if self.is_compat() => Now::MAX,
            (Some(probe), _) => probe.deadline,
            (None, None) => self.admitted + ACCEPT,
            (None, Some(_)) => self.last_heard + IDLE,
        }
    }
}

impl Mesh {
    pub(super) fn on_admitted(&mut self, now: Now, id: LinkId, link: Link) {
        if link.peer == self.settings.me {
            return self.close_link(id, Some(Reason::Protocol));
        }
        let others = self.links.values().filter(|other| other.peer != link.peer);
        let others = others.count();
        let max_peers = self.settings.max_peers;
        let compat = link.is_compat();
        if others >= max_peers + SLACK || (compat && others >= max_peers) {
            return self.close_link(id, Some(Reason::Full));
        }
        if let Some(keys) = link.keys {
            self.direct.learn_keys(now, link.peer, keys);
        }
        // A full member first hears whether the other side needs it.
        let accepts = others < max_peers || self.expects(link.peer);
        self.links.insert(id, link);
        if compat {
            self.replace_or_raise(now, id);
        } else if accepts {
            self.accept(id);
        }
    }

    fn accept(&mut self, id: LinkId) {
        let neighbor = self.neighbor();
        if let Some(link) = self.links.get_mut(&id) {
            link.accepted = true;
            self.send_control(id, Packet::Neighbor(neighbor));
        }
    }

    pub(super) fn on_neighbor(&mut self, now: Now, id: LinkId, neighbor: Neighbor) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let first = link.neighbor.replace(neighbor).is_none();
        if !link.accepted {
            if !Self::is_guest(neighbor.links, neighbor.max_links) {
                return self.close_link(id, Some(Reason::Full));
            }
            self.accept(id);
        }
        if first {
            self.replace_or_raise(now, id);
        }
    }

    /// Tells neighbours how many links there are.
    fn tell_links(&mut self, but: Option<LinkId>) {
        let neighbor = self.neighbor();
        let links = self.mesh_links().map(|(id, _)| id);
        let links = links.filter(|id| Some(*id) != but).collect();
        self.send(links, Packet::Neighbor(neighbor), Class::Control);
    }

    /// The link is accepted by both: raise it, unless another one to the same peer stays.
    fn replace_or_raise(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let peer = link.peer;
        let up_before = self
            .links
            .iter()
            .find(|(_, other)| other.peer == peer && other.up_since.is_some())
            .map(|(other, state)| (*other, self.stays(link, state)));
        let restarted = match up_before {
            None => true,
            Some((_, Stays::Old)) => return self.close_link(id, Some(Reason::Duplicate)),
            Some((old, stays)) => {
                let restarted = stays == Stays::Restarted;
                // Not a loss to the application: the peer is still, or again, a neighbour.
                self.links.remove(&old);
                self.forget_link(old);
                self.out.push_back(Output::Close {
                    link: old,
                    goodbye: Some(self.goodbye(Reason::Duplicate)),
                });
                if restarted {
                    self.out.push_back(Output::Disconnect(peer));
                }
                restarted
            }
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.up_since = Some(now);
        }
        self.counters.links_opened += 1;
        if restarted {
            self.out.push_back(Output::Connect(peer));
        }
        self.settle_exchanges(now, peer);
        // It was told before its link counted.
        self.tell_links(None);
        self.flush_pending();
        self.ask_again(now);
    }

    /// Which of two links to one peer stays.
    fn stays(&self, new: &Link, old: &Link) -> Stays {
        let epoch = |link: &Link| link.neighbor.map(|neighbor| neighbor.epoch);
        match epoch(new).cmp(&epoch(old)) {
            std::cmp::Ordering::Greater => return Stays::Restarted,
            std::cmp::Ordering::Less => return Stays::Old,
            std::cmp::Ordering::Equal => {}
        }
        let new_stays = if new.offered == old.offered {
            new.token > old.token
        } else {
            new.offered == (self.settings.me < new.peer)
        };
        if new_stays { Stays::New } else { Stays::Old }
    }

    /// The connection of a link is gone.
    pub(super) fn remove_link(&mut self, now: Now, id: LinkId) {
        self.seek_soon(now);
        self.drop_link(id);
    }

    fn drop_link(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.forget_link(id);
        if link.up_since.is_some() {
            self.out.push_back(Output::Disconnect(link.peer));
            self.tell_links(None);
        }
    }

    pub(super) fn close_link(&mut self, id: LinkId, reason: Option<Reason>) {
        let goodbye = reason.map(|reason| self.goodbye(reason));
        self.out.push_back(Output::Close { link: id, goodbye });
        self.drop_link(id);
    }

    fn forget_link(&mut self, id: LinkId) {
        self.chunks.forget_link(id);
        self.membership.forget_link(id);
    }

    fn goodbye(&self, reason: Reason) -> Goodbye {
        let peers = match reason {
            Reason::Full => self
                .up_links()
                .filter(|(_, link)| !link.is_compat())
                .map(|(_, link)| link.peer)
                .take(PEERS_TO_TRY)
                .collect(),
            Reason::Duplicate | Reason::Protocol | Reason::Leaving | Reason::Split => Vec::new(),
        };
        Goodbye { reason, peers }
    }

    pub(super) fn on_suspect(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.is_compat() || link.up_since.is_none() {
            return;
        }
        // One probe decides: the connection itself has already missed several checks.
        self.probe(now, id, MISSES - 1);
    }

    pub(super) fn on_ping(&mut self, id: LinkId, probe: Probe) {
        let answer = Probe {
            token: probe.token,
            ..self.own_probe(0)
        };
        self.send_control(id, Packet::Pong(answer));
        self.note_links(id, probe.links);
    }

    pub(super) fn on_pong(&mut self, now: Now, id: LinkId, probe: Probe) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.probe {
            Some(pending) if pending.token == probe.token => {
                link.rtt = Some(now.saturating_sub(pending.sent));
                link.probe = None;
            }
            _ => {}
        }
        self.note_links(id, probe.links);
    }

    /// Probes the silent, gives up on the dead and on those that never accepted.
    pub(super) fn probe_links(&mut self, now: Now) {
        let due: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            match link.probe {
                // Whatever it sent since, it lives.
                Some(probe) if link.last_heard > probe.sent => link.probe = None,
                Some(probe) if probe.misses + 1 >= MISSES => self.close_link(id, None),
                Some(probe) => self.probe(now, id, probe.misses + 1),
                None if link.up_since.is_none() => self.close_link(id, None),
                None => self.probe(now, id, 0),
            }
        }
    }

    fn probe(&mut self, now: Now, id: LinkId, misses: u8) {
        let token = self.rng.random();
        if let Some(link) = self.links.get_mut(&id) {
            link.probe = Some(Pending {
                token,
                sent: now,
                deadline: now + PROBE,
                misses,
            });
            let probe = self.own_probe(token);
            self.send_control(id, Packet::Ping(probe));
        }
    }

    fn own_probe(&self, token: u64) -> Probe {
        Probe {
            token,
            links: self.neighbor().links,
            // Known to a driver whose timers can run late; a native one's do not.
            lateness_ms: 0,
        }
    }

    pub(super) fn on_max_peers(&mut self, max_peers: usize) {
        self.settings.max_peers = max_peers;
        self.tell_links(None);
    }

    /// Lets links go that are too many, those of neighbours with the most links first, and of these
    /// the newest: what has lasted is likely to last. A neighbour without another link is kept until
    /// it says that it has one.
    pub(super) fn shed(&mut self, most: usize) {
        while self.up_links().count() > most {
            let least_needed = self
                .up_links()
                .filter(|(_, link)| link.spare())
                .max_by_key(|(id, link)| (link.neighbor().links, *id))
                .map(|(id, _)| id);
            let Some(id) = least_needed else { break };
            self.close_link(id, Some(Reason::Full));
        }
    }

    fn note_links(&mut self, id: LinkId, links: u32) {
        if let Some(link) = self.links.get_mut(&id)
            && let Some(neighbor) = &mut link.neighbor
        {
            neighbor.links = links;
        }
    }

    /// Links that both sides accepted, those to peers of Easypeers 1 included.
    pub(super) fn up_links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links
            .iter()
            .filter(|(_, link)| link.up_since.is_some())
            .map(|(id, link)| (*id, link))
    }

    /// Links to peers that speak our frames.
    pub(super) fn mesh_links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.up_links().filter(|(_, link)| !link.is_compat())
    }

    pub(super) fn is_up(&self, id: LinkId) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| link.up_since.is_some())
    }

    /// The link to a neighbour.
    pub(super) fn link_to(&self, peer: PeerId) -> Option<LinkId> {
        self.up_links()
            .find(|(_, link)| link.peer == peer)
            .map(|(id, _)| id)
    }

    /// The neighbours: address, whether we offered, up since, round trip, whether of Easypeers 1.
    pub(crate) fn neighbors(&self) -> impl Iterator<Item = NeighborView> {
        self.links.values().filter_map(|link| {
            Some(NeighborView {
                peer: link.peer,
                offered: link.offered,
                up_since: link.up_since?,
                rtt: link.rtt,
                compat: link.is_compat(),
            })
        })
    }

    /// Whether there is a link to this peer, up or being accepted.
    pub(crate) fn is_neighbor(&self, peer: PeerId) -> bool {
        self.links.values().any(|link| link.peer == peer)
    }

    /// The peer behind a link that is up.
    pub(crate) fn up_peer(&self, id: LinkId) -> Option<PeerId> {
        let link = self.links.get(&id)?;
        link.up_since.map(|_| link.peer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    Old,
    New,
    /// The new one, since the peer started anew.
    Restarted,
}

/// A neighbour, for the application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeighborView {
    pub(crate) peer: PeerId,
    pub(crate) offered: bool,
    pub(crate) up_since: Now,
    pub(crate) rtt: Option<Duration>,
    pub(crate) compat: bool,
}
