//! Links: accepted when there is room, counted when both sides accepted, probed when silent.
//!
//! Both sides send NEIGHBOR when they accept a link; a link is *up* on a side that has sent and
//! received it. Two links to one peer are resolved by both sides alike: a newer epoch is a
//! restarted peer and wins; else, offers that crossed, the link stays whose offerer has the lower
//! address; else, two links made by one side, the higher token.

use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Neighbor, Ping, Pong};
use rand::RngExt;

use super::digest::Compared;
use super::membership::SLACK;
use super::message::Class;
use super::tree::Lazy;
use super::{Goodbye, LinkId, Mesh, Now, Output, Reason};

/// Silence before a neighbour is asked whether it lives.
const IDLE: Duration = Duration::from_secs(5);

/// Time for an answer to a probe: five round trips, within these.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// More time for whoever runs late, on either side: a hidden tab, a suspended machine (Lifeguard:
/// Dadgar, Phillips and Currey, 2017).
const LATE: Duration = Duration::from_secs(60);

/// Our own lateness is forgotten by half in this time.
const HALF_LIFE: Duration = Duration::from_secs(30);

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
    /// Anything came.
    last_heard: Now,
    /// Its NEIGHBOR came; until then the link is not up.
    neighbor: Option<Neighbor>,
    pub(super) up_since: Option<Now>,
    probe: Option<Pending>,
    pub(super) rtt: Option<Duration>,
    /// How late its peer's timers run, by its own word.
    lateness: Duration,
    /// Larger broadcasts go along it in whole.
    pub(super) eager: bool,
    pub(super) lazy: Lazy,
    pub(super) compared: Compared,
    /// Faults of its peer, and when they were last added up.
    pub(super) score: f32,
    pub(super) scored: Now,
}

impl Link {
    pub(super) fn new(
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
            last_heard: now,
            neighbor: None,
            up_since: None,
            probe: None,
            rtt: None,
            lateness: Duration::ZERO,
            eager: true,
            lazy: Lazy::default(),
            compared: Compared::default(),
            score: 0.0,
            scored: now,
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
    pub(super) fn spare(&self) -> bool {
        self.up_since.is_none() || self.neighbor.is_none_or(|neighbor| neighbor.links > 1)
    }

    fn probe_due(&self) -> Now {
        match (&self.probe, self.up_since) {
            // The original answers no probes; its connection's own liveness must do.
            _ if self.is_compat() => Now::MAX,
            (Some(probe), _) => probe.deadline,
            (None, None) => self.admitted + ACCEPT,
            (None, Some(_)) => self.last_heard + IDLE,
        }
    }

    pub(super) fn deadline(&self) -> Now {
        let others = [self.lazy.due(), self.compared.due()];
        others
            .into_iter()
            .flatten()
            .fold(self.probe_due(), Now::min)
    }
}

impl Mesh {
    pub(super) fn on_admitted(&mut self, now: Now, id: LinkId, link: Link) {
        if link.peer == self.settings.me || self.is_banned(link.peer) {
            return self.close_link(now, id, Some(Reason::Protocol));
        }
        let others = self.links.values().filter(|other| other.peer != link.peer);
        let others = others.count();
        let max_peers = self.settings.max_peers;
        let compat = link.is_compat();
        if others >= max_peers + SLACK || (compat && others >= max_peers) {
            return self.close_link(now, id, Some(Reason::Full));
        }
        self.links.insert(id, link);
        self.wake_for(id);
        if compat {
            self.replace_or_raise(now, id);
        } else {
            self.send_control(id, self.neighbor());
        }
    }

    pub(super) fn on_neighbor(&mut self, now: Now, id: LinkId, neighbor: Neighbor) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.neighbor.replace(neighbor).is_none() {
            self.replace_or_raise(now, id);
        }
    }

