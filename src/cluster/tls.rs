use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::error::{ClusterError, ClusterErrorKind};

/// Returns a TLS configuration that trusts the certificates of the operating system, or of the file `SSL_CERT_FILE`.
///
/// Its cryptography is chosen here: an application may contain several providers without a default.
pub(super) fn client_config() -> Result<ClientConfig, ClusterError> {
    let mut roots = RootCertStore::empty();
    // Without any certificate, servers are not trusted, and that is reported.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClusterError::new(ClusterErrorKind::Config).caused_by(error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
