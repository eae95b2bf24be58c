//! One membership of one swarm: its parts, and the loop that runs them.
//!
//! The loop waits for links, trackers, tasks, timers and the application. It hands what arrives to
//! the part that is responsible, and carries out the [`Action`]s that the part returns, in their
//! order. Parts do not know each other: what one needs to know of another is an argument.

use std::sync::Arc;
use std::time::Duration;

use easypeers_core::mesh::{Input, LinkId, Mesh, Output, Settings, Unsent};
use easypeers_core::message::{Class, Signed};
use easypeers_core::session::Credentials;
use easypeers_core::signal::{self, Signal, Via};
use easypeers_core::time::Now;
#[cfg(target_family = "wasm")]
use easypeers_core::topology::BROWSER_FLIP_INTERVAL;
use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::{self, Frame, Gossip, SignalKind};
use easypeers_proto::{InfoHash, OfferId, PeerId};
use tokio::sync::{broadcast, mpsc};

use super::action::{Action, Count};
use super::command::{Command, Reply};
use super::content;
use super::dialer::{Dialer, Job};
use super::direct::DirectMessages;
use super::frames;
use super::link_table::LinkTable;
use super::link_task::FromLink;
use super::report::{Report, Snapshot};
use super::sender::{self, Sender};
use super::signer::Signer;
#[cfg(feature = "compat")]
use super::v1_bridge::{self, V1Bridge};
use crate::link::Transport;
use crate::model::{Data, Event, Options, PeerInfo, Receipt, SendError, View};
use crate::rt::{self, Clock};
use crate::tracker::{Deficit, TrackerEvent, Trackers};

/// Events of links that wait for the loop. Beyond that the links' tasks wait, and their neighbours
/// with them.
const LINK_QUEUE: usize = 256;

/// Results of the dialer's tasks that wait for the loop.
const JOB_QUEUE: usize = 64;

/// Events of links that are taken at once before anything else gets a turn.
const BATCH: usize = 64;

/// Time to say goodbye.
const LEAVE: Duration = Duration::from_secs(2);

/// Time between two exchanges of neighbours that a member starts, on average. Each makes two links
/// between four members, so a native peer takes part in twelve an hour. They keep the mesh random and
/// cost next to nothing. Browsers can afford fewer connections: two exchanges an hour.
#[cfg(not(target_family = "wasm"))]
const FLIP_INTERVAL: Duration = Duration::from_secs(1200);
#[cfg(target_family = "wasm")]
const FLIP_INTERVAL: Duration = BROWSER_FLIP_INTERVAL;

/// Why a membership ended.
#[derive(Debug)]
pub(super) enum End {
    Closed(Option<Reply<()>>),
    SetIdentity(Arc<Identity>, Reply<()>),
    #[cfg(feature = "compat")]
    SetAddress(PeerId, Reply<Result<(), SendError>>),
    SetIdentifier(InfoHash, Reply<()>),
}

/// What a membership is made from.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    pub(super) options: &'a Options,
    pub(super) max_peers: usize,
    pub(super) timeout: Duration,
    pub(super) credentials: Arc<Credentials>,
    pub(super) transport: Arc<Transport>,
    pub(super) view: Arc<std::sync::RwLock<View>>,
    pub(super) events: broadcast::Sender<Event>,
}

/// What the loop waits for, commands aside.
#[derive(Debug)]
struct Inbox {
    links: mpsc::Receiver<(LinkId, FromLink)>,
    jobs: mpsc::Receiver<Job>,
    trackers: mpsc::Receiver<TrackerEvent>,
    /// Closed if this peer is no bridge.
    #[cfg(feature = "compat")]
    v1: mpsc::Receiver<v1_bridge::Done>,
}

/// A peer's membership of one swarm.
#[derive(Debug)]
pub(super) struct Membership {
    clock: Clock,
    #[cfg(feature = "compat")]
    credentials: Arc<Credentials>,
    mesh: Mesh,
    signal: Signal,
    trackers: Trackers,
    links: LinkTable,
    dialer: Dialer,
    signer: Signer,
    sender: Sender,
    directs: DirectMessages,
    report: Report,
    /// In compatibility mode.
    #[cfg(feature = "compat")]
    v1: Option<V1Bridge>,
    inbox: Inbox,
}

