//! The stream of events that an application reads.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use tokio::sync::broadcast;

use crate::model::Event;

/// Events that wait for an application that does not read: enough for a burst of chat, and few
/// enough that large messages cannot fill the memory. Any more are lost and counted in
/// [`Event::Lagged`].
pub const EVENT_QUEUE: usize = 256;

/// The events from the moment it was made. Ends when the peer is closed.
///
/// It holds at most [`EVENT_QUEUE`] events. An application that does not read in time gets
/// [`Event::Lagged`] with the number of events that it missed.
pub struct Events(Pin<Box<dyn Stream<Item = Event> + Send>>);

impl Events {
    pub(super) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(broadcast::error::RecvError::Lagged(lost)) => Event::Lagged(lost),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((event, receiver))
        });
        Self(Box::pin(stream))
    }

    /// The next event; `None` when the peer is closed.
    pub async fn next(&mut self) -> Option<Event> {
        futures_util::StreamExt::next(&mut self.0).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
