//! Any text is decoded or refused, never a panic; what decodes is written and decodes the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::tracker::ServerMessage;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(message) = ServerMessage::decode(text) else {
        return;
    };
    let mut first = Vec::new();
    message.write_json(&mut first);
    let first = String::from_utf8(first).expect("JSON is UTF-8");
    let again = ServerMessage::decode(&first).expect("what was written decodes");
    let mut second = Vec::new();
    again.write_json(&mut second);
    assert_eq!(first.as_bytes(), second);
});
