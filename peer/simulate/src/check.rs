//! What must hold at every step; looked at in debug builds, from outside the cores: from what went
//! along links and what the cores say. A run that breaks one of these ends with a panic that names
//! the seed.
//!
//! - Never more links than allowed, and none that one of its sides has not accepted.
//! - A broadcast is never sent to a neighbour that is known to have it, unless that asked for it, and
//!   is given to the application once.
//! - A link is closed for another one only when that is up; a neighbour that has no other link is
//!   not let go for being one too many.
//! - With a tracker, nobody stays below two links.

use std::collections::{HashMap, HashSet};

use easypeers_proto::wire::frame::{Digest, Frame, IHave};
use easypeers_proto::{MessageId, PeerId};

use super::packet::Packet;
use super::time::{SECOND, Time};
use super::world::World;
use easypeers_core::mesh::{Goodbye, Mesh, Reason};
use easypeers_core::message::Signed;

pub(super) const ON: bool = cfg!(debug_assertions);

/// Links above `max_peers` that a core may count for a moment.
const SLACK: usize = 2;

/// A mesh is at rest so long after something bad happened to all of it.
const REST: Time = 60 * SECOND;

/// Nobody stays below two links for longer, in a mesh at rest.
const LOCKED_OUT: Time = 30 * SECOND;

/// One side of a connection: what the peer there has sent and received.
type Side = (u32, usize);

/// What went along links, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Sides that sent NEIGHBOR.
    accepted: HashSet<Side>,
    /// Links of the other side, by its last word.
    told: HashMap<Side, u32>,
    /// The other side has it, or it is on its way there.
    known: HashSet<(Side, MessageId)>,
    /// The other side asked for it.
    asked: HashSet<(Side, MessageId)>,
    /// Who has it, by the copy that a peer took.
    has: HashMap<(u32, MessageId), Vec<PeerId>>,
    delivered: HashSet<(u32, MessageId)>,
    /// When something bad happened last.
    pub(super) disturbed: Time,
}

type Verdict = Result<(), &'static str>;

impl Checks {
    /// A peer sends something along a link.
    pub(super) fn on_sent(&mut self, p: u32, side: Side, to: PeerId, packet: &Packet) -> Verdict {
        match packet {
            Packet::Frame(Frame::Neighbor(_)) => {
                self.accepted.insert(side);
            }
            Packet::Gossip { message, .. } => return self.on_copy(p, side, to, message),
            Packet::Frame(_) => {}
        }
        Ok(())
    }

    fn on_copy(&mut self, p: u32, side: Side, to: PeerId, message: &Signed) -> Verdict {
        let id = message.id;
        let news = self.known.insert((side, id));
        if self.asked.remove(&(side, id)) {
            return Ok(());
        }
        let named = self.has.get(&(p, id)).is_some_and(|has| has.contains(&to));
        match () {
            () if !news => Err("a copy along a link whose other end has it"),
            () if message.origin == to => Err("a copy to its author"),
            () if named => Err("a copy to one that was named as having it"),
            () => Ok(()),
        }
    }

    /// A peer takes something from a link that it counts or not. Not called for a broadcast that is
    /// refused unread.
    pub(super) fn on_taken(&mut self, p: u32, side: Side, up: bool, packet: &Packet) {
        match packet {
            Packet::Frame(Frame::Neighbor(neighbor)) => {
                self.told.insert(side, neighbor.links);
            }
            Packet::Frame(Frame::Ping(ping)) => {
                self.told.insert(side, ping.links);
            }
            Packet::Frame(Frame::Pong(pong)) => {
                self.told.insert(side, pong.links);
            }
            _ if !up => {}
            Packet::Gossip { message, has, .. } => {
                self.known.insert((side, message.id));
                self.has
                    .entry((p, message.id))
                    .or_insert_with(|| has.clone());
            }
            Packet::Frame(Frame::IHave(IHave { ids, .. }) | Frame::Digest(Digest { ids, .. })) => {
                self.known.extend(ids.iter().map(|id| (side, *id)));
            }
            Packet::Frame(Frame::Pull(pull)) => {
                self.asked.extend(pull.ids.iter().map(|id| (side, *id)));
            }
            Packet::Frame(_) => {}
        }
    }

    /// A copy of a broadcast that the peer has.
    pub(super) fn on_duplicate(&mut self, side: Side, id: MessageId) {
        self.known.insert((side, id));
    }

    pub(super) fn on_delivered(&mut self, p: u32, id: MessageId) -> Verdict {
        let new = self.delivered.insert((p, id));
        new.then_some(()).ok_or("a message given twice")
    }

    /// A peer closes a link that it counts.
    pub(super) fn on_close(&self, side: Side, goodbye: Option<&Goodbye>) -> Verdict {
        let too_many = goodbye.is_some_and(|goodbye| goodbye.reason == Reason::Full);
        let others = self.told.get(&side).is_some_and(|links| *links > 1);
        (!too_many || others)
            .then_some(())
            .ok_or("a neighbour without another link let go for being too many")
    }

    /// A peer begins to count a link.
    pub(super) fn on_up(&self, c: u32, admitted: bool) -> Verdict {
        let accepted = [0, 1]
            .iter()
            .all(|side| self.accepted.contains(&(c, *side)));
        (accepted && admitted)
            .then_some(())
            .ok_or("a link counted that is not proven")
    }
}

