//! One side of a link, from the open data channel to the frames of an admitted peer. A pure core:
//! received bytes go into [`Session::read`], events come out of it, and bytes to send are appended to
//! `out`.
//!
//! 1. Both sides send the handshake (BEP 3) without waiting for the other.
//! 2. A side that has received the handshake sends its extended handshake (BEP 10).
//! 3. A side that has received an extended handshake with `ep2` in it sends AUTH.
//! 4. A side that has verified the AUTH of the other admits it.
//!
//! A v1 peer (Easypeers 1), which names only `sw_easypeers`, is accepted without a proof after step 2 if
//! [`Credentials::accepts_v1`] is set. Nothing else is accepted before a peer is admitted.

use std::sync::Arc;

use easypeers_proto::crypto::admission::{AuthError, Party, Role, Transcript};
use easypeers_proto::crypto::{Identity, PublicKeys, TopicKey};
#[cfg(feature = "compat")]
use easypeers_proto::wire::extension::SW_EASYPEERS_NUMBER;
use easypeers_proto::wire::extension::{
    EP2_NUMBER, ExtensionError, ExtensionHandshake, Hello, PeerKind, VERSION,
};
use easypeers_proto::wire::frame::{Auth, Frame, FrameError};
use easypeers_proto::wire::handshake::Handshake;
use easypeers_proto::wire::stream::{Decoder, Event, StreamError, write_extended};
use easypeers_proto::{InfoHash, PeerId};
use sha1::{Digest, Sha1};

/// What all links of a peer in one swarm have in common.
#[derive(Debug)]
pub struct Credentials {
    /// The secret keys of this peer.
    pub identity: Arc<Identity>,
    /// The key that all members of the swarm share.
    pub topic_key: TopicKey,
    /// The swarm.
    pub info_hash: InfoHash,
    /// The address of this peer, normally that of its identity. If v1 peers are accepted, it may be any
    /// other. This peer cannot prove such an address, so it is a v1 peer to everybody.
    pub address: PeerId,
    /// Whether v1 peers are accepted.
    #[cfg(feature = "compat")]
    pub accepts_v1: bool,
    /// What kind of program this peer is.
    pub kind: PeerKind,
}

impl Credentials {
    /// Whether the address belongs to the identity. If not, no member accepts this peer as a member.
    #[must_use]
    pub fn are_provable(&self) -> bool {
        self.address == self.identity.address()
    }

    /// Whether peers of Easypeers 1 are taken.
    #[cfg(feature = "compat")]
    const fn takes_v1(&self) -> bool {
        self.accepts_v1
    }

    /// Without the feature they are not.
    #[cfg(not(feature = "compat"))]
    #[expect(clippy::unused_self, reason = "the feature decides alone")]
    const fn takes_v1(&self) -> bool {
        false
    }
}

/// What a session has to know about the data channel below it.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Whether this side made the offer or the answer.
    pub role: Role,
    /// SHA-256 fingerprint of our DTLS certificate, from our session description.
    pub local_fingerprint: [u8; 32],
    /// SHA-256 fingerprint of the other side's certificate, from its session description.
    pub remote_fingerprint: [u8; 32],
    /// Fresh random bytes for this link.
    pub nonce: [u8; 32],
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The bytes are not a stream of messages.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The extended handshake is malformed.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// The proof in AUTH is not valid.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// A frame is malformed.
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    /// The handshake names another infohash.
    #[error("it is in another swarm")]
    OtherSwarm,
    /// The other side has our own address.
    #[error("it is this peer itself")]
    Ourselves,
    /// The other side does not speak the extension protocol (BEP 10).
    #[error("it does not speak the extension protocol")]
    NoExtensions,
    /// The other side names neither `ep2` nor, if v1 peers are accepted, `sw_easypeers`.
    #[error("it speaks no version of Easypeers that is accepted here")]
    NoCommonExtension,
    /// The address in the handshake is not the hash of the public keys.
    #[error("its address does not belong to its keys")]
    ForeignAddress,
    /// A frame other than AUTH arrived before the peer was admitted.
    #[error("it sent frames before it was admitted")]
    Early,
    /// The handshakes took too long. The driver says this; a session has no clock.
    #[error("it did not finish the handshakes in time")]
    Silent,
}

