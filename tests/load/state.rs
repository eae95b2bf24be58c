//! The peers and what each has on its way. One thread, so plain fields.

use std::{collections::VecDeque, task::Waker};

use crate::{
    args::Args,
    ids::{Bytes, Id, Ids},
    sdp::Descriptions,
    stats::{Fault, Stats, Tally},
};

/// Finished announces that a peer remembers, to notice what comes twice.
const REMEMBERED: usize = 8;

/// One offer of an announce on its way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Slot {
    /// Connection it arrived at, plus one.
    pub receiver: u32,
    /// When its answer was sent; 0: not at all.
    pub answered: u64,
    pub done: bool,
}

/// An announce whose response, offers and answers may still arrive.
#[derive(Debug)]
pub(crate) struct Announce {
    pub sent: u64,
    pub measured: bool,
    pub responded: bool,
    /// Everything came, or it was given up.
    pub finished: bool,
    /// Counted as lost; what still comes is late.
    pub given_up: bool,
    /// Offers that have somebody to go to.
    pub expected: u8,
    pub delivered: u8,
    pub answers: u8,
    pub slots: Box<[Slot]>,
}

/// What a response is due for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Due {
    Announce(u32),
    /// Only of trackers that respond to answers too.
    Answer,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub swarm: u32,
    pub id: Bytes,
    pub live: bool,
    /// In its swarm, as far as the tracker has said.
    pub joined: bool,
    /// Announces that its task shall send.
    pub due: u32,
    pub waker: Option<Waker>,
    pub responses: VecDeque<Due>,
    first_seq: u32,
    announces: VecDeque<Announce>,
}

impl Peer {
    /// An announce that is not given up.
    pub(crate) fn announce(&mut self, seq: u32) -> Option<&mut Announce> {
        let position = seq.wrapping_sub(self.first_seq) as usize;
        let announce = self.announces.get_mut(position)?;
        (!announce.given_up).then_some(announce)
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// What the running load asks of the connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub offers: u8,
    pub answers: bool,
    pub measuring: bool,
    /// When an announce is done the next connection in line announces.
    pub closed_loop: bool,
}

/// Everything that the tasks of the connections share.
#[derive(Debug)]
pub(crate) struct State {
    pub peers: Vec<Peer>,
    pub ids: Ids,
    pub descriptions: Descriptions,
    pub left: String,
    pub load: Load,
    pub stats: Stats,
    pub faults: Tally<Fault>,
    pub failures: Tally<String>,
    /// The generator itself closes the connections.
    pub closing: bool,
    pub joined: u32,
    /// Responses that no announce was waiting for.
    pub unsolicited: u64,
    pub answers_get_responses: bool,
    /// Closed loop: connections in line for their next announce.
    pub ready: VecDeque<u32>,
    /// Announces that still miss something.
    pub outstanding: usize,
    pub sizes: Vec<u32>,
    /// Addresses that the connections are spread over.
    pub urls: u32,
}

impl State {
    pub(crate) fn new(args: &Args, seed: u64) -> Self {
        let ids = Ids::new(seed, args.binary_ids);
        let urls = args.urls.len() as u32;
        let peers = (0..args.connections)
            .map(|connection| Peer {
                // Connections of every address in each swarm.
                swarm: connection / urls % args.swarms,
                id: ids.encode(Id::peer(connection)),
                live: true,
                joined: false,
                due: 0,
                waker: None,
                responses: VecDeque::new(),
                first_seq: 0,
                announces: VecDeque::new(),
            })
            .collect();
        Self {
            peers,
            ids,
            descriptions: Descriptions::new(seed, args.sdp_bytes),
            left: args.left.clone(),
            load: Load::default(),
            stats: Stats::default(),
            faults: Tally::default(),
            failures: Tally::default(),
            closing: false,
            joined: 0,
            unsolicited: 0,
            answers_get_responses: false,
            ready: VecDeque::new(),
            outstanding: 0,
            sizes: vec![0; args.swarms as usize],
            urls,
        }
    }

    /// Whether two connections are at different addresses.
    pub(crate) fn is_crossing(&self, one: u32, other: u32) -> bool {
        one % self.urls != other % self.urls
    }

