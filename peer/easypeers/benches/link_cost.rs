//! What a link costs while nothing happens on it: memory, and CPU time for opening and keeping it.
//!
//! `cargo bench -p easypeers --bench link_cost` measures links with a UDP port each, and with
//! `-- one-port` links that share one. A run measures one of the two, because memory that a first
//! measurement freed would be missing from a second. It takes about a minute.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use easypeers::link::{Link, LinkError, LinkOptions, Transport, UdpPorts};
use tokio::time::Instant;

const LINKS: usize = 200;

/// The port of links that share one.
const PORT: u16 = 47_611;

/// How long the links are left idle.
const IDLE: Duration = Duration::from_secs(20);

fn options(udp_ports: UdpPorts) -> LinkOptions {
    LinkOptions {
        ice_servers: Vec::new(),
        relay_only: false,
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        udp_ports,
        public_addresses: Vec::new(),
        max_message: 16 << 10,
    }
}

async fn pair(a: &Transport, b: &Transport) -> Result<(Link, Link), LinkError> {
    let offer = a.offer().await?;
    let answer = b.answer(offer.sdp()).await?;
    let sdp = answer.sdp().to_owned();
    tokio::try_join!(offer.open(&sdp), answer.open())
}

/// CPU time of this process.
fn cpu() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(clock.tv_nsec).unwrap_or_default();
    Duration::new(clock.tv_sec.unsigned_abs(), nanoseconds)
}

/// Resident memory of this process, in KiB.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
async fn measure(ports: UdpPorts) -> Result<(), Box<dyn Error>> {
    let a = Transport::new(options(ports.clone())).await?;
    let b = Transport::new(options(UdpPorts::Any)).await?;
    let _warm = pair(&a, &b).await?;
    let (memory, used) = (resident()?, cpu());
    let mut links = Vec::new();
    for _ in 0..LINKS {
        links.push(pair(&a, &b).await?);
    }
    let open = cpu() - used;
    let grown = resident()?.saturating_sub(memory);
    let (used, since) = (cpu(), Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = (cpu() - used).as_secs_f64() / since.elapsed().as_secs_f64();
    println!(
        "ports {ports}: {LINKS} links, both ends here: {grown} KiB resident, {:.0} KiB an end; \
         opening {:.1} ms CPU a link; idle {:.0} us CPU a second and end",
        grown as f64 / (2 * LINKS) as f64,
        open.as_secs_f64() * 1e3 / LINKS as f64,
        idle * 1e6 / (2 * LINKS) as f64,
    );
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let one_port = std::env::args().any(|argument| argument == "one-port");
    let ports = if one_port {
        UdpPorts::One(PORT)
    } else {
        UdpPorts::Any
    };
    measure(ports).await
}
