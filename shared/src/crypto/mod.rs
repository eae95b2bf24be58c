//! Keys and proofs of the peer wire. Pure: randomness comes in as byte arrays, time as a number.
//!
//! - [`identity`]: the key pairs of a peer and its address.
//! - [`topic`]: the secret that all members of a swarm share.
//! - [`admission`]: what each side proves before a link counts.
//! - [`envelope`]: signed messages; [`manifest`] and [`part`] for large ones.
//! - [`seal`]: messages that only their receiver can read.
//!
//! Every signature and every derived key starts from a label of its own, so that bytes made for
//! one purpose never pass for another.

pub mod admission;
pub mod envelope;
pub mod identity;
pub mod manifest;
pub mod part;
pub mod seal;
pub mod topic;
#[cfg(test)]
mod vectors;

pub use identity::{Identity, PublicKeys, Signature};
pub use topic::TopicKey;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HMAC-SHA256 with a 32-byte key, fed with `parts` one after the other.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // A 32-byte key is shorter than a block: RFC 2104 pads it with zeros, as this does.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HKDF-SHA256 (RFC 5869), at most 64 bytes of output.
fn hkdf_sha256<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 64) };
    let mut key = Zeroizing::new([0; N]);
    // Only more than 8,160 bytes of output are refused.
    let expanded = hkdf::Hkdf::<Sha256>::new(Some(salt), secret).expand_multi_info(info, &mut *key);
    debug_assert!(expanded.is_ok());
    key
}
