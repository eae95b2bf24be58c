//! Direct messages: sealed for their receiver, in parts if they are large, and opened for us.

use std::collections::HashMap;
use std::sync::Arc;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::envelope::{Content, Envelope, Kind};
use easypeers_proto::crypto::part::Part;
use easypeers_proto::crypto::seal::{self, AckKey};
use easypeers_proto::{MessageId, PeerId};

use super::Reply;
use super::author::{content, to_data};
use super::parts::{Added, Parts};
use super::swarm::Swarm;
use crate::model::{Data, Message, Receipt, SendError};
use crate::rt;
use easypeers_core::mesh::message::Sealed;
use easypeers_core::mesh::{Input, MAX_SENDS, Now};

/// Largest direct message that is sealed whole, and the size of the parts of a larger one: below
/// 64 KiB with what is around it.
const PART: usize = 48 << 10;

/// Parts of one message on their way at once: 384 KiB, less than waits for a neighbour at most.
const WINDOW: usize = 8;

/// How far a sender's clock may be off, in milliseconds; as for broadcasts.
const CLOCK_MS: u64 = 5 * 60 * 1000;

/// A direct message of ours.
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

#[derive(Debug, Default)]
pub(super) struct Directs {
    next: u64,
    outgoing: HashMap<u64, Outgoing>,
    /// Messages whose receiver's keys are not known yet.
    unknown: HashMap<PeerId, Vec<u64>>,
    sent: HashMap<MessageId, Sent>,
    parts: Parts,
    /// Receivers of messages under way, to seal the next parts for.
    keys: HashMap<PeerId, PublicKeys>,
}

impl Directs {
    pub(super) fn deadline(&self) -> Option<Now> {
        self.parts.deadline()
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.parts.expire(now);
    }

    /// Ends every message of ours that is under way.
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

    fn finish(&mut self, id: u64, receipt: Receipt) {
        let Some(outgoing) = self.outgoing.remove(&id) else {
            return;
        };
        self.sent.retain(|_, sent| sent.outgoing != id);
        if !self.outgoing.values().any(|other| other.to == outgoing.to) {
            self.keys.remove(&outgoing.to);
        }
        // Who gave up waiting is no concern.
        let _ = outgoing.reply.send(Ok(receipt));
    }
}

