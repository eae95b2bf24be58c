//! Prometheus metrics, prefix `easypeers_tracker_`. Every label value is known here and starts at
//! zero; none is an infohash, a peer or an address. One registry per server, so that tests may run
//! several in one process.

use std::marker::PhantomData;
use std::sync::Arc;

use easypeers_proto::tracker::{Event, RejectReason};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

pub(crate) use cluster::{
    ClusterAnswerDropped, ClusterMetrics, ClusterOfferDropped, Connect, FrameDropped, Kind,
    Operation,
};

/// A label with a fixed set of values.
pub(crate) trait Label: Copy + 'static {
    const ALL: &'static [Self];
    fn label(self) -> &'static str;
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($variant),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn label(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

// Below the macro that it uses.
mod cluster;

labels! {
    /// Why a connection ended.
    ClosedBy {
        Client = "client", Idle = "idle", Slow = "slow", Protocol = "protocol", Limit = "limit",
        Shutdown = "shutdown", Error = "error",
    }
    /// Why a WebSocket upgrade was refused.
    UpgradeRefused {
        BadRequest = "bad_request", Origin = "origin", ConnectionLimit = "connection_limit",
        AddressLimit = "address_limit", Rate = "rate", Draining = "draining",
    }
    /// What a received message was.
    MessageKind {
        Announce = "announce", Answer = "answer", Scrape = "scrape", Invalid = "invalid",
        Limited = "limited",
    }
    /// Why a well-formed message was refused; beside the codec's reasons.
    Refused {
        RateLimit = "rate_limit", Denied = "denied", NotAllowed = "not_allowed",
        SwarmLimit = "swarm_limit", ConnectionSwarmLimit = "connection_swarm_limit",
        PeerIdInUse = "peer_id_in_use", ClaimLimit = "claim_limit",
        UnsolicitedAnswer = "unsolicited_answer",
    }
    /// Why an offer was not relayed.
    OfferDropped {
        Malformed = "malformed", Limit = "limit", NoReceiver = "no_receiver",
        Outbox = "outbox_full", Gone = "receiver_gone", Draining = "draining",
    }
    /// Why an answer was not relayed.
    AnswerDropped {
        Unsolicited = "unsolicited", Gone = "receiver_gone", Outbox = "outbox_full",
    }
    /// Whether a peer has everything.
    Role { Complete = "complete", Incomplete = "incomplete" }
    /// Where a relayed message came from: a client here, or one of another node.
    Scope { Local = "local", Remote = "remote" }
    /// What `/ice.json` answered.
    IceAnswer { Served = "served", Refused = "refused" }
    /// How a reload went.
    Reload { Ok = "ok", Error = "error" }
}

impl Label for Event {
    const ALL: &'static [Self] = &Self::ALL;
    fn label(self) -> &'static str {
        self.as_str()
    }
    fn index(self) -> usize {
        self as usize
    }
}

/// One counter per label value.
#[derive(Debug)]
pub(crate) struct Counters<L> {
    counters: Vec<IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub(crate) fn inc(&self, label: L) {
        self.counters[label.index()].inc();
    }

    pub(crate) fn add(&self, label: L, count: usize) {
        self.counters[label.index()].inc_by(count as u64);
    }

    pub(crate) fn value(&self, label: L) -> u64 {
        self.counters[label.index()].get()
    }

