//! A simulated peer: the cores of a node and what a driver does between them. Mirrors
//! `node/{swarm,dial,frames}.rs`; everything that knows the cores' inputs and outputs is here.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use shared::crypto::PublicKeys;
use shared::crypto::envelope::{Content, Kind};
use shared::wire::frame::{Pushed, SignalKind};
use shared::{MessageId, OfferId, PeerId};

use super::network::{Conn, Distances, Stage};
use super::slab::index;
use super::tracker::Client;
use super::world::{Answer, Offer, Parcel, What, World};
use super::{MS, SECOND, Time, check, time};
use crate::api::Limits;
use crate::mesh::gossip::Arrival;
use crate::mesh::message::{Class, Packet, Sealed, Signal as Description, Signed};
use crate::mesh::{Input, LinkId, Mesh, Now, Output, Settings};
use crate::node::{BROWSER_FLIP_INTERVAL, frames};
use crate::signal::{self, AttemptId, Signal, Via};

/// Milliseconds since 1970 at the start of all.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Time for candidates and a description.
const GATHER: Time = 50 * MS;

/// Time for a connection to open, and for the handshakes on it.
const OPEN: Time = 25 * SECOND;

/// One signature check, or making one.
const VERIFY: Time = 50;

/// From a neighbour's death to the connection's doubt.
const SUSPECT: Time = 2_700 * MS;

/// A session description of a native peer with three candidates; ours here are but a number.
const SDP_BYTES: u64 = 700;

/// Length, type and number before each frame.
const FRAME_HEADER: u64 = 6;

/// What envelopes have around their payloads.
const ENVELOPE: usize = 156;

/// What seals have around theirs.
const SEAL: usize = 80 + ENVELOPE;

/// How late a peer's timers fire: on the full second, or minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timers(pub(super) Time);

/// A peer, living or not.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) keys: PublicKeys,
    pub(super) alive: bool,
    /// None while it has its turn.
    core: Option<Box<Core>>,
    pub(super) born: Time,
    /// Its place among the living.
    pub(super) live_at: usize,
    /// Its place at the tracker.
    pub(super) member_at: Option<usize>,
    /// The side of a partition.
    pub(super) side: bool,
    pub(super) dropper: bool,
    pub(super) timers: Timers,
    pub(super) degree: u32,
    /// When it first had one link, and two.
    pub(super) first_link: Option<Time>,
    pub(super) second_link: Option<Time>,
}

/// What is dropped when a peer dies.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) mesh: Mesh,
    signal: Signal,
    pub(super) client: Client,
    /// Connections of which its mesh may know.
    conns: Vec<u32>,
    /// Those that are not up yet, with what they came from.
    opening: Vec<(u32, AttemptId)>,
    /// Offers that wait for an answer.
    offers: Vec<(AttemptId, u32)>,
    /// Direct messages whose receiver's keys are not known yet.
    unknown: Vec<u32>,
    /// Messages that it signed.
    sequence: u64,
    /// It is busy until then.
    pub(super) clock: Time,
    /// When it is woken next.
    wake: Time,
}

/// One peer's turn to do something.
pub(super) struct Turn<'a> {
    pub(super) world: &'a mut World,
    pub(super) core: &'a mut Core,
    pub(super) p: u32,
    /// Links changed.
    changed: bool,
}