    /// Has a connection send an announce.
    pub(crate) fn announce_soon(&mut self, connection: u32) {
        let peer = &mut self.peers[connection as usize];
        peer.due += 1;
        peer.wake();
    }

    /// Closed loop: has the next connection in line announce.
    pub(crate) fn start_next(&mut self) {
        while let Some(connection) = self.ready.pop_front() {
            if self.peers[connection as usize].live {
                self.announce_soon(connection);
                return;
            }
        }
    }

    /// Remembers an announce that leaves now: its sequence number and how many offers.
    /// The first one joins and offers nothing.
    pub(crate) fn begin(&mut self, connection: u32, now: u64) -> (u32, u8) {
        let peer = &mut self.peers[connection as usize];
        let seq = peer.first_seq + peer.announces.len() as u32;
        let offers = if seq == 0 { 0 } else { self.load.offers };
        let others = self.sizes[peer.swarm as usize].saturating_sub(1);
        let expected = others.min(u32::from(offers)) as u8;
        peer.responses.push_back(Due::Announce(seq));
        peer.announces.push_back(Announce {
            sent: now,
            measured: self.load.measuring,
            responded: false,
            finished: false,
            given_up: false,
            expected,
            delivered: 0,
            answers: 0,
            slots: vec![Slot::default(); usize::from(offers)].into_boxed_slice(),
        });
        self.outstanding += 1;
        if self.load.measuring {
            self.stats.announces += 1;
            self.stats.offers_expected += u64::from(expected);
        }
        (seq, offers)
    }

    pub(crate) fn has_joined(&mut self, connection: u32) {
        let peer = &mut self.peers[connection as usize];
        if !peer.joined {
            peer.joined = true;
            self.joined += 1;
            self.sizes[peer.swarm as usize] += 1;
        }
    }

    /// Something came for an announce: is it complete now?
    pub(crate) fn settle(&mut self, connection: u32, seq: u32) {
        let answers = self.load.answers;
        let peer = &mut self.peers[connection as usize];
        if let Some(announce) = peer.announce(seq)
            && !announce.finished
            && announce.responded
            && announce.delivered >= announce.expected
            && (!answers || announce.answers >= announce.delivered)
        {
            announce.finished = true;
            self.finished(connection);
        }
    }

    fn finished(&mut self, connection: u32) {
        self.outstanding -= 1;
        let peer = &mut self.peers[connection as usize];
        while peer.announces.len() > REMEMBERED && peer.announces[0].finished {
            peer.announces.pop_front();
            peer.first_seq += 1;
        }
        if self.load.closed_loop {
            self.ready.push_back(connection);
            self.start_next();
        }
    }

    /// Counts what announces sent before `deadline` still miss as lost.
    pub(crate) fn give_up(&mut self, deadline: u64) {
        for connection in 0..self.peers.len() {
            let mut given_up = 0;
            for announce in &mut self.peers[connection].announces {
                if announce.finished || announce.sent >= deadline {
                    continue;
                }
                announce.finished = true;
                announce.given_up = true;
                given_up += 1;
                let response = u64::from(!announce.responded);
                let offers = u64::from(announce.expected.saturating_sub(announce.delivered));
                let waiting = announce.slots.iter();
                let answers = waiting.filter(|s| s.answered > 0 && !s.done).count() as u64;
                if announce.measured {
                    self.stats.lost_responses += response;
                    self.stats.lost_offers += offers;
                    self.stats.lost_answers += answers;
                } else {
                    self.stats.lost_outside += response + offers + answers;
                }
            }
            for _ in 0..given_up {
                self.finished(connection as u32);
            }
        }
    }

    /// A connection ended; `reason` is nothing when that was wanted.
    pub(crate) fn ended(&mut self, connection: u32, reason: String) {
        let peer = &mut self.peers[connection as usize];
        peer.live = false;
        if peer.joined {
            self.sizes[peer.swarm as usize] -= 1;
        }
        if !self.closing {
            self.faults.add(Fault::Closed, || reason);
        }
    }

    /// Ends the connections.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.peers.iter().for_each(Peer::wake);
    }
}
