//! Any bytes are a frame or refused, never a panic. A frame is no longer than the largest of its
//! kind, and written anew it decodes the same.

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
    assert!(Frame::max_len(frame.kind()).is_some_and(|most| bytes.len() <= most));
    let mut written = Vec::new();
    frame.encode(&mut written);
    assert_eq!(Frame::decode(&written), Ok(frame));
});
