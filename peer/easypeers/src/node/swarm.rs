//! A peer's membership of one swarm: everything that ends with it, and the loop that drives it.
//!
//! - `links`: what comes from links, and how they are closed.
//! - `view`: what the application is told.

mod links;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::{InfoHash, OfferId, PeerId};
use tokio::sync::{broadcast, mpsc};

use super::author::Author;
use super::compat::Compat;
use super::dial::{Dialing, Job};
use super::direct::Directs;
use super::link::{FromLink, Traffic};
use super::outbox::Outbox;
use super::status;
use super::{Command, FLIP_INTERVAL, Node, Reply};
use crate::link::Transport;
use crate::model::{Event, Limits, SendError, Stats, Status, View};
use crate::rt::{self, Clock};
use crate::tracker::{TrackerEvent, Trackers};
use easypeers_core::mesh::{Goodbye, Input, LinkId, Mesh, Now, Output, Reason, Settings, Unsent};
use easypeers_core::session::Credentials;
use easypeers_core::signal::{self, AttemptId, Signal};

/// Events of links that wait for the node; links wait beyond that, and their neighbours with them.
const LINK_QUEUE: usize = 256;

/// Finished attempts that wait for the node.
const JOB_QUEUE: usize = 64;

/// Events taken at once before anything else gets a turn.
const BATCH: usize = 64;

/// Time to say goodbye.
const LEAVE: Duration = Duration::from_secs(2);

/// Why a membership ended.
#[derive(Debug)]
pub(super) enum End {
    Closed(Option<Reply<()>>),
    SetIdentity(Arc<Identity>, Reply<()>),
    SetAddress(PeerId, Reply<Result<(), SendError>>),
    SetIdentifier(InfoHash, Reply<()>),
}

/// A link as the node knows it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) outbox: Arc<Outbox>,
    /// Who it was made to, by what the tracker said.
    expected: PeerId,
    /// Until it is up: what it came from.
    attempt: Option<AttemptId>,
    /// It has proven to be a member, and speaks our frames.
    member: bool,
    /// A peer of Easypeers 1.
    pub(super) compat: bool,
    /// It says that it runs in a browser.
    browser: bool,
}

impl Entry {
    pub(super) const fn new(outbox: Arc<Outbox>, expected: PeerId, attempt: AttemptId) -> Self {
        Self {
            outbox,
            expected,
            attempt: Some(attempt),
            member: false,
            compat: false,
            browser: false,
        }
    }
}

/// What the loop waits for.
#[derive(Debug)]
struct Inbox {
    links: mpsc::Receiver<(LinkId, FromLink)>,
    jobs: mpsc::Receiver<Job>,
    trackers: mpsc::Receiver<TrackerEvent>,
}

#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) clock: Clock,
    pub(super) credentials: Arc<Credentials>,
    pub(super) transport: Arc<Transport>,
    pub(super) mesh: Mesh,
    pub(super) signal: Signal,
    pub(super) trackers: Trackers,
    pub(super) dialing: Dialing,
    pub(super) links: HashMap<LinkId, Entry>,
    pub(super) author: Author,
    pub(super) directs: Directs,
    /// In compatibility mode.
    pub(super) compat: Option<Compat>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) from_links: mpsc::Sender<(LinkId, FromLink)>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) stats: Stats,
    known: status::Trackers,
    timeout: Duration,
    pub(super) limits: Limits,
    /// Messages lost to slow neighbours that the application has not been told of.
    lagged: u64,
    events: broadcast::Sender<Event>,
    view: Arc<RwLock<View>>,
    /// When the view is written next.
    view_due: Option<Now>,
    /// The state as last told.
    status: Status,
    inbox: Inbox,
}

