//! An engine within this process: several trackers of one test, each with a port of its own, are
//! nodes of one cluster. Behaves as the real one does, but never fails.

use std::collections::HashMap;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use easypeers_proto::InfoHash;
use easypeers_proto::cluster::{Counts, NodeId, NodeStatus};

use super::inbox::Inbox;
use super::relay::{Beat, Engine, Exchanged, Later, Relay, Write};
use crate::clock::Clock;

/// Buses by name, as long as somebody uses them.
static BUSES: Mutex<Option<HashMap<String, Weak<Memory>>>> = Mutex::new(None);

/// The bus of that name.
pub(crate) fn bus(name: &str) -> Arc<dyn Engine> {
    let mut buses = BUSES.lock().unwrap_or_else(PoisonError::into_inner);
    let buses = buses.get_or_insert_default();
    buses.retain(|_, bus| bus.strong_count() > 0);
    if let Some(bus) = buses.get(name).and_then(Weak::upgrade) {
        return Arc::new(Handle(bus));
    }
    let bus = Arc::new(Memory {
        clock: Clock::start(),
        state: Mutex::default(),
    });
    buses.insert(name.to_owned(), Arc::downgrade(&bus));
    Arc::new(Handle(bus))
}

#[derive(Debug)]
struct Memory {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each is forgotten, in milliseconds.
    nodes: HashMap<NodeId, (NodeStatus, u64)>,
    inboxes: HashMap<NodeId, Arc<Inbox>>,
    swarms: HashMap<InfoHash, HashMap<NodeId, Counts>>,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Handle(Arc<Memory>);

impl Engine for Handle {
    fn connect(&self, node: NodeId, inbox: Arc<Inbox>) -> Later<'_, Arc<dyn Relay>> {
        self.0.state().inboxes.insert(node, inbox);
        let bus = Arc::clone(&self.0);
        let relay: Arc<dyn Relay> = Arc::new(Connected { bus, node });
        Box::pin(ready(Ok(relay)))
    }
}

#[derive(Debug)]
struct Connected {
    bus: Arc<Memory>,
    node: NodeId,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.bus.state().inboxes.remove(&self.node);
    }
}

impl Relay for Connected {
    fn beat(&self, status: NodeStatus, ttl: Duration) -> Later<'_, Beat> {
        let now_ms = self.bus.clock.now_ms();
        let until = now_ms + ttl.as_millis() as u64;
        let before = self.bus.state().nodes.insert(self.node, (status, until));
        Box::pin(ready(Ok(Beat {
            held: before.is_some_and(|(_, until)| until > now_ms),
            kept: true,
            now_s: now_ms / 1000,
        })))
    }

    fn nodes(&self) -> Later<'_, (Vec<(NodeId, NodeStatus)>, usize)> {
        let now_ms = self.bus.clock.now_ms();
        let mut state = self.bus.state();
        state.nodes.retain(|_, (_, until)| *until > now_ms);
        let nodes = state.nodes.iter();
        let nodes = nodes.map(|(node, (status, _))| (*node, *status)).collect();
        Box::pin(ready(Ok((nodes, 0))))
    }

    fn exchange<'a>(
        &'a self,
        writes: &'a [Write],
        reads: &'a [InfoHash],
        _keep: Duration,
    ) -> Later<'a, Exchanged> {
        let mut state = self.bus.state();
        for write in writes {
            let swarm = state.swarms.entry(write.info_hash).or_default();
            match write.counts {
                Some(counts) => swarm.insert(write.node, counts),
                None => swarm.remove(&write.node),
            };
            if swarm.is_empty() {
                state.swarms.remove(&write.info_hash);
            }
        }
        let read = |info_hash| {
            let swarm = state.swarms.get(info_hash).into_iter().flatten();
            Some(swarm.map(|(node, counts)| (*node, *counts)).collect())
        };
        let exchanged = Exchanged {
            views: reads.iter().map(read).collect(),
            ..Exchanged::default()
        };
        Box::pin(ready(Ok(exchanged)))
    }

    fn publish<'a>(&'a self, frames: &'a [(NodeId, Arc<[u8]>)]) -> Later<'a, Vec<usize>> {
        let deliver = |(node, bytes): &(NodeId, Arc<[u8]>)| {
            let inbox = self.bus.state().inboxes.get(node).cloned();
            inbox.map_or(0, |inbox| {
                inbox.deliver(bytes);
                1
            })
        };
        let receivers = frames.iter().map(deliver).collect();
        Box::pin(ready(Ok(receivers)))
    }

    fn leave(&self) -> Later<'_, ()> {
        self.bus.state().nodes.remove(&self.node);
        Box::pin(ready(Ok(())))
    }

    fn lost(&self) -> Later<'_, ()> {
        Box::pin(pending())
    }
}
