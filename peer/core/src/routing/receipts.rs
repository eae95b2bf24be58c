//! Direct messages that wait for their receipt, and those that have arrived here.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::wire::frame::Sealed;
use easypeers_proto::{MessageId, PeerId};

use super::relay::PASSING;
use super::{PATIENCE, RETRY};
use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::message::LinkId;
use crate::time::Now;

/// Own messages that wait for an acknowledgement.
pub const MAX_SENDS: usize = 256;

/// How long an arrived message is remembered. When it comes again, it is acknowledged again and not delivered
/// twice.
const ARRIVED_AGE: Duration = Duration::from_secs(600);

/// Bytes to one member within [`BULK_AGE`] that deserve a link of their own.
const BULK: usize = 256 << 10;
const BULK_AGE: Duration = Duration::from_secs(10);
const RECEIVERS: u32 = 64;

/// Ways that are tried before a message is flooded.
const WAYS: u32 = 2;

#[derive(Debug)]
struct Sending {
    sealed: Arc<Sealed>,
    since: Now,
    next: Now,
    tries: u32,
    /// The neighbour that it went to the last time.
    along: Option<LinkId>,
    /// There was a way to its receiver.
    reachable: bool,
}

/// What to do about a message that is due.
#[derive(Debug)]
pub(super) enum Due {
    /// Try once more.
    Try {
        sealed: Arc<Sealed>,
        /// The neighbour that it went to the last time.
        before: Option<LinkId>,
        /// The ways have been tried: it is to be flooded.
        last: bool,
    },
    /// No receipt came in time.
    GiveUp { reachable: bool },
}

/// A message that has arrived here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) from: PeerId,
    pub(super) hops: u8,
    /// The proof that we opened it, once we have.
    pub(super) proof: Option<[u8; 16]>,
}

/// Messages that wait for their receipt, and receipts that we owe.
#[derive(Debug)]
pub(super) struct Receipts {
    sends: Map<MessageId, Sending>,
    arrived: ExpiringMap<MessageId, Arrived>,
    /// Bytes sent to each receiver within the last seconds.
    traffic: ExpiringMap<PeerId, usize>,
}

