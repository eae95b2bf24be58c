//! What a peer itself has to say.

use std::sync::Arc;

use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::wire::frame::{Pushed, Sealed};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;

use super::{EPOCH_MS, Turn, VERIFY};
use crate::packet::Packet;
use crate::time::MS;
use easypeers_core::mesh::{Input, LinkId};
use easypeers_core::message::{Class, Signed};

/// What envelopes have around their payloads.
const ENVELOPE: usize = 156;

/// What seals have around theirs.
const SEAL: usize = 80 + ENVELOPE;

impl Turn<'_> {
    /// Broadcasts so many bytes; the id.
    pub(crate) fn publish(&mut self, size: usize) -> MessageId {
        self.core.clock += VERIFY;
        let message = self.sign(Kind::Broadcast, size);
        let id = message.id;
        let chunks = Vec::new();
        self.mesh(Input::Publish { message, chunks });
        id
    }

    /// As a client that knows no limits: a broadcast along every link, past the mesh.
    pub(crate) fn flood(&mut self, size: usize) {
        let message = self.sign(Kind::Broadcast, size);
        let links: Vec<LinkId> = (self.core.conns.iter())
            .map(|c| LinkId((*c).into()))
            .filter(|link| self.core.mesh.up_peer(*link).is_some())
            .collect();
        let packet = Packet::Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            message,
        };
        self.transmit(&links, packet, Class::Own);
    }

    pub(super) fn sign(&mut self, kind: Kind, size: usize) -> Arc<Signed> {
        self.core.sequence += 1;
        let id = MessageId::new(self.world.rng.random());
        let peer = &self.world.peers[self.p as usize];
        let message = Signed {
            id,
            origin: peer.id,
            keys: peer.keys,
            kind,
            content: Content::Binary,
            epoch: EPOCH_MS + self.born() / MS,
            sequence: self.core.sequence,
            time_ms: EPOCH_MS + self.core.clock / MS,
            bytes: vec![0; size + ENVELOPE].into(),
            payload: 92..92 + size,
        };
        Arc::new(message)
    }

    /// Sends a direct message, once the receiver's keys are known.
    pub(crate) fn send_direct(&mut self, direct: u32) {
        self.core.unknown.push(direct);
        let to = self.world.directs[direct as usize].to;
        let to = self.world.peers[to as usize].id;
        self.mesh(Input::FindKeys(to));
    }

    pub(super) fn on_keys(&mut self, peer: PeerId, found: bool) {
        let unknown = std::mem::take(&mut self.core.unknown);
        for direct in unknown {
            let sent = self.world.directs[direct as usize];
            if self.world.peers[sent.to as usize].id != peer {
                self.core.unknown.push(direct);
            } else if found {
                let id = MessageId::new(self.world.rng.random());
                self.world.note_direct(direct, id);
                self.core.clock += 2 * VERIFY;
                let sealed = Sealed {
                    id,
                    from: self.me(),
                    to: peer,
                    body: vec![0; sent.size + SEAL].into(),
                };
                self.mesh(Input::Direct(Arc::new(sealed)));
            }
        }
    }
}
