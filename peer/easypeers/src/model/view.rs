//! What the handle reads without asking the driver.

use std::time::Duration;

use easypeers_proto::{InfoHash, PeerId};

use super::event::Status;
use super::info::{PeerInfo, Stats, TrackerInfo};
use super::options::Options;
use crate::rt::Clock;

/// What the handle reads without asking the driver.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) address: PeerId,
    pub(crate) identifier: InfoHash,
    pub(crate) max_peers: usize,
    pub(crate) timeout: Duration,
    pub(crate) status: Status,
    pub(crate) peers: Vec<PeerInfo>,
    pub(crate) trackers: Vec<TrackerInfo>,
    pub(crate) stats: Stats,
    /// Started when the view was written: tells its age.
    pub(crate) written: Clock,
}

impl View {
    pub(crate) fn new(
        status: Status,
        trackers: Vec<TrackerInfo>,
        address: PeerId,
        identifier: InfoHash,
        options: &Options,
    ) -> Self {
        Self {
            address,
            identifier,
            max_peers: options.max_peers,
            timeout: options.timeout,
            status,
            peers: Vec::new(),
            trackers,
            stats: Stats::default(),
            written: Clock::start(),
        }
    }
}
