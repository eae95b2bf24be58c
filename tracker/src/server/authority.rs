//! `--tls-self-signed`: a certificate authority of this tracker's own, for networks where no public
//! one gives certificates.
//!
//! The file keeps the authority's certificate and key and is made once, so that a browser needs to
//! trust it once. The server's certificate is made from it at every start and reload, for the
//! names and addresses that the host has then, and is kept nowhere.
//!
//! Whoever trusts the authority trusts it for private names and addresses only (RFC 5280, 4.2.1.10):
//! a stolen key opens no connection to the rest of the web.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use super::TlsError;
use crate::clock::system_time;

const DAY: Duration = Duration::from_secs(86_400);

/// As long as a device is used.
const AUTHORITY_DAYS: u32 = 3650;

/// The most that browsers accept of any certificate that names a server.
const SERVER_DAYS: u32 = 397;

/// What the authority may vouch for, beside the host's name: the private and the local networks.
const NETWORKS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// What people need to trust it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The authority's certificate, PEM.
    pub pem: String,
    /// Its SHA-256, in hex pairs with colons, as browsers show it.
    pub fingerprint: String,
}

/// A certificate chain with its key, and the authority behind it.
pub(super) struct Issued {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) trust: Trust,
}

/// Reads the authority from `path`, or makes it, and issues a certificate for this host.
pub(super) fn issue(path: &Path) -> Result<Issued, TlsError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(file_error(path, error)),
    };
    let pem = |what, error| TlsError::Pem {
        what,
        path: path.to_owned(),
        error,
    };
    let certificate =
        CertificateDer::from_pem_slice(&text).map_err(|error| pem("certificate", error))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| pem("private key", error))?;
    let key = KeyPair::try_from(&key)?;
    let digest = Sha256::digest(&certificate);
    let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let trust = Trust {
        pem: encode(&certificate),
        fingerprint: pairs.join(":"),
    };
    let server_key = KeyPair::generate()?;
    let issuer = Issuer::new(authority(&key)?, key);
    let server = server()?.signed_by(&server_key, &issuer)?;
    Ok(Issued {
        chain: vec![server.der().clone(), certificate],
        key: server_key.into(),
        trust,
    })
}

fn encode(certificate: &CertificateDer<'_>) -> String {
    let pem = Pem::new("CERTIFICATE", certificate.to_vec());
    pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
}

fn file_error(path: &Path, error: io::Error) -> TlsError {
    TlsError::Authority {
        path: path.to_owned(),
        error,
    }
}

/// A new authority, readable by nobody else.
fn make(path: &Path) -> Result<Vec<u8>, TlsError> {
    let key = KeyPair::generate()?;
    let certificate = authority(&key)?.self_signed(&key)?;
    let text = certificate.pem() + &key.serialize_pem();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| file_error(path, error))?;
    Ok(text.into_bytes())
}

/// The name follows from the key, so that two trackers' authorities differ in every list.
fn authority(key: &KeyPair) -> Result<CertificateParams, TlsError> {
    let digest = Sha256::digest(key.public_key_raw());
    let mut params = params(AUTHORITY_DAYS)?;
    let name = format!("Easypeers tracker {}", HEXLOWER.encode(&digest[..2]));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let mut permitted: Vec<_> = NETWORKS
        .iter()
        .map(|&(network, bits)| {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network, bits))
        })
        .collect();
    let names = ["localhost".to_owned(), "local".to_owned()];
    let names = names.into_iter().chain(host_name());
    permitted.extend(names.map(GeneralSubtree::DnsName));
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

/// For this host as others on its networks call it.
fn server() -> Result<CertificateParams, TlsError> {
    let mut names = vec!["localhost".to_owned()];
    if let Some(name) = host_name() {
        names.push(format!("{name}.local"));
        names.push(name);
    }
    let mut params = params(SERVER_DAYS)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Easypeers tracker");
    for name in names {
        let name = name.try_into()?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    let addresses = addresses().into_iter().map(SanType::IpAddress);
    params.subject_alt_names.extend(addresses);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(days: u32) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // Clocks of other devices may be behind.
    let yesterday = system_time() - DAY;
    params.not_before = yesterday.into();
    params.not_after = (yesterday + DAY * days).into();
    Ok(params)
}

/// The host's own name, as far as it can stand in a certificate.
fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?.to_ascii_lowercase();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (!name.is_empty() && name != "localhost" && name.chars().all(good)).then_some(name)
}

/// Loopback, and the addresses from which this host speaks to others.
fn addresses() -> Vec<IpAddr> {
    let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    // A route is looked up, nothing is sent: these are documentation networks (RFC 5737, RFC 3849).
    for (from, to) in [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")] {
        let local = UdpSocket::bind(from).and_then(|socket| {
            socket.connect(to)?;
            socket.local_addr()
        });
        if let Ok(local) = local
            && NETWORKS
                .iter()
                .any(|&network| contains(network, local.ip()))
        {
            addresses.push(local.ip());
        }
    }
    addresses.dedup();
    addresses
}

fn contains((network, bits): (IpAddr, u8), address: IpAddr) -> bool {
    ipnet::IpNet::new(network, bits).is_ok_and(|network| network.contains(&address))
}
