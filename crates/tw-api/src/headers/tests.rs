//! Headers: what is understood, what is refused, and that nothing panics.

use super::*;
use proptest::prelude::*;

fn with(headers: &[(&'static str, &str)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

#[test]
fn conditions_are_a_version_or_none() {
    let expected = |headers: &[(&'static str, &str)]| expected(&with(headers)).map_err(|e| e.to_string());
    assert_eq!(expected(&[]), Ok(None));
    assert_eq!(expected(&[("if-match", "\"5\"")]), Ok(Some(ExpectedVersion::Exact(Version(5)))));
    assert_eq!(expected(&[("if-none-match", "*")]), Ok(Some(ExpectedVersion::None)));
    for value in ["5", "\"\"", "W/\"5\"", "*", "\"1\", \"2\"", "\"-1\"", "\"99999999999999999999\""] {
        assert!(expected(&[("if-match", value)]).is_err(), "{value}");
    }
    assert!(expected(&[("if-none-match", "\"5\"")]).is_err());
    assert!(expected(&[("if-match", "\"5\""), ("if-none-match", "*")]).is_err());
}

#[test]
fn a_client_that_has_the_version_needs_no_content() {
    let has = |value| has_version(&with(&[("if-none-match", value)]), Version(5)).unwrap();
    assert!(has("\"5\"") && has("W/\"5\"") && has("\"4\", \"5\""));
    assert!(!has("*") && !has("\"4\"") && !has("5"));
}

#[test]
fn the_best_accepted_format_is_offered() {
    let offers = [("application/json", 'j'), ("application/x-ndjson", 'n'), ("text/csv", 'c')];
    let offered = |value| accept(&with(&[("accept", value)]), &offers).map_err(|e| e.to_string());
    for (value, expected) in [
        ("", 'j'),
        ("*/*", 'j'),
        ("text/*", 'c'),
        ("application/*", 'j'),
        ("application/json;q=0.5, application/x-ndjson", 'n'),
        ("text/html, application/x-ndjson;q=0.1, */*;q=0.9", 'j'),
        ("*/*, application/json;q=0", 'n'),
        ("TEXT/CSV; charset=utf-8", 'c'),
    ] {
        assert_eq!(offered(value), Ok(expected), "{value}");
    }
    assert_eq!(accept(&HeaderMap::new(), &offers).unwrap(), 'j');
    assert_eq!(
        offered("text/html").unwrap_err(),
        "the formats here are application/json, application/x-ndjson, text/csv"
    );
}

#[test]
fn hosts_are_addresses_localhost_and_configured_names() {
    let check =
        |host, uri: &str| check_host(&with(&[("host", host)]), &uri.parse().unwrap(), &["db.lan".into()]);
    for host in
        ["localhost", "LOCALHOST:7070", "127.0.0.1:7070", "[::1]:7070", "[::1]", "192.168.1.4", "db.lan:1"]
    {
        check(host, "/v1").unwrap();
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:7070", "", "db.lan."] {
        assert_eq!(check(host, "/v1").unwrap_err().code(), Code::ForeignHost, "{host}");
    }
    // In HTTP/2 the URI names the host.
    check("", "http://localhost:7070/v1").unwrap();
    assert!(check("localhost", "http://evil.example/v1").is_err());
}

#[test]
fn only_pages_of_this_server_change_anything() {
    let check = |origin| {
        check_origin(&with(&[("host", "localhost:7070"), ("origin", origin)]), &Uri::from_static("/"))
    };
    check("http://localhost:7070").unwrap();
    for origin in ["http://localhost:3000", "null", "http://evil.example", "http://127.0.0.1:7070", ""] {
        assert_eq!(check(origin).unwrap_err().code(), Code::ForeignOrigin, "{origin}");
    }
    check_origin(&HeaderMap::new(), &Uri::from_static("/")).unwrap();
}

#[test]
fn keys_come_with_or_without_quotes() {
    let headers = with(&[("idempotency-key", "\"8e03978e-40d5\"")]);
    assert_eq!(idempotency_key(&headers).unwrap(), Some("8e03978e-40d5"));
    assert_eq!(idempotency_key(&with(&[("idempotency-key", "a b")])).unwrap(), Some("a b"));
    for value in ["", "\"\"", "a\"b", &"x".repeat(256)] {
        assert!(idempotency_key(&with(&[("idempotency-key", value)])).is_err(), "{value}");
    }
}

#[test]
fn a_trace_is_taken_only_when_it_is_valid() {
    let taken = |value| traceparent(&with(&[("traceparent", value)])).is_some();
    assert!(taken("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    for value in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
    ] {
        assert!(!taken(value), "{value}");
    }
}

#[test]
fn a_header_that_may_be_there_once_is_refused_twice() {
    let mut headers = with(&[("if-match", "\"1\"")]);
    headers.append("if-match", HeaderValue::from_static("\"2\""));
    assert_eq!(expected(&headers).unwrap_err().to_string(), "header `if-match` is there twice: keep one");
}

proptest! {
    #[test]
    fn any_header_value_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        for name in ["if-match", "if-none-match", "idempotency-key", "traceparent", "tradewind-token", "accept",
            "host", "origin", "prefer", "content-type", "content-encoding"] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), value.clone());
            let _ = (expected(&headers), idempotency_key(&headers), token(&headers), content_type(&headers));
            let _ = (traceparent(&headers), prefers_minimal(&headers), has_version(&headers, Version(1)));
            let _ = accept(&headers, &[("a/b", ()), ("text/csv", ())]);
            let _ = (check_host(&headers, &Uri::from_static("/"), &[]), check_origin(&headers, &Uri::from_static("/")));
        }
    }
}
