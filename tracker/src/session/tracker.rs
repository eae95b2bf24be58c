//! What the tracker does with a client's messages: decode, may they, to whom, encode once, write.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use easypeers_proto::cluster::RelayedAnswer;
use easypeers_proto::limits::MAX_OFFERS;
use easypeers_proto::tracker::{Announce, Answer, ClientMessage, Event, Scrape, ServerMessage};
use easypeers_proto::{InfoHash, PeerId};
use tokio::time::{Instant, Sleep, sleep};

use super::outbox::Pushed;
use super::reply::Target;
use super::state::{Claim, Held, Permit, State, judge};
use super::{Connection, Handler};
use crate::access::Verdict;
use crate::cluster::Others;
use crate::cluster::urn::Places;
use crate::hub::Hub;
use crate::metrics::{AnswerDropped, MessageKind, OfferDropped, Refused, Scope};
use crate::swarm::members::Presence;
use crate::swarm::{Outcome, Request};
use crate::ws::{Close, CloseCode, Message};

/// How often waiting claims are looked at.
const CLAIM_TICK: Duration = Duration::from_millis(100);

thread_local! {
    /// Receivers of one announce's offers.
    static CHOSEN: RefCell<Vec<(PeerId, Arc<Connection>)>> = const { RefCell::new(Vec::new()) };
}

/// One client of the tracker.
#[derive(Debug)]
pub(crate) struct Session {
    hub: Arc<Hub>,
    state: State,
    /// Runs while announces wait for their peer id.
    tick: Option<Pin<Box<Sleep>>>,
}

impl Handler for Session {
    fn on_message(
        &mut self,
        connection: &Arc<Connection>,
        message: Message<'_>,
    ) -> ControlFlow<Close> {
        let now_ms = self.hub.clock.now_ms();
        let text = match message {
            Message::Text(text) => Some(text),
            Message::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        };
        let decoded = ClientMessage::decode(text.unwrap_or_default());
        let permit = self.state.permit(now_ms, self.hub.settings.message_rate());
        if permit != Permit::Granted {
            self.hub.metrics.messages_received.inc(MessageKind::Limited);
            let target = Target::of(&decoded);
            self.hub.refuse(
                connection,
                target,
                Refused::RateLimit,
                "too many messages".into(),
            );
            if permit == Permit::Abusive {
                let close = Close::new(CloseCode::Policy, "too many messages");
                return ControlFlow::Break(close);
            }
            return ControlFlow::Continue(());
        }
        let received = &self.hub.metrics.messages_received;
        match decoded {
            Ok(ClientMessage::Announce(announce)) => {
                received.inc(MessageKind::Announce);
                let text = text.unwrap_or_default();
                self.announce(connection, &announce, now_ms, Attempt::First(text));
            }
            Ok(ClientMessage::Answer(answer)) => {
                received.inc(MessageKind::Answer);
                self.answer(connection, &answer, now_ms);
            }
            Ok(ClientMessage::Scrape(scrape)) => {
                received.inc(MessageKind::Scrape);
                self.scrape(connection, &scrape);
            }
            Err(error) => {
                received.inc(MessageKind::Invalid);
                self.hub.metrics.undecodable(error.reason);
                tracing::debug!(connection = connection.id(), reason = error.reason.label());
                let target = Target::of_error(&error);
                self.hub
                    .fail(connection, target, error.reason.to_string().into());
            }
        }
        ControlFlow::Continue(())
    }

    fn poll(&mut self, connection: &Arc<Connection>, cx: &mut Context<'_>) {
        while let Some(tick) = &mut self.tick {
            if tick.as_mut().poll(cx).is_pending() {
                return;
            }
            let now_ms = self.hub.clock.now_ms();
            for held in self.state.take_held() {
                self.retry(connection, held, now_ms);
            }
            self.tick = self.state.holds_any().then(|| Box::pin(sleep(CLAIM_TICK)));
        }
    }

    fn on_end(&mut self, connection: &Arc<Connection>) {
        for (info_hash, peer_id) in self.state.take_peers() {
            let _ = self.hub.swarms.leave(&info_hash, &peer_id, connection);
        }
        self.tick = None;
    }
}

