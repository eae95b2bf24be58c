//! The bridge between the mesh and peers of Easypeers 1 ("v1 peers").
//!
//! A message of a v1 peer is checked: its certificate proves nothing about its author, but a damaged
//! one is dropped by v1 peers too. Then it is given to the application as unverified, forwarded to
//! other v1 peers and published in the mesh, signed by this peer as its bridge. What members
//! broadcast is certified and sent to v1 neighbours. Every bridge makes the same id for a message,
//! so members get it once even if there are several bridges.
//!
//! Making or checking a certificate costs milliseconds of CPU time. A task of its own does one after
//! the other. Each link may send a few messages a second, and what does not fit into the queue is
//! dropped and counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use easypeers_core::expiring_map::ExpiringMap;
use easypeers_core::mesh::{Input, LinkId};
use easypeers_core::message::{Class, Signed};
use easypeers_core::rate::Rate;
use easypeers_core::rate::TokenBucket;
use easypeers_core::session::Credentials;
use easypeers_core::time::Now;
use easypeers_proto::crypto::envelope::{Content, Kind, bridged_id};
use easypeers_proto::wire::v1::MAX_TEXT;
use easypeers_proto::wire::v1::certificate::PublicKey;
use easypeers_proto::wire::v1::message::{self, Outgoing};
use easypeers_proto::{MessageId, PeerId};
use rand::Rng;
use tokio::sync::mpsc;

use super::action::{Action, Count};
use super::bridged::{is_from_bridge, v1_id, v1_payload};
use super::command::Reply;
use super::signer::Signer;
use crate::model::{Data, Message, Receipt, SendError};
use crate::rt::{self, Clock};

/// Certificates that wait to be made or checked. At 50 ms for the most expensive, under two seconds.
const QUEUE: usize = 32;

/// Results that wait for the loop. The task waits when there are more.
const RESULTS: usize = 64;

/// Messages that are taken from one v1 peer: chat, not a stream.
const RATE: Rate = Rate::new(5.0, 20.0);

/// Ids of v1 messages that are remembered, and for how long.
const SEEN: u32 = 16_384;
const SEEN_AGE: Duration = Duration::from_secs(600);

/// Bits of our modulus: as many as Easypeers 1 uses.
const KEY_BITS: u64 = 512;

/// A certificate to be checked or made.
#[derive(Debug)]
enum Work {
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
        /// The links that the message is for.
        links: Vec<LinkId>,
        class: Class,
    },
}

/// A certificate that was checked or made.
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

/// The state of the bridge.
#[derive(Debug)]
pub(super) struct V1Bridge {
    credentials: Arc<Credentials>,
    clock: Clock,
    work: mpsc::Sender<Work>,
    seen: ExpiringMap<MessageId, ()>,
    buckets: HashMap<LinkId, TokenBucket>,
}

impl V1Bridge {
    /// Starts the bridge and its task, which ends with it. The receiver gets the task's results, to
    /// be handed to [`on_done`](Self::on_done).
    pub(super) fn start(
        credentials: Arc<Credentials>,
        clock: Clock,
    ) -> (Self, mpsc::Receiver<Done>) {
        let (results, done) = mpsc::channel(RESULTS);
        let (bridge, queue) = Self::new(credentials, clock);
        rt::spawn(run(queue, results));
        (bridge, done)
    }

    fn new(credentials: Arc<Credentials>, clock: Clock) -> (Self, mpsc::Receiver<Work>) {
        let (work, queue) = mpsc::channel(QUEUE);
        let bridge = Self {
            credentials,
            clock,
            work,
            seen: ExpiringMap::new(SEEN, SEEN_AGE),
            buckets: HashMap::new(),
        };
        (bridge, queue)
    }

