//! Links alone, without a mesh.

use easypeers_proto::crypto::Identity;
use rand::SeedableRng;

use super::*;

struct World {
    neighbors: Neighbors,
    rng: StdRng,
}

impl World {
    fn new(max_peers: usize) -> Self {
        let seed = 1;
        println!("seed {seed}");
        Self {
            neighbors: Neighbors::new(PeerId::new([9; 20]), 5, max_peers),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn handle(&mut self, now: Now, input: Input) -> Vec<Output> {
        self.neighbors.handle(now, &mut self.rng, input);
        self.neighbors.take_outputs()
    }

    fn admit(&mut self, link: u64, identity: u8, offered: bool, token: u64) -> Vec<Output> {
        let identity = Identity::from_seed(&[identity; 32]);
        let admitted = Input::Admitted {
            link: LinkId(link),
            peer: identity.address(),
            keys: Some(*identity.public()),
            offered,
            token,
        };
        self.handle(Now::ZERO, admitted)
    }

    fn accept(&mut self, link: u64, epoch: u64) -> Vec<Output> {
        let said = Neighbor {
            epoch,
            links: 1,
            max_links: 6,
        };
        self.handle(Now::ZERO, Input::Neighbor(LinkId(link), said))
    }
}

#[test]
fn a_link_counts_once_both_sides_have_accepted_it() {
    let mut world = World::new(6);
    let out = world.admit(1, 1, true, 0);
    assert!(matches!(&out[..], [Output::Send(to, Frame::Neighbor(_))] if to == &[LinkId(1)]));
    assert!(matches!(
        world.accept(1, 1)[..],
        [Output::Accepted(LinkId(1))]
    ));
    assert!(world.accept(1, 1).is_empty(), "said again");
    assert!(!world.neighbors.is_up(LinkId(1)));
    world.neighbors.raise(Now::ZERO, LinkId(1));
    assert!(world.neighbors.is_up(LinkId(1)));
}

#[test]
fn beyond_its_slack_a_peer_refuses() {
    let mut world = World::new(2);
    for at in 1..=4 {
        assert!(matches!(
            world.admit(at, at as u8, true, 0)[..],
            [Output::Send(..)]
        ));
    }
    let out = world.admit(5, 5, true, 0);
    assert!(matches!(
        out[..],
        [Output::Close(LinkId(5), Some(Reason::Full))]
    ));
}

#[test]
fn of_two_links_to_one_peer_the_newer_epoch_then_the_higher_token_stays() {
    for (epoch, token, stays) in [
        (2, 0, Stays::Restarted),
        (0, 9, Stays::Old),
        (1, 9, Stays::New),
        (1, 3, Stays::Old),
    ] {
        let mut world = World::new(6);
        world.admit(1, 1, true, 5);
        world.accept(1, 1);
        world.neighbors.raise(Now::ZERO, LinkId(1));
        world.admit(2, 1, true, token);
        world.accept(2, epoch);
        assert_eq!(world.neighbors.rival(LinkId(2)), Some((LinkId(1), stays)));
    }
}

#[test]
fn a_silent_neighbour_is_probed_and_given_up() {
    let mut world = World::new(6);
    world.admit(1, 1, true, 0);
    world.accept(1, 1);
    world.neighbors.raise(Now::ZERO, LinkId(1));
    let mut probes = 0;
    let closed = loop {
        let now = world.neighbors.next_due();
        assert_eq!(world.neighbors.overdue(now), [LinkId(1)]);
        match &world.handle(now, Input::Overdue(LinkId(1)))[..] {
            [Output::Send(_, Frame::Ping(_))] => probes += 1,
            [Output::Close(LinkId(1), None)] => break now,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(probes, u32::from(MISSES));
    assert_eq!(closed, IDLE + PROBE.1 * MISSES.into());
}

#[test]
fn broken_rules_end_a_link_and_are_forgiven_with_time() {
    let mut world = World::new(6);
    world.admit(1, 1, true, 0);
    let peer = Identity::from_seed(&[1; 32]).address();
    let rule = Penalty::BrokenRule;
    let mut broken = |now| world.neighbors.penalize(now, LinkId(1), rule);
    assert!((0..7).all(|_| !broken(Now::ZERO)));
    assert!(!broken(Duration::from_secs(60)), "a minute forgives");
    let after = (0..).position(|_| broken(Duration::from_secs(60)));
    assert!(after.is_some());
    assert!(world.neighbors.is_banned(peer));
    world.neighbors.remove(LinkId(1));
    let out = world.admit(2, 1, true, 0);
    assert!(matches!(
        out[..],
        [Output::Close(LinkId(2), Some(Reason::Protocol))]
    ));
    world.neighbors.expire(Duration::from_secs(60) + BAN);
    assert!(!world.neighbors.is_banned(peer));
}
