//! A peer's turn: hands an input to its cores and does what they want done, in virtual time. This is the
//! driver of the simulator. It does what the driver of the crate `easypeers` does with real
//! connections.
//!
//! In: an event for one peer. Out: frames on the network, events in the queue, counts in the
//! measurements.

use std::sync::Arc;

use easypeers_core::broadcast::Arrival;
use easypeers_core::mesh::{self, Goodbye, LinkId, Reason};
use easypeers_core::message::{Class, Signed};
use easypeers_core::signal::{self, Via};
use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::wire::frame::{Frame, Pushed, Sealed, Signal, SignalKind};
use easypeers_proto::{MessageId, OfferId, PeerId};
use rand::RngExt;

use crate::check::{self, TurnLinks};
use crate::event::Event;
use crate::index::index;
use crate::network::{Closing, Network, Sent, Stage};
use crate::node::{self, Due, Node, TRACKER};
use crate::packet::Packet;
use crate::peers::Peer;
use crate::time::{EPOCH_MS, MS, SECOND, Time};
use crate::world::World;

/// The time to check or make a signature.
const VERIFY: Time = 50;

/// The time within which a connection must open and finish its handshakes.
const OPEN: Time = 25 * SECOND;

/// The time to gather candidates and make a description.
const GATHER: Time = 50 * MS;

/// The bytes that an envelope adds to its payload.
const ENVELOPE: usize = 156;

/// The bytes that a sealed envelope adds to its payload.
const SEAL: usize = 80 + ENVELOPE;

/// One peer's turn.
pub(crate) struct Turn<'a> {
    world: &'a mut World,
    node: &'a mut Node,
    p: u32,
    /// Links may have changed.
    changed: bool,
    /// Links that came up.
    risen: u32,
    /// Links that were closed in favor of others.
    replaced: u32,
}

/// Gives a peer its turn. A dead peer has none.
pub(crate) fn take(world: &mut World, p: u32, act: impl FnOnce(&mut Turn<'_>)) {
    let Some(mut node) = world.peers[p].node.take() else {
        return;
    };
    node.catch_up(world.now);
    let mut turn = Turn {
        world,
        node: &mut node,
        p,
        changed: false,
        risen: 0,
        replaced: 0,
    };
    act(&mut turn);
    turn.settle();
    turn.on_time();
    if turn.changed {
        turn.note_links();
    }
    if check::ON {
        turn.check();
    }
    let due = node.deadline();
    plan_wake(world, p, &mut node, due);
    world.peers[p].node = Some(node);
}

fn plan_wake(world: &mut World, p: u32, node: &mut Node, due: Time) {
    let due = world.peers[p].fires_at(due.max(node.clock() + MS));
    if node.plan_wake(due) {
        world.queue.push(due, Event::Wake(p));
    }
}

/// A peer's wake-up. If the peer's timers have moved since it was planned, the next one is planned.
pub(crate) fn wake(world: &mut World, p: u32) {
    let Some(node) = &mut world.peers[p].node else {
        return;
    };
    if !node.take_wake(world.now) {
        return;
    }
    let due = node.deadline();
    if due <= world.now {
        take(world, p, |turn| turn.mesh(mesh::Input::Timeout));
    } else if let Some(mut node) = world.peers[p].node.take() {
        plan_wake(world, p, &mut node, due);
        world.peers[p].node = Some(node);
    }
}

/// The cores.
impl Turn<'_> {
    fn peer(&self) -> &Peer {
        &self.world.peers[self.p]
    }

    fn me(&self) -> PeerId {
        self.peer().id
    }

    pub(crate) fn mesh(&mut self, input: mesh::Input) {
        self.node.mesh(input);
    }

    pub(crate) fn signal(&mut self, input: signal::Input) {
        self.node.signal(input);
    }

    /// Does everything that the cores want done.
    fn settle(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                node::Output::Mesh(output) => self.on_mesh(output),
                node::Output::Signal(output) => self.on_signal(output),
            }
        }
    }

    fn on_time(&mut self) {
        if self.node.signal_timeout() {
            self.settle();
        }
        self.tend_tracker();
        self.settle();
    }

    fn on_mesh(&mut self, output: mesh::Output) {
        use mesh::{Input, Output};
        match output {
            Output::Send {
                links,
                frame,
                class,
            } => self.send(&links, Packet::Frame(frame), class),
            Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message,
                class,
            } => {
                let packet = Packet::Gossip {
                    hops,
                    pushed,
                    has,
                    message,
                };
                self.send(&links, packet, class);
            }
            Output::Close { link, goodbye } => self.close(link, goodbye.as_ref()),
            Output::Invite { id, peer } => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal(signal::Input::Invite { peer, offer_id });
            }
            Output::Signal(signal) => self.on_mesh_signal(&signal),
            Output::Withdraw(id) => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal(signal::Input::Withdraw(offer_id));
            }
            Output::SameMesh => self.signal(signal::Input::SameMesh),
            Output::Connect(_) | Output::Disconnect(_) => {
                self.changed = true;
                self.set_deficit();
            }
            Output::Deliver { message, hops } | Output::DeliverLarge { message, hops, .. } => {
                let (p, at) = (self.p, self.node.clock());
                if check::ON {
                    let verdict = self.world.checks.on_delivered(p, message.id);
                    self.world.hold(p, verdict);
                }
                let broadcasts = &mut self.world.broadcasts;
                broadcasts.count_delivery(p, &message.id, hops, at);
            }
            Output::Published(_) | Output::NotPublished { .. } => {}
            Output::Beacon => {
                self.node.work(VERIFY);
                let message = self.sign(Kind::Beacon, 0);
                let chunks = Vec::new();
                self.mesh(Input::Publish { message, chunks });
            }
            Output::Keys { peer, keys } => self.on_keys(peer, keys.is_some()),
            Output::Open { sealed, .. } => {
                self.node.work(2 * VERIFY);
                let directs = &mut self.world.directs;
                directs.count_arrival(&sealed.id, self.node.clock());
                let (id, proof) = (sealed.id, [0; 16]);
                self.mesh(Input::Acknowledge { id, proof });
            }
            Output::CheckAck { id, hops, .. } => {
                let directs = &mut self.world.directs;
                directs.count_receipt(&id, hops, self.node.clock());
                self.mesh(Input::Acknowledged(id));
            }
            Output::Undelivered { .. } => {}
        }
    }

    fn check(&self) {
        let links = TurnLinks {
            counted: self.node.degree(),
            seen: self.peer().degree as usize,
            risen: self.risen,
            replaced: self.replaced,
        };
        let verdict = self.world.checks.on_turn(links);
        self.world.hold(self.p, verdict);
    }
}