    /// Tells neighbours how many links there are.
    fn tell_links(&mut self) {
        let neighbor = self.neighbor();
        let links = self.mesh_links().map(|(id, _)| id).collect();
        self.send(links, neighbor, Class::Control);
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
            Some((_, Stays::Old)) => return self.close_link(now, id, Some(Reason::Duplicate)),
            Some((old, stays)) => {
                let restarted = stays == Stays::Restarted;
                self.leave_tree(old);
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
        self.wake_for(id);
        self.counters.links_opened += 1;
        if restarted {
            self.out.push_back(Output::Connect(peer));
        }
        self.join_tree(id);
        self.settle_exchanges(now, id);
        // It was told before its link counted.
        self.tell_links();
        if self.links.get(&id).is_some_and(|link| !link.is_compat()) {
            self.start_comparing(now, id);
            self.send_marks(id);
            // Later, the other side may always be the first to ask, and its questions are signs of life.
            self.probe(now, id, 0);
        }
        self.flush_pending(now);
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
        self.leave_tree(id);
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        self.forget_link(id);
        if let Some(keys) = link.keys {
            self.direct.learn_keys(now, link.peer, keys);
        }
        if link.up_since.is_some() {
            self.note_shaken(now);
            if self.missing() > 0 {
                self.seek_soon(now);
                self.unsettle(now);
            }
            self.out.push_back(Output::Disconnect(link.peer));
            self.tell_links();
        }
    }

    pub(super) fn close_link(&mut self, now: Now, id: LinkId, reason: Option<Reason>) {
        let goodbye = reason.map(|reason| self.goodbye(reason));
        self.out.push_back(Output::Close { link: id, goodbye });
        self.remove_link(now, id);
    }

    fn forget_link(&mut self, id: LinkId) {
        self.chunks.forget_link(id);
        self.tree.forget_link(id);
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

    pub(super) fn on_ping(&mut self, now: Now, id: LinkId, ping: Ping) {
        let (links, lateness_ms) = self.own_state(now);
        let pong = Pong {
            token: ping.token,
            links,
            lateness_ms,
        };
        self.send_control(id, pong);
        self.note_state(id, ping.links, ping.lateness_ms);
    }

    pub(super) fn on_pong(&mut self, now: Now, id: LinkId, pong: Pong) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.probe {
            Some(pending) if pending.token == pong.token => {
                link.rtt = Some(now.saturating_sub(pending.sent));
                link.probe = None;
                self.wake_for(id);
            }
            _ => {}
        }
        self.note_state(id, pong.links, pong.lateness_ms);
    }

    /// Probes the silent, gives up on the dead and on those that never accepted.
    pub(super) fn probe_links(&mut self, now: Now) {
        let due: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.probe_due() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            match link.probe {
                // Whatever it sent since, it lives.
                Some(probe) if link.last_heard > probe.sent => link.probe = None,
                Some(probe) if probe.misses + 1 >= MISSES => {
                    self.close_link(now, id, None);
                }
                Some(probe) => self.probe(now, id, probe.misses + 1),
                None if link.up_since.is_none() => self.close_link(now, id, None),
                None => self.probe(now, id, 0),
            }
        }
    }

    fn probe(&mut self, now: Now, id: LinkId, misses: u8) {
        let token = self.rng.random();
        let own = self.lateness(now) * 2;
        if let Some(link) = self.links.get_mut(&id) {
            let round_trips = link.rtt.map_or(PROBE.1, |rtt| rtt * 5);
            let patience = round_trips.clamp(PROBE.0, PROBE.1) + (link.lateness + own).min(LATE);
            link.probe = Some(Pending {
                token,
                sent: now,
                deadline: now + patience,
                misses,
            });
            self.wake_for(id);
            let (links, lateness_ms) = self.own_state(now);
            let ping = Ping {
                token,
                links,
                lateness_ms,
            };
            self.send_control(id, ping);
        }
    }

    /// What a probe says of us: our links, and how late our timers run, in milliseconds.
    fn own_state(&self, now: Now) -> (u32, u32) {
        let late = self.lateness(now).as_millis();
        let lateness_ms = u32::try_from(late).unwrap_or(u32::MAX);
        (self.neighbor().links, lateness_ms)
    }

    /// How late our own timers run of late.
    fn lateness(&self, now: Now) -> Duration {
        let (lateness, at) = self.late;
        let halvings = now.saturating_sub(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        lateness.mul_f64(0.5f64.powf(halvings))
    }

    /// Notes that a timer was due and not fired until now.
    pub(super) fn note_lateness(&mut self, now: Now, due: Now) {
        let late = now.saturating_sub(due);
        if late > Duration::ZERO && late > self.lateness(now) {
            self.late = (late, now);
        }
    }

    pub(super) fn on_max_peers(&mut self, max_peers: usize) {
        self.settings.max_peers = max_peers;
        self.tell_links();
    }

    fn note_state(&mut self, id: LinkId, links: u32, lateness_ms: u32) {
        if let Some(link) = self.links.get_mut(&id) {
            link.lateness = Duration::from_millis(lateness_ms.into());
            if let Some(neighbor) = &mut link.neighbor {
                neighbor.links = links;
            }
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
    pub fn neighbors(&self) -> impl Iterator<Item = NeighborView> {
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
    pub fn is_neighbor(&self, peer: PeerId) -> bool {
        self.links.values().any(|link| link.peer == peer)
    }

    /// The peer behind a link that is up.
    pub fn up_peer(&self, id: LinkId) -> Option<PeerId> {
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
pub struct NeighborView {
    pub peer: PeerId,
    pub offered: bool,
    pub up_since: Now,
    pub rtt: Option<Duration>,
    pub compat: bool,
}
