//! The steward: it switches views over to generations that have caught up, and removes what is not used any more.
//!
//! A rebuilt generation never takes over before each of its partitions is at least as far as the running one, so that
//! readers never go back. Under a stream of new events two generations would race for ever; so once the new one is close,
//! the running one is held for a moment, with everything committed, until it is overtaken.

use super::generation::{Generation, Part};
use super::meta::{GenerationRecord, ViewRecord};
use super::{Building, Entry, Leaving, State, Views, leave};
use crate::Error;
use crate::pipeline::{Deps, Turn};
use crate::progress::{Standing, Wish};
use crate::schedule::Job;
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::Duration;

/// How often it looks while a generation is being built.
const LOOK: Duration = Duration::from_millis(10);
/// How often it looks whether an old generation is still being read.
const LOOK_OLD: Duration = Duration::from_millis(100);
/// How often it looks at what is built and must not take over yet: whether it has to be built anew.
const LOOK_HELD: Duration = Duration::from_millis(500);
/// How long it waits after a switch that did not come off.
const REST: Duration = Duration::from_secs(1);

/// See the module's text.
pub(crate) struct Steward {
    views: Weak<Views>,
}

impl Steward {
    /// Gives the views their steward.
    pub(crate) fn start(views: &Arc<Views>) {
        let task = views.scheduler.spawn(Box::new(Self { views: Arc::downgrade(views) }));
        *views.steward.lock() = Some(task);
    }
}

impl Job for Steward {
    fn turn(&mut self, _cx: &mut Context<'_>) -> Turn {
        let Some(views) = self.views.upgrade() else { return Turn::Done };
        let now = views.deps.env.clock.monotonic();
        match views.tidy(now) {
            Ok(pause) => Turn::Wait(pause.map(|pause| now + pause)),
            Err(error) => {
                tracing::warn!(%error, "the generations of views cannot be kept in order");
                Turn::Wait(Some(now + REST))
            }
        }
    }

    fn panicked(&mut self, message: &str) -> Turn {
        tracing::error!(message, "the steward of views panicked");
        Turn::Again
    }
}

impl Views {
    /// Does what is to be done now; says when there may be more.
    fn tidy(&self, now: Duration) -> Result<Option<Duration>, Error> {
        let mut state = self.state.lock();
        if state.closed {
            return Ok(None);
        }
        let names: Vec<String> = state.views.keys().cloned().collect();
        let mut looks = Vec::new();
        for name in names {
            looks.extend(self.consider_switch(&mut state, &name, now)?);
            looks.extend(settle(&mut state, &name)?.then_some(LOOK));
        }
        for number in self.desk.take_done() {
            if let Some(leaving) = state.leaving.iter_mut().find(|leaving| leaving.number == number) {
                leaving.said = true;
            }
        }
        let State { leaving, meta, .. } = &mut *state;
        let mut outcome = Ok(());
        leaving.retain(|leaving| {
            if outcome.is_err() || !leaving.can_go() {
                return true;
            }
            outcome = meta.forget(leaving.number);
            outcome.is_err()
        });
        outcome?;
        looks.extend((!state.leaving.is_empty()).then_some(LOOK_OLD));
        Ok(looks.into_iter().min())
    }

    /// Moves a switch on by a step; says when to look again, if one is to come.
    fn consider_switch(
        &self,
        state: &mut State,
        name: &str,
        now: Duration,
    ) -> Result<Option<Duration>, Error> {
        let Some(entry) = state.views.get_mut(name) else { return Ok(None) };
        let Entry { active, building, paused, on_hold, .. } = entry;
        let Some(Building { generation, holding_since, not_before }) = building else { return Ok(None) };
        if generation.parts().any(|part| part.progress.is_stale()) {
            tracing::info!(
                view = name,
                "a rebuild starts anew, because of what was decided about parked events"
            );
            if holding_since.is_some() {
                active.wish(Wish::Switch, false);
            }
            let view = generation.view.clone();
            return self.rebuild_in(state, name, Some(view)).map(|()| Some(LOOK));
        }
        if *on_hold {
            if holding_since.take().is_some() {
                active.wish(Wish::Switch, false);
            }
            return Ok(Some(LOOK_HELD));
        }
        if *paused || now < *not_before {
            return Ok(Some(LOOK));
        }
        let deps = &self.deps;
        let pairs = || active.parts().zip(generation.parts());
        match *holding_since {
            None => {
                if !is_near(deps, active, generation) {
                    return Ok(Some(LOOK));
                }
                if !has_same_parts(active, generation) {
                    return self.switch(state, name).map(|()| Some(LOOK));
                }
                active.wish(Wish::Switch, true);
                *holding_since = Some(now);
            }
            Some(since) => {
                let still = active.parts().all(|old| old.progress.is_held() || !runs(old));
                if still
                    && pairs().all(|(old, new)| distance(deps, old, new) == Some(0))
                    && self.desk.is_agreed(active.keyspace, generation.view.name(), generation.cursors())?
                {
                    return self.switch(state, name).map(|()| Some(LOOK));
                }
                if now.saturating_sub(since) > Duration::from_millis(deps.options.get().switch_ms_max) {
                    active.wish(Wish::Switch, false);
                    (*holding_since, *not_before) = (None, now + REST);
                }
            }
        }
        Ok(Some(LOOK))
    }

