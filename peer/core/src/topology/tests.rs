//! The topology alone, without a mesh.

use easypeers_proto::crypto::Identity;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::routing::Routing;
use crate::testing::{STARTED_MS, link_up, neighbors};

const ID: MessageId = MessageId::new([1; 20]);
const STRANGER: PeerId = PeerId::new([5; 20]);

struct World {
    topology: Topology,
    neighbors: Neighbors,
    routing: Routing,
    rng: StdRng,
}

impl World {
    /// A member that has this many links and wants `max_peers`.
    fn new(max_peers: usize, links: u64) -> Self {
        let seed = 1;
        println!("seed {seed}");
        let mut world = Self {
            topology: Topology::new(STARTED_MS, Duration::from_secs(1000)),
            neighbors: neighbors(max_peers),
            routing: Routing::new(*Identity::from_seed(&[1; 32]).public()),
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
            routes: self.routing.routes(),
            rng: &mut self.rng,
        };
        self.topology.handle(now, &mut cx, input);
        self.topology.take_outputs()
    }
}

fn request(purpose: Purpose, hops: u8) -> LinkRequest {
    LinkRequest {
        id: ID,
        from: STRANGER,
        hops,
        purpose,
        missing: 3,
        target: WalkTarget::Random,
    }
}

fn sent(out: &[Output]) -> Vec<(u64, u8)> {
    let sent = out.iter().filter_map(|output| match output {
        Output::Send(link, frame) => Some((link.0, frame.kind())),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_member_below_its_target_sends_out_walks() {
    let mut world = World::new(6, 1);
    let out = world.handle(Now::ZERO, Input::Search);
    let walks = sent(&out);
    assert!(!walks.is_empty() && walks.iter().all(|walk| *walk == (1, LinkRequest::KIND)));
    assert!(
        world.handle(Now::ZERO, Input::Search).is_empty(),
        "they are under way"
    );
}

#[test]
fn a_walk_ends_at_a_member_below_its_target_and_passes_a_full_one() {
    let walk = || Input::LinkRequest(LinkId(1), request(Purpose::Links, 0));
    let out = World::new(6, 2).handle(Now::ZERO, walk());
    assert!(matches!(out[..], [Output::Invite { peer: STRANGER, .. }]));
    let out = World::new(2, 2).handle(Now::ZERO, walk());
    assert_eq!(sent(&out), [(2, LinkRequest::KIND)], "on, not back");
    let late = Input::LinkRequest(LinkId(1), request(Purpose::Links, walk::PAIRING));
    let out = World::new(2, 2).handle(Now::ZERO, late);
    assert!(
        matches!(out[..], [Output::Invite { .. }]),
        "it hosts a guest"
    );
}

#[test]
fn an_offer_is_refused_where_there_is_no_room() {
    let offer = || {
        let offer = Signal {
            id: ID,
            kind: SignalKind::Offer,
            from: STRANGER,
            to: crate::testing::ME,
            sdp: (*b"v=0").into(),
        };
        Input::Signal(LinkId(1), offer)
    };
    let out = World::new(6, 1).handle(Now::ZERO, offer());
    assert!(matches!(&out[..], [Output::Signal(signal)] if signal.kind == SignalKind::Offer));
    let out = World::new(2, 4).handle(Now::ZERO, offer());
    assert!(
        matches!(&out[..], [Output::Send(LinkId(1), Frame::Signal(signal))]
            if signal.kind == SignalKind::Refusal)
    );
}

#[test]
fn a_full_member_with_a_guest_splits_an_edge() {
    let mut world = World::new(3, 3);
    let guest = link_up(&mut world.neighbors, &mut world.rng, 4, 1);
    assert!(world.handle(Now::ZERO, Input::LinkUp(guest)).is_empty());
    let out = world.handle(Now::ZERO, Input::Timeout);
    let [(partner, Split::KIND)] = sent(&out)[..] else {
        panic!("{out:?}");
    };
    assert!((1..=3).contains(&partner), "not the guest");
    assert_eq!(world.topology.heir(LinkId(partner)), Some(guest));
    // The partner is linked to the guest now and leaves.
    world.neighbors.remove(LinkId(partner));
    world.topology.forget_link(LinkId(partner));
    assert!(world.handle(Now::ZERO, Input::Timeout).is_empty());
}

#[test]
fn links_that_are_too_many_are_let_go_but_nobody_is_cut_off() {
    let mut world = World::new(2, 0);
    for at in 1..=4 {
        // Two of them have no other link.
        link_up(
            &mut world.neighbors,
            &mut world.rng,
            at,
            if at < 3 { 1 } else { 6 },
        );
    }
    let later = Duration::from_secs(10);
    let mut gone = Vec::new();
    while let Some(link) = world.topology.let_go(later, &world.neighbors, 0) {
        world.topology.forget_link(link);
        world.neighbors.remove(link);
        gone.push(link.0);
        assert!(gone.len() <= 4);
    }
    assert_eq!(gone, [4, 3]);
}

#[test]
fn a_lost_link_is_looked_for_at_once() {
    let mut world = World::new(6, 5);
    assert!(matches!(
        world.handle(Now::ZERO, Input::LinkLost)[..],
        [Output::Incomplete]
    ));
    assert_eq!(world.topology.deadline(&world.neighbors), Some(Now::ZERO));
}

#[test]
fn what_passes_through_is_bounded() {
    let mut world = World::new(2, 2);
    for at in 0..20_000u64 {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&at.to_be_bytes());
        let request = LinkRequest {
            id: MessageId::new(id),
            from: PeerId::new(id),
            ..request(Purpose::Links, 20)
        };
        world.handle(Now::ZERO, Input::LinkRequest(LinkId(1), request));
    }
    assert!(world.topology.exchanges.invitations() <= walk::INVITATIONS);
}
