//! The keys of a peer: an Ed25519 key pair (RFC 8032) that signs and an X25519 key pair (RFC 7748) that
//! receives sealed messages. Both are derived from one 32-byte seed. The address of a peer is the SHA-1
//! of its two public keys, so nobody can claim an address without having its keys.
//!
//! The text form of an identity, as in an `--identity` file, is one line: `easypeers-identity-1:` and
//! the seed as 64 hex digits.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha1::{Digest, Sha1};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::hkdf_sha256;
use crate::PeerId;

/// Length of a seed in bytes.
pub const SEED_LEN: usize = 32;
/// Length of both public keys together in bytes.
pub const PUBLIC_KEYS_LEN: usize = 64;
/// Length of an Ed25519 signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

const TEXT_PREFIX: &str = "easypeers-identity-1:";
const SIGNING_LABEL: &[u8] = b"easypeers/2 identity ed25519";
const AGREEMENT_LABEL: &[u8] = b"easypeers/2 identity x25519";

/// An Ed25519 signature (RFC 8032), 64 bytes.
pub type Signature = [u8; SIGNATURE_LEN];

/// Why a text is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file is not an identity, or is one of a version that this program does not know.
    #[error("identity does not start with \"easypeers-identity-1:\"")]
    Prefix,
    /// The seed is not 64 hexadecimal digits.
    #[error("identity is not 64 hexadecimal digits")]
    Hex,
}

/// The secret keys of a peer. They are wiped from memory on drop and are never printed.
pub struct Identity {
    seed: Zeroizing<[u8; SEED_LEN]>,
    signing: SigningKey,
    agreement: StaticSecret,
    public: PublicKeys,
}

impl Identity {
    /// Derives an identity from a seed. For a new identity the seed must be 32 bytes from a
    /// cryptographic random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Self {
        let signing = SigningKey::from_bytes(&hkdf_sha256(&[], seed, &[SIGNING_LABEL]));
        let agreement = StaticSecret::from(*hkdf_sha256(&[], seed, &[AGREEMENT_LABEL]));
        let mut public = [0; PUBLIC_KEYS_LEN];
        public[..32].copy_from_slice(signing.verifying_key().as_bytes());
        public[32..].copy_from_slice(PublicKey::from(&agreement).as_bytes());
        Self {
            seed: Zeroizing::new(*seed),
            signing,
            agreement,
            public: PublicKeys(public),
        }
    }

    /// Reads the text form. White space around it is ignored.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_text(text: &str) -> Result<Self, IdentityError> {
        let digits = text
            .trim()
            .strip_prefix(TEXT_PREFIX)
            .ok_or(IdentityError::Prefix)?
            .as_bytes();
        if digits.len() != 2 * SEED_LEN {
            return Err(IdentityError::Hex);
        }
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        match HEXLOWER_PERMISSIVE.decode_mut(digits, &mut *seed) {
            Ok(_) => Ok(Self::from_seed(&seed)),
            Err(_) => Err(IdentityError::Hex),
        }
    }

    /// The text form, with a newline. It contains the secret seed.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // Reserved at once, because a string that grows leaves copies of the secret in memory.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_PREFIX.len() + 2 * SEED_LEN + 1));
        text.push_str(TEXT_PREFIX);
        HEXLOWER.encode_append(&*self.seed, &mut text);
        text.push('\n');
        text
    }

    /// The public keys.
    #[must_use]
    pub const fn public(&self) -> &PublicKeys {
        &self.public
    }

    /// The address of [`public`](Self::public).
    #[must_use]
    pub fn address(&self) -> PeerId {
        self.public.address()
    }

    /// Signs bytes, which must start with a label of their purpose.
    pub(crate) fn sign(&self, labelled: &[u8]) -> Signature {
        self.signing.sign(labelled).to_bytes()
    }

    /// Diffie-Hellman with the X25519 key of another peer.
    pub(super) fn agree(&self, other: &[u8; 32]) -> SharedSecret {
        self.agreement.diffie_hellman(&PublicKey::from(*other))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.address())
    }
}

/// The public keys of a peer: 32 bytes Ed25519, then 32 bytes X25519.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKeys([u8; PUBLIC_KEYS_LEN]);

impl PublicKeys {
    /// The keys with these bytes. Any bytes are accepted. If they are not valid keys, no signature
    /// verifies and nothing can be sealed.
    #[must_use]
    pub const fn new(bytes: [u8; PUBLIC_KEYS_LEN]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEYS_LEN] {
        &self.0
    }

    /// The address that belongs to the keys: SHA-1 of the 64 bytes.
    #[must_use]
    pub fn address(&self) -> PeerId {
        PeerId::new(Sha1::digest(self.0).into())
    }

    /// Checks a signature strictly: keys and signatures of small order or in a non-canonical encoding are
    /// refused. A message then has only one valid signature.
    pub(crate) fn verify(&self, labelled: &[u8], signature: &Signature) -> bool {
        let (ed25519, _) = self.halves();
        VerifyingKey::from_bytes(&ed25519).is_ok_and(|key| {
            key.verify_strict(labelled, &ed25519_dalek::Signature::from_bytes(signature))
                .is_ok()
        })
    }

    /// The X25519 key.
    pub(super) fn agreement(&self) -> [u8; 32] {
        self.halves().1
    }

    fn halves(&self) -> ([u8; 32], [u8; 32]) {
        let (mut ed25519, mut x25519) = ([0; 32], [0; 32]);
        ed25519.copy_from_slice(&self.0[..32]);
        x25519.copy_from_slice(&self.0[32..]);
        (ed25519, x25519)
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_identity_and_survives_its_text() {
        let identity = Identity::from_seed(&[7; 32]);
        let text = identity.to_text();
        let again = Identity::from_text(&format!(" {}\r\n", text.as_str())).unwrap();
        assert_eq!(again.public(), identity.public());
        assert_ne!(Identity::from_seed(&[8; 32]).address(), identity.address());
        let upper = text.replace("07", "0A");
        assert_eq!(
            Identity::from_text(&upper).unwrap().address(),
            Identity::from_seed(&[10; 32]).address()
        );
    }

    #[test]
    fn other_texts_are_refused() {
        let digits = "0".repeat(64);
        for (text, error) in [
            (String::new(), IdentityError::Prefix),
            (digits.clone(), IdentityError::Prefix),
            (
                format!("easypeers-identity-2:{digits}"),
                IdentityError::Prefix,
            ),
            (format!("{TEXT_PREFIX}{digits}0"), IdentityError::Hex),
            (
                format!("{TEXT_PREFIX}{}", "é".repeat(32)),
                IdentityError::Hex,
            ),
        ] {
            assert_eq!(Identity::from_text(&text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn debug_shows_the_address_only() {
        let identity = Identity::from_seed(&[7; 32]);
        let shown = format!("{identity:?}");
        assert_eq!(shown, format!("Identity({})", identity.address()));
    }

    #[test]
    fn a_signature_holds_for_its_bytes_and_keys_only() {
        let (identity, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let signature = identity.sign(b"label text");
        assert!(identity.public().verify(b"label text", &signature));
        assert!(!identity.public().verify(b"label texT", &signature));
        assert!(!other.public().verify(b"label text", &signature));
        // A lax check accepts the neutral point as key and as signature for any bytes.
        let mut weak = [0; 64];
        weak[0] = 1;
        assert!(!PublicKeys::new(weak).verify(b"label text", &weak));
    }
}
