//! Neighbors: the links of this peer, from admission to their end.
//!
//! A link is *admitted* once its peer has proven its keys, and *up* once both sides have accepted it
//! with NEIGHBOR. This state probes silent neighbours, finds dead ones, and keeps the score of those
//! that break rules. The other states read it and never change it.
//!
//! Two links to one peer are resolved alike on both sides: a newer epoch means that the peer has
//! restarted, and its link wins. Else, when the two offers crossed, the link stays whose offerer has the
//! lower address. Else, when one side made both, the link with the higher token stays.
//!
//! The probes wait longer for peers whose timers run late (Lifeguard: Dadgar, Phillips and Currey, 2017).

mod interface;
#[cfg(test)]
mod tests;

use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Frame, Neighbor, Ping, Pong};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::message::LinkId;
use crate::time::Now;

pub use interface::{Goodbye, Input, NeighborView, Output, Penalty, Reason};

/// Links above `max_peers` that are accepted while neighbours are exchanged for them.
pub const SLACK: usize = 2;

/// Silence after which a neighbour is probed.
const IDLE: Duration = Duration::from_secs(5);

/// Shortest and longest time for the answer to a probe. Between them, it is five round trips.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Most time added for timers that run late on either side: a hidden tab, a suspended machine.
const LATE: Duration = Duration::from_secs(60);

/// Our own lateness counts half as much after this time.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// Unanswered probes after which a neighbour is dead.
const MISSES: u8 = 3;

/// Time from our NEIGHBOR to theirs: a proof and a full round trip on a bad line take this long. A peer
/// that neither accepts nor refuses by then is let go.
const ACCEPT: Duration = Duration::from_secs(10);

/// Peers named in a goodbye, for a peer that needs others to try.
const PEERS_TO_TRY: usize = 8;

/// Points at which a neighbour is let go. One point is forgiven each second.
const LIMIT: f32 = 100.0;

/// How long a neighbour that broke the rules is kept out, and how many of them are remembered.
const BAN: Duration = Duration::from_secs(600);
const BANS: u32 = 1024;

/// A probe without an answer yet.
#[derive(Debug, Clone, Copy)]
struct Probe {
    token: u64,
    sent: Now,
    deadline: Now,
    misses: u8,
}

/// A link whose peer has proven its keys.
#[derive(Debug)]
pub struct Link {
    pub(crate) peer: PeerId,
    /// `None` for a peer of Easypeers 1.
    pub(crate) keys: Option<PublicKeys>,
    /// We made the offer.
    pub(crate) offered: bool,
    token: u64,
    admitted: Now,
    last_heard: Now,
    /// What its NEIGHBOR said. The link is not up before that came.
    said: Option<Neighbor>,
    pub(crate) up_since: Option<Now>,
    probe: Option<Probe>,
    pub(crate) rtt: Option<Duration>,
    /// How late its peer's timers run, by its own word.
    lateness: Duration,
    /// Points lost, and when they were last counted.
    score: f32,
    scored: Now,
}

impl Link {
    /// Whether its peer speaks the protocol of Easypeers 1 only.
    pub(crate) const fn is_v1(&self) -> bool {
        self.keys.is_none()
    }

    /// What its peer last said about itself.
    pub(crate) fn said(&self) -> Neighbor {
        self.said.unwrap_or(Neighbor {
            epoch: 0,
            links: 0,
            max_links: 0,
        })
    }

    /// Whether closing it leaves its peer with another link.
    pub(crate) fn is_spare(&self) -> bool {
        self.up_since.is_none() || self.said.is_none_or(|said| said.links > 1)
    }

    fn deadline(&self) -> Now {
        match (&self.probe, self.up_since) {
            // Easypeers 1 answers no probes. Its connection's own checks have to do.
            _ if self.is_v1() => Now::MAX,
            (Some(probe), _) => probe.deadline,
            (None, None) => self.admitted + ACCEPT,
            (None, Some(_)) => self.last_heard + IDLE,
        }
    }
}

/// Which of two links to one peer stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stays {
    Old,
    New,
    /// The new one, because the peer has restarted.
    Restarted,
}

/// The links of this peer.
#[derive(Debug)]
pub struct Neighbors {
    me: PeerId,
    /// When we started, in milliseconds since 1970.
    epoch: u64,
    max_peers: usize,
    links: Map<LinkId, Link>,
    /// No link is due before this. May be too early, never too late.
    due: Now,
    /// How late one of our timers was, and when.
    late: (Duration, Now),
    banned: ExpiringMap<PeerId, ()>,
    opened: u64,
    out: Vec<Output>,
}

