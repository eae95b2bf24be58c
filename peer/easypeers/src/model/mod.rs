//! The types of the API, which the handle and the driver share. In this crate they
//! depend on the clock only.

mod error;
mod event;
mod ice_server;
mod info;
mod link_error;
mod options;
mod tracker_url;
#[cfg(not(target_family = "wasm"))]
mod udp_ports;
mod view;

pub use error::{JoinError, SendError};
pub use event::{Data, Event, MAX_MESSAGE, Message, Receipt, State, Status};
pub use ice_server::IceServer;
pub use info::{PeerInfo, Stats, TrackerInfo};
pub use link_error::{LinkError, SdpError};
pub(crate) use link_error::{MAX_CANDIDATES, MAX_SDP};
pub(crate) use options::TIMEOUTS;
pub use options::{
    DEFAULT_MAX_PEERS, DEFAULT_TIMEOUT, DEFAULT_TRACKER, IceServers, Limits, MAX_MAX_PEERS,
    MIN_MAX_PEERS, Options,
};
pub use tracker_url::{TrackerUrl, TrackerUrlError};
#[cfg(not(target_family = "wasm"))]
pub use udp_ports::{ParsePortsError, UdpPorts};
pub(crate) use view::View;
