//! Admission to a link: each side signs a transcript of the handshake and proves that it knows the
//! topic key.
//!
//! A [`Transcript`] is made of the infohash, the role of this side, and the keys, the nonce and the
//! DTLS fingerprint of both sides as *this* side has seen them. It gives the proof to send and checks
//! the proof that was received.
//!
//! Both sides build the same bytes, because the parties are ordered by role. The last byte says whose
//! proof it is. This refuses a tracker that swapped a session description, a replayed proof, a proof
//! that is sent back, and a peer that does not know the topic key.

use super::{Identity, PublicKeys, Signature, TopicKey};
use crate::InfoHash;
use crate::crypto::topic::MAC_LEN;

/// Length of a handshake nonce in bytes.
pub const NONCE_LEN: usize = 32;
/// Length of the SHA-256 fingerprint of a DTLS certificate in bytes.
pub const FINGERPRINT_LEN: usize = 32;
/// The version of the peer protocol. It is part of the transcript, so nobody in between can downgrade
/// it.
pub const WIRE_VERSION: u8 = 2;

const LABEL: &[u8; 16] = b"easypeers/2 auth";
const PARTY_LEN: usize = 64 + NONCE_LEN + FINGERPRINT_LEN;
const TRANSCRIPT_LEN: usize = LABEL.len() + 1 + 20 + 2 * PARTY_LEN + 1;

/// Which session description a side made: the offer or the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side made the offer.
    Offerer,
    /// This side made the answer.
    Answerer,
}

impl Role {
    /// The role of the other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Offerer => Self::Answerer,
            Self::Answerer => Self::Offerer,
        }
    }

    const fn marker(self) -> u8 {
        match self {
            Self::Offerer => 1,
            Self::Answerer => 2,
        }
    }
}

/// One side of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Its public keys, from its extended handshake.
    pub keys: PublicKeys,
    /// The nonce from its extended handshake: 32 fresh random bytes for each link.
    pub nonce: [u8; NONCE_LEN],
    /// The SHA-256 fingerprint of its certificate, from its session description.
    pub fingerprint: [u8; FINGERPRINT_LEN],
}

/// What a side sends to be admitted: the fields of an AUTH frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Ed25519 signature over the transcript, 64 bytes.
    pub signature: Signature,
    /// HMAC-SHA256 over the same bytes under the topic key, 32 bytes.
    pub mac: [u8; MAC_LEN],
}

/// Why the other side was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It claims our own keys: a reflection, or a link to this peer itself.
    #[error("the other side shows our own keys")]
    OwnKeys,
    /// It sent our nonce back.
    #[error("the other side shows our own nonce")]
    OwnNonce,
    /// It sent our own proof back.
    #[error("our own proof came back")]
    Reflected,
    /// The signature is not by those keys or not over this transcript: a swapped fingerprint, a replayed
    /// nonce, another swarm, a wrong role.
    #[error("signature does not match the handshake")]
    BadSignature,
    /// The other side owns its keys, but uses another topic or password.
    #[error("topic proof does not fit: another topic or password")]
    WrongTopicKey,
}

impl AuthError {
    /// Every reason, to initialise counters.
    pub const ALL: [Self; 5] = [
        Self::OwnKeys,
        Self::OwnNonce,
        Self::Reflected,
        Self::BadSignature,
        Self::WrongTopicKey,
    ];

    /// A stable name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OwnKeys => "own_keys",
            Self::OwnNonce => "own_nonce",
            Self::Reflected => "reflected",
            Self::BadSignature => "bad_signature",
            Self::WrongTopicKey => "wrong_topic_key",
        }
    }
}

/// What both sides have seen of the handshake, from the point of view of one of them.
#[derive(Debug, Clone)]
pub struct Transcript {
    local: Party,
    remote: Party,
    role: Role,
    info_hash: InfoHash,
}

impl Transcript {
    /// The transcript of a link in which the local side has `role`.
    #[must_use]
    pub const fn new(info_hash: InfoHash, role: Role, local: Party, remote: Party) -> Self {
        Self {
            local,
            remote,
            role,
            info_hash,
        }
    }

    /// The bytes that the side with the role `signer` signs: label, version, infohash, then keys, nonce
    /// and fingerprint of the offerer and of the answerer, then the role of the signer.
    #[must_use]
    pub fn bytes(&self, signer: Role) -> [u8; TRANSCRIPT_LEN] {
        let (offerer, answerer) = match self.role {
            Role::Offerer => (&self.local, &self.remote),
            Role::Answerer => (&self.remote, &self.local),
        };
        let mut bytes = [0; TRANSCRIPT_LEN];
        let mut rest = bytes.as_mut_slice();
        for part in [
            LABEL.as_slice(),
            &[WIRE_VERSION],
            self.info_hash.as_bytes(),
            offerer.keys.as_bytes(),
            &offerer.nonce,
            &offerer.fingerprint,
            answerer.keys.as_bytes(),
            &answerer.nonce,
            &answerer.fingerprint,
            &[signer.marker()],
        ] {
            let (slot, next) = rest.split_at_mut(part.len());
            slot.copy_from_slice(part);
            rest = next;
        }
        bytes
    }

