//! Large broadcasts: a manifest with the hash of every piece is passed on like any broadcast, and the
//! pieces are asked for from neighbours that passed it on. Each piece goes out as soon as it is here. A large message
//! flows through the mesh this way, and does not stop at every hop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::wire::frame::{Chunk, ChunkRequest};
use easypeers_proto::{MessageId, PeerId};

use super::{Output, send};
use crate::map::Map;
use crate::message::{Class, LinkId, Signed};
use crate::neighbors::Neighbors;
use crate::time::Now;

/// Large messages held at once, those under way and those kept for others. The oldest is dropped first.
const HELD: usize = 8;

/// Bytes of pieces held at once: two of the largest messages.
const HELD_BYTES: usize = 32 << 20;

/// How long a message is kept for others after it was last asked for.
const KEEP: Duration = Duration::from_secs(60);

/// Pieces of each message that are asked for and not here yet: 256 KiB, a quarter of what may wait for a
/// neighbour.
const WINDOW: usize = 16;

/// Time for a piece before it is asked for elsewhere.
const PATIENCE: Duration = Duration::from_secs(4);

/// A message without any new piece for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Requests from neighbours that wait for a piece which is not here yet.
const WAITING: usize = 4096;

#[derive(Debug, Clone)]
enum Piece {
    Missing,
    Asked { link: LinkId, at: Now },
    Here(Arc<[u8]>),
}

#[derive(Debug)]
struct LargeMessage {
    message: Arc<Signed>,
    hops: u8,
    size: usize,
    pieces: Vec<Piece>,
    here: usize,
    /// Neighbours that have it or are getting it. Only the first is asked: the neighbours that were first to pass
    /// a manifest on form a tree with its author as the root, where nobody waits in a circle. The others step
    /// in when it fails.
    sources: VecDeque<LinkId>,
    /// Neighbours that wait for a piece.
    waiting: Vec<(LinkId, u32)>,
    used: Now,
    delivered: bool,
}

/// What became of a piece.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) forwarded: u64,
    pub(super) duplicate: bool,
    pub(super) rejected: bool,
    pub(super) delivered: bool,
}

/// What became of a request for pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) forwarded: u64,
    pub(super) rejected: u64,
}

/// Large messages under way, and those kept for others.
#[derive(Debug, Default)]
pub(super) struct LargeMessages {
    held: Map<MessageId, LargeMessage>,
}

impl LargeMessages {
    pub(super) fn deadline(&self) -> Option<Now> {
        self.held.values().map(LargeMessage::deadline).min()
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        for held in self.held.values_mut() {
            held.sources.retain(|source| *source != link);
            held.waiting.retain(|(waiting, _)| *waiting != link);
            held.release(link);
        }
    }

    /// The manifest of a message that is under way, to check its pieces with.
    pub(super) fn manifest(&self, id: &MessageId) -> Option<&Arc<Signed>> {
        let held = self.held.get(id).filter(|held| !held.delivered);
        held.map(|held| &held.message)
    }

    /// A manifest came along this link. `false` if it is malformed.
    pub(super) fn start(
        &mut self,
        now: Now,
        link: LinkId,
        hops: u8,
        message: &Arc<Signed>,
        out: &mut Vec<Output>,
    ) -> bool {
        let Ok(manifest) = Manifest::decode(message.payload()) else {
            return false;
        };
        let held = LargeMessage {
            message: Arc::clone(message),
            hops,
            size: manifest.size(),
            pieces: vec![Piece::Missing; manifest.chunks()],
            here: 0,
            sources: VecDeque::from([link]),
            waiting: Vec::new(),
            used: now,
            delivered: false,
        };
        self.hold(message.id, held);
        self.request(now, message.id, out);
        true
    }

    /// Keeps the pieces of our own message.
    pub(super) fn keep(&mut self, now: Now, message: &Arc<Signed>, chunks: Vec<Arc<[u8]>>) {
        let held = LargeMessage {
            message: Arc::clone(message),
            hops: 0,
            size: chunks.iter().map(|chunk| chunk.len()).sum(),
            here: chunks.len(),
            pieces: chunks.into_iter().map(Piece::Here).collect(),
            sources: VecDeque::new(),
            waiting: Vec::new(),
            used: now,
            delivered: true,
        };
        self.hold(message.id, held);
    }

    fn hold(&mut self, id: MessageId, held: LargeMessage) {
        let all = &mut self.held;
        all.insert(id, held);
        while all.len() > HELD || all.values().map(|held| held.size).sum::<usize>() > HELD_BYTES {
            // Complete messages are dropped before those under way, the longest unused first.
            let oldest = all
                .iter()
                .filter(|(other, _)| **other != id)
                .min_by_key(|(_, held)| (!held.delivered, held.used))
                .map(|(other, _)| *other);
            let Some(oldest) = oldest else { break };
            all.remove(&oldest);
        }
    }

