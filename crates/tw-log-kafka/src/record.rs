//! Records as the library has them, to and from what `tw_wire::kafka` reads and writes.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use std::path::PathBuf;
use tw_log::{Error, Result};
use tw_types::PartitionId;
use tw_wire::kafka::{self, Record};

/// Reads a record of one of the log's own topics.
///
/// # Errors
/// [`Error::Damaged`] for one that is not ours.
pub(crate) fn read<'a>(message: &'a BorrowedMessage<'_>) -> Result<Record<'a>> {
    let headers = message.headers();
    let count = headers.map_or(0, Headers::count);
    let headers = (0..count).filter_map(|index| {
        let Header { key, value } = headers?.try_get(index)?;
        Some((key, value.unwrap_or_default()))
    });
    let partition = PartitionId(u32::try_from(message.partition()).unwrap_or_default());
    kafka::read(partition, headers, message.payload()).map_err(|malformed| Error::Damaged {
        file: PathBuf::from(format!("kafka:{}/{}", message.topic(), message.partition())),
        position: u64::try_from(message.offset()).unwrap_or_default(),
        cause: malformed.to_string(),
    })
}

/// Collects headers.
#[derive(Debug)]
pub(crate) struct Collected(Option<OwnedHeaders>);

impl Collected {
    pub(crate) fn new() -> Self {
        Self(Some(OwnedHeaders::new_with_capacity(24)))
    }

    pub(crate) fn add(&mut self, key: &str, value: &[u8]) {
        self.0 = self.0.take().map(|headers| headers.insert(Header { key, value: Some(value) }));
    }

    pub(crate) fn finish(self) -> OwnedHeaders {
        self.0.unwrap_or_default()
    }
}
