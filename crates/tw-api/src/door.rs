//! Doors: how many requests of a class are worked on at once, so that what is let in is answered about as fast as on an idle
//! node, and the rest learns at once that it has to come back.
//!
//! ```text
//!            ┌────────────── worked on ──────────────┐
//! request ──▶│ door ──▶ body ──▶ endpoint ──▶ answer begins ──▶ rows, lines, events at the pace of the client
//!    │       └──────────────┬────────▲───────────────┘
//!    ▼                      ▼        │
//!   503           waits outside: for its body, for its token, for another node
//! ```
//!
//! What is counted and measured is the work of this node until the answer begins. Whoever waits for something else steps
//! outside, so that slow clients take no room, and nodes that send each other requests never wait for each other's room. The
//! decisions are those of [`tw_plan::overload`]; this is the shell around them. `docs/adr/0014-doors.md` says why it is so.

mod kind;

pub(crate) use kind::{Class, Kind};

use crate::options::OverloadOptions;
use crate::telemetry::DoorMeters;
use crate::{Code, Problem};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tw_env::Clock;
use tw_plan::overload::{Decision, Limiter, Outcome};

/// Who waits outside keeps its room for this long: most waits are over by then, and one who is let in and leaves at once would
/// have the door let in far too many.
const GRACE: Duration = Duration::from_millis(50);
/// After so long without a refusal, the next one is told in the log.
const QUIET: Duration = Duration::from_secs(10);

/// The doors of a server.
pub(crate) struct Doors {
    clock: Arc<dyn Clock>,
    appends: Door,
    reads: Door,
    queries: Door,
}

struct Door {
    class: Class,
    meters: DoorMeters,
    state: Mutex<State>,
}

struct State {
    limiter: Limiter,
    refused_at: Option<Duration>,
}

impl Doors {
    /// Doors with nobody inside.
    ///
    /// # Errors
    /// An option is outside its bounds, which [`crate::Options::check`] rules out.
    pub(crate) fn new(options: &OverloadOptions, clock: Arc<dyn Clock>) -> Result<Self, tw_plan::Error> {
        let now_us = micros(clock.monotonic());
        let door = |class| {
            let limiter = Limiter::new(options.of(class), now_us)?;
            let state = Mutex::new(State { limiter, refused_at: None });
            let door = Door { class, meters: DoorMeters::new(class.name()), state };
            drop(door.locked());
            Ok(door)
        };
        Ok(Self {
            appends: door(Class::Appends)?,
            reads: door(Class::Reads)?,
            queries: door(Class::Queries)?,
            clock,
        })
    }

    /// Puts other options into effect, for who comes from now on.
    pub(crate) fn reconfigure(&self, options: &OverloadOptions) {
        for class in Class::ALL {
            let door = self.of(class);
            if let Err(error) = door.locked().state.limiter.reconfigure(options.of(class)) {
                tracing::error!(%error, "an option is not accepted");
            }
        }
    }

    fn of(&self, class: Class) -> &Door {
        match class {
            Class::Appends => &self.appends,
            Class::Reads => &self.reads,
            Class::Queries => &self.queries,
        }
    }

    /// Lets a request in, or refuses it.
    ///
    /// # Errors
    /// `over_capacity`.
    pub(crate) fn admit(doors: &Arc<Self>, kind: Kind) -> Result<Ticket, Problem> {
        let now = doors.clock.monotonic();
        let door = doors.of(kind.class);
        let mut locked = door.locked();
        match locked.state.limiter.admit(kind.priority, micros(now)) {
            Decision::Admit => {
                let stay =
                    Mutex::new(Stay { is_inside: true, away: Duration::ZERO, counts: kind.is_measured });
                Ok(Ticket(Some(Inside { doors: doors.clone(), kind, came: now, stay })))
            }
            Decision::Refuse { retry_after_ms } => {
                let limit = locked.state.limiter.limit();
                let before = locked.state.refused_at.replace(now);
                drop(locked);
                door.meters.refused(kind.priority);
                if before.is_none_or(|before| now.saturating_sub(before) > QUIET) {
                    let class = door.class.name();
                    tracing::warn!(
                        class,
                        limit,
                        "more requests come than are worked on in time, and some are refused"
                    );
                }
                Err(refusal(kind.class, limit, retry_after_ms))
            }
        }
    }
}

