//! A simulated peer: the cores of a node and what a driver does between them. Everything that knows
//! the cores' inputs and outputs is here; it does what `node` does with real connections.
//!
//! - `links`: connections from their opening to their end.
//! - `signalling`: offers and answers.
//! - `packets`: what goes along links.
//! - `messages`: what a peer itself has to say.

mod links;
mod messages;
mod packets;
mod signalling;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::{OfferId, PeerId};
use rand::RngExt;

use super::check;
use super::index::index;
use super::network::Stage;
use super::packet::Packet;
use super::time::{MS, Time, from_duration, to_duration};
use super::tracker::Client;
use super::world::{What, World};
use easypeers_core::mesh::{Input, LinkId, Mesh, Output, Settings};
use easypeers_core::message::Signed;
use easypeers_core::rate::AUTHOR_RATE;
use easypeers_core::signal::{self, AttemptId, Signal};
use easypeers_core::time::Now;
use easypeers_core::topology::BROWSER_FLIP_INTERVAL;

/// Milliseconds since 1970 at the start of all.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// One signature check, or making one.
const VERIFY: Time = 50;

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
    pub(super) dropper: bool,
    pub(super) timers: Timers,
    pub(super) degree: u32,
    /// Since when it has fewer than two links.
    pub(super) low_since: Option<Time>,
    /// When it first had one link, and two.
    pub(super) first_link: Option<Time>,
    pub(super) second_link: Option<Time>,
}

impl Peer {
    /// Whether it is to be woken when its timers say.
    pub(super) fn is_awaited(&self) -> bool {
        let core = self.core.as_ref();
        core.is_some_and(|core| {
            let due = core.mesh.poll_timeout().min(core.signal.poll_timeout());
            core.wake < Time::MAX && due.is_some()
        })
    }

    /// Whether its mesh counts this connection.
    pub(super) fn counts(&self, conn: u32) -> bool {
        let core = self.core.as_ref();
        core.is_some_and(|core| core.mesh.up_peer(LinkId(conn.into())).is_some())
    }

    /// Whether it would take this message.
    pub(super) fn takes(&self, message: &Signed) -> bool {
        let core = self.core.as_ref();
        core.is_some_and(|core| {
            let now = to_duration(core.clock - self.born);
            !core.mesh.knows(&message.id) && core.mesh.is_within_rate(now, message.origin)
        })
    }

    /// Drops the cores and tells how many bytes they took.
    pub(super) fn weigh(&mut self, heap: fn() -> usize) -> usize {
        let Some(core) = self.core.take() else {
            return 0;
        };
        let Core { mesh, signal, .. } = *core;
        let inline = size_of::<Mesh>() + size_of::<Signal>();
        let before = heap();
        drop((mesh, signal));
        inline + before.saturating_sub(heap())
    }
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
    /// Links that came up; links that were closed for others.
    risen: u32,
    replaced: u32,
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
            rate: AUTHOR_RATE,
            history: to_duration(self.history),
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
            dropper: false,
            timers,
            degree: 0,
            low_since: Some(self.now),
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
            check::on_turn(turn.world, p, &turn.core.mesh, turn.risen, turn.replaced);
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
            due.checked_next_multiple_of(late).unwrap_or(Time::MAX)
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
            self.abandon(c, p, silently);
        }
        self.queue.push(self.now + 50 * MS, What::Gone(p));
    }
}

impl Core {
    fn deadline(&self, born: Time) -> Time {
        let cores = [self.mesh.poll_timeout(), self.signal.poll_timeout()];
        let cores = cores.into_iter().flatten().min();
        let cores = cores.map_or(Time::MAX, |due| born.saturating_add(from_duration(due)));
        cores.min(self.client.due(born))
    }
}

impl Turn<'_> {
    pub(super) fn born(&self) -> Time {
        self.world.peers[self.p as usize].born
    }

    /// As the cores count it.
    pub(super) fn now(&self) -> Now {
        to_duration(self.core.clock - self.born())
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
            let rise = self.world.network.set_up(*c, self.p, up);
            self.world.costs.links += u64::from(rise.whole);
            if rise.new {
                self.risen += 1;
                if check::ON {
                    let stage = self.world.network.stage_at(*c, rise.side);
                    let verdict = self.world.checks.on_up(*c, stage == Stage::Admitted);
                    check::hold(self.world, self.p, verdict);
                }
            }
        }
        let peer = &mut self.world.peers[self.p as usize];
        peer.degree = degree;
        peer.low_since = (degree < 2).then(|| peer.low_since.unwrap_or(self.core.clock));
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
                self.tell_need();
            }
            Output::Deliver { message, hops } | Output::DeliverLarge { message, hops, .. } => {
                let at = self.core.clock;
                if check::ON {
                    let verdict = self.world.checks.on_delivered(self.p, message.id);
                    check::hold(self.world, self.p, verdict);
                }
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

    fn me(&self) -> PeerId {
        self.world.peers[self.p as usize].id
    }
}
