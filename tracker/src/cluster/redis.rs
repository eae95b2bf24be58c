//! The engine that is a Redis, or speaks its protocol: Valkey, KeyDB, Dragonfly; one, or the master
//! that Sentinels name.
//!
//! | key | what |
//! | --- | --- |
//! | `ep:nodes` | set of node ids, 16 hexadecimal digits |
//! | `ep:node:<id>` | a node's status; gone when the node is |
//! | `ep:s:<20 raw bytes>` | a swarm: hash of 8 raw bytes of node id to counts |
//! | `ep:n:<id>` | a node's channel |
//!
//! Two connections: one for commands, which never waits for what comes in, and one that listens.

mod place;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::InfoHash;
use easypeers_proto::cluster::{Counts, NodeId, NodeStatus};
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink};
use redis::{
    AsyncConnectionConfig, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::place::Place;
use super::inbox::Inbox;
use super::nodes::MAX_NODES;
use super::relay::{Beat, Engine, Entries, Exchanged, Later, Relay, RelayError, Write};
use super::url::ClusterUrlError;

/// For a connection and its greeting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For any answer. An engine that needs longer is as good as gone: nothing waits for it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Commands in one pipeline, so that none keeps the engine from others for long.
const PIPELINE: usize = 1000;

/// Reads a URL.
pub(super) fn engine(url: &str) -> Result<Arc<dyn Engine>, ClusterUrlError> {
    let place = Place::parse(url)?;
    Ok(Arc::new(Redis { place }))
}

#[derive(Debug)]
struct Redis {
    place: Place,
}

impl From<RedisError> for RelayError {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

async fn bounded<T>(
    what: &str,
    future: impl Future<Output = RedisResult<T>>,
) -> Result<T, RelayError> {
    match timeout(CONNECT_TIMEOUT, future).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(RelayError(format!(
            "{what} took more than {CONNECT_TIMEOUT:?}"
        ))),
    }
}

impl Engine for Redis {
    fn connect(&self, node: NodeId, inbox: Arc<Inbox>) -> Later<'_, Arc<dyn Relay>> {
        Box::pin(async move {
            let client = self.place.client().await?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT));
            let commands = client.get_multiplexed_async_connection_with_config(&config);
            let commands = bounded("connecting", commands).await?;
            let listening = bounded("connecting", client.get_async_pubsub()).await?;
            let (mut sink, mut frames) = listening.split();
            bounded("subscribing", sink.subscribe(channel(node))).await?;
            let lost = CancellationToken::new();
            let reader = tokio::spawn({
                let lost = lost.clone();
                async move {
                    while let Some(frame) = frames.next().await {
                        inbox.deliver(frame.get_payload_bytes());
                    }
                    lost.cancel();
                }
            });
            let relay: Arc<dyn Relay> = Arc::new(Connected {
                node,
                commands,
                lost,
                reader,
                _sink: sink,
            });
            Ok(relay)
        })
    }
}

fn channel(node: NodeId) -> String {
    format!("ep:n:{node}")
}

fn node_key(node: NodeId) -> String {
    format!("ep:node:{node}")
}

fn swarm_key(info_hash: &InfoHash) -> [u8; 25] {
    let mut key = *b"ep:s:--------------------";
    key[5..].copy_from_slice(info_hash.as_bytes());
    key
}

struct Connected {
    node: NodeId,
    commands: MultiplexedConnection,
    lost: CancellationToken,
    reader: JoinHandle<()>,
    /// Keeps the subscription.
    _sink: PubSubSink,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

type Answers = Vec<RedisResult<Value>>;

impl Connected {
    /// The answers to all commands, refusals among them.
    async fn ask(&self, pipeline: &mut Pipeline) -> Result<Answers, RelayError> {
        let mut commands = self.commands.clone();
        let answers: Answers = pipeline.ignore_errors().query_async(&mut commands).await?;
        Ok(answers)
    }
}

/// The engine has become a copy of another, which takes no writes: another must be found.
fn is_copy(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

impl Relay for Connected {
    fn beat(&self, status: NodeStatus, ttl: Duration) -> Later<'_, Beat> {
        Box::pin(async move {
            let (key, ttl) = (node_key(self.node), ttl.as_millis() as u64);
            let mut pipeline = redis::pipe();
            // An engine that is out of memory refuses to set the key again, but not to prolong it.
            pipeline.cmd("PEXPIRE").arg(&key).arg(ttl);
            pipeline
                .cmd("SET")
                .arg(&key)
                .arg(&status.encode()[..])
                .arg("PX")
                .arg(ttl);
            pipeline
                .cmd("SADD")
                .arg("ep:nodes")
                .arg(self.node.to_string());
            pipeline.cmd("TIME");
            let answers = self.ask(&mut pipeline).await?;
            let [prolonged, set, _, time] = &answers[..] else {
                return Err(RelayError("an answer is missing".into()));
            };
            if let Err(error) = set
                && is_copy(error)
            {
                return Err(RelayError(error.to_string()));
            }
            let held = matches!(prolonged, Ok(Value::Int(1)));
            let seconds = time.as_ref().ok().and_then(|time| {
                let (seconds, _): (u64, u64) = redis::from_redis_value(time.clone()).ok()?;
                Some(seconds)
            });
            let now_s = seconds.ok_or_else(|| RelayError("no time of day".into()))?;
            Ok(Beat {
                held,
                kept: held || set.is_ok(),
                now_s,
            })
        })
    }

    fn nodes(&self) -> Later<'_, (Vec<(NodeId, NodeStatus)>, usize)> {
        Box::pin(async move {
            let mut pipeline = redis::pipe();
            // Not all members: whoever fills the set must not fill our memory.
            pipeline.cmd("SRANDMEMBER").arg("ep:nodes").arg(MAX_NODES);
            let answers = self.ask(&mut pipeline).await?;
            let Some(Ok(Value::Array(members))) = answers.into_iter().next() else {
                return Ok((Vec::new(), 1));
            };
            let named = members.len();
            let listed: Vec<NodeId> = members
                .into_iter()
                .filter_map(|m| text(&m)?.parse().ok())
                .collect();
            let mut foreign = named - listed.len();
            if listed.is_empty() {
                return Ok((Vec::new(), foreign));
            }
            let mut pipeline = redis::pipe();
            for node in &listed {
                pipeline.cmd("GET").arg(node_key(*node));
            }
            let answers = self.ask(&mut pipeline).await?;
            let (mut nodes, mut gone) = (Vec::new(), Vec::new());
            for (node, answer) in listed.into_iter().zip(answers) {
                match answer.as_ref().ok().and_then(bytes).map(NodeStatus::decode) {
                    Some(Ok(status)) => nodes.push((node, status)),
                    Some(Err(_)) => foreign += 1,
                    None => gone.push(node.to_string()),
                }
            }
            if !gone.is_empty() {
                let mut pipeline = redis::pipe();
                pipeline.cmd("SREM").arg("ep:nodes").arg(gone);
                self.ask(&mut pipeline).await?;
            }
            Ok((nodes, foreign))
        })
    }