/// Connections, from their handshakes to their end.
impl Turn<'_> {
    pub(crate) fn on_admitted(&mut self, c: u32, side: usize) {
        let network = &mut self.world.network;
        let far = 1 - side;
        let other = network.peer_at(c, far);
        if network.stage_at(c, side) != Stage::Open {
            return;
        }
        if network.stage_at(c, far) == Stage::Closed || !network.reaches(self.p, other) {
            // The other side died meanwhile, and its proof never arrives.
            let side = side as u8;
            let closed = Event::Closed { conn: c, side };
            return self.world.queue.push(self.node.clock() + OPEN, closed);
        }
        network.admit(c, side);
        let token = network.token(c);
        let other = &self.world.peers[other];
        let input = mesh::Input::LinkAdmitted {
            link: LinkId(c.into()),
            peer: other.id,
            keys: Some(other.keys),
            offered: side == 0,
            token,
        };
        self.node.work(2 * VERIFY);
        self.mesh(input);
    }

    pub(crate) fn on_closed(&mut self, c: u32, side: usize) {
        self.world.network.close_side(c, side);
        self.changed = true;
        if let Some(attempt) = self.node.links.take_failed(c) {
            self.signal(signal::Input::AttemptFailed { attempt });
        }
        self.mesh(mesh::Input::LinkClosed(LinkId(c.into())));
        self.settle();
        self.node.links.remove(c);
    }

    pub(crate) fn on_suspect(&mut self, c: u32) {
        self.mesh(mesh::Input::LinkSuspect(LinkId(c.into())));
    }

    /// Notes which connections the mesh counts now.
    fn note_links(&mut self) {
        let mut degree = 0;
        for c in self.node.links.all() {
            let up = self.node.counts(*c);
            degree += u32::from(up);
            let rise = self.world.network.set_up(*c, self.p, up);
            if rise.whole {
                self.world.costs.link();
            }
            if rise.new {
                self.risen += 1;
                if check::ON {
                    let stage = self.world.network.stage_at(*c, rise.side);
                    let verdict = self.world.checks.on_up(*c, stage == Stage::Admitted);
                    self.world.hold(self.p, verdict);
                }
            }
        }
        self.world.peers[self.p].note_degree(degree, self.node.clock());
    }

    /// The mesh closes a link. The peer's own side ends a little later.
    fn close(&mut self, link: LinkId, goodbye: Option<&Goodbye>) {
        self.changed = true;
        let conn = index(link.0 as usize);
        let now = self.node.clock();
        let side = self.world.network.side_of(conn, self.p);
        if self.world.network.is_up_at(conn, side) {
            self.note_close(conn, side, goodbye);
        }
        match self.world.network.close(conn, side, now) {
            Closing::AlreadyClosed => return,
            Closing::Unheard => {}
            Closing::Heard { side, at } => {
                self.world.queue.push(at, Event::Closed { conn, side });
            }
        }
        let side = side as u8;
        let closed = Event::Closed { conn, side };
        self.world.queue.push(now + MS, closed);
    }

    /// The mesh closes a link that it counts. Without a goodbye it takes the neighbor for dead.
    fn note_close(&mut self, c: u32, side: usize, goodbye: Option<&Goodbye>) {
        let network = &self.world.network;
        let other = network.peer_at(c, 1 - side);
        if goodbye.is_none()
            && network.stage_at(c, 1 - side) == Stage::Admitted
            && self.world.peers[other].alive
            && network.reaches(self.p, other)
        {
            self.world.costs.false_accusation();
        }
        if goodbye.is_some_and(|goodbye| goodbye.reason == Reason::Split) {
            self.replaced += 1;
        }
        if check::ON {
            let verdict = self.world.checks.on_close((c, side), goodbye);
            self.world.hold(self.p, verdict);
        }
    }
}

