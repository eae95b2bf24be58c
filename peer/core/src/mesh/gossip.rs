//! Broadcasts: passed on once, to every neighbour that is not known to have them. Small ones go to
//! all neighbours at once, larger ones along a [tree](super::tree).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::Pushed;
use easypeers_proto::{MessageId, PeerId};

use super::cache::Cache;
use super::message::{Class, Signed};
use super::rates::FAULT;
use super::{HOP_LIMIT, LinkId, Mesh, Now, Output, Settings, Unsent};
use crate::expiring_map::ExpiringMap;
use crate::rate::TokenBucket;

/// Ids remembered: at 100 messages a second, ten minutes' worth.
const SEEN: u32 = 65_536;

/// How long: twice the clock window, so that nothing that passes it can be new again.
const SEEN_AGE: Duration = Duration::from_secs(600);

/// How far an author's clock may be off, in milliseconds.
const CLOCK_MS: u64 = 5 * 60 * 1000;

/// Messages of ours that wait for a first link, or for our rate.
const PENDING: usize = 64;

/// How long they wait.
const PENDING_AGE: Duration = Duration::from_secs(10);

/// Peers named in `has`: with six links each, those of the last two hops.
const MAX_HAS: usize = 32;

#[derive(Debug)]
pub(super) struct Gossip {
    seen: ExpiringMap<MessageId, ()>,
    pub(super) cache: Cache,
    pending: VecDeque<(Now, Arc<Signed>)>,
    /// Our own rate.
    bucket: TokenBucket,
}

impl Gossip {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            seen: ExpiringMap::new(SEEN, SEEN_AGE),
            cache: Cache::default(),
            pending: VecDeque::new(),
            bucket: TokenBucket::full(Now::ZERO, settings.rate),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.seen.expire(now);
        self.cache.expire(now);
    }
}

/// A broadcast that came along a link.
#[derive(Debug)]
pub struct Arrival {
    pub link: LinkId,
    pub hops: u8,
    pub pushed: Pushed,
    pub has: Vec<PeerId>,
    pub message: Arc<Signed>,
}

impl Mesh {
    /// Whether a broadcast has been here, so that its proof need not be checked again.
    pub fn knows(&self, id: &MessageId) -> bool {
        self.gossip.seen.contains(id)
    }

    pub(super) fn gossip_deadline(&self) -> Option<Now> {
        let (since, _) = self.gossip.pending.front()?;
        let expiry = *since + PENDING_AGE;
        let waits_for_link = self.up_links().next().is_none();
        Some(if waits_for_link {
            expiry
        } else {
            self.gossip.bucket.next(self.settings.rate).min(expiry)
        })
    }

    pub(super) fn on_gossip(&mut self, now: Now, arrival: Arrival) {
        let Arrival {
            link,
            hops,
            mut pushed,
            has,
            message,
        } = arrival;
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.heard(now);
        let offset = self.wall_ms(now).abs_diff(message.time_ms);
        if !self.is_up(link) || offset > CLOCK_MS || message.origin == self.settings.me {
            self.counters.rejected += 1;
            return;
        }
        if self.knows(&message.id) {
            return self.on_duplicate(now, link, message.id, pushed);
        }
        let asked = pushed == Pushed::Pulled && self.tree.is_missing(&message.id);
        if !asked && !self.is_within_rate(now, message.origin) {
            return self.on_excess(now, link, message.origin);
        }
        if !self.admit(now, &message, asked) {
            self.counters.rejected += 1;
            return;
        }
        self.gossip.seen.insert(now, message.id, ());
        if pushed == Pushed::Renewed && !self.renew(now, false) {
            pushed = Pushed::Flood;
        }
        let late = asked && self.tree.is_awaited(&message.id);
        if late {
            // Where the tree leads on, it is followed again.
            pushed = Pushed::Flood;
            self.tree.on_late(now, message.id, link);
        }
        let announced = self.arrived(&message);
        let hops = hops.saturating_add(1);
        if message.kind != Kind::Bridged {
            // Who bridges is not where the author is.
            self.learn_route(now, message.origin, link, hops);
            self.direct.learn_keys(now, message.origin, message.keys);
        }
        match message.kind {
            Kind::Beacon => match self.on_beacon(now, &message) {
                Some(true) => {}
                Some(false) => return,
                None => return self.penalize(now, link, FAULT),
            },
            Kind::Manifest => self.start_download(now, link, hops, &message),
            _ => {
                self.counters.delivered += 1;
                self.out.push_back(Output::Deliver {
                    message: Arc::clone(&message),
                    hops,
                });
            }
        }
        if message.kind != Kind::Beacon {
            let cache = &mut self.gossip.cache;
            cache.insert(now, hops, is_tree(pushed), &message);
        }
        if is_tree(pushed) && message.is_large() {
            self.set_eager(link, true);
        }
        if hops < HOP_LIMIT || pushed == Pushed::Pulled {
            let source = Source {
                link,
                announced,
                asked: asked && !late,
                pushed,
            };
            self.push(now, Some(source), hops.min(HOP_LIMIT), has, &message);
        }
    }

    pub(super) fn on_duplicate(&mut self, now: Now, link: LinkId, id: MessageId, pushed: Pushed) {
        if let Some(state) = self.links.get_mut(&link) {
            state.heard(now);
            self.counters.duplicates += 1;
            if pushed != Pushed::Pulled && state.eager {
                self.tree.is_whole(&id);
            }
            self.add_source(now, link, id);
            if is_tree(pushed) {
                self.prune(link, &id);
            }
        }
    }

