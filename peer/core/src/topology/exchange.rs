//! Exchanges: the two ends of a walk, or of a split, exchange an offer and its answer with SIGNAL, along
//! the way that the walk came. The member that was found makes the offer.

use std::time::Duration;

use easypeers_proto::wire::frame::{Purpose, Signal, SignalKind};
use easypeers_proto::{MessageId, PeerId};

use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::message::LinkId;
use crate::time::Now;

/// From an offer to a link that is up.
pub(super) const OPEN: Duration = Duration::from_secs(15);

/// Time for a walk to bring an offer.
const REQUEST: Duration = Duration::from_secs(3);

/// Exchanges between other members whose way we remember, and for how long.
const PATHS: u32 = 4096;
pub(super) const PATH_AGE: Duration = Duration::from_secs(30);

/// Session descriptions that are passed on for one exchange: an offer, its answer and a refusal for each
/// of the neighbours that a host may try.
const RELAYS: u8 = 10;

/// The way of an exchange through us.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// Towards the member that looks for links.
    seeker: Option<LinkId>,
    /// Towards the member that invites it.
    inviter: Option<LinkId>,
    relays: u8,
}

/// Our request for links, or an offer that came to us.
#[derive(Debug)]
pub(super) struct LinkRequest {
    pub(super) purpose: Purpose,
    /// Links that it may bring.
    links: usize,
    /// The member that has made us an offer.
    pub(super) peer: Option<PeerId>,
    /// The neighbour whose place the new link takes.
    host: Option<LinkId>,
    deadline: Now,
}

/// Our invitation.
#[derive(Debug)]
struct Invitation {
    peer: PeerId,
    purpose: Purpose,
    /// The neighbour whose place the new link takes.
    host: Option<LinkId>,
    deadline: Now,
}

/// What a new link settles.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Neighbours whose place it takes.
    pub(super) replaced: Vec<LinkId>,
    /// It is a bulk link.
    pub(super) bulk: bool,
    /// An exchange over the mesh led to it.
    pub(super) asked: bool,
}

/// What is left to do when an exchange has failed.
#[derive(Debug, Default)]
pub(super) struct Failed {
    /// The neighbour that asked us to invite, to be told.
    pub(super) host: Option<LinkId>,
    /// Our request that will bring nothing.
    pub(super) request: Option<LinkRequest>,
}

/// Exchanges under way, ours and those that pass through us.
#[derive(Debug)]
pub(super) struct Exchanges {
    paths: ExpiringMap<MessageId, Path>,
    requests: Map<MessageId, LinkRequest>,
    invitations: Map<MessageId, Invitation>,
}

