//! SIGNAL: the two ends of a walk, or of a split, exchange an offer and its answer along the way that
//! the walk came. Whoever was found makes the offer.

use std::sync::Arc;

use easypeers_proto::wire::frame::{Purpose, Signal, SignalKind};
use easypeers_proto::{MessageId, PeerId};

use super::split::Extra;
use super::{Mesh, Now, OPEN};
use crate::mesh::{LinkId, Output, Reason};

/// Session descriptions passed on for one exchange: an offer, its answer, a refusal, for each of the
/// neighbours that a host may try.
const RELAYS: u8 = 10;

/// The way of an exchange through us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    /// Towards who looks for links.
    pub(super) seeker: Option<LinkId>,
    /// Towards who invites.
    pub(super) inviter: Option<LinkId>,
    pub(super) relays: u8,
}

impl Path {
    pub(super) const fn of_walk(from: LinkId) -> Self {
        Self {
            seeker: Some(from),
            inviter: None,
            relays: 0,
        }
    }
}

/// A walk of ours, or an offer that came to us.
#[derive(Debug)]
pub(super) struct Seek {
    pub(super) purpose: Purpose,
    /// Links that it may bring.
    pub(super) links: usize,
    /// Who invited us.
    pub(super) peer: Option<PeerId>,
    /// The neighbour that it takes the place of.
    pub(super) host: Option<LinkId>,
    pub(super) deadline: Now,
}

/// An invitation of ours.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) peer: PeerId,
    pub(super) purpose: Purpose,
    /// The neighbour that it takes the place of.
    pub(super) host: Option<LinkId>,
    pub(super) deadline: Now,
}

impl Mesh {
    pub(super) fn invite(
        &mut self,
        now: Now,
        id: MessageId,
        peer: PeerId,
        purpose: Purpose,
        host: Option<LinkId>,
    ) {
        let invite = Invite {
            peer,
            purpose,
            host,
            deadline: now + OPEN,
        };
        self.membership.invites.insert(id, invite);
        self.out.push_back(Output::Invite { id, peer });
    }

    /// Tells the other end of an exchange that nothing will come of it.
    pub(super) fn refuse(&mut self, link: LinkId, id: MessageId, to: PeerId) {
        let signal = Signal {
            id,
            kind: SignalKind::Refusal,
            from: self.settings.me,
            to,
            sdp: Arc::default(),
        };
        self.send_control(link, signal);
    }

    /// A description for us, or one to pass on along the way of its exchange.
    pub(in crate::mesh) fn on_signal(&mut self, now: Now, link: LinkId, signal: Signal) {
        let Signal { id, kind, from, .. } = signal;
        if signal.to == self.settings.me {
            return match kind {
                SignalKind::Offer => self.on_offer(now, link, signal),
                SignalKind::Answer => {
                    let invites = &self.membership.invites;
                    if invites.get(&id).is_some_and(|invite| invite.peer == from) {
                        self.out.push_back(Output::Signal(signal));
                    }
                }
                SignalKind::Refusal => self.on_refusal(now, link, id),
            };
        }
        let Some(path) = self.membership.paths.get_mut(&id) else {
            return;
        };
        let next = match kind {
            SignalKind::Offer if path.seeker != Some(link) => {
                path.inviter = Some(link);
                path.seeker
            }
            SignalKind::Refusal if path.inviter == Some(link) => path.seeker,
            SignalKind::Answer | SignalKind::Refusal => path.inviter,
            SignalKind::Offer => None,
        };
        path.relays += 1;
        if path.relays <= RELAYS
            && let Some(next) = next.filter(|next| *next != link && self.is_up(*next))
        {
            self.send_control(next, signal);
        }
    }

    fn on_offer(&mut self, now: Now, link: LinkId, signal: Signal) {
        let (id, from) = (signal.id, signal.from);
        let path = Path {
            seeker: None,
            inviter: Some(link),
            relays: 0,
        };
        self.membership.paths.insert(now, id, path);
        // For a flip that this neighbour prepared, the new link takes its place.
        let host = self.membership.flips.prepared(&id, link);
        if !self.is_stranger(from) || self.guest_room() == 0 {
            return self.refuse(link, id, from);
        }
        // Of a walk of ours, or of a split or flip that a neighbour asked for.
        let (purpose, links) = (self.membership.seeks.get(&id))
            .map_or((Purpose::Links, 1), |seek| (seek.purpose, seek.links));
        let seek = Seek {
            purpose,
            links: if host.is_some() { 0 } else { links },
            peer: Some(from),
            host,
            deadline: now + OPEN,
        };
        self.membership.seeks.insert(id, seek);
        self.out.push_back(Output::Signal(signal));
    }

    /// Sends a description of ours along the way of its exchange.
    pub(in crate::mesh) fn send_signal(
        &mut self,
        id: MessageId,
        to: PeerId,
        kind: SignalKind,
        sdp: Arc<[u8]>,
    ) {
        let Some(path) = self.membership.paths.get(&id) else {
            return;
        };
        let link = path.seeker.or(path.inviter);
        let Some(link) = link.filter(|link| self.is_up(*link)) else {
            return;
        };
        let signal = Signal {
            id,
            kind,
            from: self.settings.me,
            to,
            sdp,
        };
        self.send_control(link, signal);
    }

    fn on_refusal(&mut self, now: Now, link: LinkId, id: MessageId) {
        self.on_split_refused(link, id);
        if self.membership.invites.contains_key(&id) {
            self.out.push_back(Output::Withdraw(id));
            self.on_exchange_failed(now, id);
        }
    }

    /// An exchange came to nothing: no offer could be made, or the connection failed.
    pub(in crate::mesh) fn on_exchange_failed(&mut self, now: Now, id: MessageId) {
        if let Some(invite) = self.membership.invites.remove(&id)
            && let Some(host) = invite.host
            && let Some(peer) = self.up_peer(host)
        {
            self.refuse(host, id, peer);
        }
        if let Some(seek) = self.membership.seeks.remove(&id) {
            if let Some(peer) = seek.peer {
                self.send_signal(id, peer, SignalKind::Refusal, Arc::default());
            }
            if seek.purpose == Purpose::Links {
                self.rest(now);
            }
        }
    }

    /// A link is up: whatever it was for is done.
    pub(in crate::mesh) fn settle_exchanges(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (peer, offered, neighbor) = (link.peer, link.offered, link.neighbor());
        let compat = link.is_compat();
        let mut replaced = Vec::new();
        let mut direct = false;
        let mut asked = false;
        self.membership.seeks.retain(|_, seek| {
            let done = seek.peer == Some(peer);
            if done {
                asked = true;
                replaced.extend(seek.host);
                direct |= seek.purpose == Purpose::Direct;
            }
            !done
        });
        self.membership.invites.retain(|_, invite| {
            let done = invite.peer == peer;
            if done {
                asked = true;
                replaced.extend(invite.host);
                direct |= invite.purpose == Purpose::Direct;
            }
            !done
        });
        if direct {
            self.start_direct(now, id);
        }
        let full = self.counted() > self.settings.max_peers;
        let replaces = !replaced.is_empty();
        for host in replaced {
            if self.is_up(host) {
                self.inherit(host, id);
                self.close_link(now, host, Some(Reason::Split));
            }
        }
        self.seek_later(now);
        if full && !replaces && !direct && !compat && neighbor.links >= neighbor.max_links {
            // Neither needs the other. They exchange neighbours, if that is what they met for, or else if
            // they turn out to be of two meshes.
            self.membership.extras.insert(id, Extra::awaiting(now));
            if offered && asked {
                self.propose_flip(now, id);
            }
        }
    }
}
