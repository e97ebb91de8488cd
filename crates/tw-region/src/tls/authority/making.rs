//! Making certificates: what stands in those of authorities and of regions (RFC 5280).
//!
//! Pure but for the clock and for randomness: it touches no file.

use super::{DAYS_MAX, HOSTS_MAX, bad_host};
use crate::tls::error::{Error, Result};
use crate::tls::time;
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::net::IpAddr;
use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, DnsName};

/// Certificates begin this long before they are made: the clock of a peer may be behind.
const BACKDATED_MS: u64 = 60 * 60 * 1000;

/// Length of a serial number: 127 random bits, of which a certificate needs 64 at least (CA/Browser Forum BR 7.1).
const SERIAL_BYTES: usize = 16;

/// When a certificate is valid, in milliseconds since 1970, cut to whole seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

impl Span {
    /// From an hour ago for so many days from now.
    pub(super) fn of_days(days: u32) -> Result<Self> {
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(Error::Invalid {
                what: "the number of days that a certificate is valid",
                given: days.to_string(),
                rule: "it is 1 to 3650",
            });
        }
        let now_ms = time::now_ms();
        Ok(Self {
            from_ms: now_ms.saturating_sub(BACKDATED_MS),
            until_ms: now_ms + u64::from(days) * time::DAY_MS,
        })
    }

    /// The same, ended at `until_ms` if that is earlier.
    pub(super) fn until_at_most(&self, until_ms: u64) -> Self {
        Self { until_ms: self.until_ms.min(until_ms), ..*self }
    }
}

/// Whom a certificate is for.
pub(super) struct Subject {
    pub(super) uris: Vec<String>,
    common_name: String,
    hosts: Vec<SanType>,
}

impl Subject {
    pub(super) fn new(uri: String, common_name: String, hosts: &[String]) -> Result<Self> {
        if let Some(one_too_many) = hosts.get(HOSTS_MAX) {
            return Err(bad_host(one_too_many));
        }
        let hosts = hosts.iter().map(|host| host_name(host)).collect::<Result<_>>()?;
        Ok(Self { uris: vec![uri], common_name, hosts })
    }
}

fn host_name(host: &str) -> Result<SanType> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = DnsName::try_from(host).map_err(|_| bad_host(host))?;
    Ok(SanType::DnsName(name.as_ref().try_into()?))
}

/// The key of an authority, and the name that it signs with.
pub(super) struct Signer {
    key: KeyPair,
    params: CertificateParams,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("name", &self.params.distinguished_name).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key, and its certificate by itself. Its name has eight random digits behind it: two authorities of one name
    /// would be taken for each other.
    pub(super) fn new(name: &str, span: &Span) -> Result<(Self, CertificateDer<'static>)> {
        let digits = random::<4>()?.map(|byte| format!("{byte:02x}")).concat();
        let signer = Self::of(KeyPair::generate()?, &format!("{name} {digits}"));
        // One step between it and what it issues: the authority that replaces it.
        let params = signer.authority(span, 1)?;
        let own = params.self_signed(&signer.key)?.into();
        Ok((signer, own))
    }

    pub(super) fn of(key: KeyPair, common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { key, params }
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate for the key of another authority, under that one's name.
    pub(super) fn vouch_for(&self, other: &Self, span: &Span) -> Result<CertificateDer<'static>> {
        let params = other.authority(span, 0)?;
        Ok(params.signed_by(&other.key, &Issuer::from_params(&self.params, &self.key))?.into())
    }

    /// A new key and a certificate for it, with which its holder may connect and be connected to.
    pub(super) fn issue(&self, subject: &Subject, span: &Span) -> Result<(KeyPair, CertificateDer<'static>)> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.common_name.as_str());
        for uri in &subject.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        params.subject_alt_names.extend(subject.hosts.iter().cloned());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let params = dated(params, span)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        Ok((key, certificate.into()))
    }

    fn authority(&self, span: &Span, steps_max: u8) -> Result<CertificateParams> {
        let mut params = self.params.clone();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(steps_max));
        dated(params, span)
    }
}

/// Adds what every certificate has: when it is valid, a number that nobody can guess, and whose key signed it.
fn dated(mut params: CertificateParams, span: &Span) -> Result<CertificateParams> {
    params.not_before = time::date!(span.from_ms);
    params.not_after = time::date!(span.until_ms);
    let mut serial = random::<SERIAL_BYTES>()?;
    // Positive, and never shorter than it looks.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let filled = default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Error::Tls(rustls::Error::FailedToGetRandomBytes))?;
    Ok(bytes)
}

/// Certificates as text, one behind the other (RFC 7468).
pub(super) fn pem<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> String {
    let pems: Vec<Pem> = certificates.into_iter().map(|one| Pem::new("CERTIFICATE", one.as_ref())).collect();
    pem::encode_many_config(&pems, EncodeConfig::new().set_line_ending(LineEnding::LF))
}
