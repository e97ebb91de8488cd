//! The name of a region in its certificate: `tradewind://region/<id>/<name>`.
//!
//! One form only, so that what is read is what was written: no escapes, no leading zeros, no query. It comes from outside, in
//! certificates of peers.

use super::error::{Error, Result};
use std::fmt;
use tw_types::RegionId;

/// How long the name of a region or of an authority may be.
pub const NAME_BYTES_MAX: usize = 40;

const SCHEME: &str = "tradewind://";
const BEFORE: &str = "tradewind://region/";

/// The region at the other end, as its certificate says; the certificate has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The region's number, never 0.
    pub region: RegionId,
    /// The region's name, for people.
    pub name: String,
    /// When its certificate expires, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// The URI that names a region in its certificate.
///
/// # Errors
/// [`Error::Invalid`] for region 0, which is a region without a name, and for a name that is not 1 to [`NAME_BYTES_MAX`] of
/// `a` to `z`, `0` to `9` and `-`, beginning with a letter or a digit.
pub fn uri(region: RegionId, name: &str) -> Result<String> {
    if region == RegionId(0) {
        return Err(Error::Invalid {
            what: "the region",
            given: region.to_string(),
            rule: "a region that links has a number from 1 to 65535",
        });
    }
    check_name("the name of the region", name)?;
    Ok(format!("{BEFORE}{region}/{name}"))
}

/// Reads the URI that [`uri`] writes. None for every other text.
#[must_use]
pub fn parse_uri(text: &str) -> Option<(RegionId, String)> {
    let (id, name) = text.strip_prefix(BEFORE)?.split_once('/')?;
    let canonical = !id.starts_with('0') && id.bytes().all(|byte| byte.is_ascii_digit());
    let region = id.parse().ok().filter(|_| canonical)?;
    is_name(name).then(|| (RegionId(region), name.to_owned()))
}

/// Whether a URI is of Tradewind at all, well-formed or not.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// Checks the name of a region or of an authority.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(Error::Invalid {
        what,
        given: shown(name),
        rule: "a name has 1 to 40 characters of `a` to `z`, `0` to `9` and `-`, and begins with a letter or a digit",
    })
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(known) && !name.starts_with('-')
}

/// Text from outside as it may stand in a log: no control characters, and not long.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region `{}` (`{}`)", self.region, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_uri_of_a_region_has_one_form() {
        assert_eq!(uri(RegionId(7), "eu-west").unwrap(), "tradewind://region/7/eu-west");
        for wrong in [
            "tradewind://region/07/eu",
            "tradewind://region/0/eu",
            "tradewind://region/+7/eu",
            "tradewind://region/65536/eu",
            "tradewind://region/7/",
            "tradewind://region/7",
            "tradewind://region/7/eu/west",
            "tradewind://region/7/eu?x",
            "tradewind://region/7/EU",
            "spiffe://region/7/eu",
            "tradewind://node/7/eu",
            "",
        ] {
            assert_eq!(parse_uri(wrong), None, "{wrong}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for wrong in ["", "-a", "a b", "a/b", "ä", long.as_str()] {
            assert!(uri(RegionId(7), wrong).is_err(), "{wrong}");
        }
        assert!(uri(RegionId(0), "eu").is_err());
    }

    proptest! {
        #[test]
        fn no_uri_makes_it_panic_and_what_is_read_is_what_was_written(
            text in prop_oneof![
                any::<String>(),
                "tradewind://region/\\PC{0,20}",
                "tradewind://region/[0-9]{1,6}/[a-z0-9-]{0,45}",
            ],
        ) {
            if let Some((region, name)) = parse_uri(&text) {
                prop_assert_eq!(uri(region, &name).unwrap(), text);
            }
        }

        #[test]
        fn every_region_that_can_be_named_is_read_back(region in 1_u16.., name in "[a-z0-9][a-z0-9-]{0,39}") {
            let text = uri(RegionId(region), &name).unwrap();
            prop_assert_eq!(parse_uri(&text), Some((RegionId(region), name)));
        }
    }
}
