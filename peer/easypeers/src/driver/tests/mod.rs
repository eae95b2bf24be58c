//! A whole peer against others that break the rules, over real links on loopback. A member of the
//! swarm can do things that an application of the library cannot.

mod ice;
mod man_in_the_middle;
mod rogue;
mod tracker;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use easypeers_proto::PeerId;

use crate::link::{LinkOptions, Transport, UdpPorts};
use crate::{Easypeers, Event, Events, IceServers, Limits, Message, Options};
use tracker::Tracker;

const TOPIC: &str = "rogues";

/// Longer than anything here takes. Only a test that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn transport() -> Transport {
    let options = LinkOptions {
        ice_servers: Vec::new(),
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        udp_ports: UdpPorts::Any,
        public_addresses: Vec::new(),
        relay_only: false,
        max_message: 16 << 10,
    };
    Transport::new(options).await.unwrap()
}

/// The peer that is tested, with its events.
struct Honest {
    handle: Easypeers,
    events: Events,
}

impl Honest {
    async fn join(tracker: &Tracker) -> Self {
        Self::with(tracker, IceServers::Only(Vec::new())).await
    }

    async fn with(tracker: &Tracker, ice_servers: IceServers) -> Self {
        let options = Options {
            trackers: vec![tracker.url()],
            ice_servers,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            limits: Limits::none(),
            ..Options::default()
        };
        let handle = Easypeers::join(TOPIC, options).await.unwrap();
        let events = handle.events();
        Self { handle, events }
    }

    async fn event<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = wanted(self.events.next().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    async fn message(&mut self) -> Message {
        self.event(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .await
    }

    async fn connected(&mut self, peer: PeerId) {
        self.event(|event| (event == Event::Connect(peer)).then_some(()))
            .await;
    }

    async fn disconnected(&mut self, peer: PeerId) {
        self.event(|event| (event == Event::Disconnect(peer)).then_some(()))
            .await;
    }

    /// Waits until the counts, which are written now and then, fulfil the condition.
    async fn stats(&self, wanted: impl Fn(&crate::Stats) -> bool) {
        let wait = async {
            while !wanted(&self.handle.stats()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{:?}", self.handle.stats());
    }
}
