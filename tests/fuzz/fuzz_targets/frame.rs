//! Any bytes are a frame or refused, never a panic; what decodes is written and decodes the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::wire::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = Frame::decode(bytes) else {
        return;
    };
    if matches!(frame, Frame::Unknown(_)) {
        return;
    }
    let mut written = Vec::new();
    frame.encode(&mut written);
    assert_eq!(Frame::decode(&written), Ok(frame));
});
