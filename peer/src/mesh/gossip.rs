//! Broadcasts: passed on once, to every neighbour that is not known to have them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shared::crypto::envelope::Kind;
use shared::{MessageId, PeerId};

use super::message::{Class, Packet, Signed};
use super::seen::Recent;
use super::{HOP_LIMIT, LinkId, Mesh, Now, Output};

/// Ids remembered: at 100 messages a second, ten minutes' worth.
const SEEN: usize = 65_536;

/// How long: twice the clock window, so that nothing that passes it can be new again.
const SEEN_AGE: Duration = Duration::from_secs(600);

/// How far an author's clock may be off, in milliseconds.
const CLOCK_MS: u64 = 5 * 60 * 1000;

/// Messages that wait for a first link.
const PENDING: usize = 64;

/// How long they wait.
const PENDING_AGE: Duration = Duration::from_secs(10);

/// Peers named in `has`: with six links each, those of the last two hops.
const MAX_HAS: usize = 32;

/// Above this, a message is bulk to a slow neighbour.
const BULK: usize = 1024;

#[derive(Debug)]
pub(super) struct Gossip {
    seen: Recent<MessageId, ()>,
    pending: VecDeque<(Now, Arc<Signed>)>,
}

impl Gossip {
    pub(super) fn new() -> Self {
        Self {
            seen: Recent::new(SEEN, SEEN_AGE),
            pending: VecDeque::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.pending.front().map(|(since, _)| *since + PENDING_AGE)
    }
}

impl Mesh {
    /// Whether a broadcast has been here, so that its proof need not be checked again.
    pub(crate) fn knows(&self, id: &MessageId) -> bool {
        self.gossip.seen.contains(id)
    }

    pub(super) fn on_gossip(
        &mut self,
        now: Now,
        link: LinkId,
        hops: u8,
        has: Vec<PeerId>,
        message: Arc<Signed>,
    ) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.heard(now);
        let offset = self.wall_ms(now).abs_diff(message.time_ms);
        if !self.is_up(link) || offset > CLOCK_MS || message.origin == self.settings.me {
            self.counters.rejected += 1;
            return;
        }
        if !self.gossip.seen.insert(now, message.id, ()) {
            self.counters.duplicates += 1;
            return;
        }
        let hops = hops.saturating_add(1);
        if message.kind != Kind::Bridged {
            // Who bridges is not where the author is.
            self.learn_route(now, message.origin, link, hops);
            self.direct.learn_keys(now, message.origin, message.keys);
        }
        if message.kind == Kind::Manifest {
            self.start_download(now, link, hops, &message);
        } else {
            self.counters.delivered += 1;
            self.out.push_back(Output::Deliver {
                message: Arc::clone(&message),
                hops,
            });
        }
        if hops < HOP_LIMIT {
            self.push(Some(link), hops, has, &message);
        }
    }

    pub(super) fn on_duplicate(&mut self, now: Now, link: LinkId, id: MessageId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.heard(now);
            self.counters.duplicates += 1;
            self.add_source(now, link, id);
        }
    }

    pub(super) fn on_publish(&mut self, now: Now, message: Arc<Signed>, chunks: Vec<Arc<[u8]>>) {
        self.gossip.seen.insert(now, message.id, ());
        if message.kind == Kind::Manifest {
            self.keep_chunks(now, &message, chunks);
        }
        if self.up_links().next().is_some() {
            self.push(None, 0, Vec::new(), &message);
            self.out.push_back(Output::Published(message));
        } else if self.gossip.pending.len() < PENDING {
            self.gossip.pending.push_back((now, message));
        } else {
            self.out.push_back(Output::NotPublished(message.id));
        }
    }

    /// The first link is up: what waited for one goes along it. Others that come up later get it
    /// from there.
    pub(super) fn flush_pending(&mut self) {
        while let Some((_, message)) = self.gossip.pending.pop_front() {
            self.push(None, 0, Vec::new(), &message);
            self.out.push_back(Output::Published(message));
        }
    }

    pub(super) fn expire_pending(&mut self, now: Now) {
        while let Some((since, _)) = self.gossip.pending.front()
            && now >= *since + PENDING_AGE
        {
            if let Some((_, message)) = self.gossip.pending.pop_front() {
                self.out.push_back(Output::NotPublished(message.id));
            }
        }
    }

    /// Sends to every neighbour but the author, the sender and those in `has`.
    fn push(
        &mut self,
        from: Option<LinkId>,
        hops: u8,
        mut has: Vec<PeerId>,
        message: &Arc<Signed>,
    ) {
        let targets: Vec<(LinkId, PeerId)> = self
            .mesh_links()
            .filter(|(id, link)| {
                Some(*id) != from && link.peer != message.origin && !has.contains(&link.peer)
            })
            .map(|(id, link)| (id, link.peer))
            .collect();
        has.push(self.settings.me);
        has.extend(targets.iter().map(|(_, peer)| *peer));
        // The latest matter most: a receiver's neighbours are more likely among them.
        has.drain(..has.len().saturating_sub(MAX_HAS));
        let links: Vec<LinkId> = targets.into_iter().map(|(id, _)| id).collect();
        let class = match (from.is_some(), message.bytes.len() > BULK) {
            (true, true) => Class::ForwardedBulk,
            (true, false) => Class::Forwarded,
            (false, true) => Class::OwnBulk,
            (false, false) => Class::Own,
        };
        if from.is_some() {
            self.counters.forwarded += links.len() as u64;
        }
        let message = Arc::clone(message);
        self.send(links, Packet::Gossip { hops, has, message }, class);
    }
}
