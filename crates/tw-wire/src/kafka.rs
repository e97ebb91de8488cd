//! Records of Apache Kafka: the binary mode of the CloudEvents Kafka protocol binding, and what the platform adds.
//!
//! ```text
//! key        the subject; without one NUL and the position, which no other event has
//! timestamp  the milliseconds of the HLC
//! value      the data
//! headers    ce_twposition   partition:offset
//!            ce_twhlc        milliseconds.counter
//!            ce_tworigin     region.epoch.sequence
//!            ce_twversion    the version, if the event was appended with one (0 without a subject)
//!            ce_twform       kind of data: n none, j JSON, t text, b binary; S, D, C, T for a subject, schema, content
//!                            type, time; then of each extension: s text, b boolean, i integer
//!            ce_specversion ce_id ce_source ce_type [ce_subject] [ce_dataschema] [content-type] [ce_time]
//!            ce_NAME         an extension
//! ```
//!
//! They are read in this order, so that an extension cannot pass for something else, whatever its name. `ce_twform` keeps
//! what the binding loses: it has texts only. A record whose form is `trimmed` is no event: it says where an emptied partition ends.
//!
//! Source: CloudEvents 1.0.2, Kafka protocol binding, section 3.2.

pub mod assignment;

use std::fmt::Display;
use std::io::Write as _;
use std::iter::Peekable;
use tw_types::{
    Data, Epoch, EventRef, Extension, ExtensionValue, Hlc, Offset, Origin, PartitionId, RegionId, Sequence,
    StoredRef, Timestamp, Version,
};

/// The most headers that a record of ours may have.
const HEADERS_MAX: usize = 1 << 16;

const TRIMMED: &str = "trimmed";
const VERSION: &str = "ce_twversion";
const FORM: &str = "ce_twform";
const CONTENT_TYPE: &str = "content-type";

/// A place in a partition and in the history of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The event's offset; of a [`Record::Trimmed`] the end of the partition.
    pub offset: Offset,
    /// When it was first accepted; of a [`Record::Trimmed`] the last one before the end.
    pub hlc: Hlc,
    /// Where it was first accepted; of a [`Record::Trimmed`] the last one before the end.
    pub origin: Origin,
    /// Its version, if its batch had versions.
    pub version: Option<Version>,
}

/// What a record of ours says.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// An event.
    Event(Place, EventRef<'a>),
    /// All events before this end were removed.
    Trimmed(Place),
}

/// A record is not one of ours, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header `{header}` is missing, twice there, or not what it must be")]
pub struct Malformed {
    /// The header.
    pub header: &'static str,
}

/// The key of an event's record; `text` is where it is written if the event has no subject.
pub fn key<'a>(partition: PartitionId, event: &StoredRef<'a>, text: &'a mut Vec<u8>) -> &'a [u8] {
    event.event.subject.map_or_else(
        || {
            text.clear();
            let _infallible = write!(text, "\0{partition}:{}", event.offset);
            text.as_slice()
        },
        str::as_bytes,
    )
}

/// Gives each header of an event's record to `add`, in order.
pub fn write_headers(
    partition: PartitionId,
    stored: &StoredRef<'_>,
    versioned: bool,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    let event = &stored.event;
    let version = versioned.then_some(stored.version);
    let place = Place { offset: stored.offset, hlc: stored.hlc, origin: stored.origin, version };
    let mut text = Vec::new();
    write_place(partition, &place, &form(event), &mut text, add);
    add("ce_id", event.id.as_bytes());
    add("ce_source", event.source.as_bytes());
    add("ce_type", event.ty.as_bytes());
    for (name, value) in [
        ("ce_subject", event.subject),
        ("ce_dataschema", event.dataschema),
        (CONTENT_TYPE, event.datacontenttype),
    ] {
        if let Some(value) = value {
            add(name, value.as_bytes());
        }
    }
    if let Some(time) = event.time {
        add("ce_time", shown(&mut text, time));
    }
    for extension in &event.extensions {
        let name = format!("ce_{}", extension.name);
        match extension.value {
            ExtensionValue::Text(value) => add(&name, value.as_bytes()),
            ExtensionValue::Bool(value) => add(&name, shown(&mut text, value)),
            ExtensionValue::Integer(value) => add(&name, shown(&mut text, value)),
        }
    }
}

