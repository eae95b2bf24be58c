//! The script of a run: does the steps of a scenario to the world.
//!
//! In: the events of steps. Out: peers that start, stop and send, and more events.

use rand::RngExt;

use crate::connections;
use crate::event::Event;
use crate::graph;
use crate::index::index;
use crate::lifecycle;
use crate::measure::{Goal, Measures, Newcomer, float, highest, mean};
use crate::scenario::{Action, Scenario, Step};
use crate::time::{MS, SECOND, Time, from_seconds, to_seconds};
use crate::turn;
use crate::world::World;

/// Direct messages in a row to one receiver that has broadcast something.
const WARM_FOR: u32 = 4;

/// A newcomer should have two links after this time.
const WELCOME: Time = 5 * SECOND;

/// The steps of a scenario and the peers that they add.
#[derive(Debug)]
pub(crate) struct Script {
    steps: Vec<Step>,
    /// The number of peers that the run was asked for.
    size: usize,
    /// Peers that have not started yet.
    expected: usize,
    /// The peers that steps added, with their step.
    newcomers: Vec<(u32, u32)>,
}

impl Script {
    pub(crate) fn new(scenario: &Scenario, size: usize) -> Self {
        Self {
            steps: scenario.steps.clone(),
            size,
            expected: 0,
            newcomers: Vec::new(),
        }
    }

    /// A part of the number of peers that the run was asked for.
    fn part(&self, share: f64) -> usize {
        (self.size as f64 * share).round() as usize
    }

    /// Starts the first peers: this part of all, within this time.
    pub(crate) fn start(&mut self, world: &mut World, share: f64, over: Time) {
        let first = self.part(share);
        self.join(world, None, first, over);
    }

    /// The measured part of the run begins.
    pub(crate) fn begin(&self, world: &mut World) {
        for (at, step) in self.steps.iter().enumerate() {
            let due = world.now + from_seconds(step.at);
            world.queue.push(due, Event::Step(index(at)));
        }
        world.costs.restart(world.now);
        world.queue.push(world.now, Event::Look);
    }

    /// This many peers start within a time.
    fn join(&mut self, world: &mut World, step: Option<u32>, count: usize, over: Time) {
        self.expected += count;
        for _ in 0..count {
            let at = world.now + world.rng.random_range(0..=over);
            world.queue.push(at, Event::Join(step));
        }
    }

    pub(crate) fn on_join(&mut self, world: &mut World, step: Option<u32>) {
        self.expected -= 1;
        let p = lifecycle::start(world);
        self.newcomers.extend(step.map(|step| (step, p)));
    }

    /// Whether peers are still to start.
    pub(crate) const fn expects_peers(&self) -> bool {
        self.expected > 0
    }

    pub(crate) fn on_step(&mut self, world: &mut World, step: u32) {
        let now = world.now;
        match self.steps[step as usize].action {
            Action::Join {
                share,
                count,
                over_s,
            } => {
                let count = count + self.part(share);
                self.join(world, Some(step), count, from_seconds(over_s));
            }
            Action::Kill { share } => stop(world, share, true),
            Action::Leave { share } => stop(world, share, false),
            Action::Tracker { up } => lifecycle::set_tracker(world, up),
            Action::Churn { rate, for_s } => self.churn(world, step, rate, for_s),
            Action::Publish { count, .. } => {
                let left = index(count);
                world.queue.push(now, Event::Publish { step, left });
            }
            Action::Direct { count, .. } => {
                let left = index(count);
                world.queue.push(now, Event::Direct { step, left });
            }
            Action::Partition { share, for_s } => {
                let peers = world.peers.random_part(share, &mut world.rng);
                world.checks.disturb(now);
                for c in world.network.split(&peers) {
                    connections::sever(world, c);
                }
                world.queue.push(now + from_seconds(for_s), Event::Heal);
            }
            Action::Droppers { share } => {
                world.checks.disturb(now);
                for p in world.peers.random_part(share, &mut world.rng) {
                    world.peers[p].dropper = true;
                }
            }
            Action::Flood { .. } => {
                if let Some(peer) = world.peers.random_member(&mut world.rng) {
                    world.floods.begin(step, peer, now);
                    world.queue.push(now, Event::Flood(step));
                }
            }
            Action::Await {
                whole,
                share,
                mean_degree,
                bridges,
            } => {
                let goal = Goal {
                    whole,
                    share,
                    mean_degree,
                    bridges,
                };
                world.watches.begin(step, now, goal);
            }
            Action::Count {} => world.costs.restart(now),
        }
    }

    fn churn(&mut self, world: &mut World, step: u32, rate: f64, for_s: f64) {
        let over = from_seconds(for_s);
        let count = self.part(rate * for_s);
        for _ in 0..count {
            let at = world.now + world.rng.random_range(0..=over);
            world.queue.push(at, Event::Kill);
        }
        self.join(world, Some(step), count, over);
    }

    pub(crate) fn on_publish(&self, world: &mut World, step: u32, left: u32) {
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
        let of_sender = |other: u32| {
            let label = &self.steps[other as usize].label;
            other == step || !sender.is_empty() && label == sender
        };
        let before = world.broadcasts.last_origin(of_sender);
        let same = before.filter(|p| !many && world.peers[*p].alive);
        let sender = same.or_else(|| world.peers.random_member(&mut world.rng));
        if let Some(p) = sender {
            publish(world, step, p, size);
        }
        if left > 1 {
            let at = world.now + from_seconds(every_s);
            let left = left - 1;
            world.queue.push(at, Event::Publish { step, left });
        }
    }

