//! Compatibility mode: messages between the mesh and peers of Easypeers 1.
//!
//! What an original says is checked (its certificate proves nothing about its author, but a damaged
//! one is dropped by originals too), given to the application as unverified, passed on to other
//! originals and published in the mesh, signed by us as its bridge. What members broadcast is
//! certified and sent to the originals among our neighbours. An id is the same whichever bridge
//! makes it, so that several bridges make one message.
//!
//! Certificates cost milliseconds of a core: they are made and checked one after the other beside
//! the node's task, so many a second for each link, and what does not fit into the queue is dropped
//! and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::envelope::{Content, Kind, bridged_id};
use easypeers_proto::wire::compat::certificate::{MAX_TEXT, PublicKey};
use easypeers_proto::wire::compat::message::{self, Outgoing};
use easypeers_proto::{MessageId, PeerId};
use rand::Rng;
use tokio::sync::mpsc;

use super::Reply;
use super::dial::Job;
use super::swarm::Swarm;
use crate::model::{Data, Message, Receipt, SendError};
use crate::rt;
use easypeers_core::expiring_map::ExpiringMap;
use easypeers_core::mesh::message::{Class, Signed};
use easypeers_core::mesh::{Input, LinkId, Now};

/// Certificates that wait to be made or checked. At 50 ms for the dearest, under two seconds.
const QUEUE: usize = 32;

/// Messages a second that are taken from one original, and how many at once: chat, not a stream.
const RATE: f64 = 5.0;
const BURST: f64 = 20.0;

/// Ids of originals' messages that are remembered, and how long.
const SEEN: u32 = 16_384;
const SEEN_AGE: Duration = Duration::from_secs(600);

/// Bits of our modulus: what the original makes.
const KEY_BITS: u64 = 512;

/// What follows the 40 hex digits of a member's message in its id for originals. Theirs is a random
/// fraction of some 16 digits.
const FRACTION: &str = "0.5";

/// A certificate to be checked or made.
#[derive(Debug)]
pub(super) enum Work {
    Check {
        link: LinkId,
        payload: Vec<u8>,
    },
    Make {
        id: String,
        from: PeerId,
        to: Option<PeerId>,
        has: Vec<PeerId>,
        text: String,
        /// Where it goes.
        links: Vec<LinkId>,
        class: Class,
    },
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Done {
    Checked {
        link: LinkId,
        payload: Vec<u8>,
    },
    Refused {
        link: LinkId,
    },
    Made {
        payload: Arc<[u8]>,
        links: Vec<LinkId>,
        class: Class,
    },
}

/// A token bucket.
#[derive(Debug)]
struct Budget {
    tokens: f64,
    at: Now,
}

/// The state of compatibility mode.
#[derive(Debug)]
pub(super) struct Compat {
    work: mpsc::Sender<Work>,
    seen: ExpiringMap<MessageId, ()>,
    budgets: HashMap<LinkId, Budget>,
}

impl Compat {
    /// Starts the worker, which ends with this.
    pub(super) fn start(jobs: mpsc::Sender<Job>) -> Self {
        let (work, queue) = mpsc::channel(QUEUE);
        rt::spawn(run(queue, jobs));
        Self {
            work,
            seen: ExpiringMap::new(SEEN, SEEN_AGE),
            budgets: HashMap::new(),
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.budgets.remove(&link);
    }

    fn admit(&mut self, now: Now, link: LinkId) -> bool {
        let budget = self.budgets.entry(link).or_insert(Budget {
            tokens: BURST,
            at: now,
        });
        let passed = now.saturating_sub(budget.at).as_secs_f64();
        budget.tokens = (budget.tokens + passed * RATE).min(BURST);
        budget.at = now;
        let admitted = budget.tokens >= 1.0;
        if admitted {
            budget.tokens -= 1.0;
        }
        admitted
    }
}

/// Makes and checks certificates, one after the other.
async fn run(mut queue: mpsc::Receiver<Work>, jobs: mpsc::Sender<Job>) {
    let mut fill = |bytes: &mut [u8]| rand::rng().fill_bytes(bytes);
    let Ok(key) = rt::blocking(move || PublicKey::generate(KEY_BITS, &mut fill)).await else {
        return;
    };
    let key = Arc::new(key);
    while let Some(work) = queue.recv().await {
        let key = Arc::clone(&key);
        let done = rt::blocking(move || work.run(&key)).await;
        if let Some(done) = done
            && jobs.send(Job::Compat(done)).await.is_err()
        {
            return;
        }
    }
}

impl Work {
    fn run(self, key: &PublicKey) -> Option<Done> {
        match self {
            Self::Check { link, payload } => {
                let checked = message::Message::decode(&payload).and_then(|read| read.verify());
                Some(match checked {
                    Ok(()) => Done::Checked { link, payload },
                    Err(error) => {
                        tracing::debug!(%error, "message of Easypeers 1 refused");
                        Done::Refused { link }
                    }
                })
            }
            Self::Make {
                id,
                from,
                to,
                has,
                text,
                links,
                class,
            } => {
                let mut fill = |bytes: &mut [u8]| rand::rng().fill_bytes(bytes);
                let certificate = key.certify(&id, &from.to_string(), &text, &mut fill).ok()?;
                let mut payload = Vec::new();
                let outgoing = Outgoing {
                    id: &id,
                    has: &has,
                    text: &text,
                    from,
                    to,
                    certificate: &certificate,
                };
                outgoing.write(&mut payload);
                Some(Done::Made {
                    payload: payload.into(),
                    links,
                    class,
                })
            }
        }
    }
}

/// The id of a member's message for originals.
fn original_id(id: MessageId) -> String {
    format!("{id}{FRACTION}")
}

/// Whether a bridge made this id: its message is in the mesh already.
fn is_bridges(id: &str) -> bool {
    id.strip_suffix(FRACTION)
        .is_some_and(|hex| hex.parse::<MessageId>().is_ok())
}

/// The original's message in a bridged one, behind its id.
fn original(payload: &[u8]) -> &[u8] {
    payload.get(20..).unwrap_or_default()
}

/// Whether a bridged message is what it says to be.
pub(super) fn is_bridged(id: &MessageId, payload: &[u8]) -> bool {
    message::Message::decode(original(payload))
        .is_ok_and(|message| bridged_id(&message.id) == *id && !is_bridges(&message.id))
}

impl Swarm {
    /// Originals among our neighbours.
    fn originals(&self) -> Vec<(LinkId, PeerId)> {
        let originals = self.links.iter().filter(|(_, entry)| entry.compat);
        originals
            .filter_map(|(link, _)| Some((*link, self.mesh.up_peer(*link)?)))
            .collect()
    }

