//! Room for appends: how many bytes may be under way at once.

use crate::{Error, Result};
use parking_lot::RwLock;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The right to have bytes under way. Held until the append is done; dropping it gives it back.
#[derive(Debug)]
pub struct Permit {
    _permits: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// A permit of an engine that does not count.
    pub fn unlimited() -> Self {
        Self { _permits: None }
    }

    fn of(permits: OwnedSemaphorePermit) -> Self {
        Self { _permits: Some(permits) }
    }
}

/// The room of an engine, given to appends in the order in which they ask, until the engine stops.
#[derive(Debug)]
pub struct Permits {
    room: Arc<Semaphore>,
    append_bytes_max: usize,
    closed: RwLock<Option<Error>>,
}

impl Permits {
    /// Room for `in_flight_bytes_max` bytes, of which one append takes `append_bytes_max` at most.
    pub fn new(in_flight_bytes_max: u64, append_bytes_max: u64) -> Self {
        let room = usize::try_from(in_flight_bytes_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        // Permits are counted in 32 bits where they are asked for.
        let append_bytes_max = append_bytes_max.min(u32::MAX.into()) as usize;
        Self { room: Arc::new(Semaphore::new(room)), append_bytes_max, closed: RwLock::default() }
    }

    /// Refuses an append that is larger than one may be.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check(&self, bytes: usize) -> Result<()> {
        let bytes_max = self.append_bytes_max;
        if bytes > bytes_max { Err(Error::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// See [`Log::reserve`](crate::Log::reserve).
    ///
    /// # Errors
    /// [`Error::TooLarge`]; the reason given to [`Permits::close`].
    pub async fn reserve(&self, bytes: usize) -> Result<Permit> {
        let permits = self.room.clone().acquire_many_owned(self.count(bytes)?).await;
        permits.map(Permit::of).map_err(|_closed| self.reason())
    }

    /// See [`Log::try_reserve`](crate::Log::try_reserve).
    ///
    /// # Errors
    /// [`Error::Busy`], otherwise as [`Permits::reserve`].
    pub fn try_reserve(&self, bytes: usize) -> Result<Permit> {
        let permits = self.room.clone().try_acquire_many_owned(self.count(bytes)?);
        permits.map(Permit::of).map_err(|error| match error {
            TryAcquireError::NoPermits => Error::Busy,
            TryAcquireError::Closed => self.reason(),
        })
    }

    /// Gives no more: whoever asks or waits is told `error`. The first reason counts.
    pub fn close(&self, error: Error) {
        self.closed.write().get_or_insert(error);
        self.room.close();
    }

    /// Why no more is given, if that is so.
    pub fn closed(&self) -> Option<Error> {
        self.closed.read().clone()
    }

    fn reason(&self) -> Error {
        self.closed().unwrap_or(Error::Closed)
    }

    fn count(&self, bytes: usize) -> Result<u32> {
        self.closed().map_or(Ok(()), Err)?;
        self.check(bytes)?;
        Ok(bytes as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn whoever_asks_or_waits_for_room_is_told_why_there_is_none_any_more() {
        let permits = Permits::new(10, 8);
        assert!(matches!(permits.try_reserve(9), Err(Error::TooLarge { bytes: 9, bytes_max: 8 })));
        let held = permits.try_reserve(8).unwrap();
        assert!(matches!(permits.try_reserve(3), Err(Error::Busy)));
        let mut waiting = Box::pin(permits.reserve(3));
        assert!((&mut waiting).now_or_never().is_none());
        permits.close(Error::Fenced { writer: "a".to_owned() });
        permits.close(Error::Closed);
        drop(held);
        assert!(matches!(waiting.now_or_never(), Some(Err(Error::Fenced { .. }))));
        assert!(matches!(permits.try_reserve(1), Err(Error::Fenced { .. })));
        assert!(matches!(permits.reserve(1).now_or_never(), Some(Err(Error::Fenced { .. }))));
    }
}