impl Swarm {
    pub(super) fn send_direct(
        &mut self,
        to: PeerId,
        data: Data,
        reply: Reply<Result<Receipt, SendError>>,
    ) {
        if let Some(link) = self.original(to) {
            return self.send_to_original(link, to, &data, reply);
        }
        if self.directs.outgoing.len() >= MAX_SENDS {
            let _ = reply.send(Err(SendError::Busy));
            return;
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
        self.stats.messages_sent += 1;
        self.view_soon();
        let id = self.directs.next;
        self.directs.next += 1;
        self.directs.outgoing.insert(id, outgoing);
        self.directs.unknown.entry(to).or_default().push(id);
        self.mesh_input(Input::FindKeys(to));
    }

    pub(super) fn on_keys(&mut self, peer: PeerId, keys: Option<PublicKeys>) {
        let waiting = self.directs.unknown.remove(&peer).unwrap_or_default();
        for id in waiting {
            match keys {
                Some(keys) => {
                    self.directs.keys.insert(peer, keys);
                    for _ in 0..WINDOW {
                        self.send_part(id);
                    }
                }
                None => self.directs.finish(id, Receipt::Unreachable),
            }
        }
    }

    /// Seals and sends the next part, if one is left.
    fn send_part(&mut self, id: u64) {
        let Some(outgoing) = self.directs.outgoing.get_mut(&id) else {
            return;
        };
        let (to, index, count) = (outgoing.to, outgoing.next, outgoing.count);
        if index >= count {
            return;
        }
        let Some(keys) = self.directs.keys.get(&to).copied() else {
            return self.directs.finish(id, Receipt::Unreachable);
        };
        outgoing.next += 1;
        let data = outgoing.data.clone();
        let content = content(&data);
        let signed = if count == 1 {
            self.sign(Kind::Direct, content, &[to], data.as_bytes())
        } else {
            let (Ok(index), Ok(count)) = (u32::try_from(index), u32::try_from(count)) else {
                return self.directs.finish(id, Receipt::Unreachable);
            };
            let start = index as usize * PART;
            let end = data.as_bytes().len().min(start + PART);
            let part = Part {
                group: outgoing.group,
                index,
                count,
                data: &data.as_bytes()[start..end],
            };
            let mut payload = Vec::with_capacity(PART + 32);
            part.encode(&mut payload);
            self.sign(Kind::Part, content, &[to], &payload)
        };
        let from = self.credentials.address;
        let sealed = signed
            .ok()
            .and_then(|signed| seal::seal(&signed.bytes, from, &keys, &rt::random()).ok());
        // Keys with which nothing can be sealed belong to nobody.
        let Some((body, key)) = sealed else {
            return self.directs.finish(id, Receipt::Unreachable);
        };
        let sealed = Sealed {
            id: seal::sealed_id(&body),
            from,
            to,
            body: body.into(),
        };
        self.directs
            .sent
            .insert(sealed.id, Sent { key, outgoing: id });
        self.mesh_input(Input::Direct(Arc::new(sealed)));
    }

    pub(super) fn check_ack(&mut self, id: MessageId, proof: [u8; 16], hops: u8) {
        let Some(sent) = self.directs.sent.get(&id) else {
            return;
        };
        if !sent.key.verify(&id, hops, &proof) {
            self.stats.rejected += 1;
            return;
        }
        let message = sent.outgoing;
        self.directs.sent.remove(&id);
        self.mesh_input(Input::Acknowledged(id));
        let now = self.clock.now();
        let Some(outgoing) = self.directs.outgoing.get_mut(&message) else {
            return;
        };
        outgoing.acknowledged += 1;
        outgoing.hops = outgoing.hops.max(hops);
        if outgoing.acknowledged == outgoing.count {
            let receipt = Receipt::Delivered {
                hops: outgoing.hops.into(),
                rtt: now.saturating_sub(outgoing.started),
            };
            self.directs.finish(message, receipt);
        } else {
            self.send_part(message);
        }
    }

    pub(super) fn on_undelivered(&mut self, id: MessageId, reachable: bool) {
        let Some(sent) = self.directs.sent.remove(&id) else {
            return;
        };
        let receipt = if reachable {
            Receipt::Timeout
        } else {
            Receipt::Unreachable
        };
        self.directs.finish(sent.outgoing, receipt);
    }

    /// Opens a sealed message for us, gives it to the application and acknowledges it.
    pub(super) fn open(&mut self, sealed: &Sealed, hops: u8) {
        let opened = seal::open(&sealed.body, &self.credentials.identity, sealed.from);
        let Ok((bytes, key)) = opened else {
            self.stats.rejected += 1;
            return;
        };
        if self.take(sealed, hops, &bytes).is_none() {
            self.stats.rejected += 1;
            return;
        }
        let proof = key.prove(&sealed.id, hops);
        let id = sealed.id;
        self.mesh_input(Input::Acknowledge { id, proof });
    }

    /// Checks an opened envelope and takes what is in it; `None` if it is refused.
    fn take(&mut self, sealed: &Sealed, hops: u8, bytes: &[u8]) -> Option<()> {
        let envelope = Envelope::decode(bytes).ok()?;
        envelope.verify().ok()?;
        let offset = self.clock.wall_ms().abs_diff(envelope.time_ms());
        let for_us = envelope.recipients().eq([self.credentials.address]);
        if envelope.from() != sealed.from || !for_us || offset > CLOCK_MS {
            return None;
        }
        let (id, content, time_ms) = (envelope.id(), envelope.content(), envelope.time_ms());
        match envelope.kind() {
            Kind::Direct => {
                let whole = envelope.payload().to_vec();
                self.hand_over_direct(id, sealed.from, hops, content, time_ms, whole)
            }
            Kind::Part => {
                let part = Part::decode(envelope.payload()).ok()?;
                match self.directs.parts.add(self.clock.now(), sealed.from, &part) {
                    Added::Kept => Some(()),
                    Added::Whole(whole) => {
                        let id = MessageId::new(part.group);
                        self.hand_over_direct(id, sealed.from, hops, content, time_ms, whole)
                    }
                    Added::Refused => None,
                }
            }
            _ => None,
        }
    }

    fn hand_over_direct(
        &mut self,
        id: MessageId,
        from: PeerId,
        hops: u8,
        content: Content,
        time_ms: u64,
        bytes: Vec<u8>,
    ) -> Option<()> {
        let message = Message {
            id,
            from,
            data: to_data(content, bytes)?,
            direct: true,
            verified: true,
            hops: hops.into(),
            time_ms,
        };
        self.hand_over(message);
        Some(())
    }
}