/// Packets along links.
impl Turn<'_> {
    /// Sends what the mesh wants sent.
    fn send(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if check::ON {
            for link in links {
                self.check_sent(index(link.0 as usize), &packet);
            }
        }
        self.transmit(links, packet, class);
    }

    fn check_sent(&mut self, c: u32, packet: &Packet) {
        let network = &self.world.network;
        let side = network.side_of(c, self.p);
        if network.stage_at(c, side) == Stage::Admitted {
            let to = self.world.peers[network.peer_at(c, 1 - side)].id;
            let checks = &mut self.world.checks;
            let verdict = checks.on_sent(self.p, (c, side), to, packet);
            self.world.hold(self.p, verdict);
        }
    }

    fn transmit(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if self.peer().dropper && packet.is_relayed_by(self.me()) {
            return;
        }
        let world = &mut *self.world;
        let bytes = world.packets.frame_len(&packet);
        if let Packet::Frame(Frame::Route(route)) = &packet {
            world.directs.count_sends(&route.sealed.id, links.len());
        }
        let control = packet.is_control();
        let may_drop = class != Class::Control;
        let now = self.node.clock();
        let parcel = world.packets.insert(packet);
        let mut receivers = 0;
        for link in links {
            let conn = index(link.0 as usize);
            let (network, rng) = (&mut world.network, &mut world.rng);
            let sent = network.send(conn, self.p, now, may_drop, rng);
            match sent {
                Sent::NotAdmitted => continue,
                Sent::Unheard => {}
                Sent::Dropped => world.costs.dropped_frame(),
                Sent::Arrives { side, at } => {
                    receivers += 1;
                    world.queue.push(at, Event::Packet { conn, side, parcel });
                }
            }
            world.costs.frame(bytes, control);
        }
        world.packets.set_receivers(parcel, receivers);
    }

    pub(crate) fn on_packet(&mut self, c: u32, side: usize, packet: Packet) {
        use mesh::Input;
        let link = LinkId(c.into());
        if let Packet::Gossip {
            pushed, message, ..
        } = &packet
            && *pushed != Pushed::Pulled
            && !self.node.is_within_rate(message.origin)
        {
            let origin = message.origin;
            return self.mesh(Input::OverRate { link, origin });
        }
        if check::ON {
            let up = self.node.counts(c);
            self.world.checks.on_taken(self.p, (c, side), up, &packet);
        }
        let input = match packet {
            Packet::Gossip {
                hops,
                pushed,
                has,
                message,
            } => {
                self.node.work(VERIFY);
                self.world.costs.verification();
                Input::Gossip(Arrival {
                    link,
                    hops,
                    pushed,
                    has,
                    message,
                })
            }
            Packet::Frame(Frame::Chunk(chunk)) => Input::Chunk {
                link,
                message: chunk.message,
                index: chunk.index,
                data: chunk.data,
            },
            Packet::Frame(frame) => Input::Frame { link, frame },
        };
        self.mesh(input);
    }
}

