//! What came of a run, beside the bars.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::index::index;
use super::measure::{Direct, Tracked};
use super::scenario::{Action, Bar, Scenario};
use super::time::{SECOND, Time, to_seconds};
use super::world::World;

/// A newcomer has two links after so long.
const WELCOME: Time = 5 * SECOND;

/// A measured figure beside its bar.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Figure {
    /// What was measured.
    pub measure: String,
    /// `None` if it never came to be.
    pub value: Option<f64>,
    /// The bar, if there is one for so many peers.
    pub at_most: Option<f64>,
    /// As above.
    pub at_least: Option<f64>,
    /// Whether the bar is kept; true without one.
    pub kept: bool,
    /// How much worse than before it may be.
    #[serde(skip)]
    tolerance: Option<f64>,
}

impl Figure {
    /// How much worse than an earlier value it may be: chance moves it with every change. Without a
    /// word in the scenario, a quarter of what is to be small, a hundredth of what is to be large.
    pub(super) fn tolerance(&self, before: f64) -> f64 {
        let part = if self.at_most.is_some() { 0.25 } else { 0.01 };
        self.tolerance.unwrap_or(before * part)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub title: String,
    /// Peers asked for.
    pub peers: usize,
    /// The seed.
    pub seed: u64,
    /// Events that happened.
    pub events: u64,
    /// A number that no other run has.
    pub digest: String,
    /// Figures with bars.
    pub figures: Vec<Figure>,
    /// All figures.
    pub measures: BTreeMap<String, f64>,
}

impl Report {
    /// Whether all bars are kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.figures.iter().all(|figure| figure.kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} ({} peers, seed {}, {} events)",
            self.scenario, self.title, self.peers, self.seed, self.events
        )?;
        for figure in &self.figures {
            let value = figure
                .value
                .map_or_else(|| "never".to_owned(), |value| format!("{value:.3}"));
            let bar = match (figure.at_most, figure.at_least) {
                (Some(most), _) => format!("<= {most}"),
                (None, Some(least)) => format!(">= {least}"),
                (None, None) => "-".to_owned(),
            };
            let kept = match (figure.kept, bar.as_str()) {
                (_, "-") => "",
                (true, _) => "kept",
                (false, _) => "MISSED",
            };
            writeln!(f, "  {:<34} {value:>12}  {bar:<12} {kept}", figure.measure)?;
        }
        Ok(())
    }
}

fn float(number: usize) -> f64 {
    number as f64
}

fn share(some: u64, all: u64) -> f64 {
    if all == 0 {
        return f64::NAN;
    }
    100.0 * some as f64 / all as f64
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count)
}

fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, f64::max)
}

/// Figures by name.
#[derive(Debug, Default)]
struct Measures(BTreeMap<String, f64>);

impl Measures {
    fn add(&mut self, label: &str, name: &str, value: f64) {
        if value.is_finite() {
            let dot = if label.is_empty() { "" } else { "." };
            self.0.insert(format!("{label}{dot}{name}"), value);
        }
    }
}

