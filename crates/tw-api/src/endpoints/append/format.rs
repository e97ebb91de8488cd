//! In which format events came.

use crate::{Code, Problem, headers};
use http::HeaderMap;
use tw_wire::cloudevents::{BATCH, EVENT, LINES};

/// A format of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Attributes in headers, data in the body.
    Binary,
    /// One event in JSON.
    Event,
    /// A JSON array of events.
    Batch,
    /// One event in JSON a line.
    Lines,
}

impl Format {
    /// The format that the headers tell.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type = headers::content_type(headers)?;
        let is = |media_type: &str| content_type.eq_ignore_ascii_case(media_type);
        let refuse = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
        if is(EVENT) {
            Ok(Self::Event)
        } else if is(BATCH) {
            Ok(Self::Batch)
        } else if is(LINES) {
            Ok(Self::Lines)
        } else if content_type.to_ascii_lowercase().starts_with("application/cloudevents") {
            refuse(format!(
                "the event format `{content_type}` is not supported: send {EVENT}, {BATCH} or {LINES}"
            ))
        } else if !headers.keys().any(|name| name.as_str().starts_with("ce-")) {
            refuse(format!(
                "the content type is `{content_type}` and there are no `ce-` headers: send {EVENT}, {BATCH}, {LINES}, or the attributes as headers: ce-specversion, ce-id, ce-source, ce-type"
            ))
        } else if is("application/x-www-form-urlencoded") {
            // What curl says when it is told nothing; nobody sends an event as a form.
            refuse("the content type is `application/x-www-form-urlencoded`, which curl says by itself: say what the data is, such as application/json".to_owned())
        } else {
            Ok(Self::Binary)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Format, String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Format::of(&headers).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_content_type_decides_and_headers_mean_binary() {
        assert_eq!(of(&[("content-type", "application/cloudevents+json; charset=utf-8")]), Ok(Format::Event));
        assert_eq!(of(&[("content-type", "Application/CloudEvents-Batch+JSON")]), Ok(Format::Batch));
        assert_eq!(of(&[("content-type", "application/x-ndjson")]), Ok(Format::Lines));
        assert_eq!(of(&[("content-type", "application/json"), ("ce-id", "1")]), Ok(Format::Binary));
        assert_eq!(of(&[("ce-id", "1")]), Ok(Format::Binary));
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_would_be() {
        for headers in [
            &[("content-type", "application/json")][..],
            &[("content-type", "application/cloudevents+avro")],
            &[("content-type", "application/x-www-form-urlencoded"), ("ce-id", "1")],
            &[("content-type", "application/x-ndjson"), ("content-encoding", "gzip")],
            &[],
        ] {
            assert!(
                of(headers).unwrap_err().contains("send") || of(headers).unwrap_err().contains("say"),
                "{headers:?}"
            );
        }
    }
}
