//! What the nodes of a tracker cluster tell each other: frames on a message bus, and entries in a
//! shared directory of swarms and nodes.
//!
//! A frame is a version byte, a kind, the sending node and the fields of its kind. Numbers are big
//! endian. Session descriptions are carried as the JSON text that the client sent. A reader of the bus
//! does not trust it: sizes are limited and descriptions are checked to be JSON.
//!
//! ```text
//! frame  = version(1) kind(1) node(8) body
//! offers = info hash(20) peer(20) flags(1) count(1) count * (offer id(20) length(4) description)
//! answer = info hash(20) peer(20) to(20) offer id(20) description
//! ping   = nonce(8)
//! leave  =
//! counts = version(1) complete(4) incomplete(4) expires(4)
//! status = version(1) heartbeat(8) started(8) peers(8)
//! ```

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use crate::limits::MAX_OFFERS;
use crate::tracker::is_description;
use crate::{InfoHash, OfferId, PeerId};

/// The version of frames and entries that this build writes and reads.
pub const VERSION: u8 = 1;

/// Largest frame in bytes. By default a client's message has at most 128 KiB, and its offers are divided
/// among the nodes. A tracker that is configured to accept larger messages drops what does not fit.
pub const MAX_FRAME: usize = 4 << 20;

const KIND_OFFERS: u8 = 1;
const KIND_ANSWER: u8 = 2;
const KIND_PING: u8 = 3;
const KIND_LEAVE: u8 = 4;

/// Flag of offers that are for leechers only, because a seeder made them.
const FLAG_INCOMPLETE_ONLY: u8 = 1;

/// Names a node, 8 bytes. A node draws a new one each time it starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    /// The node with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The 8 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Reads 8 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = FrameError;

    /// Reads 16 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, FrameError> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(digits) {
            return Err(FrameError::Malformed);
        }
        let number = u64::from_str_radix(text, 16);
        number.map(Self).map_err(|_| FrameError::Malformed)
    }
}

/// Why bytes are not a frame or an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Written in another version of the format.
    #[error("version {0} is not known")]
    Version(u8),
    /// A kind that this version does not have.
    #[error("kind {0} is not known")]
    Kind(u8),
    /// Larger than [`MAX_FRAME`].
    #[error("larger than {MAX_FRAME} bytes")]
    TooLarge,
    /// Cut off, followed by more bytes, or with a field out of range.
    #[error("malformed")]
    Malformed,
    /// A session description that is not a JSON object with `type` and `sdp`.
    #[error("a session description is not an object with type and sdp")]
    Description,
}

/// An offer that is relayed to another node.
#[derive(Debug, Clone, Copy)]
pub struct RelayedOffer<'a> {
    /// Chosen by the offering peer. The answer repeats it.
    pub offer_id: OfferId,
    /// The session description, byte for byte.
    pub offer: &'a RawValue,
}

/// Offers for random peers of the receiving node.
#[derive(Debug, Clone)]
pub struct Offers<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer that made the offers. It must not get one of them itself.
    pub peer_id: PeerId,
    /// Whether the offers are for leechers only, because a seeder made them.
    pub incomplete_only: bool,
    /// 1 to [`MAX_OFFERS`] offers.
    pub offers: Vec<RelayedOffer<'a>>,
}

/// An answer to an offer that a peer of the receiving node made.
#[derive(Debug, Clone, Copy)]
pub struct RelayedAnswer<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer that answers.
    pub peer_id: PeerId,
    /// The peer that made the offer, which gets the answer.
    pub to_peer_id: PeerId,
    /// The offer that is answered.
    pub offer_id: OfferId,
    /// The session description, byte for byte.
    pub answer: &'a RawValue,
}

/// The content of a frame.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Offers for peers of the receiver.
    Offers(Offers<'a>),
    /// An answer to an offer that the receiver sent.
    Answer(RelayedAnswer<'a>),
    /// Sent by a node to itself to check that the bus works, and to the others as a sign of life. Holds
    /// a nonce.
    Ping(u64),
    /// The sender accepts no more offers. It still accepts answers.
    Leave,
}

/// A frame.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// The node that sent it.
    pub node: NodeId,
    /// The content.
    pub body: Body<'a>,
}