/// A peer's turn is over, in which so many links came up, and so many were closed for others.
pub(super) fn on_turn(world: &World, p: u32, mesh: &Mesh, risen: u32, replaced: u32) {
    let links = mesh.neighbors().count();
    let noted = world.peers[p as usize].degree as usize;
    let verdict = match () {
        () if links > world.max_peers + SLACK => Err("more links than allowed"),
        () if links != noted => Err("a link counted that nobody saw come up"),
        () if replaced > risen => Err("a link closed for one that is not up"),
        () => Ok(()),
    };
    hold(world, p, verdict);
}

/// # Panics
/// If it does not hold.
pub(super) fn hold(world: &World, p: u32, verdict: Verdict) {
    if let Err(what) = verdict {
        let World {
            seed, size, now, ..
        } = world;
        panic!("{what}: peer {p} at {now} us, seed {seed}, {size} peers");
    }
}

/// Nobody stays below two links, with a tracker in a mesh at rest. Peers whose timers run a minute
/// late and those that break the rules are not promised anything.
pub(super) fn on_look(world: &World) {
    if !world.tracker.up || world.network.is_split() || world.live.len() < 3 {
        return;
    }
    let rested = world.checks.disturbed + REST;
    for p in &world.live {
        let peer = &world.peers[*p as usize];
        let waits = peer.low_since.map(|since| since.max(rested) + LOCKED_OUT);
        let floods = world.floods.iter().any(|flood| flood.peer == *p);
        if waits.is_some_and(|until| until < world.now) && peer.timers.0 <= SECOND && !floods {
            hold(world, *p, Err("below two links for too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use easypeers_proto::crypto::PublicKeys;
    use easypeers_proto::crypto::envelope::{Content, Kind};
    use easypeers_proto::wire::frame::{Neighbor, Pull, Pushed};

    use super::*;

    const HERE: Side = (7, 0);

    fn peer(number: u8) -> PeerId {
        PeerId::new([number; 20])
    }

    fn copy(has: Vec<PeerId>) -> Packet {
        let message = Signed {
            id: MessageId::new([1; 20]),
            origin: peer(9),
            keys: PublicKeys::new([0; 64]),
            kind: Kind::Broadcast,
            content: Content::Binary,
            epoch: 0,
            time_ms: 0,
            sequence: 1,
            bytes: vec![0; 8].into(),
            payload: 0..8,
        };
        Packet::Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has,
            message: Arc::new(message),
        }
    }

    #[test]
    fn a_copy_goes_along_a_link_once_unless_it_is_asked_for() {
        let mut checks = Checks::default();
        let copy = copy(Vec::new());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_ok());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_err());
        let ids = vec![MessageId::new([1; 20])];
        checks.on_taken(1, HERE, true, &Packet::Frame(Pull { ids }.into()));
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_ok());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_err());
        // From the other side: it has what it was sent.
        checks.on_taken(2, (7, 1), true, &copy);
        assert!(checks.on_sent(2, (7, 1), peer(1), &copy).is_err());
    }

    #[test]
    fn a_copy_goes_to_nobody_that_is_known_to_have_it() {
        let mut checks = Checks::default();
        let id = MessageId::new([1; 20]);
        let ids = vec![id];
        let announced = Packet::Frame(IHave { ids, pull: false }.into());
        checks.on_taken(1, (1, 0), true, &announced);
        checks.on_taken(1, (2, 0), true, &copy(vec![peer(3)]));
        let plain = copy(Vec::new());
        assert!(
            checks.on_sent(1, (1, 0), peer(1), &plain).is_err(),
            "announced"
        );
        assert!(
            checks.on_sent(1, (2, 0), peer(2), &plain).is_err(),
            "came from"
        );
        assert!(checks.on_sent(1, (3, 0), peer(3), &plain).is_err(), "named");
        assert!(
            checks.on_sent(1, (4, 0), peer(9), &plain).is_err(),
            "author"
        );
        assert!(checks.on_sent(1, (5, 0), peer(5), &plain).is_ok());
        assert!(checks.on_delivered(1, id).is_ok());
        assert!(checks.on_delivered(1, id).is_err(), "twice");
    }

    #[test]
    fn a_link_is_proven_by_both_sides_and_the_lonely_are_kept() {
        let mut checks = Checks::default();
        let word = |links| {
            let neighbor = Neighbor {
                epoch: 0,
                links,
                max_links: 6,
            };
            Packet::Frame(neighbor.into())
        };
        assert!(checks.on_sent(1, (7, 0), peer(2), &word(1)).is_ok());
        assert!(checks.on_up(7, true).is_err(), "one side only");
        assert!(checks.on_sent(2, (7, 1), peer(1), &word(1)).is_ok());
        assert!(checks.on_up(7, true).is_ok());
        assert!(checks.on_up(7, false).is_err(), "not admitted there");
        let full = Goodbye {
            reason: Reason::Full,
            peers: Vec::new(),
        };
        checks.on_taken(1, (7, 0), true, &word(1));
        assert!(checks.on_close((7, 0), Some(&full)).is_err());
        checks.on_taken(1, (7, 0), true, &word(2));
        assert!(checks.on_close((7, 0), Some(&full)).is_ok());
    }
}
