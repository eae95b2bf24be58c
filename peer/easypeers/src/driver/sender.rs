//! Broadcasts of this peer: signed, in one message or as a manifest with its pieces, and answered
//! once the mesh has sent them.

use std::collections::HashMap;
use std::sync::Arc;

use easypeers_core::mesh::Input;
use easypeers_proto::MessageId;
use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::crypto::manifest::{CHUNK, Manifest};

use super::action::{Action, Count};
use super::command::Reply;
use super::content::content;
use super::signer::Signer;
use crate::model::{Data, SendError};

/// Largest broadcast that travels in one message; the size of a piece of a larger one.
const WHOLE: usize = CHUNK;

/// Broadcasts that the mesh has not sent yet.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// The callers that wait for them.
    waiting: HashMap<MessageId, Reply<Result<MessageId, SendError>>>,
}

impl Sender {
    /// Signs a broadcast and hands it to the mesh.
    pub(super) fn broadcast(
        &mut self,
        data: &Data,
        reply: Reply<Result<MessageId, SendError>>,
        signer: &mut Signer,
    ) -> Vec<Action> {
        let bytes = data.as_bytes();
        let (signed, chunks) = if bytes.len() <= WHOLE {
            let signed = signer.sign(Kind::Broadcast, content(data), &[], bytes);
            (signed, Vec::new())
        } else {
            let manifest = Manifest::encode(bytes);
            let chunks = bytes.chunks(CHUNK).map(Arc::from).collect();
            let signed = signer.sign(Kind::Manifest, content(data), &[], &manifest);
            (signed, chunks)
        };
        let message = match signed {
            Ok(message) => Arc::new(message),
            Err(error) => {
                let _ = reply.send(Err(error));
                return Vec::new();
            }
        };
        self.waiting.insert(message.id, reply);
        vec![
            Action::Count(Count::Sent),
            Action::UpdateView,
            Action::Mesh(Input::Publish { message, chunks }),
        ]
    }

    /// The mesh has sent a broadcast.
    pub(super) fn published(&mut self, id: MessageId) {
        self.answer(id, Ok(id));
    }

    /// The mesh has given up on a broadcast.
    pub(super) fn not_published(&mut self, id: MessageId, error: SendError) {
        self.answer(id, Err(error));
    }

    fn answer(&mut self, id: MessageId, result: Result<MessageId, SendError>) {
        if let Some(reply) = self.waiting.remove(&id) {
            // The caller may have stopped waiting.
            let _ = reply.send(result);
        }
    }

    /// This peer leaves: nothing more is sent.
    pub(super) fn give_up(&mut self) {
        for (_, reply) in self.waiting.drain() {
            let error = SendError::NotConnected("this peer left the swarm".to_owned());
            let _ = reply.send(Err(error));
        }
    }
}

/// Signs a beacon, which shows the mesh that this peer is there.
pub(super) fn beacon(signer: &mut Signer) -> Option<Action> {
    let signed = signer.sign(Kind::Beacon, Content::Binary, &[], &[]).ok()?;
    let (message, chunks) = (Arc::new(signed), Vec::new());
    Some(Action::Mesh(Input::Publish { message, chunks }))
}

#[cfg(test)]
mod tests {
    use easypeers_proto::crypto::Identity;
    use tokio::sync::oneshot;

    use super::*;
    use crate::rt::Clock;

    fn signer() -> Signer {
        Signer::new(Arc::new(Identity::from_seed(&[1; 32])), Clock::start())
    }

    /// The id and the number of pieces of the broadcast that these actions publish.
    fn published(actions: &[Action]) -> (MessageId, Kind, usize) {
        let [
            Action::Count(Count::Sent),
            Action::UpdateView,
            Action::Mesh(Input::Publish { message, chunks }),
        ] = actions
        else {
            panic!("{actions:?}");
        };
        (message.id, message.kind, chunks.len())
    }

    #[test]
    fn a_caller_is_answered_when_its_broadcast_is_sent() {
        let (mut sender, mut signer) = (Sender::default(), signer());
        let (reply, mut answer) = oneshot::channel();
        let actions = sender.broadcast(&"hello".into(), reply, &mut signer);
        let (id, kind, chunks) = published(&actions);
        assert_eq!((kind, chunks), (Kind::Broadcast, 0));
        assert!(answer.try_recv().is_err(), "the mesh has not sent it");
        sender.published(id);
        assert_eq!(answer.try_recv().unwrap(), Ok(id));
    }

    #[test]
    fn a_large_broadcast_is_a_manifest_with_pieces() {
        let (mut sender, mut signer) = (Sender::default(), signer());
        let (reply, mut answer) = oneshot::channel();
        let data = vec![7; 2 * WHOLE + 1].into();
        let actions = sender.broadcast(&data, reply, &mut signer);
        let (id, kind, chunks) = published(&actions);
        assert_eq!((kind, chunks), (Kind::Manifest, 3));
        sender.not_published(id, SendError::TooFast);
        assert_eq!(answer.try_recv().unwrap(), Err(SendError::TooFast));
    }

    #[test]
    fn callers_that_still_wait_learn_that_the_peer_left() {
        let (mut sender, mut signer) = (Sender::default(), signer());
        let (reply, mut answer) = oneshot::channel();
        sender.broadcast(&"hello".into(), reply, &mut signer);
        sender.give_up();
        let answer = answer.try_recv().unwrap();
        assert!(matches!(answer, Err(SendError::NotConnected(_))));
    }
}
