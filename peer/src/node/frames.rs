//! Frames of neighbours to what the core understands, and back. What a core cannot check itself is
//! checked here: signatures, the hashes of pieces and of sealed bodies.

use std::sync::Arc;

use shared::MessageId;
use shared::crypto::envelope::{Envelope, Kind};
use shared::crypto::manifest::Manifest;
use shared::crypto::seal;
use shared::wire::frame::{Frame, GoodbyeReason, Ids, Indices, Marks, Pushed};

use super::compat::is_bridged;
use super::swarm::Swarm;
use crate::mesh::gossip::Arrival;
use crate::mesh::message::{Class, Digest, Need, Neighbor, Packet, Probe, Sealed, Signal, Signed};
use crate::mesh::{Goodbye, Input, LinkId, Reason};

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

pub(crate) fn frame(packet: &Packet) -> Frame<'_> {
    match packet {
        Packet::Neighbor(neighbor) => Frame::Neighbor {
            epoch: neighbor.epoch,
            links: neighbor.links,
            max_links: neighbor.max_links,
        },
        Packet::Need(need) => Frame::Need {
            id: need.id,
            from: need.from,
            hops: need.hops,
            purpose: need.purpose,
            missing: need.missing,
            course: need.course,
        },
        Packet::Signal(signal) => Frame::Signal {
            id: signal.id,
            kind: signal.kind,
            from: signal.from,
            to: signal.to,
            sdp: signal.sdp.as_bytes(),
        },
        Packet::Split { id, peer } => Frame::Split {
            id: *id,
            peer: *peer,
        },
        Packet::Shuffle {
            id,
            from,
            hops,
            peers,
        } => Frame::Shuffle {
            id: *id,
            from: *from,
            hops: *hops,
            peers: Ids::from(peers.as_slice()),
        },
        Packet::ShuffleReply { id, peers } => Frame::ShuffleReply {
            id: *id,
            peers: Ids::from(peers.as_slice()),
        },
        Packet::Flip { id, step, peer } => Frame::Flip {
            id: *id,
            step: *step,
            peer: *peer,
        },
        Packet::IHave { ids, pull } => Frame::IHave {
            ids: Ids::from(ids.as_slice()),
            pull: *pull,
        },
        Packet::Graft => Frame::Graft,
        Packet::Prune => Frame::Prune,
        Packet::Digest(digest) => Frame::Digest {
            from_ms: digest.from_ms,
            to_ms: digest.to_ms,
            count: digest.count,
            fold: digest.fold,
            reply: digest.reply,
            ids: Ids::from(digest.ids.as_slice()),
        },
        Packet::Pull(ids) => Frame::Pull {
            ids: Ids::from(ids.as_slice()),
        },
        Packet::Beacons(marks) => Frame::Beacons {
            marks: Marks::from(marks.as_slice()),
        },
        Packet::Gossip {
            hops,
            pushed,
            has,
            message,
        } => Frame::Gossip {
            hops: *hops,
            pushed: *pushed,
            has: Ids::from(has.as_slice()),
            envelope: &message.bytes,
        },
        Packet::ChunkRequest { message, indices } => Frame::ChunkRequest {
            message: *message,
            indices: Indices::from(indices.as_slice()),
        },
        Packet::Chunk {
            message,
            index,
            data,
        } => Frame::Chunk {
            message: *message,
            index: *index,
            data,
        },
        Packet::Route {
            hops,
            hop_limit,
            flood,
            sealed,
        } => Frame::Route {
            hops: *hops,
            hop_limit: *hop_limit,
            flood: *flood,
            id: sealed.id,
            from: sealed.from,
            to: sealed.to,
            body: &sealed.body,
        },
        Packet::Ack {
            id,
            from,
            to,
            hops,
            hop_limit,
            proof,
        } => Frame::Ack {
            id: *id,
            from: *from,
            to: *to,
            hops: *hops,
            hop_limit: *hop_limit,
            proof: *proof,
        },
        Packet::RouteError { id, from } => Frame::RouteError {
            id: *id,
            from: *from,
        },
        Packet::Who {
            id,
            to,
            hops,
            hop_limit,
        } => Frame::Who {
            id: *id,
            to: *to,
            hops: *hops,
            hop_limit: *hop_limit,
        },
        Packet::Keys { id, keys, hops } => Frame::Keys {
            id: *id,
            keys: *keys,
            hops: *hops,
        },
        Packet::Ping(probe) => Frame::Ping {
            token: probe.token,
            links: probe.links,
            lateness_ms: probe.lateness_ms,
        },
        Packet::Pong(probe) => Frame::Pong {
            token: probe.token,
            links: probe.links,
            lateness_ms: probe.lateness_ms,
        },
    }
}

