//! The events of a run. Peers, connections, packets, offers, answers and steps are named by number.

/// Something that happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A peer's timer fires.
    Wake(u32),
    /// A packet reaches a side of a connection.
    Packet { conn: u32, side: u8, parcel: u32 },
    /// The handshakes of a side are done.
    Admitted { conn: u32, side: u8 },
    /// A side learns that the connection is closed.
    Closed { conn: u32, side: u8 },
    /// A side has heard nothing for so long that it suspects the connection.
    Suspect { conn: u32, side: u8 },
    /// A connection breaks.
    Reset(u32),
    /// The description of an offer is ready.
    OfferMade(u32),
    /// The description of an answer is ready.
    AnswerMade(u32),
    /// The connection of an accepted answer opens.
    Open(u32),
    /// The offerer of an answered offer waits no longer.
    OfferDue(u32),
    /// The peer that made an answer waits no longer.
    AnswerDue(u32),
    /// A peer has connected to the tracker.
    Connected(u32),
    /// A peer learns that its connection to the tracker is gone.
    Lost(u32),
    /// The tracker learns that its connection to a peer is gone.
    Gone(u32),
    /// An announce reaches the tracker.
    Announce { peer: u32, announce: u32 },
    /// An answer reaches the tracker.
    AnswerAtTracker(u32),
    /// The tracker's reply to an announce reaches a peer.
    Interval(u32),
    /// The tracker's message with an offer reaches a peer.
    OfferFromTracker { offer: u32, to: u32 },
    /// The tracker's message with an answer reaches a peer.
    AnswerFromTracker { answer: u32, to: u32 },
    /// A peer starts: for a step, or as one of the first peers.
    Join(Option<u32>),
    /// A random peer is killed.
    Kill,
    /// A step of the scenario begins.
    Step(u32),
    /// A broadcast of a step is due. `left` counts it and the following ones.
    Publish { step: u32, left: u32 },
    /// A direct message of a step is planned. `left` counts it and the following ones.
    Direct { step: u32, left: u32 },
    /// A planned direct message is sent.
    SendDirect(u32),
    /// A millisecond of a flood.
    Flood(u32),
    /// The partition ends.
    Heal,
    /// The graph is looked at.
    Look,
    /// The measured part of the run begins.
    Begin,
    /// The run ends.
    End,
}

impl Event {
    /// The event as a number, for the digest of the run.
    pub(crate) fn number(self) -> u64 {
        let two = |a: u32, b: u32| (u64::from(a) << 32) | u64::from(b);
        match self {
            Self::Packet { conn, side, parcel } => two(conn, parcel) ^ u64::from(side),
            Self::Wake(p) => two(1, p),
            Self::OfferFromTracker { offer, to } => two(offer, to),
            Self::AnswerFromTracker { answer, to } => two(answer, to),
            _ => 2,
        }
    }
}
