//! The topic key: 32 bytes that the members of a swarm share and that the tracker does not see. A peer
//! must know it to be admitted to a link, see [`admission`](super::admission).
//!
//! How secret it is depends on its source. A topic's text can be guessed, because the infohash is its
//! unsalted hash. Each guess of a password costs 19 MiB and two passes of Argon2id, for each swarm
//! anew. An infohash alone is not a secret: every tracker knows it. Peers whose keys have different
//! sources do not admit each other.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::Mac;
use zeroize::Zeroizing;

use super::{hkdf_sha256, hmac_sha256};
use crate::InfoHash;

/// Memory of Argon2id (RFC 9106) in KiB: 19 MiB. OWASP recommends it with two passes, and a tab on a
/// phone can afford it.
pub const ARGON2_MEMORY_KIB: u32 = 19 * 1024;
/// Passes of Argon2id over that memory, as OWASP recommends with 19 MiB.
pub const ARGON2_PASSES: u32 = 2;
/// Lanes of Argon2id: one, because WebAssembly has one thread.
pub const ARGON2_LANES: u32 = 1;
/// Length of an HMAC-SHA256 in bytes.
pub const MAC_LEN: usize = 32;

const TOPIC_LABEL: &[u8] = b"easypeers/2 topic key from text";
const PASSWORD_LABEL: &[u8] = b"easypeers/2 topic key from password";
const SALT_LABEL: &[u8] = b"easypeers/2 password salt";
const INFO_HASH_LABEL: &[u8] = b"easypeers/2 topic key from infohash";

/// Why a password gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The password is empty.
    #[error("password is empty")]
    EmptyPassword,
    /// Argon2 failed. With these parameters that needs a password of 4 GiB.
    #[error("password cannot be hashed")]
    Argon2,
}

/// The key that the members of a swarm share. It is wiped from memory on drop and is never printed.
#[derive(Clone)]
pub struct TopicKey(Zeroizing<[u8; 32]>);

impl TopicKey {
    /// The key of a topic's text: HKDF-SHA256 (RFC 5869) over the text in UTF-8 with the infohash as
    /// salt.
    #[must_use]
    pub fn from_topic(topic: &str) -> Self {
        let info_hash = InfoHash::of_topic(topic);
        Self(hkdf_sha256(
            info_hash.as_bytes(),
            topic.as_bytes(),
            &[TOPIC_LABEL],
        ))
    }

    /// The key of a password: Argon2id over the password with a salt derived from the infohash, then
    /// HKDF. The topic's text is not part of it, so a member can also join by infohash. It takes about
    /// 20 ms natively. Call it once per swarm.
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

    /// The key of a swarm of which only the infohash is known. Anybody who knows the infohash can
    /// compute it.
    #[must_use]
    pub fn from_info_hash(info_hash: &InfoHash) -> Self {
        let id = info_hash.as_bytes();
        Self(hkdf_sha256(id, id, &[INFO_HASH_LABEL]))
    }

    /// HMAC-SHA256 over bytes, which must start with a label of their purpose.
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
