//! Appends of changes that are asked for before they are accepted: what they need is got, and they are stored if nothing came before them.

use super::{Request, store};
use crate::endpoints::homes;
use crate::options::ms;
use crate::parts::{Closed, Obtained, Pass, Rights, RowChange};
use crate::{Code, Problem};
use std::time::Duration;
use tw_log::store::{Appended, Write};
use tw_types::{ExpectedVersion, Version};

/// How often what was got is got anew because something came before: each time, somebody else has gone on.
const TRIES_MAX: u32 = 100;

/// What stops such an append.
pub(super) enum Stopped {
    /// Another region takes it.
    Closed(Closed),
    /// It is refused, or has failed.
    Refused(Problem),
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// Has the changes of a write stored once they have what they need.
pub(super) async fn append(
    request: &Request<'_>,
    rights: &dyn Rights,
    changes: &[RowChange],
    write: Write,
) -> Result<Appended, Stopped> {
    let clock = &request.call.api.parts.env.clock;
    let deadline = clock.monotonic() + ms(request.call.options.request_timeout_ms);
    let mut ready = Some(write);
    for _ in 0..TRIES_MAX {
        let pass = homes::enter(request.call, request.stream).map_err(Stopped::Closed)?;
        let left = deadline.saturating_sub(clock.monotonic());
        // Whoever asks other regions keeps no room from others.
        let asked = request.call.ticket.elsewhere(rights.obtain(request.stream, changes, left)).await;
        let Obtained { versions, held } = match asked {
            Ok(obtained) => obtained,
            Err(refused) => return Ok(repeated(request, refused, left).await?),
        };
        let mut write = match ready.take() {
            Some(write) => write,
            None => request.write(None).await?.0,
        };
        for (subject, version) in versions {
            let expected = if version == Version::NONE {
                ExpectedVersion::None
            } else {
                ExpectedVersion::Exact(version)
            };
            write.expect(request.stream, &subject, expected);
        }
        // Others that want these rows or values wait until the write has an end, also if nobody waits for that any more.
        let stored = store(request.call, Pass::both(pass, held), write).await;
        match stored {
            Err(problem) if problem.code() == Code::VersionConflict && request.expected.is_none() => {}
            stored => return Ok(stored?),
        }
    }
    let detail = "others change the same rows all the time: try again in a moment";
    Err(Problem::new(Code::Busy, detail).into())
}

/// An append that is refused may be one that was stored before, and is sent again: then it is answered as it was. Otherwise nothing is stored, because
/// no subject has the version that is asked for.
async fn repeated(request: &Request<'_>, refused: Problem, left: Duration) -> Result<Appended, Problem> {
    if left.is_zero() {
        return Err(refused);
    }
    let (mut write, changes) = request.write(None).await?;
    for change in changes {
        write.expect(request.stream, &change.subject, ExpectedVersion::Exact(Version(u64::MAX)));
    }
    let stored = request.call.api.parts.events.append(write).await;
    stored.map_err(|_| refused)
}