/// Whether an announce came just now or has waited for its peer id.
enum Attempt<'a> {
    First(&'a str),
    Again(Held),
}

impl Session {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let state = State::new(hub.clock.now_ms(), hub.settings.message_rate());
        Self {
            hub,
            state,
            tick: None,
        }
    }

    fn announce(
        &mut self,
        connection: &Arc<Connection>,
        announce: &Announce<'_>,
        now_ms: u64,
        attempt: Attempt<'_>,
    ) {
        let started = Instant::now();
        let Announce {
            info_hash,
            peer_id,
            event,
            ..
        } = *announce;
        if event == Event::Stopped {
            self.stop(connection, info_hash, peer_id);
            return;
        }
        if !self.is_served(connection, info_hash) {
            return;
        }
        let hub = Arc::clone(&self.hub);
        let settings = &hub.settings;
        let asked = announce
            .numwant
            .unwrap_or(usize::MAX)
            .min(announce.offers.len());
        // Whoever is about to go makes no new acquaintances.
        let receivers = if hub.is_draining() {
            0
        } else {
            asked.min(settings.max_offers)
        };
        let others = hub
            .cluster
            .node()
            .map(|node| node.others(&info_hash, now_ms));
        let mut request = Request {
            info_hash,
            peer_id,
            connection,
            presence: Presence {
                complete: announce.complete,
                just_completed: event == Event::Completed,
            },
            receivers,
            others: others.as_ref(),
            now_ms,
            known_only: self.state.peer_count() >= settings.max_swarms_per_connection,
            take_over: false,
        };
        CHOSEN.with_borrow_mut(|chosen| {
            let mut outcome = hub.swarms.announce(&request, chosen);
            if let Outcome::Owned(owner) = &outcome {
                if !self.may_take(connection, owner, (info_hash, peer_id), attempt, now_ms) {
                    return;
                }
                request.take_over = true;
                hub.metrics.peer_ids_taken_over.inc();
                outcome = hub.swarms.announce(&request, chosen);
            }
            let (mut complete, mut incomplete, places) = match outcome {
                Outcome::Accepted {
                    complete,
                    incomplete,
                    joined,
                    places,
                } => {
                    if joined {
                        self.state.add_peer(info_hash, peer_id);
                    }
                    (complete, incomplete, places)
                }
                Outcome::TooManySwarms | Outcome::Owned(_) => {
                    let target = Target::announce(info_hash);
                    let text = "tracker is full: too many swarms";
                    self.hub
                        .refuse(connection, target, Refused::SwarmLimit, text.into());
                    return;
                }
                Outcome::TooManyOnConnection => {
                    let target = Target::announce(info_hash);
                    let text = "too many swarms on one connection";
                    self.hub.refuse(
                        connection,
                        target,
                        Refused::ConnectionSwarmLimit,
                        text.into(),
                    );
                    return;
                }
            };
            if let Some(others) = &others {
                let elsewhere = others.counts();
                complete = complete.saturating_add(elsewhere.0);
                incomplete = incomplete.saturating_add(elsewhere.1);
            }
            hub.metrics.announces.inc(event);
            let interval = settings.announce_interval.as_secs() as u32;
            let response = ServerMessage::Announced {
                info_hash,
                interval,
                complete,
                incomplete,
            };
            self.hub.send(connection, &response);
            let elsewhere = places.as_ref().zip(others.as_ref());
            self.relay_offers(announce, asked, chosen, elsewhere, now_ms);
            chosen.clear();
        });
        hub.metrics
            .announce_duration
            .observe(started.elapsed().as_secs_f64());
    }

    /// Gives the i-th offer to the i-th chosen peer; of a node, the i-th offer that stays here, and the
    /// others to peers elsewhere.
    fn relay_offers(
        &self,
        announce: &Announce<'_>,
        asked: usize,
        chosen: &[(PeerId, Arc<Connection>)],
        elsewhere: Option<(&Places, &Others)>,
        now_ms: u64,
    ) {
        let Announce {
            info_hash, peer_id, ..
        } = *announce;
        let (mut relayed, mut bytes, mut full, mut gone) = (0, 0, 0, 0);
        let stays = |place: usize| elsewhere.is_none_or(|(places, _)| places.is_local(place));
        let offers = announce.offers.iter().enumerate();
        let offers = offers.filter(|(place, _)| stays(*place));
        for ((_, offer), (receiver, connection)) in offers.zip(chosen) {
            let offer_id = offer.offer_id;
            let message = ServerMessage::Offer {
                info_hash,
                peer_id,
                offer_id,
                offer: offer.offer,
            };
            let key = self
                .hub
                .offer_key(&info_hash, receiver, &peer_id, &offer_id);
            if let Some(node) = self.hub.cluster.node() {
                node.forget_origin(key, now_ms);
            }
            let (pushed, size) = Hub::with_frame(&message, |frame| {
                let pushed = connection.send_offer(frame, key, now_ms);
                (pushed, frame.len())
            });
            match pushed {
                Pushed::Full => full += 1,
                Pushed::Gone => gone += 1,
                Pushed::Written | Pushed::Started | Pushed::Queued => {
                    relayed += 1;
                    bytes += size as u64;
                }
            }
        }
        let limit = asked.min(self.hub.settings.max_offers);
        let without_peer = match (self.hub.cluster.node(), elsewhere) {
            (Some(node), Some((places, others))) if !self.hub.is_draining() => {
                node.relay(announce, limit, places, others, now_ms)
            }
            _ => limit - chosen.len(),
        };
        let metrics = &self.hub.metrics;
        metrics.offers_relayed.add(Scope::Local, relayed);
        metrics.sent_bytes.inc_by(bytes);
        let dropped = &metrics.offers_dropped;
        // Of an announce that is full, the codec keeps nothing more, malformed or not.
        let unmatched = match self.hub.is_draining() {
            true => OfferDropped::Draining,
            false => OfferDropped::NoReceiver,
        };
        let skipped = match announce.offers.len() {
            MAX_OFFERS => OfferDropped::Limit,
            _ => OfferDropped::Malformed,
        };
        for (reason, count) in [
            (OfferDropped::Outbox, full),
            (OfferDropped::Gone, gone),
            (unmatched, without_peer),
            (OfferDropped::Limit, asked - limit),
            (skipped, announce.offers_skipped),
        ] {
            if count > 0 {
                dropped.add(reason, count);
            }
        }
    }

    /// Whether a peer id that another connection holds may pass to this one. If not yet, the
    /// announce is kept; if not at all, the client is told.
    fn may_take(
        &mut self,
        connection: &Arc<Connection>,
        owner: &Arc<Connection>,
        peer: (InfoHash, PeerId),
        attempt: Attempt<'_>,
        now_ms: u64,
    ) -> bool {
        let target = Target::announce(peer.0);
        let held = match attempt {
            Attempt::First(text) => {
                let since_us = self.hub.clock.now_us();
                owner.ping(now_ms);
                if !self.state.hold(text, peer, since_us) {
                    let text = "too many announces wait for peer ids that are in use";
                    self.hub
                        .refuse(connection, target, Refused::ClaimLimit, text.into());
                } else if self.tick.is_none() {
                    self.tick = Some(Box::pin(sleep(CLAIM_TICK)));
                    // So that the task polls the new timer.
                    connection.wake_owner();
                }
                return false;
            }
            Attempt::Again(held) => held,
        };
        match judge(held.since_us, owner.heard_us(), self.hub.clock.now_us()) {
            Claim::Dead => true,
            Claim::Waiting => {
                self.state.hold_again(held);
                false
            }
            Claim::Alive => {
                let text = "peer_id is in use by another connection";
                self.hub
                    .refuse(connection, target, Refused::PeerIdInUse, text.into());
                false
            }
        }
    }

    fn retry(&mut self, connection: &Arc<Connection>, held: Held, now_ms: u64) {
        let text = held.text.clone();
        if let Ok(ClientMessage::Announce(announce)) = ClientMessage::decode(&text) {
            self.announce(connection, &announce, now_ms, Attempt::Again(held));
        }
    }

    fn stop(&mut self, connection: &Arc<Connection>, info_hash: InfoHash, peer_id: PeerId) {
        self.state.forget_held(info_hash, peer_id);
        match self.hub.swarms.leave(&info_hash, &peer_id, connection) {
            Ok((mut complete, mut incomplete)) => {
                self.state.remove_peer(info_hash, peer_id);
                if let Some(node) = self.hub.cluster.node() {
                    let elsewhere = node.counts(&info_hash, self.hub.clock.now_ms());
                    complete = complete.saturating_add(elsewhere.0);
                    incomplete = incomplete.saturating_add(elsewhere.1);
                }
                self.hub.metrics.announces.inc(Event::Stopped);
                let interval = self.hub.settings.announce_interval.as_secs() as u32;
                let response = ServerMessage::Announced {
                    info_hash,
                    interval,
                    complete,
                    incomplete,
                };
                self.hub.send(connection, &response);
            }
            Err(_) => {
                let text = "peer_id is in use by another connection";
                let target = Target::announce(info_hash);
                self.hub
                    .refuse(connection, target, Refused::PeerIdInUse, text.into());
            }
        }
    }

    /// Passes an answer to the peer whose offer it answers, if that offer was relayed to exactly
    /// this peer. There is no response to an answer.
    fn answer(&self, connection: &Arc<Connection>, answer: &Answer<'_>, now_ms: u64) {
        let Answer {
            info_hash,
            peer_id,
            to_peer_id,
            offer_id,
            answer,
        } = *answer;
        let metrics = &self.hub.metrics;
        let key = self
            .hub
            .offer_key(&info_hash, &peer_id, &to_peer_id, &offer_id);
        if !connection.take_solicited(key, now_ms) {
            metrics.answers_dropped.inc(AnswerDropped::Unsolicited);
            let text = "no such offer was relayed to this peer, or it was answered already";
            let target = Target::announce(info_hash);
            self.hub
                .refuse(connection, target, Refused::UnsolicitedAnswer, text.into());
            return;
        }
        if let Some(node) = self.hub.cluster.node()
            && let Some(origin) = node.take_origin(key, now_ms)
        {
            let answer = RelayedAnswer {
                info_hash,
                peer_id,
                to_peer_id,
                offer_id,
                answer,
            };
            node.answer(origin, answer);
            return;
        }
        let Some(offerer) = self.hub.swarms.owner(&info_hash, &to_peer_id) else {
            metrics.answers_dropped.inc(AnswerDropped::Gone);
            return;
        };
        let message = ServerMessage::Answer {
            info_hash,
            peer_id,
            offer_id,
            answer,
        };
        if self.hub.send(&offerer, &message) {
            metrics.answers_relayed.inc(Scope::Local);
        } else if offerer.has_ended() {
            metrics.answers_dropped.inc(AnswerDropped::Gone);
        } else {
            metrics.answers_dropped.inc(AnswerDropped::Outbox);
        }
    }

    fn scrape(&self, connection: &Arc<Connection>, scrape: &Scrape) {
        let mut entries = Vec::with_capacity(scrape.info_hashes.len());
        for &info_hash in &scrape.info_hashes {
            let mut entry = self.hub.swarms.scrape(info_hash);
            if let Some(node) = self.hub.cluster.node() {
                let (complete, incomplete) = node.counts(&info_hash, self.hub.clock.now_ms());
                entry.complete = entry.complete.saturating_add(complete);
                entry.incomplete = entry.incomplete.saturating_add(incomplete);
            }
            entries.push(entry);
        }
        self.hub
            .send(connection, &ServerMessage::Scraped(Cow::Owned(entries)));
    }

    fn is_served(&self, connection: &Arc<Connection>, info_hash: InfoHash) -> bool {
        let access = self.hub.access();
        let (refused, text) = match access.verdict(&info_hash) {
            Verdict::Served => return true,
            Verdict::Denied("") => (Refused::Denied, "this infohash is not served here"),
            Verdict::Denied(message) => (Refused::Denied, message),
            Verdict::NotAllowed => (Refused::NotAllowed, "this infohash is not served here"),
        };
        self.hub.refuse(
            connection,
            Target::announce(info_hash),
            refused,
            text.into(),
        );
        false
    }
}
