//! Rules that must hold at every step. Debug builds check them from outside the cores: from the packets
//! on the links and the outputs of the cores. A run that breaks a rule panics with the seed.
//!
//! - A peer never has more links than allowed, and no link that one of its sides has not accepted.
//! - A broadcast is never sent to a neighbor that is known to have it, unless that neighbor asked for
//!   it. The application gets it once.
//! - A link is closed in favor of another one only when that one is up. A neighbor that has no other
//!   link is not closed for being one too many.
//! - While the tracker is up, no peer stays below two links.

use std::collections::{HashMap, HashSet};

use easypeers_proto::wire::frame::{Digest, Frame, IHave};
use easypeers_proto::{MessageId, PeerId};

use crate::packet::Packet;
use crate::time::{SECOND, Time};
use easypeers_core::mesh::{Goodbye, Reason};
use easypeers_core::message::Signed;

pub(crate) const ON: bool = cfg!(debug_assertions);

/// Links above the limit that a core may count for a moment.
const SLACK: usize = 2;

/// The mesh is at rest when this time has passed since the last disturbance of all of it.
const REST: Time = 60 * SECOND;

/// In a mesh at rest no peer stays below two links for longer.
const LOCKED_OUT: Time = 30 * SECOND;

/// One side of a connection: the connection and the number of the side.
type Side = (u32, usize);

/// `Err` says which rule is broken.
pub(crate) type Verdict = Result<(), &'static str>;

/// What the checks know of the run, for the limit on links and for the message of a panic.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RunInfo {
    pub(crate) seed: u64,
    pub(crate) size: usize,
    /// Links that a peer may keep.
    pub(crate) max_peers: usize,
}

/// What the peers know of each other, as far as the packets on the links show it.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    run: RunInfo,
    /// Sides that sent NEIGHBOR.
    accepted: HashSet<Side>,
    /// How many links the other side last said it has.
    reported: HashMap<Side, u32>,
    /// Messages that the other side has, or that are on their way there.
    known: HashSet<(Side, MessageId)>,
    /// Messages that the other side asked for.
    asked: HashSet<(Side, MessageId)>,
    /// The peers that have a message according to the copy that a peer took.
    has: HashMap<(u32, MessageId), Vec<PeerId>>,
    delivered: HashSet<(u32, MessageId)>,
    /// When the whole mesh was last disturbed.
    disturbed: Time,
}

/// What happened to a peer's links in one turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnLinks {
    /// Links that the mesh counts.
    pub(crate) counted: usize,
    /// Links that the simulator saw come up.
    pub(crate) seen: usize,
    pub(crate) risen: u32,
    /// Links closed in favor of others.
    pub(crate) replaced: u32,
}

impl Checks {
    pub(crate) fn new(run: RunInfo) -> Self {
        Self {
            run,
            ..Self::default()
        }
    }

    /// The whole mesh is disturbed: peers die, or cannot reach each other or the tracker.
    pub(crate) const fn disturb(&mut self, now: Time) {
        self.disturbed = now;
    }

    /// # Panics
    /// If the verdict is an error.
    pub(crate) fn hold(&self, now: Time, p: u32, verdict: Verdict) {
        if let Err(what) = verdict {
            let RunInfo { seed, size, .. } = self.run;
            panic!("{what}: peer {p} at {now} us, seed {seed}, {size} peers");
        }
    }

    /// A peer sends something along a link.
    pub(crate) fn on_sent(&mut self, p: u32, side: Side, to: PeerId, packet: &Packet) -> Verdict {
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
        let new = self.known.insert((side, id));
        if self.asked.remove(&(side, id)) {
            return Ok(());
        }
        let named = self.has.get(&(p, id)).is_some_and(|has| has.contains(&to));
        match () {
            () if !new => Err("a copy to a neighbor that has it"),
            () if message.origin == to => Err("a copy to its author"),
            () if named => Err("a copy to a peer that was named as having it"),
            () => Ok(()),
        }
    }