impl World {
    /// A new peer starts.
    pub(super) fn start_peer(&mut self, timers: Timers) -> u32 {
        let mut keys = [0; 64];
        self.rng.fill(&mut keys);
        let keys = PublicKeys::new(keys);
        let id = keys.address();
        let settings = Settings {
            me: id,
            keys,
            started_ms: EPOCH_MS + self.now / MS,
            max_peers: self.max_peers,
            rate: Limits::default().author,
            history: Duration::ZERO,
            flip_interval: BROWSER_FLIP_INTERVAL,
            seed: self.rng.random(),
        };
        let seed = self.rng.random();
        let core = Core {
            mesh: Mesh::new(settings),
            signal: Signal::new(signal::Settings { me: id, seed }),
            client: Client::new(),
            conns: Vec::new(),
            opening: Vec::new(),
            offers: Vec::new(),
            unknown: Vec::new(),
            sequence: 0,
            clock: self.now,
            wake: Time::MAX,
        };
        let p = index(self.peers.len());
        self.peers.push(Peer {
            id,
            keys,
            alive: true,
            core: Some(Box::new(core)),
            born: self.now,
            live_at: self.live.len(),
            member_at: None,
            side: false,
            dropper: false,
            timers,
            degree: 0,
            first_link: None,
            second_link: None,
        });
        self.live.push(p);
        self.turn(p, |turn| turn.mesh(Input::Timeout));
        p
    }

