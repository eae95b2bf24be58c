//! `tracker healthcheck`: asks the tracker on this machine, for images without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use easypeers_cli::health;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::config::{Listen, Settings};

/// Asks `/healthz` of the first address in `settings`.
///
/// # Errors
/// One sentence for the operator.
pub fn healthcheck(settings: &Settings) -> Result<(), String> {
    let listen = settings
        .listen
        .first()
        .ok_or("nothing to ask: no --listen")?;
    let tls = settings.is_tls();
    let answer = match listen {
        Listen::Tcp(address) => health::connect(*address, true).and_then(|stream| {
            let name = ServerName::from(health::reachable(address.ip()));
            speak(stream, name, tls)
        }),
        Listen::Unix(path) => connect_path(path).and_then(|stream| {
            let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
            speak(stream, name, tls)
        }),
    };
    health::judge(listen, answer)
}

fn connect_path(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(health::TIMEOUT))?;
    stream.set_write_timeout(Some(health::TIMEOUT))?;
    Ok(stream)
}

fn speak(
    mut stream: impl Read + Write,
    name: ServerName<'static>,
    tls: bool,
) -> io::Result<String> {
    if !tls {
        return health::status_line(&mut stream);
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    health::status_line(&mut StreamOwned::new(client, stream))
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
