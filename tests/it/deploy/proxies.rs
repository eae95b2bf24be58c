//! nginx and Caddy with the shipped configurations in front of a tracker: upgrade, a client that
//! says nothing for longer than proxies like, its real address, `/metrics` hidden. Needs Debian's
//! `nginx` and `caddy`.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use e2e::{Announce, Client, Received, Response, TempDir, answer, hash, offer_id, peer, sdp};
use e2e::{tls, until, within};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpSocket;

use super::{Program, changed, free_port, shipped};
use crate::binary::process::{Tracker, command};
use crate::cluster::redis::{Redis, are_together};

/// Longer than the 60 s after which nginx and many load balancers cut a connection by default.
const LONG_IDLE: Duration = Duration::from_secs(65);

/// Where clients come from; the proxy itself is 127.0.0.1.
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// A tracker that does not ping, so that nothing but the proxy's own patience keeps idle clients.
fn tracker() -> Tracker {
    Tracker::spawn(command(&[
        "--listen=127.0.0.1:0",
        "--trusted-proxy=127.0.0.1/32",
        "--ping-interval=1h",
        "--log-level=debug",
        "--log-addresses=full",
    ]))
}

/// What stands before the tracker.
struct Proxy {
    _program: Program,
    address: SocketAddr,
    root: CertificateDer<'static>,
}

impl Proxy {
    async fn connect(&self) -> std::io::Result<Box<dyn tls::Io>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((CLIENT, 0).into())?;
        let stream = socket.connect(self.address).await?;
        tls::wrap(stream, &self.root).await
    }

    async fn client(&self) -> Client {
        let stream = self.connect().await.unwrap();
        // What a client claims must not count.
        let claim = [("x-forwarded-for", "203.0.113.9")];
        within("an upgrade", Client::upgrade(stream, "/", &claim))
            .await
            .unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        let stream = self.connect().await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        within("an answer", e2e::http::exchange(stream, &head))
            .await
            .unwrap()
    }
}