    pub(crate) fn on_direct(&self, world: &mut World, step: u32, left: u32) {
        let Action::Direct {
            every_s,
            size,
            warm,
            ..
        } = self.steps[step as usize].action
        else {
            return;
        };
        let from = world.peers.random_member(&mut world.rng);
        let (to, new) = match world.directs.last_receiver() {
            Some(last) if warm && !left.is_multiple_of(WARM_FOR) => (Some(last), false),
            _ => (world.peers.random_member(&mut world.rng), warm),
        };
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            if new {
                turn::take(world, to, |turn| {
                    turn.publish(16);
                });
            }
            let at = world.now + if warm { 2 * SECOND } else { 0 };
            let direct = world.directs.plan(step, from, to, size, at);
            world.queue.push(at, Event::SendDirect(direct));
        }
        if left > 1 {
            let at = world.now + from_seconds(every_s);
            let left = left - 1;
            world.queue.push(at, Event::Direct { step, left });
        }
    }

    /// A millisecond of a flood.
    pub(crate) fn on_flood(&self, world: &mut World, step: u32) {
        let Action::Flood { rate, for_s, size } = self.steps[step as usize].action else {
            return;
        };
        let Some((peer, since)) = world.floods.of_step(step) else {
            return;
        };
        if world.peers[peer].degree == 0 {
            world.floods.note_cut(step, world.now);
        }
        let from = world.now - since;
        let messages = |time: Time| to_seconds(time) * rate;
        let mut sent = messages(from).floor();
        while sent < messages(from + MS).floor() {
            turn::take(world, peer, |turn| turn.flood(size));
            sent += 1.0;
        }
        if world.now < since + from_seconds(for_s) {
            world.queue.push(world.now + MS, Event::Flood(step));
        }
    }

    /// Measures what each step was for.
    pub(crate) fn measure(&self, world: &World, all: &mut Measures) {
        let alive = |p: u32| world.peers[p].alive;
        let newcomers = self.newcomers.iter().map(|(_, p)| *p);
        let newcomers = newcomers.filter(|p| alive(*p)).map(|peer| Newcomer {
            peer,
            born: world.peers[peer].born,
        });
        let newcomers: Vec<_> = newcomers.collect();
        let live = world.peers.live();
        for (at, step) in self.steps.iter().enumerate() {
            let (at, label) = (index(at), step.label.as_str());
            match step.action {
                Action::Publish { .. } => {
                    let broadcasts = &world.broadcasts;
                    broadcasts.measure(at, label, live, &newcomers, world.history, all);
                }
                Action::Direct { .. } => world.directs.measure(at, label, alive, all),
                Action::Join { .. } | Action::Churn { .. } => {
                    self.measure_newcomers(world, at, label, all);
                }
                Action::Await { .. } => world.watches.measure(at, label, all),
                Action::Flood { .. } => world.floods.measure(at, label, all),
                _ => {}
            }
        }
    }

    fn measure_newcomers(&self, world: &World, step: u32, label: &str, all: &mut Measures) {
        let mut times = Vec::new();
        let mut count = 0;
        let of_step = self.newcomers.iter().filter(|(of, _)| *of == step);
        for peer in of_step.map(|(_, p)| &world.peers[*p]) {
            // A peer that died or has only just joined says nothing.
            if peer.alive && peer.born + WELCOME <= world.now {
                count += 1;
                times.extend(peer.second_link.map(|at| to_seconds(at - peer.born)));
            }
        }
        let limit = to_seconds(WELCOME);
        let soon = times.iter().filter(|time| **time <= limit).count();
        all.add(label, "newcomers", f64::from(count));
        let percent = |some: usize| 100.0 * float(some) / f64::from(count);
        all.add(label, "two_links_in_5s_percent", percent(soon));
        all.add(label, "two_links_percent", percent(times.len()));
        all.add(label, "two_links_s", highest(times.iter().copied()));
        all.add(label, "two_links_mean_s", mean(times.into_iter()));
    }
}

/// Stops a random part of the living peers.
fn stop(world: &mut World, share: f64, silently: bool) {
    world.checks.disturb(world.now);
    for p in world.peers.random_part(share, &mut world.rng) {
        lifecycle::stop(world, p, silently);
    }
}

/// Kills a random peer.
pub(crate) fn kill(world: &mut World) {
    if let Some(p) = world.peers.random(&mut world.rng) {
        lifecycle::stop(world, p, true);
    }
}

/// A peer broadcasts a message that is followed.
fn publish(world: &mut World, step: u32, p: u32, size: usize) {
    let mut id = None;
    turn::take(world, p, |turn| id = Some(turn.publish(size)));
    let (Some(id), Some(live_at)) = (id, world.peers.live_at(p)) else {
        return;
    };
    let expected = world.members_except(p);
    let depth = graph::depth(world.peers.live().len(), world.edges(), live_at);
    let broadcasts = &mut world.broadcasts;
    // The first copies are still on their way, because every link takes time.
    broadcasts.follow(step, p, id, world.now, expected, depth);
}
