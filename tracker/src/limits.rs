//! Rate limits as plain arithmetic: time in, verdict out.

/// A token bucket: `rate` tokens a second, at most `burst` saved up. Starts full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    /// Tokens there were at `at_ms`.
    tokens: f32,
    /// When they were counted, in milliseconds of the server's clock.
    at_ms: u64,
}

impl TokenBucket {
    pub(crate) const fn full(now_ms: u64, burst: u32) -> Self {
        Self {
            tokens: burst as f32,
            at_ms: now_ms,
        }
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, now_ms: u64, rate: u32, burst: u32) -> bool {
        let elapsed = now_ms.saturating_sub(self.at_ms) as f32 / 1000.0;
        self.tokens = (self.tokens + elapsed * rate as f32).min(burst as f32);
        self.at_ms = self.at_ms.max(now_ms);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// Whether nothing was taken for so long that the bucket need not be kept.
    pub(crate) fn is_full(&self, now_ms: u64, rate: u32, burst: u32) -> bool {
        let elapsed = now_ms.saturating_sub(self.at_ms) as f32 / 1000.0;
        self.tokens + elapsed * rate as f32 >= burst as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut bucket = TokenBucket::full(1_000, 5);
        assert_eq!((0..9).filter(|_| bucket.take(1_000, 2, 5)).count(), 5);
        assert!(!bucket.take(1_400, 2, 5));
        assert!(bucket.take(1_900, 2, 5));
        assert!(!bucket.take(1_900, 2, 5));
        assert!(!bucket.is_full(2_000, 2, 5));
        assert!(bucket.is_full(5_000, 2, 5));
        assert_eq!((0..9).filter(|_| bucket.take(1_000_000, 2, 5)).count(), 5);
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing() {
        let mut bucket = TokenBucket::full(10_000, 1);
        assert!(bucket.take(10_000, 1, 1));
        assert!(!bucket.take(5_000, 1, 1));
        assert!(!bucket.take(10_500, 1, 1));
        assert!(bucket.take(11_000, 1, 1));
    }
}
