//! Stored events as JSON: `application/cloudevents+json`, with their place as extension attributes.

use super::rules::RESERVED;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;
use tw_types::{Data, ExtensionValue, PartitionId, StoredRef, Version};

/// Appends `event` as one JSON object. JSON data is copied byte for byte.
///
/// The place is told by four extension attributes, all of them texts: `twposition` (`partition:offset`), `twversion` (if
/// the event has a subject), `twhlc` (`milliseconds.counter`), `tworigin` (`region.epoch.sequence`).
pub fn write_event(out: &mut Vec<u8>, event: &StoredRef<'_>, partition: PartitionId) {
    write(out, event, partition, Vec::extend_from_slice);
}

/// Like [`write_event`], without any line break: those of JSON data, which can only be white space between tokens, become
/// spaces. For formats in which a line break means something.
pub fn write_event_on_one_line(out: &mut Vec<u8>, event: &StoredRef<'_>, partition: PartitionId) {
    write(out, event, partition, |out, json| {
        let start = out.len();
        out.extend_from_slice(json);
        if memchr::memchr2(b'\n', b'\r', json).is_some() {
            for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
                *byte = b' ';
            }
        }
    });
}

fn write(
    out: &mut Vec<u8>,
    stored: &StoredRef<'_>,
    partition: PartitionId,
    write_json: impl FnOnce(&mut Vec<u8>, &[u8]),
) {
    let event = &stored.event;
    out.extend_from_slice(br#"{"specversion":"1.0","id":"#);
    string(out, event.id);
    member(out, "source", event.source);
    member(out, "type", event.ty);
    for (name, text) in [
        ("subject", event.subject),
        ("datacontenttype", event.datacontenttype),
        ("dataschema", event.dataschema),
    ] {
        if let Some(text) = text {
            member(out, name, text);
        }
    }
    if let Some(time) = event.time {
        quoted(out, "time", format_args!("{time}"));
    }
    // What the platform itself has noted of an event is not for its readers.
    for extension in event.extensions.iter().filter(|extension| !extension.name.starts_with(RESERVED)) {
        name_of(out, extension.name);
        match extension.value {
            ExtensionValue::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            ExtensionValue::Integer(value) => plain(out, format_args!("{value}")),
            ExtensionValue::Text(text) => string(out, text),
        }
    }
    quoted(out, "twposition", format_args!("{partition}:{}", stored.offset));
    if stored.version != Version::NONE {
        quoted(out, "twversion", format_args!("{}", stored.version));
    }
    quoted(out, "twhlc", format_args!("{}", stored.hlc));
    quoted(out, "tworigin", format_args!("{}", stored.origin));
    match event.data {
        Data::None => {}
        Data::Json(json) => {
            name_of(out, "data");
            write_json(out, json);
        }
        // Texts are UTF-8 by construction; should one not be, it is still shown rather than lost.
        Data::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => member(out, "data", text),
            Err(_) => base64(out, text),
        },
        Data::Binary(bytes) => base64(out, bytes),
    }
    out.push(b'}');
}

/// `,"name":`
fn name_of(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn member(out: &mut Vec<u8>, name: &str, text: &str) {
    name_of(out, name);
    string(out, text);
}

/// A member whose text needs no escaping.
fn quoted(out: &mut Vec<u8>, name: &str, text: std::fmt::Arguments<'_>) {
    name_of(out, name);
    out.push(b'"');
    plain(out, text);
    out.push(b'"');
}

fn plain(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _infallible = out.write_fmt(text);
}

fn string(out: &mut Vec<u8>, text: &str) {
    let _infallible = serde_json::to_writer(out, text);
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    name_of(out, "data_base64");
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    if let Some(target) = out.get_mut(start..) {
        let _fits = STANDARD.encode_slice(bytes, target);
    }
    out.push(b'"');
}
