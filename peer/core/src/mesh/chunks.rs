//! Large broadcasts: a manifest with the hash of every piece is passed on like any broadcast, the
//! pieces are asked for from neighbours that passed it on. A piece goes out as soon as it is here,
//! so that a large message flows through the mesh instead of stopping at every hop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::wire::frame::{Chunk, ChunkRequest};

use super::message::{Class, Signed};
use super::{LinkId, Mesh, Now, Output};
use crate::map::Map;

/// Large messages held at once, those under way and those kept for others. The oldest goes first.
const HELD: usize = 8;

/// Bytes of pieces held at once: two of the largest messages.
const HELD_BYTES: usize = 32 << 20;

/// How long a message is kept for others after it was last asked for.
const KEEP: Duration = Duration::from_secs(60);

/// Pieces asked for and not here yet, for each message: 256 KiB, a quarter of what may wait for a
/// neighbour.
const WINDOW: usize = 16;

/// Time for a piece before it is asked for elsewhere.
const PATIENCE: Duration = Duration::from_secs(4);

/// Without any new piece for so long, a message is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// Requests of others that wait for a piece which is not here yet.
const WAITING: usize = 4096;

#[derive(Debug, Clone)]
enum Piece {
    Missing,
    Asked { link: LinkId, at: Now },
    Here(Arc<[u8]>),
}

#[derive(Debug)]
struct Held {
    message: Arc<Signed>,
    hops: u8,
    size: usize,
    pieces: Vec<Piece>,
    here: usize,
    /// Neighbours that have it or are getting it. Only the first is asked: the neighbours that first
    /// passed a manifest on form a tree with its author as the root, so nobody waits in a circle.
    /// The others step in when it fails.
    sources: VecDeque<LinkId>,
    /// Who waits for which piece.
    waiting: Vec<(LinkId, u32)>,
    used: Now,
    delivered: bool,
}

#[derive(Debug)]
pub(super) struct Chunks {
    held: Map<MessageId, Held>,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self {
            held: Map::default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.held.values().map(Held::deadline).min()
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        for held in self.held.values_mut() {
            held.sources.retain(|source| *source != link);
            held.waiting.retain(|(waiting, _)| *waiting != link);
            held.release(link);
        }
    }
}

impl Held {
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