impl SessionError {
    /// Every label that [`label`](Self::label) can return, to initialise counters.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        let own = [
            "stream",
            "extension",
            "frame",
            "other_swarm",
            "ourselves",
            "no_common_extension",
            "foreign_address",
            "early",
            "silent",
        ];
        own.into_iter().chain(AuthError::ALL.map(AuthError::label))
    }

    /// A stable name for counters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Extension(_) => "extension",
            Self::Auth(error) => error.label(),
            Self::Frame(_) => "frame",
            Self::OtherSwarm => "other_swarm",
            Self::Ourselves => "ourselves",
            Self::NoExtensions | Self::NoCommonExtension => "no_common_extension",
            Self::ForeignAddress => "foreign_address",
            Self::Early => "early",
            Self::Silent => "silent",
        }
    }
}

/// What a session reports.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The other side has proved its address and that it knows the topic key.
    Admitted {
        /// Its address.
        peer: PeerId,
        /// Its public keys.
        keys: PublicKeys,
        /// The same number on both sides, different for every link.
        token: u64,
        /// What kind of program it says it is.
        kind: PeerKind,
    },
    /// The bytes of a frame of an admitted peer.
    Frame(Vec<u8>),
    /// The other side is a v1 peer and has proved nothing.
    #[cfg(feature = "compat")]
    V1 {
        /// The address that it claims.
        peer: PeerId,
    },
    /// The bytes of a message of a v1 peer.
    #[cfg(feature = "compat")]
    V1Message(Vec<u8>),
}

#[derive(Debug)]
enum State {
    /// Waiting for the handshake.
    Handshake,
    /// Waiting for the extended handshake of the peer that claims this address.
    Extension { peer: PeerId },
    /// Waiting for the proof in AUTH.
    Auth {
        peer: PeerId,
        keys: PublicKeys,
        transcript: Box<Transcript>,
        token: u64,
        kind: PeerKind,
    },
    /// Frames arrive.
    Admitted,
    /// Messages of a v1 peer arrive.
    #[cfg(feature = "compat")]
    V1,
}

/// One side of one link.
#[derive(Debug)]
pub struct Session {
    credentials: Arc<Credentials>,
    channel: Channel,
    decoder: Decoder,
    state: State,
    /// Under which extension number the other side receives our frames or v1 messages.
    number: u8,
}

impl Session {
    /// Starts a session and appends the handshake to `out`.
    pub fn start(credentials: Arc<Credentials>, channel: Channel, out: &mut Vec<u8>) -> Self {
        let handshake = Handshake::new(credentials.info_hash, credentials.address);
        out.extend_from_slice(&handshake.encode());
        Self {
            credentials,
            channel,
            decoder: Decoder::new(),
            state: State::Handshake,
            number: 0,
        }
    }

