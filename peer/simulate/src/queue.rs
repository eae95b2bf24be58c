//! Events by time. In order of their times and, at one time, in that of their making.
//!
//! A calendar queue (Brown, CACM 1988): events of the next minute lie unsorted in a ring of buckets of
//! a millisecond each, in chunks that are used again, later ones in a heap, and only the bucket that is
//! being emptied is sorted.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::index::index;
use crate::time::Time;

/// Microseconds of a bucket, as a shift.
const WIDTH: u32 = 10;

/// Buckets: 67 s.
const BUCKETS: usize = 1 << 16;

/// Events of a chunk.
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
    /// Where more of them are.
    next: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The bucket that is being emptied, the next event last.
    current: Vec<Entry<T>>,
    /// What was added to it or before it since.
    added: BinaryHeap<Reverse<Entry<T>>>,
    /// Its number.
    bucket: u64,
    /// The first chunk of each.
    ring: Vec<Option<u32>>,
    in_ring: usize,
    /// All chunks that there ever were at once, so that none is given back to be asked for again.
    chunks: Vec<Chunk<T>>,
    /// The first that is free.
    free: Option<u32>,
    far: BinaryHeap<Reverse<Entry<T>>>,
    serial: u64,
}

impl<T: Copy> Queue<T> {
    pub(super) fn new() -> Self {
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

    pub(super) fn push(&mut self, at: Time, event: T) {
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

    /// A chunk with this entry, before others.
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

    pub(super) fn pop(&mut self) -> Option<(Time, T)> {
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
            // What was far is in reach now.
            while let Some(Reverse(next)) = self.far.peek()
                && (next.at >> WIDTH) < self.bucket + BUCKETS as u64
                && let Some(Reverse(next)) = self.far.pop()
            {
                self.place(next);
            }
            self.fetch();
        }
    }

    /// Fetches the events of the bucket to be emptied.
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

    /// Some of the events that come next; those that are about to be added aside.
    pub(super) fn ahead(&self, events: usize) -> impl Iterator<Item = T> {
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
    fn events_come_by_time_and_then_by_age() {
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
