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
    /// `custom(expression)`
    Custom(MergeExpr),
}

/// A SQL expression over `old` and `new`, 1 to 4,096 bytes: what a column becomes by a change that says `new` when it was `old`. The text
/// is all that it is known by: another text is another function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MergeExpr(String);

impl MergeExpr {
    /// The longest expression, in bytes.
    pub const BYTES_MAX: usize = 4_096;

    /// Checks and takes the length of a text; None if it is out of bounds. Whether it means something is found where SQL is understood.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (1..=Self::BYTES_MAX).contains(&text.len()).then(|| Self(text.to_owned()))
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MergeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Merge {
    /// The name of the class, without the expression of a custom one.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Lww => "lww",
            Self::Max => "max",
            Self::Min => "min",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Reserve => "reserve",
            Self::Unique => "unique",
            Self::Custom(_) => "custom",
        }
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(expr) => write!(f, "{}({expr})", self.class()),
            _ => f.write_str(self.class()),
        }
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
    "unknown class `{0}`: use lww, max, min, counter, set, reserve, unique or custom(expression), with a SQL expression of up to 4,096 bytes over `old` and `new`"
)]
pub struct UnknownMerge(
    /// The text, cut to 80 characters.
    pub String,
);

impl FromStr for Merge {
    type Err = UnknownMerge;

    /// Reads what [`fmt::Display`] prints. Upper and lower case are the same but in an expression.
    fn from_str(s: &str) -> Result<Self, UnknownMerge> {
        let unknown = || UnknownMerge(s.chars().take(80).collect());
        let trimmed = s.trim();
        if let Some((class, rest)) = trimmed.split_once('(') {
            let expr = rest.strip_suffix(')').and_then(MergeExpr::new).ok_or_else(unknown)?;
            return match class.trim_end().eq_ignore_ascii_case("custom") {
                true => Ok(Self::Custom(expr)),
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
        let names =
            ["lww", "max", "min", "counter", "set", "reserve", "unique", "custom(coalesce(old, 0) + new)"];
        for name in names {
            assert_eq!(name.parse::<Merge>().unwrap().to_string(), name);
            assert!(name.to_ascii_uppercase().parse::<Merge>().is_ok(), "{name}");
        }
        assert_eq!(" custom ( new ) ".parse::<Merge>().unwrap().to_string(), "custom(new)");
    }

    #[test]
    fn a_text_that_names_no_class_is_refused_with_all_that_do() {
        for text in ["", "last", "custom", "custom()", "custom( )", "custom(new", "max(a)"] {
            assert_eq!(text.parse::<Merge>(), Err(UnknownMerge(text.to_owned())), "{text}");
        }
        let expr = |length: usize| format!("custom({})", "x".repeat(length)).parse::<Merge>();
        assert!(expr(MergeExpr::BYTES_MAX).is_ok() && expr(MergeExpr::BYTES_MAX + 1).is_err());
    }
}
