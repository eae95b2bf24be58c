//! Broadcasts that are followed from their author to their last receiver.

use std::collections::HashMap;

use easypeers_proto::MessageId;

use super::{Measures, float, highest, mean, percent};
use crate::index::{IndexSet, index};
use crate::time::{Time, to_seconds};

/// One followed broadcast.
#[derive(Debug)]
struct Broadcast {
    step: u32,
    origin: u32,
    at: Time,
    /// The peers that were members when it was sent.
    expected: IndexSet,
    got: IndexSet,
    delivered: u64,
    copies: u64,
    /// The highest hop count at an expected receiver.
    last_hop: u8,
    /// When the last expected receiver got it.
    last: Time,
    /// Links from the author to the farthest peer, breadth first.
    depth: usize,
}

/// A living peer that a step added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newcomer {
    pub(crate) peer: u32,
    pub(crate) born: Time,
}

/// All followed broadcasts.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    all: Vec<Broadcast>,
    by_id: HashMap<MessageId, u32>,
}

impl Broadcasts {
    /// Follows a broadcast from now on. `expected` are the peers that should get it.
    pub(crate) fn follow(
        &mut self,
        step: u32,
        origin: u32,
        id: MessageId,
        at: Time,
        expected: IndexSet,
        depth: usize,
    ) {
        self.by_id.insert(id, index(self.all.len()));
        self.all.push(Broadcast {
            step,
            origin,
            at,
            expected,
            got: IndexSet::default(),
            delivered: 0,
            copies: 0,
            last_hop: 0,
            last: at,
            depth,
        });
    }

    /// The author of the latest broadcast among those of the steps that `of_step` accepts.
    pub(crate) fn last_origin(&self, of_step: impl Fn(u32) -> bool) -> Option<u32> {
        let last = self.all.iter().rev().find(|it| of_step(it.step));
        last.map(|it| it.origin)
    }

    /// A copy arrived at any peer.
    pub(crate) fn count_copy(&mut self, id: &MessageId) {
        if let Some(broadcast) = self.by_id.get(id) {
            self.all[*broadcast as usize].copies += 1;
        }
    }

    /// A peer gave the broadcast to its application.
    pub(crate) fn count_delivery(&mut self, p: u32, id: &MessageId, hops: u8, at: Time) {
        if let Some(broadcast) = self.by_id.get(id) {
            let broadcast = &mut self.all[*broadcast as usize];
            broadcast.got.insert(p);
            broadcast.delivered += 1;
            // A peer that joined later and asked for the history is not the last receiver.
            if broadcast.expected.contains(p) {
                broadcast.last_hop = broadcast.last_hop.max(hops);
                broadcast.last = broadcast.last.max(at);
            }
        }
    }

    /// Measures the broadcasts of a step. `live` are the living peers, `newcomers` those that a step
    /// added, and `history` says how far back newcomers ask for messages.
    pub(crate) fn measure(
        &self,
        step: u32,
        label: &str,
        live: &[u32],
        newcomers: &[Newcomer],
        history: Time,
        all: &mut Measures,
    ) {
        let of_step = || self.all.iter().filter(|it| it.step == step);
        let reached = of_step().map(|it| it.reached(live));
        let (expected, got) = reached.fold((0, 0), |(e, g), (x, y)| (e + x, g + y));
        all.add(label, "messages", float(of_step().count()));
        all.add(label, "delivered_percent", percent(got, expected));
        all.add(label, "missed", (expected - got) as f64);
        let times = || of_step().map(|it| to_seconds(it.last - it.at));
        all.add(label, "time_mean_s", mean(times()));
        all.add(label, "time_s", highest(times()));
        let hops = || of_step().map(|it| f64::from(it.last_hop));
        all.add(label, "last_hop", highest(hops()));
        all.add(label, "last_hop_mean", mean(hops()));
        let depths = || of_step().map(|it| float(it.depth));
        all.add(label, "bfs_depth", highest(depths()));
        all.add(label, "bfs_depth_mean", mean(depths()));
        let (expected, got) = self.caught_up(step, newcomers, history);
        all.add(label, "history_percent", percent(got, expected));
        let copies = of_step().map(|it| it.copies).sum::<u64>() as f64;
        let delivered = of_step().map(|it| it.delivered).sum::<u64>() as f64;
        all.add(label, "extra_copies", copies / delivered - 1.0);
    }

    /// How many messages from before they joined the newcomers asked for, and how many they got.
    fn caught_up(&self, step: u32, newcomers: &[Newcomer], history: Time) -> (u64, u64) {
        let mut counts = (0, 0);
        for Newcomer { peer, born } in newcomers {
            let wanted = born.saturating_sub(history)..*born;
            let of_step = self.all.iter().filter(|it| it.step == step);
            for broadcast in of_step.filter(|it| wanted.contains(&it.at)) {
                counts.0 += 1;
                counts.1 += u64::from(broadcast.got.contains(*peer));
            }
        }
        counts
    }
}

impl Broadcast {
    /// How many of the living peers should have got it, and how many did.
    fn reached(&self, live: &[u32]) -> (u64, u64) {
        let mut counts = (0, 0);
        for p in live {
            if self.expected.contains(*p) {
                counts.0 += 1;
                counts.1 += u64::from(self.got.contains(*p));
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_broadcast_is_measured_at_the_members_and_its_history_at_the_newcomers() {
        let mut broadcasts = Broadcasts::default();
        let mut expected = IndexSet::default();
        for p in [1, 2, 3] {
            expected.insert(p);
        }
        let id = MessageId::new([1; 20]);
        broadcasts.follow(0, 9, id, SECOND, expected, 3);
        assert_eq!(broadcasts.last_origin(|step| step == 0), Some(9));
        assert_eq!(broadcasts.last_origin(|step| step == 1), None);
        for _ in 0..6 {
            broadcasts.count_copy(&id);
        }
        broadcasts.count_delivery(1, &id, 1, 2 * SECOND);
        broadcasts.count_delivery(2, &id, 2, 3 * SECOND);
        broadcasts.count_delivery(5, &id, 9, 60 * SECOND);
        let mut all = Measures::default();
        // Peer 3 is dead, peer 5 joined within the history and peer 6 after it.
        let newcomers = [(5, 10), (6, 50)].map(|(peer, born)| Newcomer {
            peer,
            born: born * SECOND,
        });
        broadcasts.measure(0, "x", &[1, 2, 5, 6], &newcomers, 20 * SECOND, &mut all);
        let values = all.into_values();
        let value = |name: &str| values.get(&format!("x.{name}")).copied();
        assert_eq!(value("delivered_percent"), Some(100.0));
        assert_eq!(value("time_s"), Some(2.0));
        assert_eq!(value("last_hop"), Some(2.0));
        assert_eq!(value("history_percent"), Some(100.0));
        assert_eq!(value("extra_copies"), Some(1.0));
    }
}