    fn switch(&self, state: &mut State, name: &str) -> Result<(), Error> {
        let State { views, meta, assigned, .. } = state;
        let Some(entry) = views.get_mut(name) else { return Ok(()) };
        let Some(building) = &entry.building else { return Ok(()) };
        let record = ViewRecord::new(building.generation.record.clone());
        let rows = meta.put_view(name, &record, std::slice::from_ref(&entry.active.record), assigned)?;
        // From here on it has happened.
        let Some(building) = entry.building.take() else { return Ok(()) };
        tracing::info!(
            view = name,
            generation = building.generation.record.number,
            "a rebuilt view takes over"
        );
        let Generation { keyspace, record, .. } = &building.generation;
        self.deps.outboxes.take_over(*keyspace, record.partitions());
        entry.view = building.generation.view.clone();
        let old = std::mem::replace(&mut entry.active, building.generation);
        entry.changed.increment();
        self.hand_over(state, rows)?;
        leave(state, old);
        Ok(())
    }
}

impl Leaving {
    fn can_go(&self) -> bool {
        self.said && self.generation.as_ref().is_none_or(Generation::is_unused)
    }
}

/// Notes that a view that could not be read can be read from now on; says whether that is still to come.
fn settle(state: &mut State, name: &str) -> Result<bool, Error> {
    let State { views, meta, assigned, .. } = state;
    let Some(entry) = views.get_mut(name) else { return Ok(false) };
    if entry.active.record.readable_from.is_empty() {
        return Ok(false);
    }
    if entry.active.missing().is_some() {
        return Ok(true);
    }
    let active = GenerationRecord { readable_from: Vec::new(), ..entry.active.record.clone() };
    let building = entry.building.as_ref().map(|building| building.generation.record.clone());
    let building = building.or_else(|| entry.orphan.clone());
    meta.put_view(name, &ViewRecord { active: active.clone(), building }, &[], assigned)?;
    entry.active.record = active;
    entry.changed.increment();
    Ok(false)
}

/// Another definition may read another stream; then there is nothing to compare.
pub(super) fn has_same_parts(old: &Generation, new: &Generation) -> bool {
    old.record.stream_id == new.record.stream_id && old.partitions() == new.partitions()
}

/// Whether what is built anew is so near to what is read that it can take over.
pub(super) fn is_near(deps: &Deps, active: &Generation, new: &Generation) -> bool {
    if !has_same_parts(active, new) {
        return new.parts().all(|part| distance(deps, part, part) == Some(0));
    }
    let near = deps.options.get().switch_events_max;
    let mut pairs = active.parts().zip(new.parts());
    pairs.all(|(old, new)| distance(deps, old, new).is_some_and(|events| events <= near))
}

/// Whether a partition goes on by itself.
fn runs(part: &Part) -> bool {
    matches!(part.progress.report().standing, Standing::Running)
}

/// How many offsets the new generation's partition is behind where it must be; None while it is not at work.
pub(super) fn distance(deps: &Deps, old: &Part, new: &Part) -> Option<u64> {
    let report = new.progress.report();
    if !report.opened || report.standing != Standing::Running {
        return None;
    }
    // Where the old one does not go on, the end of the log counts; so it does when there is no old one to compare.
    let same = Arc::ptr_eq(&old.progress, &new.progress);
    let target = if runs(old) && !same {
        old.progress.position().0
    } else {
        deps.log.bounds(new.progress.at).ok()?.end.0
    };
    Some(target.saturating_sub(report.cursor.position.0))
}
