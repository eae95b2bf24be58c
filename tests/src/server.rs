//! A tracker inside the test's own process.

use std::net::SocketAddr;
use std::time::Duration;

use easypeers_proto::InfoHash;
use easypeers_proto::tracker::ScrapeEntry;
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracker::config::Listen;
use tracker::{Reloader, Server, Settings};

use crate::client::Client;
use crate::http::{self, Response};
use crate::tls;
use crate::wait::{until, within};

/// A tracker on a free port of loopback; stops when it is dropped.
#[derive(Debug)]
pub struct TestServer {
    address: SocketAddr,
    reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    /// The certificate that clients shall trust; set it where the server speaks TLS.
    pub root: Option<CertificateDer<'static>>,
}

impl TestServer {
    /// With default settings but for the port and a short drain.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings that a test changes.
    ///
    /// # Panics
    /// When it cannot start.
    #[expect(clippy::unused_async, reason = "shows that it needs a runtime")]
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Self::settings();
        change(&mut settings);
        let server = Server::bind(settings).expect("a tracker");
        let address = server.addresses()[0];
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let stop = Some(stop);
        Self {
            address,
            reloader,
            stop,
            running,
            root: None,
        }
    }

    /// What [`start`](Self::start) uses.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn settings() -> Settings {
        Settings {
            listen: vec![Listen::Tcp((std::net::Ipv4Addr::LOCALHOST, 0).into())],
            drain_timeout: Duration::from_millis(100),
            ..Settings::default()
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What SIGHUP would use.
    #[must_use]
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    /// A new WebSocket.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn client(&self) -> Client {
        match self.try_client("/", &[]).await {
            Ok(client) => client,
            Err(response) => panic!("no WebSocket: {response:?}"),
        }
    }

    /// A new WebSocket on `path` with further request headers, or the refusal.
    ///
    /// # Errors
    /// What the server answered instead of 101.
    ///
    /// # Panics
    /// When there was no answer at all.
    pub async fn try_client(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Response> {
        let stream = self.connect().await.expect("a connection");
        within("an upgrade", Client::upgrade(stream, path, headers)).await
    }

    /// A socket, encrypted where the server wants it.
    ///
    /// # Errors
    /// Of the system or of TLS.
    pub async fn connect(&self) -> std::io::Result<Box<dyn tls::Io>> {
        within(
            "a connection",
            tls::connect(self.address, self.root.as_ref()),
        )
        .await
    }

    /// GET.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Response {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        self.request(&head).await
    }

    /// Any request without a body; see [`http::exchange`].
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn request(&self, head: &str) -> Response {
        let stream = self.connect().await.expect("a connection");
        let answered = within("an HTTP answer", http::exchange(stream, head)).await;
        answered.expect("an HTTP answer")
    }

    /// A value from `/metrics`; the name goes without `easypeers_tracker_`.
    ///
    /// # Panics
    /// When there is no such series.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let start = format!("easypeers_tracker_{series} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        let value = line.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no series {series} in:\n{text}"))
    }

    /// Waits until a series of `/metrics` has the value.
    pub async fn metric_becomes(&self, series: &str, value: f64) {
        let what = format!("{series} is {value}");
        until(&what, || async { self.metric(series).await == value }).await;
    }

    /// Counts of one swarm, asked for by a client of its own.
    pub async fn scrape(&self, info_hash: InfoHash) -> ScrapeEntry {
        let mut client = self.client().await;
        let entries = client.scrape(&[info_hash]).await;
        entries[0]
    }

    /// Waits until a swarm has so many seeders and leechers.
    pub async fn counts_become(&self, info_hash: InfoHash, complete: u32, incomplete: u32) {
        let what = format!("{info_hash} has {complete} and {incomplete} peers");
        let mut client = self.client().await;
        loop {
            let entry = within(&what, client.scrape(&[info_hash])).await[0];
            if (entry.complete, entry.incomplete) == (complete, incomplete) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Begins to drain; [`stopped`](Self::stopped) waits for the end of it.
    pub fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until `run` has returned.
    ///
    /// # Panics
    /// When the server panicked.
    pub async fn stopped(&mut self) {
        self.stop();
        within("the server's end", &mut self.running)
            .await
            .expect("no panic in the server");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}
