//! WebSocket frames: header bytes to [`Header`], payloads to the frames a server sends.
//!
//! In: the bytes of a client's frame header, or the payload of a frame to send. Out: the parsed
//! header and its size, or the finished frame. Nothing here keeps state.
//!
//! Invariants: [`Header::parse`] is monotone, so a header refused once all of it is there is
//! refused for the same reason however it was cut, and as early as its bytes allow; what it
//! returns is masked, minimal in its length and within the limit it was given. Server frames are
//! final, unmasked and carry no reserved bits.
//!
//! Source: RFC 6455, sections 5.1 to 5.3, 5.5 and 7.1.6.

use super::close::{self, ProtocolError};
use super::{CloseCode, Control, Data, OpCode};

/// Room to leave in front of a payload that is assembled in a `Vec`: the longest server header.
pub const HEADER_ROOM: usize = 10;

/// The longest client header: two bytes, eight of length, four of masking key.
pub(super) const MAX_HEADER: usize = 14;

/// The most a control frame may carry (section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// The most text a Close frame may carry: a control frame less the code.
const MAX_REASON: usize = MAX_CONTROL - 2;

/// An empty ping, ready to send.
pub const PING: [u8; 2] = [FIN | 0x9, 0];

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// What the state of the connection says about the next frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expect {
    /// `Some` while messages are read: is a fragmented one under way? `None`: any data frame goes.
    pub(super) fragmented: Option<bool>,
    /// How much payload the message may still get.
    pub(super) room: u64,
}

/// A client frame's header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) last: bool,
    pub(super) opcode: OpCode,
    /// The masking key, first byte for the first byte of payload still to come.
    pub(super) mask: [u8; 4],
    /// Bytes of payload still to come.
    pub(super) left: u64,
}

impl Header {
    /// The header at the start of `bytes` and its size; `None` while it is incomplete.
    pub(super) fn parse(
        bytes: &[u8],
        expect: Expect,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let last = first & FIN != 0;
        let opcode = OpCode::from(first & 0x0f);
        match opcode {
            OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
                return Err(ProtocolError::ReservedOpcode);
            }
            OpCode::Control(_) if !last => return Err(ProtocolError::FragmentedControl),
            OpCode::Data(Data::Continue) if expect.fragmented == Some(false) => {
                return Err(ProtocolError::UnexpectedContinuation);
            }
            OpCode::Data(Data::Text | Data::Binary) if expect.fragmented == Some(true) => {
                return Err(ProtocolError::ExpectedContinuation);
            }
            OpCode::Data(_) | OpCode::Control(_) => {}
        }

        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(ProtocolError::UnmaskedFrame);
        }
        let short = second & !MASKED;
        let control = matches!(opcode, OpCode::Control(_));
        if control && usize::from(short) > MAX_CONTROL {
            return Err(ProtocolError::ControlTooLong);
        }
        let (left, size) = match short {
            126 => {
                let Some(length) = array(bytes, 2) else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(length)), 4)
            }
            127 => {
                let Some(length) = array(bytes, 2) else {
                    return Ok(None);
                };
                (u64::from_be_bytes(length), 10)
            }
            short => (u64::from(short), 2),
        };
        if left >> 63 != 0 {
            return Err(ProtocolError::LengthTopBit);
        }
        if header_size(left) != size {
            return Err(ProtocolError::NonMinimalLength);
        }
        if !control && left > expect.room {
            return Err(ProtocolError::MessageTooBig);
        }
        Ok(array(bytes, size).map(|mask| {
            let header = Self {
                last,
                opcode,
                mask,
                left,
            };
            (header, size + mask.len())
        }))
    }
}

/// The `N` bytes at `at`, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Masks or unmasks `data` in place, the key's first byte on its first (section 5.3).
pub(super) fn unmask(data: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, tail) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The size of an unmasked header for `length` bytes of payload.
const fn header_size(length: u64) -> usize {
    match length {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// The header of a server frame, at the end of the array, and where it starts.
fn header(opcode: OpCode, length: usize) -> ([u8; HEADER_ROOM], usize) {
    let length = length as u64;
    // The last bytes are already the length in the form the header wants.
    let mut bytes = [0; HEADER_ROOM];
    bytes[2..].copy_from_slice(&length.to_be_bytes());
    let size = header_size(length);
    let start = HEADER_ROOM - size;
    bytes[start] = FIN | u8::from(opcode);
    match size {
        2 => bytes[9] = length as u8,
        4 => bytes[start + 1] = 126,
        _ => bytes[start + 1] = 127,
    }
    (bytes, start)
}

/// Writes the header of a final, unmasked frame directly in front of the payload and returns the
/// frame. `buf[..HEADER_ROOM]` is scratch, the payload is `buf[HEADER_ROOM..]`.
///
/// # Panics
///
/// If `buf` is shorter than [`HEADER_ROOM`].
pub fn finish(buf: &mut [u8], opcode: OpCode) -> &[u8] {
    let (bytes, start) = header(opcode, buf.len() - HEADER_ROOM);
    buf[start..HEADER_ROOM].copy_from_slice(&bytes[start..]);
    &buf[start..]
}

/// Appends a whole frame: final, unmasked.
pub fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let (bytes, start) = header(opcode, payload.len());
    let header = &bytes[start..];
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
}

/// Appends a Close frame. The reason is cut to what fits, at a character boundary; a code that
/// must not be sent (section 7.4.1, such as [`CloseCode::Status`]) makes the frame an empty one.
pub fn write_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let code = u16::from(code);
    let mut body = [0; MAX_CONTROL];
    let mut size = 0;
    if close::is_sendable(code) {
        let reason = cut(reason);
        size = 2 + reason.len();
        body[..2].copy_from_slice(&code.to_be_bytes());
        body[2..size].copy_from_slice(reason.as_bytes());
    }
    write(out, OpCode::Control(Control::Close), &body[..size]);
}