/// The kind of a frame, read from its first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// See [`Body::Offers`].
    Offers,
    /// See [`Body::Answer`].
    Answer,
    /// See [`Body::Ping`].
    Ping,
    /// See [`Body::Leave`].
    Leave,
}

impl FrameKind {
    /// Looks at the length and the first two bytes only. The rest may still be malformed.
    ///
    /// # Errors
    /// [`FrameError::Version`], [`FrameError::Kind`] or [`FrameError::TooLarge`]. With fewer than two
    /// bytes [`FrameError::Malformed`].
    pub fn of(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.len() > MAX_FRAME {
            return Err(FrameError::TooLarge);
        }
        let (&version, rest) = bytes.split_first().ok_or(FrameError::Malformed)?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        match *rest.first().ok_or(FrameError::Malformed)? {
            KIND_OFFERS => Ok(Self::Offers),
            KIND_ANSWER => Ok(Self::Answer),
            KIND_PING => Ok(Self::Ping),
            KIND_LEAVE => Ok(Self::Leave),
            kind => Err(FrameError::Kind(kind)),
        }
    }
}

impl<'a> Frame<'a> {
    /// The bytes of the frame.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`], or [`FrameError::Malformed`] if there are no offers or more than
    /// [`MAX_OFFERS`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let (kind, room) = match &self.body {
            Body::Offers(offers) => {
                let lengths = offers.offers.iter().map(|o| 24 + o.offer.get().len());
                (KIND_OFFERS, 42 + lengths.sum::<usize>())
            }
            Body::Answer(answer) => (KIND_ANSWER, 80 + answer.answer.get().len()),
            Body::Ping(_) => (KIND_PING, 8),
            Body::Leave => (KIND_LEAVE, 0),
        };
        if room + 10 > MAX_FRAME {
            return Err(FrameError::TooLarge);
        }
        let mut out = Vec::with_capacity(room + 10);
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&self.node.to_bytes());
        match &self.body {
            Body::Offers(offers) => {
                let count = offers.offers.len();
                if count == 0 || count > MAX_OFFERS {
                    return Err(FrameError::Malformed);
                }
                out.extend_from_slice(offers.info_hash.as_bytes());
                out.extend_from_slice(offers.peer_id.as_bytes());
                out.push(match offers.incomplete_only {
                    true => FLAG_INCOMPLETE_ONLY,
                    false => 0,
                });
                out.push(count as u8);
                for offer in &offers.offers {
                    let text = offer.offer.get().as_bytes();
                    out.extend_from_slice(offer.offer_id.as_bytes());
                    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                    out.extend_from_slice(text);
                }
            }
            Body::Answer(answer) => {
                out.extend_from_slice(answer.info_hash.as_bytes());
                out.extend_from_slice(answer.peer_id.as_bytes());
                out.extend_from_slice(answer.to_peer_id.as_bytes());
                out.extend_from_slice(answer.offer_id.as_bytes());
                out.extend_from_slice(answer.answer.get().as_bytes());
            }
            Body::Ping(nonce) => out.extend_from_slice(&nonce.to_be_bytes()),
            Body::Leave => {}
        }
        Ok(out)
    }

    /// Reads a frame. All bytes must belong to it.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let kind = FrameKind::of(bytes)?;
        let mut rest = Reader(&bytes[2..]);
        let node = NodeId(u64::from_be_bytes(rest.array()?));
        let body = match kind {
            FrameKind::Offers => Body::Offers(rest.offers()?),
            FrameKind::Answer => Body::Answer(RelayedAnswer {
                info_hash: InfoHash::new(rest.array()?),
                peer_id: PeerId::new(rest.array()?),
                to_peer_id: PeerId::new(rest.array()?),
                offer_id: OfferId::new(rest.array()?),
                answer: rest.description(rest.0.len())?,
            }),
            FrameKind::Ping => Body::Ping(u64::from_be_bytes(rest.array()?)),
            FrameKind::Leave => Body::Leave,
        };
        match rest.0.is_empty() {
            true => Ok(Self { node, body }),
            false => Err(FrameError::Malformed),
        }
    }
}