    /// Gives a peer its turn, and does what its cores want done after it.
    pub(super) fn turn(&mut self, p: u32, act: impl FnOnce(&mut Turn<'_>)) {
        let Some(mut core) = self.peers[p as usize].core.take() else {
            return;
        };
        core.clock = core.clock.max(self.now);
        let mut turn = Turn {
            world: self,
            core: &mut core,
            p,
            changed: false,
        };
        act(&mut turn);
        turn.settle();
        turn.on_time();
        if turn.changed {
            turn.note_links();
        }
        if cfg!(debug_assertions) {
            check::peer(turn.world, p, &turn.core.mesh);
        }
        let due = core.deadline(self.peers[p as usize].born);
        self.wake(p, &mut core, due);
        self.peers[p as usize].core = Some(core);
    }

    /// One wake-up waits for each peer; it is moved to a later time only when it comes.
    fn wake(&mut self, p: u32, core: &mut Core, due: Time) {
        let Timers(late) = self.peers[p as usize].timers;
        let due = due.max(core.clock + MS);
        let due = if late > 0 {
            due.next_multiple_of(late)
        } else {
            due
        };
        if due < core.wake {
            core.wake = due;
            self.queue.push(due, What::Wake(p));
        }
    }

    pub(super) fn on_wake(&mut self, p: u32) {
        let now = self.now;
        let peer = &mut self.peers[p as usize];
        let due = match &mut peer.core {
            Some(core) if core.wake == now => {
                core.wake = Time::MAX;
                core.deadline(peer.born)
            }
            _ => return,
        };
        if due <= now {
            self.turn(p, |turn| turn.mesh(Input::Timeout));
        } else if let Some(mut core) = self.peers[p as usize].core.take() {
            self.wake(p, &mut core, due);
            self.peers[p as usize].core = Some(core);
        }
    }

    /// A peer is gone: said, or silently.
    pub(super) fn stop_peer(&mut self, p: u32, silently: bool) {
        let peer = &mut self.peers[p as usize];
        let Some(core) = peer.core.take() else {
            return;
        };
        peer.alive = false;
        peer.degree = 0;
        let at = peer.live_at;
        self.live.swap_remove(at);
        if let Some(moved) = self.live.get(at) {
            self.peers[*moved as usize].live_at = at;
        }
        for c in core.conns {
            let conn = &mut self.conns[c as usize];
            let side = conn.side_of(p);
            if conn.ends[side].stage == Stage::Closed {
                continue;
            }
            conn.ends[side].stage = Stage::Closed;
            conn.ends[side].up = false;
            let other = 1 - side;
            if silently {
                let doubt = What::Suspect {
                    conn: c,
                    side: other as u8,
                };
                self.queue.push(self.now + SUSPECT, doubt);
            } else {
                let at = conn.close_at(other, self.now);
                let closed = What::Closed {
                    conn: c,
                    side: other as u8,
                };
                self.queue.push(at, closed);
            }
        }
        self.queue.push(self.now + 50 * MS, What::Gone(p));
    }

    /// Nothing passes between these two any more.
    pub(super) fn cut(&mut self, c: u32) {
        for side in [0, 1] {
            self.queue
                .push(self.now + SUSPECT, What::Suspect { conn: c, side });
        }
    }

    /// Both descriptions are exchanged, and the connection finds its way.
    pub(super) fn on_open(&mut self, answer: u32) {
        let Answer { offer, peer, .. } = self.answers[answer as usize];
        let offerer = self.offers[offer as usize].peer;
        let expired = self.answers[answer as usize].expired;
        let alive = |p: u32| self.peers[p as usize].alive;
        if expired || !alive(peer) || !alive(offerer) || !self.reaches(peer, offerer) {
            return;
        }
        self.answers[answer as usize].opened = true;
        let latency = self.distances.latency(peer, offerer);
        let c = index(self.conns.len());
        let token = self.rng.random();
        self.conns.push(Conn::new(offerer, peer, latency, token));
        let attempts = [
            (offerer, self.offers[offer as usize].attempt),
            (peer, self.answers[answer as usize].attempt),
        ];
        for (p, attempt) in attempts {
            if let Some(core) = &mut self.peers[p as usize].core {
                core.conns.push(c);
                core.opening.push((c, attempt));
            }
        }
        for side in [0, 1] {
            // Greetings cross, then proofs.
            let at = self.now + 2 * latency + MS;
            self.queue.push(at, What::Admitted { conn: c, side });
        }
        self.schedule_reset(c);
    }

    /// The time for an attempt is over.
    pub(super) fn on_attempt_due(&mut self, answer: u32, offerer: bool) {
        let made = self.answers[answer as usize];
        if made.opened {
            return;
        }
        let (p, attempt) = if offerer {
            let offer = self.offers[made.offer as usize];
            (offer.peer, offer.attempt)
        } else {
            self.answers[answer as usize].expired = true;
            (made.peer, made.attempt)
        };
        self.turn(p, |turn| {
            turn.signal(signal::Input::AttemptFailed { attempt });
        });
    }

    pub(super) fn on_packet(&mut self, c: u32, side: usize, parcel: u32) {
        let end = self.conns[c as usize].ends[side];
        let p = end.peer;
        let link = LinkId(c.into());
        let Some(waiting) = self.parcels.get_mut(parcel) else {
            return;
        };
        waiting.receivers -= 1;
        let last = waiting.receivers == 0;
        let mut packet = None;
        let mut known = None;
        if end.stage == Stage::Admitted
            && let Some(core) = &self.peers[p as usize].core
        {
            match &waiting.packet {
                Packet::Gossip {
                    message, pushed, ..
                } if core.mesh.knows(&message.id) => {
                    known = Some((message.id, *pushed));
                }
                shared if !last => packet = Some(shared.clone()),
                _ => {}
            }
        }
        if last {
            let whole = self.parcels.take(parcel).map(|parcel| parcel.packet);
            if end.stage == Stage::Admitted && known.is_none() {
                packet = whole;
            }
        }
        if let Some((id, pushed)) = known {
            self.count_copy(&id);
            self.turn(p, |turn| turn.mesh(Input::Duplicate { link, id, pushed }));
        } else if let Some(packet) = packet {
            if let Packet::Gossip { message, .. } = &packet {
                self.count_copy(&message.id);
            }
            self.turn(p, |turn| turn.on_packet(link, packet));
        }
    }
}

impl Core {
    fn deadline(&self, born: Time) -> Time {
        let cores = [self.mesh.poll_timeout(), self.signal.poll_timeout()];
        let cores = cores.into_iter().flatten().min();
        let cores = cores.map_or(Time::MAX, |due| born.saturating_add(super::micros(due)));
        cores.min(self.client.due(born))
    }
}

impl Turn<'_> {
    pub(super) fn born(&self) -> Time {
        self.world.peers[self.p as usize].born
    }

    /// As the cores count it.
    pub(super) fn now(&self) -> Now {
        time(self.core.clock - self.born())
    }

