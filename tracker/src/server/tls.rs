//! TLS for the HTTP part; after the upgrade rustls' connection moves beside the outbox.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Settings;

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of its kind.
    #[error("cannot read a {what} from {path}: {error}", path = path.display())]
    Pem {
        /// Certificate or private key.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The reason.
        error: rustls::pki_types::pem::Error,
    },
    /// They do not fit together.
    #[error("certificate and key do not make a TLS server: {0}")]
    Config(#[from] rustls::Error),
}

/// The certificate in force; it can be replaced while serving.
#[derive(Clone)]
pub(super) struct Tls(Arc<RwLock<TlsAcceptor>>);

impl Tls {
    /// Reads the files that the settings name, if they do.
    pub(super) fn load(settings: &Settings) -> Result<Option<Self>, TlsError> {
        let acceptor = acceptor(settings)?;
        Ok(acceptor.map(|acceptor| Self(Arc::new(RwLock::new(acceptor)))))
    }

    /// Reads them again; open connections keep what they have.
    pub(super) fn reload(&self, settings: &Settings) -> Result<(), TlsError> {
        if let Some(acceptor) = acceptor(settings)? {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        }
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, TlsError> {
    let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
        return Ok(None);
    };
    let pem = |what, path: &Path, error| TlsError::Pem {
        what,
        path: path.to_owned(),
        error,
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| match chain.is_empty() {
            true => Err(rustls::pki_types::pem::Error::NoItemsFound),
            false => Ok(chain),
        })
        .map_err(|error| pem("certificate", cert, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| pem("private key", key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
