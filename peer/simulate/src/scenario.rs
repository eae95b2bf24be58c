//! Scenarios: the files in `peer/simulate/scenarios`.

use serde::Deserialize;

/// A scenario: how a mesh starts, what happens to it, and the bars that its measures must keep.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name of the file without its ending.
    #[serde(default)]
    pub name: String,
    /// What the scenario shows, in one line.
    pub title: String,
    /// Links that a peer keeps.
    #[serde(default = "six")]
    pub(crate) max_peers: usize,
    /// How far back a new peer asks for messages, in seconds.
    #[serde(default)]
    pub(crate) history_s: f64,
    #[serde(default)]
    pub(crate) network: NetworkModel,
    #[serde(default)]
    pub(crate) start: Start,
    /// Seconds of the measured part, after the start.
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

/// The network between the peers. Parts are numbers from 0 to 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkModel {
    pub(crate) latency: Latency,
    /// The part of the frames that is sent again.
    pub(crate) loss: f64,
    /// The part of the droppable frames that a slow reader loses.
    pub(crate) dropped: f64,
    /// The part of the connections that breaks in a minute.
    pub(crate) resets: f64,
    /// The part of the pairs of peers that can never connect.
    pub(crate) unreachable: f64,
    /// The part of the peers whose timers fire once a second: hidden tabs.
    pub(crate) late: f64,
    /// The part of the peers whose timers fire once a minute: tabs that have been hidden for long.
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
    /// 10 to 100 ms.
    Uniform,
    /// Log-normal with a median of 45 ms.
    Wan,
}

/// How the mesh starts, before the first step.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Start {
    /// The part of all peers that starts.
    pub(crate) share: f64,
    /// Seconds in which they join.
    pub(crate) over_s: f64,
    /// Seconds of rest after that.
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

/// Something that happens to the mesh.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Seconds from the end of the start.
    #[serde(default)]
    pub(crate) at: f64,
    /// The first part of the names of this step's measures.
    #[serde(default)]
    pub(crate) label: String,
    #[serde(rename = "do")]
    pub(crate) action: Action,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Action {
    /// Peers join: a part of the number that the run was asked for, or a count.
    Join {
        #[serde(default)]
        share: f64,
        #[serde(default)]
        count: usize,
        #[serde(default)]
        over_s: f64,
    },
    /// A part of the peers dies without a goodbye.
    Kill { share: f64 },
    /// A part of the peers says goodbye and stops.
    Leave { share: f64 },
    /// The tracker starts or stops.
    Tracker { up: bool },
    /// Each second this part of the peers dies and as many join.
    Churn { rate: f64, for_s: f64 },
    /// Peers broadcast messages.
    Publish {
        count: usize,
        every_s: f64,
        /// Bytes of each message.
        size: usize,
        /// Each message has another random sender.
        #[serde(default)]
        many: bool,
        /// The label of an earlier step. Its sender sends these messages too.
        #[serde(default, rename = "as")]
        sender: String,
    },
    /// Random peers send direct messages to random peers.
    Direct {
        count: usize,
        every_s: f64,
        /// Bytes of each message.
        size: usize,
        /// Each receiver has broadcast something before, and gets several messages.
        #[serde(default)]
        warm: bool,
    },
    /// This part of the peers cannot reach the others for a time.
    Partition { share: f64, for_s: f64 },
    /// This part of the peers relays nothing for others.
    Droppers { share: f64 },
    /// One peer broadcasts this many messages a second.
    Flood { rate: f64, for_s: f64, size: usize },
    /// Measures how long the graph takes to get into this state.
    Await {
        /// All living peers are in one component.
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
    /// Costs are counted from here on.
    Count {},
}

/// A bar that a measure must keep. The limits are for 1,000, 10,000 and 100,000 peers. A number of
/// peers in between takes the limit of the lower one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bar {
    pub(crate) measure: String,
    #[serde(default)]
    pub(crate) at_most: Vec<f64>,
    #[serde(default)]
    pub(crate) at_least: Vec<f64>,
    /// How much worse than in the baseline the measure may be.
    pub(crate) tolerance: Option<f64>,
}

/// The limit of a bar for one number of peers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub(crate) fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Bar {
    /// The limit for this number of peers. `None` if the bar has none.
    pub(crate) fn limit(&self, peers: usize) -> Option<Limit> {
        let size = match peers {
            0..10_000 => 0,
            10_000..100_000 => 1,
            _ => 2,
        };
        let most = self.at_most.get(size).copied().map(Limit::AtMost);
        most.or_else(|| self.at_least.get(size).copied().map(Limit::AtLeast))
    }
}
