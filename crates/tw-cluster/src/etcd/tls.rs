//! Encrypted connections to etcd.

use super::options::EtcdTls;
use crate::{Error, Result};
use std::path::Path;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// How a connection is protected, made of the files that are named.
///
/// # Errors
/// [`Error::InvalidOption`] for a file that cannot be read.
pub(super) fn config(options: &EtcdTls) -> Result<ClientTlsConfig> {
    let config = ClientTlsConfig::new();
    let config = match read(&options.ca)? {
        Some(authorities) => config.ca_certificate(Certificate::from_pem(authorities)),
        None => config.with_native_roots(),
    };
    Ok(match (read(&options.certificate)?, read(&options.key)?) {
        (Some(certificate), Some(key)) => config.identity(Identity::from_pem(certificate, key)),
        _ => config,
    })
}

/// What a file holds; None where none is named.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let failed = |error: std::io::Error| Error::InvalidOption {
        option: "tls",
        value: format!("{}: {error}", path.display()),
        rule: "files that can be read",
    };
    std::fs::read(path).map(Some).map_err(failed)
}

/// The error of files that can be read, and of which no connection can be made.
pub(super) fn unusable(options: &EtcdTls, error: &dyn std::error::Error) -> Error {
    let EtcdTls { ca, certificate, key } = options;
    let value = format!(
        "ca `{}`, certificate `{}`, key `{}`: {}",
        ca.display(),
        certificate.display(),
        key.display(),
        tw_types::chain(error)
    );
    Error::InvalidOption { option: "tls", value, rule: "PEM files of certificates, and of the key of one" }
}
