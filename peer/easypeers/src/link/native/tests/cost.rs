//! What links cost while nothing happens on them. Prints, and is therefore not run with the others:
//! `cargo test --release -p peer --lib cost::idle_on_one_port -- --ignored --nocapture`, one at a time,
//! since memory that a first one freed would not be seen in a second.

use tokio::time::Instant;

use super::*;

const LINKS: usize = 200;

/// CPU time of this process.
fn cpu() -> Duration {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        clock.tv_sec.unsigned_abs(),
        u32::try_from(clock.tv_nsec).unwrap(),
    )
}

/// Resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints costs, checks nothing"]
async fn idle() {
    measure(UdpPorts::Any).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints costs, checks nothing"]
async fn idle_on_one_port() {
    measure(UdpPorts::One(47_611)).await;
}

async fn measure(ports: UdpPorts) {
    let mut options = options();
    options.udp_ports = ports.clone();
    let a = Transport::new(options).await.unwrap();
    let b = transport().await;
    let _warm = pair(&a, &b).await;
    let (memory, used) = (resident(), cpu());
    let mut links = Vec::new();
    for _ in 0..LINKS {
        links.push(pair(&a, &b).await);
    }
    let open = cpu() - used;
    let grown = resident() - memory;
    let (used, since) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let idle = (cpu() - used).as_secs_f64() / since.elapsed().as_secs_f64();
    println!(
        "ports {ports}: {LINKS} links, both ends here: {grown} KiB resident, {:.0} KiB an end; \
         opening {:.1} ms CPU a link; idle {:.0} us CPU a second and end",
        grown as f64 / (2 * LINKS) as f64,
        open.as_secs_f64() * 1e3 / LINKS as f64,
        idle * 1e6 / (2 * LINKS) as f64,
    );
}
