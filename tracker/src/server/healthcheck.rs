//! `tracker healthcheck`: asks the tracker on this machine, for images without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::config::{Listen, Settings};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks `/healthz` of the first address in `settings`.
///
/// # Errors
/// One sentence for the operator.
pub fn healthcheck(settings: &Settings) -> Result<(), String> {
    let listen = settings
        .listen
        .first()
        .ok_or("nothing to ask: no --listen")?;
    let status = match listen {
        Listen::Tcp(address) => ask(*address, settings.is_tls()),
        Listen::Unix(path) => ask_path(path, settings.is_tls()),
    }
    .map_err(|error| format!("no answer from {listen}: {error}"))?;
    if status.starts_with("HTTP/1.1 200") {
        Ok(())
    } else {
        let first = status.lines().next().unwrap_or_default();
        Err(format!("{listen} answers {first:?}"))
    }
}

fn ask(address: SocketAddr, tls: bool) -> io::Result<String> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let connect = |ip| TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), TIMEOUT);
    let stream = connect(ip).or_else(|error| match ip {
        // [::] may have fallen back to IPv4.
        IpAddr::V6(v6) if v6.is_loopback() => connect(Ipv4Addr::LOCALHOST.into()),
        _ => Err(error),
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    speak(stream, ServerName::from(ip), tls)
}

fn ask_path(path: &Path, tls: bool) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    speak(
        stream,
        ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
        tls,
    )
}

fn speak(
    mut stream: impl Read + Write,
    name: ServerName<'static>,
    tls: bool,
) -> io::Result<String> {
    if !tls {
        return exchange(&mut stream);
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    exchange(&mut StreamOwned::new(client, stream))
}

fn exchange(stream: &mut (impl Read + Write)) -> io::Result<String> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // A TLS peer may end without a notice; what came counts.
    let ended = stream.take(4096).read_to_end(&mut answer);
    if answer.is_empty() {
        ended?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The question is whether our own process on this machine answers, not who it is: its certificate
/// names the public host, never this address. Signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
