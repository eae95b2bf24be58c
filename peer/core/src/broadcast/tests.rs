//! Broadcasts alone, and what their parts' tests share.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::wire::frame::{Neighbor, Pushed};
use easypeers_proto::{MessageId, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Arrival, Broadcast, Input, Output};
use crate::message::{LinkId, Signed};
use crate::neighbors::{self, Neighbors};
use crate::rate::AUTHOR_RATE;
use crate::time::Now;

const ME: PeerId = PeerId::new([9; 20]);
const STARTED_MS: u64 = 1_700_000_000_000;

/// A message with this sequence, sent that many milliseconds after 1970.
pub(crate) fn message(sequence: u64, length: usize) -> Arc<Signed> {
    signed(sequence, &vec![7; length])
}

pub(crate) fn signed(sequence: u64, payload: &[u8]) -> Arc<Signed> {
    let identity = Identity::from_seed(&[3; 32]);
    let mut id = [0; 20];
    id[..8].copy_from_slice(&sequence.to_be_bytes());
    Arc::new(Signed {
        id: MessageId::new(id),
        origin: identity.address(),
        keys: *identity.public(),
        kind: Kind::Broadcast,
        content: Content::Binary,
        epoch: 1,
        sequence,
        time_ms: sequence,
        bytes: payload.into(),
        payload: 0..payload.len(),
    })
}

pub(crate) fn neighbors() -> Neighbors {
    Neighbors::new(ME, STARTED_MS, 6)
}

/// A link that is up, to a peer of its own.
pub(crate) fn link_up(neighbors: &mut Neighbors, rng: &mut StdRng, number: u64) -> LinkId {
    let link = LinkId(number);
    let identity = Identity::from_seed(&rng.random());
    let admitted = neighbors::Input::Admitted {
        link,
        peer: identity.address(),
        keys: Some(*identity.public()),
        offered: true,
        token: 0,
    };
    neighbors.handle(Now::ZERO, rng, admitted);
    let said = Neighbor {
        epoch: 1,
        links: 2,
        max_links: 6,
    };
    neighbors.handle(Now::ZERO, rng, neighbors::Input::Neighbor(link, said));
    neighbors.raise(Now::ZERO, link);
    neighbors.take_outputs();
    link
}

fn arrival(link: LinkId, message: &Arc<Signed>) -> Input {
    Input::Gossip(Arrival {
        link,
        hops: 0,
        pushed: Pushed::Flood,
        has: Vec::new(),
        message: Arc::clone(message),
    })
}

#[test]
fn a_message_is_delivered_once_and_passed_on_to_the_others() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut neighbors = neighbors();
    let mut broadcast = Broadcast::new(0, AUTHOR_RATE, Duration::ZERO);
    let links = [1, 2, 3].map(|at| link_up(&mut neighbors, &mut rng, at));
    for link in links {
        broadcast.handle(Now::ZERO, &neighbors, Input::LinkUp(link));
    }
    broadcast.take_outputs();
    let message = message(1, 10);
    for link in links {
        broadcast.handle(Now::ZERO, &neighbors, arrival(link, &message));
    }
    let (mut delivered, mut to) = (0, Vec::new());
    for output in broadcast.take_outputs() {
        match output {
            Output::Deliver { .. } => delivered += 1,
            Output::SendGossip { links, .. } => to.extend(links),
            Output::AuthorSeen { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, 1);
    assert_eq!(to, links[1..]);
    assert_eq!(broadcast.counters().duplicates, 2);
}

#[test]
fn an_author_that_says_too_much_is_not_passed_on() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut neighbors = neighbors();
    let mut broadcast = Broadcast::new(0, AUTHOR_RATE, Duration::ZERO);
    let link = link_up(&mut neighbors, &mut rng, 1);
    broadcast.handle(Now::ZERO, &neighbors, Input::LinkUp(link));
    for at in 0..500 {
        broadcast.handle(Now::ZERO, &neighbors, arrival(link, &message(at + 1, 10)));
    }
    let counters = broadcast.counters();
    assert_eq!(counters.delivered, AUTHOR_RATE.burst as u64);
    assert_eq!(counters.rejected, 500 - counters.delivered);
}
