//! What a scenario lets happen.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::index::index;
use super::measure::{Direct, Flood, Tracked, Watch};
use super::scenario::Action;
use super::time::{MS, SECOND, Time, from_seconds, to_seconds};
use super::world::{What, World};

/// Messages in a row to a receiver that has broadcast something.
const WARM_FOR: u32 = 4;

impl World {
    /// The start is over: the steps are laid out in time, and costs counted.
    pub(super) fn begin(&mut self) {
        for at in 0..self.steps.len() {
            let due = self.now + from_seconds(self.steps[at].at);
            self.queue.push(due, What::Step(index(at)));
        }
        self.count_costs();
        self.queue.push(self.now, What::Look);
    }

    /// So many peers start within a time.
    pub(super) fn join(&mut self, step: Option<u32>, count: usize, over: Time) {
        self.coming += count;
        for _ in 0..count {
            let at = self.now + self.rng.random_range(0..=over);
            self.queue.push(at, What::Join(step));
        }
    }

    pub(super) fn on_step(&mut self, step: u32) {
        match self.steps[step as usize].action {
            Action::Join {
                share,
                count,
                over_s,
            } => {
                let count = count + self.part(share);
                self.join(Some(step), count, from_seconds(over_s));
            }
            Action::Kill { share } => {
                self.disturb();
                for p in self.some(share) {
                    self.stop_peer(p, true);
                }
            }
            Action::Leave { share } => {
                self.disturb();
                for p in self.some(share) {
                    self.stop_peer(p, false);
                }
            }
            Action::Tracker { up } => self.set_tracker(up),
            Action::Churn { rate, for_s } => self.churn(step, rate, for_s),
            Action::Publish { count, .. } => {
                let left = index(count);
                self.queue.push(self.now, What::Publish { step, left });
            }
            Action::Direct { count, .. } => {
                let left = index(count);
                self.queue.push(self.now, What::Direct { step, left });
            }
            Action::Partition { share, for_s } => {
                let peers = self.some(share);
                self.disturb();
                for c in self.network.split(&peers) {
                    self.cut(c);
                }
                self.queue.push(self.now + from_seconds(for_s), What::Heal);
            }
            Action::Droppers { share } => {
                self.disturb();
                for p in self.some(share) {
                    self.peers[p as usize].dropper = true;
                }
            }
            Action::Flood { .. } => {
                if let Some(peer) = self.member() {
                    self.floods.push(Flood::new(step, peer, self.now));
                    self.queue.push(self.now, What::Flood(step));
                }
            }
            Action::Await {
                whole,
                share,
                mean_degree,
                bridges,
            } => self.watches.push(Watch {
                step,
                since: self.now,
                whole,
                share,
                mean_degree,
                bridges,
                reached: None,
            }),
            Action::Count {} => self.count_costs(),
        }
    }

    /// A part of the living, at random.
    fn some(&mut self, share: f64) -> Vec<u32> {
        let count = (self.live.len() as f64 * share).round() as usize;
        let mut all = self.live.clone();
        let (some, _) = all.partial_shuffle(&mut self.rng, count);
        some.to_vec()
    }

    fn churn(&mut self, step: u32, rate: f64, for_s: f64) {
        let over = from_seconds(for_s);
        let count = self.part(rate * for_s);
        for _ in 0..count {
            let at = self.now + self.rng.random_range(0..=over);
            self.queue.push(at, What::Kill);
        }
        self.join(Some(step), count, over);
    }

    pub(super) fn on_kill(&mut self) {
        if !self.live.is_empty() {
            let at = self.rng.random_range(0..self.live.len());
            self.stop_peer(self.live[at], true);
        }
    }

    /// A random member that has a link.
    fn member(&mut self) -> Option<u32> {
        let members = self.live.len();
        (0..100).find_map(|_| {
            let p = *self.live.get(self.rng.random_range(0..members.max(1)))?;
            (self.peers[p as usize].degree > 0).then_some(p)
        })
    }

    pub(super) fn on_publish(&mut self, step: u32, left: u32) {
        let Action::Publish {
            every_s,
            size,
            many,
            ref sender,
            ..
        } = self.steps[step as usize].action
        else {
            return;
        };
        let theirs = |tracked: &&Tracked| {
            let label = &self.steps[tracked.step as usize].label;
            tracked.step == step || !sender.is_empty() && label == sender
        };
        let before = self.tracked.iter().rev().find(theirs);
        let before = before.map(|tracked| tracked.origin);
        let same = before.filter(|p| !many && self.peers[*p as usize].alive);
        if let Some(p) = same.or_else(|| self.member()) {
            let mut id = None;
            // Known before its first copies are on their way.
            let at = self.now;
            self.turn(p, |turn| id = Some(turn.publish(size)));
            if let Some(id) = id {
                self.track(step, p, id, at);
            }
        }
        if left > 1 {
            let at = self.now + from_seconds(every_s);
            self.queue.push(
                at,
                What::Publish {
                    step,
                    left: left - 1,
                },
            );
        }
    }

    pub(super) fn on_direct(&mut self, step: u32, left: u32) {
        let Action::Direct {
            every_s,
            size,
            warm,
            ..
        } = self.steps[step as usize].action
        else {
            return;
        };
        let from = self.member();
        let heard = self.directs.last().map(|direct| direct.to);
        let (to, new) = match heard {
            Some(heard) if warm && !left.is_multiple_of(WARM_FOR) => (Some(heard), false),
            _ => (self.member(), warm),
        };
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            if new {
                self.turn(to, |turn| {
                    turn.publish(16);
                });
            }
            let direct = index(self.directs.len());
            let at = self.now + if warm { 2 * SECOND } else { 0 };
            self.directs.push(Direct::new(step, from, to, size, at));
            self.queue.push(at, What::SendDirect(direct));
        }
        if left > 1 {
            let at = self.now + from_seconds(every_s);
            self.queue.push(
                at,
                What::Direct {
                    step,
                    left: left - 1,
                },
            );
        }
    }

    pub(super) fn on_send_direct(&mut self, direct: u32) {
        let from = self.directs[direct as usize].from;
        self.turn(from, |turn| turn.send_direct(direct));
    }

    /// A millisecond of a flood.
    pub(super) fn on_flood(&mut self, step: u32) {
        let Action::Flood { rate, for_s, size } = self.steps[step as usize].action else {
            return;
        };
        let Some(at) = self.floods.iter().position(|flood| flood.step == step) else {
            return;
        };
        let Flood { peer, since, .. } = self.floods[at];
        let links = self.peers[peer as usize].degree;
        if links == 0 && self.floods[at].cut.is_none() {
            self.floods[at].cut = Some(self.now);
        }
        let from = self.now - since;
        let messages = |time: Time| to_seconds(time) * rate;
        let mut sent = messages(from).floor();
        while sent < messages(from + MS).floor() {
            self.turn(peer, |turn| turn.flood(size));
            sent += 1.0;
        }
        if self.now < since + from_seconds(for_s) {
            self.queue.push(self.now + MS, What::Flood(step));
        }
    }
}
