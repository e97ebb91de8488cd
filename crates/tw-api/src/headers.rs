//! Headers: what a request says beside its path and its body.

use crate::{Code, Problem};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, IF_MATCH, IF_NONE_MATCH, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use std::net::IpAddr;
use tw_trace::Context;
use tw_types::{ClientToken, ExpectedVersion, Version};

/// The cut that an answer reached, or that a read must see.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("tradewind-token");
/// The region whose versions an expected one was compared with, where other regions may have others.
pub(crate) const CHECKED_IN: HeaderName = HeaderName::from_static("tradewind-checked-in");
/// Names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Says that another node has sent the request here, or that it is not this node's business.
pub const HOP: HeaderName = HeaderName::from_static("tradewind-hop");
/// Of which user a request is, as the query of `/v1/route`: it is carried on to the region that serves the user.
pub(crate) const ROUTE: HeaderName = HeaderName::from_static("tradewind-route");
/// Which region has served such a request.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("tradewind-served-by");
/// How long the servers of the log have given no sign of life, in milliseconds, if that is too long.
pub const LOG_SILENT: HeaderName = HeaderName::from_static("tradewind-log-silent-ms");
/// How long a forwarded request may take still, in milliseconds.
pub(crate) const DEADLINE: HeaderName = HeaderName::from_static("tradewind-deadline-ms");
/// The partitions of which a forwarded append takes the events, and leaves out all others.
pub(crate) const SHARE: HeaderName = HeaderName::from_static("tradewind-share");
/// Where a reader of a `text/event-stream` left off.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The longest token in a header of an answer, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The one value of a header as text; None if it is not there.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = |what| Err(Problem::parameter(name.as_str(), format!("header `{name}` {what}")));
    if values.next().is_some() {
        return wrong("is there twice: keep one");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => wrong("has characters other than printable ASCII"),
    }
}

/// The token that a read must see.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<ClientToken>, Problem> {
    text(headers, &TOKEN)?.map(|text| text.parse().map_err(Problem::from)).transpose()
}

/// A token for the header of an answer. One of very many partitions may be too long for a header; it is left out then.
pub(crate) fn token_value(token: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(token).ok().filter(|header| header.len() <= TOKEN_BYTES_MAX)
}

/// The condition of an append (RFC 9110, section 13.1); None if it has none.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<ExpectedVersion>, Problem> {
    match (text(headers, &IF_MATCH)?, text(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Problem::parameter("If-Match", "If-Match and If-None-Match contradict each other: keep one"))
        }
        (None, Some("*")) => Ok(Some(ExpectedVersion::None)),
        (None, Some(other)) => Err(Problem::parameter(
            "If-None-Match",
            format!(
                "If-None-Match is `{other}`: only * is understood here, which says that the subject has no events"
            ),
        )),
        (Some(etag), None) => {
            version_of(etag).map(|version| Some(ExpectedVersion::Exact(version))).ok_or_else(|| {
                let detail = format!("If-Match is `{etag}`: it must be one version in quotes, such as \"5\"");
                Problem::parameter("If-Match", detail)
            })
        }
    }
}

/// Whether the client has this version already, so that an answer without content will do.
pub(crate) fn has_version(headers: &HeaderMap, version: Version) -> Result<bool, Problem> {
    let tags = text(headers, &IF_NONE_MATCH)?.unwrap_or_default();
    Ok(tags.split(',').any(|tag| {
        let tag = tag.trim();
        version_of(tag.strip_prefix("W/").unwrap_or(tag)) == Some(version)
    }))
}

fn version_of(etag: &str) -> Option<Version> {
    etag.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Version)
}

/// The ETag of a version.
pub(crate) fn etag(version: Version) -> HeaderValue {
    // Quotes and digits are always allowed.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The key that makes a repeated request harmless: a string in quotes as the draft
/// draft-ietf-httpapi-idempotency-key-header says, or the same without quotes.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = text(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key);
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains(['"', '\\']) {
        let detail =
            "Idempotency-Key must have 1 to 255 characters without quotes and backslashes, such as a UUID";
        return Err(Problem::parameter("Idempotency-Key", detail));
    }
    Ok(Some(key))
}

