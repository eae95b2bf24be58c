//! Easypeers: self-healing partial meshes over WebRTC, introduced by WebTorrent trackers.
//!
//! ```no_run
//! use easypeers::{Easypeers, Event, Options};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let peer = Easypeers::join("my topic", Options::default()).await?;
//! let mut events = peer.events();
//! peer.send("hello, mesh").await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message(message) = event {
//!         println!("{}: {:?}", message.from, message.data.as_text());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The feature `compat`, off by default, adds links to peers of Easypeers 1. Their messages are not
//! authenticated.
//!
//! Inside: `api` is the handle, `driver` the task behind it, `model` the types of both. Below are
//! [`link`] (WebRTC), [`tracker`] (signalling) and `rt` (tasks and clocks of the platform). The
//! protocol itself is in `easypeers-core`.

#![deny(missing_docs)]

mod api;
mod driver;
pub mod link;
mod model;
mod rt;
pub mod tracker;
#[cfg(target_family = "wasm")]
pub mod web;

pub use api::{EVENT_QUEUE, Easypeers, Events};
pub use easypeers_core::rate::Rate;
pub use easypeers_proto::crypto::Identity;
pub use easypeers_proto::{InfoHash, MessageId, PeerId};
pub use model::{
    DEFAULT_MAX_PEERS, DEFAULT_TIMEOUT, DEFAULT_TRACKER, Data, Event, IceServers, JoinError,
    Limits, MAX_MAX_PEERS, MAX_MESSAGE, MIN_MAX_PEERS, Message, Options, PeerInfo, Receipt,
    SendError, State, Stats, Status, TrackerInfo,
};
