//! Wound-wait: a session waits for its turn, and nobody waits in a circle.
//!
//! A session that waits for a lock whose holder is younger *wounds* the holder. A wounded session may go on with what it
//! holds, but it must not wait for anything: a wait under way ends, and a new one is refused. So where sessions wait for each
//! other in a circle, the oldest of them wounds the one that it waits for, and the circle is broken. A wounded session that was
//! refused to wait has some time of grace to release what the older one waits for; then it is taken away, and its fencing token
//! is out of date. A holder that asks for nothing more is never disturbed.
//!
//! Nothing is decided once and for all: everybody who waits looks again whenever the line, the holder's record or its own
//! record changes.

use super::parent;
use super::record::{Book, SessionV1};
use crate::line::{self, Line, Place, pause_after};
use crate::{
    Coordination, Entry, Error, Guard, LeaseId, Range, Result, Revision, Transaction, Waiter, Watch,
};
use std::sync::Arc;
use std::time::Duration;

/// The wounds of a session, looked at anew.
pub(super) struct Wounds {
    /// The locks that it holds and that an older session waits for.
    pub(super) real: Vec<String>,
    /// Those that no older session waits for any more, or that it does not hold.
    healed: Vec<String>,
}

impl Wounds {
    pub(super) async fn of(
        coordination: &Arc<dyn Coordination>,
        id: LeaseId,
        age: Revision,
        record: &SessionV1,
    ) -> Result<Self> {
        let (mut real, mut healed) = (Vec::new(), Vec::new());
        for name in record.wounds.keys() {
            let line = Line::new(coordination.clone(), parent(name)?).waiters().await?;
            let is_holder = line.first().is_some_and(|holder| holder.lease == Some(id));
            let is_wanted = line.iter().any(|waiter| waiter.age.is_some_and(|other| other < age));
            if is_holder && is_wanted { real.push(name.clone()) } else { healed.push(name.clone()) }
        }
        Ok(Self { real, healed })
    }
}

/// A place in a line whose turn is waited for.
pub(super) struct Turn<'t> {
    pub(super) coordination: &'t Arc<dyn Coordination>,
    pub(super) book: &'t Book,
    pub(super) line: &'t Line,
    pub(super) place: &'t Place,
    /// Of the lock.
    pub(super) name: &'t str,
    /// Of the session.
    pub(super) age: Revision,
    pub(super) grace: Duration,
}

/// What a look at the line has shown.
enum Look {
    /// It is our turn.
    Turn,
    /// Somebody else's.
    Wait {
        /// What was seen.
        seen: Revision,
        /// Those whose changes matter.
        watched: Vec<Range>,
        /// When to look again in any case.
        until: Option<Duration>,
    },
}

/// Watches that are kept open from look to look, as far as they still matter: to open one costs a server more than to
/// tell a change.
struct Watches<'t> {
    coordination: &'t Arc<dyn Coordination>,
    open: Vec<(Range, Box<dyn Watch>)>,
}

impl Watches<'_> {
    /// Waits until one of these ranges has changed since it was seen, perhaps before, or until then.
    async fn change(&mut self, seen: Revision, watched: Vec<Range>, until: Option<Duration>) -> Result<()> {
        self.open.retain(|(range, _)| watched.contains(range));
        for range in watched {
            if self.open.iter().all(|(open, _)| *open != range) {
                self.open.push((range.clone(), self.coordination.watch(range, seen.next())));
            }
        }
        let time = self.coordination.time();
        let changes = futures_util::future::select_all(self.open.iter_mut().map(|(_, watch)| watch.next()));
        let until = time.sleep_until_any(until);
        let failed = tokio::select! {
            (changed, index, _) = changes => changed.err().map(|error| (index, error)),
            () = until => None,
        };
        let Some((index, error)) = failed else { return Ok(()) };
        // It would only repeat its error.
        self.open.remove(index);
        match error {
            // Whatever happened is forgotten already: look again.
            Error::Compacted { .. } => Ok(()),
            error => Err(error),
        }
    }
}

/// Since when a holder knows that it is wounded.
type Told = Option<(Revision, Duration)>;

