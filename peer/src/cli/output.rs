//! What is printed: lines for people, or events in JSON, one object a line.
//!
//! For people, each message is a line on standard output, `3fa9c1b2: text`, and everything else
//! goes to standard error. In JSON everything is on standard output, logs excepted.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use easypeers::{
    Data, Easypeers, Event, InfoHash, Message, MessageId, PeerId, PeerInfo, Receipt, Stats, Status,
};
use serde::Serialize;

use super::console::Console;
use super::text;

/// Hex digits of an address that people see.
const SHORT: usize = 8;

/// An event as JSON. Field names are a contract with scripts.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line {
    Ready {
        address: String,
        identifier: String,
    },
    Message {
        from: String,
        data: String,
        /// Of binary data, which is written in hex digits.
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
        trackers: Vec<String>,
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
struct Neighbor {
    peer: String,
    up_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_ms: Option<f64>,
    offered: bool,
    compat: bool,
}

#[derive(Debug)]
pub(crate) struct Output {
    console: Arc<Console>,
    json: bool,
}

impl Output {
    pub(crate) const fn new(console: Arc<Console>, json: bool) -> Self {
        Self { console, json }
    }

    fn write(&self, line: &Line) -> io::Result<()> {
        self.console.line(&serde_json::to_string(line)?)
    }

    /// Of the two forms, the one that was asked for; that for people goes to standard error.
    fn either(&self, line: impl FnOnce() -> Line, note: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            return self.write(&line());
        }
        self.console.note(&note());
        Ok(())
    }

    pub(crate) fn ready(&self, topic: &str, peer: &Easypeers) -> io::Result<()> {
        let (address, identifier): (PeerId, InfoHash) = (peer.address(), peer.identifier());
        self.either(
            || Line::Ready {
                address: address.to_string(),
                identifier: identifier.to_string(),
            },
            || {
                let help = if self.console.has_prompt() {
                    "\nWhat you type goes to everybody here; /help lists commands, /quit leaves."
                } else {
                    ""
                };
                format!("joining {topic:?} (swarm {identifier}) as {address}{help}")
            },
        )
    }

    pub(crate) fn event(&self, event: &Event) -> io::Result<()> {
        match event {
            Event::Message(message) => self.message(message),
            Event::Connect(peer) => self.either(
                || Line::Connect {
                    peer: peer.to_string(),
                },
                || format!("* {} connected", short(peer)),
            ),
            Event::Disconnect(peer) => self.either(
                || Line::Disconnect {
                    peer: peer.to_string(),
                },
                || format!("* {} disconnected", short(peer)),
            ),
            Event::State(status) => self.state(status),
            Event::Lagged(count) => self.either(
                || Line::Lagged { count: *count },
                || format!("* too slow: {count} messages or events lost"),
            ),
            // Kinds that this program does not know yet.
            _ => Ok(()),
        }
    }

    fn message(&self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.write(&message_line(message));
        }
        let line = message_text(message, self.console.for_people);
        self.console.line(&line)
    }

    pub(crate) fn state(&self, status: &Status) -> io::Result<()> {
        self.either(
            || Line::State {
                state: status.state.as_str(),
                reason: status.reason.clone(),
                links: status.links,
            },
            || format!("* {}: {}", status.state, text::visible(&status.reason)),
        )
    }

    /// A broadcast is on its way; people see that it is by hearing no complaint.
    pub(crate) fn sent(&self, id: MessageId) -> io::Result<()> {
        if self.json {
            self.write(&Line::Sent { id: id.to_string() })?;
        }
        Ok(())
    }

    pub(crate) fn receipt(&self, to: PeerId, receipt: Receipt) -> io::Result<()> {
        let (hops, rtt) = match receipt {
            Receipt::Delivered { hops, rtt } => (Some(hops), Some(rtt)),
            _ => (None, None),
        };
        self.either(
            || Line::Receipt {
                to: to.to_string(),
                result: receipt.as_str(),
                hops,
                rtt_ms: rtt.map(milliseconds),
            },
            || {
                let to = short(&to);
                match receipt {
                    Receipt::Delivered { hops, rtt } => {
                        let rtt = milliseconds(rtt);
                        let links = if hops == 1 { "link" } else { "links" };
                        format!("* delivered to {to} over {hops} {links} in {rtt} ms")
                    }
                    Receipt::Unreachable => format!("* not delivered: {to} cannot be reached"),
                    Receipt::Timeout => {
                        format!("* no answer from {to} in time; it may have arrived")
                    }
                    _ => format!("* given to {to}, which acknowledges nothing"),
                }
            },
        )
    }

    pub(crate) fn error(&self, message: &str) -> io::Result<()> {
        self.either(
            || Line::Error {
                message: message.to_owned(),
            },
            || format!("! {message}"),
        )
    }

    pub(crate) fn note(&self, note: &str) {
        self.console.note(note);
    }

    pub(crate) fn peers(&self, peers: &[PeerInfo]) -> io::Result<()> {
        self.either(
            || Line::Peers {
                peers: peers.iter().map(neighbor).collect(),
            },
            || {
                if peers.is_empty() {
                    return "* no links".to_owned();
                }
                let lines: Vec<String> = peers.iter().map(peer_text).collect();
                lines.join("\n")
            },
        )
    }

    pub(crate) fn info(
        &self,
        topic: &str,
        trackers: &[String],
        peer: &Easypeers,
    ) -> io::Result<()> {
        let (status, stats) = (peer.status(), peer.stats());
        self.either(
            || Line::Info {
                address: peer.address().to_string(),
                identifier: peer.identifier().to_string(),
                topic: topic.to_owned(),
                trackers: trackers.to_vec(),
                max_peers: peer.max_peers(),
                state: status.state.as_str(),
                reason: status.reason.clone(),
                links: status.links,
                messages_sent: stats.messages_sent,
                messages_received: stats.messages_received,
                messages_forwarded: stats.messages_forwarded,
                bytes_sent: stats.bytes_sent,
                bytes_received: stats.bytes_received,
            },
            || info_text(topic, trackers, peer, &status, &stats),
        )
    }
}