    pub(super) fn on_publish(&mut self, now: Now, message: Arc<Signed>, chunks: Vec<Arc<[u8]>>) {
        self.gossip.seen.insert(now, message.id, ());
        if message.kind == Kind::Beacon {
            self.on_beacon(now, &message);
            return self.push(now, None, 0, Vec::new(), &message);
        }
        if message.kind == Kind::Manifest {
            self.keep_chunks(now, &message, chunks);
        }
        if self.gossip.pending.len() < PENDING {
            self.gossip.pending.push_back((now, message));
            self.flush_pending(now);
        } else {
            let why = if self.up_links().next().is_some() {
                Unsent::TooFast
            } else {
                Unsent::NoLink
            };
            self.out.push_back(Output::NotPublished {
                id: message.id,
                why,
            });
        }
    }

    /// What waits goes out as soon as there is a link, at our rate. Links that come up later get it
    /// from there.
    pub(super) fn flush_pending(&mut self, now: Now) {
        while !self.gossip.pending.is_empty()
            && self.up_links().next().is_some()
            && self.gossip.bucket.take(now, self.settings.rate)
        {
            if let Some((_, message)) = self.gossip.pending.pop_front() {
                self.gossip.cache.insert(now, 0, true, &message);
                self.push(now, None, 0, Vec::new(), &message);
                self.out.push_back(Output::Published(message));
            }
        }
        while let Some((since, _)) = self.gossip.pending.front()
            && now >= *since + PENDING_AGE
        {
            if let Some((_, message)) = self.gossip.pending.pop_front() {
                self.out.push_back(Output::NotPublished {
                    id: message.id,
                    why: Unsent::NoLink,
                });
            }
        }
    }

    /// Sends to every neighbour but the author, the sender and those that are known to have it: in
    /// whole or, beside the tree, by its id.
    fn push(
        &mut self,
        now: Now,
        source: Option<Source>,
        hops: u8,
        mut has: Vec<PeerId>,
        message: &Arc<Signed>,
    ) {
        let large = message.is_large();
        let flood = !large || self.is_flooding(now);
        let pushed = match source.as_ref().map(|source| source.pushed) {
            Some(Pushed::Renewed) => Pushed::Renewed,
            None if large && self.renew(now, true) => Pushed::Renewed,
            // What left the tree once says nothing about it: no copy of it is pruned further on.
            Some(Pushed::Flood) => Pushed::Flood,
            _ if flood => Pushed::Flood,
            _ => Pushed::Tree,
        };
        let all = flood || pushed == Pushed::Renewed;
        let asked = source.as_ref().is_some_and(|source| source.asked);
        let (mut whole, mut by_id) = (Vec::new(), Vec::new());
        for (id, link) in self.mesh_links() {
            let known = source.as_ref().is_some_and(|source| source.knows(id));
            if known || link.peer == message.origin || has.contains(&link.peer) {
                continue;
            }
            if !asked && (all || link.eager) {
                whole.push((id, link.peer));
            } else {
                by_id.push(id);
            }
        }
        // What was missed once is passed on to those who miss it too, and only to them.
        self.announce(now, &by_id, message.id, asked);
        has.push(self.settings.me);
        has.extend(whole.iter().map(|(_, peer)| *peer));
        // The latest matter most: a receiver's neighbours are more likely among them.
        has.drain(..has.len().saturating_sub(MAX_HAS));
        let links: Vec<LinkId> = whole.into_iter().map(|(id, _)| id).collect();
        let class = class(source.is_some(), large);
        if source.is_some() {
            self.counters.forwarded += links.len() as u64;
        }
        if pushed == Pushed::Renewed {
            for link in &links {
                self.set_eager(*link, true);
            }
        }
        if !links.is_empty() {
            self.out.push_back(Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message: Arc::clone(message),
                class,
            });
        }
    }

    /// Sends a kept message to a neighbour that asked for it.
    pub(super) fn resend(&mut self, link: LinkId, id: &MessageId) {
        let Some((hops, message)) = self.gossip.cache.get(id) else {
            return;
        };
        let ours = message.origin == self.settings.me;
        let class = class(!ours, true);
        let message = Arc::clone(message);
        self.counters.forwarded += u64::from(!ours);
        self.out.push_back(Output::SendGossip {
            links: vec![link],
            hops,
            pushed: Pushed::Pulled,
            has: vec![self.settings.me],
            message,
            class,
        });
    }
}

/// Where a message came from.
struct Source {
    link: LinkId,
    /// Neighbours that announced it meanwhile.
    announced: Vec<LinkId>,
    /// We had asked for it.
    asked: bool,
    pushed: Pushed,
}

impl Source {
    fn knows(&self, link: LinkId) -> bool {
        self.link == link || self.announced.contains(&link)
    }
}

/// Whether a copy too many of a message that comes so is not wanted again.
fn is_tree(pushed: Pushed) -> bool {
    matches!(pushed, Pushed::Tree | Pushed::Renewed)
}

const fn class(forwarded: bool, large: bool) -> Class {
    match (forwarded, large) {
        (true, true) => Class::ForwardedBulk,
        (true, false) => Class::Forwarded,
        (false, true) => Class::OwnBulk,
        (false, false) => Class::Own,
    }
}
