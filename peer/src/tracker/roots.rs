//! Whom `wss://` trackers' certificates may come from: the public authorities, and those of the PEM
//! file that `SSL_CERT_FILE` names, such as the authority of a tracker on a LAN.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

pub(super) fn store() -> RootCertStore {
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
