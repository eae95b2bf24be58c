//! Checks session descriptions of other peers, and turns them into text that the WebRTC stack can
//! safely parse.
//!
//! The stack accepts thousands of candidates and invalid ports, so nothing reaches it unchecked.
//! Candidates that it cannot use (TCP, names such as `.local`, multicast addresses) are left out and
//! do not make a description invalid, because browsers list them.
//!
//! Sources: RFC 8866 (SDP), RFC 8839 (ICE in SDP), RFC 8841 (SCTP), RFC 8122 (fingerprint).

use std::net::{IpAddr, SocketAddr};

use data_encoding::HEXLOWER_PERMISSIVE;

use crate::model::{MAX_CANDIDATES, MAX_SDP, SdpError};

/// Smallest limit for messages that is accepted. With less, headers would cost more than data.
const MIN_MESSAGE: u64 = 1024;

/// The limit of a peer that does not name one (RFC 8841, section 6.1).
const DEFAULT_MESSAGE: u64 = 64 * 1024;

/// Who takes the first step of the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Active,
    Passive,
    /// Leaves the choice to the other side; in offers only.
    ActPass,
}

/// A description that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// The text for the stack, without candidates that it cannot use.
    pub(super) text: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) ufrag: String,
    pub(super) setup: Setup,
    /// Longest message that the describing side accepts, in bytes.
    pub(super) max_message: usize,
}

/// Whether a description opens an exchange or ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Answer,
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    text: String,
    sections: usize,
    candidates: usize,
    fingerprint: Option<[u8; 32]>,
    ufrag: Option<String>,
    password: Option<String>,
    setup: Option<Setup>,
    max_message: Option<u64>,
}

impl Description {
    /// Reads a description.
    pub(super) fn read(sdp: &str, kind: Kind) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP {
            return Err(SdpError::TooLong);
        }
        let mut lines = sdp.lines().map(|line| line.trim_end_matches('\r'));
        if lines.next() != Some("v=0") {
            return Err(SdpError::Malformed);
        }
        let mut reading = Reading {
            text: "v=0\r\n".to_owned(),
            ..Reading::default()
        };
        for line in lines {
            if reading.line(line)? {
                reading.text.push_str(line);
                reading.text.push_str("\r\n");
            }
        }
        reading.finish(kind)
    }
}

impl Reading {
    /// Reads a line. Returns whether the stack should get it.
    fn line(&mut self, line: &str) -> Result<bool, SdpError> {
        let mut bytes = line.bytes();
        let shaped = bytes.next().is_some_and(|kind| kind.is_ascii_lowercase())
            && bytes.next() == Some(b'=')
            && !line.chars().any(char::is_control);
        if !shaped {
            return Err(SdpError::Malformed);
        }
        if let Some(media) = line.strip_prefix("m=") {
            self.sections += 1;
            check_media(media)?;
        }
        match line.strip_prefix("a=") {
            Some(attribute) => self.attribute(attribute),
            None => Ok(true),
        }
    }

    fn attribute(&mut self, attribute: &str) -> Result<bool, SdpError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "fingerprint" => {
                let fingerprint = read_fingerprint(value).ok_or(SdpError::Fingerprint)?;
                if self.fingerprint.replace(fingerprint).is_some() {
                    return Err(SdpError::Fingerprint);
                }
            }
            "ice-ufrag" => set_credential(&mut self.ufrag, value, 4)?,
            "ice-pwd" => set_credential(&mut self.password, value, 22)?,
            "setup" => self.setup = Some(read_setup(value).ok_or(SdpError::Attribute)?),
            "sctp-port" => {
                let port = value.parse::<u16>().ok().filter(|port| *port > 0);
                port.ok_or(SdpError::Attribute)?;
            }
            "max-message-size" => {
                let size = value.parse().map_err(|_| SdpError::Attribute)?;
                self.max_message = Some(size);
            }
            "candidate" => {
                self.candidates += 1;
                if self.candidates > MAX_CANDIDATES {
                    return Err(SdpError::TooManyCandidates);
                }
                // A browser resolves names itself, and leaves out what it cannot use.
                return Candidate::read(value)
                    .map(|candidate| cfg!(target_family = "wasm") || candidate.is_usable())
                    .ok_or(SdpError::Candidate);
            }
            _ => {}
        }
        Ok(true)
    }

    fn finish(self, kind: Kind) -> Result<Description, SdpError> {
        if self.sections != 1 {
            return Err(SdpError::Media);
        }
        let (Some(ufrag), Some(_)) = (self.ufrag, self.password) else {
            return Err(SdpError::Credentials);
        };
        let setup = match (self.setup, kind) {
            (Some(Setup::ActPass), Kind::Answer) => return Err(SdpError::Attribute),
            (Some(setup), _) => setup,
            (None, Kind::Offer) => Setup::ActPass,
            (None, Kind::Answer) => Setup::Active,
        };
        let max_message = match self.max_message.unwrap_or(DEFAULT_MESSAGE) {
            0 => usize::MAX,
            size if size < MIN_MESSAGE => return Err(SdpError::Attribute),
            size => usize::try_from(size).unwrap_or(usize::MAX),
        };
        Ok(Description {
            text: self.text,
            fingerprint: self.fingerprint.ok_or(SdpError::Fingerprint)?,
            ufrag,
            setup,
            max_message,
        })
    }
}