    pub(super) fn mesh(&mut self, input: Input) {
        let now = self.now();
        self.core.mesh.handle(now, input);
    }

    pub(super) fn signal(&mut self, input: signal::Input) {
        let now = self.now();
        let mesh = &self.core.mesh;
        self.core.signal.handle(now, input, |peer| {
            mesh.is_neighbor(*peer) || mesh.is_banned(*peer)
        });
    }

    fn settle(&mut self) {
        loop {
            if let Some(output) = self.core.mesh.poll_output() {
                self.on_output(output);
            } else if let Some(output) = self.core.signal.poll_output() {
                self.on_signal(output);
            } else if !self.note_opened() {
                return;
            }
        }
    }

    fn on_time(&mut self) {
        let now = self.now();
        if self
            .core
            .signal
            .poll_timeout()
            .is_some_and(|due| due <= now)
        {
            self.signal(signal::Input::Timeout);
            self.settle();
        }
        self.tend_tracker();
        self.settle();
    }

    fn note_opened(&mut self) -> bool {
        let mesh = &self.core.mesh;
        let up = self
            .core
            .opening
            .iter()
            .enumerate()
            .find_map(|(at, (c, _))| {
                let peer = mesh.up_peer(LinkId((*c).into()))?;
                Some((at, peer))
            });
        let Some((at, peer)) = up else {
            return false;
        };
        let (_, attempt) = self.core.opening.remove(at);
        self.signal(signal::Input::AttemptOpened { attempt, peer });
        true
    }

