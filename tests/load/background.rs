//! Swarms beside the measured ones: each has one silent peer. They show whether a tracker's cost
//! grows with what it merely keeps.

use anyhow::{Context, Result, bail, ensure};
use easypeers_proto::tracker::{Announce, ClientMessage, Event, ServerMessage};
use easypeers_proto::{InfoHash, PeerId};
use futures_util::{SinkExt, StreamExt};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::{JoinSet, spawn_local};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::connect::Target;

/// Swarms of one connection: below the limit that trackers put on it.
const SWARMS_EACH: u32 = 400;

/// Connections that join their swarms at the same time.
const JOINING: u32 = 16;

/// How many connections `swarms` take.
pub(crate) fn connections(swarms: u32) -> u32 {
    swarms.div_ceil(SWARMS_EACH)
}

/// Joins `swarms` swarms. The connections stay open, and answer pings, until the process ends.
pub(crate) async fn join(target: &Target, swarms: u32, seed: u64) -> Result<()> {
    let mut joining = JoinSet::new();
    for first in (0..swarms).step_by(SWARMS_EACH as usize) {
        if joining.len() >= JOINING as usize
            && let Some(joined) = joining.join_next().await
        {
            joined??;
        }
        let count = SWARMS_EACH.min(swarms - first);
        let target = target.clone();
        let rng = StdRng::seed_from_u64(seed ^ u64::from(first) << 32);
        joining.spawn_local(join_some(target, count, rng));
    }
    while let Some(joined) = joining.join_next().await {
        joined??;
    }
    Ok(())
}

async fn join_some(target: Target, count: u32, mut rng: StdRng) -> Result<()> {
    let (stream, rest) = target.connect(None).await?;
    ensure!(rest.is_empty(), "the tracker spoke first");
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let peer_id = PeerId::new(rng.random());
    for _ in 0..count {
        let announce = ClientMessage::Announce(Announce {
            info_hash: InfoHash::new(rng.random()),
            peer_id,
            event: Event::Started,
            complete: false,
            numwant: Some(0),
            offers: Vec::new(),
            offers_skipped: 0,
        });
        let mut text = Vec::new();
        announce.write_json(&mut text);
        socket.send(Message::text(String::from_utf8(text)?)).await?;
        loop {
            let message = socket.next().await.context("closed while joining")??;
            let Ok(text) = message.to_text() else {
                continue;
            };
            match ServerMessage::decode(text) {
                Ok(ServerMessage::Announced { .. }) => break,
                Ok(ServerMessage::Failure { reason, .. }) => bail!("refused: {reason}"),
                _ => {}
            }
        }
    }
    spawn_local(async move { while let Some(Ok(_)) = socket.next().await {} });
    Ok(())
}
