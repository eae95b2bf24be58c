//! From an open data channel to an admitted peer, and the frames after that. A pure core: received
//! bytes go into [`Session::read`], events come out of it, bytes to send are appended to `out`.
//!
//! Order of things: both sides send the BEP 3 handshake at once; who has the other's sends its
//! extended handshake; who has the other's extended handshake, with `ep2` in it, sends AUTH; who has
//! checked the other's AUTH is admitted. A peer that lists only `sw_easypeers` is taken without any
//! proof, in compatibility mode only (feature `compat`). Nothing else is accepted before.

use std::sync::Arc;

use easypeers_proto::crypto::admission::{AuthError, Party, Role, Transcript};
use easypeers_proto::crypto::{Identity, PublicKeys, TopicKey};
#[cfg(feature = "compat")]
use easypeers_proto::wire::extension::SW_EASYPEERS_NUMBER;
use easypeers_proto::wire::extension::{
    EP2_NUMBER, ExtensionError, ExtensionHandshake, Hello, Role as Kind, VERSION,
};
use easypeers_proto::wire::frame::{Auth, Frame, FrameError};
use easypeers_proto::wire::handshake::Handshake;
use easypeers_proto::wire::stream::{Decoder, Event, StreamError, write_extended};
use easypeers_proto::{InfoHash, PeerId};
use sha1::{Digest, Sha1};

/// What all links of a peer in one swarm have in common.
#[derive(Debug)]
pub struct Credentials {
    pub identity: Arc<Identity>,
    pub topic_key: TopicKey,
    pub info_hash: InfoHash,
    /// Our address, the hash of the identity's public keys. In compatibility mode it may be any
    /// other: then we cannot prove it, and are a peer of Easypeers 1 to everybody.
    pub address: PeerId,
    /// Takes peers of Easypeers 1 as well.
    #[cfg(feature = "compat")]
    pub v1: bool,
    /// What we are.
    pub kind: Kind,
}

impl Credentials {
    /// Whether our address is that of our keys. If not, nobody takes us for a member.
    pub fn are_provable(&self) -> bool {
        self.address == self.identity.address()
    }

    /// Whether peers of Easypeers 1 are taken.
    #[cfg(feature = "compat")]
    const fn takes_v1(&self) -> bool {
        self.v1
    }

    /// Without the feature they are not.
    #[cfg(not(feature = "compat"))]
    #[expect(clippy::unused_self, reason = "the feature decides alone")]
    const fn takes_v1(&self) -> bool {
        false
    }
}

/// What the link below tells about itself.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Whether we made the offer.
    pub role: Role,
    /// SHA-256 fingerprints of both certificates, from the session descriptions.
    pub local_fingerprint: [u8; 32],
    pub remote_fingerprint: [u8; 32],
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

/// Why a link is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("bad frame: {0}")]
    Frame(#[from] FrameError),
    #[error("it is in another swarm")]
    OtherSwarm,
    #[error("it is this peer itself")]
    Ourselves,
    #[error("it speaks no extension")]
    NoExtensions,
    #[error("it speaks neither ep2 nor, here, sw_easypeers")]
    NoCommonExtension,
    #[error("its address does not belong to its keys")]
    ForeignAddress,
    #[error("it sent frames before it was admitted")]
    Early,
    #[error("it did not finish the handshakes in time")]
    Silent,
}

impl SessionError {
    /// Every name that [`label`](Self::label) gives.
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

/// What a session tells.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The other side has proven who it is and that it knows the topic.
    Admitted {
        peer: PeerId,
        keys: PublicKeys,
        /// The same on both sides, and different for every link.
        token: u64,
        /// What it says to be.
        kind: Kind,
    },
    /// The other side is a peer of Easypeers 1 and has proven nothing.
    #[cfg(feature = "compat")]
    V1 { peer: PeerId },
    /// A frame of an admitted peer, to be decoded.
    Frame(Vec<u8>),
    /// A message of a peer of Easypeers 1.
    #[cfg(feature = "compat")]
    V1Message(Vec<u8>),
}

#[derive(Debug)]
enum State {
    /// Waiting for the handshake.
    Handshake,
    /// Waiting for the extended handshake of this peer.
    Extension {
        peer: PeerId,
    },
    /// Waiting for the proof.
    Auth {
        peer: PeerId,
        keys: PublicKeys,
        transcript: Box<Transcript>,
        token: u64,
        kind: Kind,
    },
    Admitted,
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
    /// The number that the other side gave the extension we use towards it.
    number: u8,
}

impl Session {
    /// A new session; `out` gets the handshake.
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

    /// Takes bytes off `input` until there is an event; `None` when all are taken.
    ///
    /// # Errors
    /// [`SessionError`]: the link is to be closed.
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
                // Keep-alives, and messages about files, of which there are none.
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
            role: self.credentials.kind,
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
            // A second one may renumber; ours never does, and no other peer of version 2 need.
            return Ok(None);
        };
        let theirs = ExtensionHandshake::decode(payload)?;
        let provable = self.credentials.are_provable();
        let Some(ep2) = theirs.ep2.filter(|_| provable) else {
            #[cfg(feature = "compat")]
            return self.on_unproven(peer, theirs.sw_easypeers.map(Into::into));
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
            kind: ep2.hello.role,
        };
        Ok(None)
    }

    /// The other side, or this one, cannot prove an address: a peer of Easypeers 1, if it has given
    /// that extension a number.
    #[cfg(feature = "compat")]
    fn on_unproven(
        &mut self,
        peer: PeerId,
        number: Option<u8>,
    ) -> Result<Option<SessionEvent>, SessionError> {
        match number {
            Some(number) if self.credentials.v1 => {
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
            // An extension that we did not offer; the original ignores such too.
            _ => Ok(None),
        }
    }

    /// The number under which the other side takes what was agreed on: frames, or messages of
    /// Easypeers 1.
    pub const fn number(&self) -> u8 {
        self.number
    }
}

/// Appends a frame under the number that the receiver gave `ep2`.
fn write_frame(number: u8, frame: &Frame, out: &mut Vec<u8>) -> Result<(), SessionError> {
    let mut payload = Vec::new();
    frame.encode(&mut payload);
    write_extended(number, &payload, out)?;
    Ok(())
}

#[cfg(test)]
mod tests;