impl Membership {
    pub(super) fn join(setup: Setup<'_>) -> Self {
        let Setup {
            options,
            max_peers,
            timeout,
            credentials,
            transport,
            view,
            events,
        } = setup;
        let clock = Clock::start();
        let me = credentials.address;
        let identity = &credentials.identity;
        let (trackers, tracker_events) =
            Trackers::spawn(&options.trackers, credentials.info_hash, me, timeout);
        let (jobs, job_results) = mpsc::channel(JOB_QUEUE);
        let (from_links, link_events) = mpsc::channel(LINK_QUEUE);
        #[cfg(feature = "compat")]
        let (v1, v1_results) = if credentials.accepts_v1 {
            let (bridge, results) = V1Bridge::start(Arc::clone(&credentials), clock);
            (Some(bridge), results)
        } else {
            (None, mpsc::channel(1).1)
        };
        let mut membership = Self {
            clock,
            mesh: Mesh::new(Settings {
                me,
                keys: *identity.public(),
                started_ms: clock.started_ms(),
                max_peers,
                rate: options.limits.author,
                history: options.history,
                flip_interval: FLIP_INTERVAL,
                seed: u64::from_ne_bytes(rt::random()),
            }),
            signal: Signal::new(signal::Settings {
                me,
                seed: u64::from_ne_bytes(rt::random()),
            }),
            trackers,
            links: LinkTable::new(Arc::clone(&credentials), options.limits, from_links),
            dialer: Dialer::new(transport, jobs),
            signer: Signer::new(Arc::clone(identity), clock),
            sender: Sender::default(),
            directs: DirectMessages::new(me, Arc::clone(identity), clock),
            report: Report::new(clock, &options.trackers, (max_peers, timeout), view, events),
            #[cfg(feature = "compat")]
            v1,
            #[cfg(feature = "compat")]
            credentials,
            inbox: Inbox {
                links: link_events,
                jobs: job_results,
                trackers: tracker_events,
                #[cfg(feature = "compat")]
                v1: v1_results,
            },
        };
        membership.dialer.look_for_ice_servers(options);
        membership.write_view();
        membership
    }

    pub(super) async fn run(mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        let end = self.until_end(commands).await;
        self.leave().await;
        end
    }

