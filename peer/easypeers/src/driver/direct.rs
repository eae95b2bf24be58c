//! Direct messages: sealed for their receiver, in parts if they are large; and those for this peer,
//! opened and acknowledged.

use std::collections::HashMap;
use std::sync::Arc;

use easypeers_core::mesh::{Input, MAX_SENDS};
use easypeers_core::time::Now;
use easypeers_proto::crypto::envelope::{Content, Envelope, Kind};
use easypeers_proto::crypto::part::Part;
use easypeers_proto::crypto::seal::{self, AckKey};
use easypeers_proto::crypto::{Identity, PublicKeys};
use easypeers_proto::wire::frame::Sealed;
use easypeers_proto::{MessageId, PeerId};

use super::action::{Action, Count};
use super::command::Reply;
use super::content::{content, to_data};
use super::parts::{Added, Parts};
use super::signer::Signer;
use crate::model::{Data, Message, Receipt, SendError};
use crate::rt::{self, Clock};

/// Largest direct message that is sealed whole, and the size of the parts of a larger one. With all
/// headers it stays below 64 KiB.
const PART: usize = 48 << 10;

/// Parts of one message on their way at once: 384 KiB, less than an outbox holds.
const WINDOW: usize = 8;

/// How far a sender's clock may be off, in milliseconds; as for broadcasts.
const CLOCK_MS: u64 = 5 * 60 * 1000;

/// A direct message that this peer sends.
#[derive(Debug)]
struct Outgoing {
    to: PeerId,
    data: Data,
    /// The name that its parts share.
    group: [u8; 20],
    /// The next part to send.
    next: usize,
    count: usize,
    acknowledged: usize,
    hops: u8,
    started: Now,
    reply: Reply<Result<Receipt, SendError>>,
}

/// A sealed message on its way.
#[derive(Debug)]
struct Sent {
    key: AckKey,
    outgoing: u64,
}

/// Direct messages under way, in both directions.
#[derive(Debug)]
pub(super) struct DirectMessages {
    me: PeerId,
    identity: Arc<Identity>,
    clock: Clock,
    next: u64,
    outgoing: HashMap<u64, Outgoing>,
    /// Messages whose receiver's keys are not known yet.
    unknown: HashMap<PeerId, Vec<u64>>,
    sent: HashMap<MessageId, Sent>,
    parts: Parts,
    /// Receivers of messages under way, to seal the next parts for.
    keys: HashMap<PeerId, PublicKeys>,
}

