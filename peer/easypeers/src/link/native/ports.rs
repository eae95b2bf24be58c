//! Which local UDP ports and addresses links use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

use super::LinkError;

/// Most local addresses used: each costs a socket a link, and a candidate.
const MAX_ADDRESSES: usize = 8;

/// A port of the range that is free now. The search starts at a random port, so links made at the
/// same time, or peers with the same range, seldom choose the same one.
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

/// Checks that a requested address belongs to this host. The stack would ignore it silently.
pub(super) fn usable(address: IpAddr) -> Result<(), LinkError> {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => Ok(()),
        Err(source) => Err(LinkError::Address { address, source }),
    }
}

/// The local addresses to bind: the requested ones, else one of each interface.
///
/// A wildcard cannot be used, because the address of a candidate is that of its socket. Loopback is
/// the last one, for peers on one machine without a network.
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
    // IPv6 loopback is used only where IPv4 has none.
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
