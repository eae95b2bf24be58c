//! Nodes within this process: who gets what, and who does not.

use std::collections::BTreeMap;

use e2e::{Announce, Client, Received, TestServer, answer, hash, offer_id, peer, sdp, until};
use easypeers_proto::OfferId;

/// Nodes of one cluster that know each other.
async fn nodes(name: &str, count: usize) -> Vec<TestServer> {
    let mut servers = Vec::new();
    for _ in 0..count {
        let url = format!("memory://{name}-{}", std::process::id());
        let node = |s: &mut tracker::Settings| {
            s.cluster_url = Some(url.into());
            s.drain_timeout = std::time::Duration::from_secs(60);
        };
        servers.push(TestServer::with(node).await);
    }
    for server in &servers {
        server.metric_becomes("cluster_nodes", count as f64).await;
    }
    servers
}

async fn joined(server: &TestServer, swarm: u32, number: u32) -> Client {
    let mut client = server.client().await;
    client
        .announce(&Announce::new(hash(swarm), peer(number)))
        .await;
    client
}

async fn next_offer(client: &mut Client) -> (easypeers_proto::PeerId, OfferId, String) {
    match client.next().await {
        Received::Offer {
            peer_id,
            offer_id,
            offer,
            ..
        } => (peer_id, offer_id, offer),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn offers_and_answers_cross_nodes_byte_for_byte() {
    let servers = nodes("cross", 2).await;
    let mut answerer = joined(&servers[0], 1, 2).await;
    let mut offerer = servers[1].client().await;
    let odd = "{ \"sdp\" : \"\\u00e9\\/\\n\", \"x\":[1,2], \"type\":\"offer\" }";
    let announce = Announce::new(hash(1), peer(1)).offer(offer_id(7), odd);
    offerer.send(announce.text()).await;
    assert!(matches!(offerer.next().await, Received::Announced { .. }));
    assert_eq!(
        next_offer(&mut answerer).await,
        (peer(1), offer_id(7), odd.to_owned())
    );
    let odd = "{ \"type\" : \"answer\",\"sdp\":\"\\ud83d\\ude00\"  }";
    answerer
        .send(answer(hash(1), peer(2), peer(1), offer_id(7), odd))
        .await;
    match offerer.next().await {
        Received::Answer {
            peer_id,
            offer_id: id,
            answer,
            ..
        } => {
            assert_eq!((peer_id, id, &*answer), (peer(2), offer_id(7), odd));
        }
        other => panic!("{other:?}"),
    }
    // Counted once, where it arrived.
    let offers = "offers_relayed_total{scope=\"remote\"}";
    let answers = "answers_relayed_total{scope=\"remote\"}";
    assert_eq!(servers[0].metric(offers).await, 1.0);
    assert_eq!(servers[1].metric(offers).await, 0.0);
    assert_eq!(servers[1].metric(answers).await, 1.0);
}

#[tokio::test]
async fn an_answer_counts_once_and_from_who_was_given_the_offer_only() {
    let servers = nodes("solicited", 2).await;
    let mut answerer = joined(&servers[0], 1, 2).await;
    let mut offerer = joined(&servers[1], 1, 1).await;
    offerer
        .announce(&Announce::new(hash(1), peer(1)).offers(1))
        .await;
    let (_, id, _) = next_offer(&mut answerer).await;
    // Another peer, there and here.
    for server in &servers {
        let mut other = joined(server, 1, 3).await;
        other
            .send(answer(hash(1), peer(3), peer(1), id, &sdp("answer", 3)))
            .await;
        assert!(other.failure().await.contains("no such offer"));
    }
    let text = answer(hash(1), peer(2), peer(1), id, &sdp("answer", 1));
    answerer.send(text.clone()).await;
    assert!(matches!(offerer.next().await, Received::Answer { .. }));
    answerer.send(text).await;
    assert!(answerer.failure().await.contains("no such offer"));
    offerer.fence().await;
}

#[tokio::test]
async fn counts_are_those_of_all_nodes() {
    let servers = nodes("counts", 3).await;
    let mut clients = Vec::new();
    for (number, server) in (1..).zip(&servers) {
        let mut client = server.client().await;
        let announce = Announce::new(hash(1), peer(number));
        let announce = if number == 1 {
            announce.seeding()
        } else {
            announce
        };
        client.announce(&announce).await;
        clients.push(client);
    }
    for server in &servers {
        server.counts_become(hash(1), 1, 2).await;
    }
    let last = clients.pop().unwrap();
    last.close().await;
    for server in &servers {
        server.counts_become(hash(1), 1, 1).await;
    }
    let response = clients[0]
        .announce(&Announce::new(hash(1), peer(1)).seeding())
        .await;
    assert_eq!(response, (1, 1));
    for server in &servers {
        server.counts_become(hash(2), 0, 0).await;
    }
}

#[tokio::test]
async fn no_offer_goes_to_the_senders_own_id_elsewhere() {
    let servers = nodes("self", 2).await;
    // Peer 1 has moved, but its old connection is not dead yet.
    let mut old = joined(&servers[0], 1, 1).await;
    let mut moved = joined(&servers[1], 1, 1).await;
    let _other = joined(&servers[0], 1, 2).await;
    servers[1].counts_become(hash(1), 0, 3).await;
    for round in 0..20 {
        let announce = Announce::new(hash(1), peer(1)).offer(offer_id(round), &sdp("offer", round));
        moved.announce(&announce).await;
    }
    // All of them go to the other one.
    let relayed = "offers_relayed_total{scope=\"remote\"}";
    servers[0].metric_becomes(relayed, 20.0).await;
    moved.fence().await;
    old.fence().await;
}

#[tokio::test]
async fn a_peer_that_moves_keeps_its_id_and_gets_its_answers() {
    let servers = nodes("move", 2).await;
    let mut answerer = joined(&servers[0], 1, 2).await;
    let old = joined(&servers[0], 1, 1).await;
    let mut moved = joined(&servers[1], 1, 1).await;
    old.close().await;
    servers[1].counts_become(hash(1), 0, 2).await;
    let same = Announce::new(hash(1), peer(1)).offer(offer_id(5), &sdp("offer", 5));
    moved.announce(&same).await;
    let (from, id, _) = next_offer(&mut answerer).await;
    assert_eq!((from, id), (peer(1), offer_id(5)));
    // And back, with the same offer, as some clients do.
    moved.close().await;
    let mut back = joined(&servers[0], 1, 1).await;
    back.announce(&same).await;
    next_offer(&mut answerer).await;
    answerer
        .send(answer(hash(1), peer(2), peer(1), id, &sdp("answer", 5)))
        .await;
    assert!(matches!(back.next().await, Received::Answer { .. }));
}

#[tokio::test]
async fn seeders_get_no_offers_of_seeders_elsewhere() {
    let servers = nodes("seeders", 2).await;
    let mut seeder = servers[0].client().await;
    seeder
        .announce(&Announce::new(hash(1), peer(1)).seeding())
        .await;
    let mut leecher = joined(&servers[0], 1, 2).await;
    servers[1].counts_become(hash(1), 1, 1).await;
    let mut other = servers[1].client().await;
    other
        .announce(&Announce::new(hash(1), peer(3)).seeding().offers(5))
        .await;
    next_offer(&mut leecher).await;
    leecher.fence().await;
    seeder.fence().await;
}

#[tokio::test]
async fn two_that_join_a_new_swarm_at_once_meet() {
    let servers = nodes("at-once", 2).await;
    for swarm in 0..20 {
        let (mut a, mut b) = (servers[0].client().await, servers[1].client().await);
        let text = |number| Announce::new(hash(swarm), peer(number)).offers(3).text();
        tokio::join!(a.send(text(1)), b.send(text(2)));
        // Whoever was second offers to the first.
        let met = async {
            loop {
                tokio::select! {
                    message = a.next() => if matches!(message, Received::Offer { .. }) { return },
                    message = b.next() => if matches!(message, Received::Offer { .. }) { return },
                }
            }
        };
        e2e::within("an offer", met).await;
    }
}

/// Each of the nodes' peers gets its share, wherever the sender is.
#[tokio::test]
async fn offers_are_shared_out_over_all_peers() {
    let servers = nodes("shares", 3).await;
    let mut others = Vec::new();
    for number in 0..12 {
        // 2, 4 and 6 of them.
        let node = [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2][number as usize];
        others.push(joined(&servers[node], 1, number).await);
    }
    servers[0].counts_become(hash(1), 0, 12).await;
    let mut sender = joined(&servers[0], 1, 99).await;
    const ROUNDS: u32 = 150;
    for round in 0..ROUNDS {
        let mut announce = Announce::new(hash(1), peer(99));
        for offer in 0..4 {
            announce = announce.offer(offer_id(round * 4 + offer), &sdp("offer", offer));
        }
        sender.announce(&announce).await;
    }
    sender.fence().await;
    let arrived = || async {
        let mut sum = 0.0;
        for server in &servers {
            for scope in ["local", "remote"] {
                sum += server
                    .metric(&format!("offers_relayed_total{{scope=\"{scope}\"}}"))
                    .await;
            }
        }
        sum == f64::from(4 * ROUNDS)
    };
    until("all offers have arrived", arrived).await;
    let mut got = BTreeMap::new();
    for (number, client) in others.iter_mut().enumerate() {
        client
            .send("{\"action\":\"scrape\",\"info_hash\":\"aaaaaaaaaaaaaaaaaaaa\"}")
            .await;
        loop {
            match client.next().await {
                Received::Offer { .. } => *got.entry(number).or_insert(0) += 1,
                Received::Scraped(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    // Each expects 50, with a deviation of 6: seven of them are one case in 10^11.
    assert_eq!(got.len(), 12, "{got:?}");
    assert!(got.values().all(|count| (8..92).contains(count)), "{got:?}");
}

#[tokio::test]
async fn a_drained_node_is_offered_nothing_and_passes_on_answers() {
    let mut servers = nodes("drain", 2).await;
    let mut answerer = joined(&servers[0], 1, 2).await;
    let mut offerer = joined(&servers[1], 1, 1).await;
    offerer
        .announce(&Announce::new(hash(1), peer(1)).offers(1))
        .await;
    let (_, id, _) = next_offer(&mut answerer).await;
    // The drain waits for the answer.
    servers[0].stop();
    servers[1].metric_becomes("cluster_nodes", 1.0).await;
    let text = answer(hash(1), peer(2), peer(1), id, &sdp("answer", 1));
    answerer.send(text).await;
    assert!(matches!(offerer.next().await, Received::Answer { .. }));
    let counts = offerer
        .announce(&Announce::new(hash(1), peer(1)).offers(1))
        .await;
    assert_eq!(counts, (0, 1));
    servers[0].stopped().await;
}