impl Exchanges {
    pub(super) fn new() -> Self {
        Self {
            paths: ExpiringMap::new(PATHS, PATH_AGE),
            requests: Map::default(),
            invitations: Map::default(),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.paths.expire(now);
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Now> {
        let requests = self.requests.values().map(|request| request.deadline);
        requests.chain(self.invitations.values().map(|invited| invited.deadline))
    }

    /// A walk came along this link. What it finds is sent back along it.
    pub(super) fn remember_walk(&mut self, now: Now, id: MessageId, from: LinkId) {
        self.remember(now, id, Some(from), None);
    }

    pub(super) fn remember(
        &mut self,
        now: Now,
        id: MessageId,
        seeker: Option<LinkId>,
        inviter: Option<LinkId>,
    ) {
        let path = Path {
            seeker,
            inviter,
            relays: 0,
        };
        self.paths.insert(now, id, path);
    }

    pub(super) fn has_path(&self, id: MessageId) -> bool {
        self.paths.contains(&id)
    }

    /// The link towards the member that looks for links.
    pub(super) fn seeker(&self, id: MessageId) -> Option<LinkId> {
        self.paths.get(&id).and_then(|path| path.seeker)
    }

    /// The link to the other end of our exchange.
    pub(super) fn way(&self, id: MessageId) -> Option<LinkId> {
        let path = self.paths.get(&id)?;
        path.seeker.or(path.inviter)
    }

    /// The link along which a description that came along `link` is passed on.
    pub(super) fn relay(&mut self, link: LinkId, signal: &Signal) -> Option<LinkId> {
        let path = self.paths.get_mut(&signal.id)?;
        let next = match signal.kind {
            SignalKind::Offer if path.seeker != Some(link) => {
                path.inviter = Some(link);
                path.seeker
            }
            SignalKind::Refusal if path.inviter == Some(link) => path.seeker,
            SignalKind::Answer | SignalKind::Refusal => path.inviter,
            SignalKind::Offer => None,
        };
        path.relays = path.relays.saturating_add(1);
        next.filter(|next| path.relays <= RELAYS && *next != link)
    }

    /// Our walk starts.
    pub(super) fn request(&mut self, now: Now, id: MessageId, purpose: Purpose, links: usize) {
        let request = LinkRequest {
            purpose,
            links,
            peer: None,
            host: None,
            deadline: now + REQUEST,
        };
        self.requests.insert(id, request);
    }

    /// We answer an offer that came of our walk, or of a split or flip that a neighbour asked for. With a `host`
    /// the new link takes its place.
    pub(super) fn answer(&mut self, now: Now, id: MessageId, peer: PeerId, host: Option<LinkId>) {
        let (purpose, links) = (self.requests.get(&id)).map_or((Purpose::Links, 1), |request| {
            (request.purpose, request.links)
        });
        let request = LinkRequest {
            purpose,
            links: if host.is_some() { 0 } else { links },
            peer: Some(peer),
            host,
            deadline: now + OPEN,
        };
        self.requests.insert(id, request);
    }

    /// We make an offer.
    pub(super) fn invite(
        &mut self,
        now: Now,
        id: MessageId,
        peer: PeerId,
        purpose: Purpose,
        host: Option<LinkId>,
    ) {
        let invitation = Invitation {
            peer,
            purpose,
            host,
            deadline: now + OPEN,
        };
        self.invitations.insert(id, invitation);
    }

    pub(super) fn has_request(&self, id: MessageId) -> bool {
        self.requests.contains_key(&id)
    }

    pub(super) fn has_invitation(&self, id: MessageId) -> bool {
        self.invitations.contains_key(&id)
    }

    /// Whether we have invited this peer with this exchange.
    pub(super) fn has_invited(&self, id: MessageId, peer: PeerId) -> bool {
        let invitation = self.invitations.get(&id);
        invitation.is_some_and(|invitation| invitation.peer == peer)
    }

    pub(super) const fn requests(&self) -> usize {
        self.requests.len()
    }

    pub(super) const fn invitations(&self) -> usize {
        self.invitations.len()
    }

    /// Links that our requests may bring.
    pub(super) fn links_requested(&self) -> usize {
        self.requests.values().map(|request| request.links).sum()
    }

    /// Invitations that add a link. The others replace one.
    pub(super) fn links_invited(&self) -> usize {
        let adds = |invitation: &&Invitation| invitation.host.is_none();
        self.invitations.values().filter(adds).count()
    }

    pub(super) fn requests_bulk_link(&self) -> bool {
        let mut requests = self.requests.values();
        requests.any(|request| request.purpose == Purpose::Direct)
    }

    /// Whether a link to this peer is under way.
    pub(super) fn involves(&self, peer: PeerId) -> bool {
        let mut requests = self.requests.values();
        self.invitations
            .values()
            .any(|invited| invited.peer == peer)
            || requests.any(|request| request.peer == Some(peer))
    }

    /// Neighbours whose place another link is about to take.
    pub(super) fn leaving(&self) -> Vec<LinkId> {
        let invitations = self.invitations.values().filter_map(|invited| invited.host);
        let requests = self.requests.values().filter_map(|request| request.host);
        invitations.chain(requests).collect()
    }

    /// A link to this peer is up: its exchanges have reached their goal.
    pub(super) fn settle(&mut self, peer: PeerId) -> Settled {
        let mut settled = Settled::default();
        let mut note = |purpose: Purpose, host: Option<LinkId>| {
            settled.asked = true;
            if let Some(host) = host.filter(|host| !settled.replaced.contains(host)) {
                settled.replaced.push(host);
            }
            settled.bulk |= purpose == Purpose::Direct;
        };
        self.requests.retain(|_, request| {
            let done = request.peer == Some(peer);
            if done {
                note(request.purpose, request.host);
            }
            !done
        });
        self.invitations.retain(|_, invitation| {
            let done = invitation.peer == peer;
            if done {
                note(invitation.purpose, invitation.host);
            }
            !done
        });
        settled
    }

    /// An exchange came to nothing.
    pub(super) fn fail(&mut self, id: MessageId) -> Failed {
        let invitation = self.invitations.remove(&id);
        Failed {
            host: invitation.and_then(|invitation| invitation.host),
            request: self.requests.remove(&id),
        }
    }

    /// Invitations that took too long.
    pub(super) fn late_invitations(&self, now: Now) -> Vec<MessageId> {
        (self.invitations.iter())
            .filter(|(_, invitation)| invitation.deadline <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ends requests that took too long. Whether there were any.
    pub(super) fn end_late_requests(&mut self, now: Now) -> bool {
        let before = self.requests.len();
        self.requests.retain(|_, request| request.deadline > now);
        self.requests.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId::new([1; 20]);
    const ALICE: PeerId = PeerId::new([2; 20]);
    const BOB: PeerId = PeerId::new([3; 20]);

    fn signal(kind: SignalKind) -> Signal {
        Signal {
            id: ID,
            kind,
            from: ALICE,
            to: BOB,
            sdp: (*b"").into(),
        }
    }

    #[test]
    fn descriptions_follow_the_way_of_their_walk_and_back() {
        let mut exchanges = Exchanges::new();
        let (seeker, inviter) = (LinkId(1), LinkId(2));
        assert_eq!(exchanges.relay(inviter, &signal(SignalKind::Offer)), None);
        exchanges.remember_walk(Now::ZERO, ID, seeker);
        let mut relay = |from, kind| exchanges.relay(from, &signal(kind));
        assert_eq!(relay(inviter, SignalKind::Offer), Some(seeker));
        assert_eq!(relay(seeker, SignalKind::Answer), Some(inviter));
        assert_eq!(relay(inviter, SignalKind::Refusal), Some(seeker));
        assert_eq!(relay(seeker, SignalKind::Refusal), Some(inviter));
        assert_eq!(relay(seeker, SignalKind::Offer), None, "it looks for links");
    }

    #[test]
    fn an_exchange_passes_only_so_many_descriptions() {
        let mut exchanges = Exchanges::new();
        exchanges.remember_walk(Now::ZERO, ID, LinkId(1));
        let passed = (0..1000)
            .filter(|_| {
                exchanges
                    .relay(LinkId(2), &signal(SignalKind::Offer))
                    .is_some()
            })
            .count();
        assert_eq!(passed, usize::from(RELAYS));
    }

    #[test]
    fn a_new_link_settles_what_led_to_it() {
        let mut exchanges = Exchanges::new();
        exchanges.invite(Now::ZERO, ID, ALICE, Purpose::Links, Some(LinkId(7)));
        assert!(exchanges.involves(ALICE) && !exchanges.involves(BOB));
        assert_eq!(exchanges.leaving(), [LinkId(7)]);
        assert_eq!(exchanges.settle(BOB), Settled::default());
        let settled = exchanges.settle(ALICE);
        assert_eq!(settled.replaced, [LinkId(7)]);
        assert!(settled.asked && !settled.bulk);
        assert!(!exchanges.involves(ALICE));
    }
}
