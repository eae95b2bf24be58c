//! The other nodes and whether offers may go to them. Pure.

use std::collections::{HashMap, HashSet};

use easypeers_proto::cluster::{NodeId, NodeStatus};

/// Most nodes remembered; a directory that names more is not ours.
pub(crate) const MAX_NODES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Alive,
    /// A frame found no receiver, or the list no longer names it. Its next sign of life, other than
    /// `beat`, revives it.
    Dead,
    /// It said so: no offers. It is never back under this id.
    Leaving,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    known: HashMap<NodeId, (State, u64)>,
}

impl Nodes {
    /// The list as it is now. Returns whether some node came or went.
    pub(crate) fn look(&mut self, listed: &[(NodeId, NodeStatus)]) -> bool {
        let mut changed = false;
        for &(node, status) in listed.iter().take(MAX_NODES) {
            let (state, beat) = self.known.entry(node).or_insert((State::Dead, u64::MAX));
            if *state == State::Dead && *beat != status.heartbeat {
                (*state, changed) = (State::Alive, true);
            }
            *beat = status.heartbeat;
        }
        let listed: HashSet<_> = listed.iter().map(|(node, _)| *node).collect();
        for (node, (state, _)) in &mut self.known {
            if *state == State::Alive && !listed.contains(node) {
                (*state, changed) = (State::Dead, true);
            }
        }
        if self.known.len() > 4 * MAX_NODES {
            self.known.retain(|node, _| listed.contains(node));
        }
        changed
    }

    /// Whether offers may go there.
    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        matches!(self.known.get(&node), Some((State::Alive, _)))
    }

    /// Nodes that a list may tell more about.
    pub(crate) fn is_known(&self, node: NodeId) -> bool {
        self.known.contains_key(&node)
    }

    /// It was looked for and is not on the list.
    pub(crate) fn is_missing(&mut self, node: NodeId) {
        if self.known.len() < 4 * MAX_NODES {
            self.known.entry(node).or_insert((State::Dead, u64::MAX));
        }
    }

    /// A frame found no receiver. Returns whether that is news.
    pub(crate) fn lose(&mut self, node: NodeId) -> bool {
        match self.known.get_mut(&node) {
            Some((state @ State::Alive, _)) => {
                *state = State::Dead;
                true
            }
            _ => false,
        }
    }

    /// It takes no more offers.
    pub(crate) fn leave(&mut self, node: NodeId) {
        if self.known.len() < 4 * MAX_NODES {
            self.known.insert(node, (State::Leaving, u64::MAX));
        }
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = NodeId> {
        let known = self.known.iter();
        known.filter_map(|(node, (state, _))| (*state == State::Alive).then_some(*node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(nodes: &[(u64, u64)]) -> Vec<(NodeId, NodeStatus)> {
        let status = |heartbeat| NodeStatus {
            heartbeat,
            started_s: 0,
            peers: 0,
        };
        let nodes = nodes.iter();
        nodes
            .map(|&(node, beat)| (NodeId::new(node), status(beat)))
            .collect()
    }

    #[test]
    fn nodes_come_and_go_with_the_list() {
        let mut nodes = Nodes::default();
        assert!(nodes.look(&listed(&[(1, 5), (2, 9)])));
        assert!(!nodes.look(&listed(&[(1, 6), (2, 9)])));
        assert_eq!(nodes.alive().count(), 2);
        assert!(nodes.look(&listed(&[(1, 7)])));
        assert!(nodes.is_alive(NodeId::new(1)) && !nodes.is_alive(NodeId::new(2)));
        assert!(!nodes.is_alive(NodeId::new(3)) && !nodes.is_known(NodeId::new(3)));
    }

    #[test]
    fn a_lost_node_is_back_with_its_next_sign_of_life_only() {
        let mut nodes = Nodes::default();
        nodes.look(&listed(&[(1, 5)]));
        assert!(nodes.lose(NodeId::new(1)) && !nodes.lose(NodeId::new(1)));
        nodes.look(&listed(&[(1, 5)]));
        assert!(!nodes.is_alive(NodeId::new(1)));
        nodes.look(&listed(&[(1, 6)]));
        assert!(nodes.is_alive(NodeId::new(1)));
    }

    #[test]
    fn who_leaves_does_not_return() {
        let mut nodes = Nodes::default();
        nodes.look(&listed(&[(1, 5)]));
        nodes.leave(NodeId::new(1));
        nodes.look(&listed(&[(1, 6)]));
        assert!(!nodes.is_alive(NodeId::new(1)));
    }

    #[test]
    fn a_list_of_strangers_is_bounded() {
        let mut nodes = Nodes::default();
        for number in 0..100 {
            let many: Vec<_> = (0..2000).map(|n| (number * 10_000 + n, 1)).collect();
            nodes.look(&listed(&many));
            nodes.is_missing(NodeId::new(u64::MAX - number));
        }
        assert!(nodes.known.len() <= 5 * MAX_NODES);
    }
}
