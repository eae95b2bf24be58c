//! Events as JSON, one object a line.

use std::time::Duration;

use data_encoding::HEXLOWER;
use easypeers::{Data, Easypeers, Message, PeerInfo, Stats, Status, TrackerInfo};
use serde::Serialize;

/// An event as JSON. Scripts depend on the field names.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Line {
    Ready {
        address: String,
        identifier: String,
    },
    Message {
        from: String,
        data: String,
        /// `hex` for binary data, which is written in hex digits. Absent for text.
        #[serde(skip_serializing_if = "Option::is_none")]
        encoding: Option<&'static str>,
        direct: bool,
        id: String,
        verified: bool,
        hops: u32,
    },
    Connect {
        peer: String,
    },
    Disconnect {
        peer: String,
    },
    State {
        state: &'static str,
        reason: String,
        links: usize,
    },
    Sent {
        id: String,
    },
    Receipt {
        to: String,
        result: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        hops: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rtt_ms: Option<f64>,
    },
    Lagged {
        count: u64,
    },
    Error {
        message: String,
    },
    Peers {
        peers: Vec<Neighbor>,
    },
    Info {
        address: String,
        identifier: String,
        topic: String,
        trackers: Vec<Tracker>,
        max_peers: usize,
        state: &'static str,
        reason: String,
        links: usize,
        messages_sent: u64,
        messages_received: u64,
        messages_forwarded: u64,
        bytes_sent: u64,
        bytes_received: u64,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct Neighbor {
    peer: String,
    up_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    offered: bool,
    compat: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Tracker {
    url: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// A received message.
pub(crate) fn message(message: &Message) -> Line {
    let (data, encoding) = match &message.data {
        Data::Text(text) => (text.to_string(), None),
        Data::Binary(bytes) => (HEXLOWER.encode(bytes), Some("hex")),
    };
    Line::Message {
        from: message.from.to_string(),
        data,
        encoding,
        direct: message.direct,
        id: message.id.to_string(),
        verified: message.verified,
        hops: message.hops,
    }
}

/// The answer to `/peers`.
pub(crate) fn peers(peers: &[PeerInfo]) -> Line {
    Line::Peers {
        peers: peers.iter().map(neighbor).collect(),
    }
}

fn neighbor(peer: &PeerInfo) -> Neighbor {
    Neighbor {
        peer: peer.address.to_string(),
        up_s: peer.up.as_secs(),
        rtt_ms: peer.rtt.map(milliseconds),
        offered: peer.offered,
        compat: peer.compat,
    }
}

/// The answer to `/info`.
pub(crate) fn info(topic: &str, peer: &Easypeers, status: &Status, stats: &Stats) -> Line {
    Line::Info {
        address: peer.address().to_string(),
        identifier: peer.identifier().to_string(),
        topic: topic.to_owned(),
        trackers: peer.trackers().into_iter().map(tracker).collect(),
        max_peers: peer.max_peers(),
        state: status.state.as_str(),
        reason: status.reason.clone(),
        links: status.links,
        messages_sent: stats.messages_sent,
        messages_received: stats.messages_received,
        messages_forwarded: stats.messages_forwarded,
        bytes_sent: stats.bytes_sent,
        bytes_received: stats.bytes_received,
    }
}

fn tracker(info: TrackerInfo) -> Tracker {
    Tracker {
        url: info.url,
        connected: info.connected,
        members: info.members,
        trouble: info.trouble,
    }
}

/// Milliseconds, rounded to a hundredth.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(line: &Line) -> String {
        serde_json::to_string(line).unwrap()
    }

    #[test]
    fn events_have_the_fields_that_scripts_read() {
        let address = "ab".repeat(20);
        let ready = Line::Ready {
            address: address.clone(),
            identifier: "cd".repeat(20),
        };
        let expected = format!(
            r#"{{"event":"ready","address":"{address}","identifier":"{}"}}"#,
            "cd".repeat(20)
        );
        assert_eq!(json(&ready), expected);
        let receipt = Line::Receipt {
            to: "x".to_owned(),
            result: "delivered",
            hops: Some(2),
            rtt_ms: Some(milliseconds(Duration::from_micros(12_345))),
        };
        let expected =
            r#"{"event":"receipt","to":"x","result":"delivered","hops":2,"rtt_ms":12.35}"#;
        assert_eq!(json(&receipt), expected);
        let state = Line::State {
            state: "joined",
            reason: "2 of 6 links".to_owned(),
            links: 2,
        };
        let expected = r#"{"event":"state","state":"joined","reason":"2 of 6 links","links":2}"#;
        assert_eq!(json(&state), expected);
        assert_eq!(
            json(&Line::Lagged { count: 3 }),
            r#"{"event":"lagged","count":3}"#
        );
    }
}
