//! What can go wrong with a link, for users.

use std::io;
use std::net::IpAddr;

/// Longest description, in bytes. Browsers send 600 to 3,000.
pub(crate) const MAX_SDP: usize = 16 * 1024;

/// Most candidates. A host with ten addresses, a STUN and a TURN server has about 30.
pub(crate) const MAX_CANDIDATES: usize = 32;

/// Why a session description was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Longer than 16 KiB.
    #[error("longer than {MAX_SDP} bytes")]
    TooLong,
    /// Not made of SDP lines.
    #[error("not a session description")]
    Malformed,
    /// Not exactly one section, for a data channel.
    #[error("expected one m=application section for a data channel")]
    Media,
    /// No fingerprint, more than one, or not a SHA-256 one.
    #[error("expected one SHA-256 fingerprint")]
    Fingerprint,
    /// ICE user fragment or password missing or of the wrong form.
    #[error("ICE credentials missing or malformed")]
    Credentials,
    /// More than 32 candidates.
    #[error("more than {MAX_CANDIDATES} candidates")]
    TooManyCandidates,
    /// A candidate line of the wrong form.
    #[error("malformed candidate")]
    Candidate,
    /// SCTP port, message size or DTLS setup of the wrong form.
    #[error("malformed SCTP or DTLS attribute")]
    Attribute,
}

/// Why a link was not made or has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A STUN or TURN server that links cannot use.
    #[error("ICE server {url:?}: {reason}")]
    IceServer {
        /// The server's URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// None of the requested UDP ports is free.
    #[error("no UDP port to use on {address}")]
    Port {
        /// The local address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A requested address does not belong to this host.
    #[error("cannot use the address {address}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// This host has no network address that can be used.
    #[error("no network address to use")]
    NoAddress,
    /// Only relayed candidates may be used, and there is no TURN server.
    #[error("links through a relay only, but no TURN server given")]
    NoRelay,
    /// The other side's session description is refused.
    #[error("session description refused: {0}")]
    Sdp(#[from] SdpError),
    /// No candidate was found, for example because only relayed ones may be used.
    #[error("no ICE candidate found: no TURN server answered, or none took the credential")]
    NoCandidate,
    /// The other side did not open the channel in time.
    #[error("channel did not open in time")]
    Timeout,
    /// ICE or DTLS failed.
    #[error("connection failed")]
    Failed,
    /// The other side opened an unordered channel, or a second one.
    #[error("other side opened a channel of the wrong kind")]
    Channel,
    /// This browser has no WebRTC, or it is switched off.
    #[error("this browser has no WebRTC, or it is switched off")]
    NoWebRtc,
    /// The link is closed.
    #[error("link is closed")]
    Closed,
    /// The WebRTC stack refused.
    #[error("webrtc: {0}")]
    Stack(String),
}
