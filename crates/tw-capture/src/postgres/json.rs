//! Values of PostgreSQL as JSON, appended to a buffer.
//!
//! The input is the text that the server's output functions make. Whatever is appended is valid JSON, whatever the
//! input is: a text that is not what its type promises is refused.

/// What a value's text becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `t` and `f` become `true` and `false`.
    Bool,
    /// Digits stay digits.
    Integer,
    /// A finite number stays as it is; NaN and the infinities become strings.
    Float,
    /// `\x…` becomes a string of base64.
    Bytes,
    /// A string.
    Text,
}

/// Why a value cannot be written.
pub(crate) type Refusal = &'static str;

const NOT_UTF8: Refusal =
    "its value is not UTF-8: correct it, or change the encoding of the database to UTF8";
const NOT_BOOL: Refusal = "its value is not a boolean";
const NOT_INTEGER: Refusal = "its value is not an integer";
const NOT_FLOAT: Refusal = "its value is not a number";
const NOT_BYTES: Refusal = "its value is not in the hexadecimal form of bytea";

/// Appends the value whose text is `text`.
pub(crate) fn put(out: &mut Vec<u8>, form: Form, text: &[u8]) -> Result<(), Refusal> {
    match form {
        Form::Text => put_text(out, text),
        Form::Integer => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let leading_zero = digits.len() > 1 && digits.first() == Some(&b'0');
            if digits.is_empty() || leading_zero || !digits.iter().all(u8::is_ascii_digit) {
                return Err(NOT_INTEGER);
            }
            out.extend_from_slice(text);
            Ok(())
        }
        Form::Bool => {
            let literal: &[u8] = match text {
                b"t" => b"true",
                b"f" => b"false",
                _ => return Err(NOT_BOOL),
            };
            out.extend_from_slice(literal);
            Ok(())
        }
        Form::Float if is_number(text) => {
            out.extend_from_slice(text);
            Ok(())
        }
        Form::Float if matches!(text, b"NaN" | b"Infinity" | b"-Infinity") => put_text(out, text),
        Form::Float => Err(NOT_FLOAT),
        Form::Bytes => put_bytes(out, text),
    }
}

/// Appends a string with this text, which must be UTF-8.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| NOT_UTF8)?;
    put_str(out, text);
    Ok(())
}

