//! Signs the messages of this peer. Broadcasts, direct messages and bridged messages share one
//! sequence of numbers, so one part signs them all.

use std::sync::Arc;

use easypeers_core::message::Signed;
use easypeers_proto::PeerId;
use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::{Content, Draft, Kind};

use crate::model::SendError;
use crate::rt::{self, Clock};

/// The keys of this peer, and the number of its last message.
#[derive(Debug)]
pub(super) struct Signer {
    identity: Arc<Identity>,
    clock: Clock,
    sequence: u64,
}

impl Signer {
    pub(super) const fn new(identity: Arc<Identity>, clock: Clock) -> Self {
        Self {
            identity,
            clock,
            sequence: 0,
        }
    }

    /// Signs a message under the next number.
    pub(super) fn sign(
        &mut self,
        kind: Kind,
        content: Content,
        recipients: &[PeerId],
        payload: &[u8],
    ) -> Result<Signed, SendError> {
        self.sequence += 1;
        let draft = Draft {
            kind,
            content,
            epoch: self.clock.started_ms(),
            sequence: self.sequence,
            time_ms: self.clock.wall_ms(),
            recipients,
            nonce: rt::random(),
            payload,
        };
        let bytes: Arc<[u8]> = draft.sign(&self.identity).into();
        // The handle has checked the size, so every draft is within the limits.
        Signed::decode(&bytes).map_err(|_| SendError::TooLong(payload.len()))
    }
}

#[cfg(test)]
mod tests {
    use easypeers_proto::crypto::envelope::Envelope;

    use super::*;

    #[test]
    fn every_message_has_a_number_of_its_own() {
        let identity = Arc::new(Identity::from_seed(&[1; 32]));
        let mut signer = Signer::new(Arc::clone(&identity), Clock::start());
        let mut sign = |kind, to: &[PeerId]| {
            let signed = signer.sign(kind, Content::Text, to, b"hello").unwrap();
            let envelope = Envelope::decode(&signed.bytes).unwrap();
            envelope.verify().unwrap();
            assert_eq!(envelope.from(), identity.address());
            signed.sequence
        };
        assert_eq!(sign(Kind::Broadcast, &[]), 1);
        assert_eq!(sign(Kind::Direct, &[PeerId::new([2; 20])]), 2);
        assert_eq!(sign(Kind::Broadcast, &[]), 3);
    }
}
