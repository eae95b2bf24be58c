//! Connections: from two descriptions to a link that a core may count, and to its end.

use rand::RngExt;

use super::{Turn, VERIFY};
use crate::check;
use crate::index::index;
use crate::network::{Closing, Stage};
use crate::time::{MS, SECOND, Time};
use crate::world::{What, World};
use easypeers_core::mesh::{Goodbye, Input, LinkId, Reason};
use easypeers_core::signal;

/// Time for a connection to open, and for the handshakes on it.
pub(super) const OPEN: Time = 25 * SECOND;

/// From a neighbour's death to the connection's doubt.
const SUSPECT: Time = 2_700 * MS;

impl World {
    /// One side of a connection is gone: the other hears of it, or begins to doubt.
    pub(super) fn abandon(&mut self, c: u32, p: u32, silently: bool) {
        let side = self.network.side_of(c, p);
        if !self.network.close_side(c, side) {
            return;
        }
        let far = 1 - side;
        let (conn, side) = (c, far as u8);
        if silently {
            let doubt = What::Suspect { conn, side };
            self.queue.push(self.now + SUSPECT, doubt);
        } else {
            let closed = self.network.close_at(c, far, self.now);
            self.queue.push(closed, What::Closed { conn, side });
        }
    }

    /// Nothing passes between these two any more.
    pub(crate) fn cut(&mut self, c: u32) {
        for side in [0, 1] {
            self.queue
                .push(self.now + SUSPECT, What::Suspect { conn: c, side });
        }
    }

    /// Both descriptions are exchanged, and the connection finds its way.
    pub(crate) fn on_open(&mut self, answer: u32) {
        let Some(attempts) = self.exchanges.attempts(answer) else {
            return;
        };
        let [offerer, peer] = attempts.map(|(p, _)| p);
        let alive = |p: u32| self.peers[p as usize].alive;
        if !alive(peer) || !alive(offerer) || !self.network.reaches(peer, offerer) {
            return;
        }
        self.exchanges.open(answer);
        let (c, latency) = self.network.open(offerer, peer, self.rng.random());
        for (p, attempt) in attempts {
            if let Some(core) = &mut self.peers[p as usize].core {
                core.conns.push(c);
                core.opening.push((c, attempt));
            }
        }
        for side in [0, 1] {
            // Greetings cross, then proofs.
            let at = self.now + 2 * latency + MS;
            self.queue.push(at, What::Admitted { conn: c, side });
        }
        self.schedule_reset(c);
    }

    /// The time for an attempt is over.
    pub(crate) fn on_attempt_due(&mut self, answer: u32, offerer: bool) {
        if let Some((p, attempt)) = self.exchanges.expire(answer, offerer) {
            self.turn(p, |turn| {
                turn.signal(signal::Input::AttemptFailed { attempt });
            });
        }
    }
}

impl Turn<'_> {
    pub(crate) fn on_admitted(&mut self, c: u32, side: usize) {
        let network = &mut self.world.network;
        let (far, other) = (1 - side, network.peer_at(c, 1 - side));
        if network.stage_at(c, side) != Stage::Open {
            return;
        }
        if network.stage_at(c, far) == Stage::Closed || !network.reaches(self.p, other) {
            // It died in between: its proof never comes.
            let side = side as u8;
            let closed = What::Closed { conn: c, side };
            return self.world.queue.push(self.core.clock + OPEN, closed);
        }
        network.admit(c, side);
        let token = network.token(c);
        let other = &self.world.peers[other as usize];
        let input = Input::LinkAdmitted {
            link: LinkId(c.into()),
            peer: other.id,
            keys: Some(other.keys),
            offered: side == 0,
            token,
        };
        self.core.clock += 2 * VERIFY;
        self.mesh(input);
    }

    pub(crate) fn on_closed(&mut self, c: u32, side: usize) {
        self.world.network.close_side(c, side);
        self.changed = true;
        if let Some(at) = self.core.opening.iter().position(|(o, _)| *o == c) {
            let (_, attempt) = self.core.opening.remove(at);
            self.signal(signal::Input::AttemptFailed { attempt });
        }
        self.mesh(Input::LinkClosed(LinkId(c.into())));
        self.settle();
        self.core.conns.retain(|other| *other != c);
    }

    /// The mesh closes a link; its task ends a little later.
    pub(super) fn close(&mut self, link: LinkId, goodbye: Option<&Goodbye>) {
        self.changed = true;
        let c = index(link.0 as usize);
        let now = self.core.clock;
        let side = self.world.network.side_of(c, self.p);
        if self.world.network.is_up_at(c, side) {
            self.note_close(c, side, goodbye);
        }
        match self.world.network.close(c, side, now) {
            Closing::AlreadyClosed => return,
            Closing::Unheard => {}
            Closing::Heard { side, at } => {
                self.world.queue.push(at, What::Closed { conn: c, side });
            }
        }
        let side = side as u8;
        self.world
            .queue
            .push(now + MS, What::Closed { conn: c, side });
    }

    /// A link that counted is closed; without a goodbye, since its peer is taken for dead.
    fn note_close(&mut self, c: u32, side: usize, goodbye: Option<&Goodbye>) {
        let network = &self.world.network;
        let far = network.peer_at(c, 1 - side);
        if goodbye.is_none()
            && network.stage_at(c, 1 - side) == Stage::Admitted
            && self.world.peers[far as usize].alive
            && network.reaches(self.p, far)
        {
            self.world.costs.accused += 1;
        }
        if goodbye.is_some_and(|goodbye| goodbye.reason == Reason::Split) {
            self.replaced += 1;
        }
        if check::ON {
            let verdict = self.world.checks.on_close((c, side), goodbye);
            check::hold(self.world, self.p, verdict);
        }
    }

    pub(crate) fn on_suspect(&mut self, c: u32) {
        self.mesh(Input::LinkSuspect(LinkId(c.into())));
    }
}