    async fn until_end(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        loop {
            let wait = self.deadline().saturating_sub(self.clock.now());
            #[cfg(feature = "compat")]
            let v1 = self.inbox.v1.recv();
            #[cfg(not(feature = "compat"))]
            let v1 = std::future::pending::<Option<std::convert::Infallible>>();
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else {
                        return End::Closed(None);
                    };
                    if let Some(end) = self.on_command(command) {
                        return end;
                    }
                }
                Some((link, event)) = self.inbox.links.recv() => self.on_link(link, event),
                Some(job) = self.inbox.jobs.recv() => {
                    let action = self.dialer.on_job(job);
                    self.perform(action);
                }
                Some(event) = self.inbox.trackers.recv() => self.on_tracker(event),
                Some(done) = v1 => self.on_v1(done),
                () = rt::sleep(wait) => self.tell_mesh(Input::Timeout),
            }
            self.settle();
            for _ in 0..BATCH {
                let Ok((link, event)) = self.inbox.links.try_recv() else {
                    break;
                };
                self.on_link(link, event);
                self.settle();
            }
            self.on_time();
        }
    }

    fn deadline(&self) -> Now {
        [
            self.mesh.poll_timeout(),
            self.signal.poll_timeout(),
            self.directs.deadline(),
            self.report.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Now::MAX)
        // Timers do not take an unlimited time.
        .min(self.clock.now() + Duration::from_secs(3600))
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if self.signal.poll_timeout().is_some_and(|due| due <= now) {
            self.tell_signal(signal::Input::Timeout);
            self.settle();
        }
        self.directs.expire();
        if self.report.deadline().is_some_and(|due| due <= now) {
            self.write_view();
        }
    }

    /// Does what the application asks for; the end, if it asks for something that needs a new
    /// membership.
    fn on_command(&mut self, command: Command) -> Option<End> {
        match command {
            Command::Broadcast { data, reply } => {
                let actions = self.sender.broadcast(&data, reply, &mut self.signer);
                self.perform(actions);
            }
            Command::Direct { to, data, reply } => self.send_direct(to, data, reply),
            Command::SetMaxPeers { max_peers, reply } => {
                self.tell_mesh(Input::SetMaxPeers(max_peers));
                self.settle();
                self.tell_trackers_need();
                self.write_view();
                let _ = reply.send(());
            }
            Command::SetTimeout { timeout, reply } => {
                self.report.set_timeout(timeout);
                self.trackers.set_interval(timeout);
                self.write_view();
                let _ = reply.send(());
            }
            Command::Disconnect { peer, reply } => {
                let link = self.links.link_to(peer, &self.mesh);
                if let Some(link) = link {
                    let closed = self.links.close(link, None);
                    self.act(closed);
                }
                let _ = reply.send(link.is_some());
            }
            Command::UseTrackers { use_them, reply } => {
                self.trackers.use_them(use_them);
                let _ = reply.send(());
            }
            Command::Close { reply } => return Some(End::Closed(Some(reply))),
            Command::SetIdentity { identity, reply } => {
                return Some(End::SetIdentity(identity, reply));
            }
            Command::SetIdentifier { identifier, reply } => {
                return Some(End::SetIdentifier(identifier, reply));
            }
            #[cfg(feature = "compat")]
            Command::SetAddress { address, reply } => {
                let credentials = &self.credentials;
                if address == credentials.address
                    || address == credentials.identity.address()
                    || credentials.accepts_v1
                {
                    return Some(End::SetAddress(address, reply));
                }
                let _ = reply.send(Err(SendError::ForeignAddress(address)));
            }
        }
        None
    }

    fn send_direct(&mut self, to: PeerId, data: Data, reply: Reply<Result<Receipt, SendError>>) {
        #[cfg(feature = "compat")]
        if let Some(bridge) = &self.v1 {
            let links = self.links.v1_links(&self.mesh);
            if let Some((link, _)) = links.into_iter().find(|(_, peer)| *peer == to) {
                let actions = bridge.send_direct(link, to, &data, reply);
                return self.perform(actions);
            }
        }
        let actions = self.directs.send(to, data, reply);
        self.perform(actions);
    }

    fn on_link(&mut self, link: LinkId, event: FromLink) {
        self.report.update_view();
        #[cfg(feature = "compat")]
        if let Some(bridge) = &mut self.v1 {
            match event {
                FromLink::V1Message(message) => {
                    let action = bridge.on_message(link, message);
                    return self.perform(action);
                }
                FromLink::Closed(_) => bridge.forget_link(link),
                _ => {}
            }
        }
        let now = self.clock.now();
        let actions = self.links.on_event(link, event, now, &self.mesh);
        self.perform(actions);
    }

    #[cfg(feature = "compat")]
    fn on_v1(&mut self, done: v1_bridge::Done) {
        let Some(bridge) = &mut self.v1 else {
            return;
        };
        let links = self.links.v1_links(&self.mesh);
        let knows = |id: &_| self.mesh.knows(id);
        let actions = bridge.on_done(done, &links, knows, &mut self.signer);
        self.perform(actions);
    }

    #[cfg(not(feature = "compat"))]
    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "never called"
    )]
    fn on_v1(&mut self, done: std::convert::Infallible) {
        match done {}
    }

    fn on_tracker(&mut self, event: TrackerEvent) {
        self.report.on_tracker(&event);
        let via = Via::Tracker(event.tracker());
        match event {
            TrackerEvent::Connected(_) => {}
            TrackerEvent::Lost { tracker, error, .. } => {
                tracing::info!(tracker = tracker.index(), %error, "tracker lost");
                self.tell_signal(signal::Input::TrackerLost(tracker));
            }
            TrackerEvent::Failure { tracker, reason } => {
                tracing::warn!(tracker = tracker.index(), %reason, "tracker refused");
            }
            TrackerEvent::Due(tracker) => self.tell_signal(signal::Input::Due {
                tracker,
                offers_to_publish: self.mesh.offers_to_publish(),
                open_links: self.mesh.neighbors().count(),
            }),
            TrackerEvent::Announced {
                tracker,
                complete,
                incomplete,
            } => {
                let size = complete.saturating_add(incomplete) as usize;
                self.tell_mesh(Input::SwarmSize(size));
                self.tell_trackers_need();
                self.tell_signal(signal::Input::SwarmSize { tracker, size });
            }
            TrackerEvent::Offer {
                peer,
                offer_id,
                sdp,
                ..
            } => self.tell_signal(signal::Input::Offer {
                via,
                peer,
                offer_id,
                sdp,
                acceptable_links: self.mesh.acceptable_links(),
            }),
            TrackerEvent::Answer {
                peer,
                offer_id,
                sdp,
                ..
            } => self.tell_signal(signal::Input::Answer {
                peer,
                offer_id,
                sdp,
            }),
        }
        self.tell_status();
    }

    fn tell_mesh(&mut self, input: Input) {
        self.mesh.handle(self.clock.now(), input);
    }

    fn tell_signal(&mut self, input: signal::Input) {
        let mesh = &self.mesh;
        self.signal.handle(self.clock.now(), input, |peer| {
            mesh.is_neighbor(*peer) || mesh.is_banned(*peer)
        });
    }

    /// How many links are missing decides how soon trackers are asked for more.
    fn tell_trackers_need(&self) {
        let links = self.mesh.neighbors().count();
        let deficit = Deficit::new(links, self.mesh.max_peers(), self.mesh.swarm_size());
        self.trackers.set_deficit(deficit);
    }

    /// Carries actions out in their order.
    fn perform(&mut self, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Mesh(input) => self.tell_mesh(input),
            Action::Signal(input) => self.tell_signal(input),
            Action::OpenLink {
                attempt,
                peer,
                link,
            } => self.links.open(attempt, peer, link),
            Action::Announce { tracker, offers } => self.trackers.announce(tracker, offers),
            Action::Answer {
                tracker,
                to,
                offer_id,
                sdp,
            } => self.trackers.answer(tracker, to, offer_id, sdp),
            #[cfg(feature = "compat")]
            Action::SendV1 {
                links,
                payload,
                class,
            } => {
                let dropped = self.links.send_v1(&links, &payload, class);
                self.report.count(Count::Dropped(dropped));
            }
            Action::Deliver(message) => self.report.deliver(message),
            Action::Count(count) => self.report.count(count),
            Action::LinkRefused(error) => self.report.on_refused(error),
            Action::UpdateView => self.report.update_view(),
        }
    }

    /// Does what the mesh and the signalling want, until they want nothing.
    fn settle(&mut self) {
        loop {
            if let Some(output) = self.mesh.poll_output() {
                self.on_mesh(output);
            } else if let Some(output) = self.signal.poll_output() {
                let action = self.dialer.on_output(output);
                self.perform(action);
            } else if let Some(opened) = self.links.next_opened(&self.mesh) {
                self.act(opened);
            } else {
                return;
            }
        }
    }

    fn on_mesh(&mut self, output: Output) {
        match output {
            Output::Send {
                links,
                frame,
                class,
            } => self.send(&links, &frame, class),
            Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message,
                class,
            } => {
                let gossip = Gossip {
                    hops,
                    pushed,
                    has,
                    envelope: Arc::clone(&message.bytes),
                };
                self.send(&links, &gossip.into(), class);
            }
            Output::Close { link, goodbye } => self.links.say_goodbye(link, goodbye.as_ref()),
            Output::Invite { id, peer } => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.tell_signal(signal::Input::Invite { peer, offer_id });
            }
            Output::Signal(description) => self.on_description(&description),
            Output::Withdraw(id) => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.tell_signal(signal::Input::Withdraw(offer_id));
            }
            Output::SameMesh => self.tell_signal(signal::Input::SameMesh),
            // The application finds what it hears of in the view.
            Output::Connect(peer) => {
                self.write_view();
                self.report.tell(Event::Connect(peer));
                self.on_neighbors();
            }
            Output::Disconnect(peer) => {
                self.write_view();
                self.report.tell(Event::Disconnect(peer));
                self.on_neighbors();
            }
            #[cfg(feature = "compat")]
            Output::Deliver { message, hops } if message.kind == Kind::Bridged => {
                self.on_bridged(&message, hops);
            }
            // Anyone may have written it, and the application did not ask for such messages. The mesh
            // has forwarded it.
            #[cfg(not(feature = "compat"))]
            Output::Deliver { message, .. } if message.kind == Kind::Bridged => {}
            Output::Deliver { message, hops } => {
                #[cfg(feature = "compat")]
                self.bridge(&message);
                let data = message.payload().to_vec();
                self.deliver(&message, hops, data);
            }
            Output::DeliverLarge {
                message,
                hops,
                data,
            } => self.deliver(&message, hops, data),
            Output::Published(message) => {
                #[cfg(feature = "compat")]
                self.bridge(&message);
                self.sender.published(message.id);
            }
            Output::NotPublished { id, why } => {
                let error = match why {
                    Unsent::NoLink => SendError::NotConnected(self.report.reason().to_owned()),
                    Unsent::TooFast => SendError::TooFast,
                };
                self.sender.not_published(id, error);
            }
            Output::Beacon => {
                let beacon = sender::beacon(&mut self.signer);
                self.perform(beacon);
            }
            Output::Keys { peer, keys } => {
                let actions = self.directs.on_keys(peer, keys, &mut self.signer);
                self.perform(actions);
            }
            Output::Open { sealed, hops } => {
                let actions = self.directs.open(&sealed, hops);
                self.perform(actions);
            }
            Output::CheckAck { id, proof, hops } => {
                let actions = self.directs.on_ack(id, proof, hops, &mut self.signer);
                self.perform(actions);
            }
            Output::Undelivered { id, reachable } => self.directs.on_undelivered(id, reachable),
        }
    }

    fn send(&mut self, links: &[LinkId], frame: &Frame, class: Class) {
        let dropped = self.links.send(links, &frames::encode(frame), class);
        self.report.count(Count::Dropped(dropped));
    }

    /// A session description arrived over the mesh.
    fn on_description(&mut self, description: &frame::Signal) {
        let offer_id = OfferId::new(*description.id.as_bytes());
        let peer = description.from;
        // Descriptions are ASCII. Any other fails its check where it is used.
        let sdp = String::from_utf8_lossy(&description.sdp).into_owned();
        self.tell_signal(match description.kind {
            SignalKind::Offer => signal::Input::Offer {
                via: Via::Mesh,
                peer,
                offer_id,
                sdp,
                acceptable_links: self.mesh.acceptable_links(),
            },
            SignalKind::Answer | SignalKind::Refusal => signal::Input::Answer {
                peer,
                offer_id,
                sdp,
            },
        });
    }

    /// Gives a member's broadcast to the application.
    fn deliver(&mut self, message: &Signed, hops: u8, bytes: Vec<u8>) {
        let message = content::broadcast(message, hops, bytes);
        self.act(message.map_or(Action::Count(Count::Rejected), Action::Deliver));
    }

    /// Sends a member's broadcast to v1 neighbours too.
    #[cfg(feature = "compat")]
    fn bridge(&mut self, message: &Signed) {
        if let Some(bridge) = &self.v1 {
            let links = self.links.v1_links(&self.mesh);
            let action = bridge.bridge(message, &links);
            self.perform(action);
        }
    }

    #[cfg(feature = "compat")]
    fn on_bridged(&mut self, message: &Signed, hops: u8) {
        if let Some(bridge) = &mut self.v1 {
            let links = self.links.v1_links(&self.mesh);
            let actions = bridge.on_bridged(message, hops, &links);
            self.perform(actions);
        } else {
            let message = v1_bridge::read_bridged(&self.credentials, self.clock, message, hops);
            self.perform(message.map(Action::Deliver));
        }
    }

    fn on_neighbors(&mut self) {
        self.tell_trackers_need();
        self.write_view();
        self.tell_status();
    }

    /// Tells the application the state, if it or its reason changed.
    fn tell_status(&mut self) {
        let links = self.mesh.neighbors().count();
        if let Some(status) = self.report.new_status(links, self.mesh.max_peers()) {
            self.write_view();
            self.report.tell(Event::State(status));
        }
    }

    fn write_view(&mut self) {
        let now = self.clock.now();
        let peers = self.mesh.neighbors().map(|neighbor| PeerInfo {
            address: neighbor.peer,
            up: now.saturating_sub(neighbor.up_since),
            rtt: neighbor.rtt,
            offered: neighbor.offered,
            compat: neighbor.compat,
            browser: self.links.is_browser(neighbor.peer, &self.mesh),
        });
        self.report.write_view(Snapshot {
            max_peers: self.mesh.max_peers(),
            peers: peers.collect(),
            mesh: self.mesh.counters(),
            connections: self.dialer.connections(),
            traffic: self.links.traffic(),
        });
    }

    /// Says goodbye to neighbours and trackers.
    async fn leave(mut self) {
        self.links.leave();
        self.sender.give_up();
        self.directs.give_up();
        self.dialer.close();
        self.report.write_left();
        for neighbor in self.mesh.neighbors() {
            self.report.tell(Event::Disconnect(neighbor.peer));
        }
        let Self {
            mut inbox,
            links,
            trackers,
            ..
        } = self;
        let closed = links.closed(&mut inbox.links);
        rt::timeout(LEAVE, async { tokio::join!(closed, trackers.stop()) }).await;
    }
}
