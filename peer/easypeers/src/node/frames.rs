//! Frames of neighbours to what the core understands, and back. What a core cannot check itself is
//! checked here: signatures, the hashes of pieces and of sealed bodies.

use std::sync::Arc;

use easypeers_proto::crypto::envelope::{Envelope, Kind};
use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::crypto::seal;
use easypeers_proto::wire::frame::{self, Chunk, Frame, GoodbyeReason, Gossip, Pushed};

use super::compat::is_bridged;
use super::swarm::Swarm;
use easypeers_core::broadcast::Arrival;
use easypeers_core::mesh::{Goodbye, Input, LinkId, Reason};
use easypeers_core::message::{Class, Signed};

impl Swarm {
    pub(super) fn on_frame(&mut self, link: LinkId, bytes: &[u8]) {
        let frame = match Frame::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                self.stats.rejected += 1;
                tracing::debug!(%error, "bad frame");
                return self.close_link(link, Some(Reason::Protocol));
            }
        };
        let frame = match frame {
            Frame::Gossip(gossip) => return self.on_gossip(link, gossip),
            Frame::Chunk(chunk) => return self.on_chunk(link, chunk),
            Frame::Goodbye(goodbye) => {
                tracing::debug!(reason = ?goodbye.reason, "neighbour says goodbye");
                self.mesh_input(Input::Hints(goodbye.peers));
                return self.close_link(link, None);
            }
            Frame::Route(route) if seal::sealed_id(&route.sealed.body) != route.sealed.id => {
                return self.strike(link, "sealed message under a wrong id");
            }
            // Sent once, before admission.
            Frame::Auth(_) => return self.close_link(link, Some(Reason::Protocol)),
            // Of a newer version, which says that it may be skipped.
            Frame::Unknown(_) => return,
            frame => frame,
        };
        self.mesh_input(Input::Frame { link, frame });
    }

    fn on_gossip(&mut self, link: LinkId, gossip: Gossip) {
        let Gossip {
            hops,
            pushed,
            has,
            envelope: bytes,
        } = gossip;
        let Ok(envelope) = Envelope::decode(&bytes) else {
            return self.strike(link, "malformed message");
        };
        let id = envelope.id();
        if self.mesh.knows(&id) {
            return self.mesh_input(Input::Duplicate { link, id, pushed });
        }
        let origin = envelope.from();
        if pushed != Pushed::Pulled && !self.mesh.is_within_rate(self.clock.now(), origin) {
            return self.mesh_input(Input::OverRate { link, origin });
        }
        if !matches!(
            envelope.kind(),
            Kind::Broadcast | Kind::Manifest | Kind::Bridged | Kind::Beacon
        ) {
            return self.strike(link, "no broadcast");
        }
        if envelope.kind() == Kind::Manifest && Manifest::decode(envelope.payload()).is_err() {
            return self.strike(link, "malformed manifest");
        }
        if envelope.kind() == Kind::Bridged && !is_bridged(&id, envelope.payload()) {
            return self.strike(link, "bridged message under a wrong id");
        }
        if envelope.verify().is_err() {
            return self.strike(link, "signature that does not fit");
        }
        self.mesh_input(Input::Gossip(Arrival {
            link,
            hops,
            pushed,
            has,
            message: Arc::new(Signed::new(&envelope, Arc::clone(&bytes))),
        }));
    }

    fn on_chunk(&mut self, link: LinkId, chunk: Chunk) {
        let Chunk {
            message,
            index,
            data,
        } = chunk;
        // One that comes late or twice is nobody's fault.
        let Some(signed) = self.mesh.manifest(&message) else {
            return;
        };
        let fits =
            Manifest::decode(signed.payload()).is_ok_and(|manifest| manifest.check(index, &data));
        if !fits {
            return self.strike(link, "piece that does not fit its manifest");
        }
        self.mesh_input(Input::Chunk {
            link,
            message,
            index,
            data,
        });
    }

    /// Encodes once, queues for each link.
    pub(super) fn send_frame(&mut self, links: &[LinkId], frame: &Frame, class: Class) {
        let frame = encode(frame);
        let mut dropped = 0;
        for link in links {
            if let Some(entry) = self.links.get(link) {
                dropped += entry.outbox.push(class, Arc::clone(&frame));
            }
        }
        self.count_dropped(dropped);
    }
}

fn encode(frame: &Frame) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes.into()
}

/// The frame of a goodbye.
pub(super) fn goodbye(goodbye: &Goodbye) -> Arc<[u8]> {
    let reason = match goodbye.reason {
        Reason::Full => GoodbyeReason::Full,
        Reason::Duplicate => GoodbyeReason::Duplicate,
        Reason::Protocol => GoodbyeReason::Protocol,
        Reason::Leaving => GoodbyeReason::Leaving,
        Reason::Split => GoodbyeReason::Split,
    };
    let peers = goodbye.peers.clone();
    encode(&frame::Goodbye { reason, peers }.into())
}
