//! Functions of texts and bytes whose results DataFusion's do not give: `to_hex`, `encode`, `decode`, and those that make texts
//! longer, which are bounded here.

use super::function::{Function, type_error, value_error};
use crate::values::print::base64;
use crate::values::scan;
use datafusion::arrow::array::types::{Int32Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringViewBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use std::fmt::Write as _;
use std::sync::Arc;

/// The longest text that is made of a shorter one, in bytes.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// The most bytes of such texts that one batch of rows may have.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// How many bytes make a line of 76 digits of base64 (RFC 2045, section 6.8).
const LINE_BYTES: usize = 57;

/// The function of a name that is not taken from DataFusion.
pub(crate) fn of(name: &str) -> Option<Arc<ScalarUDF>> {
    Some(match name {
        "to_hex" => Function::giving("to_hex", DataType::Utf8View, to_hex),
        "encode" => Function::giving("encode", DataType::Utf8View, encode),
        "decode" => Function::giving("decode", DataType::Binary, decode),
        "repeat" => Function::giving("repeat", DataType::Utf8View, repeat),
        "lpad" => Function::giving("lpad", DataType::Utf8View, |arrays| pad("lpad", arrays)),
        "rpad" => Function::giving("rpad", DataType::Utf8View, |arrays| pad("rpad", arrays)),
        _ => return None,
    })
}

/// The digits of an integer's two's complement, of 32 or of 64 bits.
fn to_hex(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [numbers] = arrays else { return Err(type_error("to_hex takes an integer")) };
    let mut texts = StringViewBuilder::with_capacity(numbers.len());
    let narrow = numbers.as_primitive_opt::<Int32Type>();
    let wide = numbers.as_primitive_opt::<Int64Type>();
    for row in 0..numbers.len() {
        texts.append_option(match (narrow, wide) {
            _ if numbers.is_null(row) => None,
            (Some(numbers), _) => Some(format!("{:x}", numbers.value(row))),
            (_, Some(numbers)) => Some(format!("{:x}", numbers.value(row))),
            _ => return Err(type_error("to_hex takes an integer")),
        });
    }
    Ok(Arc::new(texts.finish()))
}

fn unknown_encoding(format: &str) -> datafusion::common::DataFusionError {
    value_error(format!("unrecognized encoding: `{}`: use base64, hex or escape", scan::shorten(format)))
}

fn encode(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [bytes, formats] = arrays else { return Err(type_error("encode takes bytes and a format")) };
    let (bytes, formats) = (bytes.as_binary::<i32>(), formats.as_string_view());
    let mut texts = StringViewBuilder::with_capacity(bytes.len());
    for (bytes, format) in bytes.iter().zip(formats) {
        let (Some(bytes), Some(format)) = (bytes, format) else {
            texts.append_null();
            continue;
        };
        texts.append_value(match format.to_ascii_lowercase().as_str() {
            "base64" => in_lines(bytes),
            "hex" => bytes.iter().fold(String::new(), |mut text, byte| {
                let _written = write!(text, "{byte:02x}");
                text
            }),
            "escape" => escaped(bytes),
            _ => return Err(unknown_encoding(format)),
        });
    }
    Ok(Arc::new(texts.finish()))
}

/// Base64 with an end of line after every full line.
fn in_lines(bytes: &[u8]) -> String {
    bytes.chunks(LINE_BYTES).fold(String::new(), |mut text, line| {
        text.push_str(&base64(line));
        if line.len() == LINE_BYTES {
            text.push('\n');
        }
        text
    })
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, byte| {
        let _written = match byte {
            0 | 0x80.. => write!(text, "\\{byte:03o}"),
            b'\\' => write!(text, "\\\\"),
            _ => write!(text, "{}", *byte as char),
        };
        text
    })
}

fn decode(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [texts, formats] = arrays else { return Err(type_error("decode takes a text and a format")) };
    let mut all = BinaryBuilder::new();
    for (text, format) in texts.as_string_view().iter().zip(formats.as_string_view()) {
        let (Some(text), Some(format)) = (text, format) else {
            all.append_null();
            continue;
        };
        let dense =
            || -> String { text.chars().filter(|c| !matches!(c, ' ' | '\n' | '\r' | '\t')).collect() };
        let bytes = match format.to_ascii_lowercase().as_str() {
            "base64" => scan::parse_base64(&dense()),
            "hex" => scan::parse_hex_bytes(&format!("\\x{}", dense())),
            "escape" => unescaped(text.as_bytes()),
            _ => return Err(unknown_encoding(format)),
        };
        all.append_value(bytes.ok_or_else(|| {
            value_error(format!("`{}` is not {}", scan::shorten(text), format.to_ascii_lowercase()))
        })?);
    }
    Ok(Arc::new(all.finish()))
}

