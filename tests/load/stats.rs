//! What is counted while a load runs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// A delivery that should not have happened, or a message that should not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    NotJson,
    UnknownMessage,
    ForeignOfferId,
    WrongSwarm,
    WrongPeerId,
    BackToSender,
    DuplicateOffer,
    DamagedOffer,
    LateOffer,
    MisdeliveredAnswer,
    WrongAnswerer,
    DuplicateAnswer,
    DamagedAnswer,
    LateAnswer,
    BadFrame,
    Closed,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotJson => "text that is no JSON object",
            Self::UnknownMessage => "message of no known kind",
            Self::ForeignOfferId => "offer or answer with an id of nobody",
            Self::WrongSwarm => "offer or answer of another swarm",
            Self::WrongPeerId => "offer with another peer's id",
            Self::BackToSender => "offer sent back to its sender",
            Self::DuplicateOffer => "offer delivered twice",
            Self::DamagedOffer => "offer changed on its way",
            Self::LateOffer => "offer after it was given up",
            Self::MisdeliveredAnswer => "answer at a peer that did not offer",
            Self::WrongAnswerer => "answer with another peer's id",
            Self::DuplicateAnswer => "answer delivered twice",
            Self::DamagedAnswer => "answer changed on its way",
            Self::LateAnswer => "answer after it was given up",
            Self::BadFrame => "frame that is against the protocol",
            Self::Closed => "connection closed by the tracker",
        }
    }

    /// Too late is a loss, not an error.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::LateOffer | Self::LateAnswer)
    }
}

/// Counted texts with the first one as an example.
#[derive(Debug)]
pub(crate) struct Tally<K>(pub BTreeMap<K, (u64, String)>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Tally<K> {
    pub(crate) fn add(&mut self, key: K, example: impl FnOnce() -> String) {
        self.0.entry(key).or_insert_with(|| (0, example())).0 += 1;
    }
}

/// Microseconds.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 120_000_000, 3);
        Self(histogram.expect("bounds that hdrhistogram allows"))
    }
}

impl Latency {
    pub(crate) fn record(&mut self, nanos: u64) {
        self.0.saturating_record((nanos / 1000).max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds at a share of all values.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

/// Counters of one measured window. What an announce of the window leads to counts, even when
/// it comes after the window's end; `messages_*` and `bytes_*` are those inside it.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub announces: u64,
    pub responses: u64,
    pub offers_expected: u64,
    pub offers: u64,
    pub answers_sent: u64,
    pub answers: u64,
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub response_latency: Latency,
    pub offer_latency: Latency,
    pub answer_latency: Latency,
    /// Those of the offers and answers whose two peers are at different addresses.
    pub crossed_offer_latency: Latency,
    pub crossed_answer_latency: Latency,
    /// Of offers whose peers are at one address.
    pub here_offer_latency: Latency,
    /// How late announces left (open loop).
    pub schedule_lag: Latency,
    pub lost_responses: u64,
    pub lost_offers: u64,
    pub lost_answers: u64,
    /// Losses of announces before or after the window.
    pub lost_outside: u64,
    /// Two offers of one announce at the same peer: allowed, but wasteful.
    pub same_receiver: u64,
}

impl Stats {
    pub(crate) fn lost(&self) -> u64 {
        self.lost_responses + self.lost_offers + self.lost_answers + self.lost_outside
    }
}
