//! The data of an event: from what was sent to what is kept.

use super::error::Problem;
use super::{Limits, media};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::borrow::Cow;
use tw_types::Data;

/// The data as it was sent in JSON.
#[derive(Debug, Clone)]
pub(super) enum Sent<'a> {
    /// Member `data`: the text of a JSON value.
    Json(&'a str),
    /// Member `data_base64`.
    Base64(Cow<'a, str>),
}

/// What is kept of the data of an event in JSON (JSON event format, section 3.1.2).
pub(super) fn from_members<'a>(
    sent: Option<Sent<'a>>,
    media_type: Option<&str>,
    limits: &Limits,
) -> Result<Data<Cow<'a, [u8]>>, Problem> {
    let declares_json = media_type.is_none_or(media::is_json);
    match sent {
        None => Ok(Data::None),
        Some(Sent::Json(text)) if declares_json => {
            check_depth(text, limits.depth_max)?;
            Ok(Data::Json(Cow::Borrowed(text.as_bytes())))
        }
        Some(Sent::Json(text)) if !text.starts_with('"') => {
            let rule = "data of this content type is a JSON string in `data`, or base64 in `data_base64`";
            Err(Problem::value("datacontenttype", media_type.unwrap_or_default(), rule))
        }
        Some(Sent::Json(text)) => {
            let text: Text<'a> =
                serde_json::from_str(text).map_err(|error| Problem::DataNotJson(error.to_string()))?;
            Ok(Data::Text(match text.0 {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }))
        }
        Some(Sent::Base64(text)) => {
            let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| {
                Problem::value(
                    "data_base64",
                    &text,
                    "it must be base64 as in RFC 4648, section 4, with padding",
                )
            })?;
            if !declares_json || media_type.is_none() {
                return Ok(Data::Binary(Cow::Owned(bytes)));
            }
            Ok(Data::Json(Cow::Owned(from_body_json(&bytes, limits)?.to_vec())))
        }
    }
}

/// What is kept of a body whose media type is `media_type` (HTTP protocol binding, section 3.1.2).
pub(super) fn from_body<'a>(
    body: &'a [u8],
    media_type: Option<&str>,
    limits: &Limits,
) -> Result<Data<Cow<'a, [u8]>>, Problem> {
    let Some(media_type) = media_type else {
        return Ok(if body.is_empty() { Data::None } else { Data::Binary(Cow::Borrowed(body)) });
    };
    if body.is_empty() {
        Ok(Data::None)
    } else if media::is_json(media_type) {
        Ok(Data::Json(Cow::Borrowed(from_body_json(body, limits)?)))
    } else if media::is_text(media_type) && std::str::from_utf8(body).is_ok() {
        Ok(Data::Text(Cow::Borrowed(body)))
    } else {
        Ok(Data::Binary(Cow::Borrowed(body)))
    }
}

/// The one JSON value in `body`, without the white space around it.
fn from_body_json<'a>(body: &'a [u8], limits: &Limits) -> Result<&'a [u8], Problem> {
    let text = std::str::from_utf8(body).map_err(|error| Problem::NotUtf8(error.valid_up_to()))?;
    let value: &'a RawValue =
        serde_json::from_str(text).map_err(|error| Problem::DataNotJson(error.to_string()))?;
    check_depth(value.get(), limits.depth_max)?;
    Ok(value.get().as_bytes())
}

/// Checks that arrays and objects are nested at most `depth_max` deep. `json` is valid.
fn check_depth(json: &str, depth_max: u32) -> Result<(), Problem> {
    let opens = |b: u8| b == b'{' || b == b'[';
    // Data with fewer brackets than levels cannot be too deep, and counting bytes is many times faster than following
    // strings. This holds for nearly all data.
    if json.bytes().filter(|b| opens(*b)).count() <= depth_max as usize {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    for byte in json.bytes() {
        if in_string {
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if byte == b'"' {
            in_string = true;
        } else if opens(byte) {
            depth += 1;
            if depth > depth_max {
                return Err(Problem::TooDeep { depth_max });
            }
        } else if byte == b'}' || byte == b']' {
            depth = depth.saturating_sub(1);
        }
    }
    Ok(())
}

/// A JSON string: borrowed where nothing is escaped.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_count_as_depth() {
        check_depth(r#"{"a":"[[[[[\"[[[\\"}"#, 1).unwrap();
        check_depth("[[],[],[[]]]", 3).unwrap();
        assert_eq!(check_depth(r#"["\\",[[1]]]"#, 2), Err(Problem::TooDeep { depth_max: 2 }));
    }

    #[test]
    fn ten_million_brackets_are_refused_without_recursion() {
        let json = "[".repeat(10_000_000) + &"]".repeat(10_000_000);
        let refused = from_body(json.as_bytes(), Some("application/json"), &Limits::default());
        assert_eq!(refused, Err(Problem::TooDeep { depth_max: 100 }));
    }
}
