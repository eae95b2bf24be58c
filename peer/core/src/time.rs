//! Time as the cores see it: an input, never read from a clock.

use std::time::Duration;

/// Time since the core was made, by a monotonic clock.
pub type Now = Duration;
