//! Links leave nothing behind: no socket, no task. Each test runs in a process of its own, so all
//! files that are open there are its own.

use std::process::Command;

use super::*;

fn alone(test: &str) {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::{test}"), "--exact", "--ignored"]);
    let run = command.output().unwrap();
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && printed.contains("1 passed"),
        "{printed}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// What connections hold: files of this process and tasks of this runtime. A connection that was
/// forgotten keeps its driver, with all its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    files: usize,
    tasks: usize,
}

impl Held {
    fn now() -> Self {
        Self {
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
        }
    }

    /// Waits until the counts did not change for 300 ms. Panics after 60 s.
    async fn settled() -> Self {
        let mut last = Self::now();
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = Self::now();
            if now == last {
                return now;
            }
            last = now;
        }
        panic!("the counts still change: {last:?}");
    }

    /// Waits until no more is held than this. Panics after 60 s.
    async fn again(self) {
        for _ in 0..1200 {
            let now = Self::now();
            if now.files <= self.files && now.tasks <= self.tasks {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?}, expected at most {self:?}", Self::now());
    }
}

/// Every way to end a link frees its sockets: 1,000 links that open and close, offers that are never
/// answered, answers that are dropped.
async fn thousand_links(ports: [UdpPorts; 2], at_once: usize) {
    let [a, b] = ports.map(|udp_ports| {
        let options = LinkOptions {
            udp_ports,
            ..options()
        };
        async { Transport::new(options).await.unwrap() }
    });
    let (a, b) = (a.await, b.await);
    talk(&a, &b).await;
    let before = Held::settled().await;
    for round in 0..1000 / at_once {
        let links = (0..at_once).map(|_| pair(&a, &b));
        for (i, (left, right)) in futures_util::future::join_all(links)
            .await
            .into_iter()
            .enumerate()
        {
            match (round + i) % 3 {
                0 => {
                    let (sender, mut receiver) = left.split();
                    sender.close().await;
                    assert_eq!(receiver.recv().await, None);
                    drop(right);
                }
                1 => {
                    drop(left);
                    assert_eq!(right.split().1.recv().await, None);
                }
                _ => drop((left, right)),
            }
        }
        if round % (200 / at_once) == 0 {
            let offer = a.offer().await.unwrap();
            drop(b.answer(offer.sdp()).await.unwrap());
        }
    }
    before.again().await;
    // The transports still make links.
    talk(&a, &b).await;
}

#[test]
fn a_socket_a_link() {
    alone("thousand_links_on_any_port");
}

#[test]
fn one_port_for_all_links() {
    alone("thousand_links_on_one_port");
}

#[test]
fn a_port_of_a_range_for_each_link() {
    alone("thousand_links_in_a_range");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by a test above"]
async fn thousand_links_on_any_port() {
    thousand_links([UdpPorts::Any, UdpPorts::Any], 4).await;
}

/// One port on both sides, so one after the other: two handshakes between the same two ports take
/// turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by a test above"]
async fn thousand_links_on_one_port() {
    let ports = [ports::free_port(), ports::free_port()];
    thousand_links(ports.map(UdpPorts::One), 1).await;
}

/// One range for both, as with two peers on one host. Ports are freed, so 64 are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by a test above"]
async fn thousand_links_in_a_range() {
    let first = ports::free_port().min(u16::MAX - 63);
    let range = UdpPorts::Range(first..=first + 63);
    thousand_links([range.clone(), range], 4).await;
}

fn tampered(sdp: &str) -> String {
    let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
    let mut text = sdp.to_owned();
    let digit = if text.get(at..=at) == Some("0") {
        "1"
    } else {
        "0"
    };
    text.replace_range(at..=at, digit);
    text
}

/// 100 handshakes against a changed fingerprint, 100 truncated offers, and invalid answers: each is
/// an error and keeps no socket and no task.
#[test]
fn failed_attempts() {
    alone("failed_attempts_leave_nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by the test above"]
async fn failed_attempts_leave_nothing() {
    let a = Transport::with_deadline(options(), Duration::from_secs(2));
    let b = Transport::with_deadline(options(), Duration::from_secs(2));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    let before = Held::settled().await;
    let offer = a.offer().await.unwrap();
    for cut in 0..100 {
        let end = offer.sdp().len() * cut / 100;
        // Without its last lines it is still a description.
        let answered = b.answer(&offer.sdp()[..end]).await;
        assert!(cut > 60 || matches!(answered, Err(LinkError::Sdp(_))));
    }
    assert!(matches!(offer.open("v=0").await, Err(LinkError::Sdp(_))));
    let attempt = || async {
        let offer = a.offer().await.unwrap();
        let answer = b.answer(offer.sdp()).await.unwrap();
        let swapped = tampered(answer.sdp());
        let (left, right) = tokio::join!(offer.open(&swapped), answer.open());
        let failed = |error| {
            matches!(
                error,
                LinkError::Timeout | LinkError::Failed | LinkError::Closed
            )
        };
        assert!(failed(left.err().unwrap()) && failed(right.err().unwrap()));
    };
    for _ in 0..5 {
        futures_util::future::join_all((0..20).map(|_| attempt())).await;
    }
    before.again().await;
}