/// Appends a string.
pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let clean = clean_prefix(rest);
        let (head, tail) = rest.split_at(clean);
        out.extend_from_slice(head);
        let Some((&byte, after)) = tail.split_first() else { break };
        escape(out, byte);
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes from the front need no escape: all but `"`, `\` and control characters (RFC 8259, section 7).
fn clean_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The highest bit of each byte that is zero in `x` (exact up to and including the first such byte).
    let zeros = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
    let mut clean = 0;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in chunks.by_ref() {
        let word = chunk.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = control | zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c));
        if found != 0 {
            return clean + (found.trailing_zeros() / 8) as usize;
        }
        clean += 8;
    }
    let tail = chunks.remainder();
    clean + tail.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')).unwrap_or(tail.len())
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Whether a text is a JSON number: an optional minus, digits without leading zeros, a fraction, an exponent.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        if end == 0 { None } else { text.get(end..) }
    }
    fn parse(text: &[u8]) -> Option<&[u8]> {
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let mut rest = match text {
            [b'0', rest @ ..] => rest,
            _ => digits(text)?,
        };
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = digits(fraction)?;
        }
        if let [b'e' | b'E', exponent @ ..] = rest {
            rest = digits(exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent))?;
        }
        Some(rest)
    }
    parse(text).is_some_and(<[u8]>::is_empty)
}

/// Appends the base64 (RFC 4648, section 4) of what `\x…` stands for.
fn put_bytes(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Refusal> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let hex = text.strip_prefix(b"\\x").filter(|hex| hex.len() % 2 == 0).ok_or(NOT_BYTES)?;
    out.reserve(hex.len() / 6 * 4 + 6);
    out.push(b'"');
    // Six digits are three bytes are four characters.
    for group in hex.chunks(6) {
        let mut word = 0u32;
        for &digit in group {
            word = (word << 4) | (digit as char).to_digit(16).ok_or(NOT_BYTES)?;
        }
        let bytes = group.len() / 2;
        word <<= 24 - 8 * bytes as u32;
        for position in 0..4 {
            let index = ((word >> (18 - 6 * position)) & 63) as usize;
            let character = ALPHABET.get(index).copied().unwrap_or(b'=');
            out.push(if position as usize <= bytes { character } else { b'=' });
        }
    }
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    fn written(form: Form, text: &str) -> Result<String, Refusal> {
        let mut out = Vec::new();
        put(&mut out, form, text.as_bytes()).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn each_form_of_value_has_its_json() {
        for (form, text, json) in [
            (Form::Bool, "t", "true"),
            (Form::Bool, "f", "false"),
            (Form::Integer, "-9223372036854775808", "-9223372036854775808"),
            (Form::Integer, "0", "0"),
            (Form::Float, "1e+30", "1e+30"),
            (Form::Float, "-0", "-0"),
            (Form::Float, "1.5e-07", "1.5e-07"),
            (Form::Float, "NaN", "\"NaN\""),
            (Form::Float, "-Infinity", "\"-Infinity\""),
            (Form::Bytes, "\\x", "\"\""),
            (Form::Bytes, "\\x00ff10", "\"AP8Q\""),
            (Form::Bytes, "\\x00ff", "\"AP8=\""),
            (Form::Bytes, "\\x00", "\"AA==\""),
            (Form::Text, "a\"b\\c\n\u{1}\u{7f}ü€😀", "\"a\\\"b\\\\c\\n\\u0001\u{7f}ü€😀\""),
        ] {
            assert_eq!(written(form, text).as_deref(), Ok(json));
        }
    }

    #[test]
    fn what_is_not_of_its_type_is_refused() {
        for (form, text) in [
            (Form::Bool, "true"),
            (Form::Integer, ""),
            (Form::Integer, "-"),
            (Form::Integer, "01"),
            (Form::Integer, "1}"),
            (Form::Float, ".5"),
            (Form::Float, "5."),
            (Form::Float, "1e"),
            (Form::Float, "inf"),
            (Form::Float, "0x1"),
            (Form::Bytes, "00"),
            (Form::Bytes, "\\x0"),
            (Form::Bytes, "\\x0g"),
        ] {
            assert!(written(form, text).is_err(), "{form:?} {text}");
        }
        assert!(put_text(&mut Vec::new(), b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn every_text_reads_back(text: String) {
            let json = written(Form::Text, &text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn texts_around_the_eight_byte_steps_read_back(text in "[a\"\\\\\n\u{1f} \u{80}ü]{0,40}") {
            let json = written(Form::Text, &text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn bytes_are_standard_base64(bytes: Vec<u8>) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let json = written(Form::Bytes, &format!("\\x{hex}")).unwrap();
            prop_assert_eq!(json, format!("\"{}\"", BASE64_STANDARD.encode(&bytes)));
        }

        #[test]
        fn every_float_keeps_its_digits(value: f64) {
            if value.is_finite() {
                let text = format!("{value:e}");
                prop_assert_eq!(written(Form::Float, &text), Ok(text));
            }
        }

        #[test]
        fn whatever_is_accepted_is_json(bytes: Vec<u8>, form in 0..5) {
            let form = [Form::Bool, Form::Integer, Form::Float, Form::Bytes, Form::Text][form as usize];
            let mut out = Vec::new();
            if put(&mut out, form, &bytes).is_ok() {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok()
                    || out.iter().all(|byte| byte.is_ascii_digit() || b"-+.eE".contains(byte)));
            }
        }
    }
}