impl Neighbors {
    /// No links yet. `epoch` is when we started, in milliseconds since 1970.
    #[must_use]
    pub fn new(me: PeerId, epoch: u64, max_peers: usize) -> Self {
        Self {
            me,
            epoch,
            max_peers,
            links: Map::default(),
            due: Now::MAX,
            late: (Duration::ZERO, Now::ZERO),
            banned: ExpiringMap::new(BANS, BAN),
            opened: 0,
            out: Vec::new(),
        }
    }

    /// Takes an input. Follow with [`take_outputs`](Self::take_outputs).
    pub fn handle(&mut self, now: Now, rng: &mut StdRng, input: Input) {
        match input {
            Input::Admitted {
                link,
                peer,
                keys,
                offered,
                token,
            } => {
                let state = Link {
                    peer,
                    keys,
                    offered,
                    token,
                    admitted: now,
                    last_heard: now,
                    said: None,
                    up_since: None,
                    probe: None,
                    rtt: None,
                    lateness: Duration::ZERO,
                    score: 0.0,
                    scored: now,
                };
                self.on_admitted(link, state);
            }
            Input::Neighbor(link, said) => self.on_neighbor(link, said),
            Input::Ping(link, ping) => self.on_ping(now, link, ping),
            Input::Pong(link, pong) => self.on_pong(now, link, pong),
            Input::Suspect(link) => self.on_suspect(now, rng, link),
            Input::SetMaxPeers(max_peers) => {
                self.max_peers = max_peers;
                self.tell_links();
            }
            Input::Overdue(link) => self.on_overdue(now, rng, link),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn on_admitted(&mut self, id: LinkId, link: Link) {
        if link.peer == self.me || self.is_banned(link.peer) {
            return self.out.push(Output::Close(id, Some(Reason::Protocol)));
        }
        let others = self.links.values().filter(|other| other.peer != link.peer);
        let others = others.count();
        let v1 = link.is_v1();
        if others >= self.max_peers + SLACK || (v1 && others >= self.max_peers) {
            return self.out.push(Output::Close(id, Some(Reason::Full)));
        }
        self.links.insert(id, link);
        self.wake_for(id);
        if v1 {
            self.out.push(Output::Accepted(id));
        } else {
            let ours = self.ours();
            self.send(id, ours);
        }
    }

    fn on_neighbor(&mut self, id: LinkId, said: Neighbor) {
        if let Some(link) = self.links.get_mut(&id)
            && link.said.replace(said).is_none()
        {
            self.out.push(Output::Accepted(id));
        }
    }

    /// The other link to the peer of this link that is up, and which of the two stays.
    pub(crate) fn rival(&self, id: LinkId) -> Option<(LinkId, Stays)> {
        let link = self.links.get(&id)?;
        let mut others = self.links.iter();
        others
            .find(|(_, other)| other.peer == link.peer && other.up_since.is_some())
            .map(|(other, state)| (*other, self.stays(link, state)))
    }

    fn stays(&self, new: &Link, old: &Link) -> Stays {
        let epoch = |link: &Link| link.said.map(|said| said.epoch);
        match epoch(new).cmp(&epoch(old)) {
            std::cmp::Ordering::Greater => return Stays::Restarted,
            std::cmp::Ordering::Less => return Stays::Old,
            std::cmp::Ordering::Equal => {}
        }
        let new_stays = if new.offered == old.offered {
            new.token > old.token
        } else {
            new.offered == (self.me < new.peer)
        };
        if new_stays { Stays::New } else { Stays::Old }
    }

    /// The link counts from now on.
    pub(crate) fn raise(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.up_since = Some(now);
        }
        self.wake_for(id);
        self.opened += 1;
    }

    /// The link is gone. What was known of it.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.links.remove(&id)
    }

    /// Tells the neighbours how many links we have.
    pub(crate) fn tell_links(&mut self) {
        let links: Vec<LinkId> = self.mesh_links().map(|(id, _)| id).collect();
        if !links.is_empty() {
            let ours = self.ours();
            self.out.push(Output::Send(links, ours.into()));
        }
    }