impl Door {
    fn locked(&self) -> Locked<'_> {
        // Nothing that can panic happens within the lock.
        Locked { door: self, state: self.state.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

/// A look at a door that shows its state in metrics afterwards.
struct Locked<'d> {
    door: &'d Door,
    state: MutexGuard<'d, State>,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let limiter = &self.state.limiter;
        self.door.meters.show(limiter.limit(), limiter.in_flight());
    }
}

fn refusal(class: Class, limit: u32, retry_after_ms: u32) -> Problem {
    let seconds = retry_after_ms.div_ceil(1_000);
    let detail = format!(
        "more {} come than this node works on in time, which are {limit} at once now: try again in {seconds} s",
        class.name()
    );
    Problem::new(Code::OverCapacity, detail)
        .with(|members| {
            members.limit = Some(limit.into());
            members.retry_after_ms = Some(retry_after_ms);
        })
        .retry_after(seconds)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A request that was let in. It is out when this is dropped; [`Ticket::done`] says how it went.
pub(crate) struct Ticket(Option<Inside>);

struct Inside {
    doors: Arc<Doors>,
    kind: Kind,
    came: Duration,
    stay: Mutex<Stay>,
}

struct Stay {
    is_inside: bool,
    /// How long it has waited outside.
    away: Duration,
    /// Whether its latency says how busy this node is.
    counts: bool,
}

impl Ticket {
    /// The ticket of a request that passes no door.
    pub(crate) fn free() -> Self {
        Self(None)
    }

    /// Waits for something that is not this node's work, and comes back. It keeps its room for a moment.
    pub(crate) async fn outside<F: Future>(&self, future: F) -> F::Output {
        let Some(inside) = &self.0 else { return future.await };
        let left = inside.doors.clock.monotonic();
        let mut future = pin!(future);
        let output = match tokio::time::timeout(GRACE, future.as_mut()).await {
            Ok(output) => output,
            Err(_) => {
                let steps_out = inside.step_out();
                let output = future.await;
                if steps_out {
                    inside.come_back();
                }
                output
            }
        };
        inside.stay().away += inside.doors.clock.monotonic().saturating_sub(left);
        output
    }

    /// Waits for another node that carries the request out, and comes back. It is that node's work, so it takes no room here
    /// and its latency does not count.
    pub(crate) async fn elsewhere<F: Future>(&self, future: F) -> F::Output {
        let Some(inside) = &self.0 else { return future.await };
        inside.stay().counts = false;
        let steps_out = inside.step_out();
        let output = future.await;
        if steps_out {
            inside.come_back();
        }
        output
    }

    /// Its answer begins, and this is how it went.
    pub(crate) fn done(mut self, outcome: Outcome) {
        if let Some(inside) = self.0.take() {
            inside.leave(outcome);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The client has gone.
        if let Some(inside) = self.0.take() {
            inside.leave(Outcome::Ignored);
        }
    }
}

impl Inside {
    fn door(&self) -> &Door {
        self.doors.of(self.kind.class)
    }

    fn stay(&self) -> MutexGuard<'_, Stay> {
        self.stay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps outside; whether it was inside.
    fn step_out(&self) -> bool {
        let was_inside = std::mem::replace(&mut self.stay().is_inside, false);
        if was_inside {
            self.door().locked().state.limiter.step_out(self.kind.priority);
        }
        was_inside
    }

    fn come_back(&self) {
        self.stay().is_inside = true;
        self.door().locked().state.limiter.come_back(self.kind.priority);
    }

    fn leave(&self, outcome: Outcome) {
        let Stay { is_inside, away, counts } = *self.stay();
        if !is_inside {
            return;
        }
        let outcome = if counts { outcome } else { Outcome::Ignored };
        let now = self.doors.clock.monotonic();
        let work = now.saturating_sub(self.came).saturating_sub(away);
        let door = self.door();
        if outcome == Outcome::Finished {
            door.meters.worked(work);
        }
        door.locked().state.limiter.done(self.kind.priority, micros(work), outcome, micros(now));
    }
}

#[cfg(test)]
mod tests;
