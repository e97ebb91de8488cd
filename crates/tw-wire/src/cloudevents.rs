//! CloudEvents as text: what comes in over HTTP, and what goes out.
//!
//! Reads the JSON event format (one event, a batch, or one event a line) and the headers of the binary mode, and
//! writes stored events as JSON. An event is read in one pass: attributes and data borrow from the input wherever it
//! needs no unescaping, and JSON data stays the text that it was, byte for byte, so no number changes on its way. What
//! breaks a rule is refused with the place, the attribute, the rule and the remedy.
//!
//! Sources: CloudEvents 1.0.2, its JSON event format and its HTTP protocol binding. Two differences, both stricter: names
//! that start with `tw` are the platform's, and `time` lies between the years 1678 and 2261.

mod data;
mod draft;
mod error;
mod headers;
mod json;
mod media;
mod rules;
mod write;

pub use draft::CloudEvent;
pub use error::{Error, Place, Problem};
pub use headers::read_binary;
pub use json::{Lines, read_batch, read_event, read_lines};
pub use media::{BATCH, EVENT, LINES, is_json, is_media_type};
pub use write::{write_event, write_event_on_one_line};

/// What a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most events of one batch.
    pub events_max: u32,
    /// The most extension attributes of one event.
    pub extensions_max: u32,
    /// The longest value of one attribute, in bytes of UTF-8.
    pub attribute_bytes_max: u32,
    /// How deep arrays and objects of JSON data may be nested.
    pub depth_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events_max: 100_000, extensions_max: 64, attribute_bytes_max: 4 * 1024, depth_max: 100 }
    }
}

#[cfg(test)]
mod tests;
