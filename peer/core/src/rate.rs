//! Token buckets. A bucket allows a rate in the long run and a burst after a pause.

use std::time::Duration;

use crate::time::Now;

/// A rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens per second in the long run. Must be above 0.
    pub per_second: f32,
    /// Tokens that are available at once after a pause. Must be at least 1.
    pub burst: f32,
}

impl Rate {
    /// A rate of `per_second` tokens per second, of which `burst` may be taken at once after a pause.
    #[must_use]
    pub const fn new(per_second: f32, burst: f32) -> Self {
        Self { per_second, burst }
    }
}

/// How many broadcasts per second a member accepts from one author. A swarm may agree on another rate.
pub const AUTHOR_RATE: Rate = Rate::new(20.0, 100.0);

/// A token bucket. It does not hold its rate, which is the same for many buckets.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    /// How many tokens there were at the time `at`. Negative after an overdraft.
    tokens: f32,
    at: Now,
}

impl TokenBucket {
    /// A bucket with as many tokens as the burst of this rate.
    #[must_use]
    pub const fn full(now: Now, rate: Rate) -> Self {
        Self {
            tokens: rate.burst,
            at: now,
        }
    }

    fn level(&self, now: Now, rate: Rate) -> f32 {
        let passed = now.saturating_sub(self.at).as_secs_f32();
        (self.tokens + passed * rate.per_second).min(rate.burst)
    }

    /// Whether there is a token.
    #[must_use]
    pub fn has(&self, now: Now, rate: Rate) -> bool {
        self.level(now, rate) >= 1.0
    }

    /// Takes a token. Returns whether there was one.
    pub fn take(&mut self, now: Now, rate: Rate) -> bool {
        let level = self.level(now, rate);
        if level < 1.0 {
            return false;
        }
        self.tokens = level - 1.0;
        self.at = now;
        true
    }

    /// Takes this many tokens, even if there are fewer. Returns the time until the bucket is no longer
    /// overdrawn.
    pub fn charge(&mut self, now: Now, rate: Rate, tokens: f32) -> Duration {
        self.tokens = self.level(now, rate) - tokens;
        self.at = now;
        Duration::from_secs_f32((-self.tokens).max(0.0) / rate.per_second)
    }

    /// When the next token is available. May be in the past.
    #[must_use]
    pub fn next(&self, rate: Rate) -> Now {
        let missing = (1.0 - self.tokens).max(0.0);
        // A little later, because rounding must not wake a timer just before its token is there.
        self.at + Duration::from_secs_f32(missing / rate.per_second) + Duration::from_micros(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(20.0, 100.0);

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::full(Now::ZERO, RATE);
        let taken =
            |bucket: &mut TokenBucket, now| (0..1000).filter(|_| bucket.take(now, RATE)).count();
        assert_eq!(taken(&mut bucket, Now::ZERO), 100);
        let next = bucket.next(RATE);
        assert!(bucket.take(next, RATE) && !bucket.take(next, RATE));
        assert_eq!(taken(&mut bucket, next + Duration::from_secs(1)), 20);
        assert_eq!(taken(&mut bucket, Duration::from_secs(60)), 100);
    }
}
