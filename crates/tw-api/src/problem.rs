//! Problems: how the interface says no. RFC 9457, `application/problem+json`.

mod code;
mod from;

pub use code::Code;

use crate::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, ETAG, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response};
use serde::Serialize;
use std::fmt;
use tw_types::{ClientToken, RegionId, Version};
use utoipa::ToSchema;

/// Where problems are explained; `type` of a problem is this, `#` and the code.
pub const DOCS_PATH: &str = "/docs/errors";

/// Why a request was not carried out. Whoever implements a part of the interface answers with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    detail: String,
    members: Members,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What some problems say besides code and detail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub(crate) struct Members {
    /// The attribute of the event that breaks the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attribute: Option<String>,
    /// The index of the event in the batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<u32>,
    /// The line of the event, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The parameter or header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parameter: Option<String>,
    /// The version that the subject has; 0 without events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_version: Option<u64>,
    /// The first offset that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_offset: Option<u64>,
    /// The generation of the routing plan that is in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    /// The lock that is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<String>,
    /// Who holds it, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) holder: Option<String>,
    /// How many are ahead, with the holder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ahead: Option<u64>,
    /// The region that is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<u16>,
    /// How many milliseconds ago that region has accepted what is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lag_ms: Option<u64>,
    /// The limit that was exceeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// After how many milliseconds to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u32>,
}

/// A problem as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Sent<'a> {
    /// A relative reference to the page that explains the code.
    #[serde(rename = "type")]
    #[schema(example = "/docs/errors#version_conflict")]
    ty: String,
    /// The same for every problem of this code.
    #[schema(example = "the subject has another version")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 412)]
    status: u16,
    /// The stable code.
    #[schema(example = "version_conflict")]
    code: &'static str,
    /// What went wrong this time, and what to do.
    #[schema(example = "`order-7` has version 5, not 4: read what is new, then decide again")]
    detail: &'a str,
    /// The request, as the header X-Request-Id and the server's log name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(flatten)]
    members: &'a Members,
}

impl Problem {
    /// A problem of kind `code`; `detail` says what went wrong this time and what to do: lower case, no full stop.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let inner = Inner { code, detail: detail.into(), members: Members::default(), headers: Vec::new() };
        Self(Box::new(inner))
    }

    /// A parameter or header called `name` that is not valid.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter, detail).with(|members| members.parameter = Some(name.to_owned()))
    }

    /// The subject `subject` has version `current`, which is not the expected one.
    pub fn version_conflict(subject: &str, current: Version, expected: tw_types::ExpectedVersion) -> Self {
        let detail = format!(
            "`{subject}` has version {current}, but {expected} was expected: read what is new, then decide again"
        );
        Self::new(Code::VersionConflict, detail)
            .with(|members| members.current_version = Some(current.0))
            .header(ETAG, &format!("\"{current}\""))
    }

    /// Generation `current` of the routing plan is in effect, which is not the expected one.
    pub fn routing_overtaken(current: u64, expected: u64) -> Self {
        let detail = format!(
            "generation {current} of the routing plan is in effect, but {expected} was expected: look at what has changed, then decide again"
        );
        Self::new(Code::RoutingOvertaken, detail).with(|members| members.generation = Some(current))
    }

    /// The lock `lock` did not become free: `holder` has it, and `ahead` were ahead, with the holder.
    pub fn locked(lock: &str, holder: &str, ahead: u64, detail: impl Into<String>) -> Self {
        Self::new(Code::Locked, detail).with(|members| {
            members.lock = Some(lock.to_owned());
            members.holder = Some(holder.to_owned());
            members.ahead = Some(ahead);
        })
    }

    /// What `region` has accepted `lag_ms` ago, and a token demands, did not come in time.
    pub fn region_behind(region: RegionId, lag_ms: u64, detail: impl Into<String>) -> Self {
        Self::new(Code::RegionBehind, detail).with(|members| {
            members.region = Some(region.0);
            members.lag_ms = Some(lag_ms);
        })
    }

    /// A token of another region that is of no use in region `here` (0: this installation is no region); `why` says more, and what to do, after
    /// the name of where this is.
    pub fn other_region(token: &ClientToken, here: RegionId, why: &str) -> Self {
        let given = match token.region() {
            RegionId(0) => "it is of several regions".to_owned(),
            region => format!("it was given in region {region}"),
        };
        let here = match here {
            RegionId(0) => "this installation is no region".to_owned(),
            region => format!("this is region {region}"),
        };
        Self::new(Code::OtherRegion, format!("the token is of no use here: {given}, and {here}{why}"))
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What it says.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(crate) fn with(mut self, set: impl FnOnce(&mut Members)) -> Self {
        set(&mut self.0.members);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// When to try again, instead of what holds for its code.
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        self.header(RETRY_AFTER, &seconds.to_string())
    }

    pub(crate) fn allow(methods: &str) -> Self {
        Self::new(Code::MethodNotAllowed, format!("the methods here are {methods}")).header(ALLOW, methods)
    }

    /// As a JSON object.
    pub(crate) fn to_json(&self, request_id: Option<&str>) -> Vec<u8> {
        let code = self.0.code;
        let sent = Sent {
            ty: format!("{DOCS_PATH}#{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            code: code.as_str(),
            detail: &self.0.detail,
            request_id,
            members: &self.0.members,
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&sent).unwrap_or_default()
    }

    /// As an answer.
    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        let body = Body::full(Bytes::from(self.to_json(Some(request_id))));
        let mut response = Response::new(body);
        *response.status_mut() = self.0.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.code.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in self.0.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Problem {}
