//! Tracker to client: announce response, relayed offer, relayed answer, scrape response, failure.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Action;
use crate::{InfoHash, OfferId, PeerId};

/// A message to a client.
#[derive(Debug, Clone)]
pub enum ServerMessage<'a> {
    /// The response to an announce.
    Announced {
        /// The swarm.
        info_hash: InfoHash,
        /// Seconds until the next announce is expected.
        interval: u32,
        /// Number of seeders.
        complete: u32,
        /// Number of leechers, the announcing peer included if it is one.
        incomplete: u32,
    },
    /// Another peer's offer.
    Offer {
        /// The swarm.
        info_hash: InfoHash,
        /// The peer that made the offer.
        peer_id: PeerId,
        /// Chosen by that peer. The answer must repeat it.
        offer_id: OfferId,
        /// The session description, byte for byte.
        offer: &'a RawValue,
    },
    /// Another peer's answer to an offer of this client.
    Answer {
        /// The swarm.
        info_hash: InfoHash,
        /// The peer that answers.
        peer_id: PeerId,
        /// The offer that is answered.
        offer_id: OfferId,
        /// The session description, byte for byte.
        answer: &'a RawValue,
    },
    /// The response to a scrape: one entry for each infohash in it. An unknown swarm has zeros.
    Scraped(Cow<'a, [ScrapeEntry]>),
    /// A refusal. The socket stays open.
    Failure {
        /// The action that was refused, if it could be read.
        action: Option<Action>,
        /// JSON text of the `info_hash` in the refused message, with its quotes.
        info_hash: Option<&'a str>,
        /// Why it was refused.
        reason: Cow<'a, str>,
    },
}

/// Counts of one swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrapeEntry {
    /// The swarm.
    pub info_hash: InfoHash,
    /// Number of seeders.
    pub complete: u32,
    /// Number of leechers.
    pub incomplete: u32,
    /// How many peers became seeders since the tracker has known the swarm.
    pub downloaded: u32,
}

impl<'a> ServerMessage<'a> {
    /// Appends the message as JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Announced {
                info_hash,
                interval,
                complete,
                incomplete,
            } => {
                out.extend_from_slice(b"{\"action\":\"announce\",\"interval\":");
                write_number(*interval, out);
                out.extend_from_slice(b",\"info_hash\":");
                info_hash.write_json(out);
                out.extend_from_slice(b",\"complete\":");
                write_number(*complete, out);
                out.extend_from_slice(b",\"incomplete\":");
                write_number(*incomplete, out);
                out.push(b'}');
            }
            Self::Offer {
                info_hash,
                peer_id,
                offer_id,
                offer,
            } => {
                write_relayed(info_hash, peer_id, offer_id, b",\"offer\":", offer, out);
            }
            Self::Answer {
                info_hash,
                peer_id,
                offer_id,
                answer,
            } => {
                write_relayed(info_hash, peer_id, offer_id, b",\"answer\":", answer, out);
            }
            Self::Scraped(entries) => write_scraped(entries, out),
            Self::Failure {
                action,
                info_hash,
                reason,
            } => {
                out.push(b'{');
                if let Some(action) = action {
                    let _ = write!(out, "\"action\":\"{}\",", action.as_str());
                }
                if let Some(info_hash) = info_hash {
                    out.extend_from_slice(b"\"info_hash\":");
                    out.extend_from_slice(info_hash.as_bytes());
                    out.push(b',');
                }
                out.extend_from_slice(b"\"failure reason\":");
                // Writing a string into memory cannot fail.
                let _ = serde_json::to_writer(&mut *out, reason);
                out.push(b'}');
            }
        }
    }

    /// Decodes one message, as a client does.
    ///
    /// # Errors
    /// An error of `serde_json`, if the text is not one of the five messages.
    pub fn decode(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Wire<'a>>(text)?.classify()
    }
}

