//! What a mesh of cores does.

mod tree;
mod world;

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::crypto::manifest::{CHUNK, Manifest};
use easypeers_proto::wire::frame::{ChunkRequest, Frame, Pushed, Route, RouteError, Sealed, Who};
use easypeers_proto::{MessageId, PeerId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Input, LinkId, Output, Reason};
use world::World;

#[test]
fn a_broadcast_reaches_everybody_once() {
    let mut world = World::new(60, 6, 11);
    world.connect_randomly(6);
    world.copies = 0;
    let id = world.publish(0);
    world.run(Duration::from_secs(5));
    assert_eq!(world.delivered(0, id), 0, "not to its author");
    for at in 1..60 {
        assert_eq!(world.delivered(at, id), 1, "node {at}");
    }
    let extra = world.copies as f64 / 59.0 - 1.0;
    println!("copies beyond the first, per peer: {extra:.2}");
    assert!(extra < 3.5, "what neighbours are known to have is not sent");
}

#[test]
fn a_broadcast_waits_for_the_first_link_and_then_gives_up() {
    let mut world = World::new(2, 6, 12);
    let first = world.publish(0);
    world.run(Duration::from_secs(9));
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.delivered(1, first), 1);
    let published = |world: &World, at: usize, wanted: MessageId| {
        let mut events = world.nodes[at].events.iter();
        events.any(|event| matches!(event, Output::Published(message) if message.id == wanted))
    };
    assert!(published(&world, 0, first));
    let mut alone = World::new(1, 6, 13);
    let id = alone.publish(0);
    alone.run(Duration::from_secs(11));
    assert!(!published(&alone, 0, id));
    let refused =
        |event: &Output| matches!(event, Output::NotPublished { id: other, .. } if *other == id);
    assert!(alone.nodes[0].events.iter().any(refused));
}

#[test]
fn a_message_of_another_time_or_of_oneself_is_refused() {
    let mut world = World::new(2, 6, 14);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(1));
    for (origin, offset) in [(0, 400_000_u64), (1, 0)] {
        let mut message = world.message(origin, Kind::Broadcast, b"old");
        Arc::get_mut(&mut message).unwrap().time_ms -= offset;
        let id = message.id;
        let input = Input::Gossip(crate::broadcast::Arrival {
            link,
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            message,
        });
        world.input(1, input);
        assert_eq!(world.delivered(1, id), 0);
    }
    assert_eq!(world.nodes[1].mesh.counters().rejected, 2);
}

#[test]
fn a_direct_message_finds_its_receiver_over_many_hops() {
    for seed in 20..24 {
        let mut world = World::new(40, 4, seed);
        world.connect_randomly(4);
        let (from, to) = (0, 20);
        let (sender, receiver) = (world.nodes[from].me, world.nodes[to].me);
        world.input(from, Input::FindKeys(receiver));
        world.run(Duration::from_secs(3));
        let found = world.nodes[from].events.iter().any(
            |event| matches!(event, Output::Keys { peer, keys: Some(_) } if *peer == receiver),
        );
        assert!(found, "keys");
        for size in [100, 20_000] {
            let id = MessageId::new(world.rng.random());
            let sealed = Sealed {
                id,
                from: sender,
                to: receiver,
                body: vec![0; size].into(),
            };
            world.input(from, Input::Direct(Arc::new(sealed)));
            world.run(Duration::from_secs(3));
            let opened = world.nodes[to].events.iter();
            let opened = opened
                .filter(|event| matches!(event, Output::Open { sealed, .. } if sealed.id == id))
                .count();
            assert_eq!(opened, 1, "opened once");
            let acknowledged = world.nodes[from].events.iter().any(|event| {
                matches!(event, Output::CheckAck { id: other, hops, .. } if *other == id && *hops > 0)
            });
            assert!(acknowledged);
        }
    }
}

