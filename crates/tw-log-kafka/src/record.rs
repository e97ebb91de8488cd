//! Records as the library has them, to and from what `tw_wire::kafka` reads and writes.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use std::fmt::Write as _;
use std::path::PathBuf;
use tw_log::{Error, Result};
use tw_types::{Data, Epoch, EventRef, Hlc, Offset, Origin, PartitionId, RegionId, Sequence, Timestamp};
use tw_wire::kafka::{self, Place, Record};

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

/// Reads a record of anybody's as an event: offset and sequence are Kafka's offset, the HLC counts with it and tells no time
/// (Kafka's timestamps may go back); the key is the subject if it is a text, the value JSON, a text, or bytes. Headers are
/// not looked at. `text` is where the event's id and source are written.
pub(crate) fn read_foreign<'a>(
    message: &'a BorrowedMessage<'_>,
    region: RegionId,
    text: &'a mut String,
) -> (Place, EventRef<'a>) {
    let offset = u64::try_from(message.offset()).unwrap_or_default();
    let origin = Origin { region, epoch: Epoch(1), sequence: Sequence(offset + 1) };
    let place = Place { offset: Offset(offset), hlc: Hlc::from_u64(offset + 1), origin, version: None };
    text.clear();
    let _infallible = write!(text, "{}/{}/{offset}", message.topic(), message.partition());
    let (data, content_type) = match message.payload() {
        None => (Data::None, None),
        Some(bytes) if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() => {
            (Data::Json(bytes), Some("application/json"))
        }
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => (Data::Text(bytes), None),
        Some(bytes) => (Data::Binary(bytes), None),
    };
    let subject = message.key().and_then(|key| std::str::from_utf8(key).ok());
    let event = EventRef {
        id: text,
        source: message.topic(),
        ty: "kafka.record",
        subject: subject.filter(|subject| !subject.is_empty()),
        time: message.timestamp().to_millis().map(Timestamp::from_millis),
        datacontenttype: content_type,
        data,
        ..EventRef::default()
    };
    (place, event)
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
