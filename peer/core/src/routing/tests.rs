//! Routing alone, without a mesh.

use easypeers_proto::crypto::Identity;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::testing::{ME, link_up, neighbors};

const ID: MessageId = MessageId::new([1; 20]);
const ALICE: PeerId = PeerId::new([2; 20]);
const BOB: PeerId = PeerId::new([3; 20]);

struct World {
    routing: Routing,
    neighbors: Neighbors,
    rng: StdRng,
}

impl World {
    fn new(links: u64) -> Self {
        let seed = 1;
        println!("seed {seed}");
        let mut world = Self {
            routing: Routing::new(*Identity::from_seed(&[1; 32]).public()),
            neighbors: neighbors(6),
            rng: StdRng::seed_from_u64(seed),
        };
        for at in 1..=links {
            link_up(&mut world.neighbors, &mut world.rng, at, 3);
        }
        world
    }

    fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        let mut cx = Context {
            neighbors: &self.neighbors,
            rng: &mut self.rng,
        };
        self.routing.handle(now, &mut cx, input);
        self.routing.take_outputs()
    }

    fn learn(&mut self, peer: PeerId, link: u64) {
        let link = LinkId(link);
        (self.routing).learn_route(Now::ZERO, &self.neighbors, peer, link, 2);
    }
}

fn sealed(from: PeerId, to: PeerId) -> Arc<Sealed> {
    Arc::new(Sealed {
        id: ID,
        from,
        to,
        body: vec![0; 5000].into(),
    })
}

fn sent(out: &[Output]) -> Vec<(Vec<u64>, u8)> {
    let sent = out.iter().filter_map(|output| match output {
        Output::Send(links, frame) => {
            Some((links.iter().map(|link| link.0).collect(), frame.kind()))
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_message_takes_its_route_and_its_receipt_the_way_back() {
    let mut world = World::new(3);
    world.learn(BOB, 2);
    let passing = Input::Route(LinkId(1), route(&sealed(ALICE, BOB), 0, HOP_LIMIT, false));
    assert_eq!(
        sent(&world.handle(Now::ZERO, passing)),
        [(vec![2], Route::KIND)]
    );
    let ack = Ack {
        id: ID,
        from: BOB,
        to: ALICE,
        hops: 2,
        hop_limit: HOP_LIMIT,
        proof: [0; 16],
    };
    let out = world.handle(Now::ZERO, Input::Ack(LinkId(2), ack));
    assert_eq!(sent(&out), [(vec![1], Ack::KIND)]);
}

#[test]
fn a_message_for_us_is_opened_once_and_acknowledged_each_time() {
    let mut world = World::new(2);
    let arrives = |world: &mut World, link| {
        let route = route(&sealed(ALICE, ME), 0, HOP_LIMIT, false);
        world.handle(Now::ZERO, Input::Route(LinkId(link), route))
    };
    let out = arrives(&mut world, 1);
    assert!(matches!(
        out[..],
        [Output::Used(..), Output::Open { hops: 1, .. }]
    ));
    let proof = [7; 16];
    let out = world.handle(Now::ZERO, Input::Acknowledge { id: ID, proof });
    assert_eq!(sent(&out), [(vec![1], Ack::KIND)]);
    let out = arrives(&mut world, 2);
    assert!(
        !out.iter()
            .any(|output| matches!(output, Output::Open { .. }))
    );
    assert_eq!(
        sent(&out),
        [(vec![2], Ack::KIND)],
        "the way that it came last"
    );
}

#[test]
fn a_message_without_a_way_takes_a_detour_and_then_an_error_goes_back() {
    let mut world = World::new(2);
    let passing = |hops| Input::Route(LinkId(1), route(&sealed(ALICE, BOB), hops, 8, false));
    assert_eq!(
        sent(&world.handle(Now::ZERO, passing(0))),
        [(vec![2], Route::KIND)]
    );
    let mut world = World::new(2);
    let out = world.handle(Now::ZERO, passing(5));
    assert_eq!(sent(&out), [(vec![1], RouteError::KIND)]);
}

#[test]
fn a_question_is_flooded_once_and_its_answer_goes_back() {
    let mut world = World::new(3);
    let bob = Identity::from_seed(&[8; 32]);
    let who = Who {
        id: ID,
        to: bob.address(),
        hops: 0,
        hop_limit: HOP_LIMIT,
    };
    let out = world.handle(Now::ZERO, Input::Who(LinkId(1), who));
    assert_eq!(sent(&out), [(vec![2, 3], Who::KIND)]);
    assert!(
        world
            .handle(Now::ZERO, Input::Who(LinkId(2), who))
            .is_empty()
    );
    let keys = Keys {
        id: ID,
        keys: *bob.public(),
        hops: 0,
    };
    let out = world.handle(Now::ZERO, Input::Keys(LinkId(3), keys));
    assert_eq!(sent(&out), [(vec![1], Keys::KIND)]);
    let unasked = Keys {
        id: MessageId::new([9; 20]),
        ..keys
    };
    assert!(
        world
            .handle(Now::ZERO, Input::Keys(LinkId(3), unasked))
            .is_empty()
    );
    assert_eq!(world.routing.rejected(), 1);
}

#[test]
fn our_message_is_tried_along_its_way_and_then_flooded() {
    let mut world = World::new(2);
    world.learn(BOB, 1);
    world.handle(Now::ZERO, Input::Send(sealed(ME, BOB)));
    let mut ways = Vec::new();
    let undelivered = loop {
        let now = world.routing.deadline().unwrap();
        let out = world.handle(now, Input::Timeout);
        if let Some(Output::Undelivered { reachable, .. }) = out.last() {
            break *reachable;
        }
        ways.push(sent(&out));
    };
    assert!(undelivered, "there was a way");
    assert_eq!(ways[0], [(vec![1], Route::KIND)]);
    assert_eq!(ways[1], [(vec![2], Route::KIND)], "another neighbour");
    assert!(ways[2].contains(&(vec![1, 2], Route::KIND)), "to all");
}