#[test]
fn a_direct_message_to_nobody_ends() {
    let mut world = World::new(10, 4, 25);
    world.connect_randomly(4);
    let nobody = PeerId::new([9; 20]);
    world.input(0, Input::FindKeys(nobody));
    world.run(Duration::from_secs(12));
    let answered = world.nodes[0]
        .events
        .iter()
        .any(|event| matches!(event, Output::Keys { peer, keys: None } if *peer == nobody));
    assert!(answered);
}

#[test]
fn a_route_that_breaks_is_replaced() {
    let mut world = World::new(30, 4, 26);
    world.connect_randomly(4);
    let receiver = world.nodes[15].me;
    let sender = world.nodes[0].me;
    world.input(0, Input::FindKeys(receiver));
    world.run(Duration::from_secs(3));
    // The link that the message would take dies without a word.
    let way = world.nodes[0].way(world.now, receiver).unwrap();
    world.dead.push(way);
    let id = MessageId::new(world.rng.random());
    let body = vec![0; 5000].into();
    let sealed = Sealed {
        id,
        from: sender,
        to: receiver,
        body,
    };
    world.input(0, Input::Direct(Arc::new(sealed)));
    world.run(Duration::from_secs(10));
    let acknowledged = world.nodes[0]
        .events
        .iter()
        .any(|event| matches!(event, Output::CheckAck { id: other, .. } if *other == id));
    assert!(acknowledged);
}

/// In a ring, there is one other way.
#[test]
fn where_a_way_is_said_to_end_another_is_tried_before_all() {
    for seed in 27..31 {
        let mut world = World::new(5, 2, seed);
        for at in 0..5 {
            world.link(at, (at + 1) % 5);
        }
        world.run(Duration::from_secs(1));
        world.publish(2);
        world.run(Duration::from_secs(1));
        let (sender, receiver) = (world.nodes[0].me, world.nodes[2].me);
        let way = world.nodes[0].way(world.now, receiver).unwrap();
        let end = if world.ends[&way] == [0, 1] { 1 } else { 3 };
        let last = world
            .ends
            .iter()
            .find(|(_, ends)| **ends == [end.min(2), end.max(2)]);
        let (last, ends) = last.map(|(link, ends)| (*link, *ends)).unwrap();
        world.ends.remove(&last);
        for at in ends {
            world.input(at, Input::LinkClosed(last));
        }
        let id = MessageId::new(world.rng.random());
        let sealed = Sealed {
            id,
            from: sender,
            to: receiver,
            body: vec![0; 100].into(),
        };
        world.input(0, Input::Direct(Arc::new(sealed)));
        world.run(Duration::from_millis(1500));
        let acknowledged = (world.nodes[0].events.iter())
            .any(|event| matches!(event, Output::CheckAck { id: other, .. } if *other == id));
        assert!(acknowledged && world.flooded == 0, "seed {seed}");
    }
}

#[test]
fn neighbours_that_end_every_way_have_a_message_flooded_once() {
    let mut world = World::new(4, 3, 35);
    let links = [1, 2, 3].map(|other| world.link(0, other));
    world.run(Duration::from_secs(1));
    let id = MessageId::new(world.rng.random());
    let from = world.nodes[1].me;
    let sealed = Sealed {
        id,
        from: world.nodes[0].me,
        to: PeerId::new([9; 20]),
        // Too large to be flooded before another way was tried.
        body: vec![0; 5000].into(),
    };
    let mesh = &mut world.nodes[0].mesh;
    (mesh.routing).learn_route(world.now, &mesh.neighbors, sealed.to, links[0], 2);
    let rejected = mesh.counters().rejected;
    let before = world.serial;
    world.input(0, Input::Direct(Arc::new(sealed)));
    world.input(0, Input::Timeout);
    for _ in 0..500 {
        for link in links {
            let frame = RouteError { id, from }.into();
            world.input(0, Input::Frame { link, frame });
            world.input(0, Input::Timeout);
        }
    }
    // Two ways; then a question and the message to all, and the message along another way.
    assert_eq!(world.serial - before, 2 + 2 * 3 + 1);
    let rejected = world.nodes[0].mesh.counters().rejected - rejected;
    assert_eq!(rejected, 3 * 500 - 2, "each way ended once");
}

