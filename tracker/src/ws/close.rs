//! How a WebSocket connection ends: codes, reasons, what a peer can do wrong.
//!
//! In: the payload of the peer's Close frame, or a kind of error. Out: the code it carries, or the
//! code we close with. Nothing here keeps state.
//!
//! Source: RFC 6455, sections 5.5.1, 7.1.5 to 7.4.2, and IANA's registry of close codes, which
//! since added 1012 to 1014.

use std::borrow::Cow;
use std::time::Duration;

use thiserror::Error;

use super::CloseCode;

/// How long the driver waits for the peer's Close after ours, then drops the connection.
///
/// A live peer answers within a round trip, and 5 s is several of the worst ones with a lost
/// packet in between; a dead or hostile one must not hold its socket for longer than that.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why we close: the callback of [`receive`](super::WebSocket::receive) breaks with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// What the peer's program sees.
    pub code: CloseCode,
    /// What its user may see; cut to 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    /// A code with its reason.
    pub fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed first, with this code; `None` if its Close frame was empty.
    Peer(Option<CloseCode>),
    /// The peer answered the Close we had sent.
    Answered,
    /// The peer broke the protocol.
    Protocol(ProtocolError),
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ProtocolError {
    /// Section 5.1: a client masks every frame.
    #[error("frame is not masked")]
    UnmaskedFrame,
    /// Section 5.2: no extension was negotiated that would use them.
    #[error("reserved bits are set")]
    ReservedBits,
    /// Section 5.2: 3 to 7 and 11 to 15 mean nothing yet.
    #[error("opcode is reserved")]
    ReservedOpcode,
    /// Section 5.2: the shortest form is the only one.
    #[error("length is not in its shortest form")]
    NonMinimalLength,
    /// Section 5.2: the most significant bit of a 64-bit length must be 0.
    #[error("length has its top bit set")]
    LengthTopBit,
    /// Section 5.4: there is nothing to continue.
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// Section 5.4: the fragments of two messages must not be mixed.
    #[error("new message inside a fragmented one")]
    ExpectedContinuation,
    /// Section 5.5: control frames come whole.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5: control frames carry at most 125 bytes.
    #[error("control frame is too long")]
    ControlTooLong,
    /// Section 5.5.1: a Close frame is empty or starts with two bytes of code.
    #[error("close frame of one byte")]
    InvalidCloseLength,
    /// Section 7.4: the code is reserved, or must not be sent.
    #[error("close code is invalid")]
    InvalidCloseCode,
    /// Section 5.5.1: the reason must be UTF-8.
    #[error("close reason is not UTF-8")]
    InvalidCloseReason,
    /// Section 8.1: text must be UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// Section 10.4: our own limit.
    #[error("message is too big")]
    MessageTooBig,
}

impl ProtocolError {
    /// The code we close with.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidCloseReason => CloseCode::Invalid,
            Self::MessageTooBig => CloseCode::Size,
            _ => CloseCode::Protocol,
        }
    }

    /// Its name as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnmaskedFrame => "unmasked_frame",
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode => "reserved_opcode",
            Self::NonMinimalLength => "non_minimal_length",
            Self::LengthTopBit => "length_top_bit",
            Self::UnexpectedContinuation => "unexpected_continuation",
            Self::ExpectedContinuation => "expected_continuation",
            Self::FragmentedControl => "fragmented_control",
            Self::ControlTooLong => "control_too_long",
            Self::InvalidCloseLength => "invalid_close_length",
            Self::InvalidCloseCode => "invalid_close_code",
            Self::InvalidCloseReason => "invalid_close_reason",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::MessageTooBig => "message_too_big",
        }
    }
}

/// May the code appear in a Close frame? Not the same as [`CloseCode::is_allowed`], which does not
/// know 1014.
pub(super) const fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The code in the payload of a Close frame; `None` if it is empty.
pub(super) fn parse(payload: &[u8]) -> Result<Option<CloseCode>, ProtocolError> {
    let Some((&code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(ProtocolError::InvalidCloseLength),
        };
    };
    let code = u16::from_be_bytes(code);
    if !is_sendable(code) {
        return Err(ProtocolError::InvalidCloseCode);
    }
    if str::from_utf8(reason).is_err() {
        return Err(ProtocolError::InvalidCloseReason);
    }
    Ok(Some(code.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_way_through_the_type() {
        for code in 0..=u16::MAX {
            assert_eq!(u16::from(CloseCode::from(code)), code);
        }
    }

    #[test]
    fn payloads() {
        use ProtocolError::{InvalidCloseCode, InvalidCloseLength, InvalidCloseReason};
        type Parsed = Result<Option<CloseCode>, ProtocolError>;
        let cases: [(&[u8], Parsed); 8] = [
            (b"", Ok(None)),
            (b"\x03", Err(InvalidCloseLength)),
            (b"\x03\xe8", Ok(Some(CloseCode::Normal))),
            (b"\x03\xe9bye", Ok(Some(CloseCode::Away))),
            (b"\x03\xed", Err(InvalidCloseCode)),
            (b"\x03\xed\xff", Err(InvalidCloseCode)),
            (b"\x03\xe8\xff", Err(InvalidCloseReason)),
            (b"\x03\xe8\xc3", Err(InvalidCloseReason)),
        ];
        for (payload, expected) in cases {
            assert_eq!(parse(payload), expected, "{payload:?}");
        }
    }
}