/// What texts alone do not say of an event.
fn form(event: &EventRef<'_>) -> Vec<u8> {
    let mut form = vec![match event.data {
        Data::None => b'n',
        Data::Json(_) => b'j',
        Data::Text(_) => b't',
        Data::Binary(_) => b'b',
    }];
    let optional = [
        (event.subject.is_some(), b'S'),
        (event.dataschema.is_some(), b'D'),
        (event.datacontenttype.is_some(), b'C'),
        (event.time.is_some(), b'T'),
    ];
    form.extend(optional.iter().filter(|(present, _)| *present).map(|(_, letter)| letter));
    form.extend(event.extensions.iter().map(|extension| match extension.value {
        ExtensionValue::Text(_) => b's',
        ExtensionValue::Bool(_) => b'b',
        ExtensionValue::Integer(_) => b'i',
    }));
    form
}

/// Gives each header of a record that says where an emptied partition ends to `add`, in order.
pub fn write_trimmed(partition: PartitionId, place: &Place, add: &mut dyn FnMut(&str, &[u8])) {
    let mut text = Vec::new();
    let place = &Place { version: None, ..*place };
    write_place(partition, place, TRIMMED.as_bytes(), &mut text, add);
    add("ce_id", shown(&mut text, format_args!("trimmed-{partition}-{}", place.offset)));
    add("ce_source", b"tradewind:log");
    add("ce_type", b"tradewind.log.trimmed");
}

fn write_place(
    partition: PartitionId,
    place: &Place,
    form: &[u8],
    text: &mut Vec<u8>,
    add: &mut dyn FnMut(&str, &[u8]),
) {
    add("ce_twposition", shown(text, format_args!("{partition}:{}", place.offset)));
    add("ce_twhlc", shown(text, place.hlc));
    add("ce_tworigin", shown(text, place.origin));
    if let Some(version) = place.version {
        add(VERSION, shown(text, version));
    }
    add(FORM, form);
    add("ce_specversion", b"1.0");
}

fn shown(text: &mut Vec<u8>, value: impl Display) -> &[u8] {
    text.clear();
    let _infallible = write!(text, "{value}");
    text
}

/// Whether an event with these texts can be a record: names of Kafka's headers end at a NUL.
pub(crate) fn is_writable(event: &EventRef<'_>) -> bool {
    event.extensions.len() < HEADERS_MAX - 16
        && !event.extensions.iter().any(|extension| extension.name.contains('\0'))
}

/// Reads a record of ours; headers as they come, value as it is. Headers that others have added behind ours are not
/// looked at.
///
/// # Errors
/// The header that makes it none of ours.
pub fn read<'a>(
    partition: PartitionId,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    value: Option<&'a [u8]>,
) -> Result<Record<'a>, Malformed> {
    let mut headers = headers.into_iter().take(HEADERS_MAX).peekable();
    let own = &mut headers;
    let position = take(own, "ce_twposition")?;
    let wrong = |header| move || Malformed { header };
    let offset = position
        .split_once(':')
        .filter(|(number, _)| number.parse() == Ok(partition.0))
        .and_then(|(_, offset)| offset.parse::<u64>().ok())
        .filter(|offset| *offset < u64::MAX)
        .ok_or_else(wrong("ce_twposition"))?;
    let hlc = read_hlc(take(own, "ce_twhlc")?).ok_or_else(wrong("ce_twhlc"))?;
    let origin = read_origin(take(own, "ce_tworigin")?).ok_or_else(wrong("ce_tworigin"))?;
    let version = match own.peek() {
        Some((VERSION, _)) => Some(take(own, VERSION)?.parse().map_err(|_| Malformed { header: VERSION })?),
        _ => None,
    };
    let form = take(own, FORM)?;
    take(own, "ce_specversion")?;
    let place = Place { offset: Offset(offset), hlc, origin, version: version.map(Version) };
    if form == TRIMMED {
        return Ok(Record::Trimmed(place));
    }
    Ok(Record::Event(place, read_event(form, own, value)?))
}