/// Messages of the peer itself.
impl Turn<'_> {
    /// Broadcasts a message with a payload of this size in bytes. Returns its id.
    pub(crate) fn publish(&mut self, size: usize) -> MessageId {
        self.node.work(VERIFY);
        let message = self.sign(Kind::Broadcast, size);
        let id = message.id;
        let chunks = Vec::new();
        self.mesh(mesh::Input::Publish { message, chunks });
        id
    }

    /// Sends a broadcast along every link without asking the mesh, as a client without limits would.
    pub(crate) fn flood(&mut self, size: usize) {
        let message = self.sign(Kind::Broadcast, size);
        let up = self.node.links.all().iter().copied();
        let up = up.filter(|c| self.node.counts(*c));
        let links: Vec<_> = up.map(|c| LinkId(c.into())).collect();
        let packet = Packet::Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            message,
        };
        self.transmit(&links, packet, Class::Own);
    }

    fn sign(&mut self, kind: Kind, size: usize) -> Arc<Signed> {
        let sequence = self.node.next_sequence();
        let id = MessageId::new(self.world.rng.random());
        let peer = self.peer();
        let message = Signed {
            id,
            origin: peer.id,
            keys: peer.keys,
            kind,
            content: Content::Binary,
            epoch: EPOCH_MS + peer.born / MS,
            sequence,
            time_ms: EPOCH_MS + self.node.clock() / MS,
            bytes: vec![0; size + ENVELOPE].into(),
            payload: 92..92 + size,
        };
        Arc::new(message)
    }

    /// Sends a planned direct message as soon as the receiver's keys are known.
    pub(crate) fn send_direct(&mut self, direct: u32) {
        self.node.await_keys(direct);
        let to = self.world.directs.planned(direct).to;
        self.mesh(mesh::Input::FindKeys(self.world.peers[to].id));
    }

    fn on_keys(&mut self, peer: PeerId, found: bool) {
        let waiting = self.node.take_without_keys();
        for direct in waiting {
            let planned = self.world.directs.planned(direct);
            if self.world.peers[planned.to].id != peer {
                self.node.await_keys(direct);
            } else if found {
                let id = MessageId::new(self.world.rng.random());
                self.world.directs.name(direct, id);
                self.node.work(2 * VERIFY);
                let sealed = Sealed {
                    id,
                    from: self.me(),
                    to: peer,
                    body: vec![0; planned.size + SEAL].into(),
                };
                self.mesh(mesh::Input::Direct(Arc::new(sealed)));
            }
        }
    }
}

