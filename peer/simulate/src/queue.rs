//! The queue of events. They are taken in the order of their times, and events of the same time in the
//! order in which they were added.
//!
//! A calendar queue (Brown, CACM 1988). The events of the next minute are unsorted in a ring of buckets
//! of a millisecond each, in chunks that are reused. Later events are in a heap. Only the bucket that is
//! being emptied is sorted.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::index::index;
use crate::time::Time;

/// A bucket spans 2^10 microseconds.
const WIDTH: u32 = 10;

/// The ring spans 67 s.
const BUCKETS: usize = 1 << 16;

/// Events in a chunk.
const CHUNK: usize = 16;

#[derive(Debug, Clone, Copy)]
struct Entry<T> {
    at: Time,
    serial: u64,
    event: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// Some events of one bucket.
#[derive(Debug)]
struct Chunk<T> {
    entries: Vec<Entry<T>>,
    /// The next chunk of the same bucket, or the next free one.
    next: Option<u32>,
}

/// The events of a run by time.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// The bucket that is being emptied, the next event last.
    current: Vec<Entry<T>>,
    /// Events that were added to this bucket, or to an earlier one, since it was sorted.
    added: BinaryHeap<Reverse<Entry<T>>>,
    /// The number of the bucket that is being emptied.
    bucket: u64,
    /// The first chunk of each bucket.
    ring: Vec<Option<u32>>,
    in_ring: usize,
    /// All chunks. Free ones are kept, because allocating them again would take longer.
    chunks: Vec<Chunk<T>>,
    /// The first free chunk.
    free: Option<u32>,
    /// Events after the end of the ring.
    far: BinaryHeap<Reverse<Entry<T>>>,
    /// The number of events added so far.
    serial: u64,
}

impl<T: Copy> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            current: Vec::new(),
            added: BinaryHeap::new(),
            bucket: 0,
            ring: vec![None; BUCKETS],
            in_ring: 0,
            chunks: Vec::new(),
            free: None,
            far: BinaryHeap::new(),
            serial: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Time, event: T) {
        self.serial += 1;
        let entry = Entry {
            at,
            serial: self.serial,
            event,
        };
        self.place(entry);
    }

    fn place(&mut self, entry: Entry<T>) {
        let bucket = entry.at >> WIDTH;
        if bucket <= self.bucket {
            self.added.push(Reverse(entry));
        } else if bucket - self.bucket < BUCKETS as u64 {
            self.in_ring += 1;
            let first = self.ring[slot(bucket)];
            if let Some(chunk) = first.map(|first| &mut self.chunks[first as usize])
                && chunk.entries.len() < CHUNK
            {
                chunk.entries.push(entry);
            } else {
                self.ring[slot(bucket)] = Some(self.chunk(entry, first));
            }
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Takes a free chunk, puts this entry into it and the other chunks of its bucket behind it.
    fn chunk(&mut self, entry: Entry<T>, next: Option<u32>) -> u32 {
        let at = self.free.unwrap_or_else(|| {
            self.chunks.push(Chunk {
                entries: Vec::with_capacity(CHUNK),
                next: None,
            });
            index(self.chunks.len() - 1)
        });
        let chunk = &mut self.chunks[at as usize];
        self.free = chunk.next;
        chunk.next = next;
        chunk.entries.push(entry);
        at
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, T)> {
        loop {
            let next = match (self.current.last(), self.added.peek()) {
                (Some(next), Some(Reverse(added))) if added < next => self.added_next(),
                (None, Some(_)) => self.added_next(),
                _ => self.current.pop(),
            };
            if let Some(entry) = next {
                return Some((entry.at, entry.event));
            }
            if self.in_ring > 0 {
                self.bucket += 1;
            } else {
                let Reverse(next) = self.far.peek()?;
                self.bucket = next.at >> WIDTH;
            }
            // The ring has moved on and has room for some of the far events.
            while let Some(Reverse(next)) = self.far.peek()
                && (next.at >> WIDTH) < self.bucket + BUCKETS as u64
                && let Some(Reverse(next)) = self.far.pop()
            {
                self.place(next);
            }
            self.fetch();
        }
    }

    /// Fetches and sorts the events of the bucket that is to be emptied.
    fn fetch(&mut self) {
        let mut next = self.ring[slot(self.bucket)].take();
        while let Some(at) = next {
            let chunk = &mut self.chunks[at as usize];
            self.current.append(&mut chunk.entries);
            next = chunk.next;
            chunk.next = self.free;
            self.free = Some(at);
        }
        self.in_ring -= self.current.len();
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn added_next(&mut self) -> Option<Entry<T>> {
        self.added.pop().map(|Reverse(entry)| entry)
    }

    /// Up to this many of the next events, without those that were added late.
    pub(crate) fn ahead(&self, events: usize) -> impl Iterator<Item = T> {
        self.current
            .iter()
            .rev()
            .take(events)
            .map(|entry| entry.event)
    }
}

const fn slot(bucket: u64) -> usize {
    bucket as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn events_are_taken_by_time_and_then_by_age() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut queue = Queue::new();
        let mut made = 0u32;
        let mut last = (0, 0);
        let mut taken = 0;
        for _ in 0..1000 {
            queue.push(rng.random_range(0..200_000_000), made);
            made += 1;
        }
        while let Some((at, event)) = queue.pop() {
            assert!(
                (at, event) > last || taken == 0,
                "{at} {event} after {last:?}"
            );
            last = (at, event);
            taken += 1;
            if made < 20_000 {
                let spans = [0, 1, 900, 50_000, 3_000_000, 100_000_000];
                queue.push(at + spans[rng.random_range(0..spans.len())], made);
                made += 1;
            }
        }
        assert_eq!(taken, made);
    }
}
