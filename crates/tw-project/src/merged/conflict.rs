//! Conflicts as they are told: which change lost what to which other one.
//!
//! The view of a stream's rows puts them into its state, in the step that brought the later of the two; whoever tells them takes them from there
//! ([`crate::Engine::told_conflicts`]). Each is told once in every region, the same everywhere.

use super::value::{Value, slot_text};
use crate::operators::aggregator::{PLACE_BYTES, RowPlace};
use datafusion::arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use tw_merge::subject::{Conflict, ConflictKind};
use tw_merge::{Change, FieldOp, Kind, Stamp};
use tw_types::{Column, Event};

/// The stream in which a region tells the conflicts that it has seen. It has one partition, and is of its region.
pub const CONFLICTS_STREAM: &str = "$conflicts";
const TYPE: &str = "tradewind.conflict";

/// A conflict of two changes of a row, neither of which knew of the other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldConflict {
    /// The stream.
    pub stream: String,
    /// Whose row it is.
    pub subject: String,
    /// The column; absent for the row as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The column's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// `overwritten`, `folded-before` or `outlived`.
    pub kind: String,
    /// Who has its way, of these two.
    pub winner: ToldChange,
    /// Who has not.
    pub loser: ToldChange,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldChange {
    /// The number of its region.
    pub region: u16,
    /// Its origin: region, epoch and sequence.
    pub origin: String,
    /// When it was accepted, in milliseconds since the Unix epoch by its region's clock.
    pub at_ms: u64,
    /// What it wrote, as SQL prints it; absent for NULL, and for the row as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What is needed to tell the conflicts of a stream.
#[derive(Debug)]
pub(crate) struct Teller {
    stream: String,
    columns: Vec<(Column, DataType)>,
}

impl Teller {
    pub(crate) fn new(stream: &str, columns: Vec<(Column, DataType)>) -> Self {
        Self { stream: stream.to_owned(), columns }
    }

    /// A conflict in a row; `change` finds what was changed.
    pub(crate) fn tell<'a>(
        &self,
        subject: &str,
        conflict: &Conflict,
        change: impl Fn(&Stamp) -> Option<&'a Change<Value>>,
    ) -> ToldConflict {
        let column = conflict.field.and_then(|field| self.columns.get(usize::from(field)));
        let side = |stamp: &Stamp| ToldChange {
            region: stamp.origin.region.0,
            origin: stamp.origin.to_string(),
            at_ms: stamp.hlc.millis(),
            value: column.zip(conflict.field).and_then(|((_, ty), field)| {
                let Kind::Put(ops) = &change(stamp)?.kind else { return None };
                let (_, op) = ops.iter().find(|(named, _)| *named == field)?;
                match op {
                    FieldOp::Set(value) | FieldOp::Input(value) if *value != Value::Null => {
                        Some(slot_text(&value.slot(), ty))
                    }
                    _ => None,
                }
            }),
        };
        ToldConflict {
            stream: self.stream.clone(),
            subject: subject.to_owned(),
            column: column.map(|(column, _)| column.name.clone()),
            class: column.and_then(|(column, _)| column.merge.as_ref()).map(|merge| merge.class().to_owned()),
            kind: match conflict.kind {
                ConflictKind::Overwritten => "overwritten",
                ConflictKind::FoldedBefore => "folded-before",
                ConflictKind::Outlived => "outlived",
            }
            .to_owned(),
            winner: side(&conflict.winner),
            loser: side(&conflict.loser),
        }
    }
}

/// The key of a conflict among those of its partition: 46 bytes.
pub(crate) fn key(conflict: &Conflict) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 * PLACE_BYTES + 2);
    for Stamp { hlc, origin } in [conflict.loser, conflict.winner] {
        RowPlace { hlc, origin }.put(&mut key);
    }
    key.extend_from_slice(&conflict.field.unwrap_or(u16::MAX).to_be_bytes());
    key
}

impl ToldConflict {
    /// The event that tells it. It has its subject for itself, so that it is there once.
    pub fn event(&self) -> Event {
        let column = self.column.as_deref().unwrap_or_default();
        let (winner, loser) = (&self.winner.origin, &self.loser.origin);
        let identity = format!("{}/{}/{column}/{loser}/{winner}", self.stream, self.subject);
        // An identity of any length is more than a subject may have.
        let id = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(identity.as_bytes()));
        Event {
            id: id.clone(),
            source: "tradewind:project".into(),
            ty: TYPE.into(),
            subject: Some(id),
            // Texts and numbers always have a JSON form.
            data: tw_types::Data::Json(serde_json::to_vec(self).unwrap_or_default()),
            ..Event::default()
        }
    }
}
