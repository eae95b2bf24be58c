//! Addresses of trackers: `ws://HOST[:PORT][/PATH]` or `wss://...`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

/// The address of a WebTorrent tracker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrackerUrl {
    uri: Uri,
    host: String,
    secure: bool,
}

/// Text that is not the address of a tracker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no tracker: {reason}")]
pub struct TrackerUrlError {
    text: String,
    reason: &'static str,
}

impl TrackerUrl {
    /// Whether it is reached over TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is on this host or in a private network. Then so are the peers that it introduces.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => is_local_v6(ip),
            Err(_) => {
                let host = self.host.to_ascii_lowercase();
                host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local")
            }
        }
    }

    /// Name or address, without the brackets of IPv6.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn port(&self) -> u16 {
        let default = if self.secure { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(default)
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// `HOST` or `HOST:PORT`, as in the header `Host`.
    pub(crate) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().map_or_else(
        || ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        |ip| ip.is_loopback() || ip.is_private() || ip.is_link_local(),
    )
}

impl FromStr for TrackerUrl {
    type Err = TrackerUrlError;

    fn from_str(text: &str) -> Result<Self, TrackerUrlError> {
        let refuse = |reason| TrackerUrlError {
            text: text.to_owned(),
            reason,
        };
        let uri: Uri = text.trim().parse().map_err(|_| refuse("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(refuse("expected ws://HOST:PORT or wss://HOST")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("user names are not supported"));
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = authority
            .as_str()
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        if host.is_empty() {
            return Err(refuse("no host"));
        }
        if port && uri.port_u16().is_none_or(|port| port == 0) {
            return Err(refuse("the port must be from 1 to 65535"));
        }
        Ok(Self {
            host: host.to_owned(),
            uri,
            secure,
        })
    }
}

impl fmt::Display for TrackerUrl {
    /// As given, without a lone slash at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.uri.to_string();
        f.write_str(text.strip_suffix('/').unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_ports() {
        for (text, host, port, local) in [
            ("ws://localhost:3000", "localhost", 3000, true),
            (
                "wss://tracker.example/announce",
                "tracker.example",
                443,
                false,
            ),
            ("ws://192.168.1.2", "192.168.1.2", 80, true),
            ("ws://[::1]:3000", "::1", 3000, true),
            ("wss://[2001:db8::1]", "2001:db8::1", 443, false),
            ("ws://8.8.8.8:80", "8.8.8.8", 80, false),
            ("ws://pi.local:3000", "pi.local", 3000, true),
        ] {
            let url: TrackerUrl = text.parse().unwrap();
            assert_eq!(
                (url.host(), url.port(), url.is_local()),
                (host, port, local),
                "{text}"
            );
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        for text in [
            "",
            "localhost:3000",
            "http://localhost:3000",
            "udp://tracker.example:6969",
            "ws://",
            "ws://user@host",
            "ws://host:0",
            "ws://host:99999",
        ] {
            let error = text.parse::<TrackerUrl>().unwrap_err();
            assert!(error.to_string().contains(": "), "{text}: {error}");
        }
    }
}