/// The text of the next header, which must have this name.
fn take<'a>(
    headers: &mut Peekable<impl Iterator<Item = (&'a str, &'a [u8])>>,
    header: &'static str,
) -> Result<&'a str, Malformed> {
    let found = headers.next_if(|(name, _)| *name == header).map(|(_, value)| value);
    found.and_then(|value| std::str::from_utf8(value).ok()).ok_or(Malformed { header })
}

fn read_event<'a>(
    form: &str,
    headers: &mut Peekable<impl Iterator<Item = (&'a str, &'a [u8])>>,
    value: Option<&'a [u8]>,
) -> Result<EventRef<'a>, Malformed> {
    let wrong = Malformed { header: FORM };
    let (kind, mut form) = form.as_bytes().split_first().ok_or(wrong.clone())?;
    let bytes = value.unwrap_or_default();
    let data = match kind {
        b'n' if bytes.is_empty() => Data::None,
        b'j' => Data::Json(bytes),
        b't' if std::str::from_utf8(bytes).is_ok() => Data::Text(bytes),
        b'b' => Data::Binary(bytes),
        _ => return Err(wrong),
    };
    let mut is_there = |letter| {
        let rest = form.strip_prefix(&[letter]);
        form = rest.unwrap_or(form);
        rest.is_some()
    };
    let [subject, dataschema, content_type, time] = [b'S', b'D', b'C', b'T'].map(&mut is_there);
    let mut optional = |present: bool, header| present.then(|| take(headers, header)).transpose();
    let mut event = EventRef { data, ..EventRef::default() };
    event.id = optional(true, "ce_id")?.unwrap_or_default();
    event.source = optional(true, "ce_source")?.unwrap_or_default();
    event.ty = optional(true, "ce_type")?.unwrap_or_default();
    event.subject = optional(subject, "ce_subject")?;
    event.dataschema = optional(dataschema, "ce_dataschema")?;
    event.datacontenttype = optional(content_type, CONTENT_TYPE)?;
    if let Some(text) = optional(time, "ce_time")? {
        event.time = Some(text.parse::<Timestamp>().map_err(|_| Malformed { header: "ce_time" })?);
    }
    for kind in form {
        let (name, value) = headers.next().ok_or(wrong.clone())?;
        let name = name.strip_prefix("ce_").ok_or(wrong.clone())?;
        let value = std::str::from_utf8(value).map_err(|_| wrong.clone())?;
        event.extensions.push(Extension { name, value: read_extension(*kind, value)? });
    }
    Ok(event)
}

fn read_extension(kind: u8, value: &str) -> Result<ExtensionValue<&str>, Malformed> {
    let wrong = Malformed { header: "ce_twform" };
    match (kind, value) {
        (b's', value) => Ok(ExtensionValue::Text(value)),
        (b'b', "true") => Ok(ExtensionValue::Bool(true)),
        (b'b', "false") => Ok(ExtensionValue::Bool(false)),
        (b'i', value) => value.parse().map(ExtensionValue::Integer).map_err(|_| wrong),
        _ => Err(wrong),
    }
}

fn read_hlc(text: &str) -> Option<Hlc> {
    let (millis, counter) = text.split_once('.')?;
    let millis = millis.parse::<u64>().ok().filter(|millis| *millis < 1 << 48)?;
    Some(Hlc::new(millis, counter.parse().ok()?))
}

fn read_origin(text: &str) -> Option<Origin> {
    let mut parts = text.split('.');
    let region = RegionId(parts.next()?.parse().ok()?);
    let epoch = Epoch(parts.next()?.parse().ok()?);
    let sequence = Sequence(parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(Origin { region, epoch, sequence })
}

#[cfg(test)]
mod tests;
