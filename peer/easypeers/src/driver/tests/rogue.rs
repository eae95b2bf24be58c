//! A member with all keys that sends whatever a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easypeers_proto::crypto::envelope::{Content, Draft, Kind};
use easypeers_proto::crypto::{Identity, TopicKey};
use easypeers_proto::wire::extension::PeerKind;
use easypeers_proto::wire::frame::{Ack, Frame, Gossip, Neighbor, Pushed};
use easypeers_proto::wire::stream::write_extended;
use easypeers_proto::{InfoHash, PeerId};

use super::tracker::Client;
use super::{Honest, PATIENCE, TOPIC, Tracker, transport};
use crate::link::{LinkEvent, LinkReceiver, LinkSender};
use crate::{Data, Event, rt};
use easypeers_core::session::{Channel, Credentials, Session, SessionEvent};

const NOW: i64 = 0;
const MINUTE: i64 = 60_000;

struct Rogue {
    identity: Arc<Identity>,
    session: Session,
    sender: LinkSender,
    receiver: LinkReceiver,
    frames: Vec<Vec<u8>>,
    clock: rt::Clock,
}

impl Rogue {
    /// Answers the peer's offer and becomes its neighbour.
    async fn join(number: u8, client: &mut Client) -> Self {
        let identity = Arc::new(Identity::from_seed(&[number; 32]));
        let (offer_id, sdp) = client.offers.pop().unwrap();
        let answer = transport().await.answer(&sdp).await.unwrap();
        client
            .answer(offer_id, identity.address(), answer.sdp())
            .await;
        let link = answer.open().await.unwrap();
        let credentials = Credentials {
            address: identity.address(),
            identity: Arc::clone(&identity),
            topic_key: TopicKey::from_topic(TOPIC),
            info_hash: InfoHash::of_topic(TOPIC),
            #[cfg(feature = "compat")]
            accepts_v1: false,
            kind: PeerKind::Native,
        };
        let channel = Channel {
            role: link.role(),
            local_fingerprint: link.local_fingerprint(),
            remote_fingerprint: link.remote_fingerprint(),
            nonce: rt::random(),
        };
        let mut out = Vec::new();
        let session = Session::start(Arc::new(credentials), channel, &mut out);
        let (sender, receiver) = link.split();
        sender.send(&out).await.unwrap();
        let mut rogue = Self {
            identity,
            session,
            sender,
            receiver,
            frames: Vec::new(),
            clock: rt::Clock::start(),
        };
        while !rogue.read().await {}
        let neighbor = Neighbor {
            epoch: rogue.clock.started_ms(),
            links: 1,
            max_links: 6,
        };
        rogue.send(neighbor).await;
        rogue
    }

    fn address(&self) -> PeerId {
        self.identity.address()
    }

    /// Reads once. Returns whether the peer admitted us.
    async fn read(&mut self) -> bool {
        let received = tokio::time::timeout(PATIENCE, self.receiver.recv()).await;
        let Some(LinkEvent::Data(data)) = received.expect("something in time") else {
            panic!("closed");
        };
        let mut admitted = false;
        let mut out = Vec::new();
        let mut input = &data[..];
        while let Some(event) = self.session.read(&mut input, &mut out).unwrap() {
            match event {
                SessionEvent::Frame(frame) => self.frames.push(frame),
                SessionEvent::Admitted { .. } => admitted = true,
                #[cfg(feature = "compat")]
                other => panic!("{other:?}"),
            }
        }
        self.sender.send(&out).await.unwrap();
        admitted
    }

    async fn send(&self, frame: impl Into<Frame>) {
        let mut payload = Vec::new();
        frame.into().encode(&mut payload);
        let mut bytes = Vec::new();
        write_extended(self.session.number(), &payload, &mut bytes).unwrap();
        // The peer may have hung up.
        let _ = self.sender.send(&bytes).await;
    }

