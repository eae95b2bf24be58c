//! Which STUN and TURN servers the WebRTC stack can use.

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
        let refuse = |reason| {
            Err(LinkError::IceServer {
                url: url.to_owned(),
                reason,
            })
        };
        let lower = url.to_ascii_lowercase();
        let (scheme, rest) = lower.split_once(':').unwrap_or(("", &lower));
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        match scheme {
            "stun" => {}
            "turn" if !relays => {
                return refuse("TURN needs a UDP port for each link: give a range, not one port");
            }
            "turn" if query == "transport=tcp" => return refuse("TURN over TCP is not supported"),
            "turn" => {
                let given = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
                if !given(&self.username) || !given(&self.credential) {
                    return refuse("a TURN server needs a user name and a credential");
                }
            }
            "turns" => return refuse("TURN over TLS is not supported"),
            "stuns" => return refuse("STUN over TLS is not supported"),
            _ => return refuse("expected stun:HOST:PORT or turn:HOST:PORT"),
        }
        let bare = if scheme == "stun" {
            url.split('?').next().unwrap_or(url)
        } else {
            url
        };
        match rtc::ice::url::Url::parse_url(bare) {
            Ok(_) => Ok(()),
            Err(_) => refuse("malformed"),
        }
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
    url.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("turn:"))
}
