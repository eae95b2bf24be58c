//! Connections: from two descriptions to a link that a core may count, and to its end.

use rand::RngExt;

use super::{Turn, VERIFY};
use crate::check;
use crate::index;
use crate::network::{Conn, Stage};
use crate::world::{Answer, What, World};
use crate::{MS, SECOND, Time};
use easypeers_core::mesh::{Goodbye, Input, LinkId, Reason};
use easypeers_core::signal;

/// Time for a connection to open, and for the handshakes on it.
pub(super) const OPEN: Time = 25 * SECOND;

/// From a neighbour's death to the connection's doubt.
const SUSPECT: Time = 2_700 * MS;

impl World {
    /// One side of a connection is gone: the other hears of it, or begins to doubt.
    pub(super) fn abandon(&mut self, c: u32, p: u32, silently: bool) {
        let conn = &mut self.conns[c as usize];
        let side = conn.side_of(p);
        if conn.ends[side].stage == Stage::Closed {
            return;
        }
        conn.ends[side].stage = Stage::Closed;
        conn.ends[side].up = false;
        let far = 1 - side;
        let (conn, side, closed) = (c, far as u8, conn.close_at(far, self.now));
        if silently {
            let doubt = What::Suspect { conn, side };
            self.queue.push(self.now + SUSPECT, doubt);
        } else {
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
        let Answer { offer, peer, .. } = self.answers[answer as usize];
        let offerer = self.offers[offer as usize].peer;
        let expired = self.answers[answer as usize].expired;
        let alive = |p: u32| self.peers[p as usize].alive;
        if expired || !alive(peer) || !alive(offerer) || !self.reaches(peer, offerer) {
            return;
        }
        self.answers[answer as usize].opened = true;
        let latency = self.distances.latency(peer, offerer);
        let c = index(self.conns.len());
        let token = self.rng.random();
        self.conns.push(Conn::new(offerer, peer, latency, token));
        let attempts = [
            (offerer, self.offers[offer as usize].attempt),
            (peer, self.answers[answer as usize].attempt),
        ];
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
        let made = self.answers[answer as usize];
        if made.opened {
            return;
        }
        let (p, attempt) = if offerer {
            let offer = self.offers[made.offer as usize];
            (offer.peer, offer.attempt)
        } else {
            self.answers[answer as usize].expired = true;
            (made.peer, made.attempt)
        };
        self.turn(p, |turn| {
            turn.signal(signal::Input::AttemptFailed { attempt });
        });
    }
}

impl Turn<'_> {
    pub(crate) fn on_admitted(&mut self, c: u32, side: usize) {
        let conn = &mut self.world.conns[c as usize];
        let (own, other) = (conn.ends[side], conn.ends[1 - side]);
        if own.stage != Stage::Open {
            return;
        }
        if other.stage == Stage::Closed || !self.world.reaches(own.peer, other.peer) {
            // It died in between: its proof never comes.
            let side = side as u8;
            let closed = What::Closed { conn: c, side };
            return self.world.queue.push(self.core.clock + OPEN, closed);
        }
        let conn = &mut self.world.conns[c as usize];
        conn.ends[side].stage = Stage::Admitted;
        let token = conn.token;
        let other = &self.world.peers[other.peer as usize];
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
        self.world.conns[c as usize].ends[side].stage = Stage::Closed;
        self.world.conns[c as usize].ends[side].up = false;
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
        let side = self.world.conns[c as usize].side_of(self.p);
        if self.world.conns[c as usize].ends[side].up {
            self.note_close(c, side, goodbye);
        }
        let conn = &mut self.world.conns[c as usize];
        if conn.ends[side].stage == Stage::Closed {
            return;
        }
        conn.ends[side].stage = Stage::Closed;
        conn.ends[side].up = false;
        let far = 1 - side;
        if conn.ends[far].stage != Stage::Closed {
            let at = conn.close_at(far, now);
            let [own, other] = [conn.ends[side].peer, conn.ends[far].peer];
            if self.world.reaches(own, other) {
                let side = far as u8;
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
        let far = self.world.conns[c as usize].ends[1 - side];
        if goodbye.is_none()
            && far.stage == Stage::Admitted
            && self.world.peers[far.peer as usize].alive
            && self.world.reaches(self.p, far.peer)
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