    /// What a goodbye with this reason says.
    pub(crate) fn goodbye(&self, reason: Reason) -> Goodbye {
        let peers = match reason {
            Reason::Full => self
                .mesh_links()
                .map(|(_, link)| link.peer)
                .take(PEERS_TO_TRY)
                .collect(),
            Reason::Duplicate | Reason::Protocol | Reason::Leaving | Reason::Split => Vec::new(),
        };
        Goodbye { reason, peers }
    }

    fn on_suspect(&mut self, now: Now, rng: &mut StdRng, id: LinkId) {
        let up = self.links.get(&id).filter(|link| link.up_since.is_some());
        if up.is_some_and(|link| !link.is_v1()) {
            // One probe decides: the connection itself has already missed several checks.
            self.probe_with(now, rng, id, MISSES - 1);
        }
    }

    fn on_ping(&mut self, now: Now, id: LinkId, ping: Ping) {
        let answer = Pong {
            token: ping.token,
            links: self.ours().links,
            lateness_ms: self.lateness_ms(now),
        };
        self.send(id, answer);
        self.note_said(id, ping.links, ping.lateness_ms);
    }

    fn on_pong(&mut self, now: Now, id: LinkId, pong: Pong) {
        if let Some(link) = self.links.get_mut(&id) {
            if let Some(probe) = link.probe.filter(|probe| probe.token == pong.token) {
                link.rtt = Some(now.saturating_sub(probe.sent));
                link.probe = None;
                self.wake_for(id);
            }
            self.note_said(id, pong.links, pong.lateness_ms);
        }
    }

    fn note_said(&mut self, id: LinkId, links: u32, lateness_ms: u32) {
        if let Some(link) = self.links.get_mut(&id) {
            link.lateness = Duration::from_millis(lateness_ms.into());
            if let Some(said) = &mut link.said {
                said.links = links;
            }
        }
    }

    /// Links that were silent for too long, or whose peers never accepted them. Each is to be given to
    /// [`Input::Overdue`].
    pub(crate) fn overdue(&self, now: Now) -> Vec<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.deadline() <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    fn on_overdue(&mut self, now: Now, rng: &mut StdRng, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        match link.probe {
            // Whatever it has sent since shows that it lives.
            Some(probe) if link.last_heard > probe.sent => link.probe = None,
            Some(probe) if probe.misses + 1 >= MISSES => self.out.push(Output::Close(id, None)),
            Some(probe) => self.probe_with(now, rng, id, probe.misses + 1),
            None if link.up_since.is_none() => self.out.push(Output::Close(id, None)),
            None => self.probe_with(now, rng, id, 0),
        }
    }

    /// Probes a link that has just come up. Without that the other side might always be the first to ask, and
    /// its questions would count as signs of life.
    pub(crate) fn probe(&mut self, now: Now, rng: &mut StdRng, id: LinkId) {
        self.probe_with(now, rng, id, 0);
    }

    fn probe_with(&mut self, now: Now, rng: &mut StdRng, id: LinkId, misses: u8) {
        let token = rng.random();
        let own = self.lateness(now) * 2;
        if let Some(link) = self.links.get_mut(&id) {
            let round_trips = link.rtt.map_or(PROBE.1, |rtt| rtt * 5);
            let patience = round_trips.clamp(PROBE.0, PROBE.1) + (link.lateness + own).min(LATE);
            link.probe = Some(Probe {
                token,
                sent: now,
                deadline: now + patience,
                misses,
            });
            self.wake_for(id);
            let ping = Ping {
                token,
                links: self.ours().links,
                lateness_ms: self.lateness_ms(now),
            };
            self.send(id, ping);
        }
    }

    /// How late our own timers have run.
    fn lateness(&self, now: Now) -> Duration {
        let (lateness, at) = self.late;
        let halvings = now.saturating_sub(at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        lateness.mul_f64(0.5f64.powf(halvings))
    }

    fn lateness_ms(&self, now: Now) -> u32 {
        u32::try_from(self.lateness(now).as_millis()).unwrap_or(u32::MAX)
    }

    /// Notes that a timer was due at `due` and fires only now.
    pub(crate) fn note_lateness(&mut self, now: Now, due: Now) {
        let late = now.saturating_sub(due);
        if late > Duration::ZERO && late > self.lateness(now) {
            self.late = (late, now);
        }
    }

    /// Something came along this link.
    pub(crate) fn heard(&mut self, now: Now, id: LinkId) -> bool {
        let link = self.links.get_mut(&id);
        link.map(|link| link.last_heard = now).is_some()
    }

    /// A neighbour breaks a rule. Whether it is to be let go.
    pub(crate) fn penalize(&mut self, now: Now, id: LinkId, penalty: Penalty) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        let forgiven = now.saturating_sub(link.scored).as_secs_f32();
        link.score = (link.score - forgiven).max(0.0) + penalty.points();
        link.scored = now;
        let banned = (link.score >= LIMIT).then_some(link.peer);
        if let Some(peer) = banned {
            self.ban(now, peer);
        }
        banned.is_some()
    }

