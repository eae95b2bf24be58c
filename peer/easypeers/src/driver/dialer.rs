//! Offers, answers and new connections: does what the signalling wants. Each step takes seconds, so
//! it runs in a task of its own and its result returns as a [`Job`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use easypeers_core::mesh;
use easypeers_core::signal::{AttemptId, Input, Output, Via};
use easypeers_proto::wire::frame::SignalKind;
use easypeers_proto::{MessageId, OfferId, PeerId};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::action::Action;
use crate::link::{Link, LinkError, PendingAnswer, PendingOffer, Transport};
use crate::model::{IceServer, IceServers, Options, TrackerUrl};
use crate::rt;
use crate::tracker;

/// The STUN server of a peer whose trackers name none, unless all of them are local.
const PUBLIC_STUN: &str = "stun:stun.l.google.com:19302";

/// Time between two requests for STUN and TURN servers, whose credentials expire.
const ICE_REFRESH: Duration = Duration::from_secs(300);

/// What a task of the dialer brings.
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
}

/// The servers until a tracker names some: a public STUN server, or none if every tracker is local,
/// because then so are the peers.
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

/// Connections that are being made.
#[derive(Debug)]
pub(super) struct Dialer {
    transport: Arc<Transport>,
    jobs: mpsc::Sender<Job>,
    /// Offers that wait for an answer.
    offers: HashMap<AttemptId, PendingOffer>,
    /// Why no offer could be made, as it was last logged.
    no_offer: Option<String>,
    /// The STUN and TURN servers that a tracker named.
    ice_urls: Vec<String>,
    /// WebRTC connections made so far.
    connections: u64,
}

impl Dialer {
    /// `jobs` gets what the dialer's tasks bring, to be handed to [`on_job`](Self::on_job).
    pub(super) fn new(transport: Arc<Transport>, jobs: mpsc::Sender<Job>) -> Self {
        Self {
            transport,
            jobs,
            offers: HashMap::new(),
            no_offer: None,
            ice_urls: Vec::new(),
            connections: 0,
        }
    }

    /// Starts to ask the trackers for STUN and TURN servers now and then, unless the user named
    /// some.
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

    /// WebRTC connections made so far.
    pub(super) const fn connections(&self) -> u64 {
        self.connections
    }

    /// Drops all offers; that closes them.
    pub(super) fn close(&mut self) {
        self.offers.clear();
    }

    /// Does what the signalling wants.
    pub(super) fn on_output(&mut self, output: Output) -> Option<Action> {
        match output {
            Output::MakeOffer { attempt } => {
                self.connections += 1;
                let transport = Arc::clone(&self.transport);
                self.start(async move {
                    let result = transport.offer().await;
                    Job::Offered { attempt, result }
                });
                None
            }
            Output::Announce { tracker, offers } => Some(Action::Announce { tracker, offers }),
            Output::Accept { attempt, peer, sdp } => {
                let Some(offer) = self.offers.remove(&attempt) else {
                    return Some(Action::Signal(Input::AttemptFailed { attempt }));
                };
                self.start(async move {
                    let result = offer.open(&sdp).await;
                    Job::Opened {
                        attempt,
                        peer,
                        result,
                    }
                });
                None
            }
            Output::MakeAnswer { attempt, peer, sdp } => {
                self.connections += 1;
                let transport = Arc::clone(&self.transport);
                self.start(async move {
                    let result = transport.answer(&sdp).await;
                    Job::Answered {
                        attempt,
                        peer,
                        result,
                    }
                });
                None
            }
            Output::SendAnswer {
                via,
                peer,
                offer_id,
                sdp,
            } => Some(match via {
                Via::Tracker(tracker) => Action::Answer {
                    tracker,
                    to: peer,
                    offer_id,
                    sdp,
                },
                Via::Mesh => over_mesh(offer_id, peer, SignalKind::Answer, sdp.into()),
            }),
            Output::SendOffer {
                peer,
                offer_id,
                sdp,
            } => Some(over_mesh(offer_id, peer, SignalKind::Offer, sdp)),
            Output::ExchangeFailed(offer_id) => {
                let id = MessageId::new(*offer_id.as_bytes());
                Some(Action::Mesh(mesh::Input::ExchangeFailed(id)))
            }
            Output::Drop { attempt } => {
                // Dropping an offer closes it.
                self.offers.remove(&attempt);
                None
            }
        }
    }

