//! What can be set about a depot.

use crate::place::{Bucket, Place};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where objects are kept, and how they are reached.
///
/// Keys of a bucket are never said here: they are in the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`), in a file that is named here, or come from the role of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The path of a folder that all nodes of a cluster share, or `s3://BUCKET` or `s3://BUCKET/FOLDER` for a bucket of S3-compatible
    /// object storage, in a program that was built with `--features s3`. A relative path starts at the working folder. Default:
    /// nothing, and nothing is kept outside of the nodes.
    pub place: String,
    /// How long one request may take, attempts after a failure included, in milliseconds: 100 to 600,000. Default 30,000.
    pub request_ms_max: u64,
    /// Where the server of the bucket is, such as `https://minio.lan:9000`. Default: Amazon S3.
    pub endpoint: String,
    /// The region of the bucket. Default: what the variable `AWS_REGION` or `AWS_DEFAULT_REGION` says, or `us-east-1`.
    pub region: String,
    /// Whether `endpoint` may start with `http://`: then whoever listens on the way reads everything that is stored. Default no.
    pub allow_http: bool,
    /// Whether the bucket stands in the path of an address (`https://SERVER/BUCKET`), which every server understands, and not in
    /// its host (`https://BUCKET.SERVER`). Default yes.
    pub path_style: bool,
    /// A file with the keys of the bucket in the form of `~/.aws/credentials`, of which the profile `default` counts. It is read anew
    /// for each request, so that keys can be changed while nodes run. Default: nothing, and the keys are looked for in the
    /// environment.
    pub credentials_file: PathBuf,
    /// A file with certificates in PEM that the server of the bucket is trusted by, besides those that this machine trusts.
    /// Default: nothing.
    pub ca_file: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            place: String::new(),
            request_ms_max: 30_000,
            endpoint: String::new(),
            region: String::new(),
            allow_http: false,
            path_style: true,
            credentials_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Options {
    /// Checks every bound, and that options fit each other.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::InvalidText`]; [`Error::NotBuilt`] for a bucket in a program without buckets.
    pub fn check(&self) -> Result<()> {
        if !(100..=600_000).contains(&self.request_ms_max) {
            let (option, value) = ("request_ms_max", self.request_ms_max);
            return Err(Error::InvalidOption { option, value, bounds: "100 to 600000 ms" });
        }
        self.place().map(drop)
    }

    /// What `place` names, with all that belongs to it; None if it names nothing.
    pub(crate) fn place(&self) -> Result<Option<Place>> {
        self.place_in(cfg!(feature = "s3"))
    }

    /// The same in a program that has buckets, or has none.
    fn place_in(&self, has_buckets: bool) -> Result<Option<Place>> {
        let bucket = Bucket::read(self)?;
        if bucket.is_none() {
            self.check_that_nothing_is_said_of_a_bucket()?;
        }
        Ok(match bucket {
            Some(_) if !has_buckets => {
                return Err(Error::NotBuilt { place: self.place.clone() });
            }
            Some(bucket) => Some(Place::Bucket(bucket)),
            None if self.place.is_empty() => None,
            None => Some(Place::Folder(PathBuf::from(&self.place))),
        })
    }

    /// An option that would do nothing is a mistake.
    fn check_that_nothing_is_said_of_a_bucket(&self) -> Result<()> {
        let default = Self::default();
        for (option, is_default, value) in [
            ("endpoint", self.endpoint == default.endpoint, self.endpoint.clone()),
            ("region", self.region == default.region, self.region.clone()),
            ("allow_http", self.allow_http == default.allow_http, self.allow_http.to_string()),
            ("path_style", self.path_style == default.path_style, self.path_style.to_string()),
            (
                "credentials_file",
                self.credentials_file == default.credentials_file,
                self.credentials_file.display().to_string(),
            ),
            ("ca_file", self.ca_file == default.ca_file, self.ca_file.display().to_string()),
        ] {
            if !is_default {
                let reason = "it is about buckets, and `place` names none: leave it out, or let `place` be `s3://BUCKET/FOLDER`";
                return Err(Error::InvalidText { option, value, reason });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_their_bounds_and_unknown_ones_are_errors() {
        Options::default().check().unwrap();
        assert!(serde_json::from_str::<Options>(r#"{"path":"/srv"}"#).is_err());
        let short = Options { request_ms_max: 99, ..Options::default() };
        assert_eq!(
            short.check().unwrap_err().to_string(),
            "depot option `request_ms_max` is 99, outside 100 to 600000 ms"
        );
    }

    #[test]
    fn a_place_is_a_folder_or_nothing() {
        let place = |place: &str| Options { place: place.to_owned(), ..Options::default() }.place();
        assert_eq!(place("").unwrap(), None);
        assert_eq!(place("/srv/depot").unwrap(), Some(Place::Folder("/srv/depot".into())));
    }

    #[test]
    fn options_of_buckets_are_refused_where_there_is_none() {
        let set: [fn(&mut Options); 6] = [
            |options| options.endpoint = "https://x".into(),
            |options| options.region = "x".into(),
            |options| options.allow_http = true,
            |options| options.path_style = false,
            |options| options.credentials_file = "x".into(),
            |options| options.ca_file = "x".into(),
        ];
        for set in set {
            for place in ["", "/srv/depot"] {
                let mut options = Options { place: place.into(), ..Options::default() };
                set(&mut options);
                let refused = options.check().unwrap_err().to_string();
                assert!(refused.contains("it is about buckets"), "{refused}");
            }
        }
    }

    #[test]
    fn a_bucket_is_refused_by_a_program_without_buckets() {
        let options = Options { place: "s3://bucket/c".into(), ..Options::default() };
        assert_eq!(
            options.place_in(false).unwrap_err().to_string(),
            "depot option `place` is `s3://bucket/c`, and this program was built without buckets: build it with `--features s3`, \
             or name a folder by its path"
        );
        assert!(matches!(options.place_in(true), Ok(Some(Place::Bucket(_)))));
    }
}