impl World {
    /// What came of it; with the bytes allocated before it began, and how to learn those allocated now.
    pub(super) fn report(
        mut self,
        scenario: &Scenario,
        peers: usize,
        seed: u64,
        memory: Option<(usize, fn() -> usize)>,
    ) -> Report {
        let mut all = Measures::default();
        self.measure_graph(&mut all);
        self.measure_costs(&mut all);
        for (at, step) in self.steps.iter().enumerate() {
            let at = index(at);
            let label = step.label.as_str();
            match step.action {
                Action::Publish { .. } => self.measure_broadcasts(at, label, &mut all),
                Action::Direct { .. } => self.measure_directs(at, label, &mut all),
                Action::Join { .. } | Action::Churn { .. } => {
                    self.measure_newcomers(at, label, &mut all);
                }
                Action::Await { .. } => {
                    let watch = self.watches.iter().find(|watch| watch.step == at);
                    if let Some(watch) = watch
                        && let Some(reached) = watch.reached
                    {
                        all.add(label, "s", to_seconds(reached - watch.since));
                    }
                }
                Action::Flood { .. } => {
                    let flood = self.floods.iter().find(|flood| flood.step == at);
                    if let Some(flood) = flood
                        && let Some(cut) = flood.cut
                    {
                        all.add(label, "cut_s", to_seconds(cut - flood.since));
                    }
                }
                _ => {}
            }
        }
        if let Some((before, heap)) = memory {
            self.measure_memory(before, heap, &mut all);
        }
        let figure = |bar: &Bar| {
            let value = all.0.get(&bar.measure).copied();
            let limit = bar.limit(peers);
            let kept = limit.is_none_or(|(limit, least)| {
                value.is_some_and(|value| {
                    if least {
                        value >= limit
                    } else {
                        value <= limit
                    }
                })
            });
            Figure {
                measure: bar.measure.clone(),
                value,
                at_most: limit.filter(|(_, least)| !least).map(|(limit, _)| limit),
                at_least: limit.filter(|(_, least)| *least).map(|(limit, _)| limit),
                kept,
                tolerance: bar.tolerance,
            }
        };
        Report {
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            peers,
            seed,
            events: self.events,
            digest: format!("{:016x}", self.digest),
            figures: scenario.bars.iter().map(figure).collect(),
            measures: all.0,
        }
    }

    /// Bytes of a living peer: of its cores, and with what the simulation keeps for it.
    fn measure_memory(&mut self, before: usize, heap: fn() -> usize, all: &mut Measures) {
        let taken = heap().saturating_sub(before);
        let mut living = 0;
        let mut cores = 0;
        for peer in self.peers.iter_mut().filter(|peer| peer.alive) {
            living += 1;
            cores += peer.weigh(heap);
        }
        let each = |bytes: usize| float(bytes) / float(living);
        all.add("memory", "bytes_per_peer", each(taken));
        all.add("memory", "core_bytes_per_peer", each(cores));
    }

    fn measure_graph(&self, all: &mut Measures) {
        let graph = self.graph();
        let live = self.live.len();
        all.add("graph", "live", float(live));
        all.add("graph", "components", float(graph.components));
        all.add("graph", "bridges", float(graph.bridges));
        all.add("graph", "isolated", float(graph.isolated));
        all.add("graph", "largest_percent", 100.0 * graph.share(live));
        all.add("graph", "mean_degree", graph.mean_degree(live));
        all.add("graph", "highest_degree", f64::from(graph.highest));
        all.add("graph", "below_two", float(graph.below_two));
    }

    fn measure_costs(&self, all: &mut Measures) {
        let costs = &self.costs;
        let peer_seconds = costs.peer_seconds;
        let per_second = |count: u64| count as f64 / peer_seconds;
        all.add(
            "cost",
            "control_bytes_per_s",
            per_second(costs.control_bytes),
        );
        all.add("cost", "gossip_bytes_per_s", per_second(costs.gossip_bytes));
        all.add("cost", "frames_per_s", per_second(costs.frames));
        let per_hour = 3600.0 * per_second(costs.connections);
        all.add("cost", "connections_per_hour", per_hour);
        let per_link = costs.connections as f64 / (2 * costs.links) as f64;
        all.add("cost", "connections_per_link", per_link);
        let per_hour = 3600.0 * per_second(costs.accused);
        all.add("cost", "false_disconnects_per_hour", per_hour);
        all.add("cost", "verified_per_s", per_second(costs.verified));
        all.add("cost", "dropped", costs.dropped as f64);
        all.add("cost", "announces", self.announces as f64);
    }

    /// Who was to get a message, and who did, of those that are still there.
    fn reached(&self, tracked: &Tracked) -> (u64, u64) {
        let mut counts = (0, 0);
        for p in &self.live {
            if tracked.expected.contains(*p) {
                counts.0 += 1;
                counts.1 += u64::from(tracked.got.contains(*p));
            }
        }
        counts
    }