    /// Takes what a task brings.
    pub(super) fn on_job(&mut self, job: Job) -> Option<Action> {
        match job {
            Job::Offered {
                attempt,
                result: Ok(offer),
            } => {
                let sdp = offer.sdp().into();
                self.no_offer = None;
                self.offers.insert(attempt, offer);
                Some(Action::Signal(Input::OfferMade { attempt, sdp }))
            }
            Job::Offered {
                attempt,
                result: Err(error),
            } => {
                let reason = Some(error.to_string());
                if self.no_offer != reason {
                    tracing::warn!(%error, "no link can be offered");
                    self.no_offer = reason;
                }
                Some(Action::Signal(Input::OfferFailed { attempt }))
            }
            Job::Answered {
                attempt,
                peer,
                result: Ok(answer),
            } => {
                let sdp = answer.sdp().into();
                self.start(async move {
                    let result = answer.open().await;
                    Job::Opened {
                        attempt,
                        peer,
                        result,
                    }
                });
                Some(Action::Signal(Input::AnswerMade { attempt, sdp }))
            }
            Job::Answered {
                attempt,
                result: Err(error),
                ..
            } => {
                tracing::debug!(%error, "answer not made");
                Some(Action::Signal(Input::AnswerFailed { attempt }))
            }
            Job::Opened {
                attempt,
                peer,
                result: Ok(link),
            } => Some(Action::OpenLink {
                attempt,
                peer,
                link,
            }),
            Job::Opened {
                attempt,
                peer,
                result: Err(error),
            } => {
                tracing::debug!(%error, %peer, "connection failed");
                Some(Action::Signal(Input::AttemptFailed { attempt }))
            }
            Job::IceServers(servers) => {
                let urls: Vec<String> = (servers.iter())
                    .flat_map(|server| server.urls.iter().cloned())
                    .collect();
                self.transport.set_ice_servers(servers);
                // Credentials change often, and those of an offer last longer than it does.
                let changed = std::mem::replace(&mut self.ice_urls, urls) != self.ice_urls;
                changed.then_some(Action::Signal(Input::ServersChanged))
            }
        }
    }

    fn start(&self, work: impl Future<Output = Job> + rt::MaybeSend + 'static) {
        // Boxed: one kind of task for all jobs.
        let work: rt::Boxed<Job> = Box::pin(work);
        let jobs = self.jobs.clone();
        rt::spawn(async move {
            // When the driver is gone, what the job made is dropped, which closes it.
            let _ = jobs.send(work.await).await;
        });
    }
}

/// Sends a description to a peer over the mesh.
fn over_mesh(exchange: OfferId, to: PeerId, kind: SignalKind, sdp: Arc<str>) -> Action {
    let id = MessageId::new(*exchange.as_bytes());
    let sdp = sdp.into();
    Action::Mesh(mesh::Input::Signal { id, to, kind, sdp })
}