    fn exchange<'a>(
        &'a self,
        writes: &'a [Write],
        reads: &'a [InfoHash],
        keep: Duration,
    ) -> Later<'a, Exchanged> {
        Box::pin(async move {
            let mut exchanged = Exchanged::default();
            for (chunk, writes) in writes.chunks(PIPELINE).enumerate() {
                let answers = self.ask(&mut written(writes, keep)).await?;
                for (place, answer) in answers.chunks(2).enumerate() {
                    match &answer[0] {
                        Err(error) if is_copy(error) => return Err(RelayError(error.to_string())),
                        Err(_) => exchanged.refused.push(chunk * PIPELINE + place),
                        Ok(_) => {}
                    }
                }
            }
            for reads in reads.chunks(PIPELINE) {
                let mut pipeline = redis::pipe();
                for info_hash in reads {
                    pipeline.cmd("HGETALL").arg(&swarm_key(info_hash)[..]);
                }
                for answer in self.ask(&mut pipeline).await? {
                    let view = answer
                        .ok()
                        .and_then(|value| entries(&value, &mut exchanged.foreign));
                    exchanged.foreign += usize::from(view.is_none());
                    exchanged.views.push(view);
                }
            }
            Ok(exchanged)
        })
    }

    fn publish<'a>(&'a self, frames: &'a [(NodeId, Arc<[u8]>)]) -> Later<'a, Vec<usize>> {
        Box::pin(async move {
            let mut pipeline = redis::pipe();
            for (node, bytes) in frames {
                pipeline.cmd("PUBLISH").arg(channel(*node)).arg(&bytes[..]);
            }
            let answers = self.ask(&mut pipeline).await?;
            let receivers = answers.into_iter().map(|answer| match answer? {
                Value::Int(count) => Ok(usize::try_from(count).unwrap_or(0)),
                _ => Err(RelayError("no number of receivers".into())),
            });
            receivers.collect()
        })
    }

    fn leave(&self) -> Later<'_, ()> {
        Box::pin(async move {
            let mut pipeline = redis::pipe();
            pipeline.cmd("DEL").arg(node_key(self.node));
            pipeline
                .cmd("SREM")
                .arg("ep:nodes")
                .arg(self.node.to_string());
            self.ask(&mut pipeline).await?;
            Ok(())
        })
    }

    fn lost(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.lost.cancelled().await;
            Err(RelayError("the subscription ended".into()))
        })
    }
}

/// Two commands for each write.
fn written(writes: &[Write], keep: Duration) -> Pipeline {
    let mut pipeline = redis::pipe();
    for write in writes {
        let (key, field) = (swarm_key(&write.info_hash), write.node.to_bytes());
        match write.counts {
            Some(counts) => {
                let counts = counts.encode();
                pipeline
                    .cmd("HSET")
                    .arg(&key[..])
                    .arg(&field[..])
                    .arg(&counts[..]);
            }
            None => {
                pipeline.cmd("HDEL").arg(&key[..]).arg(&field[..]);
            }
        }
        pipeline
            .cmd("PEXPIRE")
            .arg(&key[..])
            .arg(keep.as_millis() as u64);
    }
    pipeline
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    str::from_utf8(bytes(value)?).ok()
}

/// The fields of a hash; what is none of ours is counted. Nothing if it is no hash.
fn entries(value: &Value, foreign: &mut usize) -> Option<Entries> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Array(items) => items
            .chunks_exact(2)
            .map(|pair| (&pair[0], &pair[1]))
            .collect(),
        Value::Map(pairs) => pairs.iter().map(|(field, value)| (field, value)).collect(),
        _ => return None,
    };
    let named = pairs.len();
    let read = |(field, value): (&Value, &Value)| {
        let node = NodeId::from_bytes(bytes(field)?)?;
        Some((node, Counts::decode(bytes(value)?).ok()?))
    };
    let entries: Entries = pairs.into_iter().filter_map(read).take(MAX_NODES).collect();
    *foreign += named - entries.len();
    Some(entries)
}
