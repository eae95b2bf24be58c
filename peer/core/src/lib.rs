//! The core of an Easypeers peer: pure state machines without sockets, clocks or tasks.

pub mod expiring_map;
pub mod map;
pub mod mesh;
pub mod rate;
pub mod schedule;
pub mod session;
pub mod signal;
pub mod time;
pub mod tracker;
