//! Time in the core. It is an input: the core never reads a clock.

use std::time::Duration;

/// Time since the core was created, by a monotonic clock.
pub type Now = Duration;
