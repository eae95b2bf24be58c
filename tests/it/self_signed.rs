//! `--tls-self-signed`: an authority of the tracker's own, and what it can vouch for.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use e2e::{TempDir, TestServer};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::json;

use crate::mesh::process::Process;

/// A tracker with its authority in `lan.pem`; clients trust that authority.
async fn start(files: &TempDir) -> TestServer {
    let path = files.path("lan.pem");
    let point = path.clone();
    let mut server = TestServer::with(|settings| settings.tls_self_signed = Some(point)).await;
    server.root = Some(CertificateDer::from_pem_file(path).unwrap());
    server
}

#[tokio::test]
async fn clients_that_trust_the_authority_connect_before_and_after_a_restart() {
    let files = TempDir::new();
    let mut first = start(&files).await;
    first.client().await.fence().await;
    let mode = files
        .path("lan.pem")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let root = first.root.clone();
    first.stopped().await;
    let second = start(&files).await;
    assert_eq!(second.root, root);
    second.client().await.fence().await;
    let settings = {
        let mut settings = TestServer::settings();
        settings.tls_self_signed = Some(files.path("lan.pem"));
        settings
    };
    second.reloader().reload(&settings).unwrap();
    second.client().await.fence().await;
}

#[tokio::test]
async fn the_page_tells_how_to_trust_it() {
    let files = TempDir::new();
    let server = start(&files).await;
    let page = server.get("/trust").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .contains("default-src")
    );
    let certificate = server.get("/trust.crt").await;
    assert_eq!(
        certificate.header("content-type"),
        "application/x-x509-ca-cert"
    );
    let root = CertificateDer::from_pem_slice(certificate.body.as_bytes()).unwrap();
    assert_eq!(Some(&root), server.root.as_ref());
    assert!(!certificate.body.contains("PRIVATE KEY"));
    let path = files.write("trust.crt", &certificate.body);
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(openssl.stdout).unwrap();
    let fingerprint = text.trim().split_once('=').unwrap().1;
    assert!(page.body.contains(fingerprint), "{fingerprint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_peers_meet_over_wss_with_the_authority_they_are_given() {
    let files = TempDir::new();
    let server = start(&files).await;
    let certificate = files.write("trust.crt", server.get("/trust.crt").await.body);
    let url = format!("wss://localhost:{}", server.address().port());
    let arguments = [
        "over tls",
        "--tracker",
        &url,
        "--bind",
        "127.0.0.1",
        "--json",
    ];
    let peer = |trusting: bool| {
        let mut command = crate::program::command("peer", &arguments);
        if trusting {
            command.env("SSL_CERT_FILE", &certificate);
        }
        Process::spawn(command)
    };
    let stranger = peer(false);
    let (alice, bob) = (peer(true), peer(true));
    let (a, b) = (alice.address().await, bob.address().await);
    alice.event(json!({"event": "connect", "peer": b})).await;
    bob.event(json!({"event": "connect", "peer": a})).await;
    stranger
        .event(json!({"event": "state", "state": "offline", "links": 0}))
        .await;
}

#[tokio::test]
async fn other_trackers_have_no_such_page() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/trust").await.status, 404);
    assert_eq!(server.get("/trust.crt").await.status, 404);
}

/// Whoever steals the authority's key gets no web site with it.
#[tokio::test]
async fn the_authority_vouches_for_private_names_only() {
    let files = TempDir::new();
    let server = start(&files).await;
    let root = server.root.clone().unwrap();
    let key = PrivateKeyDer::from_pem_file(files.path("lan.pem")).unwrap();
    let key = KeyPair::try_from(&key).unwrap();
    // The authority's own name, as the certificate that the server shows has it.
    let name = common_name(&root);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let issuer = Issuer::new(authority, key);
    for (host, trusted) in [
        ("localhost", true),
        ("box.local", true),
        ("example.org", false),
    ] {
        let own = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap();
        let shaken = handshake(host, &root, certificate.der(), own.into());
        assert_eq!(shaken.is_ok(), trusted, "{host}: {shaken:?}");
    }
}

/// The text behind the object identifier of common names, 2.5.4.3.
fn common_name(certificate: &[u8]) -> String {
    let at = certificate
        .windows(5)
        .position(|five| five == [6, 3, 0x55, 4, 3])
        .unwrap();
    let length = usize::from(certificate[at + 6]);
    let text = &certificate[at + 7..at + 7 + length];
    String::from_utf8(text.to_vec()).unwrap()
}

fn handshake(
    host: &str,
    root: &CertificateDer<'static>,
    certificate: &CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let chain = vec![certificate.clone(), root.clone()];
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).unwrap();
        server.read_tls(&mut &*flight).unwrap();
        server.process_new_packets()?;
        let mut flight = Vec::new();
        server.write_tls(&mut flight).unwrap();
        client.read_tls(&mut &*flight).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}