/// The packet of a frame that needs no check here.
fn packet(frame: &Frame<'_>) -> Option<Packet> {
    Some(match *frame {
        Frame::Neighbor {
            epoch,
            links,
            max_links,
        } => Packet::Neighbor(Neighbor {
            epoch,
            links,
            max_links,
        }),
        Frame::Need {
            id,
            from,
            hops,
            purpose,
            missing,
            course,
        } => Packet::Need(Need {
            id,
            from,
            hops,
            purpose,
            missing,
            course,
        }),
        Frame::Signal {
            id,
            kind,
            from,
            to,
            sdp,
        } => Packet::Signal(Signal {
            id,
            kind,
            from,
            to,
            // Descriptions are ASCII; what is not fails its check where it is used.
            sdp: String::from_utf8_lossy(sdp).into(),
        }),
        Frame::Split { id, peer } => Packet::Split { id, peer },
        Frame::Shuffle {
            id,
            from,
            hops,
            ref peers,
        } => Packet::Shuffle {
            id,
            from,
            hops,
            peers: peers.iter().collect(),
        },
        Frame::ShuffleReply { id, ref peers } => Packet::ShuffleReply {
            id,
            peers: peers.iter().collect(),
        },
        Frame::Flip { id, step, peer } => Packet::Flip { id, step, peer },
        Frame::IHave { ref ids, pull } => Packet::IHave {
            ids: ids.iter().collect(),
            pull,
        },
        Frame::Graft => Packet::Graft,
        Frame::Prune => Packet::Prune,
        Frame::Digest {
            from_ms,
            to_ms,
            count,
            fold,
            reply,
            ref ids,
        } => Packet::Digest(Digest {
            from_ms,
            to_ms,
            count,
            fold,
            reply,
            ids: ids.iter().collect(),
        }),
        Frame::Pull { ref ids } => Packet::Pull(ids.iter().collect()),
        Frame::Beacons { ref marks } => Packet::Beacons(marks.iter().collect()),
        Frame::ChunkRequest {
            message,
            ref indices,
        } => Packet::ChunkRequest {
            message,
            indices: indices.iter().collect(),
        },
        Frame::Ack {
            id,
            from,
            to,
            hops,
            hop_limit,
            proof,
        } => Packet::Ack {
            id,
            from,
            to,
            hops,
            hop_limit,
            proof,
        },
        Frame::RouteError { id, from } => Packet::RouteError { id, from },
        Frame::Who {
            id,
            to,
            hops,
            hop_limit,
        } => Packet::Who {
            id,
            to,
            hops,
            hop_limit,
        },
        Frame::Keys { id, keys, hops } => Packet::Keys { id, keys, hops },
        Frame::Ping {
            token,
            links,
            lateness_ms,
        } => Packet::Ping(Probe {
            token,
            links,
            lateness_ms,
        }),
        Frame::Pong {
            token,
            links,
            lateness_ms,
        } => Packet::Pong(Probe {
            token,
            links,
            lateness_ms,
        }),
        _ => return None,
    })
}
