//! Frames of neighbours as inputs for the mesh, and what the mesh sends as frames. The mesh cannot
//! check signatures, the hashes of pieces or those of sealed messages, so they are checked here.

use std::sync::Arc;

use easypeers_core::broadcast::Arrival;
use easypeers_core::mesh::{Goodbye, Input, LinkId, Mesh, Reason};
use easypeers_core::message::Signed;
use easypeers_core::time::Now;
use easypeers_proto::PeerId;
use easypeers_proto::crypto::envelope::{Envelope, Kind};
use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::crypto::seal;
use easypeers_proto::wire::frame::{self, Chunk, Frame, GoodbyeReason, Gossip, Pushed};

use super::bridged::is_bridged;

/// What a frame of a neighbour is.
#[derive(Debug)]
pub(super) enum Read {
    /// An input for the mesh.
    Input(Input),
    /// Nothing to do: the frame may be skipped, or is of no use any more.
    Skip,
    /// The neighbour closes the link, and names members to connect to instead.
    Goodbye(Vec<PeerId>),
    /// Not a frame: the link is to be closed.
    Malformed,
    /// A frame that only a peer that is not admitted yet may send: the link is to be closed.
    OutOfPlace,
    /// Something that the neighbour should have refused itself.
    Wrong(&'static str),
}

/// Decodes a frame that came over a link, and checks what it carries.
pub(super) fn read(link: LinkId, bytes: &[u8], now: Now, mesh: &Mesh) -> Read {
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::debug!(%error, "bad frame");
            return Read::Malformed;
        }
    };
    match frame {
        Frame::Gossip(gossip) => read_gossip(link, gossip, now, mesh),
        Frame::Chunk(chunk) => read_chunk(link, chunk, mesh),
        Frame::Goodbye(goodbye) => {
            tracing::debug!(reason = ?goodbye.reason, "neighbour says goodbye");
            Read::Goodbye(goodbye.peers)
        }
        Frame::Route(route) if seal::sealed_id(&route.sealed.body) != route.sealed.id => {
            Read::Wrong("sealed message under a wrong id")
        }
        Frame::Auth(_) => Read::OutOfPlace,
        // Of a newer version, which says that it may be skipped.
        Frame::Unknown(_) => Read::Skip,
        frame => Read::Input(Input::Frame { link, frame }),
    }
}

fn read_gossip(link: LinkId, gossip: Gossip, now: Now, mesh: &Mesh) -> Read {
    let Gossip {
        hops,
        pushed,
        has,
        envelope: bytes,
    } = gossip;
    let Ok(envelope) = Envelope::decode(&bytes) else {
        return Read::Wrong("malformed message");
    };
    let id = envelope.id();
    if mesh.knows(&id) {
        return Read::Input(Input::Duplicate { link, id, pushed });
    }
    let origin = envelope.from();
    if pushed != Pushed::Pulled && !mesh.is_within_rate(now, origin) {
        return Read::Input(Input::OverRate { link, origin });
    }
    match envelope.kind() {
        Kind::Broadcast | Kind::Beacon => {}
        Kind::Manifest if Manifest::decode(envelope.payload()).is_err() => {
            return Read::Wrong("malformed manifest");
        }
        Kind::Manifest => {}
        Kind::Bridged if !is_bridged(&id, envelope.payload()) => {
            return Read::Wrong("bridged message under a wrong id");
        }
        Kind::Bridged => {}
        _ => return Read::Wrong("no broadcast"),
    }
    if envelope.verify().is_err() {
        return Read::Wrong("signature that does not fit");
    }
    Read::Input(Input::Gossip(Arrival {
        link,
        hops,
        pushed,
        has,
        message: Arc::new(Signed::new(&envelope, Arc::clone(&bytes))),
    }))
}

