//! Events: CloudEvents 1.0 attributes and data, owned and borrowed.
//!
//! Source: CloudEvents specification 1.0.2. An [`Event`] is what a writer says; a [`Stored`] event is what the
//! log says: the same, with its place and its timestamps.

use crate::{Hlc, Offset, Origin, PartitionId, Position, Timestamp, Version};

/// The data of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data<B> {
    /// The event has no data.
    #[default]
    None,
    /// One JSON value as text. Whoever makes an event guarantees that it is valid JSON.
    Json(B),
    /// Text in another format, UTF-8.
    Text(B),
    /// Bytes; base64 in JSON.
    Binary(B),
}

impl<B: AsRef<[u8]>> Data<B> {
    /// The bytes; empty when there is no data.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Json(bytes) | Self::Text(bytes) | Self::Binary(bytes) => bytes.as_ref(),
        }
    }

    /// The same data, borrowed.
    pub fn as_slice(&self) -> Data<&[u8]> {
        match self {
            Self::None => Data::None,
            Self::Json(bytes) => Data::Json(bytes.as_ref()),
            Self::Text(bytes) => Data::Text(bytes.as_ref()),
            Self::Binary(bytes) => Data::Binary(bytes.as_ref()),
        }
    }

    /// The JSON text, if the data is JSON.
    pub fn json(&self) -> Option<&[u8]> {
        match self {
            Self::Json(bytes) => Some(bytes.as_ref()),
            _ => None,
        }
    }
}

/// The value of an extension attribute. URIs, timestamps and binary values are kept in their text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtensionValue<S> {
    /// A boolean.
    Bool(bool),
    /// A 32-bit integer.
    Integer(i32),
    /// A text.
    Text(S),
}

/// An extension attribute: a name of lower-case letters and digits, and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<S> {
    /// The attribute's name.
    pub name: S,
    /// Its value.
    pub value: ExtensionValue<S>,
}

/// An event that owns its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Unique for its source.
    pub id: String,
    /// Who says it: a URI reference.
    pub source: String,
    /// What happened. Categories are prefixes of types.
    pub ty: String,
    /// What it is about; the key of the event.
    pub subject: Option<String>,
    /// When it happened, as its source knows it.
    pub time: Option<Timestamp>,
    /// The media type of the data; None means JSON.
    pub datacontenttype: Option<String>,
    /// A URI of the schema of the data.
    pub dataschema: Option<String>,
    /// Extension attributes, in the order in which they came.
    pub extensions: Vec<Extension<String>>,
    /// The data.
    pub data: Data<Vec<u8>>,
}

impl Event {
    /// The same event, borrowed.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            id: &self.id,
            source: &self.source,
            ty: &self.ty,
            subject: self.subject.as_deref(),
            time: self.time,
            datacontenttype: self.datacontenttype.as_deref(),
            dataschema: self.dataschema.as_deref(),
            extensions: self
                .extensions
                .iter()
                .map(|extension| Extension {
                    name: extension.name.as_str(),
                    value: match &extension.value {
                        ExtensionValue::Bool(value) => ExtensionValue::Bool(*value),
                        ExtensionValue::Integer(value) => ExtensionValue::Integer(*value),
                        ExtensionValue::Text(value) => ExtensionValue::Text(value.as_str()),
                    },
                })
                .collect(),
            data: self.data.as_slice(),
        }
    }
}

/// An event that borrows its parts; see [`Event`] for their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented at Event")]
pub struct EventRef<'a> {
    pub id: &'a str,
    pub source: &'a str,
    pub ty: &'a str,
    pub subject: Option<&'a str>,
    pub time: Option<Timestamp>,
    pub datacontenttype: Option<&'a str>,
    pub dataschema: Option<&'a str>,
    pub extensions: Vec<Extension<&'a str>>,
    pub data: Data<&'a [u8]>,
}

impl EventRef<'_> {
    /// A copy that owns its parts.
    pub fn to_owned(&self) -> Event {
        Event {
            id: self.id.to_owned(),
            source: self.source.to_owned(),
            ty: self.ty.to_owned(),
            subject: self.subject.map(str::to_owned),
            time: self.time,
            datacontenttype: self.datacontenttype.map(str::to_owned),
            dataschema: self.dataschema.map(str::to_owned),
            extensions: self
                .extensions
                .iter()
                .map(|extension| Extension {
                    name: extension.name.to_owned(),
                    value: match extension.value {
                        ExtensionValue::Bool(value) => ExtensionValue::Bool(value),
                        ExtensionValue::Integer(value) => ExtensionValue::Integer(value),
                        ExtensionValue::Text(value) => ExtensionValue::Text(value.to_owned()),
                    },
                })
                .collect(),
            data: match self.data {
                Data::None => Data::None,
                Data::Json(bytes) => Data::Json(bytes.to_vec()),
                Data::Text(bytes) => Data::Text(bytes.to_vec()),
                Data::Binary(bytes) => Data::Binary(bytes.to_vec()),
            },
        }
    }
}

/// An event with its place in the log, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The event.
    pub event: Event,
    /// Where it is.
    pub position: Position,
    /// Its version in its subject's history; [`Version::NONE`] without a subject.
    pub version: Version,
    /// When it was first accepted.
    pub hlc: Hlc,
    /// Where it was first accepted.
    pub origin: Origin,
}

/// An event with its place in the log, borrowed from a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRef<'a> {
    /// The event.
    pub event: EventRef<'a>,
    /// Its offset in the block's partition.
    pub offset: Offset,
    /// Its version in its subject's history; [`Version::NONE`] without a subject.
    pub version: Version,
    /// When it was first accepted.
    pub hlc: Hlc,
    /// Where it was first accepted.
    pub origin: Origin,
}

impl StoredRef<'_> {
    /// A copy that owns its parts.
    pub fn to_owned(&self, partition: PartitionId) -> Stored {
        Stored {
            event: self.event.to_owned(),
            position: Position { partition, offset: self.offset },
            version: self.version,
            hlc: self.hlc,
            origin: self.origin,
        }
    }
}
