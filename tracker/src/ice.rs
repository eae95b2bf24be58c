//! STUN and TURN servers for `/ice.json`, with credentials that end by themselves.
//!
//! In: the servers' URLs (RFC 7064, RFC 7065), the secret shared with the TURN servers, the time.
//! Out: a list in the form of `RTCConfiguration.iceServers`. The user name is the second in which
//! the credential ends, the credential is its HMAC-SHA1 under the secret in base64: the scheme of
//! draft-uberti-behave-turn-rest-00, which coturn has as `use-auth-secret`.

use std::time::Duration;

use data_encoding::BASE64;
use easypeers_proto::ice::IceUrl;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha1::Sha1;

/// Behind the time in user names; TURN servers log it.
const USER: &str = "easypeers";

/// What `/ice.json` says.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Servers {
    #[serde(rename = "iceServers")]
    ice_servers: Vec<Server>,
    /// Seconds that the credentials are good for.
    ttl: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Server {
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

/// The servers, with credentials from `now_s` (seconds since 1970) for `ttl`.
pub(crate) fn servers(urls: &[String], secret: &[u8], now_s: u64, ttl: Duration) -> Servers {
    let (turn, stun): (Vec<_>, Vec<_>) = urls.iter().cloned().partition(|url| is_turn(url));
    let mut ice_servers = Vec::new();
    if !stun.is_empty() {
        ice_servers.push(Server {
            urls: stun,
            username: None,
            credential: None,
        });
    }
    if !turn.is_empty() {
        let username = format!("{}:{USER}", now_s.saturating_add(ttl.as_secs()));
        ice_servers.push(Server {
            urls: turn,
            credential: Some(credential(secret, &username)),
            username: Some(username),
        });
    }
    Servers {
        ice_servers,
        ttl: ttl.as_secs(),
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn credential(secret: &[u8], username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("a key");
    mac.update(username.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}

/// Whether a server needs credentials.
pub(crate) fn is_turn(url: &str) -> bool {
    url.parse::<IceUrl>()
        .is_ok_and(|url| url.scheme().is_turn())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `printf 1700014400:easypeers | openssl dgst -sha1 -hmac secret -binary | base64`.
    const CREDENTIAL: &str = "OzN7Uep9kTDRrkK4KBsaT8S4n74=";

    #[test]
    fn credentials_are_those_of_the_rest_scheme() {
        let urls = ["stun:a:1", "turn:b:2", "stun:c", "turns:d?transport=tcp"].map(str::to_owned);
        let ttl = Duration::from_secs(4 * 3600);
        let json = serde_json::to_value(servers(&urls, b"secret", 1_700_000_000, ttl)).unwrap();
        let expected = serde_json::json!({
            "iceServers": [
                { "urls": ["stun:a:1", "stun:c"] },
                {
                    "urls": ["turn:b:2", "turns:d?transport=tcp"],
                    "username": "1700014400:easypeers",
                    "credential": CREDENTIAL,
                },
            ],
            "ttl": 14_400,
        });
        assert_eq!(json, expected);
    }
}
