//! Sealing: encrypts a signed envelope for one receiver, and lets the receiver prove that it opened it.
//!
//! A sealed body is an ephemeral X25519 public key (RFC 7748, 32 bytes), the ciphertext and its 16-byte
//! tag. The cipher is ChaCha20-Poly1305 (RFC 8439). Its nonce is all zeros, because every key is used
//! only once. Its key and the key of the acknowledgement are derived by HKDF-SHA256 (RFC 5869) from the
//! shared secret, with both public X25519 keys as salt. The addresses of sender and receiver are
//! authenticated as additional data.
//!
//! An acknowledgement is an HMAC-SHA256, truncated to 16 bytes, over the id of the message and the
//! number of hops. It proves that the receiver opened the body.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::Mac;
use sha1::{Digest, Sha1};
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::{Identity, PublicKeys, hkdf_sha256, hmac_sha256};
use crate::{MessageId, PeerId};

const KEY_LABEL: &[u8] = b"easypeers/2 sealed message";
const ACK_LABEL: &[u8] = b"easypeers/2 acknowledgement";
const PUBLIC_LEN: usize = 32;

/// A body cannot be sealed or opened: it is for another receiver, it was changed, or a key is not
/// valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not sealed for this receiver, or changed on its way")]
pub struct SealError;

/// A key that the sender and the receiver of a sealed message share. With it the receiver proves that it
/// opened the message.
#[derive(Clone)]
pub struct AckKey(Zeroizing<[u8; 32]>);

impl AckKey {
    /// The proof for the message `id` that arrived over `hops` hops.
    #[must_use]
    pub fn prove(&self, id: &MessageId, hops: u8) -> [u8; 16] {
        let mac: [u8; 32] = self.mac(id, hops).finalize().into_bytes().into();
        let mut proof = [0; 16];
        proof.copy_from_slice(&mac[..16]);
        proof
    }

    /// Checks a proof in constant time.
    #[must_use]
    pub fn verify(&self, id: &MessageId, hops: u8, proof: &[u8; 16]) -> bool {
        self.mac(id, hops).verify_truncated_left(proof).is_ok()
    }

    fn mac(&self, id: &MessageId, hops: u8) -> hmac::Hmac<sha2::Sha256> {
        hmac_sha256(&self.0, &[ACK_LABEL, id.as_bytes(), &[hops]])
    }
}

impl fmt::Debug for AckKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckKey")
    }
}

/// The id of a sealed message: SHA-1 of its body.
#[must_use]
pub fn sealed_id(body: &[u8]) -> MessageId {
    MessageId::new(Sha1::digest(body).into())
}

/// Seals an envelope from `from` for the owner of `to`. `ephemeral` must be fresh random bytes.
///
/// # Errors
/// [`SealError`], if the X25519 key in `to` is not valid.
pub fn seal(
    envelope: &[u8],
    from: PeerId,
    to: &PublicKeys,
    ephemeral: &[u8; 32],
) -> Result<(Vec<u8>, AckKey), SealError> {
    let secret = StaticSecret::from(*ephemeral);
    let public = PublicKey::from(&secret);
    let receiver = to.agreement();
    let shared = secret.diffie_hellman(&PublicKey::from(receiver));
    let (cipher, ack) = keys(&shared, public.as_bytes(), &receiver)?;
    let payload = Payload {
        msg: envelope,
        aad: &parties(from, to.address()),
    };
    let sealed = cipher
        .encrypt(&Nonce::default(), payload)
        .map_err(|_| SealError)?;
    Ok(([public.as_bytes().as_slice(), &sealed].concat(), ack))
}

/// Opens a body that claims to be from `from`. The caller must check the signature of the envelope in it
/// to know that it is.
///
/// # Errors
/// [`SealError`].
pub fn open(
    body: &[u8],
    identity: &Identity,
    from: PeerId,
) -> Result<(Vec<u8>, AckKey), SealError> {
    let (public, sealed) = body.split_first_chunk::<PUBLIC_LEN>().ok_or(SealError)?;
    let shared = identity.agree(public);
    let (cipher, ack) = keys(&shared, public, &identity.public().agreement())?;
    let payload = Payload {
        msg: sealed,
        aad: &parties(from, identity.address()),
    };
    let envelope = cipher
        .decrypt(&Nonce::default(), payload)
        .map_err(|_| SealError)?;
    Ok((envelope, ack))
}

fn keys(
    shared: &SharedSecret,
    ephemeral: &[u8; 32],
    receiver: &[u8; 32],
) -> Result<(ChaCha20Poly1305, AckKey), SealError> {
    // With a key of small order the shared secret would be known to everybody.
    if !shared.was_contributory() {
        return Err(SealError);
    }
    let salt = [*ephemeral, *receiver].concat();
    let both = hkdf_sha256::<64>(&salt, shared.as_bytes(), &[KEY_LABEL]);
    let (mut key, mut ack) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    key.copy_from_slice(&both[..32]);
    ack.copy_from_slice(&both[32..]);
    Ok((ChaCha20Poly1305::new((&*key).into()), AckKey(ack)))
}

fn parties(from: PeerId, to: PeerId) -> [u8; 40] {
    let mut parties = [0; 40];
    parties[..20].copy_from_slice(from.as_bytes());
    parties[20..].copy_from_slice(to.as_bytes());
    parties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_receiver_opens_a_body_and_only_unchanged() {
        let alice = Identity::from_seed(&[1; 32]);
        let bob = Identity::from_seed(&[2; 32]);
        let eve = Identity::from_seed(&[3; 32]);
        let (body, sent) = seal(b"secret", alice.address(), bob.public(), &[4; 32]).unwrap();
        assert!(!body.windows(6).any(|window| window == b"secret"));
        let (opened, received) = open(&body, &bob, alice.address()).unwrap();
        assert_eq!(opened, b"secret");
        assert_eq!(open(&body, &eve, alice.address()).unwrap_err(), SealError);
        assert_eq!(open(&body, &bob, eve.address()).unwrap_err(), SealError);
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            // X25519 ignores the highest bit of a key (RFC 7748), but that bit is part of the salt.
            assert!(open(&changed, &bob, alice.address()).is_err(), "byte {at}");
            assert!(
                open(&body[..at], &bob, alice.address()).is_err(),
                "cut at {at}"
            );
        }
        let id = sealed_id(&body);
        let proof = received.prove(&id, 3);
        assert!(sent.verify(&id, 3, &proof));
        assert!(!sent.verify(&id, 2, &proof));
        assert!(!sent.verify(&sealed_id(b"other"), 3, &proof));
        let (_, other) = seal(b"secret", alice.address(), bob.public(), &[5; 32]).unwrap();
        assert!(!other.verify(&id, 3, &proof));
    }

    #[test]
    fn a_key_of_small_order_seals_nothing() {
        let alice = Identity::from_seed(&[1; 32]);
        let mut keys = *alice.public().as_bytes();
        keys[32..].fill(0);
        let weak = PublicKeys::new(keys);
        assert_eq!(
            seal(b"", alice.address(), &weak, &[4; 32]).unwrap_err(),
            SealError
        );
        let body = [0; 64];
        assert_eq!(open(&body, &alice, alice.address()).unwrap_err(), SealError);
    }
}