fn message_line(message: &Message) -> Line {
    let (data, encoding) = match &message.data {
        Data::Text(text) => (text.to_string(), None),
        Data::Binary(bytes) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            (digits.collect(), Some("hex"))
        }
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

/// One line, whatever the text holds; on a terminal without what could move the cursor.
fn message_text(message: &Message, for_people: bool) -> String {
    let mark = match (message.direct, message.verified) {
        (false, true) => "",
        (true, true) => " (direct)",
        (false, false) => " (unverified)",
        (true, false) => " (direct, unverified)",
    };
    let from = short(&message.from);
    match &message.data {
        Data::Text(text) if for_people => format!("{from}{mark}: {}", text::visible(text)),
        Data::Text(text) => format!("{from}{mark}: {}", text::one_line(text)),
        Data::Binary(bytes) => format!("{from}{mark}: <{} bytes>", bytes.len()),
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

fn peer_text(peer: &PeerInfo) -> String {
    let rtt = peer
        .rtt
        .map(|rtt| format!(", round trip {} ms", milliseconds(rtt)));
    let compat = if peer.compat { ", Easypeers 1" } else { "" };
    let up = peer.up.as_secs();
    format!(
        "  {}  up {up} s{}{compat}",
        peer.address,
        rtt.unwrap_or_default()
    )
}

fn info_text(
    topic: &str,
    trackers: &[String],
    peer: &Easypeers,
    status: &Status,
    stats: &Stats,
) -> String {
    format!(
        "  address   {}\n  topic     {topic:?}\n  swarm     {}\n  trackers  {}\n  state     {}: {}\n  \
         links     {} of {}\n  messages  {} sent, {} received, {} passed on, {} lost to slow peers\n  \
         traffic   {} bytes sent, {} received",
        peer.address(),
        peer.identifier(),
        trackers.join(", "),
        status.state,
        text::visible(&status.reason),
        status.links,
        peer.max_peers(),
        stats.messages_sent,
        stats.messages_received,
        stats.messages_forwarded,
        stats.dropped,
        stats.bytes_sent,
        stats.bytes_received,
    )
}

fn short(peer: &PeerId) -> String {
    let mut hex = peer.to_string();
    hex.truncate(SHORT);
    hex
}

/// To a hundredth.
fn milliseconds(time: Duration) -> f64 {
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
