//! Prints events and messages: as lines for people, or as JSON, one object per line.
//!
//! For people, each message is a line on standard output, `3fa9c1b2: text`, and everything else
//! goes to standard error. With JSON, everything except logs goes to standard output.

use std::io;
use std::sync::Arc;

use easypeers::{
    Data, Easypeers, Event, InfoHash, Message, MessageId, PeerId, PeerInfo, Receipt, Stats, Status,
    TrackerInfo,
};

use super::console::Console;
use super::json::{self, Line, milliseconds};
use super::text;

/// Hex digits of an address in lines for people.
const SHORT: usize = 8;

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

    /// Prints `line` as JSON, or `note` on standard error for people.
    fn print(&self, line: impl FnOnce() -> Line, note: impl FnOnce() -> String) -> io::Result<()> {
        if self.json {
            return self.write(&line());
        }
        self.console.note(&note());
        Ok(())
    }

    pub(crate) fn ready(&self, topic: &str, peer: &Easypeers) -> io::Result<()> {
        let (address, identifier): (PeerId, InfoHash) = (peer.address(), peer.identifier());
        self.print(
            || Line::Ready {
                address: address.to_string(),
                identifier: identifier.to_string(),
            },
            || {
                let help = if self.console.has_prompt() {
                    "\nEvery line you type goes to all peers of the topic. /help lists the commands, /quit leaves."
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
            Event::Connect(peer) => self.print(
                || Line::Connect {
                    peer: peer.to_string(),
                },
                || format!("* {} connected", short(peer)),
            ),
            Event::Disconnect(peer) => self.print(
                || Line::Disconnect {
                    peer: peer.to_string(),
                },
                || format!("* {} disconnected", short(peer)),
            ),
            Event::Lagged(count) => self.print(
                || Line::Lagged { count: *count },
                || format!("* this program was too slow: {count} messages or events lost"),
            ),
            // `Chat` hands states to [`state`](Self::state). This program prints no other kinds.
            _ => Ok(()),
        }
    }

    fn message(&self, message: &Message) -> io::Result<()> {
        if self.json {
            return self.write(&json::message(message));
        }
        let line = message_text(message, self.console.is_terminal);
        self.console.line(&line)
    }

    pub(crate) fn state(&self, status: &Status) -> io::Result<()> {
        self.print(
            || Line::State {
                state: status.state.as_str(),
                reason: status.reason.clone(),
                links: status.links,
            },
            || format!("* {}: {}", status.state, text::visible(&status.reason)),
        )
    }

    /// A broadcast was sent. People are told only if it could not be.
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
        self.print(
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
                    Receipt::Unreachable => format!("* not delivered: {to} is unreachable"),
                    Receipt::Timeout => {
                        format!("* no receipt from {to} in time; the message may have arrived")
                    }
                    _ => format!("* sent to {to}, which sends no receipts"),
                }
            },
        )
    }

    pub(crate) fn error(&self, message: &str) -> io::Result<()> {
        self.print(
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
        self.print(
            || json::peers(peers),
            || {
                if peers.is_empty() {
                    return "* no links".to_owned();
                }
                let lines: Vec<String> = peers.iter().map(peer_text).collect();
                lines.join("\n")
            },
        )
    }

    pub(crate) fn info(&self, topic: &str, peer: &Easypeers) -> io::Result<()> {
        let (status, stats) = (peer.status(), peer.stats());
        self.print(
            || json::info(topic, peer, &status, &stats),
            || info_text(topic, peer, &status, &stats),
        )
    }
}

/// The message as one line. On a terminal, characters that could move the cursor are made visible.
fn message_text(message: &Message, is_terminal: bool) -> String {
    let mark = match (message.direct, message.verified) {
        (false, true) => "",
        (true, true) => " (direct)",
        (false, false) => " (unverified)",
        (true, false) => " (direct, unverified)",
    };
    let from = short(&message.from);
    match &message.data {
        Data::Text(text) if is_terminal => format!("{from}{mark}: {}", text::visible(text)),
        Data::Text(text) => format!("{from}{mark}: {}", text::one_line(text)),
        Data::Binary(bytes) => format!("{from}{mark}: <{} bytes>", bytes.len()),
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

/// `ws://localhost:3000, 3 members` or `ws://localhost:3000, connection refused, retrying in 8 s`.
fn tracker_text(tracker: &TrackerInfo) -> String {
    let mut text = tracker.url.clone();
    if let Some(members) = tracker.members {
        text += &format!(", {members} members");
    }
    if let Some(trouble) = &tracker.trouble {
        text += ", ";
        text += trouble;
    }
    text::visible(&text).into_owned()
}

fn info_text(topic: &str, peer: &Easypeers, status: &Status, stats: &Stats) -> String {
    let trackers = peer.trackers();
    let trackers: Vec<String> = trackers.iter().map(tracker_text).collect();
    format!(
        "  address   {}\n  topic     {topic:?}\n  swarm     {}\n  trackers  {}\n  state     {}: {}\n  \
         links     {} of {}\n  messages  {} sent, {} received, {} forwarded, {} dropped for slow peers\n  \
         traffic   {} bytes sent, {} received",
        peer.address(),
        peer.identifier(),
        trackers.join("\n            "),
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
