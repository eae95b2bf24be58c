//! Frames that wait to be written to a neighbour. Bounded: a slow neighbour loses what matters least.
//! Control frames, acknowledgements and direct messages are never dropped for others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use easypeers_proto::wire::stream::write_extended;

use easypeers_core::message::Class;

/// Most frames that wait.
const MAX_FRAMES: usize = 512;

/// Most bytes that wait. An empty queue takes a frame of any size.
const MAX_BYTES: usize = 1 << 20;

/// Control frames may fill the queue up to this many times its limits. The writer's deadline closes
/// a neighbour that reads so slowly long before that.
const CONTROL_FACTOR: usize = 2;

/// Bytes that are written at once: one message of the channel.
const BATCH: usize = 16 * 1024;

#[derive(Debug)]
enum Item {
    /// Bytes of the handshakes.
    Raw(Vec<u8>),
    /// A frame, or a message of Easypeers 1, shared with other neighbours.
    Extended(Arc<[u8]>),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Extended(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(Class, Item)>,
    bytes: usize,
    closed: bool,
    /// The number that the receiver gave our extension.
    number: u8,
}

/// The queue of one link, shared by the link's task and the loop.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Outbox {
    /// Frames go out under this number from now on.
    pub(super) fn set_number(&self, number: u8) {
        self.lock().number = number;
    }

    /// Queues bytes as they are.
    pub(super) fn push_raw(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.push_item(Class::Control, Item::Raw(bytes));
        }
    }

    /// Queues a frame. Returns how many messages were dropped to make room, this one included.
    #[must_use]
    pub(super) fn push(&self, class: Class, frame: Arc<[u8]>) -> u64 {
        self.push_item(class, Item::Extended(frame))
    }

    fn push_item(&self, class: Class, item: Item) -> u64 {
        let mut queue = self.lock();
        if queue.closed {
            return 0;
        }
        let mut dropped = 0;
        while queue.is_full(item.len(), 1) {
            match queue.least() {
                Some((at, least)) if least <= class && least != Class::Control => {
                    queue.remove(at);
                    dropped += 1;
                }
                _ if class == Class::Control && !queue.is_full(item.len(), CONTROL_FACTOR) => break,
                _ => return dropped + 1,
            }
        }
        queue.bytes += item.len();
        queue.items.push_back((class, item));
        drop(queue);
        self.changed.notify_one();
        dropped
    }

    /// Queues nothing from now on. What waits is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next bytes to write, once there are any. `None` when the outbox is closed and empty.
    pub(super) async fn take(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut queue = self.lock();
                if let Some(batch) = queue.take() {
                    return Some(batch);
                }
                if queue.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing below panics while it holds the lock.
        self.queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Queue {
    fn is_full(&self, more: usize, factor: usize) -> bool {
        !self.items.is_empty()
            && (self.items.len() >= MAX_FRAMES * factor || self.bytes + more > MAX_BYTES * factor)
    }

    /// What is dropped first: the oldest of the lowest class.
    fn least(&self) -> Option<(usize, Class)> {
        let classes = self.items.iter().map(|(class, _)| *class).enumerate();
        classes.min_by_key(|(at, class)| (*class, *at))
    }

    fn remove(&mut self, at: usize) {
        if let Some((_, item)) = self.items.remove(at) {
            self.bytes -= item.len();
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let mut batch = Vec::new();
        while let Some((_, item)) = self.items.front() {
            if !batch.is_empty() && batch.len() + item.len() > BATCH {
                break;
            }
            let (_, item) = self.items.pop_front()?;
            self.bytes -= item.len();
            match item {
                Item::Raw(bytes) => batch.extend_from_slice(&bytes),
                Item::Extended(frame) => {
                    // Every frame that this peer makes is below the limit of a message.
                    let written = write_extended(self.number, &frame, &mut batch);
                    debug_assert!(written.is_ok());
                }
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, len: usize) -> Arc<[u8]> {
        vec![byte; len].into()
    }

    async fn drain(outbox: &Outbox) -> Vec<u8> {
        outbox.close();
        let mut all = Vec::new();
        while let Some(batch) = outbox.take().await {
            all.extend(batch);
        }
        all
    }

    #[tokio::test]
    async fn frames_go_out_in_order_under_the_receivers_number() {
        let outbox = Outbox::default();
        outbox.push_raw(vec![9; 3]);
        outbox.set_number(7);
        assert_eq!(outbox.push(Class::Own, frame(1, 2)), 0);
        assert_eq!(outbox.push(Class::Control, frame(2, 1)), 0);
        let expected = [9, 9, 9, 0, 0, 0, 4, 20, 7, 1, 1, 0, 0, 0, 3, 20, 7, 2];
        assert_eq!(drain(&outbox).await, expected);
    }

    #[tokio::test]
    async fn what_matters_least_is_dropped_first() {
        let outbox = Outbox::default();
        let quarter = MAX_BYTES / 4;
        for (byte, class) in [
            (1, Class::Own),
            (2, Class::Forwarded),
            (3, Class::ForwardedBulk),
            (4, Class::ForwardedBulk),
        ] {
            assert_eq!(outbox.push(class, frame(byte, quarter)), 0);
        }
        assert_eq!(
            outbox.push(Class::Own, frame(5, quarter)),
            1,
            "the older bulk"
        );
        assert_eq!(outbox.push(Class::ForwardedBulk, frame(6, quarter)), 1);
        assert_eq!(outbox.push(Class::Control, frame(7, 2 * quarter)), 2);
        assert_eq!(
            outbox.push(Class::Forwarded, frame(8, quarter)),
            1,
            "no room for it"
        );
        let all = drain(&outbox).await;
        let kept = |byte: u8| all.iter().filter(|at| **at == byte).count() >= quarter;
        let kept: Vec<u8> = (1..=8).filter(|byte| kept(*byte)).collect();
        assert_eq!(kept, [1, 5, 7]);
    }

    #[tokio::test]
    async fn control_is_kept_and_bounded() {
        let outbox = Outbox::default();
        let mut dropped = 0;
        for _ in 0..3 * MAX_FRAMES {
            dropped += outbox.push(Class::Control, frame(1, 1));
        }
        assert_eq!(dropped, MAX_FRAMES as u64);
    }
}