impl DirectMessages {
    pub(super) fn new(me: PeerId, identity: Arc<Identity>, clock: Clock) -> Self {
        Self {
            me,
            identity,
            clock,
            next: 0,
            outgoing: HashMap::new(),
            unknown: HashMap::new(),
            sent: HashMap::new(),
            parts: Parts::default(),
            keys: HashMap::new(),
        }
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn deadline(&self) -> Option<Now> {
        self.parts.deadline()
    }

    /// Forgets messages whose parts stopped arriving.
    pub(super) fn expire(&mut self) {
        self.parts.expire(self.clock.now());
    }

    /// Starts to send a message: asks the mesh for the keys of its receiver.
    pub(super) fn send(
        &mut self,
        to: PeerId,
        data: Data,
        reply: Reply<Result<Receipt, SendError>>,
    ) -> Vec<Action> {
        if self.outgoing.len() >= MAX_SENDS {
            let _ = reply.send(Err(SendError::Busy));
            return Vec::new();
        }
        let outgoing = Outgoing {
            to,
            group: rt::random(),
            next: 0,
            count: data.as_bytes().len().div_ceil(PART).max(1),
            data,
            acknowledged: 0,
            hops: 0,
            started: self.clock.now(),
            reply,
        };
        let id = self.next;
        self.next += 1;
        self.outgoing.insert(id, outgoing);
        self.unknown.entry(to).or_default().push(id);
        vec![
            Action::Count(Count::Sent),
            Action::UpdateView,
            Action::Mesh(Input::FindKeys(to)),
        ]
    }

    /// The mesh has found a receiver's keys, or given up.
    pub(super) fn on_keys(
        &mut self,
        peer: PeerId,
        keys: Option<PublicKeys>,
        signer: &mut Signer,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for id in self.unknown.remove(&peer).unwrap_or_default() {
            match keys {
                Some(keys) => {
                    self.keys.insert(peer, keys);
                    for _ in 0..WINDOW {
                        actions.extend(self.send_part(id, signer));
                    }
                }
                None => self.finish(id, Receipt::Unreachable),
            }
        }
        actions
    }

    /// Seals and sends the next part, if one is left.
    fn send_part(&mut self, id: u64, signer: &mut Signer) -> Option<Action> {
        let outgoing = self.outgoing.get_mut(&id)?;
        if outgoing.next >= outgoing.count {
            return None;
        }
        let sealed = self
            .keys
            .get(&outgoing.to)
            .and_then(|keys| seal_next(outgoing, self.me, keys, signer));
        let Some((sealed, key)) = sealed else {
            self.finish(id, Receipt::Unreachable);
            return None;
        };
        self.sent.insert(sealed.id, Sent { key, outgoing: id });
        Some(Action::Mesh(Input::Direct(Arc::new(sealed))))
    }

    /// Checks an acknowledgement. If it is genuine, the next part is sent or the message is done.
    pub(super) fn on_ack(
        &mut self,
        id: MessageId,
        proof: [u8; 16],
        hops: u8,
        signer: &mut Signer,
    ) -> Vec<Action> {
        let Some(sent) = self.sent.get(&id) else {
            return Vec::new();
        };
        if !sent.key.verify(&id, hops, &proof) {
            return vec![Action::Count(Count::Rejected)];
        }
        let message = sent.outgoing;
        self.sent.remove(&id);
        let mut actions = vec![Action::Mesh(Input::Acknowledged(id))];
        let now = self.clock.now();
        let Some(outgoing) = self.outgoing.get_mut(&message) else {
            return actions;
        };
        outgoing.acknowledged += 1;
        outgoing.hops = outgoing.hops.max(hops);
        if outgoing.acknowledged == outgoing.count {
            let receipt = Receipt::Delivered {
                hops: outgoing.hops.into(),
                rtt: now.saturating_sub(outgoing.started),
            };
            self.finish(message, receipt);
        } else {
            actions.extend(self.send_part(message, signer));
        }
        actions
    }

    /// A sealed message was not acknowledged in time. `reachable`: there was a way to its receiver.
    pub(super) fn on_undelivered(&mut self, id: MessageId, reachable: bool) {
        let Some(sent) = self.sent.remove(&id) else {
            return;
        };
        let receipt = if reachable {
            Receipt::Timeout
        } else {
            Receipt::Unreachable
        };
        self.finish(sent.outgoing, receipt);
    }

    fn finish(&mut self, id: u64, receipt: Receipt) {
        let Some(outgoing) = self.outgoing.remove(&id) else {
            return;
        };
        self.sent.retain(|_, sent| sent.outgoing != id);
        if !self.outgoing.values().any(|other| other.to == outgoing.to) {
            self.keys.remove(&outgoing.to);
        }
        // The caller may have stopped waiting.
        let _ = outgoing.reply.send(Ok(receipt));
    }

    /// This peer leaves: ends every message that it is sending.
    pub(super) fn give_up(&mut self) {
        for (_, outgoing) in self.outgoing.drain() {
            let receipt = if outgoing.next == 0 {
                Receipt::Unreachable
            } else {
                Receipt::Timeout
            };
            let _ = outgoing.reply.send(Ok(receipt));
        }
    }

    /// Opens a sealed message for this peer, delivers what it completes and acknowledges it.
    pub(super) fn open(&mut self, sealed: &Sealed, hops: u8) -> Vec<Action> {
        let opened = seal::open(&sealed.body, &self.identity, sealed.from);
        let Ok((bytes, key)) = opened else {
            return vec![Action::Count(Count::Rejected)];
        };
        match self.read(sealed, hops, &bytes) {
            None => vec![Action::Count(Count::Rejected)],
            Some(message) => {
                let (id, proof) = (sealed.id, key.prove(&sealed.id, hops));
                let deliver = message.map(Action::Deliver);
                let acknowledge = Action::Mesh(Input::Acknowledge { id, proof });
                deliver.into_iter().chain([acknowledge]).collect()
            }
        }
    }

    /// Checks an opened envelope. `Some(None)`: a part of a message of which others are missing.
    /// `None`: refused, and not to be acknowledged.
    fn read(&mut self, sealed: &Sealed, hops: u8, bytes: &[u8]) -> Option<Option<Message>> {
        let envelope = Envelope::decode(bytes).ok()?;
        envelope.verify().ok()?;
        let offset = self.clock.wall_ms().abs_diff(envelope.time_ms());
        let for_us = envelope.recipients().eq([self.me]);
        if envelope.from() != sealed.from || !for_us || offset > CLOCK_MS {
            return None;
        }
        let (id, whole) = match envelope.kind() {
            Kind::Direct => (envelope.id(), envelope.payload().to_vec()),
            Kind::Part => {
                let part = Part::decode(envelope.payload()).ok()?;
                match self.parts.add(self.clock.now(), sealed.from, &part) {
                    Added::Kept => return Some(None),
                    Added::Whole(whole) => (MessageId::new(part.group), whole),
                    Added::Refused => return None,
                }
            }
            _ => return None,
        };
        let message = Message {
            id,
            from: sealed.from,
            data: to_data(envelope.content(), whole)?,
            direct: true,
            verified: true,
            hops: hops.into(),
            time_ms: envelope.time_ms(),
        };
        Some(Some(message))
    }
}

/// Signs and seals the next part of a message; `None` for invalid keys, with which nothing can be
/// sealed.
fn seal_next(
    outgoing: &mut Outgoing,
    me: PeerId,
    keys: &PublicKeys,
    signer: &mut Signer,
) -> Option<(Sealed, AckKey)> {
    let (to, index) = (outgoing.to, outgoing.next);
    outgoing.next += 1;
    let (content, bytes): (Content, &[u8]) = (content(&outgoing.data), outgoing.data.as_bytes());
    let signed = if outgoing.count == 1 {
        signer.sign(Kind::Direct, content, &[to], bytes)
    } else {
        let start = index * PART;
        let end = bytes.len().min(start + PART);
        let part = Part {
            group: outgoing.group,
            index: u32::try_from(index).ok()?,
            count: u32::try_from(outgoing.count).ok()?,
            data: bytes.get(start..end)?,
        };
        let mut payload = Vec::with_capacity(PART + 32);
        part.encode(&mut payload);
        signer.sign(Kind::Part, content, &[to], &payload)
    };
    let (body, key) = seal::seal(&signed.ok()?.bytes, me, keys, &rt::random()).ok()?;
    let sealed = Sealed {
        id: seal::sealed_id(&body),
        from: me,
        to,
        body: body.into(),
    };
    Some((sealed, key))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    struct Peer {
        messages: DirectMessages,
        signer: Signer,
        identity: Arc<Identity>,
    }

    impl Peer {
        fn new(number: u8) -> Self {
            let identity = Arc::new(Identity::from_seed(&[number; 32]));
            let clock = Clock::start();
            let me = identity.address();
            Self {
                messages: DirectMessages::new(me, Arc::clone(&identity), clock),
                signer: Signer::new(Arc::clone(&identity), clock),
                identity,
            }
        }

        fn address(&self) -> PeerId {
            self.identity.address()
        }

        /// What this peer seals once the receiver's keys are known.
        fn seal(&mut self, receiver: &Self) -> Vec<Arc<Sealed>> {
            let keys = Some(*receiver.identity.public());
            let actions = self
                .messages
                .on_keys(receiver.address(), keys, &mut self.signer);
            sealed(actions)
        }

        /// Opens a message: the text that it completes, and the proof for its sender.
        fn open(&mut self, sealed: &Sealed) -> (Option<Message>, Option<[u8; 16]>) {
            let (mut message, mut ack) = (None, None);
            for action in self.messages.open(sealed, 1) {
                match action {
                    Action::Deliver(delivered) => message = Some(delivered),
                    Action::Mesh(Input::Acknowledge { id, proof }) => {
                        assert_eq!(id, sealed.id);
                        ack = Some(proof);
                    }
                    Action::Count(Count::Rejected) => {}
                    other => panic!("{other:?}"),
                }
            }
            (message, ack)
        }
    }

    fn sealed(actions: Vec<Action>) -> Vec<Arc<Sealed>> {
        let sealed = actions.into_iter().filter_map(|action| match action {
            Action::Mesh(Input::Direct(sealed)) => Some(sealed),
            _ => None,
        });
        sealed.collect()
    }

    #[test]
    fn a_message_is_sealed_opened_and_acknowledged() {
        let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
        let (reply, mut receipt) = oneshot::channel();
        let actions = alice.messages.send(bob.address(), "secret".into(), reply);
        assert!(matches!(actions[2], Action::Mesh(Input::FindKeys(_))));
        let sealed = alice.seal(&bob);
        assert_eq!(sealed.len(), 1);
        let (message, proof) = bob.open(&sealed[0]);
        let message = message.unwrap();
        assert_eq!(message.data, "secret".into());
        assert_eq!(message.from, alice.address());
        assert!(message.direct && message.verified);
        let forged = alice
            .messages
            .on_ack(sealed[0].id, [0; 16], 1, &mut alice.signer);
        assert!(matches!(forged[..], [Action::Count(Count::Rejected)]));
        assert!(receipt.try_recv().is_err());
        alice
            .messages
            .on_ack(sealed[0].id, proof.unwrap(), 1, &mut alice.signer);
        let receipt = receipt.try_recv().unwrap();
        assert!(matches!(receipt, Ok(Receipt::Delivered { hops: 1, .. })));
    }

    #[test]
    fn a_large_message_goes_in_parts_a_window_at_a_time() {
        let (mut alice, mut bob) = (Peer::new(1), Peer::new(2));
        let (reply, mut receipt) = oneshot::channel();
        let data: Data = vec![7; (WINDOW + 2) * PART].into();
        alice.messages.send(bob.address(), data.clone(), reply);
        let mut under_way = alice.seal(&bob);
        assert_eq!(under_way.len(), WINDOW);
        let mut delivered = Vec::new();
        while let Some(next) = under_way.pop() {
            let (message, proof) = bob.open(&next);
            delivered.extend(message);
            let proof = proof.unwrap();
            let actions = alice.messages.on_ack(next.id, proof, 1, &mut alice.signer);
            under_way.extend(sealed(actions));
            assert!(under_way.len() <= WINDOW);
        }
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].data, data);
        assert!(matches!(
            receipt.try_recv().unwrap(),
            Ok(Receipt::Delivered { .. })
        ));
    }

    #[test]
    fn a_message_for_another_peer_is_refused() {
        let (mut alice, bob, mut eve) = (Peer::new(1), Peer::new(2), Peer::new(3));
        let (reply, _receipt) = oneshot::channel();
        alice.messages.send(bob.address(), "secret".into(), reply);
        let sealed = alice.seal(&bob);
        assert_eq!(eve.open(&sealed[0]), (None, None));
    }

    #[test]
    fn a_receiver_without_keys_is_unreachable() {
        let mut alice = Peer::new(1);
        let nobody = PeerId::new([9; 20]);
        let (reply, mut receipt) = oneshot::channel();
        alice.messages.send(nobody, "hello".into(), reply);
        alice.messages.on_keys(nobody, None, &mut alice.signer);
        assert_eq!(receipt.try_recv().unwrap(), Ok(Receipt::Unreachable));
    }
}
