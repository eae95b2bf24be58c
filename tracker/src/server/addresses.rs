//! Who has how many connections: limits by client address. An IPv6 client has a /64, an IPv4
//! client its address, whether it came mapped into IPv6 or not. Loopback is never counted, because
//! a reverse proxy on this host would make everybody one client.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;
use ipnet::IpNet;

use crate::config::Settings;
use crate::limits::TokenBucket;

/// The part of an address that counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(IpAddr);

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self(v4),
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(
                v6.to_bits() & !u128::from(u64::MAX),
            ))),
        }
    }
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A socket that speaks HTTP, or has not said anything yet.
    Http,
    /// An open WebSocket.
    WebSocket,
}

#[derive(Debug)]
struct Use {
    /// By [`Phase`].
    open: [usize; 2],
    upgrades: TokenBucket,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Addresses {
    clients: DashMap<Client, Use>,
    max_open: usize,
    rate: u32,
    trusted: Vec<IpNet>,
}

/// A place among its client's connections; given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    addresses: Arc<Addresses>,
    client: Client,
    phase: Phase,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(mut client) = self.addresses.clients.get_mut(&self.client) {
            let open = &mut client.open[self.phase as usize];
            *open = open.saturating_sub(1);
        }
    }
}

/// The address has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Addresses {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            clients: DashMap::new(),
            max_open: settings.max_connections_per_address,
            rate: settings.max_upgrades_per_second,
            trusted: settings.trusted_proxy.clone(),
        }
    }

    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// A place for one more connection: `Ok(None)` where the address is exempt, `Err` when it has
    /// as many as it may.
    /// Each phase has the whole limit for itself.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: IpAddr,
        phase: Phase,
        now_ms: u64,
    ) -> Result<Option<Slot>, TooMany> {
        let is_proxy = phase == Phase::Http && self.is_trusted(address);
        if is_proxy || address.to_canonical().is_loopback() {
            return Ok(None);
        }
        let client = Client::of(address);
        let mut entry = self.entry(client, now_ms);
        let open = &mut entry.open[phase as usize];
        if *open >= self.max_open {
            return Err(TooMany);
        }
        *open += 1;
        Ok(Some(Slot {
            addresses: Arc::clone(self),
            client,
            phase,
        }))
    }

    /// Whether the address may open one more WebSocket now.
    pub(crate) fn may_upgrade(&self, address: IpAddr, now_ms: u64) -> bool {
        if address.to_canonical().is_loopback() {
            return true;
        }
        let mut entry = self.entry(Client::of(address), now_ms);
        entry.upgrades.take(now_ms, self.rate, self.burst())
    }

    fn burst(&self) -> u32 {
        self.rate.saturating_mul(10)
    }

    fn entry(&self, client: Client, now_ms: u64) -> dashmap::mapref::one::RefMut<'_, Client, Use> {
        let upgrades = TokenBucket::full(now_ms, self.burst());
        self.clients.entry(client).or_insert(Use {
            open: [0; 2],
            upgrades,
        })
    }

    /// Forgets clients that have no connection and their whole burst again.
    pub(crate) fn tidy(&self, now_ms: u64) {
        self.clients.retain(|_, client| {
            client.open != [0; 2] || !client.upgrades.is_full(now_ms, self.rate, self.burst())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Arc<Addresses> {
        let settings = Settings {
            max_connections_per_address: 2,
            max_upgrades_per_second: 1,
            trusted_proxy: vec!["10.0.0.0/8".parse().unwrap()],
            ..Settings::default()
        };
        Arc::new(Addresses::new(&settings))
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let addresses = addresses();
        let take = |text: &str| addresses.take(text.parse().unwrap(), Phase::WebSocket, 0);
        let held = (
            take("192.0.2.1").unwrap(),
            take("::ffff:192.0.2.1").unwrap(),
        );
        assert!(take("192.0.2.1").is_err());
        assert!(take("192.0.2.2").is_ok());
        let _v6 = (
            take("2001:db8::1").unwrap(),
            take("2001:db8::2:0:0:2").unwrap(),
        );
        assert!(take("2001:db8::ffff").is_err());
        assert!(take("2001:db8:0:1::1").is_ok());
        drop(held);
        assert!(take("192.0.2.1").unwrap().is_some());
    }

    #[test]
    fn loopback_is_never_counted() {
        let addresses = addresses();
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            for _ in 0..50 {
                assert!(
                    addresses
                        .take(text.parse().unwrap(), Phase::Http, 0)
                        .unwrap()
                        .is_none()
                );
                assert!(addresses.may_upgrade(text.parse().unwrap(), 0));
            }
        }
        assert!(addresses.clients.is_empty());
    }

    #[test]
    fn upgrades_have_a_rate_and_quiet_clients_are_forgotten() {
        let addresses = addresses();
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(
            (0..20)
                .filter(|_| addresses.may_upgrade(address, 0))
                .count(),
            10
        );
        addresses.tidy(5_000);
        assert_eq!(addresses.clients.len(), 1);
        addresses.tidy(11_000);
        assert!(addresses.clients.is_empty());
    }

    #[test]
    fn trusted_networks_cover_mapped_addresses() {
        let addresses = addresses();
        assert!(addresses.is_trusted("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!addresses.is_trusted("192.0.2.1".parse().unwrap()));
    }
}
