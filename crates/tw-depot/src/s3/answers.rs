//! What servers answer: between `object_store` and its HTTP client, because its errors do not let anybody look into an answer.
//!
//! Refusals become a [`Trouble`], which is found again among the causes of the crate's error. What may pass by itself stays an
//! answer, and is tried again by the crate.

use futures_util::StreamExt as _;
use http::header::HeaderMap;
use http::{StatusCode, Uri};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use std::error::Error as _;

/// So much of a refusal is read.
const REFUSAL_BYTES_MAX: usize = 16 << 10;
/// Words of servers are shorter.
const CODE_BYTES_MAX: usize = 64;

/// Why there is nothing to be had from a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It refuses.
    #[error("{0}")]
    Answer(Answer),
    /// It does not answer, or what does is not the server.
    #[error("`{server}` cannot be reached, {cause}")]
    NoAnswer {
        server: String,
        /// The innermost one.
        cause: String,
        source: HttpError,
    },
}

/// A refusal.
#[derive(Debug, thiserror::Error)]
#[error("`{server}` answers `{code}`")]
pub(super) struct Answer {
    pub(super) server: String,
    /// The server's word, or the status if it has none.
    pub(super) code: String,
    /// Where the bucket is, if the server says so.
    pub(super) region: Option<String>,
}

impl Trouble {
    /// Whether the server is one that gives keys: of machines, containers and pods, or of roles.
    pub(super) fn is_about_keys(&self) -> bool {
        let (Self::Answer(Answer { server, .. }) | Self::NoAnswer { server, .. }) = self;
        ["169.254.", "[fd00:ec2:", "sts."].iter().any(|start| server.starts_with(start))
    }
}

/// Makes clients whose answers are looked at.
#[derive(Debug)]
pub(super) struct Watched;

impl HttpConnector for Watched {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        ReqwestConnector::default().connect(options).map(|client| HttpClient::new(Client(client)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

#[async_trait::async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let server = server(request.uri());
        let response = self.0.execute(request).await.map_err(|source| {
            let kind = source.kind();
            HttpError::new(
                kind,
                Trouble::NoAnswer { server: server.clone(), cause: innermost(&source), source },
            )
        })?;
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let status = head.status;
        let code = code(&beginning(body).await).unwrap_or_else(|| status.as_u16().to_string());
        let may_pass = status.is_server_error()
            || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        if may_pass {
            return Ok(HttpResponse::from_parts(head, code.into()));
        }
        let answer = Answer { server, code, region: region(&head.headers) };
        Err(HttpError::new(HttpErrorKind::Unknown, Trouble::Answer(answer)))
    }
}

fn server(uri: &Uri) -> String {
    // Without keys that may stand before an `@`.
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

/// What is behind all other causes, which mostly repeat it.
fn innermost(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// The beginning of a body; as much of it as comes.
async fn beginning(body: HttpResponseBody) -> Vec<u8> {
    let (mut read, mut stream) = (Vec::new(), body.bytes_stream());
    while let Some(Ok(bytes)) = stream.next().await {
        let room = REFUSAL_BYTES_MAX - read.len();
        read.extend(bytes.iter().take(room));
        if bytes.len() >= room {
            break;
        }
    }
    read
}

/// The word for a refusal in an answer: `<Error><Code>NoSuchKey</Code>…`; None if there is none that makes sense.
fn code(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let makes_sense =
        (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    makes_sense.then(|| code.to_owned())
}

/// The region of a bucket that is somewhere else.
fn region(headers: &HeaderMap) -> Option<String> {
    let region = headers.get("x-amz-bucket-region")?.to_str().ok()?;
    let makes_sense = (1..=CODE_BYTES_MAX).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    makes_sense.then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_word_for_a_refusal_is_read() {
        let answer = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>x</Message></Error>";
        assert_eq!(code(answer).unwrap(), "NoSuchKey");
        for none in ["", "<html>", "<Code>", "<Code></Code>", "<Code>a b</Code>", "<Code>\u{1b}[2J</Code>"] {
            assert_eq!(code(none.as_bytes()), None, "{none}");
        }
        assert_eq!(code(format!("<Code>{}</Code>", "x".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn no_more_than_the_beginning_of_a_refusal_is_read() {
        let body = HttpResponseBody::from(vec![b'x'; 3 * REFUSAL_BYTES_MAX]);
        assert_eq!(pollster::block_on(beginning(body)).len(), REFUSAL_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_is_a_word_or_nothing(
            before in prop::collection::vec(any::<u8>(), 0..20),
            within in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let answer = [&before[..], b"<Code>", &within[..], b"</Code>"].concat();
            for answer in [&answer[..], &before[..], &within[..]] {
                if let Some(code) = code(answer) {
                    prop_assert!(code.len() <= CODE_BYTES_MAX && code.bytes().all(|byte| byte.is_ascii_alphanumeric()));
                }
            }
        }
    }
}