    /// A message of an original: queued to be checked, if there is time for it.
    pub(super) fn on_compat_message(&mut self, link: LinkId, payload: Vec<u8>) {
        let now = self.clock.now();
        let Some(compat) = &mut self.compat else {
            return;
        };
        if !compat.admit(now, link) {
            return self.count_dropped(1);
        }
        let Ok(read) = message::Message::decode(&payload) else {
            self.stats.rejected += 1;
            return;
        };
        // A member hears it from the mesh, where it is signed.
        let known = self.credentials.are_provable() && is_bridges(&read.id);
        if known || compat.seen.contains(&bridged_id(&read.id)) {
            self.stats.duplicates += 1;
            return;
        }
        if compat.work.try_send(Work::Check { link, payload }).is_err() {
            self.count_dropped(1);
        }
    }

    pub(super) fn on_compat(&mut self, done: Done) {
        match done {
            Done::Checked { link, payload } => self.on_checked(link, &payload),
            // Originals drop such without a word, and keep the link.
            Done::Refused { link } => {
                tracing::debug!(link = link.0, "refused");
                self.stats.rejected += 1;
            }
            Done::Made {
                payload,
                links,
                class,
            } => self.send_original(&links, class, &payload),
        }
    }

    fn on_checked(&mut self, link: LinkId, payload: &[u8]) {
        let Ok(read) = message::Message::decode(payload) else {
            return;
        };
        let id = bridged_id(&read.id);
        let now = self.clock.now();
        let new = self
            .compat
            .as_mut()
            .is_some_and(|compat| compat.seen.insert(now, id, ()));
        if !new || self.mesh.knows(&id) || read.from == self.credentials.address {
            self.stats.duplicates += 1;
            return;
        }
        let ours_only = self.hand_over_original(id, &read, 1);
        if ours_only || read.has.is_none() {
            return;
        }
        self.forward_original(Some(link), &read);
        let body = [id.as_bytes().as_slice(), payload].concat();
        if let Ok(signed) = self.sign(Kind::Bridged, Content::Binary, &[], &body) {
            let message = Arc::new(signed);
            let chunks = Vec::new();
            self.mesh_input(Input::Publish { message, chunks });
        } else {
            self.count_dropped(1);
        }
    }

    /// A bridged message came through the mesh.
    pub(super) fn on_bridged(&mut self, signed: &Signed, hops: u8) {
        let Ok(read) = message::Message::decode(original(signed.payload())) else {
            return;
        };
        let now = self.clock.now();
        if let Some(compat) = &mut self.compat
            && !compat.seen.insert(now, signed.id, ())
        {
            self.stats.duplicates += 1;
            return;
        }
        let ours_only = self.hand_over_original(signed.id, &read, hops.into());
        if !ours_only {
            self.forward_original(None, &read);
        }
    }

    /// Gives an original's message to the application, if it is for us; whether for us alone.
    fn hand_over_original(
        &mut self,
        id: MessageId,
        read: &message::Message<'_>,
        hops: u32,
    ) -> bool {
        let me = self.credentials.address;
        let for_us = read.to.as_ref().is_none_or(|to| to.contains(&me));
        if for_us {
            self.hand_over(Message {
                id,
                from: read.from,
                data: Data::from(&*read.text),
                direct: read.to.is_some(),
                verified: false,
                hops,
                time_ms: self.clock.wall_ms(),
            });
        }
        for_us && read.to.is_some()
    }

