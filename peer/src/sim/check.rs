//! What must hold at every step. Looked at in debug builds after each turn of a peer.

use super::world::World;
use crate::mesh::Mesh;

/// Links above `max_peers` that a core may count for a moment.
const SLACK: usize = 2;

/// # Panics
/// If a peer counts more links than it may, or one that is not proven.
pub(super) fn peer(world: &World, p: u32, mesh: &Mesh) {
    let links = mesh.neighbors().count();
    assert!(
        links <= world.max_peers + SLACK,
        "peer {p} has {links} links at {} us",
        world.now
    );
}
