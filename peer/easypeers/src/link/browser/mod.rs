//! Links over the page's `RTCPeerConnection`, which only this folder names.
//!
//! Offers and answers wait for all candidates (no trickle). A page learns from `connectionState` that
//! a neighbour is gone, because Chromium does not close the channel. Chromium also reports a channel
//! made by the other side as open too early, and loses without an error what is sent at that moment
//! (seen with version 159). So the side that answered waits for the first message of the other.
//! Source: W3C WebRTC 1.0.

mod channel;
mod connection;

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use easypeers_proto::crypto::admission::Role;
use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    RtcConfiguration, RtcIceServer, RtcIceTransportPolicy, RtcPeerConnection, RtcSdpType,
    RtcSessionDescriptionInit,
};

pub use self::channel::{Link, LinkReceiver, LinkSender};
use self::connection::{Connection, Facts, Gathering, State};
use super::sdp::{Description, Kind};
use super::{
    FIRST_CANDIDATE, GATHER, IceServer, LABEL, LinkError, LinkEvent, LinkOptions, OPEN, Terms,
};
use crate::rt;

/// Time for the side that offered to send something. Peers do so at once. A channel that is silent
/// for this long is open.
const FIRST_WORD: Duration = Duration::from_secs(1);

impl From<JsValue> for LinkError {
    fn from(error: JsValue) -> Self {
        let words = error.dyn_ref::<js_sys::Error>().map(js_sys::Error::message);
        Self::Stack(words.map_or_else(|| "the browser refused".to_owned(), String::from))
    }
}

impl IceServer {
    /// Whether a browser can use all of it.
    ///
    /// # Errors
    ///
    /// [`LinkError::IceServer`] for a URL that is malformed, and for a TURN server without user
    /// name or credential.
    pub fn check(&self) -> Result<(), LinkError> {
        self.urls
            .iter()
            .try_for_each(|url| self.read_url(url).map(|_| ()))
    }

    fn is_relay(&self) -> bool {
        self.urls.iter().any(|url| url.starts_with("turn"))
    }

    fn to_js(&self) -> RtcIceServer {
        let server = RtcIceServer::new();
        let urls: Array = self.urls.iter().map(JsValue::from).collect();
        server.set_urls(&urls);
        if let Some(username) = &self.username {
            server.set_username(username);
        }
        if let Some(credential) = &self.credential {
            server.set_credential(credential);
        }
        server
    }
}

/// Makes links.
#[derive(Debug)]
pub struct Transport {
    relay_only: bool,
    ice_servers: RefCell<Vec<IceServer>>,
}

impl Transport {
    /// Readies what all links share.
    ///
    /// # Errors
    ///
    /// [`LinkError::IceServer`] for a server that cannot be used, [`LinkError::NoWebRtc`] where
    /// there is none.
    #[expect(clippy::unused_async, reason = "a native one needs a runtime")]
    pub async fn new(options: LinkOptions) -> Result<Self, LinkError> {
        options.ice_servers.iter().try_for_each(IceServer::check)?;
        let global = js_sys::global();
        if !Reflect::has(&global, &"RTCPeerConnection".into()).unwrap_or(false) {
            return Err(LinkError::NoWebRtc);
        }
        Ok(Self {
            relay_only: options.relay_only,
            ice_servers: RefCell::new(options.ice_servers),
        })
    }

    /// Replaces the STUN and TURN servers, for links made from now on. Those that cannot be used
    /// are left out.
    pub fn set_ice_servers(&self, mut servers: Vec<IceServer>) {
        servers.retain(|server| server.check().is_ok());
        *self.ice_servers.borrow_mut() = servers;
    }

    /// Whether there is a TURN server.
    pub fn has_relay(&self) -> bool {
        self.ice_servers.borrow().iter().any(IceServer::is_relay)
    }

    /// Makes an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when there is no candidate to offer.
    pub async fn offer(&self) -> Result<PendingOffer, LinkError> {
        let connection = self.connect()?;
        // Ordered and reliable is the default (section 6.2).
        let channel = connection.peer().create_data_channel(LABEL);
        connection.adopt(&channel);
        let offer = JsFuture::from(connection.peer().create_offer()).await?;
        Ok(PendingOffer(
            Pending::describe(connection, &offer, Kind::Offer).await?,
        ))
    }

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an offer that is refused, and as [`Transport::offer`].
    pub async fn answer(&self, offer: &str) -> Result<PendingAnswer, LinkError> {
        let offer = Description::read(offer, Kind::Offer)?;
        let connection = self.connect()?;
        set_remote(connection.peer(), RtcSdpType::Offer, &offer).await?;
        let answer = JsFuture::from(connection.peer().create_answer()).await?;
        let pending = Pending::describe(connection, &answer, Kind::Answer).await?;
        let terms = pending.terms(Role::Answerer, &offer);
        Ok(PendingAnswer { pending, terms })
    }