/// The servers of the first tracker that names any. All are asked at once.
async fn first_ice_servers(trackers: &[TrackerUrl]) -> Option<Vec<IceServer>> {
    let answers: FuturesUnordered<_> = trackers.iter().map(tracker::ice_servers).collect();
    let mut named = answers.filter_map(std::future::ready);
    named.next().await
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use easypeers_core::signal::{Settings, Signal};
    use easypeers_core::time::Now;
    use easypeers_core::tracker::TrackerId;

    use super::*;
    use crate::link::{LinkOptions, UdpPorts};

    async fn dialer() -> (Dialer, mpsc::Receiver<Job>) {
        let transport = Transport::new(LinkOptions {
            ice_servers: Vec::new(),
            relay_only: false,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            udp_ports: UdpPorts::Any,
            public_addresses: Vec::new(),
            max_message: 16 << 10,
        });
        let (jobs, results) = mpsc::channel(8);
        (
            Dialer::new(Arc::new(transport.await.unwrap()), jobs),
            results,
        )
    }

    /// An attempt as the signalling starts one.
    fn attempt() -> AttemptId {
        let me = PeerId::new([1; 20]);
        let mut signal = Signal::new(Settings { me, seed: 1 });
        let due = Input::Due {
            tracker: TrackerId::new(0),
            offers_to_publish: 1,
            open_links: 0,
        };
        signal.handle(Now::ZERO, due, |_| false);
        match signal.poll_output() {
            Some(Output::MakeOffer { attempt }) => attempt,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_offer_waits_for_its_answer_until_it_is_dropped() {
        let (mut dialer, mut results) = dialer().await;
        let attempt = attempt();
        assert!(dialer.on_output(Output::MakeOffer { attempt }).is_none());
        assert_eq!(dialer.connections(), 1);
        let job = results.recv().await.unwrap();
        let made = dialer.on_job(job);
        assert!(matches!(
            made,
            Some(Action::Signal(Input::OfferMade { .. }))
        ));
        assert_eq!(dialer.offers.len(), 1);
        dialer.on_output(Output::Drop { attempt });
        assert!(dialer.offers.is_empty());
        let accept = Output::Accept {
            attempt,
            peer: PeerId::new([2; 20]),
            sdp: String::new(),
        };
        let late = dialer.on_output(accept);
        assert!(matches!(
            late,
            Some(Action::Signal(Input::AttemptFailed { .. }))
        ));
    }

    #[tokio::test]
    async fn an_offer_that_cannot_be_made_fails_its_attempt() {
        let (mut dialer, _results) = dialer().await;
        let failed = dialer.on_job(Job::Offered {
            attempt: attempt(),
            result: Err(LinkError::NoAddress),
        });
        assert!(matches!(
            failed,
            Some(Action::Signal(Input::OfferFailed { .. }))
        ));
        assert!(dialer.no_offer.is_some(), "logged once");
    }

    #[tokio::test]
    async fn offers_are_renewed_when_a_tracker_names_other_servers() {
        let (mut dialer, _results) = dialer().await;
        let server = |credential: &str| IceServer {
            urls: vec!["turn:127.0.0.1:3478".to_owned()],
            username: Some("user".to_owned()),
            credential: Some(credential.to_owned()),
        };
        let changed = dialer.on_job(Job::IceServers(vec![server("first")]));
        assert!(matches!(
            changed,
            Some(Action::Signal(Input::ServersChanged))
        ));
        let same = dialer.on_job(Job::IceServers(vec![server("second")]));
        assert!(same.is_none(), "only the credential changed");
    }

    #[test]
    fn descriptions_go_the_way_that_they_came() {
        let (peer, offer_id) = (PeerId::new([2; 20]), OfferId::new([3; 20]));
        let action = over_mesh(offer_id, peer, SignalKind::Offer, "sdp".into());
        let Action::Mesh(mesh::Input::Signal { id, to, .. }) = action else {
            panic!("{action:?}");
        };
        assert_eq!((id.as_bytes(), to), (offer_id.as_bytes(), peer));
    }

    #[test]
    fn peers_of_local_trackers_need_no_stun_server() {
        let urls = |urls: &[&str]| -> Vec<TrackerUrl> {
            urls.iter().map(|url| url.parse().unwrap()).collect()
        };
        assert_eq!(default_ice_servers(&urls(&["ws://localhost:3000"])), []);
        let public = urls(&["ws://localhost:3000", "wss://tracker.example"]);
        assert_eq!(default_ice_servers(&public).len(), 1);
    }
}