impl Swarm {
    pub(super) fn join(node: &Node, credentials: Arc<Credentials>) -> Self {
        let clock = Clock::start();
        let options = &node.options;
        let (max_peers, timeout) = node.settings();
        let (trackers, tracker_events) = Trackers::spawn(
            &options.trackers,
            credentials.info_hash,
            credentials.address,
            timeout,
        );
        let (jobs, job_results) = mpsc::channel(JOB_QUEUE);
        let compat = credentials.compat.then(|| Compat::start(jobs.clone()));
        let (from_links, link_events) = mpsc::channel(LINK_QUEUE);
        let mut known = status::Trackers::new(&options.trackers);
        let mut swarm = Self {
            clock,
            transport: Arc::clone(&node.transport),
            mesh: Mesh::new(Settings {
                me: credentials.address,
                keys: *credentials.identity.public(),
                started_ms: clock.started_ms(),
                max_peers,
                rate: options.limits.author,
                history: options.history,
                flip_interval: FLIP_INTERVAL,
                seed: u64::from_ne_bytes(rt::random()),
            }),
            signal: Signal::new(signal::Settings {
                me: credentials.address,
                seed: u64::from_ne_bytes(rt::random()),
            }),
            credentials,
            trackers,
            dialing: Dialing::default(),
            links: HashMap::new(),
            author: Author::default(),
            directs: Directs::default(),
            compat,
            jobs,
            from_links,
            traffic: Arc::default(),
            stats: status::stats(),
            timeout,
            limits: options.limits,
            lagged: 0,
            events: node.events.clone(),
            view: Arc::clone(&node.view),
            view_due: None,
            status: known.status(0, max_peers),
            known,
            inbox: Inbox {
                links: link_events,
                jobs: job_results,
                trackers: tracker_events,
            },
        };
        swarm.look_for_ice_servers(options);
        swarm.write_view();
        swarm
    }

    pub(super) async fn run(mut self, node: &mut Node) -> End {
        let end = self.drive(node).await;
        self.leave().await;
        end
    }