    /// Which connections its mesh counts now.
    fn note_links(&mut self) {
        let mut degree = 0;
        for c in &self.core.conns {
            let up = self.core.mesh.up_peer(LinkId((*c).into())).is_some();
            degree += u32::from(up);
            let conn = &mut self.world.conns[*c as usize];
            let side = conn.side_of(self.p);
            let before = conn.is_up();
            conn.ends[side].up = up;
            if conn.is_up() && !before {
                self.world.costs.links += 1;
            }
        }
        let peer = &mut self.world.peers[self.p as usize];
        peer.degree = degree;
        if degree >= 1 && peer.first_link.is_none() {
            peer.first_link = Some(self.core.clock);
        }
        if degree >= 2 && peer.second_link.is_none() {
            peer.second_link = Some(self.core.clock);
        }
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Send {
                links,
                packet,
                class,
            } => self.send(&links, packet, class),
            Output::Close { link, .. } => self.close(link),
            Output::Invite { id, peer } => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal(signal::Input::Invite { peer, offer_id });
            }
            Output::Signal(signal) => self.on_mesh_signal(&signal),
            Output::Withdraw(id) => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal(signal::Input::Withdraw(offer_id));
            }
            Output::Connect(_) | Output::Disconnect(_) => {
                self.changed = true;
                self.tell_need();
            }
            Output::Deliver { message, hops } | Output::DeliverLarge { message, hops, .. } => {
                let at = self.core.clock;
                self.world.count_delivery(self.p, &message.id, hops, at);
            }
            Output::Published(_) | Output::NotPublished { .. } => {}
            Output::Beacon => {
                self.core.clock += VERIFY;
                let message = self.sign(Kind::Beacon, 0);
                let chunks = Vec::new();
                self.mesh(Input::Publish { message, chunks });
            }
            Output::Keys { peer, keys } => self.on_keys(peer, keys.is_some()),
            Output::Open { sealed, .. } => {
                self.core.clock += 2 * VERIFY;
                self.world.count_arrival(&sealed.id, self.core.clock);
                let (id, proof) = (sealed.id, [0; 16]);
                self.mesh(Input::Acknowledge { id, proof });
            }
            Output::CheckAck { id, hops, .. } => {
                self.world.count_receipt(&id, hops, self.core.clock);
                self.mesh(Input::Acknowledged(id));
            }
            Output::Undelivered { .. } => {}
        }
    }

    fn on_signal(&mut self, output: signal::Output) {
        use signal::{Input, Output};
        match output {
            Output::MakeOffer { attempt } => {
                self.world.costs.connections += 1;
                let offer = index(self.world.offers.len());
                self.world.offers.push(Offer {
                    peer: self.p,
                    attempt,
                    id: OfferId::new([0; 20]),
                });
                let at = self.core.clock + GATHER;
                self.world.queue.push(at, What::OfferMade(offer));
            }
            Output::Announce { offers, .. } => {
                let offers = offers.into_iter().filter_map(|(id, sdp)| {
                    let offer: u32 = sdp.parse().ok()?;
                    self.world.offers[offer as usize].id = id;
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
                let other = self.world.answers[answer as usize].peer;
                if self.world.distances.connects(self.p, other) {
                    let ice = Distances::ice(&mut self.world.rng);
                    self.world.queue.push(now + ice, What::Open(answer));
                }
                self.world.queue.push(now + OPEN, What::OfferDue(answer));
            }
            Output::MakeAnswer { attempt, sdp, .. } => {
                self.world.costs.connections += 1;
                let Ok(offer) = sdp.parse() else {
                    return self.signal(Input::AnswerFailed { attempt });
                };
                let answer = index(self.world.answers.len());
                self.world.answers.push(Answer {
                    offer,
                    peer: self.p,
                    attempt,
                    opened: false,
                    expired: false,
                });
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
                self.mesh(crate::mesh::Input::ExchangeFailed(id));
            }
            Output::Drop { attempt } => self.core.offers.retain(|(a, _)| *a != attempt),
        }
    }

    fn send_signal(&mut self, exchange: OfferId, to: PeerId, kind: SignalKind, sdp: Arc<str>) {
        let id = MessageId::new(*exchange.as_bytes());
        self.mesh(Input::Signal { id, to, kind, sdp });
    }

    fn on_mesh_signal(&mut self, signal: &Description) {
        let offer_id = OfferId::new(*signal.id.as_bytes());
        let (peer, sdp) = (signal.from, signal.sdp.to_string());
        self.signal(match signal.kind {
            SignalKind::Offer => signal::Input::Offer {
                via: Via::Mesh,
                peer,
                offer_id,
                sdp,
                want: self.core.mesh.guest_room(),
            },
            SignalKind::Answer | SignalKind::Refusal => signal::Input::Answer {
                peer,
                offer_id,
                sdp,
            },
        });
    }

    pub(super) fn on_offer_made(&mut self, offer: u32) {
        let attempt = self.world.offers[offer as usize].attempt;
        self.core.offers.push((attempt, offer));
        let sdp = offer.to_string().into();
        self.signal(signal::Input::OfferMade { attempt, sdp });
    }

    pub(super) fn on_answer_made(&mut self, answer: u32) {
        let attempt = self.world.answers[answer as usize].attempt;
        let due = self.core.clock + OPEN;
        self.world.queue.push(due, What::AnswerDue(answer));
        let sdp = answer.to_string();
        self.signal(signal::Input::AnswerMade { attempt, sdp });
    }

    pub(super) fn on_admitted(&mut self, c: u32, side: usize) {
        let conn = &mut self.world.conns[c as usize];
        let (own, other) = (conn.ends[side], conn.ends[1 - side]);
        if own.stage != Stage::Open {
            return;
        }
        if other.stage == Stage::Closed || !self.world.reaches(own.peer, other.peer) {
            // It died in between: its proof never comes.
            let side = side as u8;
            let closed = What::Closed { conn: c, side };
            return self.world.queue.push(self.core.clock + OPEN, closed);
        }
        let conn = &mut self.world.conns[c as usize];
        conn.ends[side].stage = Stage::Admitted;
        let token = conn.token;
        let other = &self.world.peers[other.peer as usize];
        let input = Input::LinkAdmitted {
            link: LinkId(c.into()),
            peer: other.id,
            keys: Some(other.keys),
            offered: side == 0,
            token,
        };
        self.core.clock += 2 * VERIFY;
        self.mesh(input);
    }

    pub(super) fn on_closed(&mut self, c: u32, side: usize) {
        self.world.conns[c as usize].ends[side].stage = Stage::Closed;
        self.world.conns[c as usize].ends[side].up = false;
        self.changed = true;
        if let Some(at) = self.core.opening.iter().position(|(o, _)| *o == c) {
            let (_, attempt) = self.core.opening.remove(at);
            self.signal(signal::Input::AttemptFailed { attempt });
        }
        self.mesh(Input::LinkClosed(LinkId(c.into())));
        self.settle();
        self.core.conns.retain(|other| *other != c);
    }

    /// The mesh closes a link; its task ends a little later.
    fn close(&mut self, link: LinkId) {
        self.changed = true;
        let c = index(link.0 as usize);
        let now = self.core.clock;
        let conn = &mut self.world.conns[c as usize];
        let side = conn.side_of(self.p);
        if conn.ends[side].stage == Stage::Closed {
            return;
        }
        conn.ends[side].stage = Stage::Closed;
        conn.ends[side].up = false;
        let far = 1 - side;
        if conn.ends[far].stage != Stage::Closed {
            let at = conn.close_at(far, now);
            let [own, other] = [conn.ends[side].peer, conn.ends[far].peer];
            if self.world.reaches(own, other) {
                let side = far as u8;
                self.world.queue.push(at, What::Closed { conn: c, side });
            }
        }
        let side = side as u8;
        self.world
            .queue
            .push(now + MS, What::Closed { conn: c, side });
    }

    fn send(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if self.world.peers[self.p as usize].dropper && is_for_others(&packet, self.me()) {
            return;
        }
        let bytes = self.world.frame_len(&packet);
        if let Packet::Route { sealed, .. } = &packet {
            self.world.count_send(&sealed.id, links.len());
        }
        let control = !matches!(packet, Packet::Gossip { .. } | Packet::Chunk { .. });
        let now = self.core.clock;
        let parcel = self.world.parcels.insert(Parcel {
            packet,
            receivers: 0,
        });
        let mut receivers = 0;
        for link in links {
            let c = index(link.0 as usize);
            let world = &mut *self.world;
            let conn = &mut world.conns[c as usize];
            let side = conn.side_of(self.p);
            let far = 1 - side;
            if conn.ends[side].stage != Stage::Admitted {
                continue;
            }
            world.costs.frames += 1;
            *(if control {
                &mut world.costs.control_bytes
            } else {
                &mut world.costs.gossip_bytes
            }) += bytes;
            let to = conn.ends[far].peer;
            if conn.ends[far].stage == Stage::Closed || world.split && !world.reaches(self.p, to) {
                continue;
            }
            let conn = &mut world.conns[c as usize];
            let extra = world.distances.loss(conn.latency, &mut world.rng);
            match conn.pass(far, now, extra, class != Class::Control) {
                Some(at) => {
                    receivers += 1;
                    let side = far as u8;
                    let packet = What::Packet {
                        conn: c,
                        side,
                        parcel,
                    };
                    world.queue.push(at, packet);
                }
                None => world.costs.dropped += 1,
            }
        }
        match self.world.parcels.get_mut(parcel) {
            Some(waiting) if receivers > 0 => waiting.receivers = receivers,
            _ => drop(self.world.parcels.take(parcel)),
        }
    }

    fn me(&self) -> PeerId {
        self.world.peers[self.p as usize].id
    }

    fn on_packet(&mut self, link: LinkId, packet: Packet) {
        let input = match packet {
            Packet::Gossip {
                hops,
                pushed,
                has,
                message,
            } => {
                let (now, origin) = (self.now(), message.origin);
                if pushed != Pushed::Pulled && !self.core.mesh.is_within_rate(now, origin) {
                    Input::Excess { link, origin }
                } else {
                    self.core.clock += VERIFY;
                    self.world.costs.verified += 1;
                    Input::Gossip(Arrival {
                        link,
                        hops,
                        pushed,
                        has,
                        message,
                    })
                }
            }
            Packet::Chunk {
                message,
                index,
                data,
            } => Input::Chunk {
                link,
                message,
                index,
                data,
            },
            packet => Input::Packet { link, packet },
        };
        self.mesh(input);
    }

    pub(super) fn on_suspect(&mut self, c: u32) {
        self.mesh(Input::LinkSuspect(LinkId(c.into())));
    }

    /// Broadcasts so many bytes; the id.
    pub(super) fn publish(&mut self, size: usize) -> MessageId {
        self.core.clock += VERIFY;
        let message = self.sign(Kind::Broadcast, size);
        let id = message.id;
        let chunks = Vec::new();
        self.mesh(Input::Publish { message, chunks });
        id
    }

    /// As a client that knows no limits: a broadcast along every link, past the mesh.
    pub(super) fn flood(&mut self, size: usize) {
        let message = self.sign(Kind::Broadcast, size);
        let links: Vec<LinkId> = (self.core.conns.iter())
            .map(|c| LinkId((*c).into()))
            .filter(|link| self.core.mesh.up_peer(*link).is_some())
            .collect();
        let packet = Packet::Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            message,
        };
        self.send(&links, packet, Class::Own);
    }

    fn sign(&mut self, kind: Kind, size: usize) -> Arc<Signed> {
        self.core.sequence += 1;
        let id = MessageId::new(self.world.rng.random());
        let peer = &self.world.peers[self.p as usize];
        let message = Signed {
            id,
            origin: peer.id,
            keys: peer.keys,
            kind,
            content: Content::Binary,
            epoch: EPOCH_MS + self.born() / MS,
            sequence: self.core.sequence,
            time_ms: EPOCH_MS + self.core.clock / MS,
            bytes: vec![0; size + ENVELOPE].into(),
            payload: 92..92 + size,
        };
        Arc::new(message)
    }

    /// Sends a direct message, once the receiver's keys are known.
    pub(super) fn send_direct(&mut self, direct: u32) {
        self.core.unknown.push(direct);
        let to = self.world.directs[direct as usize].to;
        let to = self.world.peers[to as usize].id;
        self.mesh(Input::FindKeys(to));
    }

    fn on_keys(&mut self, peer: PeerId, found: bool) {
        let unknown = std::mem::take(&mut self.core.unknown);
        for direct in unknown {
            let sent = self.world.directs[direct as usize];
            if self.world.peers[sent.to as usize].id != peer {
                self.core.unknown.push(direct);
            } else if found {
                let id = MessageId::new(self.world.rng.random());
                self.world.note_direct(direct, id);
                self.core.clock += 2 * VERIFY;
                let sealed = Sealed {
                    id,
                    from: self.me(),
                    to: peer,
                    body: vec![0; sent.size + SEAL].into(),
                };
                self.mesh(Input::Direct(Arc::new(sealed)));
            }
        }
    }
}

/// What a peer that relays nothing drops.
fn is_for_others(packet: &Packet, me: PeerId) -> bool {
    match packet {
        Packet::Gossip { message, .. } => message.origin != me,
        Packet::IHave { .. } | Packet::Chunk { .. } | Packet::Who { .. } | Packet::Keys { .. } => {
            true
        }
        Packet::Route { sealed, .. } => sealed.from != me,
        Packet::Ack { from, .. } => *from != me,
        _ => false,
    }
}

impl World {
    /// What a packet takes on a link.
    fn frame_len(&mut self, packet: &Packet) -> u64 {
        self.scratch.clear();
        frames::frame(packet).encode(&mut self.scratch);
        let described = match packet {
            Packet::Signal(signal) if !signal.sdp.is_empty() => SDP_BYTES,
            _ => 0,
        };
        self.scratch.len() as u64 + FRAME_HEADER + described
    }
}
