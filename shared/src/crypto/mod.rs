//! Keys, proofs and signed messages of the peer protocol. Pure: randomness is passed in as byte arrays,
//! time as a number.
//!
//! - [`identity`]: the key pairs of a peer and its address.
//! - [`topic`]: the secret that all members of a swarm share.
//! - [`admission`]: what each side of a link proves before it is admitted.
//! - [`envelope`]: signed messages. [`manifest`] and [`part`] are the payloads of large ones.
//! - [`seal`]: encryption of direct messages, which only the receiver can open.
//!
//! Every kind of signature and every derived key has its own label. Bytes that were made for one purpose
//! are therefore never valid for another.

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

/// HMAC-SHA256 (RFC 2104) with a 32-byte key over `parts`, one after another.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // The key is shorter than a block. RFC 2104 pads it with zeros, which this does here.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// HKDF-SHA256 (RFC 5869) with at most 64 bytes of output.
fn hkdf_sha256<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 64) };
    let mut key = Zeroizing::new([0; N]);
    // This fails only for more than 8,160 bytes of output.
    let expanded = hkdf::Hkdf::<Sha256>::new(Some(salt), secret).expand_multi_info(info, &mut *key);
    debug_assert!(expanded.is_ok());
    key
}