#[test]
fn a_large_broadcast_flows_through_the_mesh() {
    let mut world = World::new(20, 4, 27);
    world.connect_randomly(4);
    let data: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    let message = world.message(3, Kind::Manifest, &Manifest::encode(&data));
    let chunks = data.chunks(CHUNK).map(Arc::from).collect();
    let id = message.id;
    world.input(3, Input::Publish { message, chunks });
    world.run(Duration::from_secs(20));
    for at in (0..20).filter(|at| *at != 3) {
        let whole: Vec<&Vec<u8>> = world.nodes[at]
            .events
            .iter()
            .filter_map(|event| match event {
                Output::DeliverLarge { message, data, .. } if message.id == id => Some(data),
                _ => None,
            })
            .collect();
        assert_eq!(whole, [&data], "node {at}");
    }
}

#[test]
fn two_links_to_one_peer_become_one_on_both_sides() {
    for (seed, both_offer) in [(30, true), (31, false), (32, true), (33, false)] {
        let mut world = World::new(2, 6, seed);
        world.link(0, 1);
        if both_offer {
            world.link(1, 0);
        } else {
            world.link(0, 1);
        }
        world.run(Duration::from_secs(2));
        assert_eq!(world.degree(0), 1);
        assert_eq!(world.degree(1), 1);
        assert_eq!(
            world.nodes[0].links(),
            world.nodes[1].links(),
            "the same one"
        );
        let id = world.publish(0);
        world.run(Duration::from_secs(1));
        assert_eq!(world.delivered(1, id), 1);
        for node in &world.nodes {
            let connects = node
                .events
                .iter()
                .filter(|event| matches!(event, Output::Connect(_)));
            assert_eq!(connects.count(), 1, "one to the application");
        }
    }
}

#[test]
fn a_full_mesh_takes_a_newcomer_in() {
    for seed in 34..38 {
        let mut world = World::new(31, 4, seed);
        for at in 0..30 {
            world.link(at, (at + 1) % 30);
            world.link(at, (at + 7) % 30);
        }
        world.run(Duration::from_secs(5));
        assert!((0..30).all(|at| world.degree(at) == 4));
        world.link(30, 11);
        world.link(30, 23);
        world.run(Duration::from_secs(20));
        assert_eq!(world.degree(30), 4, "two contacts, and a neighbour of each");
        for at in 0..30 {
            assert_eq!(world.degree(at), 4, "node {at}");
        }
        let id = world.publish(30);
        world.run(Duration::from_secs(5));
        assert!((0..30).all(|at| world.delivered(at, id) == 1));
    }
}

#[test]
fn beyond_its_slack_a_peer_refuses_and_names_others() {
    let mut world = World::new(6, 2, 34);
    for other in 1..6 {
        world.link(0, other);
    }
    let told = world.nodes[0].events.iter().any(|event| {
        matches!(event, Output::Close { goodbye: Some(goodbye), .. }
            if goodbye.reason == Reason::Full)
    });
    assert!(told);
    world.run(Duration::from_secs(30));
    assert!(
        world.degree(0) <= 3,
        "two links, and a neighbour that has no other"
    );
}

#[test]
fn fewer_links_cut_nobody_off() {
    let mut world = World::new(12, 8, 35);
    // A hub; five of its neighbours have another link, three have none.
    for other in 1..9 {
        world.link(0, other);
    }
    for other in 1..6 {
        world.link(other, other % 5 + 1);
    }
    world.run(Duration::from_secs(8));
    assert_eq!(world.degree(0), 8);
    world.input(0, Input::SetMaxPeers(2));
    for _ in 0..200 {
        world.run(Duration::from_millis(100));
        for at in 1..9 {
            assert!(world.degree(at) > 0, "node {at} was cut off");
        }
    }
    assert_eq!(world.degree(0), 2);
}

