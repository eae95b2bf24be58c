//! Digests: neighbours compare what they have, when they meet and then twice a minute, and pull what they
//! miss. A partition that has healed catches up this way, and a newcomer that wants it gets what was said before it
//! came.
//!
//! The side that made the offer sends DIGEST: a window of time, the number of messages in it and a hash over their
//! ids. The other side says nothing if its own are the same. Else it lists its ids, and each side pulls what it
//! misses.

use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{Digest, MAX_DIGEST};

use super::cache::{self, Cache, Span};
use super::{Output, send};
use crate::map::Map;
use crate::message::LinkId;
use crate::neighbors::Neighbors;
use crate::time::Now;

/// Between two comparisons.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

/// Younger messages may still be on their way.
const FRESH_MS: u64 = 2000;

/// After the first comparison of a link, for what was too young then.
const AGAIN: Duration = Duration::from_secs(3);

/// Comparisons of one neighbour are answered no faster.
const SPACING: Duration = Duration::from_secs(1);

/// The comparisons of one link.
#[derive(Debug, Default)]
struct Compared {
    /// When we compare next. Only the side that made the offer does.
    due: Option<Now>,
    /// The window that we asked about.
    asked: Option<Span>,
    answered: Option<Now>,
}

/// What a digest calls for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Called {
    /// Nothing.
    Nothing,
    /// The neighbour answers our question: these are its ids in this window.
    Level(Span, Vec<MessageId>),
    /// It answers what we have not asked.
    Penalty,
}

/// The comparisons with all neighbours.
#[derive(Debug)]
pub(super) struct Digests {
    /// When we started, in milliseconds since 1970.
    started_ms: u64,
    /// How much from before the start is wanted.
    history: Duration,
    links: Map<LinkId, Compared>,
    /// No comparison is due before this. May be too early, never too late.
    links_due: Now,
}

impl Digests {
    pub(super) fn new(started_ms: u64, history: Duration) -> Self {
        Self {
            started_ms,
            history,
            links: Map::default(),
            links_due: Now::MAX,
        }
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_ms(&self, now: Now) -> u64 {
        self.started_ms.saturating_add(ms(now))
    }

    pub(super) const fn links_due(&self) -> Now {
        self.links_due
    }

    pub(super) fn next_link_due(&self) -> Now {
        let due = self.links.values().filter_map(|link| link.due);
        due.fold(Now::MAX, Now::min)
    }

    pub(super) fn plan(&mut self) {
        self.links_due = self.next_link_due();
    }

    /// The window that matters to us: not before we came, or as much earlier as the application wants.
    fn span(&self, now: Now) -> Span {
        let wall = self.wall_ms(now);
        let kept = wall.saturating_sub(ms(cache::AGE));
        let wanted = self.started_ms.saturating_sub(ms(self.history));
        (kept.max(wanted), wall.saturating_sub(FRESH_MS))
    }

    /// A mesh link is up.
    pub(super) fn add_link(&mut self, now: Now, neighbors: &Neighbors, id: LinkId) {
        let offered = neighbors.get(id).is_some_and(|link| link.offered);
        let compared = Compared {
            due: offered.then_some(now),
            ..Compared::default()
        };
        self.links.insert(id, compared);
        if offered {
            self.links_due = self.links_due.min(now);
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Asks the neighbours whose turn it is.
    pub(super) fn on_timeout(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        cache: &mut Cache,
        out: &mut Vec<Output>,
    ) {
        let is_due = |link: &Compared| link.due.is_some_and(|due| due <= now);
        if !self.links.values().any(is_due) {
            return;
        }
        cache.expire(now);
        let span = self.span(now);
        let (count, xor_hash) = cache.summary(span);
        for (id, link) in self.links.iter_mut() {
            if !is_due(link) {
                continue;
            }
            let up = neighbors.get(*id).and_then(|link| link.up_since);
            let young = up.is_some_and(|up| now < up + AGAIN);
            link.due = Some(now + if young { AGAIN } else { INTERVAL });
            link.asked = Some(span);
            let digest = Digest {
                from_ms: span.0,
                to_ms: span.1,
                count,
                xor_hash,
                reply: false,
                ids: Vec::new(),
            };
            out.push(send(*id, digest));
        }
    }

    /// A neighbour asks what we have, or answers.
    pub(super) fn on_digest(
        &mut self,
        now: Now,
        cache: &Cache,
        id: LinkId,
        digest: Digest,
        out: &mut Vec<Output>,
    ) -> Called {
        let span = (digest.from_ms, digest.to_ms);
        let Some(link) = self.links.get_mut(&id) else {
            return Called::Nothing;
        };
        if digest.reply {
            if link.asked.take() == Some(span) {
                return Called::Level(span, digest.ids);
            }
            return Called::Penalty;
        }
        let rested = link.answered.is_none_or(|last| now >= last + SPACING);
        let (count, xor_hash) = cache.summary(span);
        if !rested || (count, xor_hash) == (digest.count, digest.xor_hash) {
            return Called::Nothing;
        }
        link.answered = Some(now);
        let reply = Digest {
            count,
            xor_hash,
            reply: true,
            ids: cache.ids(span).take(MAX_DIGEST).collect(),
            ..digest
        };
        out.push(send(id, reply));
        Called::Nothing
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use easypeers_proto::wire::frame::Frame;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::testing::{link_up, message, neighbors};

    fn digest(out: &mut Vec<Output>) -> Digest {
        match out.pop() {
            Some(Output::Send {
                frame: Frame::Digest(digest),
                ..
            }) => digest,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn equal_neighbours_say_nothing_and_different_ones_list_their_ids() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut neighbors, mut out) = (neighbors(6), Vec::new());
        let link = link_up(&mut neighbors, &mut rng, 1, 2);
        let mut digests = Digests::new(1_000_000_000, Duration::from_secs(600));
        digests.add_link(Now::ZERO, &neighbors, link);
        let (mut ours, mut theirs) = (Cache::default(), Cache::default());
        let now = Duration::from_secs(10);
        digests.on_timeout(now, &neighbors, &mut ours, &mut out);
        let question = digest(&mut out);
        assert_eq!(
            digests.on_digest(now, &theirs, link, question.clone(), &mut out),
            Called::Nothing
        );
        assert!(out.is_empty());
        // Of the neighbour's last minutes.
        let missed = message(1_000_000_000 - 5_000, 10);
        theirs.insert(Now::ZERO, 1, true, &missed);
        digests.on_digest(now, &theirs, link, question, &mut out);
        let reply = digest(&mut out);
        let called = digests.on_digest(now, &ours, link, reply.clone(), &mut out);
        assert!(matches!(called, Called::Level(_, ids) if ids == [missed.id]));
        let called = digests.on_digest(now, &ours, link, reply, &mut out);
        assert_eq!(called, Called::Penalty, "it was not asked again");
    }
}