    /// Pieces to ask for now, and of whom.
    fn ask(&mut self, now: Now) -> Option<(LinkId, Vec<u32>)> {
        let link = *self.sources.front()?;
        let asked = self
            .pieces
            .iter()
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

impl Mesh {
    /// The manifest of a large message that is under way, to check its pieces with.
    pub fn manifest(&self, id: &MessageId) -> Option<&Arc<Signed>> {
        self.chunks
            .held
            .get(id)
            .filter(|held| !held.delivered)
            .map(|held| &held.message)
    }

    pub(super) fn start_download(
        &mut self,
        now: Now,
        link: LinkId,
        hops: u8,
        message: &Arc<Signed>,
    ) {
        let Ok(manifest) = Manifest::decode(message.payload()) else {
            self.counters.rejected += 1;
            return;
        };
        let held = Held {
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
        self.request_chunks(now, message.id);
    }

    /// Keeps the pieces of our own message.
    pub(super) fn keep_chunks(&mut self, now: Now, message: &Arc<Signed>, chunks: Vec<Arc<[u8]>>) {
        let held = Held {
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

    fn hold(&mut self, id: MessageId, held: Held) {
        let all = &mut self.chunks.held;
        all.insert(id, held);
        while all.len() > HELD || all.values().map(|held| held.size).sum::<usize>() > HELD_BYTES {
            // What is complete goes before what is under way, the longest unused first.
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
    pub(super) fn add_source(&mut self, now: Now, link: LinkId, id: MessageId) {
        if let Some(held) = self.chunks.held.get_mut(&id)
            && !held.delivered
            && !held.sources.contains(&link)
        {
            held.sources.push_back(link);
            self.request_chunks(now, id);
        }
    }

    pub(super) fn on_chunk(
        &mut self,
        now: Now,
        link: LinkId,
        message: MessageId,
        index: u32,
        data: Arc<[u8]>,
    ) {
        if let Some(state) = self.links.get_mut(&link) {
            state.heard(now);
        }
        let Some(held) = self.chunks.held.get_mut(&message) else {
            self.counters.rejected += 1;
            return;
        };
        let Some(piece) = held.pieces.get_mut(index as usize) else {
            self.counters.rejected += 1;
            return;
        };
        if matches!(piece, Piece::Here(_)) {
            self.counters.duplicates += 1;
            return;
        }
        *piece = Piece::Here(Arc::clone(&data));
        held.here += 1;
        held.used = now;
        let mut links = Vec::new();
        held.waiting.retain(|(waiting, wanted)| {
            if *wanted == index {
                links.push(*waiting);
            }
            *wanted != index
        });
        self.counters.forwarded += links.len() as u64;
        let chunk = Chunk {
            message,
            index,
            data,
        };
        self.send(links, chunk, Class::ForwardedBulk);
        self.request_chunks(now, message);
        self.finish_download(message);
    }

    fn finish_download(&mut self, id: MessageId) {
        let Some(held) = self.chunks.held.get_mut(&id) else {
            return;
        };
        if held.delivered || held.here < held.pieces.len() {
            return;
        }
        held.delivered = true;
        let mut data = Vec::with_capacity(held.size);
        for piece in &held.pieces {
            if let Piece::Here(bytes) = piece {
                data.extend_from_slice(bytes);
            }
        }
        self.counters.delivered += 1;
        self.out.push_back(Output::DeliverLarge {
            message: Arc::clone(&held.message),
            hops: held.hops,
            data,
        });
    }

    pub(super) fn on_chunk_request(&mut self, link: LinkId, message: MessageId, indices: &[u32]) {
        let Some(held) = self.chunks.held.get_mut(&message) else {
            return;
        };
        let mut ready = Vec::new();
        for &index in indices {
            match held.pieces.get(index as usize) {
                Some(Piece::Here(data)) => ready.push((index, Arc::clone(data))),
                Some(_) if held.waiting.len() < WAITING => held.waiting.push((link, index)),
                _ => self.counters.rejected += 1,
            }
        }
        let class = if held.message.origin == self.settings.me {
            Class::OwnBulk
        } else {
            self.counters.forwarded += ready.len() as u64;
            Class::ForwardedBulk
        };
        for (index, data) in ready {
            let chunk = Chunk {
                message,
                index,
                data,
            };
            self.send(vec![link], chunk, class);
        }
    }

    fn request_chunks(&mut self, now: Now, message: MessageId) {
        let Some(held) = self.chunks.held.get_mut(&message) else {
            return;
        };
        if let Some((link, indices)) = held.ask(now) {
            self.send_control(link, ChunkRequest { message, indices });
        }
    }

    /// Asks elsewhere for what did not come, and lets go of what is no longer needed.
    pub(super) fn retry_chunks(&mut self, now: Now) {
        let due: Vec<MessageId> = self
            .chunks
            .held
            .iter()
            .filter(|(_, held)| held.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        let neighbors: Vec<LinkId> = self.mesh_links().map(|(id, _)| id).collect();
        for id in due {
            let Some(held) = self.chunks.held.get_mut(&id) else {
                continue;
            };
            let age = if held.delivered { KEEP } else { GIVE_UP };
            if now >= held.used + age {
                self.chunks.held.remove(&id);
                continue;
            }
            let mut late = false;
            for piece in &mut held.pieces {
                if matches!(piece, Piece::Asked { at, .. } if now >= *at + PATIENCE) {
                    *piece = Piece::Missing;
                    late = true;
                }
            }
            if late {
                // Whoever has passed nothing on may still have been given it by others since.
                let strangers = neighbors
                    .iter()
                    .filter(|link| !held.sources.contains(link))
                    .copied()
                    .collect::<Vec<_>>();
                held.sources.extend(strangers);
                held.sources.rotate_left(1);
            }
            self.request_chunks(now, id);
        }
    }
}