impl Turn<'_> {
    /// Waits until everybody before has left, for at most `wait`, which ends at `deadline`.
    ///
    /// # Errors
    /// [`Error::Waited`], [`Error::Wounded`], [`Error::NoLease`] when the place is gone, [`Error::Refused`] and the like.
    pub(super) async fn within(&self, wait: Duration, deadline: Duration) -> Result<()> {
        let mut told = None;
        if matches!(self.look(&mut told).await?, Look::Turn) {
            return Ok(());
        }
        if !wait.is_zero() {
            let time = self.coordination.time();
            tokio::select! {
                turn = self.turn(&mut told) => return turn,
                () = self.place.lease().lost() => return Err(self.gone()),
                () = time.sleep_until(deadline) => {}
            }
        }
        let waiters = self.line.waiters().await?;
        let ahead = waiters.iter().take_while(|waiter| waiter.token < self.place.token()).count();
        // At the very last moment.
        if ahead == 0 && self.place.lease().is_held() {
            return Ok(());
        }
        self.place.lease().check()?;
        let holder = waiters.into_iter().next().map_or_else(String::new, |waiter| waiter.who);
        Err(Error::Waited { name: self.name.to_owned(), waited: wait, holder, ahead })
    }

    async fn turn(&self, told: &mut Told) -> Result<()> {
        let mut watches = Watches { coordination: self.coordination, open: Vec::new() };
        loop {
            let outcome = match self.look(told).await {
                Ok(Look::Turn) => return self.place.lease().check(),
                Ok(Look::Wait { seen, watched, until }) => watches.change(seen, watched, until).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                pause_after(self.coordination, error).await?;
            }
        }
    }

    /// Looks who is ahead, and does what there is to do about it.
    async fn look(&self, told: &mut Told) -> Result<Look> {
        let read = self.coordination.read(self.line.parent().below(), None).await?;
        let line = line::waiting(&read.entries);
        let own = line.iter().position(|(entry, _)| entry.key == *self.place.key());
        let (Some(ahead), Some((entry, holder))) = (own, line.first()) else { return Err(self.gone()) };
        if ahead == 0 {
            self.place.lease().check()?;
            return Ok(Look::Turn);
        }
        self.check_wounds().await?;
        let id = self.place.lease().id();
        let mut watched = vec![self.line.parent().below(), self.book.key(id)?.alone()];
        let mut until = None;
        if let (Some(younger), true) = (holder.lease, holder.age.is_some_and(|age| age > self.age)) {
            watched.push(self.book.key(younger)?.alone());
            until = self.wound(entry, holder, younger, told).await?;
        }
        Ok(Look::Wait { seen: read.revision, watched, until })
    }

    /// Refuses to wait while an older session waits for what ours holds.
    async fn check_wounds(&self) -> Result<()> {
        let id = self.place.lease().id();
        let (_, mut record) = self.book.get(id).await?;
        // It may have become our turn since the look at the line, and then that is no reason to go.
        record.wounds.remove(self.name);
        if record.wounds.is_empty() {
            return Ok(());
        }
        let Wounds { real, healed } = Wounds::of(self.coordination, id, self.age, &record).await?;
        let noted = |record: &mut SessionV1| {
            record.wounds.retain(|name, _| !healed.contains(name));
            record.wounds.extend(real.iter().map(|name| (name.clone(), true)));
        };
        self.book.change(id, &[], noted).await?;
        if real.is_empty() { Ok(()) } else { Err(Error::Wounded { names: real }) }
    }

    /// Wounds a younger holder. Once it knows and its grace is over, the lock is taken away; returns when that will be.
    async fn wound(
        &self,
        entry: &Entry,
        holder: &Waiter,
        id: LeaseId,
        told: &mut Told,
    ) -> Result<Option<Duration>> {
        let wounded = |record: &mut SessionV1| {
            record.wounds.entry(self.name.to_owned()).or_insert(false);
        };
        let record = match self.book.change(id, &[], wounded).await {
            Ok(record) => record,
            // It is about to leave the line.
            Err(Error::NoSession(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if record.is_none_or(|record| record.wounds.get(self.name) != Some(&true)) {
            *told = None;
            return Ok(None);
        }
        let now = self.coordination.time().now();
        let since = told.filter(|(token, _)| *token == holder.token).map_or(now, |(_, since)| since);
        *told = Some((holder.token, since));
        let until = since.saturating_add(self.grace);
        if now >= until {
            let take = Transaction::new().when(Guard::Created(entry.key.clone(), entry.created));
            self.coordination.commit(take.delete(&entry.key)).await?;
            tracing::warn!(lock = self.name, owner = holder.who, "a lock was taken from a wounded session");
        }
        Ok(Some(until))
    }

    fn gone(&self) -> Error {
        Error::NoLease(self.place.lease().id())
    }
}
