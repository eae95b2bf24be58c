//! Frames that wait, in or out, bounded by bytes. When there are too many the oldest offers go: an
//! offer lost costs nothing that the next announce does not bring again, an answer lost costs a
//! connection. Pure.

use std::collections::VecDeque;

/// Whether a frame may be shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Offers,
    Needed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    offers: VecDeque<(T, usize)>,
    needed: VecDeque<(T, usize)>,
    bytes: usize,
    limit: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            offers: VecDeque::new(),
            needed: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Adds a frame; returns what had to go for it, oldest offers first. The frame itself is among
    /// them when it cannot be kept: offers larger than the bound, or a needed one when needed ones
    /// alone fill it twice over, which no honest node causes.
    pub(crate) fn push(&mut self, item: T, bytes: usize, class: Class, shed: &mut Vec<T>) {
        match class {
            Class::Offers => self.offers.push_back((item, bytes)),
            Class::Needed if self.bytes + bytes > 2 * self.limit => {
                shed.push(item);
                return;
            }
            Class::Needed => self.needed.push_back((item, bytes)),
        }
        self.bytes += bytes;
        while self.bytes > self.limit {
            let Some((oldest, bytes)) = self.offers.pop_front() else {
                return;
            };
            self.bytes -= bytes;
            shed.push(oldest);
        }
    }

    /// Takes up to `most` frames, needed ones first.
    pub(crate) fn take(&mut self, most: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let next = self.needed.pop_front().or_else(|| self.offers.pop_front());
            let Some((item, bytes)) = next else {
                break;
            };
            self.bytes -= bytes;
            taken.push(item);
        }
        if self.bytes == 0 {
            // A burst gives its memory back.
            self.offers = VecDeque::new();
            self.needed = VecDeque::new();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_offers_go_and_answers_stay() {
        let mut queue = Queue::new(100);
        let mut shed = Vec::new();
        for number in 0..5 {
            queue.push(number, 30, Class::Offers, &mut shed);
        }
        assert_eq!(shed, [0, 1]);
        shed.clear();
        for number in 10..16 {
            queue.push(number, 30, Class::Needed, &mut shed);
        }
        assert_eq!(shed, [2, 3, 4]);
        shed.clear();
        queue.push(16, 30, Class::Needed, &mut shed);
        queue.push(5, 1, Class::Offers, &mut shed);
        assert_eq!(shed, [16, 5]);
        assert_eq!(queue.take(4), [10, 11, 12, 13]);
        assert_eq!(queue.take(100), [14, 15]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn needed_frames_are_taken_first() {
        let mut queue = Queue::new(100);
        let mut shed = Vec::new();
        queue.push(1, 10, Class::Offers, &mut shed);
        queue.push(2, 10, Class::Needed, &mut shed);
        assert_eq!(queue.take(1), [2]);
        assert_eq!(queue.take(9), [1]);
        assert!(shed.is_empty());
    }
}
