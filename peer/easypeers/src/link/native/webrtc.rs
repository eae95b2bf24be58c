//! Making links: from [`LinkOptions`] and the other side's description to our own description, and
//! then an open [`Link`](super::Link).
//!
//! The settings, each of which was measured: see `docs/` for the figures.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rtc::crypto::{RTCCryptoProvider, SignatureScheme, default_provider};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::certificate::CertificateParams;
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use webrtc::data_channel::RTCDataChannelInit;
use webrtc::peer_connection::{
    PeerConnectionBuilder, RTCCertificate, RTCConfigurationBuilder, RTCIceServer,
    RTCIceTransportPolicy, SettingEngineBuilder,
};

use super::connection::{Connection, Handler, Signals};
use super::pending::{PendingAnswer, PendingOffer};
use super::ports::{free_port, local_addresses, usable};
use super::runtime::LinkRuntime;
use super::sdp::{Description, Kind, own_hosts, rewrite_own};
use super::server::is_turn;
use super::shared_port::SharedPort;
use super::{HIGH_WATER, IceServer, LinkError, LinkOptions, OPEN, UdpPorts};

/// Ports of a range that are tried for one link. The first one is seldom lost to a race.
const PORT_TRIES: u32 = 4;

/// Makes links. Cheap to clone; all clones share one DTLS certificate.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    options: LinkOptions,
    ice_servers: Mutex<Vec<RTCIceServer>>,
    certificate: RTCCertificate,
    crypto: Arc<dyn RTCCryptoProvider>,
    open: Duration,
    /// The sockets of [`UdpPorts::One`], one a local address; else none.
    shared: Arc<[Arc<SharedPort>]>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Prepares what all links share.
    ///
    /// # Errors
    ///
    /// [`LinkError::IceServer`] for a server that cannot be used, [`LinkError::Port`] when a port
    /// asked for is taken, [`LinkError::Address`] for an address that this host does not have,
    /// [`LinkError::NoAddress`] on a host without any.
    pub async fn new(options: LinkOptions) -> Result<Self, LinkError> {
        Self::with_deadline(options, OPEN).await
    }

    #[expect(clippy::unused_async, reason = "shared sockets need a runtime")]
    pub(super) async fn with_deadline(
        options: LinkOptions,
        open: Duration,
    ) -> Result<Self, LinkError> {
        options.ice_servers.iter().try_for_each(IceServer::check)?;
        options
            .bind
            .iter()
            .try_for_each(|address| usable(*address))?;
        let crypto = default_provider().map_err(|_| LinkError::Failed)?;
        let certificate = new_certificate(&*crypto)?;
        let shared = match options.udp_ports {
            UdpPorts::One(port) => {
                // A relay tells its clients apart by their address, of which there is one here.
                options
                    .ice_servers
                    .iter()
                    .try_for_each(IceServer::check_without_relays)?;
                bind_shared(&options.bind, port)?
            }
            UdpPorts::Any | UdpPorts::Range(_) => Arc::default(),
        };
        let transport = Self {
            inner: Arc::new(Inner {
                ice_servers: Mutex::default(),
                options,
                certificate,
                crypto,
                open,
                shared,
            }),
        };
        transport.set_ice_servers(transport.inner.options.ice_servers.clone());
        Ok(transport)
    }

    /// Replaces the STUN and TURN servers, for links made from now on. Those that cannot be used
    /// are left out and logged.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        let relays = !matches!(self.inner.options.udp_ports, UdpPorts::One(_));
        let usable = servers.iter().filter_map(|server| server.usable(relays));
        let usable = usable.collect();
        let current = self.inner.ice_servers.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = usable;
    }

    /// Makes an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError`] when there is no address, port or candidate to offer.
    pub async fn offer(&self) -> Result<PendingOffer, LinkError> {
        // Ordered and reliable is the default (W3C WebRTC, section 6.2).
        self.offer_with(None).await
    }

    pub(super) async fn offer_with(
        &self,
        channel: Option<RTCDataChannelInit>,
    ) -> Result<PendingOffer, LinkError> {
        let (connection, signals) = self.connect().await?;
        PendingOffer::make(self, connection, signals, channel).await
    }

    /// Answers an offer.
    ///
    /// # Errors
    ///
    /// [`LinkError::Sdp`] for an offer that is refused, and as [`Transport::offer`].
    pub async fn answer(&self, offer: &str) -> Result<PendingAnswer, LinkError> {
        let offer = Description::read(offer, Kind::Offer)?;
        let (connection, signals) = self.connect().await?;
        PendingAnswer::make(self, connection, signals, &offer).await
    }

    /// Time for a channel to open.
    pub(super) fn open_deadline(&self) -> Duration {
        self.inner.open
    }

    /// A connection of the stack, with sockets of its own. Another link or program may take a port of
    /// the range between our check and the stack's use. Then another one is tried.
    async fn connect(&self) -> Result<(Connection, Signals), LinkError> {
        let mut left = match self.inner.options.udp_ports {
            UdpPorts::Range(_) => PORT_TRIES,
            UdpPorts::Any | UdpPorts::One(_) => 1,
        };
        loop {
            left -= 1;
            match self.try_connect().await {
                Err(LinkError::Stack(_)) if left > 0 => {}
                result => return result,
            }
        }
    }

    async fn try_connect(&self) -> Result<(Connection, Signals), LinkError> {
        if self.inner.options.relay_only && !self.has_relay() {
            return Err(LinkError::NoRelay);
        }
        let addresses = self.addresses()?;
        let mut settings = self.settings();
        let mut runtime = LinkRuntime::default();
        if !self.inner.shared.is_empty() {
            // The shared port tells by our user fragment which connection a STUN request is for.
            let (ufrag, password) = (ice_text(UFRAG), ice_text(PASSWORD));
            settings = settings.with_ice_credentials(ufrag.clone(), password);
            runtime.shared = Some((Arc::clone(&self.inner.shared), ufrag));
        }
        let (handler, signals) = Handler::new();
        let built = PeerConnectionBuilder::new()
            .with_configuration(self.configuration())
            .with_setting_engine(settings.build())
            .with_handler(Arc::new(handler))
            .with_runtime(Arc::new(runtime))
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

    /// The addresses that the stack should bind for one connection.
    fn addresses(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let Inner {
            options, shared, ..
        } = &*self.inner;
        let addresses = match &options.udp_ports {
            UdpPorts::One(_) => shared.iter().map(|port| port.local().ip()).collect(),
            UdpPorts::Any | UdpPorts::Range(_) => local_addresses(&options.bind),
        };
        if addresses.is_empty() {
            return Err(LinkError::NoAddress);
        }
        let range = match &options.udp_ports {
            UdpPorts::Range(range) => Some(range),
            UdpPorts::Any | UdpPorts::One(_) => None,
        };
        let bind = |address| match range {
            Some(range) => free_port(address, range),
            None => Ok(SocketAddr::new(address, 0)),
        };
        addresses.into_iter().map(bind).collect()
    }

    /// Our description for other peers: with the shared port, and with the public address in place of
    /// our own. Loopback addresses stay for peers on the same host, unless the family has no other.
    pub(super) fn told(&self, sdp: &str) -> String {
        let Inner {
            options, shared, ..
        } = &*self.inner;
        let own = own_hosts(sdp);
        rewrite_own(sdp, |local| {
            let port = shared.iter().find(|port| port.local().ip() == local.ip());
            let port = port.map_or_else(|| local.port(), |port| port.local().port());
            let same_family = |address: IpAddr| address.is_ipv4() == local.is_ipv4();
            let public = options.public_addresses.iter();
            let public = public.copied().find(|public| same_family(*public));
            let hidden = !local.ip().is_loopback()
                || own
                    .iter()
                    .all(|a| !same_family(a.ip()) || a.ip().is_loopback());
            let address = public.filter(|_| hidden).unwrap_or_else(|| local.ip());
            SocketAddr::new(address, port)
        })
    }

    /// Whether a TURN server is among the ICE servers.
    pub fn has_relay(&self) -> bool {
        let servers = self.inner.ice_servers.lock();
        let servers = servers.unwrap_or_else(PoisonError::into_inner);
        let mut urls = servers.iter().flat_map(|server| &server.urls);
        urls.any(|url| is_turn(url))
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

    fn settings(&self) -> SettingEngineBuilder {
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
    }
}

fn new_certificate(crypto: &dyn RTCCryptoProvider) -> Result<RTCCertificate, LinkError> {
    // Browsers use such a subject too. It reveals nothing.
    let params = CertificateParams::new(vec!["webrtc".to_owned()]);
    let params = params.map_err(|_| LinkError::Failed)?;
    let scheme = SignatureScheme::EcdsaP256Sha256;
    Ok(RTCCertificate::generate(crypto.crypto(), scheme, params)?)
}

/// The sockets that all connections share, one a local address.
fn bind_shared(bind: &[IpAddr], port: u16) -> Result<Arc<[Arc<SharedPort>]>, LinkError> {
    let addresses = local_addresses(bind);
    if addresses.is_empty() {
        return Err(LinkError::NoAddress);
    }
    let bind = |address| {
        SharedPort::bind(address, port).map_err(|source| LinkError::Port { address, source })
    };
    addresses.into_iter().map(bind).collect()
}

/// Characters of an ICE user fragment and password: 95 and 190 bits (RFC 8445, section 5.3, asks
/// for 24 and 128).
const UFRAG: usize = 16;
const PASSWORD: usize = 32;

fn ice_text(len: usize) -> String {
    let random = rand::rng().sample_iter(rand::distr::Alphanumeric);
    random.take(len).map(char::from).collect()
}
