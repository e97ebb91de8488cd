//! Bodies: what is read of a request, within its limits, and what an answer is made of.

use crate::options::{Options, ms};
use crate::service::resize;
use crate::{Code, Problem};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::any::Any;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tw_env::Live;

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

/// A body up to this many bytes is not counted: `requests_max` of them are few bytes.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;

/// How long nothing of a body that is counted may come: its share is what others wait for.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// How long the rest of a body that is refused is taken.
const FORGET_MAX: Duration = Duration::from_secs(2);

/// The bodies of all requests under way, which share a budget of bytes.
pub(crate) struct Bodies {
    limits: Live<BodyLimits>,
    budget: Arc<Semaphore>,
}

/// What holds for bodies.
#[derive(Clone, Copy)]
struct BodyLimits {
    bytes_max: usize,
    bytes_total_max: u32,
    timeout: Duration,
}

impl BodyLimits {
    fn new(options: &Options) -> Self {
        Self {
            bytes_max: options.body_bytes_max as usize,
            bytes_total_max: options.body_bytes_total_max,
            timeout: ms(options.body_timeout_ms),
        }
    }
}

/// A body, and its share of the budget for as long as it is kept.
pub(crate) struct Received {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// The same bytes, for whoever needs them longer. They count as long as this value lives.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body was not taken.
enum Refused {
    /// It has too many bytes.
    TooLarge,
    /// There is no room for it now.
    NoRoom,
    /// It has a share of the budget, and nothing of it came for this long.
    Idle(Duration),
    /// The client broke it off.
    Broken(hyper::Error),
}

impl From<hyper::Error> for Refused {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}

impl Bodies {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            limits: Live::new(BodyLimits::new(options)),
            budget: Arc::new(Semaphore::new(options.body_bytes_total_max as usize)),
        }
    }

    /// Puts other limits into effect, for bodies that come from now on.
    pub(crate) fn reconfigure(&self, options: &Options) {
        let before = self.limits.set(BodyLimits::new(options));
        resize(&self.budget, before.bytes_total_max, options.body_bytes_total_max);
    }

    /// Reads the whole body of a request.
    ///
    /// # Errors
    /// `body_too_large`, `body_timeout`, `overloaded` when the bodies of other requests leave no room for it, or
    /// `invalid_body` when the client breaks it off.
    pub(crate) async fn read(&self, mut body: Incoming) -> Result<Received, Problem> {
        let limits = *self.limits.get();
        let BodyLimits { bytes_max, timeout, .. } = limits;
        let received = match self.share_of(&body, limits).await {
            Ok(share) => tokio::time::timeout(timeout, self.collect(&mut body, share, limits)).await,
            Err(refused) => Ok(Err(refused)),
        };
        let refused = match received {
            Ok(Ok(received)) => return Ok(received),
            Ok(Err(Refused::Idle(quiet))) => {
                let detail = format!("nothing of the body arrived for {} ms", quiet.as_millis());
                return Err(Problem::new(Code::BodyTimeout, detail));
            }
            Ok(Err(refused)) => refused,
            Err(_) => {
                let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
                return Err(Problem::new(Code::BodyTimeout, detail));
            }
        };
        if !matches!(refused, Refused::Broken(_)) {
            // A client that is still sending would not see the answer if the connection were closed now.
            let _best_effort =
                tokio::time::timeout(timeout.min(FORGET_MAX), discard(&mut body, bytes_max)).await;
        }
        Err(match refused {
            Refused::TooLarge => {
                let detail = format!(
                    "the body is over the limit of {bytes_max} bytes: split it, or raise `body_bytes_max`"
                );
                Problem::new(Code::BodyTooLarge, detail).with(|m| m.limit = Some(bytes_max as u64))
            }
            Refused::NoRoom | Refused::Idle(_) => no_room(limits.bytes_total_max),
            Refused::Broken(error) => Problem::new(Code::InvalidBody, format!("the body broke off: {error}")),
        })
    }

    /// Takes what a client still sends of a request that is refused, for a moment: if the connection were closed now, it would not
    /// see the answer. Who waits for an invitation sends nothing.
    pub(crate) async fn forget(&self, mut body: Incoming, headers: &HeaderMap) {
        if body.is_end_stream() || headers.contains_key(EXPECT) {
            return;
        }
        let limits = *self.limits.get();
        let _best_effort =
            tokio::time::timeout(limits.timeout.min(FORGET_MAX), discard(&mut body, limits.bytes_max)).await;
    }

    /// The share of a body that says how long it is. It waits for its turn and has read nothing meanwhile, so that the
    /// bodies that are being read always end.
    async fn share_of(
        &self,
        body: &Incoming,
        limits: BodyLimits,
    ) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        let announced = announced(body);
        if announced <= UNCOUNTED_BYTES_MAX || announced > limits.bytes_max {
            return Ok(None);
        }
        // It is not over the limit, which is a number of 32 bits.
        let share = self.budget.clone().acquire_many_owned(announced as u32);
        let share = tokio::time::timeout(limits.timeout, share).await;
        share.ok().and_then(Result::ok).map(Some).ok_or(Refused::NoRoom)
    }

    /// The body, which has this share of the budget. What came in one piece is not copied.
    async fn collect(
        &self,
        body: &mut Incoming,
        mut share: Option<OwnedSemaphorePermit>,
        limits: BodyLimits,
    ) -> Result<Received, Refused> {
        let BodyLimits { bytes_max, timeout, .. } = limits;
        let announced = announced(body);
        if announced > bytes_max {
            return Err(Refused::TooLarge);
        }
        let quiet = timeout.min(QUIET_MAX);
        let Some(first) = next_of(body, share.is_some(), quiet).await? else {
            return Ok(Received { bytes: Bytes::new(), _share: share });
        };
        self.grow(&mut share, first.len(), bytes_max)?;
        let Some(second) = next_of(body, share.is_some(), quiet).await? else {
            return Ok(Received { bytes: first, _share: share });
        };
        self.grow(&mut share, first.len() + second.len(), bytes_max)?;
        // What is announced is not believed further than the limit.
        let mut whole = BytesMut::with_capacity(announced.max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(bytes) = next_of(body, share.is_some(), quiet).await? {
            self.grow(&mut share, whole.len() + bytes.len(), bytes_max)?;
            whole.extend_from_slice(&bytes);
        }
        Ok(Received { bytes: whole.freeze(), _share: share })
    }

    /// Makes the share of a body that did not say how long it is enough for this many bytes. It does not wait, because
    /// what it has might be what others wait for.
    fn grow(
        &self,
        share: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
        bytes_max: usize,
    ) -> Result<(), Refused> {
        if bytes > bytes_max {
            return Err(Refused::TooLarge);
        }
        let has = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= UNCOUNTED_BYTES_MAX.max(has) {
            return Ok(());
        }
        let more = self.budget.clone().try_acquire_many_owned((bytes - has) as u32);
        let more = more.map_err(|_| Refused::NoRoom)?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
        Ok(())
    }
}

fn no_room(limit: u32) -> Problem {
    let detail = format!(
        "the bodies of the requests under way have {limit} bytes, which is the limit: try again in a moment, or \
         raise `body_bytes_total_max`"
    );
    Problem::new(Code::Overloaded, detail).with(|members| members.limit = Some(u64::from(limit)))
}

/// How many bytes a body says that it has; 0 if it does not say.
fn announced(body: &Incoming) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
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

/// The next piece of a body. One that takes from what others need must not be quiet for long.
async fn next_of(body: &mut Incoming, has_share: bool, quiet: Duration) -> Result<Option<Bytes>, Refused> {
    if !has_share {
        return Ok(next(body).await?);
    }
    match tokio::time::timeout(quiet, next(body)).await {
        Ok(piece) => Ok(piece?),
        Err(_) => Err(Refused::Idle(quiet)),
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
