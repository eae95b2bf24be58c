//! The bytes on a link. They are one stream: the boundaries of data channel messages have no meaning.
//!
//! - [`handshake`]: the 68 bytes that both sides send first (BEP 3).
//! - [`stream`]: turns bytes in pieces of any size into the handshake and messages.
//! - [`extension`]: the extended handshake (BEP 10), which says which extensions a peer speaks.
//! - [`frame`]: the frames of our own extension, `ep2`.
//! - [`v1`]: the `sw_easypeers` message of Easypeers 1 and its certificate.

pub mod extension;
pub mod frame;
pub mod handshake;
pub mod stream;
pub mod v1;
pub(crate) mod varint;
