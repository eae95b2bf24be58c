//! Any bytes are a frame between tracker nodes, an entry of their directory or refused, never a
//! panic; what decodes is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::cluster::{Counts, Frame, FrameKind, NodeStatus};

fuzz_target!(|bytes: &[u8]| {
    let kind = FrameKind::of(bytes);
    if let Ok(frame) = Frame::decode(bytes) {
        assert!(kind.is_ok());
        assert_eq!(frame.encode().expect("what was read fits"), bytes.to_vec());
    }
    if let Ok(counts) = Counts::decode(bytes) {
        assert_eq!(&counts.encode()[..], bytes);
    }
    if let Ok(status) = NodeStatus::decode(bytes) {
        assert_eq!(&status.encode()[..], bytes);
    }
});