impl Receipts {
    pub(super) fn new() -> Self {
        Self {
            sends: Map::default(),
            arrived: ExpiringMap::new(PASSING, ARRIVED_AGE),
            traffic: ExpiringMap::new(RECEIVERS, BULK_AGE),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.arrived.expire(now);
        self.traffic.expire(now);
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.sends.values().map(|send| send.next).min()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.sends.len() >= MAX_SENDS
    }

    pub(super) fn start(&mut self, now: Now, sealed: Arc<Sealed>) {
        let id = sealed.id;
        let sending = Sending {
            sealed,
            since: now,
            next: now,
            tries: 0,
            along: None,
            reachable: false,
        };
        self.sends.insert(id, sending);
    }

    /// Counts bytes to a member. Whether they are enough for a link of their own.
    pub(super) fn count_traffic(&mut self, now: Now, to: PeerId, bytes: usize) -> bool {
        self.traffic.expire(now);
        let before = self.traffic.get(&to).copied().unwrap_or(0);
        self.traffic.insert(now, to, before + bytes);
        before + bytes >= BULK
    }

    pub(super) fn finish(&mut self, id: MessageId) {
        self.sends.remove(&id);
    }

    /// Whether we wait for a receipt of this message from this member.
    pub(super) fn awaits(&self, id: MessageId, from: PeerId) -> bool {
        let send = self.sends.get(&id);
        send.is_some_and(|send| send.sealed.to == from)
    }

    pub(super) fn has_message_to(&self, peer: PeerId) -> bool {
        self.sends.values().any(|send| send.sealed.to == peer)
    }

    /// There is a way to this member now: messages that had none try it.
    pub(super) fn retry_to(&mut self, now: Now, peer: PeerId) {
        for send in self.sends.values_mut() {
            if send.sealed.to == peer && !send.reachable {
                send.next = now;
            }
        }
    }

    /// A link came up: messages without a way may find one.
    pub(super) fn retry_all(&mut self, now: Now) {
        for send in self.sends.values_mut() {
            send.next = if send.reachable { send.next } else { now };
        }
    }

    /// Messages that are due.
    pub(super) fn due(&self, now: Now) -> Vec<MessageId> {
        (self.sends.iter())
            .filter(|(_, send)| send.next <= now)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn retry(&mut self, now: Now, id: MessageId) -> Option<Due> {
        let send = self.sends.get_mut(&id)?;
        if now >= send.since + PATIENCE {
            let reachable = send.reachable;
            self.sends.remove(&id);
            return Some(Due::GiveUp { reachable });
        }
        send.tries += 1;
        send.next = now + RETRY;
        Some(Due::Try {
            sealed: Arc::clone(&send.sealed),
            before: send.along,
            last: send.tries > WAYS,
        })
    }

    /// Notes where a message goes now, and whether that is a known way.
    pub(super) fn note_way(&mut self, id: MessageId, way: Option<LinkId>, known: bool) {
        if let Some(send) = self.sends.get_mut(&id) {
            send.along = way;
            send.reachable |= known;
        }
    }

    /// A neighbour says that the way of our message leads nowhere. Its receiver, if that is news; `None`
    /// if there is no such message.
    pub(super) fn on_route_error(
        &mut self,
        now: Now,
        id: MessageId,
        link: LinkId,
    ) -> Option<Result<PeerId, Stale>> {
        let send = self.sends.get_mut(&id)?;
        // A late error tells nothing, and no neighbour may have a message flooded again and again.
        if send.along != Some(link) || send.tries > WAYS || send.next <= now {
            return Some(Err(Stale));
        }
        send.next = now;
        send.reachable = false;
        Some(Ok(send.sealed.to))
    }

    pub(super) fn arrived(&self, id: MessageId) -> Option<Arrived> {
        self.arrived.get(&id).copied()
    }

    pub(super) fn note_arrived(&mut self, now: Now, id: MessageId, from: PeerId, hops: u8) {
        let arrived = Arrived {
            from,
            hops,
            proof: None,
        };
        self.arrived.insert(now, id, arrived);
    }

    /// The message was opened. What is known of it.
    pub(super) fn note_opened(&mut self, id: MessageId, proof: [u8; 16]) -> Option<Arrived> {
        let arrived = self.arrived.get_mut(&id)?;
        arrived.proof = Some(proof);
        Some(*arrived)
    }
}

/// A route error that says nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale;

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: PeerId = PeerId::new([2; 20]);

    fn sealed(id: u8) -> Arc<Sealed> {
        Arc::new(Sealed {
            id: MessageId::new([id; 20]),
            from: PeerId::new([1; 20]),
            to: BOB,
            body: vec![0; 10].into(),
        })
    }

    #[test]
    fn two_ways_are_tried_before_the_last_try() {
        let mut receipts = Receipts::new();
        receipts.start(Now::ZERO, sealed(7));
        let id = MessageId::new([7; 20]);
        let mut lasts = Vec::new();
        let mut now = Now::ZERO;
        loop {
            match receipts.retry(now, id).unwrap() {
                Due::Try { last, .. } => lasts.push(last),
                Due::GiveUp { reachable } => {
                    assert!(!reachable);
                    break;
                }
            }
            now = receipts.deadline().unwrap();
        }
        assert_eq!(lasts, [false, false, true, true, true]);
    }

    #[test]
    fn only_the_neighbour_on_the_way_can_end_it() {
        let mut receipts = Receipts::new();
        receipts.start(Now::ZERO, sealed(7));
        let id = MessageId::new([7; 20]);
        receipts.retry(Now::ZERO, id);
        receipts.note_way(id, Some(LinkId(1)), true);
        let error = |receipts: &mut Receipts, link| receipts.on_route_error(Now::ZERO, id, link);
        assert_eq!(error(&mut receipts, LinkId(2)), Some(Err(Stale)));
        assert_eq!(error(&mut receipts, LinkId(1)), Some(Ok(BOB)));
        assert_eq!(error(&mut receipts, LinkId(1)), Some(Err(Stale)), "known");
    }

    #[test]
    fn much_traffic_to_one_member_deserves_a_link() {
        let mut receipts = Receipts::new();
        assert!(!receipts.count_traffic(Now::ZERO, BOB, BULK - 1));
        assert!(receipts.count_traffic(Now::ZERO, BOB, 1));
        assert!(!receipts.count_traffic(BULK_AGE, BOB, 1), "it was long ago");
    }
}
