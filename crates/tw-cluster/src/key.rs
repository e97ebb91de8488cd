//! Names in the key space.

use crate::{Error, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// What is escaped within a segment, so that a name cannot reach into another's keys.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// A key: segments with `/` between them, such as `locks/nightly-report`. At most 1,024 bytes.
///
/// Any text can be a segment: `/`, `%`, control characters and whatever is not ASCII are escaped as in URLs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key with these segments.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when there is no segment, one is empty, or the whole is too long.
    pub fn new<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut key = String::new();
        for segment in segments {
            key.push_str(if key.is_empty() { "" } else { "/" });
            push_segment(&mut key, segment.as_ref())?;
        }
        Self::checked(key)
    }

    /// The key one segment below this one.
    ///
    /// # Errors
    /// Those of [`Key::new`].
    pub fn child(&self, segment: &str) -> Result<Self> {
        let mut key = format!("{}/", self.0);
        push_segment(&mut key, segment)?;
        Self::checked(key)
    }

    /// A key as an engine stores it, already escaped.
    ///
    /// # Errors
    /// Those of [`Key::new`].
    pub fn stored(text: &str) -> Result<Self> {
        match text.split('/').any(str::is_empty) {
            true => Err(invalid(text, "has an empty segment")),
            false => Self::checked(text.to_owned()),
        }
    }

    fn checked(key: String) -> Result<Self> {
        if key.is_empty() {
            return Err(invalid("", "is empty"));
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(invalid(&key, "is longer than 1,024 bytes"));
        }
        Ok(Self(key.into()))
    }

    /// The escaped text, as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, from the first on, as they were given.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Cow<'_, str>> {
        self.0.split('/').map(|segment| percent_decode_str(segment).decode_utf8_lossy())
    }

    /// The last segment.
    pub fn name(&self) -> Cow<'_, str> {
        self.segments().next_back().unwrap_or_default()
    }

    /// Every key below this one, without itself.
    pub fn below(&self) -> Range {
        Range(Span::Below(self.clone()))
    }

    /// This key alone.
    pub fn alone(&self) -> Range {
        Range(Span::Alone(self.clone()))
    }
}

fn push_segment(key: &mut String, segment: &str) -> Result<()> {
    if segment.is_empty() {
        return Err(invalid(key, "has an empty segment"));
    }
    key.extend(utf8_percent_encode(segment, ESCAPED));
    Ok(())
}

fn invalid(key: &str, reason: &'static str) -> Error {
    Error::InvalidKey { key: key.chars().take(100).collect(), reason }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// The keys that are read or watched together: one, or all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Span);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Span {
    Alone(Key),
    Below(Key),
}

impl Range {
    /// Whether the range holds the key.
    pub fn contains(&self, key: &Key) -> bool {
        match &self.0 {
            Span::Alone(one) => one == key,
            Span::Below(parent) => key.0.strip_prefix(&*parent.0).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// The first key that may be in it, and the one after the last; without the second, it is the one key.
    pub(crate) fn bounds(&self) -> (String, Option<String>) {
        match &self.0 {
            Span::Alone(key) => (key.0.to_string(), None),
            // `0` follows `/` in ASCII.
            Span::Below(key) => (format!("{}/", key.0), Some(format!("{}0", key.0))),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Span::Alone(key) => write!(f, "{key}"),
            Span::Below(key) => write!(f, "{key}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_a_segment_and_comes_back() {
        let key = Key::new(["locks", "a/b%2F\n", "größe"]).unwrap();
        assert_eq!(key.as_str(), "locks/a%2Fb%252F%0A/gr%C3%B6%C3%9Fe");
        assert_eq!(key.segments().collect::<Vec<_>>(), ["locks", "a/b%2F\n", "größe"]);
        assert_eq!((key.name().as_ref(), Key::stored(key.as_str()).unwrap()), ("größe", key.clone()));
    }

    #[test]
    fn a_name_does_not_reach_into_anothers_keys() {
        let locks = Key::new(["locks", "a"]).unwrap();
        let inside = locks.child("1").unwrap();
        for outside in
            [locks.clone(), Key::new(["locks", "a/1"]).unwrap(), Key::new(["locks", "ab", "1"]).unwrap()]
        {
            assert!(!locks.below().contains(&outside), "{outside}");
        }
        assert!(locks.below().contains(&inside) && locks.alone().contains(&locks));
        assert!(!locks.alone().contains(&inside));
    }

    #[test]
    fn keys_without_a_name_or_an_end_are_refused() {
        assert!(Key::new([""; 0]).is_err() && Key::new(["a", ""]).is_err() && Key::stored("a//b").is_err());
        assert!(Key::new(["x".repeat(1024)]).is_ok());
        let error = Key::new(["x".repeat(1025)]).unwrap_err().to_string();
        assert!(error.contains("is longer than 1,024 bytes") && error.len() < 200, "{error}");
    }
}
