//! Which local UDP ports and addresses links use.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::LinkError;

/// Most local addresses used: each costs a socket a link, and a candidate.
const MAX_ADDRESSES: usize = 8;

/// Which local UDP ports links use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UdpPorts {
    /// Any free port for each link.
    #[default]
    Any,
    /// One port for all links.
    One(u16),
    /// A port of this range for each link.
    Range(RangeInclusive<u16>),
}

/// Text that names neither a port nor a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a UDP port such as 40000, or a range such as 40000-40100, from 1 to 65535")]
pub struct ParsePortsError;

impl FromStr for UdpPorts {
    type Err = ParsePortsError;

    /// Reads `40000` or `40000-40100`.
    fn from_str(text: &str) -> Result<Self, ParsePortsError> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
            _ => Err(ParsePortsError),
        };
        match text.split_once('-') {
            None => port(text).map(Self::One),
            Some((first, last)) => {
                let range = port(first)?..=port(last)?;
                (!range.is_empty())
                    .then_some(Self::Range(range))
                    .ok_or(ParsePortsError)
            }
        }
    }
}

impl fmt::Display for UdpPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One(port) => write!(f, "{port}"),
            Self::Range(range) => write!(f, "{}-{}", range.start(), range.end()),
        }
    }
}

/// A port of the range that is free now. Begins anywhere, so that links made at once, and peers with
/// the same range, seldom ask for the same one.
pub(super) fn free_port(
    address: IpAddr,
    range: &RangeInclusive<u16>,
) -> Result<SocketAddr, LinkError> {
    let middle = rand::random_range(range.clone());
    let mut source = io::ErrorKind::AddrInUse.into();
    for port in (middle..=*range.end()).chain(*range.start()..middle) {
        match UdpSocket::bind((address, port)) {
            Ok(_) => return Ok(SocketAddr::new(address, port)),
            Err(error) => source = error,
        }
    }
    Err(LinkError::Port { address, source })
}

/// Whether an address that was asked for is one of this host: told at the start, since the stack
/// leaves such out without a word.
pub(super) fn usable(address: IpAddr) -> Result<(), LinkError> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(LinkError::Address { address, source }),
    }
}

/// The local addresses to bind: those asked for, else one of each interface.
///
/// A wildcard is no choice: the address of a candidate is that of its socket. Loopback is among
/// them, last, so that peers of one machine meet without a network.
pub(super) fn local_addresses(asked: &[IpAddr]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut add = |address: IpAddr| {
        if !found.contains(&address) && found.len() < MAX_ADDRESSES {
            found.push(address);
        }
    };
    for address in asked.iter().filter(|address| !address.is_unspecified()) {
        add(*address);
    }
    let wants = |any: IpAddr| asked.is_empty() || asked.contains(&any);
    let (v4, v6) = (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    );
    if !wants(v4) && !wants(v6) {
        return found;
    }
    let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_default();
    let (loopback, routable): (Vec<IpAddr>, Vec<IpAddr>) = interfaces
        .iter()
        .filter_map(|interface| interface.addr.map(|address| address.ip()))
        .filter(|address| is_usable(*address) && wants(if address.is_ipv4() { v4 } else { v6 }))
        .partition(IpAddr::is_loopback);
    // IPv6 loopback is of use only where IPv4 has none.
    let loopback = loopback
        .iter()
        .find(|a| a.is_ipv4())
        .or_else(|| loopback.first());
    routable.into_iter().chain(loopback.copied()).for_each(add);
    found
}

/// Link-local addresses mean nothing to another host without their zone.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0) != 0xfe80 && !v6.is_unspecified(),
    }
}