fn write_relayed(
    info_hash: &InfoHash,
    peer_id: &PeerId,
    offer_id: &OfferId,
    key: &[u8],
    description: &RawValue,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"action\":\"announce\",\"info_hash\":");
    info_hash.write_json(out);
    out.extend_from_slice(b",\"peer_id\":");
    peer_id.write_json(out);
    out.extend_from_slice(b",\"offer_id\":");
    offer_id.write_json(out);
    out.extend_from_slice(key);
    out.extend_from_slice(description.get().as_bytes());
    out.push(b'}');
}

fn write_scraped(entries: &[ScrapeEntry], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"action\":\"scrape\",\"files\":{");
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        entry.info_hash.write_json(out);
        let _ = write!(
            out,
            ":{{\"complete\":{},\"incomplete\":{},\"downloaded\":{}}}",
            entry.complete, entry.incomplete, entry.downloaded
        );
    }
    out.extend_from_slice(b"}}");
}

/// Appends a decimal number. An announce response has three, and `write!` is slower.
fn write_number(mut number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The fields of all messages together.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    info_hash: Option<&'a RawValue>,
    peer_id: Option<PeerId>,
    offer_id: Option<OfferId>,
    #[serde(borrow)]
    offer: Option<&'a RawValue>,
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    interval: Option<f64>,
    complete: Option<u32>,
    incomplete: Option<u32>,
    #[serde(borrow)]
    files: Option<&'a RawValue>,
    #[serde(borrow, rename = "failure reason")]
    failure_reason: Option<Cow<'a, str>>,
}

impl<'a> Wire<'a> {
    fn classify(self) -> Result<ServerMessage<'a>, serde_json::Error> {
        use serde::de::Error;
        let action = match self.action.as_deref() {
            Some("announce") => Some(Action::Announce),
            Some("scrape") => Some(Action::Scrape),
            _ => None,
        };
        if let Some(reason) = self.failure_reason {
            let info_hash = self.info_hash.map(RawValue::get);
            return Ok(ServerMessage::Failure {
                action,
                info_hash,
                reason,
            });
        }
        if let Some(files) = self.files {
            let FileMap(entries) = serde_json::from_str(files.get())?;
            return Ok(ServerMessage::Scraped(entries.into()));
        }
        let info_hash = self
            .info_hash
            .ok_or_else(|| Error::missing_field("info_hash"))?;
        let info_hash = InfoHash::from_json(info_hash.get()).map_err(Error::custom)?;
        match (self.peer_id, self.offer_id, self.offer, self.answer) {
            (Some(peer_id), Some(offer_id), Some(offer), _) => Ok(ServerMessage::Offer {
                info_hash,
                peer_id,
                offer_id,
                offer,
            }),
            (Some(peer_id), Some(offer_id), None, Some(answer)) => Ok(ServerMessage::Answer {
                info_hash,
                peer_id,
                offer_id,
                answer,
            }),
            _ => Ok(ServerMessage::Announced {
                info_hash,
                interval: self
                    .interval
                    .ok_or_else(|| Error::missing_field("interval"))?
                    as u32,
                complete: self.complete.unwrap_or_default(),
                incomplete: self.incomplete.unwrap_or_default(),
            }),
        }
    }
}

/// `files` of a scrape response, in order.
struct FileMap(Vec<ScrapeEntry>);

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    complete: u32,
    #[serde(default)]
    incomplete: u32,
    #[serde(default)]
    downloaded: u32,
}

impl<'de> Deserialize<'de> for FileMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = FileMap;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of counts by info_hash")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<FileMap, A::Error> {
                let mut entries = Vec::new();
                while let Some((info_hash, counts)) = map.next_entry::<InfoHash, Counts>()? {
                    let Counts {
                        complete,
                        incomplete,
                        downloaded,
                    } = counts;
                    entries.push(ScrapeEntry {
                        info_hash,
                        complete,
                        incomplete,
                        downloaded,
                    });
                }
                Ok(FileMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
