//! Building a view anew beside the generation that is read, and giving that up.

use super::generation::{Reading, Start};
use super::meta::{GenerationRecord, ViewRecord};
use super::{Building, State, Views, leave};
use crate::progress::Wish;
use crate::{Error, View};
use std::sync::Arc;
use std::time::Duration;
use tw_log::Signal;

impl Views {
    /// Builds a view anew beside the running generation, of this definition or of another one.
    pub(crate) fn rebuild(&self, name: &str, new: Option<Arc<dyn View>>) -> Result<(), Error> {
        let mut state = self.open_state()?;
        self.rebuild_in(&mut state, name, new)?;
        drop(state);
        self.rouse_steward();
        Ok(())
    }

    pub(super) fn rebuild_in(
        &self,
        state: &mut State,
        name: &str,
        new: Option<Arc<dyn View>>,
    ) -> Result<(), Error> {
        let State { meta, views, assigned, .. } = state;
        let entry = views.get_mut(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        if let Some(new) = &new
            && entry.active.record.fits(new.as_ref())
        {
            return self.give_up_building(state, name);
        }
        let view = new.unwrap_or_else(|| entry.view.clone());
        let stream = self.deps.log.streams().by_id(view.stream())?.clone();
        let mut retired = Vec::new();
        let record = match entry.orphan.take() {
            Some(record) if record.fits(view.as_ref()) => record,
            other => {
                retired.extend(other);
                meta.allocate(view.as_ref(), &stream, entry.active.record.life)?
            }
        };
        let aborted = entry.building.take().map(|building| building.generation);
        retired.extend(aborted.as_ref().map(|generation| generation.record.clone()));
        let view_record = ViewRecord { active: entry.active.record.clone(), building: Some(record.clone()) };
        let rows = meta.put_view(name, &view_record, &retired, assigned)?;
        entry.building = Some(self.build(
            &view,
            &record,
            &entry.changed,
            Start { paused: entry.paused, ..Start::anew(assigned) },
        )?);
        entry.changed.increment();
        self.hand_over(state, rows)?;
        if let Some(generation) = aborted {
            leave(state, generation);
        }
        Ok(())
    }

    /// The definition that is read is the one that is wanted: what is built anew is not.
    fn give_up_building(&self, state: &mut State, name: &str) -> Result<(), Error> {
        let State { views, meta, assigned, .. } = state;
        let entry = views.get_mut(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        let building = entry.building.take().map(|building| building.generation);
        let orphan = entry.orphan.take();
        let retired: Vec<_> =
            building.iter().map(|generation| generation.record.clone()).chain(orphan).collect();
        let record = ViewRecord::new(entry.active.record.clone());
        let rows = meta.put_view(name, &record, &retired, assigned)?;
        entry.active.wish(Wish::Switch, false);
        entry.changed.increment();
        self.hand_over(state, rows)?;
        if let Some(generation) = building {
            leave(state, generation);
        }
        Ok(())
    }

    /// Has what is built anew wait before it takes over, or lets it.
    pub(crate) fn hold(&self, name: &str, hold: bool) -> Result<(), Error> {
        let mut state = self.open_state()?;
        let entry = state.views.get_mut(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        entry.on_hold = hold;
        entry.changed.increment();
        drop(state);
        self.rouse_steward();
        Ok(())
    }

    /// Where the state of what is built anew is to be read now.
    pub(crate) fn reading_next(&self, name: &str) -> Result<Reading, Error> {
        let state = self.state.lock();
        let entry = state.views.get(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        let building = entry.building.as_ref().ok_or_else(|| Error::NotBuilding(name.to_owned()))?;
        building.generation.reading()
    }

    pub(super) fn build(
        &self,
        view: &Arc<dyn View>,
        record: &GenerationRecord,
        changed: &Arc<Signal>,
        how: Start<'_>,
    ) -> Result<Building, Error> {
        self.deps.outboxes.build(self.deps.store.keyspace(&record.keyspace())?);
        let generation = self.start(view, record, changed, how)?;
        Ok(Building { generation, holding_since: None, not_before: Duration::ZERO })
    }
}
