//! Offers, answers and new links: does what the signalling core wants with real connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::wire::frame::SignalKind;
use easypeers_proto::{MessageId, OfferId, PeerId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::link::Task;
use super::outbox::Outbox;
use super::swarm::{Entry, Swarm};
use crate::link::{IceServer, Link, LinkError, PendingAnswer, PendingOffer};
use crate::model::{IceServers, Options};
use crate::rt;
use crate::tracker::{self, TrackerEvent, TrackerUrl};
use easypeers_core::mesh::message::Signal;
use easypeers_core::mesh::{self, LinkId};
use easypeers_core::signal::{AttemptId, Input, Output, Via};

/// The STUN server of a peer whose trackers name none and are not all local.
const PUBLIC_STUN: &str = "stun:stun.l.google.com:19302";

/// Time-limited credentials of TURN servers are fetched anew so often.
const ICE_REFRESH: Duration = Duration::from_secs(300);

/// What an attempt's task brings.
#[derive(Debug)]
pub(super) enum Job {
    Offered {
        attempt: AttemptId,
        result: Result<PendingOffer, LinkError>,
    },
    Answered {
        attempt: AttemptId,
        peer: PeerId,
        result: Result<PendingAnswer, LinkError>,
    },
    Opened {
        attempt: AttemptId,
        peer: PeerId,
        result: Result<Link, LinkError>,
    },
    IceServers(Vec<IceServer>),
    Compat(super::compat::Done),
}

/// Offers that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Dialing {
    offers: HashMap<AttemptId, PendingOffer>,
    /// Why no offer could be made, as it was logged last.
    no_offer: Option<String>,
    next_link: u64,
    /// The STUN and TURN servers that a tracker named.
    ice_urls: Vec<String>,
    /// Connections made so far.
    pub(super) connections: u64,
}

impl Dialing {
    /// Drops all offers; that closes them.
    pub(super) fn close(&mut self) {
        self.offers.clear();
    }
}

/// STUN until a tracker names better: none if nobody outside this network can be met anyway.
pub(super) fn default_ice_servers(trackers: &[TrackerUrl]) -> Vec<IceServer> {
    if trackers.iter().all(TrackerUrl::is_local) {
        return Vec::new();
    }
    vec![IceServer {
        urls: vec![PUBLIC_STUN.to_owned()],
        username: None,
        credential: None,
    }]
}

impl Swarm {
    /// Asks the trackers for STUN and TURN servers now and then, beside everything else.
    pub(super) fn look_for_ice_servers(&self, options: &Options) {
        if options.ice_servers != IceServers::Auto {
            return;
        }
        let trackers = options.trackers.clone();
        let jobs = self.jobs.clone();
        rt::spawn(async move {
            loop {
                if let Some(servers) = first_ice_servers(&trackers).await
                    && jobs.send(Job::IceServers(servers)).await.is_err()
                {
                    return;
                }
                if rt::timeout(ICE_REFRESH, jobs.closed()).await.is_some() {
                    return;
                }
            }
        });
    }

    /// Offers, answers and turns to announce.
    pub(super) fn on_signalling(&mut self, event: TrackerEvent) {
        let via = Via::Tracker(event.tracker());
        let input = match event {
            TrackerEvent::Due(tracker) => Input::Due {
                tracker,
                want: self.mesh.offered(),
                links: self.mesh.neighbors().count(),
            },
            TrackerEvent::Announced {
                tracker,
                complete,
                incomplete,
            } => {
                let size = complete.saturating_add(incomplete) as usize;
                self.mesh_input(mesh::Input::SwarmSize(size));
                self.tell_need();
                Input::SwarmSize { tracker, size }
            }
            TrackerEvent::Offer {
                peer,
                offer_id,
                sdp,
                ..
            } => Input::Offer {
                via,
                peer,
                offer_id,
                sdp,
                want: self.mesh.guest_room(),
            },
            TrackerEvent::Answer {
                peer,
                offer_id,
                sdp,
                ..
            } => Input::Answer {
                peer,
                offer_id,
                sdp,
            },
            _ => return,
        };
        self.signal_input(input);
    }

    pub(super) fn on_signal(&mut self, output: Output) {
        match output {
            Output::MakeOffer { attempt } => {
                self.dialing.connections += 1;
                let transport = Arc::clone(&self.transport);
                self.job(async move {
                    let result = transport.offer().await;
                    Job::Offered { attempt, result }
                });
            }
            Output::Announce { tracker, offers } => self.trackers.announce(tracker, offers),
            Output::Accept { attempt, peer, sdp } => {
                let Some(offer) = self.dialing.offers.remove(&attempt) else {
                    return self.signal_input(Input::AttemptFailed { attempt });
                };
                self.job(async move {
                    let result = offer.open(&sdp).await;
                    Job::Opened {
                        attempt,
                        peer,
                        result,
                    }
                });
            }
            Output::MakeAnswer { attempt, peer, sdp } => {
                self.dialing.connections += 1;
                let transport = Arc::clone(&self.transport);
                self.job(async move {
                    let result = transport.answer(&sdp).await;
                    Job::Answered {
                        attempt,
                        peer,
                        result,
                    }
                });
            }
            Output::SendAnswer {
                via,
                peer,
                offer_id,
                sdp,
            } => match via {
                Via::Tracker(tracker) => self.trackers.answer(tracker, peer, offer_id, sdp),
                Via::Mesh => self.send_signal(offer_id, peer, SignalKind::Answer, sdp.into()),
            },
            Output::SendOffer {
                peer,
                offer_id,
                sdp,
            } => self.send_signal(offer_id, peer, SignalKind::Offer, sdp),
            Output::ExchangeFailed(offer_id) => {
                let id = MessageId::new(*offer_id.as_bytes());
                self.mesh_input(mesh::Input::ExchangeFailed(id));
            }
            // Dropping an offer closes it.
            Output::Drop { attempt } => drop(self.dialing.offers.remove(&attempt)),
        }
    }

