//! What certificates say: which region, until when, by which authority.
//!
//! Nothing here verifies anything: what is read from a certificate that was not verified is a claim.

use super::error::{Error, Result};
use super::name::{Peer, is_ours, parse_uri, shown};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tw_types::RegionId;
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate, X509Error, X509Name};

/// The region that a chain of certificates speaks for, and its name: what the first of them, which is the peer's own, says.
/// The chain must have been verified already; [`super::accept`] and [`super::connect`] only give streams for which that is so.
///
/// # Errors
/// [`Error::NoCertificate`] for an empty chain, [`Error::NoRegion`] for a certificate that names no region, more than one,
/// or one in another form than `tradewind://region/<id>/<name>`, and [`Error::BadCertificate`] for bytes that are no
/// certificate.
pub fn peer_region(chain: &[CertificateDer<'_>]) -> Result<(RegionId, String)> {
    let peer = peer(chain.first().ok_or(Error::NoCertificate)?)?;
    Ok((peer.region, peer.name))
}

/// Reads the region of one certificate.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> Result<Peer> {
    let bad =
        |error: X509Error| Error::BadCertificate { who: describe(certificate), reason: error.to_string() };
    let parsed = parse(certificate).map_err(bad)?;
    let mut ours = uris(&parsed).into_iter().filter(|uri| is_ours(uri));
    // Two names are none: which one counts would be a matter of who reads.
    match (ours.next().and_then(parse_uri), ours.next()) {
        (Some((region, name)), None) => {
            Ok(Peer { region, name, expires_at_ms: Fields::of(&parsed).not_after_ms })
        }
        _ => Err(Error::NoRegion { who: describe(certificate) }),
    }
}

/// Who it is of and by, and when it is valid.
pub(super) struct Fields {
    /// The common name of who issued it; empty when there is none.
    pub(super) issuer: String,
    /// The common name of who it is for; empty when there is none.
    pub(super) subject: String,
    /// The first moment at which it is valid, in milliseconds since 1970.
    pub(super) not_before_ms: u64,
    /// The last second at which it is valid, in milliseconds since 1970.
    pub(super) not_after_ms: u64,
}

/// Reads names and times. None of bytes that are no certificate.
pub(super) fn fields(certificate: &[u8]) -> Option<Fields> {
    Some(Fields::of(&parse(certificate).ok()?))
}

impl Fields {
    fn of(parsed: &X509Certificate<'_>) -> Self {
        let common_name = |name: &X509Name<'_>| {
            let first = name.iter_common_name().next();
            first.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
        };
        // What lies before 1970 is told apart by nobody.
        let ms = |at: ASN1Time| u64::try_from(at.timestamp()).unwrap_or(0).saturating_mul(1_000);
        Self {
            issuer: common_name(parsed.issuer()),
            subject: common_name(parsed.subject()),
            not_before_ms: ms(parsed.validity().not_before),
            not_after_ms: ms(parsed.validity().not_after),
        }
    }
}

/// The public key, as SubjectPublicKeyInfo.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Some(parse(certificate).ok()?.public_key().raw.to_vec())
}

/// Whom a certificate says it is of, for the text of an error. The words are the certificate's own and may be a lie.
pub(super) fn describe(certificate: &CertificateDer<'_>) -> String {
    let Ok(parsed) = parse(certificate) else { return "an unreadable certificate".to_owned() };
    match uris(&parsed).into_iter().find_map(parse_uri) {
        Some((region, name)) => format!("region `{region}` (`{name}`)"),
        None => format!("`{}`", shown(&Fields::of(&parsed).subject)),
    }
}

fn parse(certificate: &[u8]) -> std::result::Result<X509Certificate<'_>, X509Error> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(X509Error::InvalidCertificate),
        Err(error) => Err(error.into()),
    }
}

/// The URIs among its alternative names; none where those cannot be read.
fn uris<'a>(parsed: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::time;
    use proptest::prelude::*;

    fn certificate() -> Vec<u8> {
        certificate_until(4_200_000_000_000)
    }

    fn certificate_until(not_after_ms: u64) -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["host".to_owned()]).unwrap();
        params.not_before = time::date!(1_700_000_000_000);
        params.not_after = time::date!(not_after_ms);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_fields_of_a_certificate_are_what_it_was_made_with() {
        let fields = fields(&certificate()).unwrap();
        assert_eq!((fields.not_before_ms, fields.not_after_ms), (1_700_000_000_000, 4_200_000_000_000));
        assert_eq!(
            (fields.issuer, fields.subject),
            ("rcgen self signed cert".into(), "rcgen self signed cert".into())
        );
    }

    proptest! {
        #[test]
        fn a_moment_that_is_written_is_read_back(at_s in 0_u64..253_000_000_000) {
            let fields = fields(&certificate_until(at_s * 1000)).unwrap();
            prop_assert_eq!(fields.not_after_ms, at_s * 1000);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _known_or_not = fields(&bytes);
            let _known_or_not = peer_region(&[CertificateDer::from(bytes)]);
        }

        #[test]
        fn no_damage_of_a_certificate_makes_it_panic(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            kept in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = certificate();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(kept.index(bytes.len()) + 1);
            let _known_or_not = fields(&bytes);
            let _known_or_not = peer_region(&[CertificateDer::from(bytes)]);
        }
    }
}
