//! The server's side of a WebSocket connection, without the connection.
//!
//! In: bytes as they were read from the socket, after the HTTP upgrade. Out: messages for the
//! caller, and the frames the protocol itself has to send (pongs, Close), appended to a buffer
//! the driver flushes. No I/O, no clock: what waits for time, such as [`CLOSE_TIMEOUT`] or a
//! ping interval, is the driver's.
//!
//! Invariants: how the input is cut into pieces changes nothing about messages, frames and final
//! status. An idle connection owns no heap memory; a busy one never more than its limit, one
//! control frame and a fixed size. Every violation of the protocol is found as soon as the bytes
//! that prove it are there, ends the connection, and is answered by one Close frame at most.
//!
//! Source: RFC 6455, sections 5 to 8 and 10.4. Extensions are not negotiated (section 9).

mod assembly;
mod close;
pub mod frame;
mod read;

pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub use self::close::{CLOSE_TIMEOUT, Close, CloseReason, ProtocolError};
pub use self::read::WebSocket;

/// What a connection reads. It borrows the read buffer if the whole message was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// Where a connection is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Messages are read and may be sent.
    Open,
    /// We sent a Close; of what the peer sends only its Close still counts. Nothing may be sent.
    Closing,
    /// Both sides are done, or the peer broke the protocol. The driver flushes what it has and
    /// shuts the TCP connection down.
    Closed(CloseReason),
}

/// What the driver must know about some input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Received {
    /// After all of the input.
    pub status: Status,
    /// A pong was among it: the peer is alive.
    pub pong: bool,
}