    async fn gossip(&self, envelope: &[u8]) {
        let gossip = Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            envelope: envelope.into(),
        };
        self.send(gossip).await;
    }

    /// A broadcast of this member, `age_ms` old.
    fn envelope(&self, text: &str, age_ms: i64) -> Vec<u8> {
        static SEQUENCE: AtomicU64 = AtomicU64::new(1);
        let time_ms = self.clock.wall_ms().checked_add_signed(-age_ms).unwrap();
        Draft {
            kind: Kind::Broadcast,
            content: Content::Text,
            // Before any time that a test gives.
            epoch: self.clock.started_ms() - 600_000,
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            time_ms,
            recipients: &[],
            nonce: rt::random(),
            payload: text.as_bytes(),
        }
        .sign(&self.identity)
    }

    /// The texts of broadcasts that arrived, up to this one.
    async fn texts_until(&mut self, last: &str) -> Vec<String> {
        loop {
            let gossip = self.frames.iter().filter_map(|frame| {
                let Ok(Frame::Gossip(gossip)) = Frame::decode(frame) else {
                    return None;
                };
                let envelope =
                    easypeers_proto::crypto::envelope::Envelope::decode(&gossip.envelope).unwrap();
                Some(String::from_utf8(envelope.payload().to_vec()).unwrap())
            });
            let texts: Vec<String> = gossip.collect();
            if texts.last().is_some_and(|text| text == last) {
                return texts;
            }
            self.read().await;
        }
    }
}