    /// Another neighbour has passed the manifest on.
    pub(super) fn add_source(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        out: &mut Vec<Output>,
    ) {
        if let Some(held) = self.held.get_mut(&id)
            && !held.delivered
            && !held.sources.contains(&link)
        {
            held.sources.push_back(link);
            self.request(now, id, out);
        }
    }

    /// A piece that fits its manifest is here.
    pub(super) fn on_chunk(&mut self, now: Now, chunk: Chunk, out: &mut Vec<Output>) -> Taken {
        let mut taken = Taken::default();
        let Chunk {
            message,
            index,
            data,
        } = chunk;
        let held = self.held.get_mut(&message);
        let piece = held.and_then(|held| {
            let piece = held.pieces.get_mut(index as usize)?;
            Some((piece, &mut held.here, &mut held.used, &mut held.waiting))
        });
        let Some((piece, here, used, waiting)) = piece else {
            taken.rejected = true;
            return taken;
        };
        if matches!(piece, Piece::Here(_)) {
            taken.duplicate = true;
            return taken;
        }
        *piece = Piece::Here(Arc::clone(&data));
        *here += 1;
        *used = now;
        let mut links = Vec::new();
        waiting.retain(|(waiting, wanted)| {
            if *wanted == index {
                links.push(*waiting);
            }
            *wanted != index
        });
        taken.forwarded = links.len() as u64;
        if !links.is_empty() {
            let chunk = Chunk {
                message,
                index,
                data,
            };
            out.push(Output::Send {
                links,
                frame: chunk.into(),
                class: Class::ForwardedBulk,
            });
        }
        self.request(now, message, out);
        taken.delivered = self.finish(message, out);
        taken
    }

    fn finish(&mut self, id: MessageId, out: &mut Vec<Output>) -> bool {
        let Some(held) = self.held.get_mut(&id) else {
            return false;
        };
        if held.delivered || held.here < held.pieces.len() {
            return false;
        }
        held.delivered = true;
        let mut data = Vec::with_capacity(held.size);
        for piece in &held.pieces {
            if let Piece::Here(bytes) = piece {
                data.extend_from_slice(bytes);
            }
        }
        out.push(Output::DeliverLarge {
            message: Arc::clone(&held.message),
            hops: held.hops,
            data,
        });
        true
    }

    /// A neighbour asks for pieces. Those that are not here yet follow later.
    pub(super) fn on_request(
        &mut self,
        me: PeerId,
        link: LinkId,
        request: &ChunkRequest,
        out: &mut Vec<Output>,
    ) -> Served {
        let mut served = Served::default();
        let message = request.message;
        let Some(held) = self.held.get_mut(&message) else {
            return served;
        };
        let ours = held.message.origin == me;
        for &index in &request.indices {
            match held.pieces.get(index as usize) {
                Some(Piece::Here(data)) => {
                    let chunk = Chunk {
                        message,
                        index,
                        data: Arc::clone(data),
                    };
                    served.forwarded += u64::from(!ours);
                    out.push(Output::Send {
                        links: vec![link],
                        frame: chunk.into(),
                        class: if ours {
                            Class::OwnBulk
                        } else {
                            Class::ForwardedBulk
                        },
                    });
                }
                Some(_) if held.waiting.len() < WAITING => held.waiting.push((link, index)),
                _ => served.rejected += 1,
            }
        }
        served
    }

    fn request(&mut self, now: Now, message: MessageId, out: &mut Vec<Output>) {
        let held = self.held.get_mut(&message);
        if let Some((link, indices)) = held.and_then(|held| held.ask(now)) {
            out.push(send(link, ChunkRequest { message, indices }));
        }
    }

    /// Asks elsewhere for what did not come, and drops what is no longer needed.
    pub(super) fn on_timeout(&mut self, now: Now, neighbors: &Neighbors, out: &mut Vec<Output>) {
        let due: Vec<MessageId> = (self.held.iter())
            .filter(|(_, held)| held.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(held) = self.held.get_mut(&id) else {
                continue;
            };
            let age = if held.delivered { KEEP } else { GIVE_UP };
            if now >= held.used + age {
                self.held.remove(&id);
                continue;
            }
            if held.release_late(now) {
                // A neighbour that has passed nothing on may have been given it by others since.
                let others = (neighbors.mesh_links())
                    .map(|(id, _)| id)
                    .filter(|link| !held.sources.contains(link))
                    .collect::<Vec<_>>();
                held.sources.extend(others);
                held.sources.rotate_left(1);
            }
            self.request(now, id, out);
        }
    }
}

