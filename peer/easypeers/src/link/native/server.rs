//! Which STUN and TURN servers the WebRTC stack can use.

use easypeers_proto::ice::{IceScheme, IceTransport};
use webrtc::peer_connection::RTCIceServer;

use super::{IceServer, LinkError};

impl IceServer {
    /// Whether links can use all of it.
    ///
    /// # Errors
    ///
    /// [`LinkError::IceServer`] for a URL that is malformed, a TURN server without user name or
    /// credential, and for TURN over TCP or TLS and STUN over TLS, which are not supported.
    pub fn check(&self) -> Result<(), LinkError> {
        let relays = true;
        self.urls
            .iter()
            .try_for_each(|url| self.check_url(url, relays))
    }

    /// As [`IceServer::check`], for links that share one UDP port and so cannot use TURN.
    pub(super) fn check_without_relays(&self) -> Result<(), LinkError> {
        let relays = false;
        self.urls
            .iter()
            .try_for_each(|url| self.check_url(url, relays))
    }

    fn check_url(&self, url: &str, relays: bool) -> Result<(), LinkError> {
        // Some lists of servers have a query behind a STUN URL. The stack ignores it.
        let bare = match url.split_once('?') {
            Some((bare, _)) if has_scheme(url, "stun:") => bare,
            _ => url,
        };
        if !relays && is_turn(url) {
            let reason = "TURN needs a UDP port for each link: give a range, not one port";
            return Err(LinkError::ice_server(url, reason));
        }
        let read = self.read_url(bare)?;
        let reason = match (read.scheme(), read.transport()) {
            (IceScheme::Stun, _) | (IceScheme::Turn, None | Some(IceTransport::Udp)) => {
                return Ok(());
            }
            (IceScheme::Turn, Some(IceTransport::Tcp)) => "TURN over TCP is not supported",
            (IceScheme::Turns, _) => "TURN over TLS is not supported",
            (IceScheme::Stuns, _) => "STUN over TLS is not supported",
        };
        Err(LinkError::ice_server(url, reason))
    }

    /// The URLs that can be used, as the stack wants them. The others are logged.
    pub(super) fn usable(&self, relays: bool) -> Option<RTCIceServer> {
        let usable = |url: &&String| {
            self.check_url(url, relays)
                .inspect_err(|error| tracing::warn!(%error, "ICE server left out"))
                .is_ok()
        };
        let urls: Vec<String> = self.urls.iter().filter(usable).cloned().collect();
        (!urls.is_empty()).then(|| RTCIceServer {
            urls,
            username: self.username.clone().unwrap_or_default(),
            credential: self.credential.clone().unwrap_or_default(),
        })
    }
}

pub(super) fn is_turn(url: &str) -> bool {
    has_scheme(url, "turn:")
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}
