//! One peer connection of the stack. The stack's callbacks become a state to wait for, and the
//! channel that the other side opened.
//!
//! Invariant: dropping a [`Connection`] closes it. The handler owns nothing that owns the
//! connection: a channel that was not taken is dropped with the receiving end of its queue.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionEventHandler, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState,
};

/// The state of a connection. Only ever replaced as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// Not connected yet.
    #[default]
    New,
    /// ICE and DTLS are up.
    Connected,
    /// The other side stopped answering; it may come back.
    Suspect,
    /// ICE gave up, or DTLS failed.
    Failed,
    /// The other side opened a channel that it must not open.
    Violated,
    /// Closed by either side.
    Closed,
}

impl State {
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Violated | Self::Closed)
    }
}

/// How far the search for our own candidates is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Default)]
pub(super) enum Gathering {
    #[default]
    Nothing,
    SomeCandidate,
    Complete,
}

/// What the stack calls.
#[derive(Debug)]
pub(super) struct Handler {
    state: watch::Sender<State>,
    gathering: watch::Sender<Gathering>,
    channel: mpsc::Sender<Arc<dyn DataChannel>>,
}

/// The other ends of a [`Handler`].
pub(super) struct Signals {
    pub(super) state: watch::Receiver<State>,
    pub(super) gathering: watch::Receiver<Gathering>,
    pub(super) channel: mpsc::Receiver<Arc<dyn DataChannel>>,
}

impl Handler {
    pub(super) fn new() -> (Self, Signals) {
        let (state, state_seen) = watch::channel(State::default());
        let (gathering, gathering_seen) = watch::channel(Gathering::default());
        // One: a second channel is a reason to close.
        let (channel, channels) = mpsc::channel(1);
        let handler = Self {
            state,
            gathering,
            channel,
        };
        let signals = Signals {
            state: state_seen,
            gathering: gathering_seen,
            channel: channels,
        };
        (handler, signals)
    }

    fn on_state(&self, state: RTCPeerConnectionState) {
        let state = match state {
            RTCPeerConnectionState::Connected => State::Connected,
            RTCPeerConnectionState::Disconnected => State::Suspect,
            RTCPeerConnectionState::Failed => State::Failed,
            RTCPeerConnectionState::Closed => State::Closed,
            _ => return,
        };
        self.state.send_if_modified(|now| {
            let changes = !now.is_over() && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }

    fn on_gathering(&self, reached: Gathering) {
        self.gathering.send_if_modified(|now| {
            let further = reached > *now;
            if further {
                *now = reached;
            }
            further
        });
    }

    fn on_channel(&self, channel: Arc<dyn DataChannel>) {
        if self.channel.try_send(channel).is_err() {
            self.state.send_replace(State::Violated);
        }
    }
}

type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

fn done<'a>() -> Done<'a> {
    Box::pin(std::future::ready(()))
}

/// The trait is declared with `async_trait`. These are the signatures that it expands to.
impl PeerConnectionEventHandler for Handler {
    fn on_ice_candidate<'a, 'b>(&'a self, _: RTCPeerConnectionIceEvent) -> Done<'b>
    where
        'a: 'b,
    {
        self.on_gathering(Gathering::SomeCandidate);
        done()
    }

    fn on_ice_gathering_state_change<'a, 'b>(&'a self, state: RTCIceGatheringState) -> Done<'b>
    where
        'a: 'b,
    {
        if state == RTCIceGatheringState::Complete {
            self.on_gathering(Gathering::Complete);
        }
        done()
    }

    fn on_connection_state_change<'a, 'b>(&'a self, state: RTCPeerConnectionState) -> Done<'b>
    where
        'a: 'b,
    {
        self.on_state(state);
        done()
    }

    fn on_data_channel<'a, 'b>(&'a self, channel: Arc<dyn DataChannel>) -> Done<'b>
    where
        'a: 'b,
    {
        self.on_channel(channel);
        done()
    }
}

/// A peer connection that is closed when it is dropped.
pub(super) struct Connection {
    stack: Arc<dyn PeerConnection>,
    closed: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(stack: impl PeerConnection) -> Self {
        Self {
            stack: Arc::new(stack),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn stack(&self) -> &dyn PeerConnection {
        &*self.stack
    }

    /// Tells the other side (SCTP ABORT, DTLS close_notify) and frees all resources. Idempotent.
    pub(super) async fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            close(Arc::clone(&self.stack)).await;
        }
    }
}

async fn close(stack: Arc<dyn PeerConnection>) {
    if let Err(error) = stack.close().await {
        tracing::debug!(%error, "connection did not close cleanly");
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        // Without a runtime there is nothing to free either: the driver ended with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(close(Arc::clone(&self.stack)));
        }
    }
}