    /// Takes bytes off the front of `input` until there is an event. Returns `None` when all bytes are
    /// taken.
    ///
    /// # Errors
    /// [`SessionError`]: the link must be closed.
    pub fn read(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<SessionEvent>, SessionError> {
        loop {
            let event = match self.decoder.next(input)? {
                None => return Ok(None),
                Some(Event::Handshake(handshake)) => {
                    self.on_handshake(&handshake, out)?;
                    None
                }
                Some(Event::Extended { id: 0, payload }) => self.on_extension(&payload, out)?,
                Some(Event::Extended { id, payload }) => self.on_extended(id, &payload)?,
                // Keep-alives, and messages about files, which an Easypeers swarm does not have.
                Some(_) => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn on_handshake(&mut self, theirs: &Handshake, out: &mut Vec<u8>) -> Result<(), SessionError> {
        if theirs.info_hash != self.credentials.info_hash {
            return Err(SessionError::OtherSwarm);
        }
        if theirs.peer_id == self.credentials.address {
            return Err(SessionError::Ourselves);
        }
        if !theirs.has_extensions() {
            return Err(SessionError::NoExtensions);
        }
        let hello = Hello {
            version: VERSION,
            keys: *self.credentials.identity.public().as_bytes(),
            nonce: self.channel.nonce,
            capabilities: 0,
            kind: self.credentials.kind,
        };
        let mut payload = Vec::with_capacity(256);
        let mut ours = ExtensionHandshake::ours(hello, self.credentials.takes_v1());
        if !self.credentials.are_provable() {
            ours.ep2 = None;
        }
        ours.encode(&mut payload);
        write_extended(0, &payload, out)?;
        self.state = State::Extension {
            peer: theirs.peer_id,
        };
        Ok(())
    }

    fn on_extension(
        &mut self,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<SessionEvent>, SessionError> {
        let State::Extension { peer } = self.state else {
            // BEP 10 allows a second one, which changes the numbers. Easypeers never sends one.
            return Ok(None);
        };
        let theirs = ExtensionHandshake::decode(payload)?;
        let provable = self.credentials.are_provable();
        let Some(ep2) = theirs.ep2.filter(|_| provable) else {
            #[cfg(feature = "compat")]
            return self.on_v1(peer, theirs.sw_easypeers.map(Into::into));
            #[cfg(not(feature = "compat"))]
            return Err(SessionError::NoCommonExtension);
        };
        let keys = PublicKeys::new(ep2.hello.keys);
        if keys.address() != peer {
            return Err(SessionError::ForeignAddress);
        }
        let local = Party {
            keys: *self.credentials.identity.public(),
            nonce: self.channel.nonce,
            fingerprint: self.channel.local_fingerprint,
        };
        let remote = Party {
            keys,
            nonce: ep2.hello.nonce,
            fingerprint: self.channel.remote_fingerprint,
        };
        let transcript =
            Transcript::new(self.credentials.info_hash, self.channel.role, local, remote);
        let proof = transcript.prove(&self.credentials.identity, &self.credentials.topic_key);
        self.number = ep2.number.into();
        write_frame(self.number, &Auth { proof }.into(), out)?;
        let digest = Sha1::digest(transcript.bytes(Role::Offerer));
        let mut token = [0; 8];
        token.copy_from_slice(&digest[..8]);
        self.state = State::Auth {
            peer,
            keys,
            transcript: Box::new(transcript),
            token: u64::from_be_bytes(token),
            kind: ep2.hello.kind,
        };
        Ok(None)
    }

    /// The other side does not speak `ep2`, or we cannot prove our own address to it.
    #[cfg(feature = "compat")]
    fn on_v1(
        &mut self,
        peer: PeerId,
        number: Option<u8>,
    ) -> Result<Option<SessionEvent>, SessionError> {
        match number {
            Some(number) if self.credentials.accepts_v1 => {
                self.number = number;
                self.state = State::V1;
                Ok(Some(SessionEvent::V1 { peer }))
            }
            _ => Err(SessionError::NoCommonExtension),
        }
    }

    fn on_extended(
        &mut self,
        id: u8,
        payload: &[u8],
    ) -> Result<Option<SessionEvent>, SessionError> {
        match &self.state {
            State::Admitted if id == EP2_NUMBER.get() => {
                Ok(Some(SessionEvent::Frame(payload.to_vec())))
            }
            #[cfg(feature = "compat")]
            State::V1 if id == SW_EASYPEERS_NUMBER.get() => {
                Ok(Some(SessionEvent::V1Message(payload.to_vec())))
            }
            State::Auth {
                peer,
                keys,
                transcript,
                token,
                kind,
            } if id == EP2_NUMBER.get() => {
                let Frame::Auth(Auth { proof }) = Frame::decode(payload)? else {
                    return Err(SessionError::Early);
                };
                transcript.verify(&proof, &self.credentials.topic_key)?;
                let event = SessionEvent::Admitted {
                    peer: *peer,
                    keys: *keys,
                    token: *token,
                    kind: *kind,
                };
                self.state = State::Admitted;
                Ok(Some(event))
            }
            State::Handshake | State::Extension { .. } if id == EP2_NUMBER.get() => {
                Err(SessionError::Early)
            }
            // An extension that we did not name. v1 ignores these as well.
            _ => Ok(None),
        }
    }

    /// The extension number under which the other side receives frames or, if it is a v1 peer, v1
    /// messages. 0 before it is known.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }
}

/// Appends a frame under the number that the receiver chose for `ep2`.
fn write_frame(number: u8, frame: &Frame, out: &mut Vec<u8>) -> Result<(), SessionError> {
    let mut payload = Vec::new();
    frame.encode(&mut payload);
    write_extended(number, &payload, out)?;
    Ok(())
}

#[cfg(test)]
mod tests;