    pub(crate) fn total(&self) -> u64 {
        self.counters.iter().map(IntCounter::get).sum()
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: IntGauge,
    pub(crate) connections_limit: IntGauge,
    pub(crate) connections_opened: IntCounter,
    pub(crate) connections_closed: Counters<ClosedBy>,
    pub(crate) sockets_refused: IntCounter,
    pub(crate) accept_errors: IntCounter,
    pub(crate) http_timeouts: IntCounter,
    pub(crate) tls_errors: IntCounter,
    pub(crate) proxy_header_errors: IntCounter,
    pub(crate) upgrades_rejected: Counters<UpgradeRefused>,
    pub(crate) messages_received: Counters<MessageKind>,
    messages_undecodable: Vec<(RejectReason, IntCounter)>,
    pub(crate) messages_refused: Counters<Refused>,
    pub(crate) received_bytes: IntCounter,
    pub(crate) sent_bytes: IntCounter,
    pub(crate) announces: Counters<Event>,
    pub(crate) swarms: IntGauge,
    peers: Vec<IntGauge>,
    pub(crate) offers_relayed: Counters<Scope>,
    pub(crate) offers_dropped: Counters<OfferDropped>,
    pub(crate) answers_relayed: Counters<Scope>,
    pub(crate) answers_dropped: Counters<AnswerDropped>,
    pub(crate) peers_expired: IntCounter,
    pub(crate) peer_ids_taken_over: IntCounter,
    pub(crate) outbox_messages: IntGauge,
    pub(crate) announce_duration: Histogram,
    pub(crate) sweep_duration: Histogram,
    pub(crate) swarm_peers: SwarmPeers,
    pub(crate) reloads: Counters<Reload>,
    pub(crate) ice_requests: Counters<IceAnswer>,
    pub(crate) clock_jumps: IntCounter,
    pub(crate) cluster: Arc<ClusterMetrics>,
    log_lines_lost: IntCounter,
}

/// Builds metrics and registers them. Names are constants, so that registering cannot fail unless
/// two of them are equal, which any test run shows.
struct Builder(Registry);

const PREFIX: &str = "easypeers_tracker_";

#[expect(
    clippy::expect_used,
    reason = "names are constants; any start shows a bad one"
)]
impl Builder {
    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: prometheus::Result<C>,
    ) -> C {
        let metric = metric.expect("a valid metric");
        self.0
            .register(Box::new(metric.clone()))
            .expect("a new metric");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(format!("{PREFIX}{name}"), help))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(format!("{PREFIX}{name}"), help))
    }

    fn family(&self, name: &str, label: &str, help: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(
            Opts::new(format!("{PREFIX}{name}"), help),
            &[label],
        ))
    }

    fn counters<L: Label>(&self, name: &str, label: &str, help: &str) -> Counters<L> {
        let family = self.family(name, label, help);
        Self::children(&family)
    }

    fn children<L: Label>(family: &IntCounterVec) -> Counters<L> {
        let counters = L::ALL
            .iter()
            .map(|l| family.with_label_values(&[l.label()]))
            .collect();
        Counters {
            counters,
            label: PhantomData,
        }
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts))
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let b = Builder(Registry::new());
        let rejected = b.family("messages_rejected_total", "reason", "Messages refused.");
        let peers = b.add(IntGaugeVec::new(
            Opts::new(format!("{PREFIX}peers"), "Peers in all swarms."),
            &["role"],
        ));
        let build = b.add(IntGaugeVec::new(
            Opts::new(
                "easypeers_build_info",
                "Always 1; the labels tell the build.",
            ),
            &["version", "revision", "rustc"],
        ));
        build
            .with_label_values(&[crate::VERSION, crate::REVISION, crate::RUSTC])
            .set(1);
        let swarm_peers = SwarmPeers::default();
        let b = Builder(b.0);
        let _ = b.0.register(Box::new(swarm_peers.clone()));
        #[cfg(target_os = "linux")]
        let _ = b.0.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ));
        const MICROS: [f64; 13] = [
            1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1,
        ];
        Self {
            connections: b.gauge("connections", "Open WebSocket connections."),
            connections_limit: b.gauge("connections_limit", "Most connections at once."),
            connections_opened: b.counter("connections_opened_total", "WebSockets opened."),
            connections_closed: b.counters(
                "connections_closed_total",
                "reason",
                "WebSockets closed.",
            ),
            sockets_refused: b.counter(
                "sockets_refused_total",
                "Sockets closed right after accept: over the connection or address limit.",
            ),
            accept_errors: b.counter(
                "accept_errors_total",
                "Failed accept calls, such as no fds.",
            ),
            http_timeouts: b.counter(
                "http_timeouts_total",
                "Sockets closed because no whole request head or TLS handshake came in time.",
            ),
            tls_errors: b.counter("tls_errors_total", "Failed TLS handshakes."),
            proxy_header_errors: b.counter(
                "proxy_header_errors_total",
                "Sockets of trusted proxies that did not begin with a PROXY header.",
            ),
            upgrades_rejected: b.counters(
                "upgrades_rejected_total",
                "reason",
                "WebSocket upgrades refused.",
            ),
            messages_received: b.counters(
                "messages_received_total",
                "kind",
                "Messages received from clients.",
            ),
            messages_undecodable: RejectReason::ALL
                .iter()
                .map(|&reason| (reason, rejected.with_label_values(&[reason.label()])))
                .collect(),
            messages_refused: Builder::children(&rejected),
            received_bytes: b.counter("received_bytes_total", "Bytes read from WebSockets."),
            sent_bytes: b.counter(
                "sent_bytes_total",
                "Bytes of messages sent or queued; not pings, pongs and closes.",
            ),
            announces: b.counters("announces_total", "event", "Announces accepted."),
            swarms: b.gauge("swarms", "Swarms with at least one peer."),
            peers: Role::ALL
                .iter()
                .map(|r| peers.with_label_values(&[r.label()]))
                .collect(),
            offers_relayed: b.counters(
                "offers_relayed_total",
                "scope",
                "Offers written to clients here, from clients here or of another node.",
            ),
            offers_dropped: b.counters("offers_dropped_total", "reason", "Offers not relayed."),
            answers_relayed: b.counters(
                "answers_relayed_total",
                "scope",
                "Answers written to clients here, from clients here or of another node.",
            ),
            answers_dropped: b.counters("answers_dropped_total", "reason", "Answers not relayed."),
            peers_expired: b.counter("peers_expired_total", "Peers removed for silence."),
            peer_ids_taken_over: b.counter(
                "peer_ids_taken_over_total",
                "Peer ids passed to a new connection because the old one was dead.",
            ),
            outbox_messages: b.gauge(
                "outbox_messages",
                "Messages that wait for slow receivers, at the last sweep.",
            ),
            announce_duration: b.histogram(
                "announce_duration_seconds",
                "From decoded announce to response and offers written.",
                &MICROS,
            ),
            sweep_duration: b.histogram(
                "sweep_duration_seconds",
                "One pass over connections and swarms.",
                &[1e-4, 1e-3, 1e-2, 1e-1, 1.0],
            ),
            swarm_peers,
            reloads: b.counters("reloads_total", "result", "Reloads of lists and TLS files."),
            ice_requests: b.counters("ice_requests_total", "result", "Requests for /ice.json."),
            clock_jumps: b.counter(
                "clock_jumps_total",
                "Times that the system's clock was set, or stood still, by more than a second.",
            ),
            cluster: Arc::new(ClusterMetrics::new(&b)),
            log_lines_lost: b.counter(
                "log_lines_lost_total",
                "Log lines that standard error did not take, such as on a full disk.",
            ),
            registry: b.0,
        }
    }

    pub(crate) fn undecodable(&self, reason: RejectReason) {
        if let Some((_, counter)) = self.messages_undecodable.iter().find(|(r, _)| *r == reason) {
            counter.inc();
        }
    }

    pub(crate) fn peers(&self, role: Role) -> &IntGauge {
        &self.peers[role.index()]
    }

    /// The exposition format, for `/metrics`.
    pub(crate) fn render(&self) -> String {
        let lost = crate::log::lines_lost();
        let told = self.log_lines_lost.get();
        self.log_lines_lost.inc_by(lost.saturating_sub(told));
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

/// A histogram of swarm sizes as they are now: rebuilt by each sweep, unlike Prometheus' own kind,
/// which only grows.
#[derive(Debug, Clone)]
pub(crate) struct SwarmPeers {
    desc: prometheus::core::Desc,
    counts: Arc<std::sync::Mutex<SwarmSizes>>,
}

/// Swarms by size.
#[derive(Debug, Clone, Default)]
pub(crate) struct SwarmSizes {
    buckets: [u64; Self::BOUNDS.len()],
    swarms: u64,
    peers: u64,
}

impl SwarmSizes {
    const BOUNDS: [usize; 9] = [1, 2, 5, 10, 50, 100, 1_000, 10_000, 100_000];

    pub(crate) fn add(&mut self, peers: usize) {
        self.swarms += 1;
        self.peers += peers as u64;
        for (bucket, bound) in self.buckets.iter_mut().zip(Self::BOUNDS) {
            *bucket += u64::from(peers <= bound);
        }
    }
}

impl Default for SwarmPeers {
    #[expect(
        clippy::expect_used,
        reason = "the name is a constant; any start shows a bad one"
    )]
    fn default() -> Self {
        let name = format!("{PREFIX}swarm_peers");
        let help = "Peers per swarm, as of the last sweep.".to_owned();
        let desc = prometheus::core::Desc::new(name, help, Vec::new(), Default::default());
        Self {
            desc: desc.expect("a valid metric"),
            counts: Default::default(),
        }
    }
}

impl SwarmPeers {
    pub(crate) fn set(&self, sizes: SwarmSizes) {
        *self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = sizes;
    }
}

impl prometheus::core::Collector for SwarmPeers {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        use prometheus::proto;
        let sizes = self
            .counts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let buckets = sizes
            .buckets
            .iter()
            .zip(SwarmSizes::BOUNDS)
            .map(|(&count, bound)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_cumulative_count(count);
                bucket.set_upper_bound(bound as f64);
                bucket
            });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(sizes.swarms);
        histogram.set_sample_sum(sizes.peers as f64);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}
