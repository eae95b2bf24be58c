//! Broadcast: each message is passed on once, to every neighbour that is not known to have it. Small
//! messages go to all neighbours at once, larger ones along a tree.
//!
//! - `publisher`: our own messages that wait.
//! - `authors`: how much an author may say.
//! - `plumtree`: which neighbours are sent larger messages, and which only hear of them.
//! - `cache`: messages kept for others.
//! - `digests`: neighbours compare what they have.
//! - `large`: messages too large for one frame.
//!
//! Invariants: a message is delivered to the application once. It is never sent back along the link that it
//! came along, nor to its author, nor to a neighbour that has announced it or that `has` names.

mod authors;
mod cache;
mod digests;
mod interface;
mod large;
mod plumtree;
mod publisher;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::{Chunk, Digest, Frame, IHave, MAX_MESSAGES, Pushed};
use easypeers_proto::{MessageId, PeerId};

use crate::expiring_map::ExpiringMap;
use crate::message::{Class, HOP_LIMIT, LinkId, Signed};
use crate::neighbors::{Neighbors, Penalty};
use crate::rate::Rate;
use crate::time::Now;
use authors::Authors;
use cache::{Cache, Span};
use digests::{Called, Digests};
use large::LargeMessages;
use plumtree::Plumtree;
use publisher::Publisher;

pub use interface::{Arrival, Counters, Input, Output, Unsent};

/// Ids remembered: those of ten minutes, at 100 messages a second.
const SEEN: u32 = 65_536;

/// How long: twice the clock window. Nothing that passes it can be new again.
const SEEN_AGE: Duration = Duration::from_secs(600);

/// How far an author's clock may be off, in milliseconds.
const CLOCK_MS: u64 = 5 * 60 * 1000;

/// Peers named in `has`. With six links each, these are the ones of the last two hops.
const MAX_HAS: usize = 32;

/// Messages that a neighbour must have had for two seconds and more without passing them on, for us to look for
/// another one. One or two are lost now and then where links break.
const DEPRIVED: usize = 3;

/// A broadcast that is new and on its way through us.
#[derive(Debug)]
pub struct Passing {
    source: Source,
    hops: u8,
    has: Vec<PeerId>,
    message: Arc<Signed>,
}

impl Passing {
    /// The link that it came along.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        self.source.link
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &Arc<Signed> {
        &self.message
    }
}

/// Where a message came from.
#[derive(Debug)]
struct Source {
    link: LinkId,
    /// Neighbours that have announced it meanwhile.
    announced: Vec<LinkId>,
    /// We had asked for it, and not because the tree is broken.
    asked: bool,
    pushed: Pushed,
}

impl Source {
    fn knows(&self, link: LinkId) -> bool {
        self.link == link || self.announced.contains(&link)
    }
}

/// A control frame for one link.
fn send(link: LinkId, frame: impl Into<Frame>) -> Output {
    Output::Send {
        links: vec![link],
        frame: frame.into(),
        class: Class::Control,
    }
}

/// Broadcasts on their way and those kept for others.
#[derive(Debug)]
pub struct Broadcast {
    seen: ExpiringMap<MessageId, ()>,
    authors: Authors,
    cache: Cache,
    publisher: Publisher,
    tree: Plumtree,
    digests: Digests,
    large: LargeMessages,
    counters: Counters,
    out: Vec<Output>,
}

impl Broadcast {
    /// Has heard nothing yet. `started_ms` is the start in milliseconds since 1970, `rate` what each author may
    /// say, `history` how much from before the start is wanted.
    #[must_use]
    pub fn new(started_ms: u64, rate: Rate, history: Duration) -> Self {
        Self {
            seen: ExpiringMap::new(SEEN, SEEN_AGE),
            authors: Authors::new(rate),
            cache: Cache::default(),
            publisher: Publisher::new(rate),
            tree: Plumtree::new(),
            digests: Digests::new(started_ms, history),
            large: LargeMessages::default(),
            counters: Counters::default(),
            out: Vec::new(),
        }
    }