/// `\\` is a backslash, `\ooo` a byte of three octal digits.
fn unescaped(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        text = match text {
            [] => return Some(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => return None,
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        };
    }
}

/// Texts that are made longer, within their bounds.
struct Longer {
    name: &'static str,
    texts: StringViewBuilder,
    bytes: usize,
}

impl Longer {
    fn new(name: &'static str, rows: usize) -> Self {
        Self { name, texts: StringViewBuilder::with_capacity(rows), bytes: 0 }
    }

    /// Checks that a text of so many bytes may be made.
    fn expect(&mut self, bytes: Option<usize>) -> Result<()> {
        let (name, bytes) = (self.name, bytes.unwrap_or(usize::MAX));
        if bytes > TEXT_BYTES_MAX {
            return Err(value_error(format!(
                "the result of {name}() would have more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        self.bytes += bytes;
        if self.bytes > BATCH_BYTES_MAX {
            return Err(value_error(format!(
                "the results of {name}() would have more than {BATCH_BYTES_MAX} bytes at once: use LIMIT, or shorter texts"
            )));
        }
        Ok(())
    }
}

fn repeat(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [texts, counts] = arrays else { return Err(type_error("repeat takes a text and a number")) };
    let mut longer = Longer::new("repeat", texts.len());
    for (text, count) in texts.as_string_view().iter().zip(counts.as_primitive::<Int64Type>()) {
        let (Some(text), Some(count)) = (text, count) else {
            longer.texts.append_null();
            continue;
        };
        let count = usize::try_from(count).unwrap_or(0);
        longer.expect(text.len().checked_mul(count))?;
        longer.texts.append_value(if text.is_empty() { String::new() } else { text.repeat(count) });
    }
    Ok(Arc::new(longer.texts.finish()))
}

/// `lpad` and `rpad`: texts of exactly so many characters.
fn pad(name: &'static str, arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, lengths, fills) = match arrays {
        [texts, lengths] => (texts, lengths, None),
        [texts, lengths, fills] => (texts, lengths, Some(fills.as_string_view())),
        _ => return Err(type_error(format!("{name} takes a text and a length"))),
    };
    let (texts, lengths) = (texts.as_string_view(), lengths.as_primitive::<Int64Type>());
    let mut longer = Longer::new(name, texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) || lengths.is_null(row) || fills.is_some_and(|fills| fills.is_null(row)) {
            longer.texts.append_null();
            continue;
        }
        let (text, fill) = (texts.value(row), fills.map_or(" ", |fills| fills.value(row)));
        let length = usize::try_from(lengths.value(row)).unwrap_or(0);
        let known = text.chars().count();
        if known >= length || fill.is_empty() {
            longer.expect(Some(text.len()))?;
            longer.texts.append_value(text.chars().take(length).collect::<String>());
            continue;
        }
        let widest = fill.chars().map(char::len_utf8).max().unwrap_or_default();
        longer
            .expect((length - known).checked_mul(widest).and_then(|bytes| bytes.checked_add(text.len())))?;
        let padding = fill.chars().cycle().take(length - known).collect::<String>();
        longer.texts.append_value(if name == "lpad" { padding + text } else { text.to_owned() + &padding });
    }
    Ok(Arc::new(longer.texts.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_bytes_read_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(escaped(&bytes).as_bytes()), Some(bytes));
        assert_eq!(escaped(b"a\\\0\xff"), "a\\\\\\000\\377");
        for text in [&b"\\"[..], b"\\9", b"\\400"] {
            assert_eq!(unescaped(text), None);
        }
    }

    #[test]
    fn base64_has_lines_of_76_characters() {
        assert_eq!(in_lines(&[0; 56]).len(), 76);
        assert_eq!(in_lines(&[0; 57]).len(), 77);
        assert_eq!(in_lines(&[0; 58]).find('\n'), Some(76));
    }
}
