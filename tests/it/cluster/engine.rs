//! Ways to the engine: password, TLS, Sentinels.

use std::process::{Child, Command, Stdio};

use e2e::{TempDir, hash};

use super::redis::{Redis, are_together, joined, meet, node_at};
use crate::binary::process::{Tracker, command};
use crate::deploy::free_port;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_and_password_are_used_and_never_logged() {
    let port = free_port().to_string();
    let redis = Redis::start(&[
        "--port", &port, "--user", "default", "off", "--user", "tracker", "on", ">geheim", "~ep:*",
        "&ep:*", "+@all",
    ]);
    let url = format!("redis://tracker:geheim@127.0.0.1:{port}/3");
    let (a, b) = (node_at(&url, &[]), node_at(&url, &[]));
    are_together(&[&a, &b]).await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    meet(hash(1), &mut one, &mut two).await;
    drop(redis);
    a.wait_for_log("retry_in");
    let said = format!("{}{}", a.stdout(), a.stderr());
    assert!(
        said.contains("redis://***@127.0.0.1") && !said.contains("geheim"),
        "{said}"
    );
    let wrong = node_at(&url.replace("geheim", "falsch"), &[]);
    wrong.wait_for_log("retry_in");
    assert!(!wrong.stderr().contains("falsch"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked() {
    let files = TempDir::new();
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = files.write("cert.pem", key.cert.pem());
    let secret = files.write("key.pem", key.signing_key.serialize_pem());
    let port = free_port().to_string();
    let (certificate, secret) = (certificate.to_str().unwrap(), secret.to_str().unwrap());
    let _redis = Redis::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        secret,
        "--tls-ca-cert-file",
        certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let trusting = || {
        let mut command = command(&["--listen", "127.0.0.1:0", "--cluster-url", &url]);
        command.env("SSL_CERT_FILE", certificate);
        Tracker::spawn(command)
    };
    let (a, b) = (trusting(), trusting());
    are_together(&[&a, &b]).await;
    let stranger = node_at(&url, &[]);
    stranger.wait_for_log("retry_in");
    assert!(
        stranger.stderr().contains("certificate"),
        "{}",
        stranger.stderr()
    );
}

struct Sentinel(Child);

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_tell_where_the_master_is() {
    let files = TempDir::new();
    let ports = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let [first, second, sentinel] = &ports;
    let mut master = Redis::start(&["--port", first]);
    let copy = Redis::start(&[
        "--port",
        second,
        "--replicaof",
        &format!("127.0.0.1 {first}"),
    ]);
    let config = format!(
        "port {sentinel}\nsentinel monitor main 127.0.0.1 {first} 1\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    );
    let config = files.write("sentinel.conf", config);
    let mut program = Command::new("redis-server");
    program
        .arg(config)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let _sentinel = Sentinel(program.spawn().unwrap());
    // The first of the two is not there.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/main");
    let (a, b) = (node_at(&url, &[]), node_at(&url, &[]));
    are_together(&[&a, &b]).await;
    e2e::until("the copy is one", || async {
        copy.ask(&["INFO", "replication"])
            .contains("master_link_status:up")
    })
    .await;
    e2e::until("the Sentinel knows the copy", || async {
        master
            .ask(&["INFO", "replication"])
            .contains("connected_slaves:1")
    })
    .await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    meet(hash(1), &mut one, &mut two).await;
    master.kill();
    e2e::until("the copy takes over", || async {
        copy.ask(&["INFO", "replication"]).contains("role:master")
    })
    .await;
    are_together(&[&a, &b]).await;
    meet(hash(1), &mut one, &mut two).await;
}