/// A peer with two rogues for neighbours.
async fn surrounded(tracker: &Tracker) -> (Honest, Rogue, Rogue, Client) {
    let mut honest = Honest::join(tracker).await;
    let mut client = tracker.accept().await;
    let first = Rogue::join(1, &mut client).await;
    honest.connected(first.address()).await;
    let second = Rogue::join(2, &mut client).await;
    honest.connected(second.address()).await;
    (honest, first, second, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_old_and_repeated_messages_go_no_further() {
    let tracker = Tracker::bind().await;
    let (mut honest, rogue, mut witness, _client) = surrounded(&tracker).await;
    let good = rogue.envelope("good", NOW);
    // A field that the signature does not cover would show here.
    let mut altered = 0;
    for at in [good.len() - 1, good.len() - 64, good.len() - 66, 80] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        rogue.gossip(&bad).await;
        altered += 1;
    }
    rogue.gossip(&rogue.envelope("too old", 6 * MINUTE)).await;
    rogue
        .gossip(&rogue.envelope("from the future", -6 * MINUTE))
        .await;
    rogue.gossip(&good).await;
    rogue.gossip(&good).await;
    rogue.gossip(&rogue.envelope("last", NOW)).await;
    let texts = [honest.message().await, honest.message().await].map(|message| message.data);
    assert_eq!(texts, [Data::from("good"), Data::from("last")]);
    assert_eq!(witness.texts_until("last").await, ["good", "last"]);
    honest
        .stats(|stats| stats.rejected == altered + 2 && stats.duplicates == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_forwards_too_much_that_is_false_is_closed() {
    let tracker = Tracker::bind().await;
    let (mut honest, rogue, mut witness, _client) = surrounded(&tracker).await;
    for number in 0..20 {
        let mut bad = rogue.envelope(&format!("false {number}"), NOW);
        let last = bad.len() - 1;
        bad[last] ^= 1;
        rogue.gossip(&bad).await;
    }
    honest.disconnected(rogue.address()).await;
    honest.handle.send("still here").await.unwrap();
    assert_eq!(witness.texts_until("still here").await, ["still here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_a_frame_closes_the_link_and_nothing_else() {
    let tracker = Tracker::bind().await;
    let (mut honest, rogue, mut witness, _client) = surrounded(&tracker).await;
    let mut bytes = Vec::new();
    // GOSSIP, cut short.
    write_extended(rogue.session.number(), &[16, 0], &mut bytes).unwrap();
    assert!(Frame::decode(&[16, 0]).is_err());
    rogue.sender.send(&bytes).await.unwrap();
    honest.disconnected(rogue.address()).await;
    honest.handle.send("still here").await.unwrap();
    witness.texts_until("still here").await;
}

/// An acknowledgement of a message that was never opened proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_acknowledgement_is_refused() {
    let tracker = Tracker::bind().await;
    let (honest, mut rogue, witness, _client) = surrounded(&tracker).await;
    let to = witness.address();
    let handle = honest.handle.clone();
    let sent = tokio::spawn(async move { handle.send_to(to, "secret").await });
    let (mut witness, mut route) = (witness, None);
    while route.is_none() {
        witness.read().await;
        route = witness
            .frames
            .iter()
            .find_map(|frame| match Frame::decode(frame) {
                Ok(Frame::Route(route)) => Some(route.sealed),
                _ => None,
            });
    }
    let sealed = route.unwrap();
    let (id, from, to, body) = (sealed.id, sealed.from, sealed.to, &sealed.body);
    assert_eq!((from, to), (honest.handle.address(), witness.address()));
    assert!(!body.windows(6).any(|text| text == b"secret"), "sealed");
    for rogue in [&mut rogue, &mut witness] {
        let ack = Ack {
            id,
            from: to,
            to: from,
            hops: 1,
            hop_limit: 16,
            proof: [0; 16],
        };
        rogue.send(ack).await;
    }
    honest.stats(|stats| stats.rejected > 0).await;
    assert!(!sent.is_finished());
    let opened = easypeers_proto::crypto::seal::open(body, &witness.identity, from).unwrap();
    let ack = Ack {
        id,
        from: to,
        to: from,
        hops: 1,
        hop_limit: 16,
        proof: opened.1.prove(&id, 1),
    };
    witness.send(ack).await;
    let receipt = sent.await.unwrap().unwrap();
    assert!(
        matches!(receipt, crate::Receipt::Delivered { hops: 1, .. }),
        "{receipt:?}"
    );
}

/// Its link is closed, the others are not delayed, and its queue is bounded until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_stops_reading_is_closed() {
    let tracker = Tracker::bind().await;
    let (mut honest, stalled, mut reader, _client) = surrounded(&tracker).await;
    let handle = honest.handle.clone();
    let receiving = tokio::spawn(async move {
        while !reader.frames.iter().any(|frame| is_text(frame, "the end")) {
            reader.frames.clear();
            reader.read().await;
        }
    });
    let sending = async {
        loop {
            handle.send(vec![0; 16 << 10]).await.unwrap();
            // About as fast as the other neighbour reads.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let gone = stalled.address();
    let mut lagged = 0;
    let closed = honest.event(|event| {
        if let Event::Lagged(lost) = event {
            lagged += lost;
        }
        (event == Event::Disconnect(gone)).then_some(())
    });
    tokio::select! {
        never = sending => never,
        () = closed => {}
    }
    assert!(
        lagged > 0,
        "the application is told what the neighbour missed"
    );
    honest.handle.send("the end").await.unwrap();
    tokio::time::timeout(PATIENCE, receiving)
        .await
        .unwrap()
        .unwrap();
    drop(stalled);
}

fn is_text(frame: &[u8], text: &str) -> bool {
    frame
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Searching for a member that does not exist ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_nobody_is_unreachable() {
    let tracker = Tracker::bind().await;
    let (honest, _rogue, mut witness, _client) = surrounded(&tracker).await;
    let nobody = PeerId::new([9; 20]);
    let sent = honest.handle.send_to(nobody, "anybody there?");
    let asked = async {
        loop {
            let who = witness.frames.iter().any(
                |frame| matches!(Frame::decode(frame), Ok(Frame::Who(who)) if who.to == nobody),
            );
            if who {
                return;
            }
            witness.read().await;
        }
    };
    let (receipt, ()) = tokio::join!(sent, asked);
    assert_eq!(receipt.unwrap(), crate::Receipt::Unreachable);
}
