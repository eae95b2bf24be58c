//! Broadcasts alone, without a mesh.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::wire::frame::Pushed;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Arrival, Broadcast, Input, Output};
use crate::message::{LinkId, Signed};
use crate::rate::AUTHOR_RATE;
use crate::testing::{link_up, message, neighbors};
use crate::time::Now;

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
    let mut neighbors = neighbors(6);
    let mut broadcast = Broadcast::new(0, AUTHOR_RATE, Duration::ZERO);
    let links = [1, 2, 3].map(|at| link_up(&mut neighbors, &mut rng, at, 2));
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
    let mut neighbors = neighbors(6);
    let mut broadcast = Broadcast::new(0, AUTHOR_RATE, Duration::ZERO);
    let link = link_up(&mut neighbors, &mut rng, 1, 2);
    broadcast.handle(Now::ZERO, &neighbors, Input::LinkUp(link));
    for at in 0..500 {
        broadcast.handle(Now::ZERO, &neighbors, arrival(link, &message(at + 1, 10)));
    }
    let counters = broadcast.counters();
    assert_eq!(counters.delivered, AUTHOR_RATE.burst as u64);
    assert_eq!(counters.rejected, 500 - counters.delivered);
}
