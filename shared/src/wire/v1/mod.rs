//! What Easypeers 1 ("v1") sends: the `sw_easypeers` message, JSON in a bencoded byte string, and the
//! certificate in it. Facts about its behaviour come from its traffic.
//!
//! - [`message`]: the message, its id, and how it is forwarded.
//! - `certificate`: keys, making and checking certificates, and what a certificate is (not) worth.
//!
//! Members of the mesh carry such messages and read them to check their ids, with or without the
//! feature `compat`. Only with it can a peer write them and deal with certificates.

#[cfg(feature = "compat")]
pub mod certificate;
pub mod message;
#[cfg(feature = "compat")]
mod number;
#[cfg(feature = "compat")]
mod prime;

#[cfg(feature = "compat")]
pub use certificate::{Certificate, CertificateError, PublicKey};
pub use message::{Message, MessageError};

/// Bytes of a text that is certified or checked: the cost grows with it. A text of this length under
/// a key of 512 bits is the most expensive one: 15 ms (docs/measurements/peer.md).
pub const MAX_TEXT: usize = 4096;

#[cfg(test)]
#[cfg(feature = "compat")]
mod tests;
