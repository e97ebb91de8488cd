//! Media types: which say JSON, which say text.

/// One event in JSON.
pub const EVENT: &str = "application/cloudevents+json";
/// A JSON array of events.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// One event in JSON a line.
pub const LINES: &str = "application/x-ndjson";

/// The media type without its parameters.
fn essence(media_type: &str) -> &str {
    media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim()
}

/// Whether the text is `type/subtype`, with or without parameters (RFC 9110, section 8.3.1; parameters are not looked at).
pub fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    essence(text).split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

/// Whether data of this media type is JSON: `*/json` or `*/*+json` (JSON event format, section 3.1.1).
pub fn is_json(media_type: &str) -> bool {
    // The usual case first, without looking for its parts.
    media_type == "application/json" || subtype_is(media_type, "json")
}

/// Whether data of this media type is text, if its bytes are UTF-8.
pub(super) fn is_text(media_type: &str) -> bool {
    let declares_utf8 = || {
        media_type.split(';').skip(1).any(|parameter| {
            parameter.trim().get(.."charset=".len()).is_some_and(|p| p.eq_ignore_ascii_case("charset="))
                && parameter.trim_end_matches('"').to_ascii_lowercase().ends_with("utf-8")
        })
    };
    let text = essence(media_type).get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"));
    text || subtype_is(media_type, "xml") || declares_utf8()
}

fn subtype_is(media_type: &str, name: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else { return false };
    let last = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
    last.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_its_subtype_whatever_the_parameters() {
        for json in
            ["application/json", "text/JSON", "application/vnd.shop+json; charset=utf-8", "a/json ;x=y"]
        {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "json", "application/jsonp", "application/json+xml", "text/plain; a=/json"] {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn text_is_what_says_so() {
        for text in ["text/plain", "application/xml", "image/svg+xml", "application/yaml; charset=\"UTF-8\""]
        {
            assert!(is_text(text), "{text}");
        }
        for other in ["application/octet-stream", "tex", "application/yaml; charset=latin1", "image/png"] {
            assert!(!is_text(other), "{other}");
        }
    }

    #[test]
    fn media_types_have_two_tokens() {
        assert!(is_media_type("application/json; charset=utf-8"));
        for wrong in ["", "json", "/", "a/", "/b", "a b/c", "a/b/c"] {
            assert!(!is_media_type(wrong), "{wrong}");
        }
    }
}
