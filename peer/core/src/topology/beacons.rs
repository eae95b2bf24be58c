//! Beacons: once a minute one member floods a signed sign of life of the whole mesh. Two meshes of
//! one topic that do not know of each other find out when they touch, and a member finds out that its neighbours
//! keep everything from it.
//!
//! Nobody is elected. Each member draws a time in the slot, later times being more likely, and keeps quiet once
//! it has heard another one. Among N members the first is due about 2 s before the second, whatever N
//! is, and a flood takes less than that.

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::wire::frame::MAX_BEACONS;
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::message::Signed;
use crate::time::Now;

/// Length of a slot.
const SLOT_MS: u64 = 60_000;

/// Median time between the first and the second member that would send a beacon.
const STEP: Duration = Duration::from_secs(2);

/// Steps in the draw. With 2^18 members, the first is due after two of them.
const STEPS: f64 = 20.0;

/// Beacons of one slot that are passed on. More of them come only from members that sent at the same moment, or
/// from liars.
const PER_SLOT: usize = 4;

/// Slots remembered.
const SLOTS: u64 = 4;

/// Slots in a row without another member's beacon, after which we doubt our neighbours.
const DEAF: u32 = 4;

/// In a smaller swarm, one member may well be the first four times in a row.
const DEAF_SWARM: usize = 16;

/// How long a neighbour must have been there to be doubted.
pub(super) const DOUBTED: Duration = Duration::from_millis(SLOT_MS * (DEAF - 1) as u64);

/// What the beacons of a new neighbour show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// We have heard nothing that could be compared.
    Unknown,
    /// It is in our mesh.
    Same,
    /// It may be in another mesh.
    Other,
    /// It is in another mesh: in two whole slots we have heard different beacons.
    Apart,
}

/// What a new slot starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotStarted {
    /// Nothing has come from any other member for minutes.
    pub(super) deaf: bool,
}

/// The beacons heard in the last minutes.
#[derive(Debug)]
pub(super) struct Beacons {
    /// When we started, in milliseconds since 1970.
    started_ms: u64,
    /// By slot, ascending.
    heard: VecDeque<(u64, MessageId)>,
    slot: u64,
    /// When we send ours, if nobody else has.
    due: Option<Now>,
    /// Slots in a row in which only we sent one.
    alone: u32,
    heard_others: bool,
    /// When we last missed two links or more. What was heard until then may have come from the other side of
    /// a break.
    broken: Option<Now>,
}

impl Beacons {
    pub(super) const fn new(started_ms: u64) -> Self {
        Self {
            started_ms,
            heard: VecDeque::new(),
            slot: 0,
            due: None,
            alone: 0,
            heard_others: false,
            broken: None,
        }
    }

    fn wall_ms(&self, now: Now) -> u64 {
        let passed = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(passed)
    }

    fn slot_at(&self, now: Now) -> u64 {
        slot_of(self.wall_ms(now))
    }

    fn count(&self, slot: u64) -> usize {
        self.heard.iter().filter(|(at, _)| *at == slot).count()
    }

    /// Several links are missing.
    pub(super) const fn note_broken(&mut self, now: Now) {
        self.broken = Some(now);
    }

    /// When the slot ends, or ours is due.
    pub(super) fn deadline(&self) -> Now {
        let end = (self.slot + 1) * SLOT_MS;
        let end = Duration::from_millis(end.saturating_sub(self.started_ms));
        self.due.map_or(end, |due| due.min(end))
    }

    /// Starts the slot of this time, if it is not the current one.
    pub(super) fn start_slot(
        &mut self,
        now: Now,
        rng: &mut StdRng,
        swarm_size: usize,
    ) -> Option<SlotStarted> {
        let slot = self.slot_at(now);
        if slot == self.slot {
            return None;
        }
        // A newcomer has not heard who was first before it came.
        let whole = slot == self.slot + 1;
        self.alone = if whole && !self.heard_others {
            self.alone + 1
        } else {
            0
        };
        self.heard_others = false;
        self.slot = slot;
        while let Some((at, _)) = self.heard.front()
            && at + SLOTS < slot
        {
            self.heard.pop_front();
        }
        let into = self.wall_ms(now) % SLOT_MS;
        let steps = (STEPS + rng.random_range(f64::EPSILON..1.0).log2()).max(0.0);
        let wait = STEP
            .mul_f64(steps)
            .saturating_sub(Duration::from_millis(into));
        let quiet = whole && self.count(slot) == 0;
        self.due = quiet.then_some(now + wait);
        let deaf = self.alone >= DEAF && swarm_size >= DEAF_SWARM;
        if deaf {
            self.alone = 0;
        }
        Some(SlotStarted { deaf })
    }

    /// Whether it is our turn to send a beacon now.
    pub(super) fn take_turn(&mut self, now: Now) -> bool {
        let due = self.due.is_some_and(|due| due <= now);
        if due {
            self.due = None;
        }
        due
    }

