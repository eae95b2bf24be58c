//! The client's side of TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A plain or encrypted socket.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Connects, and trusts exactly the certificate `root`, for the name `localhost`, if there is one.
///
/// # Errors
/// Of the system or of TLS.
///
/// # Panics
/// When `root` is no certificate.
pub async fn connect(
    address: SocketAddr,
    root: Option<&CertificateDer<'static>>,
) -> std::io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match root {
        Some(root) => wrap(stream, root).await,
        None => Ok(Box::new(stream)),
    }
}

/// TLS on an open socket; trusts exactly `root`, for the name `localhost`.
///
/// # Errors
/// Of TLS.
///
/// # Panics
/// When `root` is no certificate.
pub async fn wrap(
    stream: TcpStream,
    root: &CertificateDer<'static>,
) -> std::io::Result<Box<dyn Io>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    Ok(Box::new(stream))
}
