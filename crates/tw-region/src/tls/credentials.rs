//! What one node shows, and whom it trusts: `region.pem`, `region.key` and `ca.pem` of one folder, checked and ready for use.
//!
//! Loaded once and never changed: a connection that was made with them keeps them, and [`super::Live`] holds those for the next.

use super::certificate;
use super::error::{Error, Result};
use super::name::Peer;
use super::verify::{Authorities, Verdict};
use super::{Purpose, files};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tw_types::RegionId;

/// The least that [`Options::handshake_ms_max`] may be.
pub const HANDSHAKE_MS_MIN: u64 = 100;
/// The most that [`Options::handshake_ms_max`] may be.
pub const HANDSHAKE_MS_MAX: u64 = 600_000;

const ISSUE: &str = "make it with `tradewind region ca issue`";
const BUNDLE: &str = "copy `ca.pem` from the folder of the authority";

/// How often files are read again because they changed while they were read.
const READS_MAX: u32 = 8;

/// How connections begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long a peer may take from its first byte until it is admitted, in milliseconds: [`HANDSHAKE_MS_MIN`] to
    /// [`HANDSHAKE_MS_MAX`], 10000 unless told.
    pub handshake_ms_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { handshake_ms_max: 10_000 }
    }
}

/// What a node shows, and whom it trusts.
pub struct Credentials {
    own: Peer,
    shown: Arc<SingleCertAndKey>,
    authorities: Arc<Authorities>,
    options: Options,
    /// `region.pem` and `ca.pem` as they were read. A key comes with a certificate of its own, so these two say everything.
    read: Certificates,
}

/// The bytes of `region.pem` and of `ca.pem`.
type Certificates = (Vec<u8>, Vec<u8>);

impl Credentials {
    /// Loads them from a folder. Everything that a peer would refuse is refused here already.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Unusable`], naming the file; [`Error::Invalid`] for options out of bounds;
    /// [`Error::NoRegion`], [`Error::Expired`], [`Error::NotYetValid`], [`Error::UnknownAuthority`] about the own certificate.
    pub fn load(folder: &Path, options: Options) -> Result<Self> {
        if !(HANDSHAKE_MS_MIN..=HANDSHAKE_MS_MAX).contains(&options.handshake_ms_max) {
            return Err(Error::Invalid {
                what: "`handshake_ms_max`",
                given: options.handshake_ms_max.to_string(),
                rule: "it is 100 to 600000",
            });
        }
        let provider = Arc::new(provider());
        let (read, keys) = read_all(folder)?;
        let trusted = files::certificates(&folder.join(files::AUTHORITIES), &read.1, BUNDLE)?;
        let authorities = Authorities::new(trusted, provider.clone()).map_err(|reason| Error::Unusable {
            path: folder.join(files::AUTHORITIES),
            reason,
            remedy: BUNDLE,
        })?;
        let chain = files::certificates(&folder.join(files::REGION), &read.0, ISSUE)?;
        let own = authorities.judge_own(&chain)?;
        let shown = certified(folder, chain, &keys, &provider)?;
        Ok(Self {
            own,
            shown: Arc::new(SingleCertAndKey::from(shown)),
            authorities: Arc::new(authorities),
            options,
            read,
        })
    }

    /// The region that these credentials are of.
    #[must_use]
    pub fn region(&self) -> RegionId {
        self.own.region
    }

