//! Anti-entropy: neighbours compare what they have, when they meet and every half minute, and pull
//! what they miss. So a partition that healed catches up, and a newcomer that wants it gets what was
//! said before it came.
//!
//! The side that offered the link sends DIGEST: a window of time, the number of messages in it and the
//! exclusive or of their ids. The other side says nothing if its own are the same; else it lists its ids.
//! Then each side pulls what it has not.

use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{Digest, IHave, MAX_DIGEST, MAX_MESSAGES};

use super::cache::{self, Span};
use super::rates::FAULT;
use super::{LinkId, Mesh, Now};

/// Between two comparisons.
const INTERVAL: Duration = Duration::from_secs(30);

/// What is younger may still be on its way.
const FRESH_MS: u64 = 2000;

/// After the first comparison of a link: for what was too young then.
const AGAIN: Duration = Duration::from_secs(3);

/// Comparisons of one neighbour are answered no faster.
const SPACING: Duration = Duration::from_secs(1);

/// Messages that a neighbour must have had for two seconds and more without passing them on, for us to
/// look for another. One or two are lost now and then, where links break.
const DEPRIVED: usize = 3;

/// A link's comparisons.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// When we compare next; only the side that offered does.
    due: Option<Now>,
    /// The window that we asked about.
    asked: Option<Span>,
    answered: Option<Now>,
}

impl Compared {
    pub(super) const fn due(&self) -> Option<Now> {
        self.due
    }
}

impl Mesh {
    /// The window that matters to us: not before we came, or as much earlier as the user wants.
    fn span(&self, now: Now) -> Span {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let wall = self.wall_ms(now);
        let kept = wall.saturating_sub(ms(cache::AGE));
        let wanted = (self.settings.started_ms).saturating_sub(ms(self.settings.history));
        (kept.max(wanted), wall.saturating_sub(FRESH_MS))
    }

    /// The link is up.
    pub(super) fn start_comparing(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.is_compat()
            && link.offered
        {
            link.compared.due = Some(now);
            self.wake_for(id);
        }
    }

    pub(super) fn tend_digests(&mut self, now: Now) {
        let due: Vec<LinkId> = (self.links.iter())
            .filter(|(_, link)| link.compared.due.is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        if due.is_empty() {
            return;
        }
        self.gossip.cache.expire(now);
        let span = self.span(now);
        let (count, xor_hash) = self.gossip.cache.summary(span);
        for id in due {
            if let Some(link) = self.links.get_mut(&id) {
                let young = link.up_since.is_some_and(|up| now < up + AGAIN);
                link.compared.due = Some(now + if young { AGAIN } else { INTERVAL });
                link.compared.asked = Some(span);
            }
            let digest = Digest {
                from_ms: span.0,
                to_ms: span.1,
                count,
                xor_hash,
                reply: false,
                ids: Vec::new(),
            };
            self.send_control(id, digest);
        }
    }

    pub(super) fn on_digest(&mut self, now: Now, id: LinkId, digest: Digest) {
        let span = (digest.from_ms, digest.to_ms);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if digest.reply {
            if link.compared.asked.take() == Some(span) {
                return self.level(now, id, span, digest.ids);
            }
            return self.penalize(now, id, FAULT);
        }
        let rested = (link.compared.answered).is_none_or(|last| now >= last + SPACING);
        let (count, xor_hash) = self.gossip.cache.summary(span);
        if !rested || (count, xor_hash) == (digest.count, digest.xor_hash) {
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.compared.answered = Some(now);
        }
        let ids = self.gossip.cache.ids(span).take(MAX_DIGEST).collect();
        let reply = Digest {
            count,
            xor_hash,
            reply: true,
            ids,
            ..digest
        };
        self.send_control(id, reply);
    }

    /// Gets what the neighbour has, and tells it what it has not.
    fn level(&mut self, now: Now, link: LinkId, span: Span, theirs: Vec<MessageId>) {
        let ours = self.gossip.cache.ids(span);
        let extra: Vec<MessageId> = ours.filter(|id| !theirs.contains(id)).collect();
        for ids in extra.chunks(MAX_MESSAGES) {
            let ids = ids.to_vec();
            self.send_control(link, IHave { ids, pull: true });
        }
        let unknown: Vec<MessageId> = (theirs.into_iter()).filter(|id| !self.knows(id)).collect();
        let up = self.links.get(&link).and_then(|link| link.up_since);
        if unknown.len() >= DEPRIVED && up.is_some_and(|up| now >= up + INTERVAL) {
            self.on_deprived(now);
        }
        self.pull(now, link, unknown);
    }
}
