//! Direct messages that are followed from their sender to their receipt.

use std::collections::HashMap;

use easypeers_proto::MessageId;

use super::{Measures, mean, percent};
use crate::index::index;
use crate::time::{SECOND, Time};

/// A direct message, planned or sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Direct {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Bytes of its payload.
    pub(crate) size: usize,
    step: u32,
    at: Time,
    /// Frames sent for it.
    sends: u64,
    arrived: Option<Time>,
    receipt: Option<Time>,
    hops: u8,
}

/// All direct messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Directs {
    all: Vec<Direct>,
    by_id: HashMap<MessageId, u32>,
}

impl Directs {
    /// Plans a message that is sent at `at`. Returns its number.
    pub(crate) fn plan(&mut self, step: u32, from: u32, to: u32, size: usize, at: Time) -> u32 {
        let direct = index(self.all.len());
        self.all.push(Direct {
            from,
            to,
            size,
            step,
            at,
            sends: 0,
            arrived: None,
            receipt: None,
            hops: 0,
        });
        direct
    }

    pub(crate) fn planned(&self, direct: u32) -> Direct {
        self.all[direct as usize]
    }

    pub(crate) fn last_receiver(&self) -> Option<u32> {
        self.all.last().map(|direct| direct.to)
    }

    /// The message travels under this id.
    pub(crate) fn name(&mut self, direct: u32, id: MessageId) {
        self.by_id.insert(id, direct);
    }

    fn of_id(&mut self, id: &MessageId) -> Option<&mut Direct> {
        let direct = self.by_id.get(id)?;
        self.all.get_mut(*direct as usize)
    }

    pub(crate) fn count_sends(&mut self, id: &MessageId, links: usize) {
        if let Some(direct) = self.of_id(id) {
            direct.sends += links as u64;
        }
    }

    pub(crate) fn count_arrival(&mut self, id: &MessageId, at: Time) {
        if let Some(direct) = self.of_id(id) {
            direct.arrived = Some(at);
        }
    }

    pub(crate) fn count_receipt(&mut self, id: &MessageId, hops: u8, at: Time) {
        if let Some(direct) = self.of_id(id) {
            direct.receipt = Some(at);
            direct.hops = hops;
        }
    }

    /// Measures the messages of a step whose sender and receiver are still alive.
    pub(crate) fn measure(
        &self,
        step: u32,
        label: &str,
        alive: impl Fn(u32) -> bool,
        all: &mut Measures,
    ) {
        let counts = |it: &&Direct| it.step == step && alive(it.from) && alive(it.to);
        let of_step = || self.all.iter().filter(counts);
        let count = of_step().count() as u64;
        let within = |limit: Time| {
            let kept = |it: &&Direct| it.arrived.is_some_and(|at| at <= it.at + limit);
            percent(of_step().filter(kept).count() as u64, count)
        };
        let received = || of_step().filter(|it| it.receipt.is_some());
        let receipts = received().count() as u64;
        for (name, value) in [
            ("messages", count as f64),
            ("within_1s_percent", within(SECOND)),
            ("within_2s_percent", within(2 * SECOND)),
            ("arrived_percent", within(Time::MAX / 2)),
            ("receipts_percent", percent(receipts, count)),
            ("sends", mean(of_step().map(|it| it.sends as f64))),
            ("hops", mean(received().map(|it| f64::from(it.hops)))),
        ] {
            all.add(label, name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_measured_while_both_its_peers_live() {
        let mut directs = Directs::default();
        for (number, to) in [2, 3, 4].into_iter().enumerate() {
            let direct = directs.plan(0, 1, to, 10, SECOND);
            directs.name(direct, MessageId::new([number as u8; 20]));
        }
        assert_eq!(directs.last_receiver(), Some(4));
        let [first, second, third] = [0, 1, 2].map(|number| MessageId::new([number; 20]));
        directs.count_sends(&first, 4);
        directs.count_arrival(&first, SECOND * 3 / 2);
        directs.count_receipt(&first, 2, SECOND * 2);
        directs.count_arrival(&second, SECOND * 5 / 2);
        directs.count_sends(&third, 100);
        let mut all = Measures::default();
        directs.measure(0, "x", |p| p != 4, &mut all);
        let values = all.into_values();
        let value = |name: &str| values.get(&format!("x.{name}")).copied();
        assert_eq!(value("messages"), Some(2.0));
        assert_eq!(value("within_1s_percent"), Some(50.0));
        assert_eq!(value("within_2s_percent"), Some(100.0));
        assert_eq!(value("receipts_percent"), Some(50.0));
        assert_eq!(value("sends"), Some(2.0));
        assert_eq!(value("hops"), Some(2.0));
    }
}
