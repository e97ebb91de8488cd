//! How the interface says no: RFC 9457.

use crate::error::{Error, Exit};
use http::StatusCode;
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// When to try again if nobody says.
const AGAIN: Duration = Duration::from_secs(1);
/// The shortest pause, whatever a node says.
const AGAIN_MIN: Duration = Duration::from_millis(10);

/// A problem, as far as a client needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Problem {
    /// The stable code; empty if the answer did not come from a node.
    #[serde(default)]
    pub(crate) code: String,
    /// What went wrong and what to do.
    #[serde(default)]
    pub(crate) detail: String,
    /// The line of the event, from 1.
    pub(crate) line: Option<u32>,
    /// The index of the event, from 0.
    pub(crate) index: Option<u32>,
    /// The HTTP status.
    #[serde(default)]
    pub(crate) status: u16,
    /// After how many seconds it makes sense to try again.
    #[serde(skip)]
    pub(crate) retry_after_s: Option<u64>,
    /// The same in milliseconds, more precisely.
    pub(crate) retry_after_ms: Option<u64>,
    /// What may have been meant.
    #[serde(skip)]
    pub(crate) suggestion: Option<String>,
}

impl Problem {
    /// From the body of an answer; what did not come from a node is quoted.
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        let read = serde_json::from_slice::<Self>(body).ok().filter(|problem| !problem.detail.is_empty());
        let mut problem = read.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(body);
            let text: String = text.trim().chars().take(200).collect();
            let detail = match text.as_str() {
                "" => format!("the answer is {status}"),
                text => format!("the answer is {status}: {text}"),
            };
            Self::other(detail)
        });
        problem.status = status.as_u16();
        problem
    }

    fn other(detail: String) -> Self {
        Self {
            code: String::new(),
            detail,
            line: None,
            index: None,
            status: 0,
            retry_after_s: None,
            retry_after_ms: None,
            suggestion: None,
        }
    }

    /// A problem that was sent within an answer that had begun well.
    pub(crate) fn within(value: &serde_json::Value) -> Self {
        let read = Self::deserialize(value).ok().filter(|problem| !problem.detail.is_empty());
        read.unwrap_or_else(|| Self::other(value.to_string()))
    }

    /// After which time a request may be sent again of which nothing was done, because there was too much to do; None of any other problem.
    pub(super) fn turn(&self) -> Option<Duration> {
        if !matches!(self.code.as_str(), "over_capacity" | "overloaded" | "busy") {
            return None;
        }
        let whole = self.retry_after_s.map(Duration::from_secs);
        let precise = self.retry_after_ms.map(Duration::from_millis);
        Some(precise.or(whole).unwrap_or(AGAIN).max(AGAIN_MIN))
    }

    /// Says how often it was tried, if it was more than once.
    pub(super) fn after(mut self: Box<Self>, tries: u32, time: Duration) -> Box<Self> {
        if tries > 1 {
            self.detail += &format!(" (tried {tries} times in {:.1} s)", time.as_secs_f64());
        }
        self
    }

    /// The exit code that tells it to a script.
    pub(crate) fn exit(&self) -> Exit {
        match self.status {
            404 => Exit::NotFound,
            408 | 504 => Exit::Timeout,
            400..=499 => Exit::Refused,
            _ => Exit::Error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) if !self.detail.starts_with("line ") => write!(f, "line {line}: {}", self.detail),
            _ => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_read_and_anything_else_is_quoted() {
        let body = br#"{"type":"/docs/errors#no_stream","title":"there is no such stream","status":404,"code":"no_stream","detail":"there is no stream `a`"}"#;
        let problem = Problem::read(StatusCode::NOT_FOUND, body);
        assert_eq!(
            (problem.to_string().as_str(), problem.exit()),
            ("there is no stream `a`", Exit::NotFound)
        );
        let problem = Problem::read(StatusCode::BAD_GATEWAY, b"<html>nginx</html>");
        assert_eq!(problem.to_string(), "the answer is 502 Bad Gateway: <html>nginx</html>");
        assert_eq!(problem.exit(), Exit::Error);
    }

    #[test]
    fn what_was_turned_away_for_a_moment_is_tried_again_and_nothing_else() {
        let read = |body: &str| Problem::read(StatusCode::SERVICE_UNAVAILABLE, body.as_bytes());
        let full = read(r#"{"code":"over_capacity","detail":"full","retry_after_ms":250}"#);
        assert_eq!(full.turn(), Some(Duration::from_millis(250)));
        let busy = Problem { retry_after_s: Some(3), ..read(r#"{"code":"busy","detail":"full"}"#) };
        assert_eq!(busy.turn(), Some(Duration::from_secs(3)));
        assert_eq!(
            read(r#"{"code":"overloaded","detail":"full","retry_after_ms":0}"#).turn(),
            Some(AGAIN_MIN)
        );
        for body in
            [r#"{"code":"outcome_unknown","detail":"?"}"#, r#"{"code":"no_owner","detail":"?"}"#, "<html>"]
        {
            assert_eq!(read(body).turn(), None, "{body}");
        }
        let said = |tries| Box::new(full.clone()).after(tries, Duration::from_millis(1_240)).to_string();
        assert_eq!([said(1), said(3)], ["full", "full (tried 3 times in 1.2 s)"]);
    }

    #[test]
    fn exit_codes_tell_refusals_from_timeouts() {
        let exit = |status| Problem { status, ..Problem::other(String::new()) }.exit();
        assert_eq!(
            [exit(409), exit(412), exit(504), exit(507)],
            [Exit::Refused, Exit::Refused, Exit::Timeout, Exit::Error]
        );
    }
}
