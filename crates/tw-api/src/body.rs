//! Bodies: what is read of a request, within its limits, and what an answer is made of.

use crate::options::{Options, ms};
use crate::{Code, Problem};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::any::Any;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Nothing more follows, although the answer is not complete: the connection is closed so that the client notices.
#[derive(Debug, thiserror::Error)]
#[error("the answer is cut off: {0}")]
pub(crate) struct CutOff(pub(crate) Problem);

/// The body of an answer: all at once, or piece by piece as fast as the client takes them.
pub(crate) struct Body {
    content: Content,
    /// What is given back when the body is done: a place among the requests or readers.
    held: Option<Box<dyn Any + Send>>,
}

enum Content {
    Full(Bytes),
    Stream(BoxStream<'static, Result<Bytes, CutOff>>),
}

impl Body {
    /// No content.
    pub(crate) fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// Content that is there already.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes), held: None }
    }

    /// Content that is made while it is sent. It is made only as fast as the client takes it, and dropped when the client
    /// goes.
    pub(crate) fn stream(pieces: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static) -> Self {
        Self { content: Content::Stream(Box::pin(pieces)), held: None }
    }

    /// Keeps `guard` until the body is sent or dropped.
    pub(crate) fn hold(&mut self, guard: impl Any + Send) {
        self.held = Some(match self.held.take() {
            None => Box::new(guard),
            Some(other) => Box::new((other, guard)),
        });
    }

    /// Whether it is made while it is sent.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut self.content {
            Content::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream(pieces) => {
                let piece = ready!(pieces.as_mut().poll_next(cx));
                if piece.is_none() {
                    self.content = Content::Full(Bytes::new());
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads the whole body of a request.
///
/// # Errors
/// `body_too_large`, `body_timeout`, or `invalid_body` when the client breaks it off.
pub(crate) async fn read(mut body: Incoming, options: &Options) -> Result<Bytes, Problem> {
    let bytes_max = options.body_bytes_max as usize;
    let timeout = ms(options.body_timeout_ms);
    let outcome = tokio::time::timeout(timeout, collect(&mut body, bytes_max)).await;
    match outcome {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => {
            // A client that is still sending would not see the answer if the connection were closed now.
            let _best_effort =
                tokio::time::timeout(timeout.min(ms(2_000)), discard(&mut body, bytes_max)).await;
            let detail = format!("the body is over the limit of {bytes_max} bytes: split it");
            Err(Problem::new(Code::BodyTooLarge, detail).with(|m| m.limit = Some(bytes_max as u64)))
        }
        Ok(Err(error)) => Err(Problem::new(Code::InvalidBody, format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
            Err(Problem::new(Code::BodyTimeout, detail))
        }
    }
}

/// The body, or None when it has more than `bytes_max` bytes. What came in one piece is not copied.
async fn collect(body: &mut Incoming, bytes_max: usize) -> Result<Option<Bytes>, hyper::Error> {
    let announced = body.size_hint().lower() as usize;
    if announced > bytes_max {
        return Ok(None);
    }
    let Some(first) = next(body).await? else { return Ok(Some(Bytes::new())) };
    if first.len() > bytes_max {
        return Ok(None);
    }
    let Some(second) = next(body).await? else { return Ok(Some(first)) };
    // What is announced is not believed further than the limit.
    let mut whole = BytesMut::with_capacity(announced.min(bytes_max).max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > bytes_max {
            return Ok(None);
        }
        whole.extend_from_slice(&bytes);
        piece = next(body).await?;
    }
    Ok(Some(whole.freeze()))
}

/// Reads on, up to `bytes_max` bytes, and forgets it.
async fn discard(body: &mut Incoming, bytes_max: usize) {
    let mut bytes = 0;
    while let Ok(Some(piece)) = next(body).await {
        bytes += piece.len();
        if bytes > bytes_max {
            return;
        }
    }
}

/// The next piece of data; trailers are skipped.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
