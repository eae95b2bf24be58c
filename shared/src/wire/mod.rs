//! What runs on a link: a byte stream, of which message boundaries mean nothing.
//!
//! - [`handshake`]: the 68 bytes that both sides send first (BEP 3).
//! - [`stream`]: bytes in any pieces in, handshake and messages out.
//! - [`extension`]: the extended handshake (BEP 10), which says who speaks what.
//! - [`frame`]: the frames of our own extension, `ep2`.
//! - [`v1`]: the `sw_easypeers` message of Easypeers 1 and its certificate.

pub mod extension;
pub mod frame;
pub mod handshake;
pub mod stream;
pub mod v1;
pub(crate) mod varint;