    /// A link is gone.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.buckets.remove(&link);
    }

    /// Whether a link may send another message now.
    fn admit(&mut self, now: Now, link: LinkId) -> bool {
        let bucket = self.buckets.entry(link);
        let bucket = bucket.or_insert_with(|| TokenBucket::full(now, RATE));
        bucket.take(now, RATE)
    }

    /// Takes a message of a v1 peer and queues its certificate to be checked.
    pub(super) fn on_message(&mut self, link: LinkId, payload: Vec<u8>) -> Option<Action> {
        if !self.admit(self.clock.now(), link) {
            return Some(Action::Count(Count::Dropped(1)));
        }
        let Ok(read) = message::Message::decode(&payload) else {
            return Some(Action::Count(Count::Rejected));
        };
        // A member gets it from the mesh, where it is signed.
        let known = self.credentials.are_provable() && is_from_bridge(&read.id);
        if known || self.seen.contains(&bridged_id(&read.id)) {
            return Some(Action::Count(Count::Duplicate));
        }
        let queued = self.work.try_send(Work::Check { link, payload });
        queued.err().map(|_| Action::Count(Count::Dropped(1)))
    }

    /// Takes a result of the bridge's task. `v1_links`: the links to v1 neighbours; `knows`: whether
    /// the mesh has a message.
    pub(super) fn on_done(
        &mut self,
        done: Done,
        v1_links: &[(LinkId, PeerId)],
        knows: impl Fn(&MessageId) -> bool,
        signer: &mut Signer,
    ) -> Vec<Action> {
        match done {
            Done::Checked { link, payload } => {
                self.on_checked(link, &payload, v1_links, knows, signer)
            }
            // The link stays: v1 peers do the same.
            Done::Refused { link } => {
                tracing::debug!(link = link.0, "refused");
                vec![Action::Count(Count::Rejected)]
            }
            Done::Made {
                payload,
                links,
                class,
            } => vec![Action::SendV1 {
                links,
                payload,
                class,
            }],
        }
    }

    fn on_checked(
        &mut self,
        link: LinkId,
        payload: &[u8],
        v1_links: &[(LinkId, PeerId)],
        knows: impl Fn(&MessageId) -> bool,
        signer: &mut Signer,
    ) -> Vec<Action> {
        let Ok(read) = message::Message::decode(payload) else {
            return Vec::new();
        };
        let id = bridged_id(&read.id);
        let new = self.seen.insert(self.clock.now(), id, ());
        if !new || knows(&id) || read.from == self.credentials.address {
            return vec![Action::Count(Count::Duplicate)];
        }
        let mut actions = Vec::new();
        let (message, for_us_only) = for_application(&self.credentials, self.clock, id, &read, 1);
        actions.extend(message.map(Action::Deliver));
        if for_us_only || read.has.is_none() {
            return actions;
        }
        actions.extend(self.forward(Some(link), &read, v1_links));
        let body = [id.as_bytes().as_slice(), payload].concat();
        let signed = signer.sign(Kind::Bridged, Content::Binary, &[], &body);
        actions.push(signed.map_or(Action::Count(Count::Dropped(1)), |signed| {
            let message = Arc::new(signed);
            let chunks = Vec::new();
            Action::Mesh(Input::Publish { message, chunks })
        }));
        actions
    }

    /// Takes a bridged message that arrived through the mesh.
    pub(super) fn on_bridged(
        &mut self,
        signed: &Signed,
        hops: u8,
        v1_links: &[(LinkId, PeerId)],
    ) -> Vec<Action> {
        let Ok(read) = message::Message::decode(v1_payload(signed.payload())) else {
            return Vec::new();
        };
        if !self.seen.insert(self.clock.now(), signed.id, ()) {
            return vec![Action::Count(Count::Duplicate)];
        }
        let mut actions = Vec::new();
        let (message, for_us_only) =
            for_application(&self.credentials, self.clock, signed.id, &read, hops.into());
        actions.extend(message.map(Action::Deliver));
        if !for_us_only {
            actions.extend(self.forward(None, &read, v1_links));
        }
        actions
    }

    /// Forwards a v1 message to other v1 peers, with its certificate as it is.
    fn forward(
        &self,
        from: Option<LinkId>,
        read: &message::Message<'_>,
        v1_links: &[(LinkId, PeerId)],
    ) -> Option<Action> {
        let has = read.has.as_deref().unwrap_or_default();
        let links: Vec<LinkId> = v1_links
            .iter()
            .filter(|(link, peer)| Some(*link) != from && *peer != read.from && !has.contains(peer))
            .map(|(link, _)| *link)
            .collect();
        let mut payload = Vec::new();
        let forward =
            !links.is_empty() && read.write_forward(self.credentials.address, &mut payload);
        forward.then(|| Action::SendV1 {
            links,
            payload: payload.into(),
            class: Class::Forwarded,
        })
    }

    /// Sends a member's broadcast, which may be our own, to v1 neighbours.
    pub(super) fn bridge(&self, signed: &Signed, v1_links: &[(LinkId, PeerId)]) -> Option<Action> {
        if signed.kind == Kind::Bridged {
            return None;
        }
        let (links, mut has): (Vec<LinkId>, Vec<PeerId>) = v1_links
            .iter()
            .filter(|(_, peer)| *peer != signed.origin)
            .copied()
            .unzip();
        if links.is_empty() {
            return None;
        }
        let text = match (signed.kind, signed.content) {
            (Kind::Broadcast, Content::Text) => v1_text(signed.payload()),
            // They know no bytes, and nothing as large as a manifest's message.
            _ => None,
        };
        let Some(text) = text else {
            return Some(Action::Count(Count::Dropped(1)));
        };
        let me = self.credentials.address;
        let ours = signed.origin == self.credentials.identity.address();
        if !ours {
            has.push(me);
        }
        // A peer that is no member is no bridge: the mesh does not carry its messages to others.
        let id = if self.credentials.are_provable() {
            v1_id(signed.id)
        } else {
            message::message_id(&text, u64::from_ne_bytes(rt::random()))
        };
        self.certify(Work::Make {
            id,
            from: if ours { me } else { signed.origin },
            to: None,
            has,
            text,
            links,
            class: if ours { Class::Own } else { Class::Forwarded },
        })
        .err()
    }

    /// Sends a direct message to a v1 neighbour, which acknowledges nothing.
    pub(super) fn send_direct(
        &self,
        link: LinkId,
        to: PeerId,
        data: &Data,
        reply: Reply<Result<Receipt, SendError>>,
    ) -> Vec<Action> {
        let Some(text) = data.as_text().and_then(|text| v1_text(text.as_bytes())) else {
            let _ = reply.send(Err(SendError::NotForV1));
            return Vec::new();
        };
        let id = message::message_id(&text, u64::from_ne_bytes(rt::random()));
        let certified = self.certify(Work::Make {
            id,
            from: self.credentials.address,
            to: Some(to),
            has: vec![to],
            text,
            links: vec![link],
            class: Class::Control,
        });
        let mut actions = vec![Action::Count(Count::Sent)];
        let result = certified.map(|()| Receipt::Sent).map_err(|dropped| {
            actions.push(dropped);
            SendError::Busy
        });
        let _ = reply.send(result);
        actions
    }

    /// Queues a certificate to be made; without room, the loss to be counted.
    fn certify(&self, work: Work) -> Result<(), Action> {
        let queued = self.work.try_send(work);
        queued.map_err(|_| Action::Count(Count::Dropped(1)))
    }
}