    /// Passes an original's message on to other originals, its certificate as it is.
    fn forward_original(&mut self, from: Option<LinkId>, read: &message::Message<'_>) {
        let has = read.has.as_deref().unwrap_or_default();
        let links: Vec<LinkId> = self
            .originals()
            .into_iter()
            .filter(|(link, peer)| Some(*link) != from && *peer != read.from && !has.contains(peer))
            .map(|(link, _)| link)
            .collect();
        let mut payload = Vec::new();
        if !links.is_empty() && read.write_forward(self.credentials.address, &mut payload) {
            self.send_original(&links, Class::Forwarded, &payload.into());
        }
    }

    /// Sends a member's broadcast, perhaps our own, to the originals among our neighbours.
    pub(super) fn bridge(&mut self, signed: &Signed) {
        if self.compat.is_none() || signed.kind == Kind::Bridged {
            return;
        }
        let (links, mut has): (Vec<LinkId>, Vec<PeerId>) = self
            .originals()
            .into_iter()
            .filter(|(_, peer)| *peer != signed.origin)
            .unzip();
        if links.is_empty() {
            return;
        }
        let text = match (signed.kind, signed.content) {
            (Kind::Broadcast, Content::Text) => text_for_originals(signed.payload()),
            // They know no bytes, and nothing so large.
            _ => None,
        };
        let Some(text) = text else {
            return self.count_dropped(1);
        };
        let me = self.credentials.address;
        let ours = signed.origin == self.credentials.identity.address();
        if !ours {
            has.push(me);
        }
        // Whoever is no member is no bridge: no mesh brings its message to others.
        let id = if self.credentials.are_provable() {
            original_id(signed.id)
        } else {
            message::message_id(&text, u64::from_ne_bytes(rt::random()))
        };
        let work = Work::Make {
            id,
            from: if ours { me } else { signed.origin },
            to: None,
            has,
            text,
            links,
            class: if ours { Class::Own } else { Class::Forwarded },
        };
        self.certify(work);
    }

    /// The link to an original with this address.
    pub(super) fn original(&self, peer: PeerId) -> Option<LinkId> {
        let mut originals = self.originals().into_iter();
        originals
            .find(|(_, other)| *other == peer)
            .map(|(link, _)| link)
    }

    /// Sends a direct message to an original among our neighbours, which acknowledges nothing.
    pub(super) fn send_to_original(
        &mut self,
        link: LinkId,
        to: PeerId,
        data: &Data,
        reply: Reply<Result<Receipt, SendError>>,
    ) {
        let text = data
            .as_text()
            .and_then(|text| text_for_originals(text.as_bytes()));
        let result = match text {
            None => Err(SendError::NotForOriginals),
            Some(text) => {
                let id = message::message_id(&text, u64::from_ne_bytes(rt::random()));
                let work = Work::Make {
                    id,
                    from: self.credentials.address,
                    to: Some(to),
                    has: vec![to],
                    text,
                    links: vec![link],
                    class: Class::Control,
                };
                self.stats.messages_sent += 1;
                if self.certify(work) {
                    Ok(Receipt::Sent)
                } else {
                    Err(SendError::Busy)
                }
            }
        };
        let _ = reply.send(result);
    }

    fn certify(&mut self, work: Work) -> bool {
        let taken = self
            .compat
            .as_ref()
            .is_some_and(|compat| compat.work.try_send(work).is_ok());
        if !taken {
            self.count_dropped(1);
        }
        taken
    }

    fn send_original(&mut self, links: &[LinkId], class: Class, payload: &Arc<[u8]>) {
        let mut dropped = 0;
        for link in links {
            if let Some(entry) = self.links.get(link).filter(|entry| entry.compat) {
                dropped += entry.outbox.push(class, Arc::clone(payload));
            }
        }
        self.count_dropped(dropped);
    }
}

/// A text that an original can be sent.
fn text_for_originals(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= MAX_TEXT).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_bridges_are_known_again() {
        let id = MessageId::new([0xab; 20]);
        assert!(is_bridges(&original_id(id)));
        let theirs = message::message_id("hello", 12345);
        assert!(!is_bridges(&theirs), "{theirs}");
        assert!(!is_bridges("0.5"));
    }

    #[test]
    fn a_link_has_a_budget_of_its_own() {
        let (work, _queue) = mpsc::channel(1);
        let mut compat = Compat {
            work,
            seen: ExpiringMap::new(SEEN, SEEN_AGE),
            budgets: HashMap::new(),
        };
        let link = LinkId(1);
        let burst = (0..100).filter(|_| compat.admit(Now::ZERO, link)).count();
        assert_eq!(burst, 20);
        assert!(compat.admit(Now::ZERO, LinkId(2)));
        assert!(compat.admit(Duration::from_secs(1), link));
        let later = (0..100)
            .filter(|_| compat.admit(Duration::from_secs(1), link))
            .count();
        assert_eq!(later, 4);
        compat.forget_link(link);
        assert!(compat.admit(Duration::from_secs(1), link), "a new link");
    }
}
