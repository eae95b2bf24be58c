//! Flips: two full members A and C that were linked exchange one neighbour each. A-b and C-d become
//! A-C and b-d, and every degree stays the same. C proposes d to A and prepares d. A asks b with SPLIT to
//! link to d, and the descriptions go along b, A, C, d. When b-d is up, b leaves A and d leaves C.
//!
//! A member starts a flip now and then at the end of a long random walk, which keeps the mesh a random
//! graph whatever happened to it. A full member whose probe offer a tracker hands to another full member
//! gets one too. When two meshes touch, members on both sides start some across.

use std::time::Duration;

use easypeers_proto::MessageId;
use rand::RngExt;
use rand::rngs::StdRng;

use super::exchange::PATH_AGE;
use crate::expiring_map::ExpiringMap;
use crate::message::LinkId;
use crate::time::Now;

/// Flips that neighbours have prepared and that may still come.
const PREPARED: u32 = 64;

/// Walks that each side of a touch sends out for flips across. With those of the touch itself, and with
/// some that fail, this makes at least sixteen edges.
pub(super) const MERGES: usize = 6;

/// Between two merges.
const MERGE_PAUSE: Duration = Duration::from_secs(60);

/// Pauses between exchanges of neighbours that kept messages from us: the first one, doubled each time,
/// up to the second. After a time without any, the first one again.
const DEPRIVED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Between two flips that others may have with us.
const SPACING: Duration = Duration::from_secs(5);

/// When flips start, and which neighbours have prepared one.
#[derive(Debug)]
pub(super) struct Flips {
    prepared: ExpiringMap<MessageId, LinkId>,
    /// Between two flips that we start, on average.
    interval: Duration,
    next: Option<Now>,
    last_hosted: Option<Now>,
    last_merge: Option<Now>,
    /// When neighbours that keep messages from us may be exchanged again, and the pause after that.
    deprived: (Now, Duration),
}

impl Flips {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            prepared: ExpiringMap::new(PREPARED, PATH_AGE),
            interval,
            next: None,
            last_hosted: None,
            last_merge: None,
            deprived: (Now::ZERO, DEPRIVED.0),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.prepared.expire(now);
    }

    /// When we start the next flip.
    pub(super) fn due(&self) -> Now {
        self.next.unwrap_or(Now::ZERO)
    }

    /// Plans the next flip if one is due, at a random time. Whether to start one now: not the first time.
    pub(super) fn is_time(&mut self, now: Now, rng: &mut StdRng) -> bool {
        let due = self.next;
        if due.is_some_and(|due| due > now) {
            return false;
        }
        let mean = self.interval;
        let wait = mean.mul_f64(-rng.random_range(f64::EPSILON..1.0).ln());
        self.next = Some(now + wait.clamp(mean / 10, mean * 4));
        due.is_some()
    }

    /// A neighbour is prepared for an offer that comes along this link.
    pub(super) fn prepare(&mut self, now: Now, id: MessageId, link: LinkId) {
        self.prepared.insert(now, id, link);
    }

    /// The neighbour that has prepared this exchange and gives us up for it.
    pub(super) fn prepared(&self, id: MessageId, link: LinkId) -> Option<LinkId> {
        self.prepared.get(&id).copied().filter(|by| *by == link)
    }

    /// Whether others may flip with us now.
    pub(super) fn may_host(&self, now: Now) -> bool {
        self.last_hosted.is_none_or(|last| now >= last + SPACING)
    }

    pub(super) const fn note_hosted(&mut self, now: Now) {
        self.last_hosted = Some(now);
    }

    /// Whether a merge may start now, which it then does.
    pub(super) fn may_merge(&mut self, now: Now) -> bool {
        let may = (self.last_merge).is_none_or(|last| now >= last + MERGE_PAUSE);
        if may {
            self.last_merge = Some(now);
        }
        may
    }

    /// Neighbours kept messages from us. Whether some are to be exchanged now.
    pub(super) fn note_deprived(&mut self, now: Now) -> bool {
        let (after, pause) = self.deprived;
        if now < after {
            return false;
        }
        let pause = if now < after + DEPRIVED.1 {
            pause
        } else {
            DEPRIVED.0
        };
        self.deprived = (now + pause, (pause * 2).min(DEPRIVED.1));
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn flips_start_at_random_times_around_their_interval() {
        let mut rng = StdRng::seed_from_u64(3);
        let interval = Duration::from_secs(1000);
        let mut flips = Flips::new(interval);
        assert!(
            !flips.is_time(Now::ZERO, &mut rng),
            "the first time is planned"
        );
        for _ in 0..200 {
            let due = flips.due();
            assert!(!flips.is_time(due - Duration::from_millis(1), &mut rng));
            assert!(flips.is_time(due, &mut rng));
            let wait = flips.due() - due;
            assert!(wait >= interval / 10 && wait <= interval * 4);
        }
    }

    #[test]
    fn exchanges_of_deprived_members_grow_rare() {
        let mut flips = Flips::new(Duration::from_secs(1000));
        let times: Vec<u64> = (0..1000)
            .filter(|at| flips.note_deprived(Duration::from_secs(*at)))
            .collect();
        assert_eq!(times, [0, 10, 30, 70, 150, 310, 630]);
    }

    #[test]
    fn only_the_neighbour_that_prepared_a_flip_gives_us_up() {
        let mut flips = Flips::new(Duration::from_secs(1000));
        let id = MessageId::new([1; 20]);
        flips.prepare(Now::ZERO, id, LinkId(1));
        assert_eq!(flips.prepared(id, LinkId(2)), None);
        assert_eq!(flips.prepared(id, LinkId(1)), Some(LinkId(1)));
    }
}
