//! What certificates say: which region, until when, by which authority.
//!
//! Extensions are read by webpki, which also verifies chains. What it does not give away, the names and the times, stands in
//! a fixed place before them and is read here (RFC 5280, 4.1). Nothing here verifies anything: what is read from a
//! certificate that was not verified is a claim.

use super::error::{Error, Result};
use super::name::{Peer, is_ours, parse_uri, shown};
use super::time;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tw_types::RegionId;
use webpki::EndEntityCert;

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
    let bad = |reason: &str| Error::BadCertificate { who: describe(certificate), reason: reason.to_owned() };
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| bad(&error.to_string()))?;
    let fields = fields(certificate).ok_or_else(|| bad("it cannot be read"))?;
    let mut ours = parsed.valid_uri_names().filter(|uri| is_ours(uri));
    // Two names are none: which one counts would be a matter of who reads.
    match (ours.next().and_then(parse_uri), ours.next()) {
        (Some((region, name)), None) => Ok(Peer { region, name, expires_at_ms: fields.not_after_ms }),
        _ => Err(Error::NoRegion { who: describe(certificate) }),
    }
}

/// The fields that stand before the extensions.
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

/// Reads SEQUENCE { tbs SEQUENCE { \[0\] version, serial, algorithm, issuer, validity, subject … } … }.
pub(super) fn fields(certificate: &[u8]) -> Option<Fields> {
    let outer = element(certificate)?;
    let tbs = element(outer.value)?;
    let version = element(tbs.value)?;
    let serial = if version.tag == 0xa0 { element(version.rest)? } else { version };
    let algorithm = element(serial.rest)?;
    let issuer = element(algorithm.rest)?;
    let validity = element(issuer.rest)?;
    let subject = element(validity.rest)?;
    let not_before = element(validity.value)?;
    let not_after = element(not_before.rest)?;
    Some(Fields {
        issuer: common_name(issuer.value).unwrap_or_default(),
        subject: common_name(subject.value).unwrap_or_default(),
        not_before_ms: time::read(not_before.tag, not_before.value)?,
        not_after_ms: time::read(not_after.tag, not_after.value)?,
    })
}

/// The public key, as SubjectPublicKeyInfo.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(parsed.subject_public_key_info().to_vec())
}

/// Whom a certificate says it is of, for the text of an error. The words are the certificate's own and may be a lie.
pub(super) fn describe(certificate: &CertificateDer<'_>) -> String {
    let named = EndEntityCert::try_from(certificate)
        .ok()
        .and_then(|parsed| parsed.valid_uri_names().find_map(parse_uri));
    match (named, fields(certificate)) {
        (Some((region, name)), _) => format!("region `{region}` (`{name}`)"),
        (None, Some(fields)) => format!("`{}`", shown(&fields.subject)),
        (None, None) => "an unreadable certificate".to_owned(),
    }
}

/// The value of the common name (2.5.4.3) in a Name: sets of SEQUENCE { OID, text }.
fn common_name(mut name: &[u8]) -> Option<String> {
    loop {
        let set = element(name)?;
        let oid = element(element(set.value)?.value)?;
        if oid.value == [0x55, 0x04, 0x03] {
            return String::from_utf8(element(oid.rest)?.value.to_vec()).ok();
        }
        name = set.rest;
    }
}

/// One element of DER, and what follows it.
struct Element<'a> {
    tag: u8,
    value: &'a [u8],
    rest: &'a [u8],
}

/// Takes the first element of `input`. None when it is not whole, or longer than 32 bits can say.
fn element(input: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (digits, rest) =
                rest.split_at_checked(long & 0x7f).filter(|(digits, _)| digits.len() <= 4)?;
            let length = digits.iter().fold(0_u32, |length, &digit| (length << 8) | u32::from(digit));
            (usize::try_from(length).ok()?, rest)
        }
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, value, rest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn certificate() -> Vec<u8> {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["host".to_owned()]).unwrap();
        params.not_before = time::date!(1_700_000_000_000);
        params.not_after = time::date!(4_200_000_000_000);
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
