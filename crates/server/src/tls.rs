//! TLS: a certificate and its key from PEM files.

use crate::error::{Result, ServeError};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads a certificate, with those that lead to its root behind it, and its private key, both in PEM. TLS 1.2 and 1.3.
///
/// # Errors
/// [`ServeError::Tls`] for a file that is missing or holds something else, and for a key of another certificate.
pub fn tls_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let bad = |path: &Path, problem: String| ServeError::Tls { path: path.into(), problem };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(certificate, format!("no certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(bad(certificate, "holds no certificate in PEM".into()));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| bad(key, format!("no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| bad(certificate, format!("cannot be used with {}: {error}", key.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