    /// The proof of the local side. `identity` must belong to the local keys.
    #[must_use]
    pub fn prove(&self, identity: &Identity, topic: &TopicKey) -> Proof {
        debug_assert_eq!(identity.public(), &self.local.keys);
        let bytes = self.bytes(self.role);
        Proof {
            signature: identity.sign(&bytes),
            mac: topic.mac(&bytes),
        }
    }

    /// Checks the proof of the other side. It does not check that the other side's address is the hash of
    /// its keys: the caller must do that.
    ///
    /// # Errors
    /// [`AuthError`]: the link must be closed.
    pub fn verify(&self, proof: &Proof, topic: &TopicKey) -> Result<(), AuthError> {
        if self.remote.keys == self.local.keys {
            return Err(AuthError::OwnKeys);
        }
        if self.remote.nonce == self.local.nonce {
            return Err(AuthError::OwnNonce);
        }
        let bytes = self.bytes(self.role.other());
        if !self.remote.keys.verify(&bytes, &proof.signature) {
            let own = self.bytes(self.role);
            return Err(if self.local.keys.verify(&own, &proof.signature) {
                AuthError::Reflected
            } else {
                AuthError::BadSignature
            });
        }
        if !topic.verify(&bytes, &proof.mac) {
            return Err(AuthError::WrongTopicKey);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Link {
        ids: [Identity; 2],
        offerer: Transcript,
        answerer: Transcript,
        topic: TopicKey,
    }

    fn link() -> Link {
        let ids = [Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32])];
        let party = |at: u8| Party {
            keys: *ids[usize::from(at)].public(),
            nonce: [10 + at; 32],
            fingerprint: [20 + at; 32],
        };
        let hash = InfoHash::of_topic("demo");
        Link {
            offerer: Transcript::new(hash, Role::Offerer, party(0), party(1)),
            answerer: Transcript::new(hash, Role::Answerer, party(1), party(0)),
            ids,
            topic: TopicKey::from_topic("demo"),
        }
    }

    #[test]
    fn both_sides_of_an_honest_link_admit_each_other() {
        let link = link();
        for signer in [Role::Offerer, Role::Answerer] {
            assert_eq!(link.offerer.bytes(signer), link.answerer.bytes(signer));
        }
        let proof = link.offerer.prove(&link.ids[0], &link.topic);
        assert_eq!(link.answerer.verify(&proof, &link.topic), Ok(()));
        let proof = link.answerer.prove(&link.ids[1], &link.topic);
        assert_eq!(link.offerer.verify(&proof, &link.topic), Ok(()));
    }

    /// What the answerer says after its view of the link was changed.
    fn verdict(change: impl FnOnce(&mut Transcript, &mut Proof)) -> Result<(), AuthError> {
        let Link {
            ids,
            offerer,
            mut answerer,
            topic,
        } = link();
        let mut proof = offerer.prove(&ids[0], &topic);
        change(&mut answerer, &mut proof);
        answerer.verify(&proof, &topic)
    }

    #[test]
    fn a_changed_handshake_is_refused() {
        let bad = Err(AuthError::BadSignature);
        assert_eq!(verdict(|_, _| ()), Ok(()));
        assert_eq!(
            verdict(|view, _| view.remote.fingerprint[0] ^= 1),
            bad,
            "swapped description"
        );
        assert_eq!(
            verdict(|view, _| view.local.fingerprint[31] ^= 1),
            bad,
            "swapped answer"
        );
        assert_eq!(
            verdict(|view, _| view.local.nonce = [9; 32]),
            bad,
            "replayed proof"
        );
        assert_eq!(
            verdict(|view, _| view.remote.nonce = [9; 32]),
            bad,
            "altered nonce"
        );
        assert_eq!(
            verdict(|view, _| view.role = Role::Offerer),
            bad,
            "altered role"
        );
        assert_eq!(
            verdict(|view, _| view.info_hash = InfoHash::of_topic("x")),
            bad,
            "other swarm"
        );
        assert_eq!(
            verdict(|_, proof| proof.signature[5] ^= 1),
            bad,
            "altered signature"
        );
        let other = *Identity::from_seed(&[3; 32]).public();
        assert_eq!(
            verdict(|view, _| view.remote.keys = other),
            bad,
            "other keys"
        );
        assert_eq!(
            verdict(|_, proof| proof.mac[0] ^= 1),
            Err(AuthError::WrongTopicKey)
        );
    }

    #[test]
    fn a_reflected_proof_is_refused() {
        let link = link();
        let own = link.answerer.prove(&link.ids[1], &link.topic);
        assert_eq!(
            link.answerer.verify(&own, &link.topic),
            Err(AuthError::Reflected)
        );
        assert_eq!(
            verdict(|view, _| view.remote = view.local),
            Err(AuthError::OwnKeys)
        );
        assert_eq!(
            verdict(|view, _| view.remote.nonce = view.local.nonce),
            Err(AuthError::OwnNonce)
        );
    }

    #[test]
    fn another_topic_or_password_is_refused() {
        let link = link();
        let hash = InfoHash::of_topic("demo");
        for topic in [
            TopicKey::from_info_hash(&hash),
            TopicKey::from_password("wrong", &hash).unwrap(),
        ] {
            let proof = link.offerer.prove(&link.ids[0], &topic);
            assert_eq!(
                link.answerer.verify(&proof, &link.topic),
                Err(AuthError::WrongTopicKey)
            );
        }
    }
}
