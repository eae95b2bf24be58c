//! TLS for the HTTP part; after the upgrade rustls' connection moves beside the outbox.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::authority::{self, Trust};
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
    /// The file of `--tls-self-signed` cannot be read or made.
    #[error("cannot keep a certificate authority in {path}: {error}", path = path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// No certificate can be made of it.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// They do not fit together.
    #[error("certificate and key do not make a TLS server: {0}")]
    Config(#[from] rustls::Error),
}

/// The certificate in force; it can be replaced while serving.
#[derive(Clone)]
pub(super) struct Tls(Arc<RwLock<Current>>);

#[derive(Clone)]
struct Current {
    acceptor: TlsAcceptor,
    /// With a certificate of our own.
    trust: Option<Arc<Trust>>,
}

impl Tls {
    /// Reads the files that the settings name, if they do.
    pub(super) fn load(settings: &Settings) -> Result<Option<Self>, TlsError> {
        Ok(current(settings)?.map(|current| Self(Arc::new(RwLock::new(current)))))
    }

    /// Reads them again; open connections keep what they have.
    pub(super) fn reload(&self, settings: &Settings) -> Result<(), TlsError> {
        if let Some(current) = current(settings)? {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = current;
        }
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current().acceptor
    }

    pub(super) fn trust(&self) -> Option<Arc<Trust>> {
        self.current().trust
    }

    fn current(&self) -> Current {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

fn current(settings: &Settings) -> Result<Option<Current>, TlsError> {
    if let Some(path) = &settings.tls_self_signed {
        let issued = authority::issue(path)?;
        return Ok(Some(Current {
            acceptor: acceptor(issued.chain, issued.key)?,
            trust: Some(Arc::new(issued.trust)),
        }));
    }
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
    Ok(Some(Current {
        acceptor: acceptor(chain, key)?,
        trust: None,
    }))
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