    fn measure_broadcasts(&self, step: u32, label: &str, all: &mut Measures) {
        let of_step = || self.tracked.iter().filter(|tracked| tracked.step == step);
        let reached = of_step().map(|tracked| self.reached(tracked));
        let (expected, got) = reached.fold((0, 0), |(e, g), (x, y)| (e + x, g + y));
        all.add(label, "messages", float(of_step().count()));
        all.add(label, "delivered_percent", share(got, expected));
        all.add(label, "missed", (expected - got) as f64);
        let times = || of_step().map(|tracked| to_seconds(tracked.last - tracked.at));
        all.add(label, "time_mean_s", mean(times()));
        all.add(label, "time_s", most(times()));
        let hops = || of_step().map(|tracked| f64::from(tracked.last_hop));
        all.add(label, "last_hop", most(hops()));
        all.add(label, "last_hop_mean", mean(hops()));
        let depths = || of_step().map(|tracked| float(tracked.depth));
        all.add(label, "bfs_depth", most(depths()));
        all.add(label, "bfs_depth_mean", mean(depths()));
        let (expected, got) = self.caught_up(step);
        all.add(label, "history_percent", share(got, expected));
        let copies = of_step().map(|tracked| tracked.copies).sum::<u64>() as f64;
        let delivered = of_step().map(|tracked| tracked.delivered).sum::<u64>() as f64;
        all.add(label, "extra_copies", copies / delivered - 1.0);
    }

    /// Of newcomers and messages from before they came that they want: how many, how many came.
    fn caught_up(&self, step: u32) -> (u64, u64) {
        let mut counts = (0, 0);
        for (_, p) in &self.newcomers {
            let peer = &self.peers[*p as usize];
            let wanted = peer.born.saturating_sub(self.history)..peer.born;
            let messages = self.tracked.iter();
            let of_step = messages.filter(|tracked| tracked.step == step && peer.alive);
            for tracked in of_step.filter(|tracked| wanted.contains(&tracked.at)) {
                counts.0 += 1;
                counts.1 += u64::from(tracked.got.contains(*p));
            }
        }
        counts
    }

    fn measure_directs(&self, step: u32, label: &str, all: &mut Measures) {
        let lives = |direct: &&Direct| {
            let alive = |p: u32| self.peers[p as usize].alive;
            direct.step == step && alive(direct.from) && alive(direct.to)
        };
        let of_step = || self.directs.iter().filter(lives);
        let count = of_step().count() as u64;
        let within = |limit: Time| {
            let kept = |direct: &&Direct| direct.arrived.is_some_and(|at| at <= direct.at + limit);
            share(of_step().filter(kept).count() as u64, count)
        };
        all.add(label, "messages", count as f64);
        all.add(label, "within_1s_percent", within(SECOND));
        all.add(label, "within_2s_percent", within(2 * SECOND));
        all.add(label, "arrived_percent", within(Time::MAX / 2));
        let receipts = of_step().filter(|direct| direct.receipt.is_some()).count();
        all.add(label, "receipts_percent", share(receipts as u64, count));
        all.add(
            label,
            "sends",
            mean(of_step().map(|direct| direct.sends as f64)),
        );
        let hops = of_step().filter(|direct| direct.receipt.is_some());
        all.add(
            label,
            "hops",
            mean(hops.map(|direct| f64::from(direct.hops))),
        );
    }

    fn measure_newcomers(&self, step: u32, label: &str, all: &mut Measures) {
        let mut times = Vec::new();
        let mut all_of_step = 0;
        let came = self.newcomers.iter().filter(|(of, _)| *of == step);
        for (_, p) in came {
            let peer = &self.peers[*p as usize];
            // Who died or came only just now says nothing.
            if peer.alive && peer.born + WELCOME <= self.now {
                all_of_step += 1;
                times.extend(peer.second_link.map(|at| to_seconds(at - peer.born)));
            }
        }
        let soon = times
            .iter()
            .filter(|time| **time <= to_seconds(WELCOME))
            .count();
        all.add(label, "newcomers", f64::from(all_of_step));
        let percent = |count: usize| 100.0 * float(count) / f64::from(all_of_step);
        all.add(label, "two_links_in_5s_percent", percent(soon));
        all.add(label, "two_links_percent", percent(times.len()));
        all.add(label, "two_links_s", most(times.iter().copied()));
        all.add(label, "two_links_mean_s", mean(times.into_iter()));
    }
}
