//! Values of settings as people write them.

use std::str::FromStr;
use std::time::Duration;

use easypeers_cli::duration;
use ipnet::IpNet;

use super::Listen;
use crate::cluster::ClusterUrl;
use easypeers_proto::ice::IceUrl;

pub(super) fn positive(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < Duration::from_millis(10) {
        return Err("at least 10ms".to_owned());
    }
    Ok(duration)
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
        return Err("from 1s to 1h".to_owned());
    }
    Ok(interval)
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        _ => return Err("use bytes, KiB or MiB".to_owned()),
    };
    let number = usize::from_str(digits).map_err(|_| "use bytes, KiB or MiB".to_owned())?;
    match number.checked_mul(unit) {
        Some(size @ 1024..=0x4000_0000) => Ok(size),
        _ => Err("from 1KiB to 1024MiB".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    match usize::from_str(text) {
        Ok(count @ 1..) => Ok(count),
        _ => Err("a whole number from 1".to_owned()),
    }
}

pub(super) fn rate(text: &str) -> Result<u32, String> {
    match u32::from_str(text) {
        Ok(rate @ 1..=1_000_000) => Ok(rate),
        _ => Err("a whole number from 1 to 1000000".to_owned()),
    }
}

pub(super) fn offers(text: &str) -> Result<usize, String> {
    match usize::from_str(text) {
        Ok(offers) if offers <= easypeers_proto::limits::MAX_OFFERS => Ok(offers),
        _ => Err(format!(
            "a whole number up to {}",
            easypeers_proto::limits::MAX_OFFERS
        )),
    }
}

pub(super) fn listen(text: &str) -> Result<Listen, String> {
    text.parse().map_err(|_| {
        "use an address and a port, such as 127.0.0.1:3000 or [::]:3000, or unix:/path".to_owned()
    })
}

/// Takes anything: what is wrong with it is told by [`Settings::check`], which does not quote it.
#[expect(clippy::unnecessary_wraps, reason = "a parser of clap")]
pub(super) fn cluster_url(text: &str) -> Result<ClusterUrl, String> {
    Ok(ClusterUrl::from(text))
}

pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if !(Duration::from_secs(600)..=Duration::from_secs(168 * 3600)).contains(&ttl) {
        return Err("from 10m to 168h".to_owned());
    }
    Ok(ttl)
}

pub(super) fn ice_url(text: &str) -> Result<String, String> {
    let read = text.parse::<IceUrl>();
    read.map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    IpNet::from_str(text)
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "use an address or a network, such as 10.0.0.0/8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units_and_bounds() {
        assert_eq!(interval("1.5m").unwrap(), Duration::from_secs(90));
        assert_eq!(ttl("168h").unwrap(), Duration::from_secs(604_800));
        assert_eq!(size("128KiB").unwrap(), 131_072);
        for bad in ["", "1", "128KB", "2000MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(interval("0s").is_err() && count("0").is_err() && offers("101").is_err());
        assert_eq!(network("127.0.0.1").unwrap().to_string(), "127.0.0.1/32");
    }
}
