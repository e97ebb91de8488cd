//! What can be set about a depot.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where objects are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The path of a folder that all nodes of a cluster share. A relative path starts at the working folder. Default: nothing, and
    /// nothing is kept outside of the nodes.
    pub place: String,
    /// How long one request may take, in milliseconds: 100 to 600,000. Default 30,000.
    pub request_ms_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { place: String::new(), request_ms_max: 30_000 }
    }
}

impl Options {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::InvalidPlace`].
    pub fn check(&self) -> Result<()> {
        if !(100..=600_000).contains(&self.request_ms_max) {
            let (option, value) = ("request_ms_max", self.request_ms_max);
            return Err(Error::InvalidOption { option, value, bounds: "100 to 600000 ms" });
        }
        self.folder().map(drop)
    }

    /// The folder that `place` names; None if it names none.
    ///
    /// # Errors
    /// [`Error::InvalidPlace`].
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        if self.place.contains("://") {
            let reason = "buckets are not supported yet: name a folder by its path";
            return Err(Error::InvalidPlace { place: self.place.clone(), reason });
        }
        Ok(Some(PathBuf::from(&self.place)).filter(|path| !path.as_os_str().is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(place: &str) -> Result<Option<PathBuf>> {
        Options { place: place.to_owned(), ..Options::default() }.folder()
    }

    #[test]
    fn a_place_is_a_folder_or_nothing() {
        assert_eq!(folder("").unwrap(), None);
        assert_eq!(folder("/srv/depot").unwrap(), Some("/srv/depot".into()));
        assert_eq!(
            folder("s3://b/c").unwrap_err().to_string(),
            "depot option `place` is `s3://b/c`: buckets are not supported yet: name a folder by its path"
        );
    }

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
}
