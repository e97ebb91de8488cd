//! Places: where a depot is.

use crate::{Error, Options, Result, check_name};
use http::Uri;
use std::path::PathBuf;

/// What the option `place` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A folder of a bucket.
    Bucket(Bucket),
}

/// A folder of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "s3"), allow(dead_code, reason = "it is checked, then refused"))]
pub(crate) struct Bucket {
    /// The name of the bucket.
    pub(crate) bucket: String,
    /// The folder, without `/` at its ends; empty for all of the bucket.
    pub(crate) folder: String,
    /// The address of its server, in front of whose host the bucket is unless it belongs into the path; None: Amazon's.
    pub(crate) endpoint: Option<String>,
}

impl Bucket {
    /// The bucket that options name; None if they name a folder, or nothing.
    ///
    /// # Errors
    /// [`Error::InvalidText`].
    pub(crate) fn read(options: &Options) -> Result<Option<Self>> {
        let place = &options.place;
        let refuse = |reason| Err(Error::InvalidText { option: "place", value: place.clone(), reason });
        let Some(rest) = place.strip_prefix("s3://") else {
            return match place.split_once("://") {
                Some(_) => refuse("name a folder by its path, or a bucket by `s3://BUCKET/FOLDER`"),
                None => Ok(None),
            };
        };
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        let folder = folder.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(folder);
        if !is_bucket(bucket) {
            return refuse(
                "after `s3://` there must be the name of a bucket: 3 to 63 letters, digits, `-`, `_` and `.`; keys are not said here",
            );
        }
        // The longest name of an object must fit behind it: S3 allows 1,024 bytes.
        if !folder.is_empty() && (folder.len() > 100 || check_name(folder).is_err()) {
            return refuse(
                "the folder of a bucket has up to 100 bytes, of letters, digits, `-`, `_` and `.`, with `/` between its parts",
            );
        }
        let endpoint = endpoint(options, bucket)?;
        Ok(Some(Self { bucket: bucket.to_owned(), folder: folder.to_owned(), endpoint }))
    }
}

/// Whether this can be the name of a bucket. Amazon's rules are narrower now; older buckets and other servers go to these
/// bounds.
fn is_bucket(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(is_char) && !name.starts_with(['.', '-'])
}

/// The address of the server, with the bucket in front of its host if it belongs there.
fn endpoint(options: &Options, bucket: &str) -> Result<Option<String>> {
    let said = options.endpoint.as_str();
    let refuse = |reason| Err(Error::InvalidText { option: "endpoint", value: said.to_owned(), reason });
    if said.is_empty() {
        return Ok(None);
    }
    if said.contains('@') {
        // It may be a password.
        let reason = "an address has no `@`: keys are said in the environment or in `credentials_file`";
        return Err(Error::InvalidText { option: "endpoint", value: "…".to_owned(), reason });
    }
    let uri: Option<Uri> = said.parse().ok();
    let parts = uri.as_ref().and_then(|uri| {
        let has_more = uri.path().len() > 1 || uri.query().is_some() || said.contains('#');
        Some((uri.scheme_str()?, uri.authority()?.as_str())).filter(|_| !has_more)
    });
    let Some((scheme @ ("http" | "https"), server)) = parts else {
        return refuse("name the server by `https://HOST` or `https://HOST:PORT`");
    };
    if scheme == "http" && !options.allow_http {
        return refuse(
            "nothing is encrypted on the way there: name an address with `https://`, or set `allow_http = true` if nobody \
             can listen",
        );
    }
    Ok(Some(match options.path_style {
        true => format!("{scheme}://{server}"),
        false => format!("{scheme}://{bucket}.{server}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(place: &str) -> Result<Option<Bucket>> {
        Bucket::read(&Options { place: place.to_owned(), ..Options::default() })
    }

    fn with(endpoint: &str, path_style: bool) -> Result<Option<String>> {
        let (place, endpoint) = ("s3://bucket".to_owned(), endpoint.to_owned());
        let options = Options { place, endpoint, path_style, allow_http: true, ..Options::default() };
        Ok(Bucket::read(&options)?.unwrap().endpoint)
    }

    #[test]
    fn a_place_names_a_bucket_and_a_folder_in_it() {
        let bucket =
            |folder: &str| Some(Bucket { bucket: "buc".into(), folder: folder.into(), endpoint: None });
        assert_eq!(read("s3://buc").unwrap(), bucket(""));
        assert_eq!(read("s3://buc/").unwrap(), bucket(""));
        assert_eq!(read("s3://buc/c/d/").unwrap(), bucket("c/d"));
        assert_eq!(read("/srv/s3").unwrap(), None);
        let long = format!("s3://buc/{}", "x".repeat(101));
        for bad in
            ["s3://", "s3:///x", "s3://k:secret@bucket", "s3://b", "s3://buc/a//b", "s3://buc//", &long]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(
            read("gs://buc").unwrap_err().to_string(),
            "depot option `place` is `gs://buc`: name a folder by its path, or a bucket by `s3://BUCKET/FOLDER`"
        );
    }

    #[test]
    fn the_bucket_is_in_front_of_the_host_if_it_is_not_in_the_path() {
        assert_eq!(with("", true).unwrap(), None);
        assert_eq!(with("https://lan:9000/", true).unwrap().unwrap(), "https://lan:9000");
        assert_eq!(with("http://lan", false).unwrap().unwrap(), "http://bucket.lan");
    }

    #[test]
    fn an_endpoint_is_the_address_of_a_server_and_shows_no_password() {
        for bad in [
            "lan:9000",
            "ftp://lan",
            "https://",
            "https://lan/x",
            "https://lan?x",
            "https://lan#x",
            "https:// lan",
        ] {
            let refused = with(bad, true).unwrap_err().to_string();
            assert!(
                refused.ends_with("name the server by `https://HOST` or `https://HOST:PORT`"),
                "{refused}"
            );
        }
        let refused = with("https://key:secret@lan", true).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn plain_http_is_refused_unless_it_is_asked_for() {
        let options =
            Options { place: "s3://bucket".into(), endpoint: "http://lan".into(), ..Options::default() };
        assert_eq!(
            Bucket::read(&options).unwrap_err().to_string(),
            "depot option `endpoint` is `http://lan`: nothing is encrypted on the way there: name an address with `https://`, \
             or set `allow_http = true` if nobody can listen"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_a_bucket_or_refused(place in "s3://.{0,20}", endpoint in "(https?://)?.{0,20}") {
            let options = Options { place, endpoint, allow_http: true, ..Options::default() };
            if let Ok(Some(bucket)) = Bucket::read(&options) {
                prop_assert!(is_bucket(&bucket.bucket));
                prop_assert!(bucket.folder.is_empty() || check_name(&bucket.folder).is_ok());
            }
        }
    }
}