/// Whether the client wants as little as possible back (RFC 7240, section 4.2).
pub(crate) fn prefers_minimal(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences.flat_map(|value| value.split(',')).any(|preference| preference.trim() == "return=minimal")
}

/// The trace that the request belongs to, if it names one validly (W3C Trace Context, section 3.2).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<Context> {
    headers.get(&TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// Says under which span of a trace a request is.
pub(crate) fn set_traceparent(headers: &mut HeaderMap, context: &Context) {
    // Digits and hyphens are always allowed.
    if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The content type, without parameters and in lower case; empty if there is none.
///
/// # Errors
/// When the body is encoded: we decode nothing.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<&str, Problem> {
    if let Some(encoding) = text(headers, &CONTENT_ENCODING)?.filter(|encoding| *encoding != "identity") {
        let detail = format!("content-encoding is `{encoding}`: send the body as it is");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    Ok(text(headers, &CONTENT_TYPE)?.map_or("", |value| value.split(';').next().unwrap_or_default().trim()))
}

/// The first of `offers` that the client accepts best (RFC 9110, section 12.5.1).
pub(crate) fn accept<T: Copy>(headers: &HeaderMap, offers: &[(&'static str, T)]) -> Result<T, Problem> {
    let accepted: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    let best = offers
        .iter()
        .map(|(media_type, offer)| (quality(&accepted, media_type), *offer))
        .filter(|(quality, _)| *quality > 0)
        // Of equals the first is offered: `max_by_key` would take the last.
        .rev()
        .max_by_key(|(quality, _)| *quality);
    best.map(|(_, offer)| offer).ok_or_else(|| {
        let offers: Vec<&str> = offers.iter().map(|(media_type, _)| *media_type).collect();
        Problem::new(Code::NotAcceptable, format!("the formats here are {}", offers.join(", ")))
    })
}

/// How much the client wants a media type, in thousandths; what it names precisely counts more than a wildcard.
fn quality(accepted: &[&str], media_type: &str) -> u32 {
    if accepted.iter().all(|range| range.trim().is_empty()) {
        return 1_000;
    }
    let kind = media_type.split('/').next().unwrap_or_default();
    let matches = accepted.iter().filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next()?;
        let precision = match range.split_once('/')? {
            ("*", "*") => 1,
            (range_kind, "*") if range_kind.eq_ignore_ascii_case(kind) => 2,
            _ if range.eq_ignore_ascii_case(media_type) => 3,
            _ => return None,
        };
        let q = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
        Some((precision, (q.clamp(0.0, 1.0) * 1_000.0) as u32))
    });
    matches.max_by_key(|(precision, _)| *precision).map_or(0, |(_, q)| q)
}

/// Checks that the request was meant for this server: its host is an address, `localhost` or a configured name. A web page
/// can make a browser call us under its own name (DNS rebinding), but not under one of these.
pub(crate) fn check_host(headers: &HeaderMap, uri: &Uri, names: &[String]) -> Result<(), Problem> {
    let host = match uri.host() {
        Some(host) => host,
        None => text(headers, &HOST)?.map_or("", without_port),
    };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let ours = host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(host));
    if ours {
        return Ok(());
    }
    let detail = format!(
        "`{host}` is not a name of this server: use its address, or add the name to the option `hosts`"
    );
    Err(Problem::new(Code::ForeignHost, detail))
}

/// Checks that a request that changes something was not made by a web page of another origin.
pub(crate) fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let Some(origin) = text(headers, &ORIGIN)? else { return Ok(()) };
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => text(headers, &HOST)?.unwrap_or_default(),
    };
    let same = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if same {
        return Ok(());
    }
    let detail = format!("a page of `{origin}` may not change anything here: only pages of this server may");
    Err(Problem::new(Code::ForeignOrigin, detail))
}

fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        // The colons of an IPv6 address are within brackets.
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or(authority),
        _ => authority,
    }
}

#[cfg(test)]
mod tests;
