//! Support for tests that talk to a tracker over real sockets, all on loopback, each test with a
//! server of its own on a port that the system chose.
//!
//! Nothing here sleeps for a fixed time: [`wait::within`] bounds a wait, [`wait::until`] repeats a
//! question, and [`Client::fence`] shows that nothing else is on its way.

pub mod client;
pub mod files;
pub mod http;
pub mod ids;
pub mod messages;
pub mod raw;
pub mod server;
pub mod tls;
pub mod wait;

pub use client::{Client, Received};
pub use files::TempDir;
pub use http::Response;
pub use ids::{hash, offer_id, peer};
pub use messages::{Announce, answer, sdp};
pub use raw::RawClient;
pub use server::TestServer;
pub use wait::{until, within};
