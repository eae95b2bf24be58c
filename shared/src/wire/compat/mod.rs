//! What Easypeers 1 sends: the `sw_easypeers` message, JSON in a bencoded byte string, and the
//! certificate in it. Facts about the original here come from its traffic and its behaviour.
//!
//! - [`message`]: the message, its id, and how it is forwarded.
//! - [`certificate`]: keys, making and checking, and what a certificate is (not) worth.

pub mod certificate;
pub mod message;
mod number;
mod prime;

pub use certificate::{Certificate, CertificateError, PublicKey};
pub use message::{Message, MessageError};

#[cfg(test)]
mod tests;