    fn send_signal(&mut self, exchange: OfferId, to: PeerId, kind: SignalKind, sdp: Arc<str>) {
        let id = MessageId::new(*exchange.as_bytes());
        self.mesh_input(mesh::Input::Signal { id, to, kind, sdp });
    }

    /// A description came over the mesh.
    pub(super) fn on_mesh_signal(&mut self, signal: &Signal) {
        let offer_id = OfferId::new(*signal.id.as_bytes());
        let (peer, sdp) = (signal.from, signal.sdp.to_string());
        self.signal_input(match signal.kind {
            SignalKind::Offer => Input::Offer {
                via: Via::Mesh,
                peer,
                offer_id,
                sdp,
                want: self.mesh.guest_room(),
            },
            SignalKind::Answer | SignalKind::Refusal => Input::Answer {
                peer,
                offer_id,
                sdp,
            },
        });
    }

    pub(super) fn on_job(&mut self, job: Job) {
        match job {
            Job::Offered {
                attempt,
                result: Ok(offer),
            } => {
                let sdp = offer.sdp().into();
                self.dialing.no_offer = None;
                self.dialing.offers.insert(attempt, offer);
                self.signal_input(Input::OfferMade { attempt, sdp });
            }
            Job::Offered {
                attempt,
                result: Err(error),
            } => {
                let reason = Some(error.to_string());
                if self.dialing.no_offer != reason {
                    tracing::warn!(%error, "no link can be offered");
                    self.dialing.no_offer = reason;
                }
                self.signal_input(Input::OfferFailed { attempt });
            }
            Job::Answered {
                attempt,
                peer,
                result: Ok(answer),
            } => {
                let sdp = answer.sdp().into();
                self.signal_input(Input::AnswerMade { attempt, sdp });
                self.job(async move {
                    let result = answer.open().await;
                    Job::Opened {
                        attempt,
                        peer,
                        result,
                    }
                });
            }
            Job::Answered {
                attempt,
                result: Err(error),
                ..
            } => {
                tracing::debug!(%error, "answer not made");
                self.signal_input(Input::AnswerFailed { attempt });
            }
            Job::Opened {
                attempt,
                peer,
                result: Ok(link),
            } => self.start_link(attempt, peer, link),
            Job::Opened {
                attempt,
                peer,
                result: Err(error),
            } => {
                tracing::debug!(%error, %peer, "connection failed");
                self.signal_input(Input::AttemptFailed { attempt });
            }
            Job::IceServers(servers) => {
                let urls: Vec<String> = (servers.iter())
                    .flat_map(|server| server.urls.iter().cloned())
                    .collect();
                self.transport.set_ice_servers(servers);
                // Credentials change often, and those of an offer last longer than it does.
                if std::mem::replace(&mut self.dialing.ice_urls, urls) != self.dialing.ice_urls {
                    self.signal_input(Input::ServersChanged);
                }
            }
            Job::Compat(done) => self.on_compat(done),
        }
    }

    fn start_link(&mut self, attempt: AttemptId, peer: PeerId, link: Link) {
        self.dialing.next_link += 1;
        let id = LinkId(self.dialing.next_link);
        let outbox = Arc::new(Outbox::default());
        let entry = Entry::new(Arc::clone(&outbox), peer, attempt);
        self.links.insert(id, entry);
        let task = Task {
            id,
            credentials: Arc::clone(&self.credentials),
            outbox,
            events: self.from_links.clone(),
            traffic: Arc::clone(&self.traffic),
            limits: self.limits,
        };
        rt::spawn(task.run(link));
    }

    fn job(&self, work: impl Future<Output = Job> + rt::MaybeSend + 'static) {
        // Boxed: one kind of task for all jobs.
        let work: rt::Boxed<Job> = Box::pin(work);
        let jobs: mpsc::Sender<Job> = self.jobs.clone();
        rt::spawn(async move {
            // When the node is gone, what the job made is dropped, and closed by that.
            let _ = jobs.send(work.await).await;
        });
    }
}

/// Of the trackers, all asked at once, the first that names servers.
async fn first_ice_servers(trackers: &[TrackerUrl]) -> Option<Vec<IceServer>> {
    let answers: FuturesUnordered<_> = trackers.iter().map(tracker::ice_servers).collect();
    let mut named = answers.filter_map(std::future::ready);
    named.next().await
}
