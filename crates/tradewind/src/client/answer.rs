//! The answer to a request.

use super::{ANSWER_BYTES_MAX, Problem};
use crate::error::{Error, Result};
use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

/// An answer, whose body comes piece by piece.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Incoming>,
    url: String,
}

impl Answer {
    pub(super) fn new(response: Response<Incoming>, url: String) -> Self {
        Self { response, url }
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body; None at its end.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Error::Lost { url: self.url.clone(), source: Box::new(error) });
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Error::Lost`]; [`Error::Answer`] when it is too long to be held in memory.
    pub(crate) async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece().await? {
            if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(self.not_understood(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The body as a JSON value.
    ///
    /// # Errors
    /// Those of [`Answer::bytes`]; [`Error::Answer`].
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let url = self.url.clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer { url, reason: error.to_string() })
    }

    /// An error about this answer.
    pub(crate) fn not_understood(&self, reason: impl Into<String>) -> Error {
        Error::Answer { url: self.url.clone(), reason: reason.into() }
    }

    /// The problem that an answer tells which says no.
    pub(super) async fn into_problem(self) -> Box<Problem> {
        let status = self.status();
        let retry_after_s = self.header(&RETRY_AFTER).and_then(|text| text.parse().ok());
        let bytes = self.bytes().await.unwrap_or_default();
        Box::new(Problem { retry_after_s, ..Problem::read(status, &bytes) })
    }
}
