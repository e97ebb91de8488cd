//! What of an event is hashed, as bytes: where it was accepted, when, and what it says.
//!
//! Version 1. Numbers are little-endian; a text is its length as 8 bytes, then its bytes; what may be absent begins with 0 or 1:
//!
//! ```text
//!  partition u32, region u16, epoch u32, sequence u64, timestamp u64, id, source, type, subject?, time? i64 (ns),
//!  media type?, schema?, number of extensions u64, each of them: name, kind u8, value, kind of data u8, data
//! ```
//!
//! Offset and version are never in it: they are those of one region.

use tw_types::{Data, ExtensionValue, PartitionId, StoredRef};

/// Writes an event in place of what is in `out`.
pub(super) fn write(out: &mut Vec<u8>, partition: PartitionId, stored: &StoredRef<'_>) {
    out.clear();
    out.extend_from_slice(&partition.0.to_le_bytes());
    out.extend_from_slice(&stored.origin.region.0.to_le_bytes());
    out.extend_from_slice(&stored.origin.epoch.0.to_le_bytes());
    out.extend_from_slice(&stored.origin.sequence.0.to_le_bytes());
    out.extend_from_slice(&stored.hlc.as_u64().to_le_bytes());
    let event = &stored.event;
    for said in [event.id, event.source, event.ty] {
        text(out, said);
    }
    optional(out, event.subject, text);
    optional(out, event.time, |out, time| out.extend_from_slice(&time.nanos().to_le_bytes()));
    optional(out, event.datacontenttype, text);
    optional(out, event.dataschema, text);
    out.extend_from_slice(&(event.extensions.len() as u64).to_le_bytes());
    for extension in &event.extensions {
        text(out, extension.name);
        match extension.value {
            ExtensionValue::Bool(value) => out.extend_from_slice(&[0, u8::from(value)]),
            ExtensionValue::Integer(value) => {
                out.push(1);
                out.extend_from_slice(&value.to_le_bytes());
            }
            ExtensionValue::Text(value) => {
                out.push(2);
                text(out, value);
            }
        }
    }
    out.push(match event.data {
        Data::None => 0,
        Data::Json(_) => 1,
        Data::Text(_) => 2,
        Data::Binary(_) => 3,
    });
    out.extend_from_slice(event.data.bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

#[cfg(test)]
mod tests;
