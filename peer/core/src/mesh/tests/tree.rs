//! The tree of larger broadcasts, when links come and go.

use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::crypto::envelope::Kind;

use super::world::World;
use crate::mesh::{Input, LinkId, Output};

const LARGE: [u8; 2000] = [7; 2000];

/// A mesh whose tree has grown.
fn grown(seed: u64) -> World {
    let mut world = World::new(16, 4, seed);
    for at in 0..16 {
        world.link(at, (at + 1) % 16);
        world.link(at, (at + 5) % 16);
    }
    world.run(Duration::from_secs(15));
    for from in [0, 5, 9, 14, 3] {
        publish(&mut world, from);
        world.run(Duration::from_secs(3));
    }
    world
}

fn publish(world: &mut World, from: usize) -> MessageId {
    let message = world.message(from, Kind::Broadcast, &LARGE);
    let id = message.id;
    let chunks = Vec::new();
    world.input(from, Input::Publish { message, chunks });
    id
}

/// The links of the tree at this node.
fn eager(world: &World, at: usize) -> Vec<LinkId> {
    let mesh = &world.nodes[at].mesh;
    let links = mesh.neighbors.others(None).into_iter();
    links.filter(|id| mesh.broadcast.is_eager(*id)).collect()
}

fn lose(world: &mut World, link: LinkId) -> [usize; 2] {
    let ends = world.ends.remove(&link).unwrap();
    for end in ends {
        world.input(end, Input::LinkClosed(link));
    }
    ends
}

#[test]
fn a_message_takes_one_way_to_everybody() {
    let mut world = grown(61);
    world.copies = 0;
    let id = publish(&mut world, 7);
    world.run(Duration::from_secs(3));
    assert!((0..16).all(|at| at == 7 || world.delivered(at, id) == 1));
    assert!(world.copies <= 17, "{} copies for 15 others", world.copies);
}

#[test]
fn where_a_link_of_the_tree_is_lost_another_takes_its_place() {
    for seed in 62..66 {
        let mut world = grown(seed);
        let before: Vec<usize> = (0..16).map(|at| eager(&world, at).len()).collect();
        let link = eager(&world, 2)[0];
        let ends = lose(&mut world, link);
        for end in ends {
            assert_eq!(eager(&world, end).len(), before[end], "node {end}");
        }
        let id = publish(&mut world, 11);
        world.run(Duration::from_secs(3));
        assert!((0..16).all(|at| at == 11 || world.delivered(at, id) == 1));
    }
}

#[test]
fn a_new_link_is_none_of_the_tree_unless_it_is_the_first() {
    let mut world = grown(66);
    world.input(2, Input::SetMaxPeers(5));
    world.input(12, Input::SetMaxPeers(5));
    let link = world.link(2, 12);
    world.run(Duration::from_millis(500));
    for at in [2, 12] {
        assert!(world.nodes[at].mesh.neighbors.is_up(link));
        assert!(!eager(&world, at).contains(&link), "node {at}");
    }
    let mut world = World::new(2, 4, 67);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(1));
    assert_eq!(eager(&world, 0), [link]);
    assert_eq!(eager(&world, 1), [link]);
}

#[test]
fn peers_of_easypeers_1_are_none_of_the_tree() {
    let mut world = World::new(2, 4, 68);
    let link = LinkId(1);
    world.ends.insert(link, [0, 1]);
    let peer = world.nodes[1].me;
    let input = Input::LinkAdmitted {
        link,
        peer,
        keys: None,
        offered: true,
        token: 1,
    };
    world.nodes[0].mesh.handle(world.now, input);
    while let Some(output) = world.nodes[0].mesh.poll_output() {
        assert!(!matches!(output, Output::Send { .. }), "{output:?}");
    }
    assert!(world.nodes[0].mesh.neighbors.is_up(link));
}
