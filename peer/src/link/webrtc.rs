//! Making links. In go [`LinkOptions`] and the other side's description, out comes our own, and
//! then an open [`Link`].
//!
//! The settings, each of which was measured: see `docs/` for the figures.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtc::crypto::{RTCCryptoProvider, SignatureScheme, default_provider};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use shared::crypto::admission::Role;
use tokio::time::{Instant, timeout_at};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnectionBuilder, RTCCertificate, RTCConfigurationBuilder, RTCIceServer,
    RTCIceTransportPolicy, RTCSessionDescription, SettingEngine, SettingEngineBuilder,
};

use super::channel::{HIGH_WATER, Terms};
use super::connection::{Connection, Gathering, Handler, Signals, State};
use super::ports::local_addresses;
use super::runtime::LinkRuntime;
use super::sdp::{Description, Kind, SdpError};
use super::{IceServer, Link, LinkError, LinkOptions};

/// Time for the channel to open once both descriptions are there. A wrong fingerprint gives no
/// event at all, so this is what ends such an attempt.
const OPEN: Duration = Duration::from_secs(25);

/// Time for candidates after the first one: a STUN server that answers does so in 0.3 s or less,
/// one that does not would hold the description back for 10.8 s.
const GATHER: Duration = Duration::from_millis(1500);

/// Time for the first candidate, which may have to come from a TURN server.
const FIRST_CANDIDATE: Duration = Duration::from_secs(6);

/// The channel's name; nobody depends on it.
const LABEL: &str = "easypeers";

/// Makes links. Cheap to clone; all clones share one DTLS certificate.
#[derive(Clone)]
pub(crate) struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    options: LinkOptions,
    ice_servers: Mutex<Vec<RTCIceServer>>,
    certificate: RTCCertificate,
    fingerprint: [u8; 32],
    crypto: Arc<dyn RTCCryptoProvider>,
    open: Duration,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Readies what all links share.
    ///
    /// # Errors
    ///
    /// [`LinkError::IceServer`] for a server that cannot be used, [`LinkError::Port`] when a port
    /// asked for is taken, [`LinkError::NoAddress`] on a host without any.
    pub(crate) async fn new(options: LinkOptions) -> Result<Self, LinkError> {
        Self::with_deadline(options, OPEN).await
    }

    #[expect(clippy::unused_async, reason = "sockets need a runtime")]
    pub(super) async fn with_deadline(
        options: LinkOptions,
        open: Duration,
    ) -> Result<Self, LinkError> {
        options.ice_servers.iter().try_for_each(IceServer::check)?;
        let crypto = default_provider().map_err(|_| LinkError::Failed)?;
        let certificate = new_certificate(&*crypto)?;
        let fingerprint = fingerprint_of(&certificate, &*crypto)?;
        let ice_servers = options.ice_servers.iter().filter_map(IceServer::usable);
        Ok(Self {
            inner: Arc::new(Inner {
                ice_servers: Mutex::new(ice_servers.collect()),
                options,
                certificate,
                fingerprint,
                crypto,
                open,
            }),
        })
    }

    /// SHA-256 of our DTLS certificate.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.inner.fingerprint
    }

    /// Replaces the STUN and TURN servers, for links made from now on. Those that cannot be used
    /// are left out and told to the log.
    pub(crate) fn set_ice_servers(&self, servers: Vec<IceServer>) {
        let usable = servers.iter().filter_map(IceServer::usable).collect();
        let current = self.inner.ice_servers.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = usable;
    }

    /// Makes an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when there is no address, port or candidate to offer.
    pub(crate) async fn offer(&self) -> Result<PendingOffer, LinkError> {
        let (connection, signals) = self.connect().await?;
        let stack = connection.stack();
        // Ordered and reliable is the default (W3C WebRTC, section 6.2).
        let channel = stack.create_data_channel(LABEL, None).await?;
        let offer = stack.create_offer(None).await?;
        let mut pending = Pending::new(self, connection, signals);
        pending.describe(offer, Kind::Offer).await?;
        Ok(PendingOffer { pending, channel })
    }

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an offer that is refused, and as [`Transport::offer`].
    pub(crate) async fn answer(&self, offer: &str) -> Result<PendingAnswer, LinkError> {
        let offer = Description::read(offer, Kind::Offer)?;
        let (connection, signals) = self.connect().await?;
        let stack = connection.stack();
        let description = RTCSessionDescription::offer(offer.text.clone())?;
        stack.set_remote_description(description).await?;
        let answer = stack.create_answer(None).await?;
        let mut pending = Pending::new(self, connection, signals);
        pending.describe(answer, Kind::Answer).await?;
        let terms = pending.terms(Role::Answerer, &offer);
        Ok(PendingAnswer { pending, terms })
    }

    async fn connect(&self) -> Result<(Connection, Signals), LinkError> {
        let addresses: Vec<SocketAddr> = local_addresses(&self.inner.options.bind)
            .into_iter()
            .map(|address| SocketAddr::new(address, 0))
            .collect();
        if addresses.is_empty() {
            return Err(LinkError::NoAddress);
        }
        let (handler, signals) = Handler::new();
        let built = PeerConnectionBuilder::new()
            .with_configuration(self.configuration())
            .with_setting_engine(self.settings())
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(LinkRuntime))
            // Any number: makes the driver stop when its connection is dropped. The pool itself
            // is not used, since our runtime spawns drivers as ordinary tasks.
            .with_dedicated_reactor_pool_size(1)
            .with_data_channel_send_buffer_limit(HIGH_WATER)
            .with_udp_addrs(addresses)
            .build();
        // The stack's own future is large.
        let stack = Box::pin(built).await?;
        Ok((Connection::new(stack), signals))
    }

    fn configuration(&self) -> webrtc::peer_connection::RTCConfiguration {
        let policy = if self.inner.options.relay_only {
            RTCIceTransportPolicy::Relay
        } else {
            RTCIceTransportPolicy::All
        };
        let servers = self.inner.ice_servers.lock();
        RTCConfigurationBuilder::new()
            .with_ice_servers(servers.unwrap_or_else(PoisonError::into_inner).clone())
            .with_ice_transport_policy(policy)
            .with_certificates(vec![self.inner.certificate.clone()])
            .build()
    }

    fn settings(&self) -> SettingEngine {
        let ms = |ms| Some(Duration::from_millis(ms));
        SettingEngineBuilder::new()
            .with_crypto_provider(Arc::clone(&self.inner.crypto))
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_prflx_acceptance_min_wait(ms(0))
            .with_srflx_acceptance_min_wait(ms(100))
            .with_ice_connection_attempts(ms(20), Some(100))
            // Suspect after 2.7 s. A shorter time to fail would lose answers that come late.
            .with_ice_timeouts(ms(3_000), ms(15_000), ms(1_000))
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(self.inner.options.max_message))
            .build()
    }
}

