//! What a node of a cluster counts. All of it is there, at zero, in a tracker that is alone.

use easypeers_proto::cluster::{FrameError, FrameKind};
use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Builder, Counters, Label};

labels! {
    /// What a frame between nodes is.
    Kind { Offers = "offers", Answer = "answer", Ping = "ping", Leave = "leave" }
    /// Why a frame that came was not handled.
    FrameDropped {
        Version = "version", Kind = "kind", TooLarge = "too_large", Malformed = "malformed",
        Description = "description", Foreign = "foreign", Shed = "shed",
    }
    /// Why an offer did not get from one node to a client of another. The last four are told by the
    /// node where it should have arrived.
    ClusterOfferDropped {
        Engine = "engine_away", Node = "node_gone", Queue = "queue_full", TooLarge = "too_large",
        NoReceiver = "no_receiver", Draining = "draining", Outbox = "outbox_full",
        Gone = "receiver_gone",
    }
    /// The same for an answer; the last three are told by the node of the peer that waits for it.
    ClusterAnswerDropped {
        Engine = "engine_away", Node = "node_gone", Queue = "queue_full", TooLarge = "too_large",
        Unsolicited = "unsolicited", Outbox = "outbox_full", Gone = "receiver_gone",
    }
    /// How an attempt to connect went.
    Connect { Ok = "ok", Error = "error" }
    /// What the engine did not do.
    Operation { Beat = "beat", Read = "read", Write = "write", Publish = "publish" }
}

impl Kind {
    pub(crate) fn of(kind: FrameKind) -> Self {
        match kind {
            FrameKind::Offers => Self::Offers,
            FrameKind::Answer => Self::Answer,
            FrameKind::Ping => Self::Ping,
            FrameKind::Leave => Self::Leave,
        }
    }
}

impl FrameDropped {
    pub(crate) fn of(error: FrameError) -> Self {
        match error {
            FrameError::Version(_) => Self::Version,
            FrameError::Kind(_) => Self::Kind,
            FrameError::TooLarge => Self::TooLarge,
            FrameError::Description => Self::Description,
            _ => Self::Malformed,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ClusterMetrics {
    pub(crate) configured: IntGauge,
    pub(crate) up: IntGauge,
    pub(crate) nodes: IntGauge,
    pub(crate) connects: Counters<Connect>,
    pub(crate) errors: Counters<Operation>,
    pub(crate) frames_received: Counters<Kind>,
    pub(crate) frames_sent: Counters<Kind>,
    pub(crate) frames_dropped: Counters<FrameDropped>,
    pub(crate) received_bytes: IntCounter,
    pub(crate) sent_bytes: IntCounter,
    pub(crate) offers_dropped: Counters<ClusterOfferDropped>,
    pub(crate) answers_dropped: Counters<ClusterAnswerDropped>,
    pub(crate) directory_entries: IntGauge,
    pub(crate) directory_dirty: IntGauge,
    pub(crate) reads: IntCounter,
    pub(crate) writes: IntCounter,
    pub(crate) flush_duration: Histogram,
    pub(crate) view_age: Histogram,
}

impl ClusterMetrics {
    pub(super) fn new(b: &Builder) -> Self {
        Self {
            configured: b.gauge("cluster_configured", "1 with --cluster-url."),
            up: b.gauge("cluster_up", "1 while the cluster's engine is there."),
            nodes: b.gauge(
                "cluster_nodes",
                "Nodes that take offers, this one included; 0 without the engine.",
            ),
            connects: b.counters(
                "cluster_connects_total",
                "result",
                "Attempts to connect to the engine.",
            ),
            errors: b.counters(
                "cluster_errors_total",
                "operation",
                "What the engine refused, or did not do in time.",
            ),
            frames_received: b.counters(
                "cluster_frames_received_total",
                "kind",
                "Frames from the bus.",
            ),
            frames_sent: b.counters("cluster_frames_sent_total", "kind", "Frames to the bus."),
            frames_dropped: b.counters(
                "cluster_frames_dropped_total",
                "reason",
                "Frames and entries of the engine that were not used.",
            ),
            received_bytes: b.counter("cluster_received_bytes_total", "Bytes of frames received."),
            sent_bytes: b.counter(
                "cluster_sent_bytes_total",
                "Bytes of frames with offers or answers sent.",
            ),
            offers_dropped: b.counters(
                "cluster_offers_dropped_total",
                "reason",
                "Offers lost between nodes.",
            ),
            answers_dropped: b.counters(
                "cluster_answers_dropped_total",
                "reason",
                "Answers lost between nodes.",
            ),
            directory_entries: b.gauge(
                "cluster_directory_entries",
                "Swarms that this node has in the directory.",
            ),
            directory_dirty: b.gauge(
                "cluster_directory_dirty",
                "Swarms whose counts wait to be written.",
            ),
            reads: b.counter("cluster_reads_total", "Swarms read from the directory."),
            writes: b.counter("cluster_writes_total", "Entries written to the directory."),
            flush_duration: b.histogram(
                "cluster_flush_duration_seconds",
                "Writing changed counts.",
                &[
                    1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1, 1.0, 2.0,
                ],
            ),
            view_age: b.histogram(
                "cluster_view_age_seconds",
                "How old an announce found the counts of other nodes.",
                &[0.1, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0],
            ),
        }
    }
}
