//! How peers start and stop, and how the tracker does.
//!
//! In: orders of the script. Out: new nodes, and events for everything that learns of the change.

use easypeers_core::mesh::{Input, Settings};
use easypeers_core::rate::AUTHOR_RATE;
use easypeers_core::signal;
use easypeers_core::topology::BROWSER_FLIP_INTERVAL;
use easypeers_proto::crypto::PublicKeys;
use rand::RngExt;

use crate::connections;
use crate::event::Event;
use crate::node::Node;
use crate::peers::Peer;
use crate::time::{EPOCH_MS, MS, Time, to_duration};
use crate::turn;
use crate::world::World;

/// The time until the tracker, or a peer of it, learns that a connection to it is gone.
const TRACKER_LOST: Time = 50 * MS;

/// A new peer starts. Returns its number.
pub(crate) fn start(world: &mut World) -> u32 {
    let timer_grid = world.network.timer_grid(&mut world.rng);
    let mut keys = [0; 64];
    world.rng.fill(&mut keys);
    let keys = PublicKeys::new(keys);
    let id = keys.address();
    let settings = Settings {
        me: id,
        keys,
        started_ms: EPOCH_MS + world.now / MS,
        max_peers: world.max_peers,
        rate: AUTHOR_RATE,
        history: to_duration(world.history),
        flip_interval: BROWSER_FLIP_INTERVAL,
        seed: world.rng.random(),
    };
    let seed = world.rng.random();
    let node = Node::new(settings, signal::Settings { me: id, seed }, world.now);
    let mut peer = Peer::new(keys, id, world.now, timer_grid);
    peer.node = Some(Box::new(node));
    let p = world.peers.add(peer);
    turn::take(world, p, |turn| turn.mesh(Input::Timeout));
    p
}

/// A peer says goodbye and stops, or dies silently.
pub(crate) fn stop(world: &mut World, p: u32, silently: bool) {
    let Some(node) = world.peers.remove(p) else {
        return;
    };
    for c in node.links.all() {
        connections::abandon(world, *c, p, silently);
    }
    world.queue.push(world.now + TRACKER_LOST, Event::Gone(p));
}

/// The tracker stops, and all connections to it break. Or it starts again.
pub(crate) fn set_tracker(world: &mut World, up: bool) {
    world.tracker.set_up(up);
    world.checks.disturb(world.now);
    if !up {
        for p in world.peers.live() {
            world.queue.push(world.now + TRACKER_LOST, Event::Lost(*p));
        }
    }
}
