//! STUN and TURN servers that a user or a tracker names. Native and browser links each check what
//! they can use of them.
//!
//! The fields are those of `RTCIceServer` (W3C WebRTC, section 4.2.5). The URLs are those of
//! RFC 7064 (STUN) and RFC 7065 (TURN).

use std::fmt;

use easypeers_proto::ice::IceUrl;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::LinkError;

/// A STUN or TURN server, or several with the same credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port`; in JSON a string or a list of them.
    #[serde(deserialize_with = "string_or_list")]
    pub urls: Vec<String>,
    /// The user name of a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl IceServer {
    /// Reads one of the server's URLs. A TURN server needs a user name and a credential.
    pub(crate) fn read_url(&self, url: &str) -> Result<IceUrl, LinkError> {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let read = url.parse::<IceUrl>();
        let read = read.map_err(|error| LinkError::ice_server(url, error.as_str()))?;
        if read.scheme().is_turn() && !(given(&self.username) && given(&self.credential)) {
            let reason = "a TURN server needs a user name and a credential";
            return Err(LinkError::ice_server(url, reason));
        }
        Ok(read)
    }
}

impl LinkError {
    /// Links cannot use this URL.
    pub(crate) fn ice_server(url: &str, reason: &'static str) -> Self {
        Self::IceServer {
            url: url.to_owned(),
            reason,
        }
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

fn string_or_list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Urls;
    impl<'de> Visitor<'de> for Urls {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a URL or a list of URLs")
        }

        fn visit_str<E>(self, url: &str) -> Result<Self::Value, E> {
            Ok(vec![url.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut urls = Vec::new();
            while let Some(url) = list.next_element()? {
                urls.push(url);
            }
            Ok(urls)
        }
    }
    from.deserialize_any(Urls)
}