/// Offers and answers.
impl Turn<'_> {
    fn on_signal(&mut self, output: signal::Output) {
        use signal::{Input, Output};
        match output {
            Output::MakeOffer { attempt } => {
                self.world.costs.connection();
                let offer = self.world.exchanges.offer(self.p, attempt);
                let at = self.node.clock() + GATHER;
                self.world.queue.push(at, Event::OfferMade(offer));
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
                let answer = sdp.parse::<u32>().ok();
                let Some(answer) = answer.filter(|_| self.node.take_offer(attempt)) else {
                    return self.signal(Input::AttemptFailed { attempt });
                };
                let now = self.node.clock();
                let world = &mut *self.world;
                let other = world.exchanges.answered(answer).peer;
                if world.network.connects(self.p, other) {
                    let ice = Network::ice(&mut world.rng);
                    world.queue.push(now + ice, Event::Open(answer));
                }
                world.queue.push(now + OPEN, Event::OfferDue(answer));
            }
            Output::MakeAnswer { attempt, sdp, .. } => {
                self.world.costs.connection();
                let Ok(offer) = sdp.parse() else {
                    return self.signal(Input::AnswerFailed { attempt });
                };
                let answer = self.world.exchanges.answer(offer, self.p, attempt);
                let at = self.node.clock() + GATHER;
                self.world.queue.push(at, Event::AnswerMade(answer));
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
                self.mesh(mesh::Input::ExchangeFailed(id));
            }
            Output::Drop { attempt } => {
                self.node.take_offer(attempt);
            }
        }
    }

    fn send_signal(&mut self, exchange: OfferId, to: PeerId, kind: SignalKind, sdp: Arc<str>) {
        let id = MessageId::new(*exchange.as_bytes());
        let sdp = sdp.into();
        self.mesh(mesh::Input::Signal { id, to, kind, sdp });
    }

    fn on_mesh_signal(&mut self, signal: &Signal) {
        let offer_id = OfferId::new(*signal.id.as_bytes());
        let sdp = String::from_utf8_lossy(&signal.sdp).into_owned();
        let peer = signal.from;
        self.signal(match signal.kind {
            SignalKind::Offer => signal::Input::Offer {
                via: Via::Mesh,
                peer,
                offer_id,
                sdp,
                acceptable_links: self.node.acceptable_links(),
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
        self.node.on_offer_made(attempt, offer);
    }

    pub(crate) fn on_answer_made(&mut self, answer: u32) {
        let attempt = self.world.exchanges.answered(answer).attempt;
        let due = self.node.clock() + OPEN;
        self.world.queue.push(due, Event::AnswerDue(answer));
        let sdp = answer.to_string();
        self.signal(signal::Input::AnswerMade { attempt, sdp });
    }
}

/// The tracker.
impl Turn<'_> {
    fn send_to_tracker(&mut self, event: Event) {
        let latency = self.world.network.tracker_latency(self.p);
        self.world.queue.push(self.node.clock() + latency, event);
    }

    fn tend_tracker(&mut self) {
        let born = self.peer().born;
        match self.node.tracker.on_time(self.node.clock(), born) {
            Due::Nothing => {}
            Due::Connect => {
                // TCP, TLS and the upgrade take a round trip each.
                let latency = self.world.network.tracker_latency(self.p);
                let at = self.node.clock() + 6 * latency;
                self.world.queue.push(at, Event::Connected(self.p));
            }
            Due::Announce => self.node.announce_due(),
        }
    }

    pub(crate) fn on_connected(&mut self) {
        let (now, born) = (self.node.clock(), self.peer().born);
        let up = self.world.tracker.is_up();
        let rng = &mut self.world.rng;
        self.node.tracker.on_connected(now, born, up, rng);
    }

    pub(crate) fn on_lost(&mut self) {
        let now = self.node.clock();
        if self.node.tracker.on_lost(now) {
            self.signal(signal::Input::TrackerLost(TRACKER));
            self.node.tracker.retry(now, &mut self.world.rng);
        }
    }

    pub(crate) fn on_interval(&mut self) {
        self.node.tracker.on_interval();
        self.node.on_swarm_size(self.world.tracker.size());
        self.set_deficit();
    }

    fn set_deficit(&mut self) {
        let (deficit, now) = (self.node.deficit(), self.node.now());
        let rng = &mut self.world.rng;
        self.node.tracker.set_deficit(deficit, now, rng);
    }

    /// Sends an announce with these offers if there is a connection.
    fn announce(&mut self, offers: Vec<u32>) {
        let now = self.node.now();
        if self.node.tracker.on_announce(now, &mut self.world.rng) {
            self.world.costs.announce();
            let (peer, announce) = (self.p, self.world.tracker.send(offers));
            self.send_to_tracker(Event::Announce { peer, announce });
        }
    }

    /// Sends an answer if there is a connection.
    fn answer_by_tracker(&mut self, answer: u32) {
        if self.node.tracker.is_up() {
            self.send_to_tracker(Event::AnswerAtTracker(answer));
        }
    }

    pub(crate) fn on_tracker_offer(&mut self, offer: u32) {
        if !self.node.tracker.is_up() {
            return;
        }
        let made = self.world.exchanges.offered(offer);
        let input = signal::Input::Offer {
            via: Via::Tracker(TRACKER),
            peer: self.world.peers[made.peer].id,
            offer_id: made.id,
            sdp: offer.to_string(),
            acceptable_links: self.node.acceptable_links(),
        };
        self.signal(input);
    }

    pub(crate) fn on_tracker_answer(&mut self, answer: u32) {
        if !self.node.tracker.is_up() {
            return;
        }
        let made = self.world.exchanges.answered(answer);
        let input = signal::Input::Answer {
            peer: self.world.peers[made.peer].id,
            offer_id: self.world.exchanges.offered(made.offer).id,
            sdp: answer.to_string(),
        };
        self.signal(input);
    }
}
