//! TCP, TLS with the roots of webpki, WebSocket; and HTTP/1.0.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{CONNECT, GET, MAX_ANSWER, MAX_MESSAGE, Received, closed_by_tracker, no_answer};
use crate::model::TrackerUrl;
use crate::rt;

/// The public authorities, and those of the PEM file that `SSL_CERT_FILE` names, such as the authority
/// of a tracker on a LAN.
fn known_roots() -> RootCertStore {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return roots;
    };
    let found =
        CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(certificates) => {
            roots.add_parsable_certificates(certificates);
        }
        Err(error) => tracing::warn!(?path, %error, "SSL_CERT_FILE cannot be read"),
    }
    roots
}

/// What a WebSocket runs on.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::tracker) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Trusts the known certificate authorities.
    pub(in crate::tracker) fn new() -> Self {
        Self::trusting(&[])
    }

    /// Trusts these and the authorities in `extra`.
    pub(in crate::tracker) fn trusting(extra: &[CertificateDer<'static>]) -> Self {
        let mut roots = known_roots();
        roots.add_parsable_certificates(extra.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // The provider knows both versions of TLS that we compile in.
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
        match config {
            Ok(config) => Self(Arc::new(config)),
            Err(error) => unreachable!("TLS versions without ciphers: {error}"),
        }
    }

    /// Connects and upgrades.
    pub(in crate::tracker) async fn connect(&self, url: &TrackerUrl) -> Result<Socket, String> {
        let connected = rt::timeout(CONNECT, self.upgrade(url)).await;
        connected.unwrap_or_else(|| Err(no_answer()))
    }

    async fn upgrade(&self, url: &TrackerUrl) -> Result<Socket, String> {
        let stream = self.open(url).await.map_err(|error| words(&error))?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MAX_MESSAGE);
        config.max_frame_size = Some(MAX_MESSAGE);
        tokio_tungstenite::client_async_with_config(url.uri(), stream, Some(config))
            .await
            .map(|(stream, _)| Socket(stream))
            .map_err(|error| error.to_string())
    }

    async fn open(&self, url: &TrackerUrl) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((url.host(), url.port())).await?;
        tcp.set_nodelay(true)?;
        if !url.is_secure() {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&self.0))
            .connect(name, tcp)
            .await?;
        Ok(Box::new(stream))
    }

    /// The body of a resource of the tracker's host, if it is there and small.
    ///
    /// Uses HTTP/1.0, where the body ends with the connection (RFC 1945, section 7.2.2).
    pub(in crate::tracker) async fn get(&self, url: &TrackerUrl, path: &str) -> Option<Vec<u8>> {
        let fetch = async {
            let mut stream = self.open(url).await.ok()?;
            let host = url.authority();
            let request =
                format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            stream
                .take(MAX_ANSWER as u64)
                .read_to_end(&mut answer)
                .await
                .ok()?;
            let head = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
            let status = std::str::from_utf8(&answer[..head]).ok()?.lines().next()?;
            let ok = status.starts_with("HTTP/1.") && status.split(' ').nth(1) == Some("200");
            ok.then(|| answer.split_off(head + 4))
        };
        rt::timeout(GET, fetch).await?
    }
}

/// A connection to a tracker.
pub(in crate::tracker) struct Socket(WebSocketStream<Box<dyn Stream>>);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

impl Socket {
    /// The next thing that arrives. Loses nothing when dropped before it is ready.
    pub(in crate::tracker) async fn receive(&mut self) -> Received {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Received::Text(text.as_str().to_owned()),
            Some(Ok(Message::Close(frame))) => {
                closed_by_tracker(frame.map(|frame| frame.reason.to_string()))
            }
            Some(Ok(_)) => Received::Other,
            Some(Err(error)) => Received::Closed(error.to_string()),
            None => closed_by_tracker(None),
        }
    }

    pub(in crate::tracker) async fn send(&mut self, text: String) -> Result<(), String> {
        let sent = self.0.send(Message::text(text)).await;
        sent.map_err(|error| error.to_string())
    }

    /// Asks for a sign of life: a ping is enough.
    pub(in crate::tracker) async fn ping(
        &mut self,
        _question: impl FnOnce() -> String,
    ) -> Result<(), String> {
        let sent = self.0.send(Message::Ping(Vec::new().into())).await;
        sent.map_err(|error| error.to_string())
    }

    pub(in crate::tracker) async fn close(&mut self) {
        // An error here means that the tracker is gone already.
        let _ = self.0.close(None).await;
    }
}

/// The error in words, without the number that the system gives it.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        _ => error.to_string(),
    }
}
