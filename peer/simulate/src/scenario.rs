//! Scenarios: what a file of `peer/scenarios` says.

use serde::Deserialize;

/// One row of the bars: how a mesh starts, what happens to it, what must come out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name.
    #[serde(default)]
    pub name: String,
    /// What it shows, in a line.
    pub title: String,
    /// Links that a peer keeps.
    #[serde(default = "six")]
    pub(crate) max_peers: usize,
    /// Seconds of what was said before they came that peers want.
    #[serde(default)]
    pub(crate) history_s: f64,
    #[serde(default)]
    pub(crate) network: NetworkModel,
    #[serde(default)]
    pub(crate) start: Start,
    /// Seconds from the end of the start to the end of all.
    pub(crate) run_s: f64,
    /// Seconds between two looks at the graph.
    #[serde(default = "quarter")]
    pub(crate) look_s: f64,
    #[serde(default, rename = "step")]
    pub(crate) steps: Vec<Step>,
    #[serde(default, rename = "bar")]
    pub(crate) bars: Vec<Bar>,
}

const fn six() -> usize {
    6
}

const fn quarter() -> f64 {
    0.25
}

/// What lies between peers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkModel {
    pub(crate) latency: Latency,
    /// Part of the frames that are sent again.
    pub(crate) loss: f64,
    /// Part of the frames that a slow neighbour loses, of those that may be dropped.
    pub(crate) dropped: f64,
    /// Part of the connections that break in a minute.
    pub(crate) resets: f64,
    /// Part of the pairs that never connect.
    pub(crate) unreachable: f64,
    /// Part of the peers whose timers fire once a second, and once a minute: hidden tabs.
    pub(crate) late: f64,
    pub(crate) very_late: f64,
}

impl Default for NetworkModel {
    fn default() -> Self {
        Self {
            latency: Latency::Uniform,
            loss: 0.0,
            dropped: 0.0,
            resets: 0.0,
            unreachable: 0.1,
            late: 0.0,
            very_late: 0.0,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Latency {
    /// 10-100 ms.
    Uniform,
    /// Log-normal around 45 ms.
    Wan,
}

/// How the mesh comes to be before the clock of the steps starts.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Start {
    /// Part of all peers that are there.
    pub(crate) share: f64,
    /// Seconds in which they join.
    pub(crate) over_s: f64,
    /// Seconds after that.
    pub(crate) settle_s: f64,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            share: 1.0,
            over_s: 20.0,
            settle_s: 60.0,
        }
    }
}

/// Something that happens, so many seconds after the start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(default)]
    pub(crate) at: f64,
    /// Measures are named after it.
    #[serde(default)]
    pub(crate) label: String,
    #[serde(rename = "do")]
    pub(crate) action: Action,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Action {
    /// Peers come: a part of all, or a number of them.
    Join {
        #[serde(default)]
        share: f64,
        #[serde(default)]
        count: usize,
        #[serde(default)]
        over_s: f64,
    },
    /// A part of the peers is gone without a word.
    Kill { share: f64 },
    /// A part of the peers says goodbye.
    Leave { share: f64 },
    /// The tracker is there, or not.
    Tracker { up: bool },
    /// In each second this part of the peers is killed and as many come.
    Churn { rate: f64, for_s: f64 },
    /// Broadcasts.
    Publish {
        count: usize,
        every_s: f64,
        size: usize,
        /// Each from somebody else.
        #[serde(default)]
        many: bool,
        /// From who sent the messages of the step with this label.
        #[serde(default, rename = "as")]
        sender: String,
    },
    /// Messages from random peers to random peers.
    Direct {
        count: usize,
        every_s: f64,
        size: usize,
        /// The receiver has broadcast something before; the next messages are for it too.
        #[serde(default)]
        warm: bool,
    },
    /// This part of the peers cannot reach the others, for so long.
    Partition { share: f64, for_s: f64 },
    /// This part of the peers relays nothing.
    Droppers { share: f64 },
    /// One peer broadcasts so many messages a second.
    Flood { rate: f64, for_s: f64, size: usize },
    /// How long until the graph is so.
    Await {
        /// All living peers in one component.
        #[serde(default)]
        whole: bool,
        /// The part of the living peers in the largest component.
        #[serde(default)]
        share: f64,
        #[serde(default)]
        mean_degree: f64,
        /// Links between the sides of a partition.
        #[serde(default)]
        bridges: usize,
    },
    /// What is measured of costs is counted from here on.
    Count {},
}

/// What must come out, for 1,000, 10,000 and 100,000 peers; sizes between take that of the lower.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bar {
    pub(crate) measure: String,
    #[serde(default)]
    pub(crate) at_most: Vec<f64>,
    #[serde(default)]
    pub(crate) at_least: Vec<f64>,
    /// How much worse than in the baseline it may be.
    pub(crate) tolerance: Option<f64>,
}

impl Bar {
    /// The limit for so many peers, and whether it is the least; `None` if there is none.
    pub(crate) fn limit(&self, peers: usize) -> Option<(f64, bool)> {
        let size = match peers {
            0..10_000 => 0,
            10_000..100_000 => 1,
            _ => 2,
        };
        let most = self.at_most.get(size).map(|limit| (*limit, false));
        most.or_else(|| self.at_least.get(size).map(|limit| (*limit, true)))
    }
}
