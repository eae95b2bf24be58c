//! Packets as frames, and back.

use easypeers_proto::wire::frame::{Frame, Ids, Indices, Marks};

use super::message::{Digest, Need, Neighbor, Packet, Probe, Signal};

pub fn frame(packet: &Packet) -> Frame<'_> {
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
pub fn packet(frame: &Frame<'_>) -> Option<Packet> {
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
