//! Any bytes are an envelope, a manifest, a part of a message or refused, never a panic; nothing
//! that the fuzzer makes up carries a good signature or opens a seal.

#![no_main]

use libfuzzer_sys::fuzz_target;
use easypeers_proto::crypto::envelope::Envelope;
use easypeers_proto::crypto::manifest::Manifest;
use easypeers_proto::crypto::part::Part;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert!(envelope.payload_range().end <= bytes.len());
        assert_eq!(envelope.payload(), &bytes[envelope.payload_range()]);
        assert!(envelope.verify().is_err());
        let _ = (
            envelope.id(),
            envelope.from(),
            envelope.recipients().count(),
        );
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert!(!manifest.check(u32::MAX, bytes));
    }
    if let Ok(part) = Part::decode(bytes) {
        let mut written = Vec::new();
        part.encode(&mut written);
        assert_eq!(written, bytes);
    }
});
