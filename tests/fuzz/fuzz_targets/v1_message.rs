//! Any payload is a message of Easypeers 1 or refused, never a panic; what is forwarded is read again
//! and names us. Certificates end within their bounds, whatever numbers they hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::PeerId;
use easypeers_proto::wire::v1::message::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let _ = message.verify();
    let me = PeerId::new([7; 20]);
    let mut forward = Vec::new();
    if message.write_forward(me, &mut forward) {
        let again = Message::decode(&forward).expect("what was written decodes");
        assert_eq!(
            (&again.id, &again.text, again.from),
            (&message.id, &message.text, message.from)
        );
        assert!(again.has.expect("it is forwarded").contains(&me));
    }
});
