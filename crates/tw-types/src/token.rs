//! Tokens: cuts through streams.

use crate::{Offset, PartitionId, StreamId, StreamPartition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

mod client;

pub use client::ClientToken;

/// A cut through one or more streams: for each partition the offset *after* the last event that belongs to it.
///
/// Whoever holds a token of a write and reads with it sees that write (PRJ-2). Text form, safe in HTTP headers:
/// `tw1;7=0:120,3:88;9=0:4` says stream 7, partition 0 up to before offset 120, and so on. Offsets are those of one log: what clients hold is a
/// [`ClientToken`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(BTreeMap<StreamPartition, Offset>);

impl Token {
    /// The longest text form that is read, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// The cut before every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it demands nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Demands the events of `partition` before `end`; the later of two demands holds.
    pub fn advance(&mut self, partition: StreamPartition, end: Offset) {
        let known = self.0.entry(partition).or_insert(end);
        *known = end.max(*known);
    }

    /// Demands whatever either of the two demands.
    pub fn merge(&mut self, other: &Self) {
        for (partition, end) in other.iter() {
            self.advance(partition, end);
        }
    }

    /// The end that is demanded of `partition`.
    pub fn end(&self, partition: StreamPartition) -> Option<Offset> {
        self.0.get(&partition).copied()
    }

    /// Every demand, ordered by stream and partition; ends are exclusive.
    pub fn iter(&self) -> impl Iterator<Item = (StreamPartition, Offset)> + '_ {
        self.0.iter().map(|(partition, end)| (*partition, *end))
    }

    /// The text form without what it begins with.
    fn write_demands(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stream = None;
        for (at, end) in self.iter() {
            if stream == Some(at.stream) {
                f.write_char(',')?;
            } else {
                write!(f, ";{}=", at.stream)?;
                stream = Some(at.stream);
            }
            write!(f, "{}:{end}", at.partition)?;
        }
        Ok(())
    }
}

impl FromIterator<(StreamPartition, Offset)> for Token {
    fn from_iter<I: IntoIterator<Item = (StreamPartition, Offset)>>(demands: I) -> Self {
        let mut token = Self::new();
        for (partition, end) in demands {
            token.advance(partition, end);
        }
        token
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tw1")?;
        self.write_demands(f)
    }
}

/// A text that is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a token: pass on what the header Tradewind-Token said, unchanged")]
pub struct InvalidToken(pub String);

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(s: &str) -> Result<Self, InvalidToken> {
        parse(s).ok_or_else(|| InvalidToken::of(s))
    }
}

impl InvalidToken {
    fn of(text: &str) -> Self {
        Self(text.chars().take(80).collect())
    }
}

fn parse(s: &str) -> Option<Token> {
    if s.len() > Token::BYTES_MAX {
        return None;
    }
    let rest = s.strip_prefix("tw1")?;
    if rest.is_empty() {
        return Some(Token::new());
    }
    parse_demands(rest.strip_prefix(';')?)
}

/// At least one stream with at least one partition.
fn parse_demands(text: &str) -> Option<Token> {
    let mut token = Token::new();
    for part in text.split(';') {
        let (stream, demands) = part.split_once('=')?;
        let stream = StreamId(stream.parse().ok()?);
        for demand in demands.split(',') {
            let (partition, end) = demand.split_once(':')?;
            let at = StreamPartition::new(stream, PartitionId(partition.parse().ok()?));
            token.advance(at, Offset(end.parse().ok()?));
        }
    }
    Some(token)
}

impl Serialize for Token {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn merging_takes_the_later_end_of_each_partition() {
        let mut a: Token = "tw1;7=0:5,1:9".parse().unwrap();
        a.merge(&"tw1;7=0:8;9=0:1".parse().unwrap());
        assert_eq!(a.to_string(), "tw1;7=0:8,1:9;9=0:1");
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for text in ["", "tw2;1=0:1", "tw1;", "tw1;1", "tw1;1=0", "tw1;1=0:x", "tw1;1=0:1;"] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_form_reads_back(demands in proptest::collection::vec((0u32..9, 0u32..9, any::<u64>()), 0..20)) {
            let token: Token = demands.into_iter()
                .map(|(s, p, end)| (StreamPartition::new(StreamId(s), PartitionId(p)), Offset(end)))
                .collect();
            prop_assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = text.parse::<Token>();
        }
    }
}
