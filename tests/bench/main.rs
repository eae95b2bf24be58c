//! What the mesh costs: time to a first link, CPU time of links and messages, in one process with a
//! tracker of its own on loopback. One table on standard output; both ends are in the figures.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on stops with the reason"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::Parser;
use e2e::TestServer;
use easypeers::{Easypeers, Event, Events, IceServers, Limits, Options};
use tokio::time::Instant;

/// Measures links and messages of native peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Peers that join one after the other
    #[arg(long, default_value_t = 50)]
    joins: usize,
    /// Messages of 200 bytes
    #[arg(long, default_value_t = 20_000)]
    small: usize,
    /// Messages of 64 KiB
    #[arg(long, default_value_t = 1_000)]
    large: usize,
}

struct Peer {
    handle: Easypeers,
    events: Events,
}

impl Peer {
    async fn join(server: &TestServer, topic: &str) -> Self {
        let mut options = Options::default();
        options.limits = Limits::none();
        options.trackers = vec![format!("ws://{}", server.address()).parse().unwrap()];
        options.ice_servers = IceServers::Only(Vec::new());
        options.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let handle = Easypeers::join(topic, options).await.unwrap();
        let events = handle.events();
        Self { handle, events }
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) {
        while let Some(event) = self.events.next().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the peer ended");
    }

    async fn connected(&mut self) {
        self.until(|event| matches!(event, Event::Connect(_))).await;
    }
}

/// CPU time that this process has used, in user and system mode.
fn cpu() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        clock.tv_sec.unsigned_abs(),
        u32::try_from(clock.tv_nsec).unwrap(),
    )
}

fn quantile(sorted: &[Duration], of: f64) -> Duration {
    let last = sorted.len() - 1;
    sorted[(last as f64 * of).round() as usize]
}

/// Peers that join where one other is: from the call to the event.
async fn joins(server: &TestServer, count: usize) {
    let mut times = Vec::new();
    let mut used = Duration::ZERO;
    for number in 0..count {
        let topic = format!("join {number}");
        let mut first = Peer::join(server, &topic).await;
        // It has announced: whoever comes finds it.
        first
            .until(
                |event| matches!(event, Event::State(status) if status.reason.contains("nobody")),
            )
            .await;
        let (before, start) = (cpu(), Instant::now());
        let mut second = Peer::join(server, &topic).await;
        second.connected().await;
        times.push(start.elapsed());
        first.connected().await;
        used += cpu().saturating_sub(before);
        first.handle.close().await;
        second.handle.close().await;
    }
    times.sort_unstable();
    println!(
        "first link, join to connect event: median {:.1} ms, 90 % {:.1} ms, slowest {:.1} ms ({count} joins)",
        ms(quantile(&times, 0.5)),
        ms(quantile(&times, 0.9)),
        ms(quantile(&times, 1.0)),
    );
    println!(
        "CPU time of a join with its first link, both peers and the tracker: {:.1} ms",
        ms(used) / count as f64
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Broadcasts over one link. The sender keeps at most `window` on their way, so that none is dropped.
async fn messages(server: &TestServer, count: usize, bytes: usize, window: usize) {
    let topic = format!("messages of {bytes} bytes");
    let mut sender = Peer::join(server, &topic).await;
    let mut receiver = Peer::join(server, &topic).await;
    sender.connected().await;
    receiver.connected().await;
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(window));
    let given = std::sync::Arc::clone(&permits);
    let receiving = tokio::spawn(async move {
        for _ in 0..count {
            receiver
                .until(|event| matches!(event, Event::Message(_)))
                .await;
            given.add_permits(1);
        }
        receiver
    });
    let (before, start) = (cpu(), Instant::now());
    let wire = sender.handle.stats().bytes_sent;
    for _ in 0..count {
        permits.acquire().await.unwrap().forget();
        sender.handle.send(vec![7; bytes]).await.unwrap();
    }
    let receiver = receiving.await.unwrap();
    let (used, time) = (cpu().saturating_sub(before), start.elapsed());
    // The counts are written now and then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stats = sender.handle.stats();
    println!(
        "{bytes} bytes: {:.0} messages a CPU second, both ends ({:.0} us of CPU a message); {:.0} messages/s, \
         {:.1} MB/s; {:.0} bytes on the stream each; dropped {}",
        count as f64 / used.as_secs_f64(),
        used.as_secs_f64() * 1e6 / count as f64,
        count as f64 / time.as_secs_f64(),
        (count * bytes) as f64 / time.as_secs_f64() / 1e6,
        (stats.bytes_sent - wire) as f64 / count as f64,
        stats.dropped,
    );
    sender.handle.close().await;
    receiver.handle.close().await;
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let server = TestServer::start().await;
    joins(&server, arguments.joins).await;
    messages(&server, arguments.small, 200, 128).await;
    messages(&server, arguments.large, 64 << 10, 4).await;
}
