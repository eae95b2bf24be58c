//! Admission to a link: each side signs what both have seen of the handshake and proves that it
//! knows the topic key. In go the infohash, who offered, and the keys, nonce and DTLS fingerprint
//! of each side as *this* side has them; out comes a proof for the other side, or a verdict on
//! the proof that came.
//!
//! Both sides build the same transcript, ordered by role and not by who is "we"; the last byte
//! says whose proof it is. So a tracker that swapped a session description, a replayed proof, a
//! proof that is sent back, and a stranger to the topic are all refused.

use super::{Identity, PublicKeys, Signature, TopicKey};
use crate::InfoHash;
use crate::crypto::topic::MAC_LEN;

/// Bytes of a handshake nonce.
pub const NONCE_LEN: usize = 32;
/// Bytes of a DTLS certificate's SHA-256 fingerprint.
pub const FINGERPRINT_LEN: usize = 32;
/// The version of the peer wire; part of the transcript, so that it cannot be talked down.
pub const WIRE_VERSION: u8 = 2;

const LABEL: &[u8; 16] = b"easypeers/2 auth";
const PARTY_LEN: usize = 64 + NONCE_LEN + FINGERPRINT_LEN;
const TRANSCRIPT_LEN: usize = LABEL.len() + 1 + 20 + 2 * PARTY_LEN + 1;

/// Which part a side had in the exchange of session descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Made the offer.
    Offerer,
    /// Made the answer.
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
    /// Its public keys, as in the extended handshake.
    pub keys: PublicKeys,
    /// The nonce of its extended handshake: fresh random bytes for each link.
    pub nonce: [u8; NONCE_LEN],
    /// The fingerprint of its certificate, as in its session description.
    pub fingerprint: [u8; FINGERPRINT_LEN],
}

/// What a side sends: the fields of an AUTH frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// By its identity, over the transcript.
    pub signature: Signature,
    /// Under the topic key, over the same bytes.
    pub mac: [u8; MAC_LEN],
}

/// Why the other side was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It claims our own keys: a reflection, or a link to ourselves.
    #[error("the other side shows our own keys")]
    OwnKeys,
    /// It sent our nonce back.
    #[error("the other side shows our own nonce")]
    OwnNonce,
    /// It sent our own proof back.
    #[error("our own proof came back")]
    Reflected,
    /// Not signed by those keys, or over another transcript: a swapped fingerprint, a replayed
    /// nonce, another swarm, a wrong role.
    #[error("signature does not fit the handshake")]
    BadSignature,
    /// The keys are its own, the topic or the password is not ours.
    #[error("topic proof does not fit: another topic or password")]
    WrongTopicKey,
}

impl AuthError {
    /// Every reason, for initialising counters.
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

/// What both sides of one link have seen, from the point of view of one of them.
#[derive(Debug, Clone)]
pub struct Transcript {
    local: Party,
    remote: Party,
    role: Role,
    info_hash: InfoHash,
}

impl Transcript {
    /// The transcript of a link, where the local side has `role`.
    #[must_use]
    pub const fn new(info_hash: InfoHash, role: Role, local: Party, remote: Party) -> Self {
        Self {
            local,
            remote,
            role,
            info_hash,
        }
    }

    /// The bytes that the side with the role `signer` signs.
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

    /// The proof of the local side, to be sent. `identity` must be that of the local keys.
    #[must_use]
    pub fn prove(&self, identity: &Identity, topic: &TopicKey) -> Proof {
        debug_assert_eq!(identity.public(), &self.local.keys);
        let bytes = self.bytes(self.role);
        Proof {
            signature: identity.sign(&bytes),
            mac: topic.mac(&bytes),
        }
    }

    /// Checks the proof of the other side. That its address is the hash of its keys is for the
    /// handshake to check.
    ///
    /// # Errors
    /// [`AuthError`]: close the link and pass nothing on.
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

    /// The verdict of the answerer after its view of the link was changed.
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
    fn what_is_reflected_is_refused() {
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
    fn a_stranger_to_topic_or_password_is_refused() {
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
