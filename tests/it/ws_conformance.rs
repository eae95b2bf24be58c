//! Conformance of the WebSocket core to RFC 6455, by its sections.
//!
//! A case is a list of client frames and what must come of them: messages, bytes to send, status.
//! Every case runs with several masking keys, all at once, byte by byte, and cut at every place
//! into two pieces (short ones: three); a refused one must also be refused at its last byte and
//! not before, and whatever follows must change nothing.

mod control;
mod framing;
mod props;
mod support;
mod text;
