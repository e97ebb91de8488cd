//! Encryption: who is trusted, and how the password exchange is bound to the channel.

use super::address::{Address, Host, TlsMode};
use crate::Error;
use aws_lc_rs::digest;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme,
};

/// Encrypts an open connection after the server has agreed to.
pub(crate) async fn encrypt<S>(stream: S, address: &Address) -> Result<TlsStream<S>, Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let Host::Tcp(host) = &address.host else {
        return Err(Error::Protocol("a Unix socket is not encrypted".into()));
    };
    let failed = |reason: String| Error::Tls { address: address.to_string(), reason };
    let name = ServerName::try_from(host.clone()).map_err(|error| failed(error.to_string()))?;
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(address, provider)?))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| failed(error.to_string()))
}

/// The certificate check that a [`TlsMode`] asks for.
#[derive(Debug)]
struct Verifier {
    /// None: any certificate will do.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    any_host: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(address: &Address, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let wanted = match address.tls {
            TlsMode::Disable | TlsMode::Prefer => false,
            TlsMode::Require => address.root_certificate.is_some(),
            TlsMode::VerifyCa | TlsMode::VerifyFull => true,
        };
        let authorities = if wanted {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(address)?), provider.clone());
            Some(builder.build().map_err(|error| Error::Tls {
                address: address.to_string(),
                reason: format!("the trusted certificates cannot be used: {error}"),
            })?)
        } else {
            None
        };
        Ok(Self { authorities, any_host: address.tls < TlsMode::VerifyFull, provider })
    }
}

fn roots(address: &Address) -> Result<RootCertStore, Error> {
    let failed = |reason: String| Error::Tls { address: address.to_string(), reason };
    let mut roots = RootCertStore::empty();
    match &address.root_certificate {
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                failed(format!("the root certificate `{}` cannot be read: {error}", path.display()))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(failed("there is no trusted certificate: name a PEM file with `sslrootcert`".into()));
    }
    Ok(roots)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain has been checked before the name is.
            Err(RustlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_host => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The `tls-server-end-point` binding of a connection: the hash of the server's certificate, by the hash that signed it
/// (RFC 5929, section 4.1). None when the certificate's signature names no single hash.
pub(crate) fn server_end_point<S>(stream: &TlsStream<S>) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// Finds the signature algorithm in a certificate: SEQUENCE { tbs SEQUENCE, SEQUENCE { OID … } … } (RFC 5280, 4.1).
fn signature_hash(certificate: &[u8]) -> Option<&'static digest::Algorithm> {
    let (outer, _) = der(certificate)?;
    let (_tbs, rest) = der(outer)?;
    let (algorithm, _) = der(rest)?;
    let (oid, _) = der(algorithm)?;
    // PKCS #1 is 1.2.840.113549.1.1.n, ECDSA with SHA-2 is 1.2.840.10045.4.3.n (RFC 8017 A.2.4, RFC 5758 3.2).
    match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 4 | 5 | 11] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 12] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 13] => Some(&digest::SHA512),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 2] => Some(&digest::SHA256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3] => Some(&digest::SHA384),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 4] => Some(&digest::SHA512),
        _ => None,
    }
}

/// The value of the first DER element of `input`, and what follows it.
fn der(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_the_one_that_signed_the_certificate() {
        // tbs of 1 byte, then the algorithm ecdsa-with-SHA384.
        let oid = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 3];
        let mut inner = vec![0x30, 1, 0, 0x30, oid.len() as u8];
        inner.extend_from_slice(&oid);
        let mut certificate = vec![0x30, 0x81, inner.len() as u8];
        certificate.extend_from_slice(&inner);
        assert_eq!(signature_hash(&certificate), Some(&digest::SHA384));
    }

    proptest! {
        #[test]
        fn no_certificate_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _known_or_not = signature_hash(&bytes);
        }
    }
}
