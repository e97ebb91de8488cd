//! What is given back of a region: what is here of it, as far as there is a place for it on the other side.
//!
//! A region that has lost its log has no streams but those that all have. The definitions of others may depend on what it had accepted itself, so
//! that comes first; and nothing that is later than the first event of a stream that it has not yet, or an effect could be there before its cause.

use super::super::evictions::readmit;
use super::super::receiver::Event;
use super::super::sender::{self, Source};
use super::super::{Shared, own, streams};
use super::Error;
use crate::link::handshake::{Agreed, Local, LocalStream, Refusal};
use crate::link::wire::Hello;
use tokio::sync::{mpsc, oneshot};
use tw_types::{Hlc, RegionId};

/// What is not given back, because the other side has no place for it.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    /// In which streams it is.
    pub(super) streams: Vec<String>,
    /// Its first event in a stream that the other side has not at all.
    below: Option<Hlc>,
}

impl Withheld {
    /// What cannot be given back of region `of`; a refusal if who asks would not know that it lacks something.
    pub(super) async fn find(
        shared: &Shared,
        local: &Local,
        theirs: &Hello,
        agreed: &Agreed,
        of: RegionId,
    ) -> Result<Result<Self, Refusal>, Error> {
        let mut withheld = Self::default();
        for stream in &local.streams {
            if agreed.streams.values().any(|one| one.id == stream.id) || !has(shared, stream, of).await? {
                continue;
            }
            let is_there = theirs.streams.iter().any(|one| one.name == stream.name);
            // One that differs becomes the same by definitions that may depend on what is in it. So there what is later comes first; who accepts
            // something meanwhile takes nothing.
            if !agreed.is_in_part() || is_there && !theirs.restores {
                let (stream, there) = (stream.name.clone(), theirs.region);
                return Ok(Err(Refusal::MissingStream { stream, of, there }));
            }
            withheld.streams.push(stream.name.clone());
            if !is_there {
                let first = first(shared, stream, of).await?;
                withheld.below = withheld.below.into_iter().chain(first).min();
            }
        }
        Ok(Ok(withheld))
    }

    /// The rest of what is here of region `of`, for a region that is `theirs.region`.
    pub(super) async fn source(
        &self,
        shared: &Shared,
        queue: &mpsc::Sender<Event>,
        theirs: &Hello,
        of: RegionId,
    ) -> Result<Source, Error> {
        let (reply, heard) = oneshot::channel();
        let epoch = (of == theirs.region).then_some(theirs.epoch);
        if let Some(epoch) = epoch {
            // Before it is told what is here: nobody may rely from now on on what it does not know.
            readmit(shared, of, epoch).await?;
        }
        queue.send(Event::GiveBack { of, epoch, reply }).await.map_err(|_| Error::Ended)?;
        let heard = heard.await.map_err(|_| Error::Ended)?;
        Ok(Source::of(shared, of, heard, self.below).await?)
    }
}

/// Whether a region has accepted something in a stream, as far as it is known here.
async fn has(shared: &Shared, stream: &LocalStream, of: RegionId) -> Result<bool, Error> {
    for at in streams::partitions(std::slice::from_ref(stream)) {
        let marks = shared.events.received(at).await.map_err(sender::Error::from)?;
        if marks.iter().any(|mark| mark.origin.region == of) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first event of a region in a stream that is still there.
async fn first(shared: &Shared, stream: &LocalStream, of: RegionId) -> Result<Option<Hlc>, Error> {
    let (log, mut first) = (shared.events.log().as_ref(), None);
    for at in streams::partitions(std::slice::from_ref(stream)) {
        let start = log.bounds(at).map_err(sender::Error::from)?.start;
        let block = own::next(log, at, of, start, |_| true).await.map_err(sender::Error::from)?;
        first = first.into_iter().chain(block.map(|block| block.header().first_hlc)).min();
    }
    Ok(first)
}
