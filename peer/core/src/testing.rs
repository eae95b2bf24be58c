//! What the unit tests of several states share: links that are up, and messages.

use std::sync::Arc;

use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::wire::frame::Neighbor;
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::message::{LinkId, Signed};
use crate::neighbors::{self, Neighbors};
use crate::time::Now;

pub(crate) const ME: PeerId = PeerId::new([9; 20]);
pub(crate) const STARTED_MS: u64 = 1_700_000_000_000;

/// A broadcast with this sequence, sent that many milliseconds after 1970.
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

/// No links yet.
pub(crate) fn neighbors(max_peers: usize) -> Neighbors {
    Neighbors::new(ME, STARTED_MS, max_peers)
}

/// A link that is up, to a peer of its own that has `links` links of 6.
pub(crate) fn link_up(
    neighbors: &mut Neighbors,
    rng: &mut StdRng,
    number: u64,
    links: u32,
) -> LinkId {
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
        links,
        max_links: 6,
    };
    neighbors.handle(Now::ZERO, rng, neighbors::Input::Neighbor(link, said));
    neighbors.raise(Now::ZERO, link);
    neighbors.take_outputs();
    link
}
