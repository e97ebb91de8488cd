//! What one node asks another, version 1: JSON, so that it can be read where it passes.
//!
//! ```text
//! {"version":1,"timeout_ms":…,"token":"tw1;…","ask":{"hold":[view…]}}
//! {"version":1,"timeout_ms":…,"token":"tw1;…","ask":{"read":{"held":…,"view":view,"get":{"rows":…}}}}, or "groups", or "partials"
//! {"version":1,"timeout_ms":…,"token":"tw1;…","standby":true,"ask":…}: what owners are asked does not have it, as in earlier versions
//! view = {"name":…,"stream":…,"definition":…,"partitions":[…]}, and "next":true for what is built anew
//! ```
//!
//! Bytes are in hexadecimal: the start of the stored keys of groups (`state::key`), and values (`state::value`). Columns are numbers
//! of the view's result, aggregates those of its grouping: both nodes have the same definition, or nothing is read.

use super::filter::Filter;
use super::partials::GetPartials;
use crate::Error;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tw_types::{PartitionId, StreamId, Token};

const VERSION: u32 = 1;
/// The longest request.
const BYTES_MAX: usize = 1 << 20;
/// The most views of a statement.
const VIEWS_MAX: usize = 1_000;

/// A request of one node to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    version: u32,
    /// How long the answer may take, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// The answer sees everything before this cut.
    pub(crate) token: Token,
    /// Whether the one that is asked answers as a standby of the partitions: what it has may be older than what their owners have.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) standby: bool,
    pub(crate) ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// To keep these parts of views as they are now, until whoever asks goes away.
    Hold(Vec<ViewPart>),
    /// To read.
    Read(Read),
}

/// Some partitions of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewPart {
    /// The name of the view.
    pub(crate) name: String,
    /// The stream that it reads.
    pub(crate) stream: StreamId,
    /// The number of its definition.
    pub(crate) definition: u64,
    /// Whether it is what is built anew, and does not answer yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) next: bool,
    pub(crate) partitions: Vec<PartitionId>,
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    /// Of which held moment; None: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<u64>,
    pub(crate) view: ViewPart,
    pub(crate) get: Get,
}

/// In which form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Get {
    /// Rows of a view that is not grouped.
    Rows(GetRows),
    /// Groups as they are stored.
    Groups(GetGroups),
    /// Parts of groups of rows of a view that is not grouped.
    Partials(GetPartials),
}

/// Rows of a view that is not grouped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetRows {
    /// Only the row of this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// The columns that are wanted, in this order; None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<usize>>,
    /// What the rows must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
    /// So many of them are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows_max: Option<u64>,
}

/// Groups as they are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetGroups {
    /// What their stored keys start with.
    pub(crate) start: Hex,
    /// Whether only the group with exactly this key is wanted.
    #[serde(default)]
    pub(crate) one: bool,
    /// The aggregates whose entries are wanted.
    pub(crate) aggregates: Vec<u8>,
}

impl PeerRequest {
    pub(crate) fn new(timeout_ms: u64, token: Token, ask: Ask) -> Self {
        Self { version: VERSION, timeout_ms, token, standby: false, ask }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is none, is of another version, or is too long.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let refused = |why: &str| Error::Refused(format!("this is no request of a node: {why}"));
        if bytes.len() > BYTES_MAX {
            return Err(refused("it is longer than 1 MiB"));
        }
        let request: Self = serde_json::from_slice(bytes).map_err(|error| refused(&error.to_string()))?;
        if request.version != VERSION {
            return Err(refused(&format!("its version is {}, not {VERSION}", request.version)));
        }
        if matches!(&request.ask, Ask::Hold(views) if views.len() > VIEWS_MAX) {
            return Err(refused("it names more than 1000 views"));
        }
        if let Ask::Read(Read { get: Get::Partials(get), .. }) = &request.ask
            && let Some(problem) = get.problem()
        {
            return Err(refused(problem));
        }
        Ok(request)
    }

    /// The bytes of the request.
    pub(crate) fn write(&self) -> Bytes {
        // It consists of texts and numbers, which always have a JSON form.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Bytes as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes = text.as_bytes().chunks(2).map(byte).collect::<Option<_>>();
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("bytes are not in hexadecimal digits"))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "these are tests")]
mod tests;
