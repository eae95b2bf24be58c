//! That links leave no socket behind. Each test runs in a process of its own, whose open files are
//! its own doing.

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
        "{printed}"
    );
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until this process has no more open files than that; panics after 20 s with the number.
async fn files_back_to(most: usize) {
    for _ in 0..400 {
        if open_files() <= most {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files open, expected at most {most}", open_files());
}

/// Waits for the number of open files to stand still.
async fn files_settle() {
    let mut last = open_files();
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = open_files();
        if now == last {
            return;
        }
        last = now;
    }
}

/// Every way to be done with a link frees its sockets: 1,000 opened and closed, offers that nobody
/// answers, answers that are not waited for.
#[test]
fn thousand_links() {
    alone("thousand_links_leave_no_files_open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by the test above"]
async fn thousand_links_leave_no_files_open() {
    let (a, b) = (transport().await, transport().await);
    talk(&a, &b).await;
    files_settle().await;
    let before = open_files();
    for round in 0..250 {
        let links = (0..4).map(|_| pair(&a, &b));
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
        if round % 50 == 0 {
            let offer = a.offer().await.unwrap();
            drop(b.answer(offer.sdp()).await.unwrap());
        }
    }
    files_back_to(before).await;
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

/// 100 handshakes against a changed fingerprint, 100 truncated offers, answers that are none:
/// every one is an error and keeps no socket.
#[test]
fn failed_attempts() {
    alone("failed_attempts_leave_no_files_open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "counts the files of its process; run by the test above"]
async fn failed_attempts_leave_no_files_open() {
    let a = Transport::with_deadline(options(), Duration::from_secs(2));
    let b = Transport::with_deadline(options(), Duration::from_secs(2));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    files_settle().await;
    let before = open_files();
    let offer = a.offer().await.unwrap();
    for cut in 0..100 {
        let end = offer.sdp().len() * cut / 100;
        // Without its last lines it is still one.
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
    files_back_to(before).await;
}