/// Reads fields one after another.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let split = self.0.split_at_checked(length);
        let (taken, rest) = split.ok_or(FrameError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn description(&mut self, length: usize) -> Result<&'a RawValue, FrameError> {
        let text = str::from_utf8(self.take(length)?).map_err(|_| FrameError::Description)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| FrameError::Description)?;
        // White space around it would be lost when the frame is encoded again.
        if raw.get().len() != text.len() || !is_description(raw) {
            return Err(FrameError::Description);
        }
        Ok(raw)
    }

    fn offers(&mut self) -> Result<Offers<'a>, FrameError> {
        let info_hash = InfoHash::new(self.array()?);
        let peer_id = PeerId::new(self.array()?);
        let [flags, count] = self.array()?;
        if flags > FLAG_INCOMPLETE_ONLY || count == 0 || usize::from(count) > MAX_OFFERS {
            return Err(FrameError::Malformed);
        }
        let mut offers = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let offer_id = OfferId::new(self.array()?);
            let length = u32::from_be_bytes(self.array()?) as usize;
            let offer = self.description(length)?;
            offers.push(RelayedOffer { offer_id, offer });
        }
        Ok(Offers {
            info_hash,
            peer_id,
            incomplete_only: flags == FLAG_INCOMPLETE_ONLY,
            offers,
        })
    }
}

/// The directory's entry of one swarm at one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Number of seeders.
    pub complete: u32,
    /// Number of leechers.
    pub incomplete: u32,
    /// When the entry expires, in seconds of the directory's own clock.
    pub expires_s: u32,
}

impl Counts {
    /// The 13 bytes of the entry.
    #[must_use]
    pub fn encode(&self) -> [u8; 13] {
        let mut out = [VERSION; 13];
        out[1..5].copy_from_slice(&self.complete.to_be_bytes());
        out[5..9].copy_from_slice(&self.incomplete.to_be_bytes());
        out[9..].copy_from_slice(&self.expires_s.to_be_bytes());
        out
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`FrameError::Version`] or [`FrameError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Reader(versioned(bytes)?);
        let counts = Self {
            complete: u32::from_be_bytes(rest.array()?),
            incomplete: u32::from_be_bytes(rest.array()?),
            expires_s: u32::from_be_bytes(rest.array()?),
        };
        match rest.0.is_empty() {
            true => Ok(counts),
            false => Err(FrameError::Malformed),
        }
    }
}

/// The directory's entry of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// Grows each time the node writes this entry. A node is alive as long as it grows.
    pub heartbeat: u64,
    /// When the node started, in seconds since 1970 (Unix time).
    pub started_s: u64,
    /// Number of peers in its swarms.
    pub peers: u64,
}

impl NodeStatus {
    /// The 25 bytes of the entry.
    #[must_use]
    pub fn encode(&self) -> [u8; 25] {
        let mut out = [VERSION; 25];
        out[1..9].copy_from_slice(&self.heartbeat.to_be_bytes());
        out[9..17].copy_from_slice(&self.started_s.to_be_bytes());
        out[17..].copy_from_slice(&self.peers.to_be_bytes());
        out
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`FrameError::Version`] or [`FrameError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Reader(versioned(bytes)?);
        let status = Self {
            heartbeat: u64::from_be_bytes(rest.array()?),
            started_s: u64::from_be_bytes(rest.array()?),
            peers: u64::from_be_bytes(rest.array()?),
        };
        match rest.0.is_empty() {
            true => Ok(status),
            false => Err(FrameError::Malformed),
        }
    }
}

fn versioned(bytes: &[u8]) -> Result<&[u8], FrameError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((&version, _)) => Err(FrameError::Version(version)),
        None => Err(FrameError::Malformed),
    }
}

#[cfg(test)]
mod tests;
