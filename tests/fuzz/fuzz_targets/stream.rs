//! A link's byte stream, cut into pieces in two ways, gives the same events; what it owns is bounded.
//!
//! Input: one byte of piece size, then the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::wire::extension::ExtensionHandshake;
use easypeers_proto::wire::stream::{Decoder, Event};

/// Events as text, up to the end or the error.
fn read(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for mut input in bytes.chunks(piece) {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(event)) => {
                    events.push(format!("{event:?}"));
                    if let Event::Extended { id: 0, payload } = event {
                        let _ = ExtensionHandshake::decode(&payload);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    events.push(format!("{error:?}"));
                    return events;
                }
            }
        }
        assert!(decoder.heap_bytes() <= 2 * bytes.len() + 1024);
    }
    events
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((piece, stream)) = bytes.split_first() {
        let piece = usize::from(*piece).max(1);
        assert_eq!(read(stream, piece), read(stream, stream.len().max(1)));
    }
});
