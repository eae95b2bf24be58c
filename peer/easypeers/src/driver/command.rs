//! What a handle asks of the driver.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::Identity;
use easypeers_proto::{InfoHash, MessageId, PeerId};
use tokio::sync::oneshot;

use crate::model::{Data, Receipt, SendError};

/// Carries the answer to a command. It may be dropped: the caller may have stopped waiting.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Broadcast {
        data: Data,
        reply: Reply<Result<MessageId, SendError>>,
    },
    Direct {
        to: PeerId,
        data: Data,
        reply: Reply<Result<Receipt, SendError>>,
    },
    SetIdentity {
        identity: Arc<Identity>,
        reply: Reply<()>,
    },
    #[cfg(feature = "compat")]
    SetAddress {
        address: PeerId,
        reply: Reply<Result<(), SendError>>,
    },
    SetIdentifier {
        identifier: InfoHash,
        reply: Reply<()>,
    },
    SetMaxPeers {
        max_peers: usize,
        reply: Reply<()>,
    },
    SetTimeout {
        timeout: Duration,
        reply: Reply<()>,
    },
    Disconnect {
        peer: PeerId,
        reply: Reply<bool>,
    },
    UseTrackers {
        use_them: bool,
        reply: Reply<()>,
    },
    Close {
        reply: Reply<()>,
    },
}