    /// Takes an input. Follow with [`take_outputs`](Self::take_outputs).
    pub fn handle(&mut self, now: Now, neighbors: &Neighbors, input: Input) {
        match input {
            Input::Gossip(arrival) => self.on_gossip(now, neighbors, arrival),
            Input::Duplicate { link, id, pushed } => {
                self.on_duplicate(now, neighbors, link, id, pushed);
            }
            Input::OverRate { link, origin } => self.on_over_rate(neighbors, link, origin),
            Input::Chunk(chunk) => self.on_chunk(now, chunk),
            Input::Publish { message, chunks } => self.publish(now, neighbors, message, chunks),
            Input::PassOn(passing) => self.pass_on(now, neighbors, *passing),
            Input::IHave(link, have) => self.on_i_have(now, neighbors, link, have),
            Input::Graft(link) => self.tree.set_eager(link, true),
            Input::Prune(link) => self.tree.set_eager(link, false),
            Input::Digest(link, digest) => self.on_digest(now, neighbors, link, digest),
            Input::Pull(link, pull) => {
                for id in &pull.ids {
                    self.resend(neighbors, link, id);
                }
            }
            Input::ChunkRequest(link, request) => {
                let me = neighbors.me();
                let served = self.large.on_request(me, link, &request, &mut self.out);
                self.counters.forwarded += served.forwarded;
                self.counters.rejected += served.rejected;
            }
            Input::LinkUp(link) => self.tree.add_link(neighbors, link, &mut self.out),
            Input::Compare(link) => self.digests.add_link(now, neighbors, link),
            Input::LinkLeaving { link, heir } => {
                self.tree.leave_link(neighbors, link, heir, &mut self.out);
            }
            Input::Replaced { old, new } => self.tree.replace(neighbors, old, new, &mut self.out),
            Input::Incomplete => self.tree.flood_for_a_while(now),
            Input::Flush => self.flush(now, neighbors),
            Input::Timeout => {
                self.flush(now, neighbors);
                self.tree.on_timeout(now, neighbors, &mut self.out);
                (self.digests).on_timeout(now, neighbors, &mut self.cache, &mut self.out);
            }
            Input::LargeTimeout => self.large.on_timeout(now, neighbors, &mut self.out),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Timeout`] or [`Input::LargeTimeout`] is due, what waits for one link aside.
    #[must_use]
    pub fn deadline(&self, neighbors: &Neighbors) -> Option<Now> {
        let has_link = neighbors.up_links().next().is_some();
        (self.publisher.deadline(has_link).into_iter())
            .chain(self.tree.deadline())
            .chain(self.large.deadline())
            .min()
    }

    /// When something is due for one of the links, at the earliest.
    pub(crate) fn links_due(&self) -> Now {
        self.tree.links_due().min(self.digests.links_due())
    }

    pub(crate) fn next_link_due(&self) -> Now {
        self.tree.next_link_due().min(self.digests.next_link_due())
    }

    pub(crate) fn plan_links(&mut self) {
        self.tree.plan();
        self.digests.plan();
    }

    pub(crate) fn expire(&mut self, now: Now) {
        self.seen.expire(now);
        self.cache.expire(now);
        self.authors.expire(now);
    }

    pub(crate) fn forget_link(&mut self, link: LinkId) {
        self.large.forget_link(link);
        self.tree.forget_link(link);
        self.digests.forget_link(link);
    }

    /// Counts since the start.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether a broadcast has been here: its signature need not be checked again.
    #[must_use]
    pub fn knows(&self, id: &MessageId) -> bool {
        self.seen.contains(id)
    }

    /// Whether a broadcast is within its author's rate. Asked before its signature is checked.
    #[must_use]
    pub fn is_within_rate(&self, now: Now, origin: PeerId) -> bool {
        self.authors.is_within_rate(now, origin)
    }

    /// The manifest of a large message that is under way, to check its pieces with.
    #[must_use]
    pub fn manifest(&self, id: &MessageId) -> Option<&Arc<Signed>> {
        self.large.manifest(id)
    }

    /// Whether larger broadcasts go along this link in whole.
    #[must_use]
    pub fn is_eager(&self, link: LinkId) -> bool {
        self.tree.is_eager(link)
    }

    fn on_gossip(&mut self, now: Now, neighbors: &Neighbors, arrival: Arrival) {
        let Arrival {
            link,
            hops,
            mut pushed,
            has,
            message,
        } = arrival;
        let offset = self.digests.wall_ms(now).abs_diff(message.time_ms);
        if !neighbors.is_up(link) || offset > CLOCK_MS || message.origin == neighbors.me() {
            self.counters.rejected += 1;
            return;
        }
        if self.knows(&message.id) {
            return self.on_duplicate(now, neighbors, link, message.id, pushed);
        }
        let asked = pushed == Pushed::Pulled && self.tree.is_missing(&message.id);
        if !asked && !self.is_within_rate(now, message.origin) {
            return self.on_over_rate(neighbors, link, message.origin);
        }
        if !self.authors.admit(now, &message, asked) {
            self.counters.rejected += 1;
            return;
        }
        self.seen.insert(now, message.id, ());
        if pushed == Pushed::Renewed && !self.tree.renew(now, false) {
            pushed = Pushed::Flood;
        }
        let late = asked && self.tree.is_awaited(&message.id);
        if late {
            // Where the tree leads on, it is followed again.
            pushed = Pushed::Flood;
            self.tree.on_late(now, message.id, link);
        }
        let announced = self.tree.on_arrived(&message);
        let hops = hops.saturating_add(1);
        if message.kind != Kind::Bridged {
            // The bridge is somewhere else than the author.
            self.out.push(Output::AuthorSeen {
                message: Arc::clone(&message),
                link,
                hops,
            });
        }
        let passing = Passing {
            source: Source {
                link,
                announced,
                asked: asked && !late,
                pushed,
            },
            hops,
            has,
            message,
        };
        match passing.message.kind {
            Kind::Beacon => return self.out.push(Output::Beacon(Box::new(passing))),
            Kind::Manifest => {
                let message = &passing.message;
                if !self.large.start(now, link, hops, message, &mut self.out) {
                    self.counters.rejected += 1;
                }
            }
            _ => {
                self.counters.delivered += 1;
                self.out.push(Output::Deliver {
                    message: Arc::clone(&passing.message),
                    hops,
                });
            }
        }
        (self.cache).insert(now, hops, is_tree(pushed), &passing.message);
        self.pass_on(now, neighbors, passing);
    }

    fn pass_on(&mut self, now: Now, neighbors: &Neighbors, passing: Passing) {
        let Passing {
            source,
            hops,
            has,
            message,
        } = passing;
        if is_tree(source.pushed) && message.is_large() {
            self.tree.set_eager(source.link, true);
        }
        if hops < HOP_LIMIT || source.pushed == Pushed::Pulled {
            self.push(
                now,
                neighbors,
                Some(source),
                hops.min(HOP_LIMIT),
                has,
                &message,
            );
        }
    }

    fn on_duplicate(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        link: LinkId,
        id: MessageId,
        pushed: Pushed,
    ) {
        if neighbors.get(link).is_none() {
            return;
        }
        self.counters.duplicates += 1;
        if pushed != Pushed::Pulled && self.tree.is_eager(link) {
            self.tree.is_whole(&id);
        }
        self.large.add_source(now, link, id, &mut self.out);
        // Not if the first copy was flooded, which says nothing about the tree.
        if is_tree(pushed) && self.cache.came_by_tree(&id) && neighbors.is_up(link) {
            self.tree.prune(link, &mut self.out);
        }
    }

    /// A message above its author's rate. The author's neighbours hold it to account, others cannot tell.
    fn on_over_rate(&mut self, neighbors: &Neighbors, link: LinkId, origin: PeerId) {
        self.counters.rejected += 1;
        if neighbors.up_peer(link) == Some(origin) {
            self.out.push(Output::Penalize(link, Penalty::OverRate));
        }
    }

    fn publish(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        message: Arc<Signed>,
        chunks: Vec<Arc<[u8]>>,
    ) {
        self.seen.insert(now, message.id, ());
        if message.kind == Kind::Beacon {
            return self.push(now, neighbors, None, 0, Vec::new(), &message);
        }
        if message.kind == Kind::Manifest {
            self.large.keep(now, &message, chunks);
        }
        if self.publisher.push(now, &message) {
            return self.flush(now, neighbors);
        }
        let why = if neighbors.up_links().next().is_some() {
            Unsent::TooFast
        } else {
            Unsent::NoLink
        };
        self.out.push(Output::NotPublished {
            id: message.id,
            why,
        });
    }

    /// Messages that wait go out as soon as there is a link, at our rate. Links that come up later get them from
    /// there.
    fn flush(&mut self, now: Now, neighbors: &Neighbors) {
        if neighbors.up_links().next().is_some() {
            while let Some(message) = self.publisher.next(now) {
                self.cache.insert(now, 0, true, &message);
                self.push(now, neighbors, None, 0, Vec::new(), &message);
                self.out.push(Output::Published(message));
            }
        }
        while let Some(message) = self.publisher.next_expired(now) {
            self.out.push(Output::NotPublished {
                id: message.id,
                why: Unsent::NoLink,
            });
        }
    }

    /// Sends to every neighbour but the author, the sender and those that are known to have it: in whole or, along
    /// lazy links, by its id.
    fn push(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        source: Option<Source>,
        hops: u8,
        mut has: Vec<PeerId>,
        message: &Arc<Signed>,
    ) {
        let large = message.is_large();
        let flood = !large || self.tree.is_flooding(now);
        let pushed = match source.as_ref().map(|source| source.pushed) {
            Some(Pushed::Renewed) => Pushed::Renewed,
            None if large && self.tree.renew(now, true) => Pushed::Renewed,
            // What left the tree once says nothing about it. No copy of it is pruned further on.
            Some(Pushed::Flood) => Pushed::Flood,
            _ if flood => Pushed::Flood,
            _ => Pushed::Tree,
        };
        let all = flood || pushed == Pushed::Renewed;
        let asked = source.as_ref().is_some_and(|source| source.asked);
        let (mut whole, mut by_id) = (Vec::new(), Vec::new());
        for (id, link) in neighbors.mesh_links() {
            let known = source.as_ref().is_some_and(|source| source.knows(id));
            if known || link.peer == message.origin || has.contains(&link.peer) {
                continue;
            }
            if !asked && (all || self.tree.is_eager(id)) {
                whole.push((id, link.peer));
            } else {
                by_id.push(id);
            }
        }
        // What was missed once is passed on to those that miss it too, and only to them.
        (self.tree).announce(now, &by_id, message.id, asked, &mut self.out);
        has.push(neighbors.me());
        has.extend(whole.iter().map(|(_, peer)| *peer));
        // The latest matter most: a receiver's neighbours are more likely among them.
        has.drain(..has.len().saturating_sub(MAX_HAS));
        let links: Vec<LinkId> = whole.into_iter().map(|(id, _)| id).collect();
        if source.is_some() {
            self.counters.forwarded += links.len() as u64;
        }
        if pushed == Pushed::Renewed {
            for link in &links {
                self.tree.set_eager(*link, true);
            }
        }
        if !links.is_empty() {
            self.out.push(Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message: Arc::clone(message),
                class: class(source.is_some(), large),
            });
        }
    }

    /// Sends a kept message to a neighbour that asked for it.
    fn resend(&mut self, neighbors: &Neighbors, link: LinkId, id: &MessageId) {
        let Some((hops, message)) = self.cache.get(id) else {
            return;
        };
        let ours = message.origin == neighbors.me();
        self.counters.forwarded += u64::from(!ours);
        self.out.push(Output::SendGossip {
            links: vec![link],
            hops,
            pushed: Pushed::Pulled,
            has: vec![neighbors.me()],
            message: Arc::clone(message),
            class: class(!ours, true),
        });
    }

    fn on_chunk(&mut self, now: Now, chunk: Chunk) {
        let taken = self.large.on_chunk(now, chunk, &mut self.out);
        self.counters.forwarded += taken.forwarded;
        self.counters.duplicates += u64::from(taken.duplicate);
        self.counters.rejected += u64::from(taken.rejected);
        self.counters.delivered += u64::from(taken.delivered);
    }

    fn on_i_have(&mut self, now: Now, neighbors: &Neighbors, link: LinkId, have: IHave) {
        let unknown: Vec<MessageId> = (have.ids.into_iter())
            .filter(|id| !self.knows(id))
            .collect();
        let refused = if have.pull {
            (self.tree).pull(now, neighbors, link, unknown, &mut self.out)
        } else {
            self.tree.on_announced(now, neighbors, link, unknown)
        };
        self.counters.rejected += refused;
    }

    fn on_digest(&mut self, now: Now, neighbors: &Neighbors, link: LinkId, digest: Digest) {
        match (self.digests).on_digest(now, &self.cache, link, digest, &mut self.out) {
            Called::Nothing => {}
            Called::Level(span, theirs) => self.level(now, neighbors, link, span, theirs),
            Called::Penalty => {
                self.out.push(Output::Penalize(link, Penalty::BrokenRule));
            }
        }
    }

    /// Gets what the neighbour has, and tells it what it misses.
    fn level(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        link: LinkId,
        span: Span,
        theirs: Vec<MessageId>,
    ) {
        let ours = self.cache.ids(span);
        let extra: Vec<MessageId> = ours.filter(|id| !theirs.contains(id)).collect();
        for ids in extra.chunks(MAX_MESSAGES) {
            let ids = ids.to_vec();
            self.out.push(send(link, IHave { ids, pull: true }));
        }
        let unknown: Vec<MessageId> = (theirs.into_iter()).filter(|id| !self.knows(id)).collect();
        let up = neighbors.get(link).and_then(|link| link.up_since);
        if unknown.len() >= DEPRIVED && up.is_some_and(|up| now >= up + digests::INTERVAL) {
            self.out.push(Output::Deprived);
        }
        let refused = (self.tree).pull(now, neighbors, link, unknown, &mut self.out);
        self.counters.rejected += refused;
    }
}

/// Whether a copy too many of a message that comes this way is not wanted again.
const fn is_tree(pushed: Pushed) -> bool {
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