fn read_chunk(link: LinkId, chunk: Chunk, mesh: &Mesh) -> Read {
    let Chunk {
        message,
        index,
        data,
    } = chunk;
    // A piece may arrive twice, or after the message was completed or given up.
    let Some(signed) = mesh.manifest(&message) else {
        return Read::Skip;
    };
    let fits =
        Manifest::decode(signed.payload()).is_ok_and(|manifest| manifest.check(index, &data));
    if !fits {
        return Read::Wrong("piece that does not fit its manifest");
    }
    Read::Input(Input::Chunk {
        link,
        message,
        index,
        data,
    })
}

/// Encodes a frame, once for all links.
pub(super) fn encode(frame: &Frame) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes.into()
}

/// The frame of a goodbye.
pub(super) fn encode_goodbye(goodbye: &Goodbye) -> Arc<[u8]> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use easypeers_core::mesh::Settings;
    use easypeers_core::rate::AUTHOR_RATE;
    use easypeers_proto::crypto::Identity;
    use easypeers_proto::crypto::envelope::{Content, Draft};

    use super::*;

    const LINK: LinkId = LinkId(1);
    const NOW_MS: u64 = 1_700_000_000_000;

    fn mesh() -> Mesh {
        let identity = Identity::from_seed(&[1; 32]);
        Mesh::new(Settings {
            me: identity.address(),
            keys: *identity.public(),
            started_ms: NOW_MS,
            max_peers: 6,
            rate: AUTHOR_RATE,
            history: Duration::ZERO,
            flip_interval: Duration::from_secs(1200),
            seed: 1,
        })
    }

    /// A message of another member.
    fn envelope(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let draft = Draft {
            kind,
            content: Content::Text,
            epoch: NOW_MS,
            sequence: 1,
            time_ms: NOW_MS,
            recipients: &[],
            nonce: [7; 8],
            payload,
        };
        draft.sign(&Identity::from_seed(&[2; 32]))
    }

    fn gossip(envelope: &[u8]) -> Arc<[u8]> {
        let gossip = Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            envelope: envelope.into(),
        };
        encode(&gossip.into())
    }

    #[test]
    fn a_signed_broadcast_is_gossip_and_an_altered_one_is_wrong() {
        let mesh = mesh();
        let mut envelope = envelope(Kind::Broadcast, b"hello");
        let good = read(LINK, &gossip(&envelope), Now::ZERO, &mesh);
        assert!(matches!(good, Read::Input(Input::Gossip(_))), "{good:?}");
        let last = envelope.len() - 1;
        envelope[last] ^= 1;
        let altered = read(LINK, &gossip(&envelope), Now::ZERO, &mesh);
        assert!(matches!(altered, Read::Wrong(_)), "{altered:?}");
    }

    #[test]
    fn signed_nonsense_is_wrong() {
        let mesh = mesh();
        for (kind, payload) in [
            (Kind::Manifest, &b"no manifest"[..]),
            (Kind::Bridged, &[0; 20]),
        ] {
            let frame = gossip(&envelope(kind, payload));
            let read = read(LINK, &frame, Now::ZERO, &mesh);
            assert!(matches!(read, Read::Wrong(_)), "{read:?}");
        }
    }

    #[test]
    fn a_goodbye_names_members_to_try() {
        let goodbye = Goodbye {
            reason: Reason::Full,
            peers: vec![PeerId::new([5; 20])],
        };
        let read = read(LINK, &encode_goodbye(&goodbye), Now::ZERO, &mesh());
        assert!(
            matches!(&read, Read::Goodbye(peers) if *peers == goodbye.peers),
            "{read:?}"
        );
    }

    #[test]
    fn frames_of_newer_versions_are_skipped_if_they_may_be() {
        let mesh = mesh();
        let skipped = read(LINK, &[0x7f, 0], Now::ZERO, &mesh);
        assert!(matches!(skipped, Read::Skip), "{skipped:?}");
        let malformed = read(LINK, &[0xff, 0], Now::ZERO, &mesh);
        assert!(matches!(malformed, Read::Malformed), "{malformed:?}");
    }
}
