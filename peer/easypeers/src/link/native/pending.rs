//! Links that wait for the other side. They gather candidates, give our complete description, take
//! the other side's, and become an open [`Link`].

use std::fmt;
use std::sync::Arc;

use easypeers_proto::crypto::admission::Role;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::RTCSessionDescription;

use super::connection::{Connection, Gathering, Signals, State};
use super::sdp::{Description, Kind};
use super::{FIRST_CANDIDATE, GATHER, LABEL, Link, LinkError, Terms, Transport};

/// What an offer and an answer that wait have in common.
#[derive(Debug)]
struct Pending {
    connection: Connection,
    state: watch::Receiver<State>,
    gathering: watch::Receiver<Gathering>,
    incoming: mpsc::Receiver<Arc<dyn DataChannel>>,
    transport: Transport,
    sdp: String,
    fingerprint: [u8; 32],
}

impl Pending {
    fn new(transport: &Transport, connection: Connection, signals: Signals) -> Self {
        Self {
            connection,
            state: signals.state,
            gathering: signals.gathering,
            incoming: signals.channel,
            transport: transport.clone(),
            sdp: String::new(),
            fingerprint: [0; 32],
        }
    }

    /// Adopts our own description and completes it with candidates.
    async fn describe(
        &mut self,
        description: RTCSessionDescription,
        kind: Kind,
    ) -> Result<(), LinkError> {
        let stack = self.connection.stack();
        stack.set_local_description(description).await?;
        self.gather().await?;
        let complete = self.connection.stack().local_description().await;
        let sdp = complete.ok_or(LinkError::Closed)?.sdp;
        // Without any candidate nobody could reach us.
        if !sdp.contains("\na=candidate:") {
            return Err(LinkError::NoCandidate);
        }
        self.fingerprint = Description::read(&sdp, kind)?.fingerprint;
        self.sdp = self.transport.told(&sdp);
        Ok(())
    }

    async fn gather(&mut self) -> Result<(), LinkError> {
        let first = Instant::now() + FIRST_CANDIDATE;
        let some = self
            .gathering
            .wait_for(|reached| *reached > Gathering::Nothing);
        match timeout_at(first, some).await {
            Ok(seen) => drop(seen.map_err(|_| LinkError::Closed)?),
            Err(_) => return Err(LinkError::NoCandidate),
        }
        let all = self
            .gathering
            .wait_for(|reached| *reached == Gathering::Complete);
        let _ = timeout_at(Instant::now() + GATHER, all).await;
        Ok(())
    }

    fn terms(&self, role: Role, remote: &Description) -> Terms {
        Terms {
            role,
            local_fingerprint: self.fingerprint,
            remote_fingerprint: remote.fingerprint,
            remote_max_message: remote.max_message,
        }
    }

    /// Waits for an open channel, closing the connection if none comes.
    async fn open(
        mut self,
        own: Option<Arc<dyn DataChannel>>,
        terms: Terms,
    ) -> Result<Link, LinkError> {
        let deadline = Instant::now() + self.transport.open_deadline();
        let opened = match timeout_at(deadline, self.opened(own)).await {
            Ok(opened) => opened,
            Err(_) => Err(LinkError::Timeout),
        };
        match opened {
            Ok(channel) => Ok(Link::new(self.connection, channel, self.state, terms)),
            Err(error) => {
                self.connection.close().await;
                Err(error)
            }
        }
    }

    async fn opened(
        &mut self,
        own: Option<Arc<dyn DataChannel>>,
    ) -> Result<Arc<dyn DataChannel>, LinkError> {
        let Self {
            state, incoming, ..
        } = self;
        let over = async {
            match state.wait_for(|state| state.is_over()).await.as_deref() {
                Ok(State::Violated) => LinkError::Channel,
                Ok(State::Failed) => LinkError::Failed,
                _ => LinkError::Closed,
            }
        };
        tokio::select! {
            error = over => Err(error),
            channel = async {
                match own {
                    Some(channel) => own_opened(channel, incoming).await,
                    None => theirs_opened(incoming).await,
                }
            } => channel,
        }
    }
}

