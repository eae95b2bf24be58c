//! What happens to connections between the turns of their two peers: they open, carry packets, and end.
//!
//! In: events of the queue, peers that are gone. Out: turns of the peers concerned, and more events.

use easypeers_core::mesh::{self, LinkId};
use easypeers_core::signal;
use easypeers_proto::MessageId;
use rand::RngExt;

use crate::check;
use crate::event::Event;
use crate::network::Stage;
use crate::packet::{Arrived, Packet};
use crate::time::{MS, Time};
use crate::turn;
use crate::world::World;

/// The time from a neighbor's silent death to the suspicion of its connection.
const SUSPECT: Time = 2_700 * MS;

/// Both descriptions of an answer are exchanged, and the connection opens.
pub(crate) fn open(world: &mut World, answer: u32) {
    let Some(attempts) = world.exchanges.attempts(answer) else {
        return;
    };
    let [offerer, peer] = attempts.map(|(p, _)| p);
    let alive = |p: u32| world.peers[p].alive;
    if !alive(peer) || !alive(offerer) || !world.network.reaches(peer, offerer) {
        return;
    }
    world.exchanges.open(answer);
    let (conn, latency) = world.network.open(offerer, peer, world.rng.random());
    for (p, attempt) in attempts {
        if let Some(node) = &mut world.peers[p].node {
            node.links.open(conn, attempt);
        }
    }
    for side in [0, 1] {
        // The greetings cross, then the proofs.
        let at = world.now + 2 * latency + MS;
        world.queue.push(at, Event::Admitted { conn, side });
    }
    if let Some(lifetime) = world.network.lifetime(&mut world.rng) {
        let breaks = world.now + lifetime;
        if breaks < world.end {
            world.queue.push(breaks, Event::Reset(conn));
        }
    }
}

/// The time for an attempt is over: the offerer's, or the one of the peer that answered.
pub(crate) fn expire(world: &mut World, answer: u32, offerer: bool) {
    if let Some((p, attempt)) = world.exchanges.expire(answer, offerer) {
        turn::take(world, p, |turn| {
            turn.signal(signal::Input::AttemptFailed { attempt });
        });
    }
}

/// A packet reaches a side of a connection.
pub(crate) fn arrive(world: &mut World, conn: u32, side: usize, parcel: u32) {
    let p = world.network.peer_at(conn, side);
    let link = LinkId(conn.into());
    let admitted = world.network.stage_at(conn, side) == Stage::Admitted;
    let node = world.peers[p].node.as_ref();
    let knows = |id: &MessageId| node.is_some_and(|node| node.knows(id));
    match world.packets.arrive(parcel, admitted, knows) {
        Some(Arrived::Duplicate { id, pushed }) => {
            world.broadcasts.count_copy(&id);
            if check::ON {
                world.checks.on_duplicate((conn, side), id);
            }
            let input = mesh::Input::Duplicate { link, id, pushed };
            turn::take(world, p, |turn| turn.mesh(input));
        }
        Some(Arrived::Packet(packet)) => {
            if let Packet::Gossip { message, .. } = &packet {
                world.broadcasts.count_copy(&message.id);
            }
            turn::take(world, p, |turn| turn.on_packet(conn, side, packet));
        }
        None => {}
    }
}

/// A side of a connection is gone. The other side learns it, or suspects it later.
pub(crate) fn abandon(world: &mut World, conn: u32, p: u32, silently: bool) {
    let side = world.network.side_of(conn, p);
    if !world.network.close_side(conn, side) {
        return;
    }
    let far = 1 - side;
    let side = far as u8;
    if silently {
        let suspect = Event::Suspect { conn, side };
        world.queue.push(world.now + SUSPECT, suspect);
    } else {
        let closed = world.network.close_at(conn, far, world.now);
        world.queue.push(closed, Event::Closed { conn, side });
    }
}

/// Nothing passes along this link any more. Both sides suspect it later.
pub(crate) fn sever(world: &mut World, conn: u32) {
    for side in [0, 1] {
        let suspect = Event::Suspect { conn, side };
        world.queue.push(world.now + SUSPECT, suspect);
    }
}