    /// Keeps a peer out for ten minutes.
    pub(crate) fn ban(&mut self, now: Now, peer: PeerId) {
        self.banned.insert(now, peer, ());
    }

    /// Whether this peer is kept out.
    #[must_use]
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.banned.contains(&peer)
    }

    pub(crate) fn expire(&mut self, now: Now) {
        self.banned.expire(now);
    }

    /// When a link wants something done, at the earliest.
    pub(crate) const fn due(&self) -> Now {
        self.due
    }

    pub(crate) fn next_due(&self) -> Now {
        let deadlines = self.links.values().map(Link::deadline);
        deadlines.fold(Now::MAX, Now::min)
    }

    pub(crate) fn plan(&mut self) {
        self.due = self.next_due();
    }

    fn wake_for(&mut self, id: LinkId) {
        if let Some(link) = self.links.get(&id) {
            self.due = self.due.min(link.deadline());
        }
    }

    fn send(&mut self, link: LinkId, frame: impl Into<Frame>) {
        self.out.push(Output::Send(vec![link], frame.into()));
    }

    /// What we say about ourselves.
    fn ours(&self) -> Neighbor {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Neighbor {
            epoch: self.epoch,
            links: count(self.up_links().count()),
            max_links: count(self.max_peers),
        }
    }

    /// Our own address.
    #[must_use]
    pub const fn me(&self) -> PeerId {
        self.me
    }

    /// Links that we want.
    #[must_use]
    pub const fn max_peers(&self) -> usize {
        self.max_peers
    }

    /// Links that came up since the start.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// Links, those included that only one side has accepted.
    pub(crate) const fn count(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    /// Links that both sides accepted, those to peers of Easypeers 1 included.
    pub(crate) fn up_links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links
            .iter()
            .filter(|(_, link)| link.up_since.is_some())
            .map(|(id, link)| (*id, link))
    }

    /// Links that are up, to peers that speak our frames.
    pub(crate) fn mesh_links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.up_links().filter(|(_, link)| !link.is_v1())
    }

    /// The mesh links but one.
    pub(crate) fn others(&self, not: Option<LinkId>) -> Vec<LinkId> {
        self.mesh_links()
            .map(|(id, _)| id)
            .filter(|id| Some(*id) != not)
            .collect()
    }

    pub(crate) fn has_mesh_link(&self) -> bool {
        self.mesh_links().next().is_some()
    }

    pub(crate) fn is_up(&self, id: LinkId) -> bool {
        self.links
            .get(&id)
            .is_some_and(|link| link.up_since.is_some())
    }

    /// The link to a neighbour.
    pub(crate) fn link_to(&self, peer: PeerId) -> Option<LinkId> {
        self.up_links()
            .find(|(_, link)| link.peer == peer)
            .map(|(id, _)| id)
    }

    /// The peer at the other end of a link that is up.
    #[must_use]
    pub fn up_peer(&self, id: LinkId) -> Option<PeerId> {
        let link = self.links.get(&id)?;
        link.up_since.map(|_| link.peer)
    }

    /// Whether there is a link to this peer, up or not.
    #[must_use]
    pub fn has(&self, peer: PeerId) -> bool {
        self.links.values().any(|link| link.peer == peer)
    }

    /// The keys of a peer that there is a link to.
    pub(crate) fn keys_of(&self, peer: PeerId) -> Option<PublicKeys> {
        let mut links = self.links.values();
        links.find(|link| link.peer == peer)?.keys
    }

    /// The neighbours whose links are up.
    pub fn view(&self) -> impl Iterator<Item = NeighborView> {
        self.links.values().filter_map(|link| {
            Some(NeighborView {
                peer: link.peer,
                offered: link.offered,
                up_since: link.up_since?,
                rtt: link.rtt,
                compat: link.is_v1(),
            })
        })
    }
}
