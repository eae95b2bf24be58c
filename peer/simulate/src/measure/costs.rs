//! Costs: what all peers together send, verify and connect.

use super::Measures;
use crate::time::{Time, to_seconds};

/// The costs of all peers together since the last [`Costs::restart`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Costs {
    /// Frames handed to links.
    frames: u64,
    control_bytes: u64,
    /// Bytes of messages and their chunks.
    gossip_bytes: u64,
    /// Offers and answers made, one for each side of a connection.
    connections: u64,
    /// Connections that both sides came to count as a link.
    links: u64,
    /// Neighbors taken for dead that were alive and in reach.
    accused: u64,
    /// Signatures checked.
    verified: u64,
    /// Frames that found a full queue.
    dropped: u64,
    /// The sum of the seconds that each peer lived.
    peer_seconds: f64,
    /// When `peer_seconds` was last brought up to date.
    counted_until: Time,
    /// Announces of the whole run: a restart keeps them.
    announces: u64,
}

impl Costs {
    /// Sets everything but the announces to zero.
    pub(crate) fn restart(&mut self, now: Time) {
        *self = Self {
            counted_until: now,
            announces: self.announces,
            ..Self::default()
        };
    }

    pub(crate) const fn frame(&mut self, bytes: u64, control: bool) {
        self.frames += 1;
        if control {
            self.control_bytes += bytes;
        } else {
            self.gossip_bytes += bytes;
        }
    }

    pub(crate) const fn connection(&mut self) {
        self.connections += 1;
    }

    pub(crate) const fn link(&mut self) {
        self.links += 1;
    }

    pub(crate) const fn false_accusation(&mut self) {
        self.accused += 1;
    }

    pub(crate) const fn verification(&mut self) {
        self.verified += 1;
    }

    pub(crate) const fn dropped_frame(&mut self) {
        self.dropped += 1;
    }

    pub(crate) const fn announce(&mut self) {
        self.announces += 1;
    }

    /// Counts the time since the last call for all living peers.
    pub(crate) fn pass_time(&mut self, now: Time, living: usize) {
        let passed = to_seconds(now - self.counted_until);
        self.counted_until = now;
        self.peer_seconds += passed * living as f64;
    }

    pub(crate) fn measure(&self, all: &mut Measures) {
        let per_second = |count: u64| count as f64 / self.peer_seconds;
        let per_hour = |count: u64| 3600.0 * per_second(count);
        let per_link = self.connections as f64 / (2 * self.links) as f64;
        for (name, value) in [
            ("control_bytes_per_s", per_second(self.control_bytes)),
            ("gossip_bytes_per_s", per_second(self.gossip_bytes)),
            ("frames_per_s", per_second(self.frames)),
            ("connections_per_hour", per_hour(self.connections)),
            ("connections_per_link", per_link),
            ("false_disconnects_per_hour", per_hour(self.accused)),
            ("verified_per_s", per_second(self.verified)),
            ("dropped", self.dropped as f64),
            ("announces", self.announces as f64),
        ] {
            all.add("cost", name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn costs_count_per_peer_and_second_from_the_restart() {
        let mut costs = Costs::default();
        costs.frame(1_000_000, true);
        costs.announce();
        costs.restart(10 * SECOND);
        costs.frame(600, true);
        costs.frame(60, false);
        costs.pass_time(12 * SECOND, 3);
        let mut all = Measures::default();
        costs.measure(&mut all);
        let values = all.into_values();
        assert_eq!(values.get("cost.control_bytes_per_s"), Some(&100.0));
        assert_eq!(values.get("cost.gossip_bytes_per_s"), Some(&10.0));
        assert_eq!(values.get("cost.announces"), Some(&1.0));
        assert_eq!(values.get("cost.connections_per_link"), None);
    }
}