/// The longest start of `reason` that fits into a Close frame.
fn cut(reason: &str) -> &str {
    (0..=MAX_REASON)
        .rev()
        .find_map(|end| reason.get(..end.min(reason.len())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: OpCode = OpCode::Data(Data::Text);

    #[test]
    fn unmask_is_the_same_at_every_offset_and_length() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let data: Vec<u8> = (0..64).map(|i: u8| i.wrapping_mul(73)).collect();
        for start in 0..16 {
            for end in start..data.len() {
                let mut fast = data.clone();
                unmask(&mut fast[start..end], key);
                let mut naive = data.clone();
                for (i, byte) in naive[start..end].iter_mut().enumerate() {
                    *byte ^= key[i % 4];
                }
                assert_eq!(fast, naive, "{start}..{end}");
            }
        }
    }

    #[test]
    fn headers_by_length() {
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65535, &[0x81, 126, 0xff, 0xff]),
            (65536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 20, &[0x81, 127, 0, 0, 0, 0, 0, 16, 0, 0]),
        ];
        for (length, header) in cases {
            let mut expected = header.to_vec();
            expected.resize(header.len() + length, b'x');

            let mut buf = vec![0xee; HEADER_ROOM];
            buf.resize(HEADER_ROOM + length, b'x');
            assert_eq!(finish(&mut buf, TEXT), expected, "{length}");

            let mut out = vec![0xee];
            write(&mut out, TEXT, &buf[HEADER_ROOM..]);
            assert_eq!(&out[1..], expected, "{length}");
        }
    }

    #[test]
    fn ping_is_what_write_makes_of_it() {
        let mut out = Vec::new();
        write(&mut out, OpCode::Control(Control::Ping), &[]);
        assert_eq!(out, PING);
    }

    #[test]
    fn close_frames() {
        let cases: [(CloseCode, &str, &[u8]); 5] = [
            (CloseCode::Normal, "", &[0x88, 2, 0x03, 0xe8]),
            (CloseCode::Away, "bye", b"\x88\x05\x03\xe9bye"),
            (CloseCode::Status, "lost", &[0x88, 0]),
            (CloseCode::Abnormal, "", &[0x88, 0]),
            (CloseCode::Bad(1014), "", &[0x88, 2, 0x03, 0xf6]),
        ];
        for (code, reason, expected) in cases {
            let mut out = Vec::new();
            write_close(&mut out, code, reason);
            assert_eq!(out, expected, "{code} {reason}");
        }
    }

    #[test]
    fn long_reasons_are_cut_at_a_character() {
        for (reason, kept) in [
            ("x".repeat(123), 123),
            ("x".repeat(124), 123),
            ("é".repeat(100), 122),
            ("€".repeat(100), 123),
            ("🦀".repeat(100), 120),
        ] {
            let mut out = Vec::new();
            write_close(&mut out, CloseCode::Normal, &reason);
            assert_eq!(out.len(), 4 + kept);
            assert_eq!(usize::from(out[1]), 2 + kept);
            assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
        }
    }

    #[test]
    fn a_header_comes_out_once_its_key_is_there() {
        let expect = Expect {
            fragmented: Some(false),
            room: 1 << 20,
        };
        let full = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5];
        for end in 0..MAX_HEADER {
            assert!(matches!(Header::parse(&full[..end], expect), Ok(None)));
        }
        for end in MAX_HEADER..=full.len() {
            let Ok(Some((header, size))) = Header::parse(&full[..end], expect) else {
                panic!("no header in {end} bytes");
            };
            assert_eq!(size, MAX_HEADER);
            assert_eq!((header.last, header.left), (true, 65536));
            assert_eq!(header.mask, [1, 2, 3, 4]);
            assert_eq!(header.opcode, OpCode::Data(Data::Binary));
        }
    }
}
