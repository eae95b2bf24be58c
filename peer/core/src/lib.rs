//! The core of an Easypeers peer as pure state machines. There are no sockets, tasks or clocks here: inputs and the
//! time go in, outputs come out, and the same inputs give the same outputs.
//!
//! - [`mesh`]: a peer's place in the mesh, composed of [`neighbors`], [`topology`], [`broadcast`] and
//!   [`routing`].
//! - [`signal`]: offers and answers, from and to trackers and members.
//! - [`schedule`]: when to announce to a tracker.
//! - [`session`]: the bytes of one link, from handshake to frames.
//! - [`message`], [`time`], [`rate`], [`tracker`]: what they have in common.
//! - [`map`], [`expiring_map`]: maps that are small, or that forget.

#![deny(missing_docs)]

pub mod broadcast;
pub mod expiring_map;
pub mod map;
pub mod mesh;
pub mod message;
pub mod neighbors;
pub mod rate;
pub mod routing;
pub mod schedule;
pub mod session;
pub mod signal;
#[cfg(test)]
mod testing;
pub mod time;
pub mod topology;
pub mod tracker;
