//! Classes of conflicts by name, as declarations of columns say them. What a class does is in `tw-merge`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a column is after changes in several regions that did not know of each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Merge {
    /// `lww`
    Lww,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `counter`
    Counter,
    /// `set`
    Set,
    /// `reserve`
    Reserve,
    /// `unique`
    Unique,
    /// `custom(name@version)`; `custom(name)` is version 1
    Custom(FunctionId),
}

/// The name of a function, 1 to 64 letters, digits, `_` and `-` of ASCII, and its version from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId {
    name: String,
    version: u32,
}

impl FunctionId {
    /// The longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;

    /// Checks and takes a name and a version; None if one of them is not allowed.
    pub fn new(name: &str, version: u32) -> Option<Self> {
        let length = (1..=Self::NAME_BYTES_MAX).contains(&name.len());
        let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        (length && letters && version > 0).then(|| Self { name: name.to_owned(), version })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lww => "lww",
            Self::Max => "max",
            Self::Min => "min",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Reserve => "reserve",
            Self::Unique => "unique",
            Self::Custom(function) => return write!(f, "custom({function})"),
        })
    }
}

impl Serialize for Merge {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that names no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown class `{0}`: use lww, max, min, counter, set, reserve, unique or custom(name@version), with a name of up to 64 letters, digits, `_` and `-` and a version from 1"
)]
pub struct UnknownMerge(
    /// The text, cut to 80 characters.
    pub String,
);

impl FromStr for Merge {
    type Err = UnknownMerge;

    /// Reads what [`fmt::Display`] prints. Upper and lower case are the same but in a function's name.
    fn from_str(s: &str) -> Result<Self, UnknownMerge> {
        let unknown = || UnknownMerge(s.chars().take(80).collect());
        let trimmed = s.trim();
        if let Some((class, rest)) = trimmed.split_once('(') {
            let inner = rest.strip_suffix(')').ok_or_else(unknown)?.trim();
            let (name, version) = match inner.split_once('@') {
                Some((name, version)) => (name, version.parse().map_err(|_| unknown())?),
                None => (inner, 1),
            };
            let function = FunctionId::new(name, version).ok_or_else(unknown)?;
            return match class.trim_end().eq_ignore_ascii_case("custom") {
                true => Ok(Self::Custom(function)),
                false => Err(unknown()),
            };
        }
        [Self::Lww, Self::Max, Self::Min, Self::Counter, Self::Set, Self::Reserve, Self::Unique]
            .into_iter()
            .find(|class| class.to_string().eq_ignore_ascii_case(trimmed))
            .ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_reads_back_what_it_prints() {
        let names = ["lww", "max", "min", "counter", "set", "reserve", "unique", "custom(best-price@3)"];
        for name in names {
            assert_eq!(name.parse::<Merge>().unwrap().to_string(), name);
            assert!(name.to_ascii_uppercase().parse::<Merge>().is_ok(), "{name}");
        }
        assert_eq!(" custom( Price ) ".parse::<Merge>().unwrap().to_string(), "custom(Price@1)");
    }

    #[test]
    fn a_text_that_names_no_class_is_refused_with_all_that_do() {
        let long = format!("custom({})", "x".repeat(65));
        for text in ["", "last", "custom", "custom()", "custom(a@0)", "custom(a@-1)", "custom(a b)", "max(a)"]
        {
            assert_eq!(text.parse::<Merge>(), Err(UnknownMerge(text.to_owned())), "{text}");
        }
        assert!(long.parse::<Merge>().is_err() && "custom(a".parse::<Merge>().is_err());
    }
}
