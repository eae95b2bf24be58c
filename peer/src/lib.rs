//! Native peer.
