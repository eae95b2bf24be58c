//! Offers and answers: what the signalling core wants, in virtual time.

use std::sync::Arc;

use easypeers_proto::wire::frame::{Signal, SignalKind};
use easypeers_proto::{MessageId, OfferId, PeerId};

use super::Turn;
use super::links::OPEN;
use crate::network::Network;
use crate::time::{MS, Time};
use crate::world::What;
use easypeers_core::mesh::Input;
use easypeers_core::signal::{self, Via};

/// Time for candidates and a description.
const GATHER: Time = 50 * MS;

impl Turn<'_> {
    pub(super) fn on_signal(&mut self, output: signal::Output) {
        use signal::{Input, Output};
        match output {
            Output::MakeOffer { attempt } => {
                self.world.costs.connections += 1;
                let offer = self.world.exchanges.offer(self.p, attempt);
                let at = self.core.clock + GATHER;
                self.world.queue.push(at, What::OfferMade(offer));
            }
            Output::Announce { offers, .. } => {
                let offers = offers.into_iter().filter_map(|(id, sdp)| {
                    let offer: u32 = sdp.parse().ok()?;
                    self.world.exchanges.name(offer, id);
                    Some(offer)
                });
                let offers = offers.collect();
                self.announce(offers);
            }
            Output::Accept { attempt, sdp, .. } => {
                let offered = self.core.offers.iter().position(|(a, _)| *a == attempt);
                let answer = sdp.parse::<u32>();
                let (Some(at), Ok(answer)) = (offered, answer) else {
                    return self.signal(Input::AttemptFailed { attempt });
                };
                self.core.offers.swap_remove(at);
                let now = self.core.clock;
                let other = self.world.exchanges.answered(answer).peer;
                if self.world.network.connects(self.p, other) {
                    let ice = Network::ice(&mut self.world.rng);
                    self.world.queue.push(now + ice, What::Open(answer));
                }
                self.world.queue.push(now + OPEN, What::OfferDue(answer));
            }
            Output::MakeAnswer { attempt, sdp, .. } => {
                self.world.costs.connections += 1;
                let Ok(offer) = sdp.parse() else {
                    return self.signal(Input::AnswerFailed { attempt });
                };
                let answer = self.world.exchanges.answer(offer, self.p, attempt);
                let at = self.core.clock + GATHER;
                self.world.queue.push(at, What::AnswerMade(answer));
            }
            Output::SendAnswer {
                via,
                peer,
                offer_id,
                sdp,
            } => match (via, sdp.parse()) {
                (Via::Tracker(_), Ok(answer)) => self.answer_by_tracker(answer),
                (Via::Tracker(_), Err(_)) => {}
                (Via::Mesh, _) => {
                    self.send_signal(offer_id, peer, SignalKind::Answer, sdp.into());
                }
            },
            Output::SendOffer {
                peer,
                offer_id,
                sdp,
            } => self.send_signal(offer_id, peer, SignalKind::Offer, sdp),
            Output::ExchangeFailed(offer_id) => {
                let id = MessageId::new(*offer_id.as_bytes());
                self.mesh(easypeers_core::mesh::Input::ExchangeFailed(id));
            }
            Output::Drop { attempt } => self.core.offers.retain(|(a, _)| *a != attempt),
        }
    }

    fn send_signal(&mut self, exchange: OfferId, to: PeerId, kind: SignalKind, sdp: Arc<str>) {
        let id = MessageId::new(*exchange.as_bytes());
        let sdp = sdp.into();
        self.mesh(Input::Signal { id, to, kind, sdp });
    }

    pub(super) fn on_mesh_signal(&mut self, signal: &Signal) {
        let offer_id = OfferId::new(*signal.id.as_bytes());
        let sdp = String::from_utf8_lossy(&signal.sdp).into_owned();
        let peer = signal.from;
        self.signal(match signal.kind {
            SignalKind::Offer => signal::Input::Offer {
                via: Via::Mesh,
                peer,
                offer_id,
                sdp,
                acceptable_links: self.core.mesh.acceptable_links(),
            },
            SignalKind::Answer | SignalKind::Refusal => signal::Input::Answer {
                peer,
                offer_id,
                sdp,
            },
        });
    }

    pub(crate) fn on_offer_made(&mut self, offer: u32) {
        let attempt = self.world.exchanges.offered(offer).attempt;
        self.core.offers.push((attempt, offer));
        let sdp = offer.to_string().into();
        self.signal(signal::Input::OfferMade { attempt, sdp });
    }

    pub(crate) fn on_answer_made(&mut self, answer: u32) {
        let attempt = self.world.exchanges.answered(answer).attempt;
        let due = self.core.clock + OPEN;
        self.world.queue.push(due, What::AnswerDue(answer));
        let sdp = answer.to_string();
        self.signal(signal::Input::AnswerMade { attempt, sdp });
    }
}
