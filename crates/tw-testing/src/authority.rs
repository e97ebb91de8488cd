//! Certificates for servers and clients of one test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// An authority of one test, with a folder for the files of its certificates, which goes when this value is dropped.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of a certificate (PEM).
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key (PKCS 8).
    pub key: PathBuf,
    /// Both, the key first.
    pub both: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tw-ca-").tempdir().expect("temporary folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        fs::write(authority.file(), certificate.pem()).expect("the authority's file");
        authority
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Makes a certificate for 127.0.0.1, for servers and clients, with this common name.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn issue(&self, name: &str) -> CertificateFiles {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let file = |end: &str, text: &str| {
            let path = self.folder.path().join(format!("{name}.{end}"));
            fs::write(&path, text).expect("a file of a certificate");
            path
        };
        CertificateFiles {
            certificate: file("pem", &certificate),
            key: file("key", &key.serialize_pem()),
            both: file("both.pem", &format!("{}{certificate}", key.serialize_pem())),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