    /// A peer takes a packet from a link. `up` says whether it counts the link. Not called for a
    /// broadcast that is refused unread.
    pub(crate) fn on_taken(&mut self, p: u32, side: Side, up: bool, packet: &Packet) {
        match packet {
            Packet::Frame(Frame::Neighbor(neighbor)) => {
                self.reported.insert(side, neighbor.links);
            }
            Packet::Frame(Frame::Ping(ping)) => {
                self.reported.insert(side, ping.links);
            }
            Packet::Frame(Frame::Pong(pong)) => {
                self.reported.insert(side, pong.links);
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

    /// A copy of a broadcast arrives that the peer has.
    pub(crate) fn on_duplicate(&mut self, side: Side, id: MessageId) {
        self.known.insert((side, id));
    }

    pub(crate) fn on_delivered(&mut self, p: u32, id: MessageId) -> Verdict {
        let new = self.delivered.insert((p, id));
        new.then_some(()).ok_or("a message delivered twice")
    }

    /// A peer closes a link that it counts. Without a goodbye it takes the neighbor for dead.
    pub(crate) fn on_close(&self, side: Side, goodbye: Option<&Goodbye>) -> Verdict {
        let too_many = goodbye.is_some_and(|goodbye| goodbye.reason == Reason::Full);
        let others = self.reported.get(&side).is_some_and(|links| *links > 1);
        (!too_many || others)
            .then_some(())
            .ok_or("a neighbor without another link closed for being one too many")
    }

    /// A peer begins to count a link. `admitted` says whether its own handshakes are done.
    pub(crate) fn on_up(&self, c: u32, admitted: bool) -> Verdict {
        let accepted = [0, 1]
            .iter()
            .all(|side| self.accepted.contains(&(c, *side)));
        (accepted && admitted)
            .then_some(())
            .ok_or("a link counted that its sides have not both accepted")
    }

    /// A peer's turn is over.
    pub(crate) fn on_turn(&self, links: TurnLinks) -> Verdict {
        match () {
            () if links.counted > self.run.max_peers + SLACK => Err("more links than allowed"),
            () if links.counted != links.seen => Err("a link counted that was not seen coming up"),
            () if links.replaced > links.risen => Err("a link closed for one that is not up"),
            () => Ok(()),
        }
    }

    /// A peer has had fewer than two links since then.
    pub(crate) fn on_low(&self, since: Time, now: Time) -> Verdict {
        let until = since.max(self.disturbed + REST) + LOCKED_OUT;
        (until >= now)
            .then_some(())
            .ok_or("below two links for too long")
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
    fn a_copy_travels_along_a_link_once_unless_it_is_asked_for() {
        let mut checks = Checks::default();
        let copy = copy(Vec::new());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_ok());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_err());
        let ids = vec![MessageId::new([1; 20])];
        checks.on_taken(1, HERE, true, &Packet::Frame(Pull { ids }.into()));
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_ok());
        assert!(checks.on_sent(1, HERE, peer(2), &copy).is_err());
        // The receiver must not send it back.
        checks.on_taken(2, (7, 1), true, &copy);
        assert!(checks.on_sent(2, (7, 1), peer(1), &copy).is_err());
    }

    #[test]
    fn a_peer_may_be_lonely_only_for_a_while() {
        let mut checks = Checks::default();
        checks.disturb(SECOND);
        let rest = SECOND + REST + LOCKED_OUT;
        assert!(checks.on_low(0, rest).is_ok());
        assert!(checks.on_low(0, rest + 1).is_err());
        assert!(checks.on_low(rest, rest + LOCKED_OUT).is_ok());
        assert!(checks.on_low(rest, rest + LOCKED_OUT + 1).is_err());
    }

    #[test]
    fn a_copy_is_not_sent_to_a_peer_that_is_known_to_have_it() {
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
    fn a_link_is_accepted_by_both_sides_and_lonely_neighbors_are_kept() {
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