    /// A beacon is here, ours or another one. Whether it is to be passed on; `None` if it is not of this time.
    pub(super) fn on_beacon(&mut self, now: Now, me: PeerId, beacon: &Signed) -> Option<bool> {
        let slot = slot_of(beacon.time_ms);
        let current = self.slot_at(now);
        if slot.abs_diff(current) > 1 || !beacon.payload().is_empty() {
            return None;
        }
        self.heard_others |= beacon.origin != me;
        if slot == current {
            self.due = None;
        }
        let wanted = self.count(slot) < PER_SLOT;
        if wanted {
            let at = self.heard.partition_point(|(at, _)| *at <= slot);
            self.heard.insert(at, (slot, beacon.id));
        }
        Some(wanted)
    }

    /// What we tell a new neighbour.
    pub(super) fn latest(&self) -> Vec<(u64, MessageId)> {
        let latest = self.heard.iter().rev();
        latest.take(MAX_BEACONS).copied().collect()
    }

    /// Compares what a new neighbour has heard with what we have. If that is different in two whole slots in
    /// which both have heard something, we are in two meshes.
    pub(super) fn compare(&mut self, now: Now, theirs: &[(u64, MessageId)]) -> Verdict {
        let current = self.slot_at(now);
        let whole = |slot: u64| slot < current && slot + SLOTS > current;
        let theirs: Vec<(u64, MessageId)> = (theirs.iter())
            .filter(|(slot, _)| whole(*slot))
            .copied()
            .collect();
        let ours = || self.heard.iter().filter(|(slot, _)| whole(*slot));
        if ours().next().is_none() {
            // A newcomer compares its neighbours with each other.
            self.heard.extend(theirs);
            self.heard.make_contiguous().sort_unstable();
            return Verdict::Unknown;
        }
        if ours().any(|beacon| theirs.contains(beacon)) {
            let since = self.broken.map(|at| self.slot_at(at));
            let after = |slot: u64| since.is_none_or(|since| slot > since);
            let same = ours().any(|beacon| after(beacon.0) && theirs.contains(beacon));
            return if same { Verdict::Same } else { Verdict::Other };
        }
        let mut both: Vec<u64> = ours().map(|(slot, _)| *slot).collect();
        both.retain(|slot| theirs.iter().any(|(other, _)| other == slot));
        both.dedup();
        if both.len() >= 2 {
            Verdict::Apart
        } else {
            Verdict::Other
        }
    }
}

const fn slot_of(ms: u64) -> u64 {
    ms / SLOT_MS
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const STARTED_MS: u64 = 1_700_000_000_000;

    fn id(byte: u8) -> MessageId {
        MessageId::new([byte; 20])
    }

    /// Beacons in the fifth slot from the start, with one beacon in each slot before it.
    fn heard(first: u8) -> (Beacons, Now) {
        let mut beacons = Beacons::new(STARTED_MS);
        let now = Duration::from_millis(5 * SLOT_MS);
        let current = beacons.slot_at(now);
        let slots = (1..5).zip(first..);
        beacons.heard = slots.map(|(ago, byte)| (current - ago, id(byte))).collect();
        beacons.heard.make_contiguous().sort_unstable();
        (beacons, now)
    }

    #[test]
    fn common_beacons_show_one_mesh_and_different_ones_two() {
        let (mut ours, now) = heard(1);
        let (same, other) = (heard(1).0.latest(), heard(100).0.latest());
        assert_eq!(ours.compare(now, &same), Verdict::Same);
        assert_eq!(ours.compare(now, &other), Verdict::Apart);
        assert_eq!(
            ours.compare(now, &other[1..2]),
            Verdict::Other,
            "one slot is no proof"
        );
        ours.note_broken(now);
        assert_eq!(
            ours.compare(now, &same),
            Verdict::Other,
            "from before the break"
        );
    }

    #[test]
    fn a_newcomer_takes_over_what_its_first_neighbour_heard() {
        let (theirs, now) = heard(1);
        let mut ours = Beacons::new(STARTED_MS);
        assert_eq!(ours.compare(now, &theirs.latest()), Verdict::Unknown);
        assert_eq!(ours.compare(now, &theirs.latest()), Verdict::Same);
    }

    #[test]
    fn four_slots_without_another_member_are_suspicious() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut beacons = Beacons::new(STARTED_MS);
        let mut deaf = Vec::new();
        for slot in 0..8 {
            let now = Duration::from_millis(slot * SLOT_MS);
            let started = beacons.start_slot(now, &mut rng, DEAF_SWARM).unwrap();
            deaf.push(started.deaf);
            assert!(beacons.start_slot(now, &mut rng, DEAF_SWARM).is_none());
        }
        assert_eq!(
            deaf,
            [false, false, false, false, true, false, false, false]
        );
    }
}
