//! The topic key: 32 bytes that the members of a swarm share and the tracker does not see. Links
//! are admitted under it, see [`admission`](super::admission).
//!
//! What it is worth depends on where it comes from. A topic's text is known to whoever guesses it
//! (the infohash is its unsalted hash), a password costs 19 MiB and two passes per guess and
//! swarm, and an infohash alone is no secret: every tracker knows it. Peers whose keys come from
//! different sources do not admit each other.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::Mac;
use zeroize::Zeroizing;

use super::{hkdf_sha256, hmac_sha256};
use crate::InfoHash;

/// Argon2id memory in KiB: 19 MiB, OWASP's first choice for two passes, and little enough for a
/// tab on a phone.
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Argon2id passes over that memory (OWASP, with 19 MiB).
pub const ARGON2_PASSES: u32 = 2;
/// Argon2id lanes: one, since WebAssembly has one thread.
pub const ARGON2_LANES: u32 = 1;
/// Bytes of an HMAC-SHA256.
pub const MAC_LEN: usize = 32;

const TOPIC_LABEL: &[u8] = b"easypeers/2 topic key from text";
const PASSWORD_LABEL: &[u8] = b"easypeers/2 topic key from password";
const SALT_LABEL: &[u8] = b"easypeers/2 password salt";
const INFO_HASH_LABEL: &[u8] = b"easypeers/2 topic key from infohash";

/// Why a password gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// An empty password is a mistake, not a secret.
    #[error("password is empty")]
    EmptyPassword,
    /// Argon2 refused; with these parameters only a password of 4 GiB.
    #[error("password cannot be hashed")]
    Argon2,
}

/// The key that the members of a swarm share. Wiped from memory on drop, never printed.
#[derive(Clone)]
pub struct TopicKey(Zeroizing<[u8; 32]>);

impl TopicKey {
    /// The key of a topic's text: HKDF-SHA256 over the text in UTF-8, salted with the infohash.
    #[must_use]
    pub fn from_topic(topic: &str) -> Self {
        let info_hash = InfoHash::of_topic(topic);
        Self(hkdf_sha256(
            info_hash.as_bytes(),
            topic.as_bytes(),
            &[TOPIC_LABEL],
        ))
    }

    /// The key of a password: Argon2id over it with a salt derived from the infohash, then HKDF.
    /// The topic's text is not part of it, so that a member may also join by infohash. Takes about
    /// 20 ms natively: call it once per swarm.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn from_password(password: &str, info_hash: &InfoHash) -> Result<Self, TopicError> {
        if password.is_empty() {
            return Err(TopicError::EmptyPassword);
        }
        let salt = hkdf_sha256::<16>(&[], info_hash.as_bytes(), &[SALT_LABEL]);
        let mut hash = Zeroizing::new([0; 32]);
        Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES, Some(32))
            .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
            .and_then(|argon2| argon2.hash_password_into(password.as_bytes(), &*salt, &mut *hash))
            .map_err(|_| TopicError::Argon2)?;
        Ok(Self(hkdf_sha256(
            info_hash.as_bytes(),
            &*hash,
            &[PASSWORD_LABEL],
        )))
    }

    /// The key for a swarm of which only the infohash is known. It keeps nobody out who knows it.
    #[must_use]
    pub fn from_info_hash(info_hash: &InfoHash) -> Self {
        let id = info_hash.as_bytes();
        Self(hkdf_sha256(id, id, &[INFO_HASH_LABEL]))
    }

    /// HMAC-SHA256 over labelled bytes.
    pub(super) fn mac(&self, labelled: &[u8]) -> [u8; MAC_LEN] {
        hmac_sha256(&self.0, &[labelled])
            .finalize()
            .into_bytes()
            .into()
    }

    /// Checks an HMAC in constant time.
    pub(super) fn verify(&self, labelled: &[u8], mac: &[u8; MAC_LEN]) -> bool {
        hmac_sha256(&self.0, &[labelled]).verify(mac.into()).is_ok()
    }
}

impl fmt::Debug for TopicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_gives_its_own_key() {
        let hash = InfoHash::of_topic("demo");
        let other = InfoHash::of_topic("other");
        let keys = [
            TopicKey::from_topic("demo"),
            TopicKey::from_topic("other"),
            TopicKey::from_info_hash(&hash),
            TopicKey::from_info_hash(&other),
            TopicKey::from_password("demo", &hash).unwrap(),
            TopicKey::from_password("demo", &other).unwrap(),
            TopicKey::from_password("Demo", &hash).unwrap(),
        ];
        for (index, key) in keys.iter().enumerate() {
            for (at, other) in keys.iter().enumerate() {
                assert_eq!(
                    other.verify(b"x", &key.mac(b"x")),
                    at == index,
                    "{at} {index}"
                );
            }
            assert!(!key.verify(b"y", &key.mac(b"x")));
        }
        assert_eq!(
            TopicKey::from_password("", &hash).unwrap_err(),
            TopicError::EmptyPassword
        );
        assert_eq!(format!("{:?}", keys[0]), "TopicKey");
    }
}