/// Waits for the channel that we made; any other one is a fault of the other side.
async fn own_opened(
    channel: Arc<dyn DataChannel>,
    incoming: &mut mpsc::Receiver<Arc<dyn DataChannel>>,
) -> Result<Arc<dyn DataChannel>, LinkError> {
    loop {
        let event = tokio::select! {
            event = channel.poll() => event,
            Some(_) = incoming.recv() => return Err(LinkError::Channel),
        };
        match event {
            Some(DataChannelEvent::OnOpen) => return Ok(channel),
            Some(DataChannelEvent::OnClose) | None => return Err(LinkError::Closed),
            // The request to open it was acknowledged before it was answered: its bytes are gone
            // from the buffer.
            Some(_) => {}
        }
    }
}

/// Waits for the channel of the other side, which must be ordered. That it is reliable too cannot
/// be seen: 0.21.1 reports no limit for channels of the other side. One that loses bytes only spoils
/// its own stream, whose frames then fail their checks.
async fn theirs_opened(
    incoming: &mut mpsc::Receiver<Arc<dyn DataChannel>>,
) -> Result<Arc<dyn DataChannel>, LinkError> {
    let channel = incoming.recv().await.ok_or(LinkError::Closed)?;
    if channel.ordered().await? {
        Ok(channel)
    } else {
        Err(LinkError::Channel)
    }
}

/// An offer that waits for its answer. Dropping it closes it.
pub struct PendingOffer {
    pending: Pending,
    channel: Arc<dyn DataChannel>,
}

impl fmt::Debug for PendingOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingOffer").field(&self.pending).finish()
    }
}

impl PendingOffer {
    pub(super) async fn make(
        transport: &Transport,
        connection: Connection,
        signals: Signals,
        channel: Option<RTCDataChannelInit>,
    ) -> Result<Self, LinkError> {
        let stack = connection.stack();
        let channel = stack.create_data_channel(LABEL, channel).await?;
        let offer = stack.create_offer(None).await?;
        let mut pending = Pending::new(transport, connection, signals);
        pending.describe(offer, Kind::Offer).await?;
        Ok(Self { pending, channel })
    }

    /// The complete description to send.
    pub fn sdp(&self) -> &str {
        &self.pending.sdp
    }

    /// Applies the answer and waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an answer that is refused, [`LinkError::Timeout`] and
    /// [`LinkError::Failed`] when the other side is not reached or has another certificate.
    pub async fn open(self, answer: &str) -> Result<Link, LinkError> {
        let Self { pending, channel } = self;
        match pending.apply(answer).await {
            Ok(terms) => pending.open(Some(channel), terms).await,
            Err(error) => {
                pending.connection.close().await;
                Err(error)
            }
        }
    }
}

impl Pending {
    async fn apply(&self, answer: &str) -> Result<Terms, LinkError> {
        let answer = Description::read(answer, Kind::Answer)?;
        let description = RTCSessionDescription::answer(answer.text.clone())?;
        let stack = self.connection.stack();
        stack.set_remote_description(description).await?;
        Ok(self.terms(Role::Offerer, &answer))
    }
}

/// An answer that waits for the channel. Dropping it closes it.
#[derive(Debug)]
pub struct PendingAnswer {
    pending: Pending,
    terms: Terms,
}

impl PendingAnswer {
    pub(super) async fn make(
        transport: &Transport,
        connection: Connection,
        signals: Signals,
        offer: &Description,
    ) -> Result<Self, LinkError> {
        let stack = connection.stack();
        let description = RTCSessionDescription::offer(offer.text.clone())?;
        stack.set_remote_description(description).await?;
        let answer = stack.create_answer(None).await?;
        let mut pending = Pending::new(transport, connection, signals);
        pending.describe(answer, Kind::Answer).await?;
        let terms = pending.terms(Role::Answerer, offer);
        Ok(Self { pending, terms })
    }

    /// The complete description to send.
    pub fn sdp(&self) -> &str {
        &self.pending.sdp
    }

    /// Waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// As [`PendingOffer::open`], and [`LinkError::Channel`] for a channel that is unordered.
    pub async fn open(self) -> Result<Link, LinkError> {
        self.pending.open(None, self.terms).await
    }
}