    async fn drive(&mut self, node: &mut Node) -> End {
        loop {
            let wait = self.deadline().saturating_sub(self.clock.now());
            tokio::select! {
                command = node.commands.recv() => match command {
                    None => return End::Closed(None),
                    Some(Command::Close { reply }) => return End::Closed(Some(reply)),
                    Some(Command::SetIdentity { identity, reply }) => {
                        return End::SetIdentity(identity, reply);
                    }
                    Some(Command::SetAddress { address, reply }) => {
                        if address != self.credentials.address
                            && address != self.credentials.identity.address()
                            && !self.credentials.compat
                        {
                            let _ = reply.send(Err(SendError::ForeignAddress(address)));
                        } else {
                            return End::SetAddress(address, reply);
                        }
                    }
                    Some(Command::SetIdentifier { identifier, reply }) => {
                        return End::SetIdentifier(identifier, reply);
                    }
                    Some(command) => self.on_command(command),
                },
                Some((link, event)) = self.inbox.links.recv() => self.on_link(link, event),
                Some(job) = self.inbox.jobs.recv() => self.on_job(job),
                Some(event) = self.inbox.trackers.recv() => self.on_tracker(event),
                () = rt::sleep(wait) => self.mesh_input(Input::Timeout),
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
            self.view_due,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Now::MAX)
        // No timer is asked to wait for ever.
        .min(self.clock.now() + Duration::from_secs(3600))
    }

    fn on_time(&mut self) {
        let now = self.clock.now();
        if self.signal.poll_timeout().is_some_and(|due| due <= now) {
            self.signal_input(signal::Input::Timeout);
            self.settle();
        }
        self.directs.expire(now);
        if self.view_due.is_some_and(|due| due <= now) {
            self.write_view();
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Broadcast { data, reply } => self.broadcast(&data, reply),
            Command::Direct { to, data, reply } => self.send_direct(to, data, reply),
            Command::SetMaxPeers { max_peers, reply } => {
                self.mesh_input(Input::SetMaxPeers(max_peers));
                self.settle();
                self.tell_need();
                self.write_view();
                let _ = reply.send(());
            }
            Command::SetTimeout { timeout, reply } => {
                self.timeout = timeout;
                self.trackers.set_interval(timeout);
                self.write_view();
                let _ = reply.send(());
            }
            Command::Disconnect { peer, reply } => {
                let link = self.link_to(peer);
                if let Some(link) = link {
                    self.close_link(link, None);
                }
                let _ = reply.send(link.is_some());
            }
            Command::UseTrackers { use_them, reply } => {
                self.trackers.use_them(use_them);
                let _ = reply.send(());
            }
            // The loop has taken these out.
            Command::SetIdentity { reply, .. }
            | Command::SetIdentifier { reply, .. }
            | Command::Close { reply } => drop(reply),
            Command::SetAddress { reply, .. } => drop(reply),
        }
    }

    fn on_tracker(&mut self, event: TrackerEvent) {
        self.known.note(&event);
        match event {
            TrackerEvent::Lost {
                tracker, ref error, ..
            } => {
                tracing::info!(tracker = tracker.index(), %error, "tracker lost");
                self.signal_input(signal::Input::TrackerLost(tracker));
            }
            TrackerEvent::Failure {
                tracker,
                ref reason,
            } => {
                tracing::warn!(tracker = tracker.index(), %reason, "tracker refused");
            }
            TrackerEvent::Connected(_) => {}
            event => self.on_signalling(event),
        }
        self.tell_status();
    }

    pub(super) fn mesh_input(&mut self, input: Input) {
        self.mesh.handle(self.clock.now(), input);
    }

    pub(super) fn signal_input(&mut self, input: signal::Input) {
        let mesh = &self.mesh;
        self.signal.handle(self.clock.now(), input, |peer| {
            mesh.is_neighbor(*peer) || mesh.is_banned(*peer)
        });
    }

    /// Does what the cores want done, until they want nothing.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(output) = self.mesh.poll_output() {
                self.on_output(output);
            } else if let Some(output) = self.signal.poll_output() {
                self.on_signal(output);
            } else if !self.note_opened() {
                return;
            }
        }
    }

    /// Attempts whose links are up have succeeded.
    fn note_opened(&mut self) -> bool {
        let up = self.links.iter_mut().find_map(|(id, entry)| {
            let attempt = entry.attempt?;
            let peer = self.mesh.up_peer(*id)?;
            entry.attempt = None;
            Some((attempt, peer))
        });
        let Some((attempt, peer)) = up else {
            return false;
        };
        self.signal_input(signal::Input::AttemptOpened { attempt, peer });
        true
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Send {
                links,
                packet,
                class,
            } => self.send_packet(&links, &packet, class),
            Output::Close { link, goodbye } => self.say_goodbye(link, goodbye.as_ref()),
            Output::Invite { id, peer } => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal_input(signal::Input::Invite { peer, offer_id });
            }
            Output::Signal(signal) => self.on_mesh_signal(&signal),
            Output::Withdraw(id) => {
                let offer_id = OfferId::new(*id.as_bytes());
                self.signal_input(signal::Input::Withdraw(offer_id));
            }
            Output::SameMesh => self.signal_input(signal::Input::SameMesh),
            // Who hears of it finds it in the view.
            Output::Connect(peer) => {
                self.write_view();
                self.tell(Event::Connect(peer));
                self.on_neighbors();
            }
            Output::Disconnect(peer) => {
                self.write_view();
                self.tell(Event::Disconnect(peer));
                self.on_neighbors();
            }
            Output::Deliver { message, hops } if message.kind == Kind::Bridged => {
                self.on_bridged(&message, hops);
            }
            Output::Deliver { message, hops } => {
                self.bridge(&message);
                let data = message.payload().to_vec();
                self.deliver(&message, hops, data);
            }
            Output::DeliverLarge {
                message,
                hops,
                data,
            } => self.deliver(&message, hops, data),
            Output::Published(message) => self.on_published(&message),
            Output::NotPublished { id, why } => {
                let error = match why {
                    Unsent::NoLink => SendError::NotConnected(self.status.reason.clone()),
                    Unsent::TooFast => SendError::TooFast,
                };
                self.author.not_published(id, error);
            }
            Output::Beacon => self.publish_beacon(),
            Output::Keys { peer, keys } => self.on_keys(peer, keys),
            Output::Open { sealed, hops } => self.open(&sealed, hops),
            Output::CheckAck { id, proof, hops } => self.check_ack(id, proof, hops),
            Output::Undelivered { id, reachable } => self.on_undelivered(id, reachable),
        }
    }

    /// Says goodbye to neighbours and trackers.
    async fn leave(mut self) {
        let goodbye = Goodbye {
            reason: Reason::Leaving,
            peers: Vec::new(),
        };
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.say_goodbye(link, Some(&goodbye));
        }
        self.author.give_up();
        self.directs.give_up();
        self.dialing.close();
        let neighbors: Vec<PeerId> = self.mesh.neighbors().map(|link| link.peer).collect();
        self.write_left();
        for peer in neighbors {
            self.tell(Event::Disconnect(peer));
        }
        let Self {
            mut inbox,
            mut links,
            trackers,
            ..
        } = self;
        let links_closed = async {
            while !links.is_empty() {
                match inbox.links.recv().await {
                    Some((link, FromLink::Closed(_))) => drop(links.remove(&link)),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        rt::timeout(LEAVE, async { tokio::join!(links_closed, trackers.stop()) }).await;
    }
}
