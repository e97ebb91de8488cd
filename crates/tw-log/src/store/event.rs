//! What an event must be to be written, and how large it counts.

use super::{Error, Result};
use tw_types::{EventRef, ExtensionValue, StreamDef};

/// Extension attributes whose names start so are the platform's own.
const RESERVED: &str = "tw";

/// Says why an event is refused.
pub(super) fn invalid(event: &EventRef<'_>, reason: impl Into<String>) -> Error {
    Error::InvalidEvent { id: short_id(event), reason: reason.into() }
}

/// The id of an event for an error: people need not read kilobytes of it.
fn short_id(event: &EventRef<'_>) -> String {
    event.id.chars().take(80).collect()
}

/// What takes the place of a subject: the extension `partitionkey`.
pub(super) fn partition_key<'a>(event: &EventRef<'a>) -> Option<&'a str> {
    event.extensions.iter().find_map(|extension| match extension.value {
        ExtensionValue::Text(text) if extension.name == "partitionkey" && !text.is_empty() => Some(text),
        _ => None,
    })
}

/// About how many bytes an event has when it is encoded: at least as many as it will have.
fn bytes(event: &EventRef<'_>) -> usize {
    let optional = |text: Option<&str>| text.map_or(0, |text| text.len() + 10);
    let extensions = event.extensions.iter().map(|extension| {
        let value = if let ExtensionValue::Text(text) = extension.value { text.len() } else { 0 };
        extension.name.len() + value + 20
    });
    event.id.len()
        + event.source.len()
        + event.ty.len()
        + optional(event.subject)
        + optional(event.datacontenttype)
        + optional(event.dataschema)
        + extensions.sum::<usize>()
        + event.data.bytes().len()
        + 48
}

/// How many texts an event adds to its batch at most: source, type, content type, schema, the names of its extensions,
/// and that of the extension which says the write's key.
pub(super) fn texts(event: &EventRef<'_>) -> usize {
    5 + event.extensions.len()
}

/// Checks an event by itself; returns about how many bytes it has.
pub(super) fn check(stream: &StreamDef, event: &EventRef<'_>) -> Result<usize> {
    for (attribute, value) in [("id", event.id), ("source", event.source), ("type", event.ty)] {
        if value.is_empty() {
            return Err(invalid(event, format!("its attribute `{attribute}` is empty: give it a value")));
        }
    }
    if event.subject == Some("") {
        return Err(invalid(event, "its attribute `subject` is empty: give it a value, or leave it out"));
    }
    for extension in &event.extensions {
        let name = extension.name;
        if name.starts_with(RESERVED) {
            let reason = format!("extension names that start with `tw` are reserved: rename `{name}`");
            return Err(invalid(event, reason));
        }
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            let reason =
                format!("extension `{name}` is not made of lower-case letters and digits: rename it");
            return Err(invalid(event, reason));
        }
    }
    let bytes = bytes(event);
    let bytes_max = stream.options.event_bytes_max;
    if bytes > bytes_max as usize {
        return Err(Error::EventTooLarge {
            id: short_id(event),
            stream: stream.name.clone(),
            bytes,
            bytes_max,
        });
    }
    Ok(bytes)
}
