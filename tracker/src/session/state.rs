//! What one client has done so far: its message rate, the peers it announced, the announces that
//! wait because another connection holds their peer id. Pure: time in, verdicts out.

use easypeers_proto::{InfoHash, PeerId};

use crate::limits::TokenBucket;

/// How long the holder of a peer id has to answer a ping before a newcomer gets the id. A client
/// that reconnects after a network change must not wait for its dead socket.
pub(crate) const CLAIM_AFTER_US: u64 = 2_000_000;

/// Bytes of announces that may wait for peer ids. A client with one torrent waits with 5 KiB; one
/// with hundreds gets a failure for the rest and brings them again with the next interval.
pub(crate) const MAX_HELD_BYTES: usize = 256 * 1024;

/// Whether a message may be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Granted,
    /// Refuse it with a failure.
    Refused,
    /// The client goes on though it was refused a whole burst: close.
    Abusive,
}

/// An announce that waits for its peer id.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) text: Box<str>,
    pub(crate) peer: (InfoHash, PeerId),
    pub(crate) since_us: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    bucket: TokenBucket,
    refused: u32,
    peers: Vec<(InfoHash, PeerId)>,
    held: Vec<Held>,
}

/// Messages a second and saved up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageRate {
    pub(crate) rate: u32,
    pub(crate) burst: u32,
}

impl State {
    pub(crate) fn new(now_ms: u64, limit: MessageRate) -> Self {
        let bucket = TokenBucket::full(now_ms, limit.burst);
        Self {
            bucket,
            refused: 0,
            peers: Vec::new(),
            held: Vec::new(),
        }
    }

    pub(crate) fn permit(&mut self, now_ms: u64, limit: MessageRate) -> Permit {
        if self.bucket.take(now_ms, limit.rate, limit.burst) {
            self.refused = 0;
            return Permit::Granted;
        }
        self.refused += 1;
        if self.refused > limit.burst {
            Permit::Abusive
        } else {
            Permit::Refused
        }
    }

    /// Peers that this connection announced and did not stop.
    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn add_peer(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        // It may be there still, if it had expired from its swarm.
        if !self.peers.contains(&(info_hash, peer_id)) {
            self.peers.push((info_hash, peer_id));
        }
    }

    pub(crate) fn remove_peer(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        if let Some(at) = self
            .peers
            .iter()
            .position(|peer| *peer == (info_hash, peer_id))
        {
            self.peers.swap_remove(at);
        }
    }

    pub(crate) fn take_peers(&mut self) -> Vec<(InfoHash, PeerId)> {
        self.held = Vec::new();
        std::mem::take(&mut self.peers)
    }

    /// Keeps an announce for later; false when too much waits already.
    pub(crate) fn hold(&mut self, text: &str, peer: (InfoHash, PeerId), since_us: u64) -> bool {
        let waiting: usize = self.held.iter().map(|held| held.text.len()).sum();
        let fits = waiting + text.len() <= MAX_HELD_BYTES;
        if fits {
            self.held.push(Held {
                text: text.into(),
                peer,
                since_us,
            });
        }
        fits
    }

    /// Withdraws what waits for a peer: its client stopped it meanwhile.
    pub(crate) fn forget_held(&mut self, info_hash: InfoHash, peer_id: PeerId) {
        self.held.retain(|held| held.peer != (info_hash, peer_id));
    }

    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Everything that waits; what must wait on is held again.
    pub(crate) fn take_held(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.held)
    }

    pub(crate) fn hold_again(&mut self, held: Held) {
        self.held.push(held);
    }
}

/// What is known of a contested peer id's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was heard since it was pinged: the newcomer is refused.
    Alive,
    /// It still has time to answer.
    Waiting,
    /// It is dead: the newcomer gets the id.
    Dead,
}

/// Judges a claim that pinged its holder at `since_us`; the holder was last heard at `heard_us`.
pub(crate) fn judge(since_us: u64, heard_us: u64, now_us: u64) -> Claim {
    if heard_us >= since_us {
        Claim::Alive
    } else if now_us >= since_us + CLAIM_AFTER_US {
        Claim::Dead
    } else {
        Claim::Waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_refused_and_then_closed() {
        let limit = MessageRate { rate: 1, burst: 3 };
        let mut state = State::new(0, limit);
        let permits: Vec<_> = (0..7).map(|_| state.permit(0, limit)).collect();
        use Permit::{Abusive, Granted, Refused};
        assert_eq!(
            permits,
            [
                Granted, Granted, Granted, Refused, Refused, Refused, Abusive
            ]
        );
        assert_eq!(state.permit(1_000, limit), Granted);
        assert_eq!(state.permit(1_000, limit), Refused);
    }

    #[test]
    fn a_peer_is_listed_once() {
        let mut state = State::new(0, MessageRate { rate: 1, burst: 1 });
        let (hash, peer) = (InfoHash::new([1; 20]), PeerId::new([2; 20]));
        state.add_peer(hash, peer);
        state.add_peer(hash, peer);
        assert_eq!(state.peer_count(), 1);
        state.remove_peer(hash, peer);
        assert_eq!(state.peer_count(), 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut state = State::new(0, MessageRate { rate: 1, burst: 1 });
        let text = "x".repeat(100 * 1024);
        let peer = |n| (InfoHash::new([1; 20]), PeerId::new([n; 20]));
        assert!(state.hold(&text, peer(1), 0) && state.hold(&text, peer(2), 0));
        assert!(!state.hold(&text, peer(3), 0));
        state.forget_held(peer(1).0, peer(1).1);
        assert_eq!(state.take_held().len(), 1);
        assert!(!state.holds_any());
    }

    #[test]
    fn a_holder_has_two_seconds_to_answer() {
        assert_eq!(judge(1_000, 1_000, 1_001), Claim::Alive);
        assert_eq!(judge(1_000, 999, 2_000_999), Claim::Waiting);
        assert_eq!(judge(1_000, 999, 2_001_000), Claim::Dead);
        assert_eq!(judge(1_000, 1_500, 9_000_000), Claim::Alive);
    }
}