/// A bridged message for the application of a peer that is no bridge.
pub(super) fn read_bridged(
    credentials: &Credentials,
    clock: Clock,
    signed: &Signed,
    hops: u8,
) -> Option<Message> {
    let read = message::Message::decode(v1_payload(signed.payload())).ok()?;
    for_application(credentials, clock, signed.id, &read, hops.into()).0
}

/// A v1 message for the application, if it is for this peer, and whether it is for this peer only.
fn for_application(
    credentials: &Credentials,
    clock: Clock,
    id: MessageId,
    read: &message::Message<'_>,
    hops: u32,
) -> (Option<Message>, bool) {
    let me = credentials.address;
    let for_us = read.to.as_ref().is_none_or(|to| to.contains(&me));
    let message = for_us.then(|| Message {
        id,
        from: read.from,
        data: Data::from(&*read.text),
        direct: read.to.is_some(),
        verified: false,
        hops,
        time_ms: clock.wall_ms(),
    });
    (message, for_us && read.to.is_some())
}

/// A text that v1 peers take.
fn v1_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (text.len() <= MAX_TEXT).then(|| text.to_owned())
}

/// Makes and checks certificates, one after the other.
async fn run(mut queue: mpsc::Receiver<Work>, results: mpsc::Sender<Done>) {
    let mut fill = |bytes: &mut [u8]| rand::rng().fill_bytes(bytes);
    let Ok(key) = rt::blocking(move || PublicKey::generate(KEY_BITS, &mut fill)).await else {
        return;
    };
    let key = Arc::new(key);
    while let Some(work) = queue.recv().await {
        let key = Arc::clone(&key);
        let done = rt::blocking(move || work.run(&key)).await;
        if let Some(done) = done
            && results.send(done).await.is_err()
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

#[cfg(test)]
mod tests {
    use easypeers_proto::InfoHash;
    use easypeers_proto::crypto::{Identity, TopicKey};
    use easypeers_proto::wire::extension::PeerKind;
    use tokio::sync::oneshot;

    use super::*;

    const LINK: LinkId = LinkId(1);
    const OTHER: LinkId = LinkId(2);
    const AUTHOR: PeerId = PeerId::new([0xa; 20]);
    const NEIGHBOR: PeerId = PeerId::new([0xb; 20]);

    /// A bridge without its task, what waits for the task, and a signer.
    fn bridge() -> (V1Bridge, mpsc::Receiver<Work>, Signer) {
        let identity = Arc::new(Identity::from_seed(&[1; 32]));
        let credentials = Credentials {
            address: identity.address(),
            identity: Arc::clone(&identity),
            topic_key: TopicKey::from_topic("a topic"),
            info_hash: InfoHash::of_topic("a topic"),
            accepts_v1: true,
            kind: PeerKind::Native,
        };
        let clock = Clock::start();
        let (bridge, queue) = V1Bridge::new(Arc::new(credentials), clock);
        (bridge, queue, Signer::new(identity, clock))
    }

    fn payload(id: &str, text: &str) -> Vec<u8> {
        let json = format!(r#"{{"id":"{id}","has":[],"message":"{text}","from":"{AUTHOR}"}}"#);
        format!("{}:{json}", json.len()).into_bytes()
    }

    fn checked(id: &str) -> Done {
        let payload = payload(id, "hello");
        Done::Checked {
            link: LINK,
            payload,
        }
    }

    #[test]
    fn each_link_has_a_rate_of_its_own() {
        let (mut bridge, _queue, _) = bridge();
        let burst = (0..100).filter(|_| bridge.admit(Now::ZERO, LINK)).count();
        assert_eq!(burst, 20);
        assert!(bridge.admit(Now::ZERO, OTHER));
        assert!(bridge.admit(Duration::from_secs(1), LINK));
        let later = (0..100)
            .filter(|_| bridge.admit(Duration::from_secs(1), LINK))
            .count();
        assert_eq!(later, 4);
        bridge.forget_link(LINK);
        assert!(bridge.admit(Duration::from_secs(1), LINK), "a new link");
    }

    #[test]
    fn a_v1_message_is_checked_delivered_forwarded_and_published_once() {
        let (mut bridge, mut queue, mut signer) = bridge();
        assert!(bridge.on_message(LINK, payload("x0.1", "hello")).is_none());
        assert!(matches!(
            queue.try_recv(),
            Ok(Work::Check { link: LINK, .. })
        ));
        let links = [(LINK, AUTHOR), (OTHER, NEIGHBOR)];
        let actions = bridge.on_done(checked("x0.1"), &links, |_| false, &mut signer);
        let [
            Action::Deliver(message),
            Action::SendV1 { links: to, .. },
            Action::Mesh(Input::Publish {
                message: signed, ..
            }),
        ] = &actions[..]
        else {
            panic!("{actions:?}");
        };
        assert_eq!(
            (message.from, &message.data),
            (AUTHOR, &Data::from("hello"))
        );
        assert!(!message.verified);
        assert_eq!(to[..], [OTHER]);
        assert_eq!((signed.kind, signed.id), (Kind::Bridged, message.id));
        let again = bridge.on_done(checked("x0.1"), &links, |_| false, &mut signer);
        assert!(matches!(again[..], [Action::Count(Count::Duplicate)]));
        let known = bridge.on_done(checked("x0.2"), &links, |_| true, &mut signer);
        assert!(matches!(known[..], [Action::Count(Count::Duplicate)]));
    }

    #[test]
    fn a_bridged_message_is_not_published_again() {
        let (mut ours, _queue, mut signer) = bridge();
        let actions = ours.on_done(checked("x0.1"), &[], |_| false, &mut signer);
        let Some(Action::Mesh(Input::Publish { message, .. })) = actions.last() else {
            panic!("{actions:?}");
        };
        let (mut theirs, _queue, _) = bridge();
        let links = [(OTHER, NEIGHBOR)];
        let actions = theirs.on_bridged(message, 3, &links);
        let [Action::Deliver(delivered), Action::SendV1 { .. }] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!((delivered.id, delivered.hops), (message.id, 3));
        let again = theirs.on_bridged(message, 3, &links);
        assert!(matches!(again[..], [Action::Count(Count::Duplicate)]));
    }

    #[test]
    fn texts_of_members_are_certified_for_v1_neighbours() {
        let (bridge, mut queue, mut signer) = bridge();
        let text = signer
            .sign(Kind::Broadcast, Content::Text, &[], b"hello")
            .unwrap();
        assert!(bridge.bridge(&text, &[]).is_none());
        assert!(queue.try_recv().is_err(), "there are no v1 neighbours");
        assert!(bridge.bridge(&text, &[(LINK, NEIGHBOR)]).is_none());
        let Ok(Work::Make { id, text, .. }) = queue.try_recv() else {
            panic!("nothing to certify");
        };
        assert!(is_from_bridge(&id));
        assert_eq!(text, "hello");
        let bytes = signer
            .sign(Kind::Broadcast, Content::Binary, &[], &[1])
            .unwrap();
        let dropped = bridge.bridge(&bytes, &[(LINK, NEIGHBOR)]);
        assert!(matches!(dropped, Some(Action::Count(Count::Dropped(1)))));
    }

    #[test]
    fn a_v1_neighbour_takes_short_texts_only() {
        let (bridge, mut queue, _) = bridge();
        let (reply, mut receipt) = oneshot::channel();
        bridge.send_direct(LINK, NEIGHBOR, &vec![1].into(), reply);
        assert_eq!(receipt.try_recv().unwrap(), Err(SendError::NotForV1));
        let (reply, mut receipt) = oneshot::channel();
        bridge.send_direct(LINK, NEIGHBOR, &"hello".into(), reply);
        assert_eq!(receipt.try_recv().unwrap(), Ok(Receipt::Sent));
        assert!(matches!(
            queue.try_recv(),
            Ok(Work::Make { to: Some(_), .. })
        ));
    }
}
