//! The log of the simulated cluster: like Kafka, it knows nothing of owners, and shuts out the writers that it is told to.

use std::collections::{BTreeMap, BTreeSet};
use tw_plan::placement::Unit;

/// An append of one event.
#[derive(Debug, Clone)]
pub(crate) struct Append {
    pub(crate) unit: Unit,
    pub(crate) epoch: u64,
    pub(crate) writer: String,
    /// Where its writer thinks that the partition ends. The log does not look at it; the invariants do.
    pub(crate) expected: u64,
}

/// What a node asks. A node's requests arrive in the order in which they were sent.
#[derive(Debug, Clone)]
pub(crate) enum LogRequest {
    Append(Append),
    Fence { unit: Unit, writer: String },
    Refresh(Unit),
}

/// What it is told.
#[derive(Debug, Clone)]
pub(crate) enum LogReply {
    Appended {
        unit: Unit,
        offset: u64,
    },
    /// The writer is shut out.
    Refused {
        unit: Unit,
        writer: String,
    },
    Fenced(Unit),
    End {
        unit: Unit,
        end: u64,
    },
}

/// An event of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) epoch: u64,
    pub(crate) writer: String,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    partitions: BTreeMap<Unit, Vec<Record>>,
    fenced: BTreeSet<String>,
}

impl Log {
    pub(crate) fn answer(&mut self, request: LogRequest) -> LogReply {
        match request {
            LogRequest::Append(Append { unit, writer, .. }) if self.fenced.contains(&writer) => {
                LogReply::Refused { unit, writer }
            }
            LogRequest::Append(Append { unit, epoch, writer, .. }) => {
                let partition = self.partitions.entry(unit.clone()).or_default();
                partition.push(Record { epoch, writer });
                LogReply::Appended { unit, offset: partition.len() as u64 - 1 }
            }
            LogRequest::Fence { unit, writer } => {
                self.fenced.insert(writer);
                LogReply::Fenced(unit)
            }
            LogRequest::Refresh(unit) => LogReply::End { end: self.end(&unit), unit },
        }
    }

    pub(crate) fn is_fenced(&self, writer: &str) -> bool {
        self.fenced.contains(writer)
    }

    pub(crate) fn end(&self, unit: &Unit) -> u64 {
        self.partitions.get(unit).map_or(0, Vec::len) as u64
    }

    pub(crate) fn last(&self, unit: &Unit) -> Option<&Record> {
        self.partitions.get(unit)?.last()
    }
}
