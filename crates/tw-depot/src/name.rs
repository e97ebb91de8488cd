//! Names of objects: those that every engine takes as they are.

use crate::{Error, Result};

/// The longest name, in bytes: S3 allows 1,024, of which a prefix of the bucket takes its part.
pub const NAME_BYTES_MAX: usize = 900;
/// The longest part of a name, in bytes: no file's name may be longer, and some are added while it is written.
const PART_BYTES_MAX: usize = 200;

/// Whether a name, or a folder, is well-formed: parts of ASCII letters, digits, `-`, `_` and `.`, with `/` between them. No
/// part is empty, starts with `.`, or has over 200 bytes.
///
/// # Errors
/// [`Error::InvalidName`].
pub fn check_name(name: &str) -> Result<()> {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_part = |part: &str| {
        (1..=PART_BYTES_MAX).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(is_char)
    };
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(is_part) {
        Ok(())
    } else {
        Err(Error::InvalidName(name.chars().take(NAME_BYTES_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_some_engine_would_change_are_refused() {
        for good in ["a", "views/0a/7-3/manifests/00-1f", "A_b-c.d", &"x".repeat(200)] {
            check_name(good).unwrap();
        }
        let long = vec!["x".repeat(200); 5].join("/");
        for bad in [
            "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.b", "a b", "a#1", "ä", "a\0", "a\\b", &long,
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"x".repeat(201)).is_err());
    }

    proptest! {
        #[test]
        fn a_good_name_stays_below_the_folder_that_it_is_joined_to(name in ".{0,40}") {
            if check_name(&name).is_ok() {
                let joined = std::path::Path::new("/depot").join(&name);
                let parts = joined.components().all(|part| {
                    matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_))
                });
                prop_assert!(parts && joined.starts_with("/depot"));
                let place = object_store::path::Path::parse(&name).unwrap();
                prop_assert_eq!(place.as_ref(), name);
            }
        }
    }
}