/// `application PORT UDP/DTLS/SCTP webrtc-datachannel`.
fn check_media(media: &str) -> Result<(), SdpError> {
    let mut fields = media.split(' ');
    let kind = fields.next();
    let port = fields.next().and_then(|port| port.parse::<u16>().ok());
    let transport = fields.next();
    let format = fields.next();
    let known = matches!(transport, Some("UDP/DTLS/SCTP" | "TCP/DTLS/SCTP"));
    let good = kind == Some("application")
        && port.is_some()
        && known
        && format == Some("webrtc-datachannel")
        && fields.next().is_none();
    good.then_some(()).ok_or(SdpError::Media)
}

/// `sha-256 AB:CD:...`, 32 bytes.
pub(super) fn read_fingerprint(value: &str) -> Option<[u8; 32]> {
    let (algorithm, digits) = value.split_once(' ')?;
    if !algorithm.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut bytes = [0; 32];
    let mut pairs = digits.split(':');
    for byte in &mut bytes {
        let pair = pairs.next()?;
        if pair.len() != 2 {
            return None;
        }
        let byte = std::slice::from_mut(byte);
        HEXLOWER_PERMISSIVE.decode_mut(pair.as_bytes(), byte).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}

/// Takes an ICE user fragment or password: ICE characters, a minimum length, at most 256, and the
/// same value wherever it is repeated.
fn set_credential(slot: &mut Option<String>, value: &str, min: usize) -> Result<(), SdpError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let good = (min..=256).contains(&value.len()) && value.bytes().all(allowed);
    match slot {
        _ if !good => Err(SdpError::Credentials),
        Some(before) if before.as_str() != value => Err(SdpError::Credentials),
        Some(_) => Ok(()),
        None => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

fn read_setup(value: &str) -> Option<Setup> {
    match value {
        "active" => Some(Setup::Active),
        "passive" => Some(Setup::Passive),
        "actpass" => Some(Setup::ActPass),
        _ => None,
    }
}

/// A candidate line's fields that matter (RFC 8839, section 5.1).
struct Candidate<'a> {
    component: u16,
    udp: bool,
    address: &'a str,
    port: u16,
    kind: &'a str,
}

impl<'a> Candidate<'a> {
    /// `FOUNDATION COMPONENT TRANSPORT PRIORITY ADDRESS PORT typ KIND ...`.
    fn read(value: &'a str) -> Option<Self> {
        let mut fields = value.split(' ');
        let foundation = fields.next()?;
        let component = fields.next()?.parse::<u16>().ok()?;
        let transport = fields.next()?;
        fields.next()?.parse::<u32>().ok()?;
        let address = fields.next()?;
        let port = fields.next()?.parse::<u16>().ok()?;
        let typ = fields.next()?;
        let kind = fields.next()?;
        let udp = transport.eq_ignore_ascii_case("udp");
        let good = (1..=32).contains(&foundation.len())
            && (1..=256).contains(&component)
            && (udp || transport.eq_ignore_ascii_case("tcp"))
            // A TCP candidate that only connects has no port of its own.
            && (port > 0 || !udp)
            && is_host(address)
            && typ == "typ"
            && matches!(kind, "host" | "srflx" | "prflx" | "relay");
        good.then_some(Self {
            component,
            udp,
            address,
            port,
            kind,
        })
    }

    /// Its address if it is a local one.
    fn host(&self) -> Option<SocketAddr> {
        let address = self.address.parse().ok()?;
        (self.kind == "host").then(|| SocketAddr::new(address, self.port))
    }

    /// Whether the stack can send to it: UDP, and the address of one host. Other components than
    /// the first one were for RTCP.
    fn is_usable(&self) -> bool {
        let one_host = |address: IpAddr| match address {
            IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        };
        self.udp && self.component == 1 && self.address.parse().is_ok_and(one_host)
    }
}

/// An IP address or a name.
fn is_host(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    text.parse::<IpAddr>().is_ok()
        || (1..=255).contains(&text.len()) && text.bytes().all(name) && !text.starts_with('.')
}

/// The addresses of the host candidates in our own description.
pub(super) fn own_hosts(sdp: &str) -> Vec<SocketAddr> {
    let hosts = sdp.lines().filter_map(own_candidate);
    hosts.filter_map(|candidate| candidate.host()).collect()
}

fn own_candidate(line: &str) -> Option<Candidate<'_>> {
    Candidate::read(line.strip_prefix("a=candidate:")?)
}

/// Replaces the addresses of our own host candidates by those that other peers should use. Leaves
/// out the candidates for RTCP, which the stack lists although a data channel has none.
pub(super) fn rewrite_own(sdp: &str, told: impl Fn(SocketAddr) -> SocketAddr) -> String {
    let mut text = String::with_capacity(sdp.len());
    for line in sdp.lines() {
        let candidate = own_candidate(line);
        if candidate
            .as_ref()
            .is_some_and(|candidate| candidate.component != 1)
        {
            continue;
        }
        match candidate.and_then(|candidate| candidate.host()).map(&told) {
            Some(told) => {
                let (ip, port) = (told.ip().to_string(), told.port().to_string());
                let mut fields: Vec<&str> = line.split(' ').collect();
                if let Some([address_field, port_field]) = fields.get_mut(4..6) {
                    (*address_field, *port_field) = (&ip, &port);
                }
                text.push_str(&fields.join(" "));
            }
            None => text.push_str(line),
        }
        text.push_str("\r\n");
    }
    text
}