async fn serves_through(proxy: &Proxy, tracker: Tracker) {
    until("the proxy answers", || async {
        match proxy.connect().await {
            Ok(stream) => {
                let head = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close";
                let answer = e2e::http::exchange(stream, head).await;
                answer.is_ok_and(|answer| answer.status == 200)
            }
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(proxy.get("/metrics").await.status, 404);
    assert_eq!(tracker.get("/metrics").await.status, 200);
    assert_eq!(proxy.get("/stats.json").await.status, 200);

    let mut idle = proxy.client().await;
    idle.announce(&Announce::new(hash(2), peer(3))).await;
    let since = tokio::time::Instant::now();

    let (mut one, mut two) = (proxy.client().await, tracker.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    two.announce(&Announce::new(hash(1), peer(2)).offers(1))
        .await;
    assert!(matches!(one.next().await, Received::Offer { .. }));
    let description = sdp("answer", 1);
    one.send(answer(hash(1), peer(1), peer(2), offer_id(0), &description))
        .await;
    match two.next().await {
        Received::Answer { answer, .. } => assert_eq!(answer, description),
        other => panic!("{other:?}"),
    }
    tracker.wait_for_log("client=\"127.0.0.7\"");
    assert!(!tracker.stderr().contains("203.0.113.9"));

    tokio::time::sleep_until(since + LONG_IDLE).await;
    idle.fence().await;
    tracker.signal(Signal::TERM);
    assert_eq!(idle.closed().await, 1001);
    assert_eq!(one.closed().await, 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's nginx"]
async fn nginx_as_shipped() {
    let files = TempDir::new();
    let tracker = tracker();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = files.write("cert.pem", made.cert.pem());
    let key = files.write("key.pem", made.signing_key.serialize_pem());
    let (plain, secure) = (free_port(), free_port());
    let live = "/etc/letsencrypt/live/tracker.example.org";
    let site = changed(
        &shipped("nginx/easypeers.conf"),
        &[
            ("listen 80;", &format!("listen 127.0.0.1:{plain};")),
            ("listen [::]:80;", ""),
            (
                "listen 443 ssl;",
                &format!("listen 127.0.0.1:{secure} ssl;"),
            ),
            ("listen [::]:443 ssl;", ""),
            (&format!("{live}/fullchain.pem"), cert.to_str().unwrap()),
            (&format!("{live}/privkey.pem"), key.to_str().unwrap()),
            ("tracker.example.org", "localhost"),
            (
                "server 127.0.0.1:3000;",
                &format!("server {};", tracker.address()),
            ),
        ],
    );
    let site = files.write("easypeers.conf", site);
    let folder = files.root().display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    let main = format!(
        "daemon off;\npid {folder}/pid;\nerror_log stderr;\nworker_processes 1;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\n{temp}include {};\n}}\n",
        site.display()
    );
    let main = files.write("nginx.conf", main);
    let mut command = Command::new("nginx");
    command
        .env("PATH", "/usr/sbin:/usr/bin")
        .arg("-c")
        .arg(main);
    let proxy = Proxy {
        _program: Program::start(&files, command),
        address: (Ipv4Addr::LOCALHOST, secure).into(),
        root: made.cert.der().clone(),
    };
    serves_through(&proxy, tracker).await;
    let stream = tls::connect((Ipv4Addr::LOCALHOST, plain).into(), None).await;
    let head = "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let moved = e2e::http::exchange(stream.unwrap(), head).await.unwrap();
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, "https://localhost/x")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's caddy"]
async fn caddy_as_shipped() {
    let files = TempDir::new();
    let tracker = tracker();
    let (plain, secure) = (free_port(), free_port());
    // Ports of this test's own, and no way in from outside.
    let global = format!("admin off\n\thttp_port {plain}\n\tskip_install_trust");
    let changes = [("skip_install_trust", &*global)];
    let caddyfile = changed(&shipped("caddy/Caddyfile"), &changes);
    let caddyfile = files.write("Caddyfile", caddyfile);
    let mut command = Command::new("caddy");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(caddyfile)
        .env("HOME", files.root())
        .env("XDG_DATA_HOME", files.root())
        .env("XDG_CONFIG_HOME", files.root())
        .env("EASYPEERS_DOMAIN", format!("localhost:{secure}"))
        .env("EASYPEERS_UPSTREAM", tracker.address().to_string());
    let program = Program::start(&files, command);
    // For `localhost` it is its own authority.
    let root = files.path("caddy/pki/authorities/local/root.crt");
    until("caddy has made its authority", || async {
        CertificateDer::from_pem_file(&root).is_ok()
    })
    .await;
    let proxy = Proxy {
        _program: program,
        address: (Ipv4Addr::LOCALHOST, secure).into(),
        root: CertificateDer::from_pem_file(&root).unwrap(),
    };
    serves_through(&proxy, tracker).await;
}

/// The balancer of compose's profile `cluster`: several nodes behind one Caddy are one tracker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's caddy"]
async fn caddy_spreads_clients_over_the_nodes_of_a_cluster() {
    let files = TempDir::new();
    let redis = Redis::start(&[]);
    let nodes = [(); 2].map(|()| redis.node(&["--trusted-proxy", "127.0.0.0/8"]));
    are_together(&[&nodes[0], &nodes[1]]).await;
    let port = free_port();
    let global = "admin off\n\tskip_install_trust";
    let caddyfile = changed(
        &shipped("caddy/Caddyfile"),
        &[("skip_install_trust", global)],
    );
    let caddyfile = files.write("Caddyfile", caddyfile);
    let upstream = format!("{} {}", nodes[0].address(), nodes[1].address());
    let mut caddy = Command::new("caddy");
    caddy
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(caddyfile)
        .env("HOME", files.root())
        .env("XDG_DATA_HOME", files.root())
        .env("XDG_CONFIG_HOME", files.root())
        .env("EASYPEERS_DOMAIN", format!("http://localhost:{port}"))
        .env("EASYPEERS_UPSTREAM", upstream);
    let _caddy = Program::start(&files, caddy);
    let address = (Ipv4Addr::LOCALHOST, port).into();
    until("the balancer listens", || async {
        tls::connect(address, None).await.is_ok()
    })
    .await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let stream = tls::connect(address, None).await.unwrap();
        let mut client = within("an upgrade", Client::upgrade(stream, "/", &[]))
            .await
            .unwrap();
        client.announce(&Announce::new(hash(1), peer(number))).await;
        clients.push(client);
    }
    for node in &nodes {
        let connections = node.metric("connections").await;
        assert!(connections >= 3.0, "{connections} of 10 connections");
        let mut client = node.client().await;
        let counted = async {
            while client.scrape(&[hash(1)]).await[0].incomplete != 10 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("all are counted", counted).await;
    }
}