/// What an offer and an answer that wait have in common.
#[derive(Debug)]
struct Pending {
    connection: Connection,
    state: tokio::sync::watch::Receiver<State>,
    gathering: tokio::sync::watch::Receiver<Gathering>,
    incoming: tokio::sync::mpsc::Receiver<Arc<dyn DataChannel>>,
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
        self.fingerprint = Description::read(&sdp, kind)?.fingerprint;
        self.sdp = sdp;
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
        let deadline = Instant::now() + self.transport.inner.open;
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
    incoming: &mut tokio::sync::mpsc::Receiver<Arc<dyn DataChannel>>,
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

/// Waits for the channel of the other side, which must be ordered and reliable.
async fn theirs_opened(
    incoming: &mut tokio::sync::mpsc::Receiver<Arc<dyn DataChannel>>,
) -> Result<Arc<dyn DataChannel>, LinkError> {
    let channel = incoming.recv().await.ok_or(LinkError::Closed)?;
    let reliable = channel.ordered().await?
        && channel.max_retransmits().await?.is_none()
        && channel.max_packet_life_time().await?.is_none();
    if reliable {
        Ok(channel)
    } else {
        Err(LinkError::Channel)
    }
}

/// An offer that waits for its answer. Dropping it closes it.
pub(crate) struct PendingOffer {
    pending: Pending,
    channel: Arc<dyn DataChannel>,
}

impl fmt::Debug for PendingOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingOffer").field(&self.pending).finish()
    }
}

impl PendingOffer {
    /// The complete description to send.
    pub(crate) fn sdp(&self) -> &str {
        &self.pending.sdp
    }

    /// Applies the answer and waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an answer that is refused, [`LinkError::Timeout`] and
    /// [`LinkError::Failed`] when the other side is not reached or is not who the answer says.
    pub(crate) async fn open(self, answer: &str) -> Result<Link, LinkError> {
        let Self { pending, channel } = self;
        match pending.apply(answer).await {
            Ok(terms) => pending.open(Some(channel), terms).await,
            Err(error) => {
                pending.connection.close().await;
                Err(error)
            }
        }
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.pending.connection.close().await;
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
pub(crate) struct PendingAnswer {
    pending: Pending,
    terms: Terms,
}

impl PendingAnswer {
    /// The complete description to send.
    pub(crate) fn sdp(&self) -> &str {
        &self.pending.sdp
    }

    /// Waits for the channel, at most 25 s.
    ///
    /// # Errors
    ///
    /// As [`PendingOffer::open`], and [`LinkError::Channel`] for a channel that is unordered or
    /// unreliable.
    pub(crate) async fn open(self) -> Result<Link, LinkError> {
        self.pending.open(None, self.terms).await
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        self.pending.connection.close().await;
    }
}

fn new_certificate(crypto: &dyn RTCCryptoProvider) -> Result<RTCCertificate, LinkError> {
    // A subject that says nothing, as browsers do.
    let params = CertificateParams::new(vec!["webrtc".to_owned()]);
    let params = params.map_err(|_| LinkError::Failed)?;
    let scheme = SignatureScheme::EcdsaP256Sha256;
    Ok(RTCCertificate::generate(crypto.crypto(), scheme, params)?)
}

fn fingerprint_of(
    certificate: &RTCCertificate,
    crypto: &dyn RTCCryptoProvider,
) -> Result<[u8; 32], LinkError> {
    let fingerprints = certificate.get_fingerprints(crypto.crypto())?;
    let first = fingerprints.first().ok_or(SdpError::Fingerprint)?;
    let value = format!("{} {}", first.algorithm, first.value);
    Ok(super::sdp::read_fingerprint(&value).ok_or(SdpError::Fingerprint)?)
}
