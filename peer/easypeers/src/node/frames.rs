//! Frames of neighbours to what the core understands, and back. What a core cannot check itself is
//! checked here: signatures, the hashes of pieces and of sealed bodies.

use std::sync::Arc;

use easypeers_proto::MessageId;
use easypeers_proto::crypto::envelope::{Envelope, Kind};
use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::crypto::seal;
use easypeers_proto::wire::frame::{Frame, GoodbyeReason, Ids, Pushed};

use super::compat::is_bridged;
use super::swarm::Swarm;
use easypeers_core::mesh::frames::{frame, packet};
use easypeers_core::mesh::gossip::Arrival;
use easypeers_core::mesh::message::{Class, Packet, Sealed, Signed};
use easypeers_core::mesh::{Goodbye, Input, LinkId, Reason};

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
        let packet = match frame {
            Frame::Gossip {
                hops,
                pushed,
                has,
                envelope,
            } => return self.on_gossip(link, hops, pushed, &has, envelope),
            Frame::Chunk {
                message,
                index,
                data,
            } => return self.on_chunk(link, message, index, data),
            Frame::Goodbye { reason, peers } => {
                tracing::debug!(?reason, "neighbour says goodbye");
                self.mesh_input(Input::Hints(peers.iter().collect()));
                return self.close_link(link, None);
            }
            Frame::Route {
                hops,
                hop_limit,
                flood,
                id,
                from,
                to,
                body,
            } => {
                if seal::sealed_id(body) != id {
                    return self.strike(link, "sealed message under a wrong id");
                }
                let sealed = Arc::new(Sealed {
                    id,
                    from,
                    to,
                    body: body.into(),
                });
                Packet::Route {
                    hops,
                    hop_limit,
                    flood,
                    sealed,
                }
            }
            // Sent once, before admission.
            Frame::Auth(_) => return self.close_link(link, Some(Reason::Protocol)),
            frame => match packet(&frame) {
                Some(packet) => packet,
                // Of a newer version, which says that it may be skipped.
                None => return,
            },
        };
        self.mesh_input(Input::Packet { link, packet });
    }

    fn on_gossip(&mut self, link: LinkId, hops: u8, pushed: Pushed, has: &Ids<'_>, bytes: &[u8]) {
        let Ok(envelope) = Envelope::decode(bytes) else {
            return self.strike(link, "malformed message");
        };
        let id = envelope.id();
        if self.mesh.knows(&id) {
            return self.mesh_input(Input::Duplicate { link, id, pushed });
        }
        let origin = envelope.from();
        if pushed != Pushed::Pulled && !self.mesh.is_within_rate(self.clock.now(), origin) {
            return self.mesh_input(Input::Excess { link, origin });
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
            has: has.iter().collect(),
            message: Arc::new(Signed::new(&envelope, bytes.into())),
        }));
    }

    fn on_chunk(&mut self, link: LinkId, message: MessageId, index: u32, data: &[u8]) {
        // One that comes late or twice is nobody's fault.
        let Some(signed) = self.mesh.manifest(&message) else {
            return;
        };
        let fits =
            Manifest::decode(signed.payload()).is_ok_and(|manifest| manifest.check(index, data));
        if !fits {
            return self.strike(link, "piece that does not fit its manifest");
        }
        self.mesh_input(Input::Chunk {
            link,
            message,
            index,
            data: data.into(),
        });
    }

    /// Encodes once, queues for each link.
    pub(super) fn send_packet(&mut self, links: &[LinkId], packet: &Packet, class: Class) {
        let frame = encode(&frame(packet));
        let mut dropped = 0;
        for link in links {
            if let Some(entry) = self.links.get(link) {
                dropped += entry.outbox.push(class, Arc::clone(&frame));
            }
        }
        self.count_dropped(dropped);
    }
}

fn encode(frame: &Frame<'_>) -> Arc<[u8]> {
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
    encode(&Frame::Goodbye {
        reason,
        peers: Ids::from(goodbye.peers.as_slice()),
    })
}
