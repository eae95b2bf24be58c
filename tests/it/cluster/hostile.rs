//! What is in the engine but none of ours is dropped and counted; the trackers serve on.

use e2e::{hash, until};
use easypeers_proto::cluster::{Body, Counts, Frame, NodeId, Offers, RelayedAnswer, RelayedOffer};
use easypeers_proto::{InfoHash, OfferId, PeerId};

use super::redis::{Local, Redis, are_together, joined, meet, swarm_key};
use crate::binary::process::Tracker;

/// The trackers' ids, which their channels are named by.
fn channels(redis: &Redis) -> Vec<String> {
    let answer = redis.ask(&["PUBSUB", "CHANNELS", "ep:n:*"]);
    let names = answer.lines().filter(|line| line.starts_with("ep:n:"));
    names.map(str::to_owned).collect()
}

async fn dropped(tracker: &Tracker, reason: &str) -> f64 {
    let series = format!("cluster_frames_dropped_total{{reason=\"{reason}\"}}");
    tracker.metric(&series).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_frames_are_counted_and_dropped() {
    let redis = Redis::start(&[]);
    let (a, b) = (redis.node(&[]), redis.node(&[]));
    are_together(&[&a, &b]).await;
    let load = Local::start(&a, hash(100)).await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    meet(hash(1), &mut one, &mut two).await;

    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let stranger = NodeId::new(77);
    let description = raw("{\"type\":\"answer\",\"sdp\":\"\"}");
    let forged = Frame {
        node: stranger,
        body: Body::Answer(RelayedAnswer {
            info_hash: hash(1),
            peer_id: e2e::peer(2),
            to_peer_id: e2e::peer(1),
            offer_id: OfferId::new([1; 20]),
            answer: &description,
        }),
    };
    let nobody = Frame {
        node: stranger,
        body: Body::Offers(Offers {
            info_hash: InfoHash::new([9; 20]),
            peer_id: PeerId::new([9; 20]),
            incomplete_only: false,
            offers: vec![RelayedOffer {
                offer_id: OfferId::new([1; 20]),
                offer: &description,
            }],
        }),
    };
    // A description that would end the message it is put into.
    let mut injected = forged.encode().unwrap();
    injected.extend_from_slice(b",\"failure reason\":\"x\"");
    let ping = Frame {
        node: stranger,
        body: Body::Ping(u64::MAX),
    };
    let frames: [Vec<u8>; 8] = [
        b"".to_vec(),
        b"hello".to_vec(),
        b"\x02\x01from the future".to_vec(),
        b"\x01\x63an unknown kind".to_vec(),
        b"\x01\x01cut".to_vec(),
        injected,
        ping.encode().unwrap(),
        vec![1; 5 << 20],
    ];
    for channel in channels(&redis) {
        // One that claims to be the receiver's own.
        let own = Frame {
            node: channel["ep:n:".len()..].parse().unwrap(),
            body: Body::Leave,
        };
        redis.ask(&[b"PUBLISH", channel.as_bytes(), &own.encode().unwrap()]);
        for frame in &frames {
            redis.ask(&[b"PUBLISH", channel.as_bytes(), frame]);
        }
        for frame in [&forged, &nobody] {
            redis.ask(&[b"PUBLISH", channel.as_bytes(), &frame.encode().unwrap()]);
        }
    }
    for node in [&a, &b] {
        until("all are counted", || async {
            dropped(node, "version").await >= 2.0
                && dropped(node, "kind").await >= 1.0
                && dropped(node, "malformed").await >= 2.0
                && dropped(node, "description").await >= 1.0
                && dropped(node, "foreign").await >= 1.0
                && dropped(node, "too_large").await >= 1.0
                && node
                    .metric("cluster_answers_dropped_total{reason=\"unsolicited\"}")
                    .await
                    >= 1.0
                && node
                    .metric("cluster_offers_dropped_total{reason=\"no_receiver\"}")
                    .await
                    >= 1.0
        })
        .await;
    }
    meet(hash(1), &mut one, &mut two).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_are_counted_and_dropped() {
    let redis = Redis::start(&[]);
    let wrong = swarm_key(hash(2));
    redis.ask(&[b"SET", &wrong[..], b"not a hash"]);
    for key in ["ep:nodes", "ep:node:zzz"] {
        redis.ask(&["SADD", key, "not a node", "00000000000000ff"]);
    }
    redis.ask(&["SET", "ep:node:00000000000000ff", "not a status"]);
    let (a, b) = (redis.node(&[]), redis.node(&[]));
    are_together(&[&a, &b]).await;
    let load = Local::start(&a, hash(100)).await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    let _three = [joined(&a, hash(2), 1).await, joined(&b, hash(2), 2).await];
    let key = swarm_key(hash(1));
    let counts = Counts {
        complete: u32::MAX,
        incomplete: u32::MAX,
        expires_s: u32::MAX,
    };
    // Fields that are no node, values that are no counts, and a node that is not there.
    redis.ask(&[b"HSET", &key[..], b"short", b"x"]);
    redis.ask(&[b"HSET", &key[..], b"eight!!!", b"x"]);
    redis.ask(&[b"HSET", &key[..], b"8 bytes.", &counts.encode()]);
    until("they are counted", || async {
        let _ = a.client().await.scrape(&[hash(1), hash(2)]).await;
        dropped(&a, "foreign").await >= 4.0
    })
    .await;
    until(
        "those who are there are counted, and nobody else",
        || async {
            let scraped = a.client().await.scrape(&[hash(1)]).await[0];
            (scraped.complete, scraped.incomplete) == (0, 2)
        },
    )
    .await;
    meet(hash(1), &mut one, &mut two).await;
    load.end().await;
}