impl LargeMessage {
    fn deadline(&self) -> Now {
        let asked = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Asked { at, .. } => Some(*at + PATIENCE),
            Piece::Missing | Piece::Here(_) => None,
        });
        let end = self.used + if self.delivered { KEEP } else { GIVE_UP };
        asked.chain([end]).min().unwrap_or(end)
    }

    /// What was asked of this link is missing again.
    fn release(&mut self, from: LinkId) {
        for piece in &mut self.pieces {
            if matches!(piece, Piece::Asked { link, .. } if *link == from) {
                *piece = Piece::Missing;
            }
        }
    }

    /// What did not come in time is missing again. Whether there was any.
    fn release_late(&mut self, now: Now) -> bool {
        let mut late = false;
        for piece in &mut self.pieces {
            if matches!(piece, Piece::Asked { at, .. } if now >= *at + PATIENCE) {
                *piece = Piece::Missing;
                late = true;
            }
        }
        late
    }

    /// Pieces to ask for now, and the link to ask along.
    fn ask(&mut self, now: Now) -> Option<(LinkId, Vec<u32>)> {
        let link = *self.sources.front()?;
        let asked = (self.pieces.iter())
            .filter(|piece| matches!(piece, Piece::Asked { .. }))
            .count();
        let mut indices = Vec::new();
        for (index, piece) in (0u32..).zip(&mut self.pieces) {
            if asked + indices.len() >= WINDOW {
                break;
            }
            if matches!(piece, Piece::Missing) {
                *piece = Piece::Asked { link, at: now };
                indices.push(index);
            }
        }
        (!indices.is_empty()).then_some((link, indices))
    }
}

#[cfg(test)]
mod tests {
    use easypeers_proto::crypto::manifest::CHUNK;

    use super::*;
    use crate::testing::signed;

    fn large(pieces: usize) -> (Arc<Signed>, Vec<Arc<[u8]>>) {
        let data = vec![7; CHUNK * pieces];
        let message = signed(1, &Manifest::encode(&data));
        (message, data.chunks(CHUNK).map(Arc::from).collect())
    }

    fn asked(out: &mut Vec<Output>) -> Vec<(LinkId, usize)> {
        use easypeers_proto::wire::frame::Frame;
        let requests = out.drain(..).filter_map(|output| match output {
            Output::Send {
                links,
                frame: Frame::ChunkRequest(request),
                ..
            } => Some((links[0], request.indices.len())),
            _ => None,
        });
        requests.collect()
    }

    #[test]
    fn pieces_are_asked_for_in_a_window_and_passed_on_to_those_that_wait() {
        let (message, chunks) = large(40);
        let (mut all, mut out) = (LargeMessages::default(), Vec::new());
        let (source, other) = (LinkId(1), LinkId(2));
        assert!(all.start(Now::ZERO, source, 1, &message, &mut out));
        assert_eq!(asked(&mut out), [(source, WINDOW)]);
        let request = ChunkRequest {
            message: message.id,
            indices: vec![0],
        };
        let me = PeerId::new([9; 20]);
        assert_eq!(
            all.on_request(me, other, &request, &mut out),
            Served::default()
        );
        let mut forwarded = 0;
        for (index, data) in (0u32..).zip(chunks) {
            let chunk = Chunk {
                message: message.id,
                index,
                data,
            };
            let taken = all.on_chunk(Now::ZERO, chunk.clone(), &mut out);
            forwarded += taken.forwarded;
            assert_eq!(taken.delivered, index == 39);
            assert!(all.on_chunk(Now::ZERO, chunk, &mut out).duplicate);
        }
        assert_eq!(forwarded, 1);
        assert!(
            matches!(out.last(), Some(Output::DeliverLarge { data, .. }) if data.len() == 40 * CHUNK)
        );
        assert!(all.manifest(&message.id).is_none(), "it is complete");
    }

    #[test]
    fn another_neighbour_is_asked_when_the_first_is_lost() {
        let (message, _) = large(4);
        let (mut all, mut out) = (LargeMessages::default(), Vec::new());
        all.start(Now::ZERO, LinkId(1), 1, &message, &mut out);
        all.add_source(Now::ZERO, LinkId(2), message.id, &mut out);
        assert_eq!(asked(&mut out), [(LinkId(1), 4)]);
        all.forget_link(LinkId(1));
        all.add_source(Now::ZERO, LinkId(3), message.id, &mut out);
        assert_eq!(asked(&mut out), [(LinkId(2), 4)]);
    }

    #[test]
    fn only_so_many_large_messages_are_held() {
        let (mut all, mut out) = (LargeMessages::default(), Vec::new());
        for at in 0..20 {
            let message = signed(at, &Manifest::encode(&vec![7; CHUNK * 2]));
            all.start(Now::ZERO, LinkId(1), 1, &message, &mut out);
        }
        assert_eq!(all.held.len(), HELD);
    }
}
