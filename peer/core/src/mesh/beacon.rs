//! Beacons: in every slot of a minute one member floods a signed sign of life, so that two meshes of
//! one topic that do not know of each other find out when they touch, and a member finds out that its
//! neighbours keep everything from it.
//!
//! Nobody is elected. Each member draws a time in the slot, the later the more likely, and keeps quiet
//! once it hears somebody else: of N members the first is due about 2 s before the second, whatever N
//! is, and a flood takes less than that.

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{self, MAX_BEACONS};
use rand::RngExt;

use super::message::Signed;
use super::{LinkId, Mesh, Now, Output};

/// Length of a slot.
const SLOT_MS: u64 = 60_000;

/// Between the first and the second of those who would speak, in the middle.
const STEP: Duration = Duration::from_secs(2);

/// Steps up to the last: with 2^18 members the first is due after two of them.
const STEPS: f64 = 20.0;

/// Beacons of one slot that are passed on: more come only of those who spoke at the same moment, or
/// of liars.
const PER_SLOT: usize = 4;

/// Slots remembered.
const SLOTS: u64 = 4;

/// Slots in a row in which we heard nobody before we doubt our neighbours.
const DEAF: u32 = 4;

/// In smaller swarms one may well be the first four times in a row.
const DEAF_SWARM: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Beacons {
    /// By slot, ascending.
    heard: VecDeque<(u64, MessageId)>,
    slot: u64,
    /// When we speak, if nobody did.
    due: Option<Now>,
    /// Slots in a row in which nobody but us spoke.
    alone: u32,
    others: bool,
    /// When we last missed two links or more: what was heard until then may have come from the other side
    /// of what broke.
    shaken: Option<Now>,
}

impl Beacons {
    fn count(&self, slot: u64) -> usize {
        self.heard.iter().filter(|(at, _)| *at == slot).count()
    }
}

impl Mesh {
    const fn slot_of(ms: u64) -> u64 {
        ms / SLOT_MS
    }

    /// A link was lost.
    pub(super) fn note_shaken(&mut self, now: Now) {
        if self.missing() > 1 {
            self.beacons.shaken = Some(now);
        }
    }

    /// When the slot ends, or we speak.
    pub(super) fn beacon_deadline(&self) -> Option<Now> {
        self.mesh_links().next()?;
        let end = (self.beacons.slot + 1) * SLOT_MS;
        let end = Duration::from_millis(end.saturating_sub(self.settings.started_ms));
        Some(self.beacons.due.map_or(end, |due| due.min(end)))
    }

    pub(super) fn tend_beacons(&mut self, now: Now) {
        if self.mesh_links().next().is_none() {
            return;
        }
        let slot = Self::slot_of(self.wall_ms(now));
        if slot != self.beacons.slot {
            self.start_slot(now, slot);
            self.expire(now);
        }
        if self.beacons.due.is_some_and(|due| due <= now) {
            self.beacons.due = None;
            self.out.push_back(Output::Beacon);
        }
    }

    fn start_slot(&mut self, now: Now, slot: u64) {
        let state = &mut self.beacons;
        // Who just came has not heard who spoke before.
        let whole = slot == state.slot + 1;
        state.alone = if whole && !state.others {
            state.alone + 1
        } else {
            0
        };
        state.others = false;
        state.slot = slot;
        while let Some((at, _)) = state.heard.front()
            && at + SLOTS < slot
        {
            state.heard.pop_front();
        }
        let into = self.wall_ms(now) % SLOT_MS;
        let steps = (STEPS + self.rng.random_range(f64::EPSILON..1.0).log2()).max(0.0);
        let wait = STEP
            .mul_f64(steps)
            .saturating_sub(Duration::from_millis(into));
        let quiet = whole && self.beacons.count(slot) == 0;
        self.beacons.due = quiet.then_some(now + wait);
        if self.beacons.alone >= DEAF && self.swarm_size >= DEAF_SWARM {
            self.beacons.alone = 0;
            self.doubt_neighbors(now);
        }
    }

    /// Nothing came from anybody for minutes: the neighbours that were there all the time go, and are
    /// not taken again soon. One stays until others are there.
    fn doubt_neighbors(&mut self, now: Now) {
        let long = Duration::from_millis(SLOT_MS * u64::from(DEAF - 1));
        let old: Vec<(LinkId, easypeers_proto::PeerId)> = (self.mesh_links())
            .filter(|(_, link)| link.up_since.is_some_and(|up| now >= up + long))
            .map(|(id, link)| (id, link.peer))
            .collect();
        for (id, peer) in old.into_iter().skip(1) {
            self.ban(now, peer);
            self.close_link(now, id, Some(super::Reason::Protocol));
        }
    }

    /// A beacon is here, ours or another's; whether it is worth passing on, if it is one at all.
    pub(super) fn on_beacon(&mut self, now: Now, beacon: &Signed) -> Option<bool> {
        let slot = Self::slot_of(beacon.time_ms);
        let current = Self::slot_of(self.wall_ms(now));
        if slot.abs_diff(current) > 1 || !beacon.payload().is_empty() {
            return None;
        }
        let state = &mut self.beacons;
        state.others |= beacon.origin != self.settings.me;
        if slot == current {
            state.due = None;
        }
        let wanted = state.count(slot) < PER_SLOT;
        if wanted {
            let at = state.heard.partition_point(|(at, _)| *at <= slot);
            state.heard.insert(at, (slot, beacon.id));
        }
        Some(wanted)
    }

    /// Tells a new neighbour what was heard.
    pub(super) fn send_marks(&mut self, link: LinkId) {
        let heard = &self.beacons.heard;
        let beacons: Vec<(u64, MessageId)> =
            heard.iter().rev().take(MAX_BEACONS).copied().collect();
        if !beacons.is_empty() {
            self.send_control(link, frame::Beacons { beacons });
        }
    }

    /// What a new neighbour has heard: if it was nothing of what we heard, in two whole slots that
    /// both of us have heard of, we are of two meshes.
    pub(super) fn on_marks(&mut self, now: Now, link: LinkId, marks: &[(u64, MessageId)]) {
        let current = Self::slot_of(self.wall_ms(now));
        let whole = |slot: u64| slot < current && slot + SLOTS > current;
        let marks: Vec<(u64, MessageId)> = marks
            .iter()
            .filter(|(slot, _)| whole(*slot))
            .copied()
            .collect();
        let heard = &self.beacons.heard;
        let ours = || heard.iter().filter(|(slot, _)| whole(*slot));
        if ours().next().is_none() {
            // A newcomer compares its neighbours with each other.
            self.beacons.heard.extend(marks);
            self.beacons.heard.make_contiguous().sort_unstable();
            return;
        }
        if ours().any(|mark| marks.contains(mark)) {
            let since = self
                .beacons
                .shaken
                .map(|at| Self::slot_of(self.wall_ms(at)));
            let after = |slot: u64| since.is_none_or(|since| slot > since);
            if ours().any(|mark| after(mark.0) && marks.contains(mark)) {
                self.on_same_mesh(now, link);
            } else {
                self.on_other_mesh(now, link);
            }
            return;
        }
        let mut both: Vec<u64> = ours().map(|(slot, _)| *slot).collect();
        both.retain(|slot| marks.iter().any(|(theirs, _)| theirs == slot));
        both.dedup();
        if both.len() >= 2 {
            self.merge(now, link);
        }
        self.on_other_mesh(now, link);
    }
}
