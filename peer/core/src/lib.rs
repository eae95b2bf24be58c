//! The core of an Easypeers peer: pure state machines without sockets, clocks or tasks.

pub mod map;
pub mod mesh;
pub mod schedule;
pub mod session;
pub mod signal;
pub mod tracker;
