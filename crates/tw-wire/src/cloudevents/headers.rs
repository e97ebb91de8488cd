//! The binary mode of the HTTP protocol binding: attributes are headers, the data is the body.

use super::Limits;
use super::draft::{CloudEvent, Draft, Value};
use super::error::{Error, Place, Problem, cut};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Reads an event whose attributes are the headers that start with `ce-` and whose data is `body`, of the media type in
/// `content-type`. Names of headers are lower-case, as HTTP/2 sends them; other headers are not looked at.
///
/// # Errors
/// The rule that the event breaks.
pub fn read_binary<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: &'a [u8],
    limits: &Limits,
) -> Result<CloudEvent<'a>, Error> {
    read(headers, body, limits).map_err(|problem| problem.at(Place::Single))
}

fn read<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: &'a [u8],
    limits: &Limits,
) -> Result<CloudEvent<'a>, Problem> {
    let mut draft = Draft::default();
    for (header, value) in headers {
        let refuse = |name, rule| Err(Problem::value(name, &String::from_utf8_lossy(value), rule));
        let name = match header.strip_prefix("ce-") {
            Some("datacontenttype") => {
                return refuse("datacontenttype", "in the binary mode the header content-type says it");
            }
            Some("data") => return refuse("data", "in the binary mode the data is the body"),
            Some(name) => name,
            None if header == "content-type" => {
                let value = text_of(header, value)?;
                draft.set(Cow::Borrowed("datacontenttype"), Value::Text(Cow::Borrowed(value)), limits)?;
                continue;
            }
            None => continue,
        };
        let value = unescape(name, text_of(name, value)?)?;
        draft.set(Cow::Borrowed(name), Value::Text(value), limits)?;
    }
    draft.finish_with_body(body, limits)
}

fn text_of<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Problem> {
    std::str::from_utf8(value).map_err(|_| {
        Problem::value(name, &String::from_utf8_lossy(value), "percent-encode what is not printable ASCII")
    })
}

/// Undoes quotes, then percent-encoding (section 3.1.3.2).
fn unescape<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, Problem> {
    let unquoted = match value.strip_prefix('"') {
        Some(rest) => Cow::Owned(unquote(rest).ok_or_else(|| {
            Problem::value(name, value, "the quotes do not match, write %22 for the character itself")
        })?),
        None => Cow::Borrowed(value),
    };
    if !unquoted.contains('%') {
        return Ok(unquoted);
    }
    let digits = |part: &str| {
        part.as_bytes().first_chunk().is_some_and(|hex: &[u8; 2]| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if !unquoted.split('%').skip(1).all(digits) {
        return Err(Problem::value(
            name,
            value,
            "`%` starts two hexadecimal digits, write %25 for the character itself",
        ));
    }
    let decoded = percent_decode_str(&unquoted).decode_utf8().map(Cow::into_owned);
    decoded.map(Cow::Owned).map_err(|_| Problem::Value {
        attribute: cut(name),
        value: cut(value),
        rule: "what it percent-encodes is not UTF-8",
    })
}

/// The content of a quoted string (RFC 9110, section 5.6.4), whose first quote is taken off already.
fn unquote(rest: &str) -> Option<String> {
    let mut content = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return chars.as_str().is_empty().then_some(content),
            '\\' => content.push(chars.next()?),
            c => content.push(c),
        }
    }
    None
}