    /// That region's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.own.name
    }

    /// When they expire, in milliseconds since 1970. Peers refuse new connections from then on; running ones go on.
    #[must_use]
    pub fn expires_at_ms(&self) -> u64 {
        self.own.expires_at_ms
    }

    /// How connections begin.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// The same, but showing what is in another folder, however wrong that is.
    #[cfg(test)]
    pub(super) fn showing(mut self, folder: &Path) -> Self {
        let (read, keys) = read_all(folder).unwrap();
        let chain = files::certificates(folder, &read.0, ISSUE).unwrap();
        let shown = certified(folder, chain, &keys, &provider()).unwrap();
        self.shown = Arc::new(SingleCertAndKey::from(shown));
        self
    }

    /// The check of a server, for a client of another make.
    #[cfg(test)]
    pub(super) fn inspector(&self, expected: RegionId, verdict: &Verdict) -> super::verify::Inspector {
        self.authorities.inspector(Some(expected), verdict)
    }

    /// Whether a folder still holds what these were loaded from.
    pub(super) fn are_those_of(&self, folder: &Path) -> Result<bool> {
        Ok(self.read == read(folder)?)
    }

    /// What a server of one connection goes by; `verdict` will say who came.
    pub(super) fn server(&self, verdict: &Verdict) -> Result<ServerConfig> {
        let inspector = self.authorities.inspector(None, verdict);
        let mut config = ServerConfig::builder_with_provider(self.authorities.provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(Error::Tls)?
            .with_client_cert_verifier(Arc::new(inspector))
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = Purpose::ALL.map(|purpose| purpose.alpn().to_vec()).into();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// What a client of one connection goes by, which wants to reach `expected`; `verdict` will say who answered.
    pub(super) fn client(
        &self,
        expected: RegionId,
        purpose: Purpose,
        verdict: &Verdict,
    ) -> Result<ClientConfig> {
        let inspector = self.authorities.inspector(Some(expected), verdict);
        let mut config = ClientConfig::builder_with_provider(self.authorities.provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(Error::Tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(inspector))
            .with_client_cert_resolver(self.shown.clone());
        config.alpn_protocols = vec![purpose.alpn().to_vec()];
        config.resumption = Resumption::disabled();
        // There is no host name, so there is none to tell.
        config.enable_sni = false;
        Ok(config)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The cryptography of links: the hybrid key exchange first, whatever the features of rustls prefer, and behind it those that a
/// build of another kind may need.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..default_provider()
    }
}

fn read(folder: &Path) -> Result<Certificates> {
    let chain = files::read(&folder.join(files::REGION), ISSUE)?;
    Ok((chain, files::read(&folder.join(files::AUTHORITIES), BUNDLE)?))
}

/// The certificates and the keys of one moment, although they may be replaced meanwhile: between two readings of
/// certificates that say the same, the key that belongs to them was there.
fn read_all(folder: &Path) -> Result<(Certificates, Vec<Vec<u8>>)> {
    let mut before = read(folder)?;
    let mut keys = Vec::new();
    for _ in 0..READS_MAX {
        keys = files::keys(&folder.join(files::REGION_KEY), ISSUE)?.into_iter().map(|(_, key)| key).collect();
        let after = read(folder)?;
        if after == before {
            break;
        }
        before = after;
    }
    Ok((before, keys))
}

/// The chain with that one of the keys that belongs to it.
fn certified(
    folder: &Path,
    chain: Vec<CertificateDer<'static>>,
    keys: &[Vec<u8>],
    provider: &CryptoProvider,
) -> Result<CertifiedKey> {
    for pem in keys {
        let Ok(key) = PrivateKeyDer::from_pem_slice(pem) else { continue };
        let Ok(key) = provider.key_provider.load_private_key(key) else { continue };
        if belongs(&*key, chain.first()) {
            return Ok(CertifiedKey::new(chain, key));
        }
    }
    Err(Error::Unusable {
        path: folder.join(files::REGION_KEY),
        reason: "it is not the key of the certificate in `region.pem`".to_owned(),
        remedy: "copy both files of one issue, or make another pair with `tradewind region ca issue --renew`",
    })
}

fn belongs(key: &dyn SigningKey, own: Option<&CertificateDer<'_>>) -> bool {
    let of_key = key.public_key().map(|key| key.to_vec());
    of_key.is_some() && of_key == own.and_then(certificate::public_key)
}
