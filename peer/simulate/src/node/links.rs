//! The connections of one peer, and those of them that are not links yet.

use easypeers_core::signal::AttemptId;

/// The connections of one peer.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// Connections that the mesh may know.
    all: Vec<u32>,
    /// Those that the mesh does not count yet, with the attempts that they came from.
    opening: Vec<(u32, AttemptId)>,
}

impl Links {
    /// A connection opens.
    pub(crate) fn open(&mut self, c: u32, attempt: AttemptId) {
        self.all.push(c);
        self.opening.push((c, attempt));
    }

    pub(crate) fn all(&self) -> &[u32] {
        &self.all
    }

    /// Finds a connection that the mesh has begun to count. `up` returns the peer that the mesh
    /// counts at a connection.
    pub(crate) fn take_opened<P>(
        &mut self,
        up: impl Fn(u32) -> Option<P>,
    ) -> Option<(AttemptId, P)> {
        let mut opening = self.opening.iter().enumerate();
        let (at, peer) = opening.find_map(|(at, (c, _))| Some((at, up(*c)?)))?;
        let (_, attempt) = self.opening.remove(at);
        Some((attempt, peer))
    }

    /// A connection closes before the mesh counts it. Returns the attempt that it came from.
    pub(crate) fn take_failed(&mut self, c: u32) -> Option<AttemptId> {
        let at = self.opening.iter().position(|(other, _)| *other == c)?;
        let (_, attempt) = self.opening.remove(at);
        Some(attempt)
    }

    pub(crate) fn remove(&mut self, c: u32) {
        self.all.retain(|other| *other != c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::attempts;

    #[test]
    fn a_connection_opens_or_fails_once() {
        let mut links = Links::default();
        let attempts = attempts();
        links.open(7, attempts[0]);
        links.open(8, attempts[1]);
        let up = |c: u32| (c == 8).then_some("peer");
        assert_eq!(links.take_opened(up), Some((attempts[1], "peer")));
        assert_eq!(links.take_opened(up), None);
        assert_eq!(links.take_failed(8), None);
        assert_eq!(links.take_failed(7), Some(attempts[0]));
        links.remove(7);
        assert_eq!(links.all(), [8]);
    }
}
