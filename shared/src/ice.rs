//! URLs of STUN and TURN servers (RFC 7064, RFC 7065): `stun:HOST[:PORT]`, `stuns:`, and `turn:` or
//! `turns:` with an optional `?transport=udp` or `?transport=tcp`.
//!
//! Only what browsers accept is a URL here: a browser refuses a whole list of servers for one URL
//! that it does not understand.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of STUN and TURN without TLS (RFC 8489, section 18.6; RFC 8656).
const PORT: u16 = 3478;
/// The port of STUN and TURN over TLS.
const TLS_PORT: u16 = 5349;

/// What kind of server a URL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceScheme {
    /// STUN over UDP or TCP.
    Stun,
    /// STUN over TLS.
    Stuns,
    /// TURN over UDP or TCP.
    Turn,
    /// TURN over TLS.
    Turns,
}

impl IceScheme {
    const ALL: [Self; 4] = [Self::Stun, Self::Stuns, Self::Turn, Self::Turns];

    /// The scheme as it is written, in lower case and without the colon.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stun => "stun",
            Self::Stuns => "stuns",
            Self::Turn => "turn",
            Self::Turns => "turns",
        }
    }

    /// Whether the server relays, and so needs credentials.
    #[must_use]
    pub const fn is_turn(self) -> bool {
        matches!(self, Self::Turn | Self::Turns)
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Stun | Self::Turn => PORT,
            Self::Stuns | Self::Turns => TLS_PORT,
        }
    }
}

/// What a TURN server is reached over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceTransport {
    /// UDP, or DTLS with `turns:`.
    Udp,
    /// TCP, or TLS with `turns:`.
    Tcp,
}

/// Why a text is not the URL of a STUN or TURN server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{}", self.as_str())]
pub enum IceUrlError {
    /// The text starts with none of the four schemes.
    Scheme,
    /// The host is empty, or neither a name nor an address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// The part behind `?` is unknown, or the scheme allows none.
    Query,
}

impl IceUrlError {
    /// The error in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheme => "expected stun:HOST[:PORT], turn:HOST[:PORT] or turns:HOST[:PORT]",
            Self::Host => "expected a host name or an IP address, IPv6 in brackets",
            Self::Port => "the port is not a number from 1 to 65535",
            Self::Query => "only turn: and turns: take ?transport=udp or ?transport=tcp",
        }
    }
}

/// The URL of a STUN or TURN server, without credentials.
///
/// ```
/// use easypeers_proto::ice::IceUrl;
///
/// let url: IceUrl = "turn:[2001:db8::1]?transport=udp".parse()?;
/// assert!(url.scheme().is_turn());
/// assert_eq!(url.to_string(), "turn:[2001:db8::1]:3478?transport=udp");
/// # Ok::<(), easypeers_proto::ice::IceUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceUrl {
    scheme: IceScheme,
    host: String,
    port: u16,
    transport: Option<IceTransport>,
}

impl IceUrl {
    /// What kind of server it is.
    #[must_use]
    pub const fn scheme(&self) -> IceScheme {
        self.scheme
    }

    /// What is written behind `?transport=`.
    #[must_use]
    pub const fn transport(&self) -> Option<IceTransport> {
        self.transport
    }
}

impl FromStr for IceUrl {
    type Err = IceUrlError;

    /// Reads a URL. Its scheme may be in upper case (RFC 3986, section 3.1).
    fn from_str(text: &str) -> Result<Self, IceUrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(IceUrlError::Scheme)?;
        let named = |known: &IceScheme| scheme.eq_ignore_ascii_case(known.as_str());
        let scheme = IceScheme::ALL.into_iter().find(named);
        let scheme = scheme.ok_or(IceUrlError::Scheme)?;
        let (server, transport) = match rest.split_once('?') {
            None => (rest, None),
            Some((server, query)) => (server, Some(transport(scheme, query)?)),
        };
        let (host, port) = split_port(server)?;
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => scheme.default_port(),
            None => return Err(IceUrlError::Host),
            Some(digits) => port_number(digits).ok_or(IceUrlError::Port)?,
        };
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            transport,
        })
    }
}

fn transport(scheme: IceScheme, query: &str) -> Result<IceTransport, IceUrlError> {
    match query {
        "transport=udp" if scheme.is_turn() => Ok(IceTransport::Udp),
        "transport=tcp" if scheme.is_turn() => Ok(IceTransport::Tcp),
        _ => Err(IceUrlError::Query),
    }
}

fn port_number(digits: &str) -> Option<u16> {
    // Parsing a number takes a plus sign, too.
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| all_digits && *port > 0)
}

/// The host, with the brackets of an IPv6 address, and the rest, which starts with the port's
/// colon.
fn split_port(server: &str) -> Result<(&str, &str), IceUrlError> {
    if let Some(bracketed) = server.strip_prefix('[') {
        let (inner, _) = bracketed.split_once(']').ok_or(IceUrlError::Host)?;
        if inner.parse::<Ipv6Addr>().is_err() {
            return Err(IceUrlError::Host);
        }
        return Ok(server.split_at(inner.len() + 2));
    }
    let (host, port) = server.split_at(server.find(':').unwrap_or(server.len()));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(IceUrlError::Host);
    }
    Ok((host, port))
}

impl fmt::Display for IceUrl {
    /// The port is always written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.scheme.as_str(), self.host, self.port)?;
        match self.transport {
            None => Ok(()),
            Some(IceTransport::Udp) => f.write_str("?transport=udp"),
            Some(IceTransport::Tcp) => f.write_str("?transport=tcp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_read_and_written_with_their_port() {
        for (text, written) in [
            ("stun:example.org", "stun:example.org:3478"),
            ("STUN:192.0.2.1:19302", "stun:192.0.2.1:19302"),
            ("stuns:example.org", "stuns:example.org:5349"),
            ("turn:a_b-c", "turn:a_b-c:3478"),
            (
                "turn:[2001:db8::1]:1?transport=udp",
                "turn:[2001:db8::1]:1?transport=udp",
            ),
            (
                "turns:turn.example.org:443?transport=tcp",
                "turns:turn.example.org:443?transport=tcp",
            ),
        ] {
            assert_eq!(text.parse::<IceUrl>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn urls_that_browsers_refuse_are_refused() {
        for (text, error) in [
            ("", IceUrlError::Scheme),
            ("example.org", IceUrlError::Scheme),
            ("http://a", IceUrlError::Scheme),
            ("stun:", IceUrlError::Host),
            ("stun::3478", IceUrlError::Host),
            ("stun:::1", IceUrlError::Host),
            ("stun:a b", IceUrlError::Host),
            ("turn:user@a", IceUrlError::Host),
            ("turn://a", IceUrlError::Host),
            ("stun:[::1", IceUrlError::Host),
            ("stun:[x]:1", IceUrlError::Host),
            ("stun:[::1]1", IceUrlError::Host),
            ("stun:a:", IceUrlError::Port),
            ("stun:a:0", IceUrlError::Port),
            ("stun:a:+1", IceUrlError::Port),
            ("stun:a:65536", IceUrlError::Port),
            ("turn:user:pass@a", IceUrlError::Port),
            ("stun:a?transport=udp", IceUrlError::Query),
            ("turn:a?transport=sctp", IceUrlError::Query),
        ] {
            assert_eq!(text.parse::<IceUrl>(), Err(error), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_written_and_read_again(text in "(stun|turns?):[a-z0-9.:\\[\\]]{0,12}(\\?transport=tcp)?") {
            if let Ok(url) = text.parse::<IceUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = text.parse::<IceUrl>();
        }
    }
}
