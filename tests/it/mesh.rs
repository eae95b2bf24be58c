//! Native peers that meet through a real tracker and talk over real WebRTC, all on loopback.

mod heal;
mod membership;
pub(crate) mod process;
mod talk;
mod terminal;
mod trackers;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use e2e::TestServer;
use easypeers::{Easypeers, Event, Events, IceServers, Message, Options, PeerId};

/// Long enough for a machine that does other things as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Options that stay on loopback.
pub(crate) fn options(server: &TestServer) -> Options {
    let mut options = Options::default();
    options.trackers = vec![format!("ws://{}", server.address()).parse().unwrap()];
    options.ice_servers = IceServers::Only(Vec::new());
    options.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    options
}

/// A peer and what it heard.
pub(crate) struct Peer {
    pub(crate) handle: Easypeers,
    events: Events,
    pub(crate) heard: Vec<Event>,
}

impl Peer {
    pub(crate) async fn join(topic: &str, options: Options) -> Self {
        let handle = Easypeers::join(topic, options).await.unwrap();
        let events = handle.events();
        Self {
            handle,
            events,
            heard: Vec::new(),
        }
    }

    pub(crate) fn address(&self) -> PeerId {
        self.handle.address()
    }

    /// Takes events until one is what the test waits for.
    ///
    /// # Panics
    /// When it does not come.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.next().await.expect("events until it is closed");
                let found = wanted(&event);
                self.heard.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!(
                "not in {PATIENCE:?}; heard {:#?}, {:?}, {:?}",
                self.heard,
                self.handle.status(),
                self.handle.stats()
            ),
        }
    }

    pub(crate) async fn message(&mut self) -> Message {
        self.until(|event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for links to so many others.
    pub(crate) async fn links(&mut self, count: usize) -> BTreeSet<PeerId> {
        let handle = self.handle.clone();
        let linked = || -> BTreeSet<PeerId> {
            let peers = handle.peers();
            peers.iter().map(|peer| peer.address).collect()
        };
        if linked().len() < count {
            self.until(|_| (linked().len() >= count).then_some(()))
                .await;
        }
        linked()
    }
}
