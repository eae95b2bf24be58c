//! Announces and answers out, checks of what comes back.

use crate::{
    frame,
    ids::{Id, Ids, Kind},
    scan::{self, Message},
    sdp::Descriptions,
    state::{Due, State},
    stats::Fault,
};

impl State {
    /// Appends the frame of a connection's next announce.
    pub(crate) fn push_announce(&mut self, out: &mut Vec<u8>, connection: u32, now: u64) {
        let (seq, offers) = self.begin(connection, now);
        self.push_text(out, |state, out| {
            state.push_announce_json(out, connection, seq, offers);
        });
    }

    fn push_announce_json(&self, out: &mut Vec<u8>, connection: u32, seq: u32, offers: u8) {
        out.extend_from_slice(br#"{"numwant":"#);
        out.extend_from_slice(offers.to_string().as_bytes());
        out.extend_from_slice(br#","uploaded":0,"downloaded":0,"left":"#);
        out.extend_from_slice(self.left.as_bytes());
        if seq == 0 {
            out.extend_from_slice(br#","event":"started""#);
        }
        self.push_ids(out, connection);
        out.extend_from_slice(br#","offers":["#);
        for index in 0..offers {
            let key = u64::from(connection) << 40 ^ u64::from(seq) << 8 ^ u64::from(index);
            let id = Id {
                kind: Kind::Offer,
                owner: connection,
                seq,
                index,
                variant: Descriptions::variant(key),
            };
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"offer":{"type":"offer","sdp":""#);
            let template = self.descriptions.offer(id.variant);
            template.push(out, &self.ids.token(id));
            out.extend_from_slice(br#""},"offer_id":""#);
            scan::push_id(out, &self.ids.encode(id));
            out.extend_from_slice(br#""}"#);
        }
        out.extend_from_slice(b"]}");
    }

    fn push_answer_json(&self, out: &mut Vec<u8>, connection: u32, offer: Id) {
        out.extend_from_slice(br#"{"to_peer_id":""#);
        scan::push_id(out, &self.peers[offer.owner as usize].id);
        out.push(b'"');
        self.push_ids(out, connection);
        out.extend_from_slice(br#","answer":{"type":"answer","sdp":""#);
        let template = self.descriptions.answer(offer.variant);
        template.push(out, &self.ids.token(answer_id(offer, connection)));
        out.extend_from_slice(br#""},"offer_id":""#);
        scan::push_id(out, &self.ids.encode(offer));
        out.extend_from_slice(br#""}"#);
    }

    /// The members that all messages have, behind others.
    fn push_ids(&self, out: &mut Vec<u8>, connection: u32) {
        let peer = &self.peers[connection as usize];
        out.extend_from_slice(br#","action":"announce","info_hash":""#);
        scan::push_id(out, &self.ids.encode(Id::swarm(peer.swarm)));
        out.extend_from_slice(br#"","peer_id":""#);
        scan::push_id(out, &peer.id);
        out.push(b'"');
    }

    fn push_text(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&Self, &mut Vec<u8>)) {
        let before = out.len();
        frame::push(out, frame::TEXT, |out| write(self, out));
        if self.load.measuring {
            self.stats.messages_in += 1;
            self.stats.bytes_in += (out.len() - before) as u64;
        }
    }

    /// Takes a message that a connection received; an answer to it is appended to `out`.
    pub(crate) fn receive(&mut self, connection: u32, text: &[u8], now: u64, out: &mut Vec<u8>) {
        if self.load.measuring {
            self.stats.messages_out += 1;
            self.stats.bytes_out += text.len() as u64;
        }
        let Some(message) = scan::scan(text) else {
            self.faults.add(Fault::NotJson, || example(text));
            return;
        };
        if let Some(reason) = message.failure {
            let reason = String::from_utf8_lossy(reason).into_owned();
            self.failures.add(reason, || example(text));
            return;
        }
        let outcome = if message.answer.is_some() {
            self.take_answer(connection, &message, now)
        } else if message.offer.is_some() {
            self.take_offer(connection, &message, now, out)
        } else if message.response {
            self.take_response(connection, &message, now)
        } else {
            Err(Fault::UnknownMessage)
        };
        if let Err(fault) = outcome {
            self.faults.add(fault, || example(text));
        }
    }

    fn take_response(
        &mut self,
        connection: u32,
        message: &Message<'_>,
        now: u64,
    ) -> Result<(), Fault> {
        let swarm = self.peers[connection as usize].swarm;
        if self.ids.swarm_of(message) != Some(swarm) {
            return Err(Fault::WrongSwarm);
        }
        self.has_joined(connection);
        let peer = &mut self.peers[connection as usize];
        match peer.responses.pop_front() {
            None => self.unsolicited += 1,
            Some(Due::Answer) => {}
            Some(Due::Announce(seq)) => {
                if let Some(announce) = peer.announce(seq) {
                    announce.responded = true;
                    if announce.measured {
                        self.stats.responses += 1;
                        let latency = &mut self.stats.response_latency;
                        latency.record(now.saturating_sub(announce.sent));
                    }
                }
                self.settle(connection, seq);
            }
        }
        Ok(())
    }

    fn take_offer(
        &mut self,
        connection: u32,
        message: &Message<'_>,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let id = self.offer_id(message)?;
        if id.owner == connection {
            return Err(Fault::BackToSender);
        }
        let crossing = self.is_crossing(id.owner, connection);
        let swarm = self.peers[connection as usize].swarm;
        let sender = &mut self.peers[id.owner as usize];
        if sender.swarm != swarm || self.ids.swarm_of(message) != Some(swarm) {
            return Err(Fault::WrongSwarm);
        }
        if message.peer_id.and_then(scan::id) != Some(sender.id) {
            return Err(Fault::WrongPeerId);
        }
        let announce = sender.announce(id.seq).ok_or(Fault::LateOffer)?;
        let mut receivers = announce.slots.iter().map(|slot| slot.receiver);
        let again = receivers.any(|receiver| receiver == connection + 1);
        let slot = announce.slots.get_mut(usize::from(id.index));
        let slot = slot.ok_or(Fault::ForeignOfferId)?;
        if slot.receiver != 0 {
            return Err(Fault::DuplicateOffer);
        }
        slot.receiver = connection + 1;
        announce.delivered += 1;
        self.stats.same_receiver += u64::from(again);
        if self.load.answers {
            slot.answered = now;
        }
        if announce.measured {
            self.stats.offers += 1;
            self.stats.answers_sent += u64::from(self.load.answers);
            let took = now.saturating_sub(announce.sent);
            self.stats.offer_latency.record(took);
            match crossing {
                true => self.stats.crossed_offer_latency.record(took),
                false => self.stats.here_offer_latency.record(took),
            }
        }
        if self.load.answers {
            if self.answers_get_responses {
                let responses = &mut self.peers[connection as usize].responses;
                responses.push_back(Due::Answer);
            }
            self.push_text(out, |state, out| {
                state.push_answer_json(out, connection, id);
            });
        }
        self.settle(id.owner, id.seq);
        let template = self.descriptions.offer(id.variant);
        let offer = message.offer.unwrap_or_default();
        let intact = offer.kind == Some(b"offer")
            && (offer.sdp).is_some_and(|sdp| template.matches(sdp, &self.ids.token(id)));
        intact.then_some(()).ok_or(Fault::DamagedOffer)
    }

    fn take_answer(
        &mut self,
        connection: u32,
        message: &Message<'_>,
        now: u64,
    ) -> Result<(), Fault> {
        let id = self.offer_id(message)?;
        if id.owner != connection {
            return Err(Fault::MisdeliveredAnswer);
        }
        let peer_id = message.peer_id.and_then(scan::id);
        let answerer = peer_id.and_then(|peer_id| self.ids.decode(&peer_id));
        let crossing = answerer.is_some_and(|peer| self.is_crossing(peer.owner, connection));
        let offerer = &mut self.peers[connection as usize];
        if self.ids.swarm_of(message) != Some(offerer.swarm) {
            return Err(Fault::WrongSwarm);
        }
        let announce = offerer.announce(id.seq).ok_or(Fault::LateAnswer)?;
        let slot = announce.slots.get_mut(usize::from(id.index));
        let slot = slot.ok_or(Fault::ForeignOfferId)?;
        let answerer = match answerer {
            Some(peer) if peer.kind == Kind::Peer && peer.owner + 1 == slot.receiver => peer.owner,
            _ => return Err(Fault::WrongAnswerer),
        };
        if slot.done || slot.answered == 0 {
            return Err(Fault::DuplicateAnswer);
        }
        slot.done = true;
        announce.answers += 1;
        if announce.measured {
            self.stats.answers += 1;
            let took = now.saturating_sub(slot.answered);
            self.stats.answer_latency.record(took);
            if crossing {
                self.stats.crossed_answer_latency.record(took);
            }
        }
        self.settle(connection, id.seq);
        let template = self.descriptions.answer(id.variant);
        let token = self.ids.token(answer_id(id, answerer));
        let answer = message.answer.unwrap_or_default();
        let intact = answer.kind == Some(b"answer")
            && (answer.sdp).is_some_and(|sdp| template.matches(sdp, &token));
        intact.then_some(()).ok_or(Fault::DamagedAnswer)
    }

    fn offer_id(&self, message: &Message<'_>) -> Result<Id, Fault> {
        let id = message.offer_id.and_then(scan::id);
        id.and_then(|bytes| self.ids.decode(&bytes))
            .filter(|id| id.kind == Kind::Offer && (id.owner as usize) < self.peers.len())
            .ok_or(Fault::ForeignOfferId)
    }
}

impl Ids {
    fn swarm_of(&self, message: &Message<'_>) -> Option<u32> {
        let id = self.decode(&message.info_hash.and_then(scan::id)?)?;
        (id.kind == Kind::Swarm).then_some(id.owner)
    }
}

/// Ties the text of an answer to its answerer.
fn answer_id(offer: Id, answerer: u32) -> Id {
    Id {
        kind: Kind::Answer,
        owner: answerer,
        ..offer
    }
}

fn example(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(300)]);
    text.escape_debug().to_string()
}
