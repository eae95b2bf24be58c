//! The WebSocket framing of a client: masked frames out, plain frames in.

use crate::ids::mix;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Longest frame taken from a server.
const MAX_FRAME: u64 = 4 << 20;

/// A frame at the beginning of received bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub last: bool,
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the frame with its header.
    pub length: usize,
}

/// The first frame; nothing when it is not complete yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err("reserved bits or a mask in a server's frame");
    }
    let (header, length) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (2, u64::from(*short)),
    };
    if length > MAX_FRAME {
        return Err("a frame above 4 MiB");
    }
    let end = header + length as usize;
    Ok(bytes.get(header..end).map(|payload| Frame {
        last: first & 0x80 != 0,
        opcode: first & 0x0f,
        payload,
        length: end,
    }))
}

/// Appends a masked frame whose payload `write` appends.
pub(crate) fn push(out: &mut Vec<u8>, opcode: u8, write: impl FnOnce(&mut Vec<u8>)) {
    // Room for the longest header; a shorter one is moved up to the payload below.
    const ROOM: usize = 14;
    let start = out.len();
    out.resize(start + ROOM, 0);
    write(out);
    let length = out.len() - start - ROOM;

    let mut header = [0; ROOM];
    header[0] = 0x80 | opcode;
    let size = match length {
        0..126 => {
            header[1] = 0x80 | length as u8;
            2
        }
        126..65_536 => {
            header[1] = 0x80 | 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 0x80 | 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    let key = (mix(length as u64 ^ (start as u64) << 32) as u32).to_be_bytes();
    header[size..size + 4].copy_from_slice(&key);
    mask(&mut out[start + ROOM..], key);
    let unused = ROOM - size - 4;
    out[start + unused..start + ROOM].copy_from_slice(&header[..size + 4]);
    if unused > 0 {
        out.drain(start..start + unused);
    }
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes(std::array::from_fn(|i| key[i % 4]));
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The payload of a client's frame, as a server would see it.
#[cfg(test)]
pub(crate) fn unmask(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    let header = match frame[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let key = *frame[header..].first_chunk().expect("a key");
    frame.drain(header..header + 4);
    frame[1] &= 0x7f;
    mask(&mut frame[header..], key);
    let parsed = parse(&frame).expect("a frame").expect("a whole frame");
    assert!(parsed.last && parsed.length == frame.len());
    parsed.payload.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_masked_and_sized() {
        for length in [0, 1, 7, 125, 126, 127, 65_535, 65_536, 70_001] {
            let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut out = b"before".to_vec();
            push(&mut out, TEXT, |out| out.extend_from_slice(&payload));
            assert_eq!(out[6], 0x81);
            assert_eq!(out[7] & 0x80, 0x80);
            assert_eq!(unmask(&out[6..]), payload);
        }
    }

    #[test]
    fn incomplete_frames_wait_and_bad_ones_fail() {
        let whole = [0x81, 126, 0, 3, b'a', b'b', b'c'];
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None));
        }
        assert!(parse(&whole).unwrap().is_some());
        assert!(parse(&[0xc1, 0]).is_err());
        assert!(parse(&[0x81, 0x80, 0, 0, 0, 0]).is_err());
        assert!(parse(&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
