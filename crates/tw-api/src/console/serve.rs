//! Serves the files of the console: which one, in which encoding, and with which headers.
//!
//! Files with a hash in their names are kept by browsers for ever; the shell is asked for each time, and costs an ETag if nothing
//! has changed. The policy lets the page load from this server alone, and lets nobody frame it.

use crate::body::Body;
use crate::endpoints::Outcome;
use crate::headers;
use crate::options::Options;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tw_console::{File, SHELL};

/// What the page may load and who may frame it: itself, and nobody. Svelte makes its templates under the one policy for
/// trusted types that is named; any other text that became HTML would be refused by the browser.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html console-worker",
);
const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (VARY, HeaderValue::from_static("accept, accept-encoding")),
];
/// What is below these is the interface's, and whoever misspells it is told so, in a browser too.
const INTERFACE: [&str; 5] = ["/v1", "/docs", "/metrics", "/healthz", "/readyz"];
const ASSETS: &str = "/assets/";
/// Files at the root: a service worker reaches no further than its own folder.
const AT_ROOT: [&str; 2] = ["/sw.js", "/manifest.webmanifest"];

/// Answers a request that no route takes, if it is for the console.
pub(super) fn answer(options: &Options, head: &Parts) -> Option<Outcome> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    let file = find(head.uri.path(), &head.headers)?;
    if let Err(refused) = headers::check_host(&head.headers, &head.uri, &options.hosts) {
        return Some(Err(refused));
    }
    Some(Ok(serve(file, &head.headers)))
}

/// The file that a request is for: the shell for every page, because the address says which to the script alone.
fn find(path: &str, headers: &HeaderMap) -> Option<&'static File> {
    if path.starts_with(ASSETS) || AT_ROOT.contains(&path) {
        return tw_console::find(path);
    }
    let is_below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if INTERFACE.into_iter().any(is_below) {
        return None;
    }
    // Of those who take everything most are no browsers: they get what they always got.
    let page = headers::accept(
        headers,
        &[("application/json", false), ("application/problem+json", false), ("text/html", true)],
    );
    page.unwrap_or(false).then(|| tw_console::find(SHELL)).flatten()
}

fn serve(file: &'static File, request: &HeaderMap) -> Response<Body> {
    let (encoding, content) = encode(file, request);
    // Each encoding is another representation, and has a tag of its own (RFC 9110, section 8.8.3.3).
    let tag = format!("\"{}{}\"", file.hash, encoding.map(|name| format!("-{name}")).unwrap_or_default());
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known =
        known.flat_map(|value| value.split(',')).any(|it| it.trim().trim_start_matches("W/") == tag);
    let mut response = match is_known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::full(Bytes::from_static(content))),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.extend(ALWAYS);
    let kept = if file.path.starts_with(ASSETS) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// The shortest content that the client takes, and its encoding.
fn encode(file: &'static File, request: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
    let offers = [("br", file.brotli), ("gzip", file.gzip)];
    let taken = offers
        .into_iter()
        .find_map(|(name, content)| Some((name, content.filter(|_| takes(request, name))?)));
    taken.map_or((None, file.plain), |(name, content)| (Some(name), content))
}

/// Whether the client takes an encoding. One that names none gets none.
fn takes(request: &HeaderMap, encoding: &str) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let refused =
            |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding)) && !parts.any(refused)
    })
}