    fn connect(&self) -> Result<Connection, LinkError> {
        if self.relay_only && !self.has_relay() {
            return Err(LinkError::NoRelay);
        }
        let configuration = RtcConfiguration::new();
        let servers = self.ice_servers.borrow();
        let servers: Array = servers.iter().map(|server| server.to_js()).collect();
        configuration.set_ice_servers(&servers);
        if self.relay_only {
            configuration.set_ice_transport_policy(RtcIceTransportPolicy::Relay);
        }
        Ok(Connection::new(RtcPeerConnection::new_with_configuration(
            &configuration,
        )?))
    }
}

async fn set_remote(
    peer: &RtcPeerConnection,
    kind: RtcSdpType,
    description: &Description,
) -> Result<(), LinkError> {
    let init = RtcSessionDescriptionInit::new(kind);
    init.set_sdp(&description.text);
    JsFuture::from(peer.set_remote_description(&init)).await?;
    Ok(())
}

/// What an offer and an answer that wait have in common.
#[derive(Debug)]
struct Pending {
    connection: Connection,
    sdp: String,
    fingerprint: [u8; 32],
}

impl Pending {
    /// Adopts our own description and completes it with candidates.
    async fn describe(
        connection: Connection,
        description: &JsValue,
        kind: Kind,
    ) -> Result<Self, LinkError> {
        let peer = connection.peer();
        JsFuture::from(peer.set_local_description(description.unchecked_ref())).await?;
        gather(&connection).await?;
        let complete = connection.peer().local_description();
        let sdp = complete.ok_or(LinkError::Closed)?.sdp();
        let fingerprint = Description::read(&sdp, kind)?.fingerprint;
        Ok(Self {
            connection,
            sdp,
            fingerprint,
        })
    }

    fn terms(&self, role: Role, remote: &Description) -> Terms {
        Terms {
            role,
            local_fingerprint: self.fingerprint,
            remote_fingerprint: remote.fingerprint,
            remote_max_message: remote.max_message,
        }
    }

    /// Waits for an open channel. Dropped on failure, which closes the connection.
    async fn open(self, terms: Terms) -> Result<Link, LinkError> {
        let opened = self
            .connection
            .wait_for(|facts| facts.open || facts.state.is_over());
        let facts = rt::timeout(OPEN, opened).await.ok_or(LinkError::Timeout)?;
        if terms.role == Role::Answerer {
            let spoken = |facts: &Facts| facts.news > 0 || facts.state.is_over();
            rt::timeout(FIRST_WORD, self.connection.wait_for(spoken)).await;
        }
        match facts.state {
            State::Violated => return Err(LinkError::Channel),
            State::Failed => return Err(LinkError::Failed),
            State::Closed => return Err(LinkError::Closed),
            State::New | State::Connected | State::Suspect => {}
        }
        let channel = self.connection.channel().ok_or(LinkError::Closed)?;
        Ok(Link::new(self.connection, channel, terms))
    }
}

async fn gather(connection: &Connection) -> Result<(), LinkError> {
    let within = |time: Duration, reached: Gathering| {
        rt::timeout(
            time,
            connection.wait_for(move |facts| facts.gathering >= reached),
        )
    };
    let some = within(FIRST_CANDIDATE, Gathering::SomeCandidate).await;
    // A browser that found nothing is done as well.
    if !some.is_some_and(|facts| facts.candidates) {
        return Err(LinkError::NoCandidate);
    }
    within(GATHER, Gathering::Complete).await;
    Ok(())
}

/// An offer that waits for its answer. Dropping it closes it.
#[derive(Debug)]
pub struct PendingOffer(Pending);

impl PendingOffer {
    /// The complete description to send.
    pub fn sdp(&self) -> &str {
        &self.0.sdp
    }

    /// Applies the answer and waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an answer that is refused, [`LinkError::Timeout`] and
    /// [`LinkError::Failed`] when the other side is not reached or is not who the answer says.
    pub async fn open(self, answer: &str) -> Result<Link, LinkError> {
        let answer = Description::read(answer, Kind::Answer)?;
        set_remote(self.0.connection.peer(), RtcSdpType::Answer, &answer).await?;
        let terms = self.0.terms(Role::Offerer, &answer);
        self.0.open(terms).await
    }
}

/// An answer that waits for the channel. Dropping it closes it.
#[derive(Debug)]
pub struct PendingAnswer {
    pending: Pending,
    terms: Terms,
}

impl PendingAnswer {
    /// The complete description to send.
    pub fn sdp(&self) -> &str {
        &self.pending.sdp
    }

    /// Waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// As [`PendingOffer::open`], and [`LinkError::Channel`] for a channel that is unordered or not
    /// reliable.
    pub fn open(self) -> impl Future<Output = Result<Link, LinkError>> {
        self.pending.open(self.terms)
    }
}
