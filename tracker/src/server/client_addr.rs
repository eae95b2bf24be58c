//! The client's address behind reverse proxies: the rightmost hop of `X-Forwarded-For` that is no
//! trusted proxy. Without `--trusted-proxy` the header is ignored, since anybody can send it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use super::addresses::Addresses;

/// Whom a request comes from. `peer` is the other end of the socket.
pub(crate) fn client(addresses: &Addresses, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let mut client = peer.to_canonical();
    let values: Vec<_> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !addresses.is_trusted(client) {
            break;
        }
        match parse(hop.trim()) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// An address, as proxies write it: bare, with a port, or IPv6 in brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    bare.parse()
        .ok()
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn seen(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted_proxy = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let addresses = Addresses::new(&Settings {
            trusted_proxy,
            ..Settings::default()
        });
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        client(&addresses, peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_hop_counts() {
        let local = &["127.0.0.0/8", "10.0.0.0/8"];
        assert_eq!(seen(&[], "127.0.0.1", &["192.0.2.1"]), "127.0.0.1");
        assert_eq!(seen(local, "198.51.100.1", &["192.0.2.1"]), "198.51.100.1");
        assert_eq!(seen(local, "127.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            seen(local, "127.0.0.1", &["203.0.113.9, 192.0.2.1, 10.1.1.1"]),
            "192.0.2.1"
        );
        assert_eq!(
            seen(local, "127.0.0.1", &["203.0.113.9", "192.0.2.1,10.1.1.1"]),
            "192.0.2.1"
        );
        assert_eq!(
            seen(local, "127.0.0.1", &["[2001:db8::1]:443"]),
            "2001:db8::1"
        );
        assert_eq!(seen(local, "127.0.0.1", &["192.0.2.1:5000"]), "192.0.2.1");
        assert_eq!(seen(local, "127.0.0.1", &["garbage"]), "127.0.0.1");
        assert_eq!(seen(local, "::ffff:127.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen(local, "127.0.0.1", &[]), "127.0.0.1");
    }
}
