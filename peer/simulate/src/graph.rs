//! The graph of the living peers: components, degrees, distances.
//!
//! In: the number of living peers and the links between them. A peer is named by its place among the
//! living.

use crate::index::{IndexSet, index};

/// A link that both its peers count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) ends: [usize; 2],
    /// It connects the two sides of a partition.
    pub(crate) bridge: bool,
}

/// The graph of the living peers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Graph {
    live: usize,
    pub(crate) components: usize,
    /// Peers in the largest component.
    pub(crate) largest: usize,
    edges: usize,
    pub(crate) bridges: usize,
    /// Peers that are a component of their own.
    pub(crate) isolated: usize,
}

impl Graph {
    /// Finds the components by union-find.
    pub(crate) fn new(live: usize, edges: impl Iterator<Item = Edge>) -> Self {
        let mut parents: Vec<u32> = (0..index(live)).collect();
        let mut graph = Self {
            live,
            ..Self::default()
        };
        for Edge { ends, bridge } in edges {
            graph.edges += 1;
            graph.bridges += usize::from(bridge);
            let [a, b] = ends.map(|at| root(&mut parents, at));
            parents[a as usize] = b;
        }
        let mut sizes = vec![0usize; live];
        for at in 0..live {
            sizes[root(&mut parents, at) as usize] += 1;
        }
        graph.components = sizes.iter().filter(|size| **size > 0).count();
        graph.isolated = sizes.iter().filter(|size| **size == 1).count();
        graph.largest = sizes.into_iter().max().unwrap_or(0);
        graph
    }

    /// The part of the living peers that is in the largest component.
    pub(crate) fn largest_share(&self) -> f64 {
        self.largest as f64 / self.live.max(1) as f64
    }

    pub(crate) fn mean_degree(&self) -> f64 {
        2.0 * self.edges as f64 / self.live.max(1) as f64
    }
}

fn root(parents: &mut [u32], at: usize) -> u32 {
    let mut at = at;
    while parents[at] as usize != at {
        let above = parents[at] as usize;
        parents[at] = parents[above];
        at = above;
    }
    index(at)
}

/// The number of links from a peer to the farthest peer that it reaches, breadth first.
pub(crate) fn depth(live: usize, edges: impl Iterator<Item = Edge>, from: usize) -> usize {
    let mut neighbors = vec![Vec::new(); live];
    for Edge { ends: [a, b], .. } in edges {
        neighbors[a].push(b);
        neighbors[b].push(a);
    }
    let mut depth = 0;
    let mut level = vec![from];
    let mut seen = IndexSet::default();
    seen.insert(index(from));
    loop {
        let mut next = Vec::new();
        for at in level
            .drain(..)
            .flat_map(|at| std::mem::take(&mut neighbors[at]))
        {
            if seen.insert(index(at)) {
                next.push(at);
            }
        }
        if next.is_empty() {
            return depth;
        }
        depth += 1;
        level = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of four peers, a pair and a single peer.
    fn edges() -> impl Iterator<Item = Edge> {
        let ends = [[0, 1], [1, 2], [2, 3], [5, 4]];
        ends.into_iter().map(|ends| Edge {
            ends,
            bridge: ends == [5, 4],
        })
    }

    #[test]
    fn components_are_counted_by_their_links() {
        let graph = Graph::new(7, edges());
        assert_eq!((graph.components, graph.largest, graph.isolated), (3, 4, 1));
        assert_eq!(graph.bridges, 1);
        assert!((graph.mean_degree() - 8.0 / 7.0).abs() < 1e-9);
        assert!((graph.largest_share() - 4.0 / 7.0).abs() < 1e-9);
    }

    #[test]
    fn the_depth_is_that_of_the_farthest_peer_in_reach() {
        let depths = [0, 1, 4, 6].map(|from| depth(7, edges(), from));
        assert_eq!(depths, [3, 2, 1, 0]);
    }
}
