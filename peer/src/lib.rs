//! The native Easypeers peer, as a library. Not built yet: it will join the mesh of a topic through
//! a WebTorrent tracker, on the codec of the crate `shared`.

#![deny(missing_docs)]

/// The swarm identifier that a topic stands for, as the tracker sees it.
pub use shared::InfoHash;
