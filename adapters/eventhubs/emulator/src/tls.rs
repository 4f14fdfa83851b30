use std::sync::Arc;

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::config::Tls;

/// Reads the certificates and the key. The reason of an error names the file.
pub(crate) fn acceptor(files: &Tls) -> Result<TlsAcceptor, String> {
    let (certificate, key) = (&files.certificate, &files.key);
    let failed = |error: &dyn std::fmt::Display, file: &std::path::Path| format!("{}: {error}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(&error, certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error, key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| failed(&error, certificate))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