#[test]
fn a_silent_neighbour_is_given_up() {
    let mut world = World::new(2, 6, 36);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(60));
    assert_eq!(world.degree(0), 1, "idle is not dead");
    world.dead.push(link);
    world.run(Duration::from_secs(20));
    assert_eq!(world.degree(0), 0);
    assert_eq!(world.degree(1), 0);
    let lost = |event: &Output| matches!(event, Output::Disconnect(_));
    assert_eq!(
        world.nodes[0]
            .events
            .iter()
            .filter(|event| lost(event))
            .count(),
        1
    );
}

#[test]
fn a_suspected_neighbour_that_answers_stays() {
    let mut world = World::new(2, 6, 37);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(1));
    world.input(0, Input::LinkSuspect(link));
    world.run(Duration::from_secs(4));
    assert_eq!(world.degree(0), 1);
    world.dead.push(link);
    world.input(0, Input::LinkSuspect(link));
    world.run(Duration::from_secs(4));
    assert_eq!(world.degree(0), 0, "one probe decides");
}

#[test]
fn any_inputs_keep_the_maps_bounded() {
    let mut world = World::new(5, 3, 38);
    world.connect_randomly(3);
    let links: Vec<LinkId> = world.ends.keys().copied().collect();
    let mut rng = StdRng::seed_from_u64(38);
    for _ in 0..20_000 {
        let link = *links.choose(&mut rng).unwrap();
        let id = MessageId::new(rng.random());
        let to = PeerId::new(rng.random());
        let frame: Frame = match rng.random_range(0..4) {
            0 => Who {
                id,
                to,
                hops: rng.random(),
                hop_limit: rng.random(),
            }
            .into(),
            1 => RouteError { id, from: to }.into(),
            2 => ChunkRequest {
                message: id,
                indices: vec![rng.random()],
            }
            .into(),
            _ => Route {
                hops: rng.random(),
                hop_limit: rng.random(),
                flood: rng.random(),
                sealed: Arc::new(Sealed {
                    id,
                    from: PeerId::new(rng.random()),
                    to,
                    body: vec![0; 10].into(),
                }),
            }
            .into(),
        };
        world.input(rng.random_range(0..5), Input::Frame { link, frame });
        world.run(Duration::from_millis(1));
    }
    world.run(Duration::from_secs(5));
    let id = world.publish(0);
    world.run(Duration::from_secs(5));
    for at in 1..5 {
        assert_eq!(world.delivered(at, id), 1, "it still works");
    }
}

#[test]
fn full_members_of_one_mesh_that_meet_exchange_nothing() {
    let mut world = World::new(30, 4, 39);
    for at in 0..30 {
        world.link(at, (at + 1) % 30);
        world.link(at, (at + 7) % 30);
    }
    // Beacons of whole minutes are there to compare.
    world.run(Duration::from_secs(130));
    let neighbors = |world: &World, at: usize| {
        let neighbors = world.nodes[at].mesh.neighbors();
        neighbors.map(|neighbor| neighbor.peer).collect::<Vec<_>>()
    };
    let other = (0..30)
        .find(|other| {
            let peer = world.nodes[*other].me;
            *other != 0 && !world.nodes[0].mesh.is_neighbor(peer)
        })
        .unwrap();
    let before = [neighbors(&world, 0), neighbors(&world, other)];
    world.link(0, other);
    world.run(Duration::from_secs(2));
    assert_eq!([neighbors(&world, 0), neighbors(&world, other)], before);
    for at in [0, other] {
        let told = |event: &Output| matches!(event, Output::SameMesh);
        assert!(world.nodes[at].events.iter().any(told), "node {at}");
    }
}
