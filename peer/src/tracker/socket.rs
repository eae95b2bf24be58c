//! Connections to a tracker: TCP, TLS with the roots of webpki, WebSocket; and one GET.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::url::TrackerUrl;
use crate::rt;

/// Time for address, TCP, TLS and upgrade together.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of the largest message from a tracker: an offer is at most 16 KiB, and JSON may write it
/// six times as long.
const MAX_MESSAGE: usize = 256 << 10;

/// Bytes of the largest answer to a GET, headers included.
const MAX_ANSWER: u64 = 64 << 10;

/// Time for a GET.
const GET: Duration = Duration::from_secs(3);

/// What a WebSocket runs on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Stream>>;

/// TLS towards trackers with certificates of the known authorities, and whatever else `extra`
/// certifies.
pub(super) fn tls(extra: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = known_roots();
    roots.add_parsable_certificates(extra.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        // The provider knows both versions of TLS that we compile in.
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    match config {
        Ok(config) => Arc::new(config),
        Err(error) => unreachable!("TLS versions without ciphers: {error}"),
    }
}

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

/// Connects and upgrades.
pub(super) async fn connect(url: &TrackerUrl, tls: &Arc<ClientConfig>) -> Result<Socket, String> {
    rt::timeout(CONNECT, upgrade(url, tls))
        .await
        .unwrap_or_else(|| Err(format!("no answer in {} s", CONNECT.as_secs())))
}

async fn upgrade(url: &TrackerUrl, tls: &Arc<ClientConfig>) -> Result<Socket, String> {
    let stream = open(url, tls).await.map_err(|error| words(&error))?;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MAX_MESSAGE);
    config.max_frame_size = Some(MAX_MESSAGE);
    tokio_tungstenite::client_async_with_config(url.uri(), stream, Some(config))
        .await
        .map(|(socket, _)| socket)
        .map_err(|error| error.to_string())
}

async fn open(url: &TrackerUrl, tls: &Arc<ClientConfig>) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((url.host(), url.port())).await?;
    tcp.set_nodelay(true)?;
    if !url.is_secure() {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(url.host().to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, tcp)
        .await?;
    Ok(Box::new(stream))
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

/// The body of a resource of the tracker's host, if it is there and small.
///
/// HTTP/1.0, so that the body ends with the connection (RFC 1945, section 7.2.2).
pub(super) async fn get(url: &TrackerUrl, path: &str, tls: &Arc<ClientConfig>) -> Option<Vec<u8>> {
    let fetch = async {
        let mut stream = open(url, tls).await.ok()?;
        let host = url.authority();
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream
            .take(MAX_ANSWER)
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
