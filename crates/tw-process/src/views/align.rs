//! The two generations of a view at the same offsets, so that what they hold can be compared.
//!
//! Each is held where it is; whichever is behind goes on to where the other one is, and is held there. Meanwhile nothing else is
//! processed of these partitions, as at a switch, so whoever asks for it says how long that may take.

use super::generation::{Generation, Part};
use super::steward::{distance, has_same_parts};
use super::{Building, Entry, Views};
use crate::Error;
use crate::pipeline::Deps;
use crate::progress::{Progress, Standing, Wish};
use crate::schedule::Task;
use std::sync::Arc;
use std::time::Duration;
use tw_log::Signal;
use tw_types::{Offset, PartitionId};

/// Both generations of a view are held at the same offsets until this is dropped.
pub struct Aligned {
    pairs: Vec<[Held; 2]>,
    moved: Arc<Signal>,
    /// Held by one at a time.
    alone: Option<Arc<()>>,
}

/// A partition of a generation that is held.
struct Held {
    progress: Arc<Progress>,
    task: Arc<Task>,
}

impl Held {
    fn new(part: &Part) -> Self {
        Self { progress: part.progress.clone(), task: part.task.clone() }
    }

    fn go_to(&self, until: Offset) {
        self.progress.align(until);
        self.task.rouse();
    }

    /// Whether it rests at `until`, with everything committed.
    fn is_at(&self, until: Offset) -> bool {
        self.progress.is_held() && self.progress.position() >= until
    }
}

impl std::fmt::Debug for Aligned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aligned").field("partitions", &self.pairs.len()).finish_non_exhaustive()
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        for held in self.pairs.iter().flatten() {
            held.progress.unwish(Wish::Align);
            held.task.rouse();
        }
        // Whoever waits for it looks again.
        self.alone = None;
        self.moved.increment();
    }
}

impl Aligned {
    /// Brings those that are held to the same offsets.
    async fn meet(&self) {
        self.all_at(|_| Offset::ZERO).await;
        let targets: Vec<Offset> = self
            .pairs
            .iter()
            .map(|[old, new]| old.progress.position().max(new.progress.position()))
            .collect();
        for (pair, target) in self.pairs.iter().zip(&targets) {
            pair.iter().filter(|held| !held.is_at(*target)).for_each(|held| held.go_to(*target));
        }
        self.all_at(|number| targets.get(number).copied().unwrap_or_default()).await;
    }

    /// Waits until every pair rests where it is to be.
    async fn all_at(&self, target: impl Fn(usize) -> Offset) {
        loop {
            // Looked at before the partitions, so that nothing in between is missed.
            let seen = self.moved.get();
            let mut pairs = self.pairs.iter().enumerate();
            if pairs.all(|(number, pair)| pair.iter().all(|held| held.is_at(target(number)))) {
                return;
            }
            self.moved.over(seen).await;
        }
    }
}

impl Views {
    /// See [`crate::Handle::align`].
    pub(crate) async fn align(
        &self,
        name: &str,
        partitions: &[PartitionId],
        timeout: Duration,
    ) -> Result<Aligned, Error> {
        let aligning = async {
            let aligned = loop {
                let seen = self.deps.moved.get();
                match self.begin_to_align(name, partitions)? {
                    Some(aligned) => break aligned,
                    None => self.deps.moved.over(seen).await,
                };
            };
            aligned.pairs.iter().flatten().for_each(|held| held.go_to(Offset::ZERO));
            aligned.meet().await;
            Ok(aligned)
        };
        tokio::time::timeout(timeout, aligning).await.unwrap_or_else(|_| {
            let ms = timeout.as_millis();
            let reason = format!("they were not at the same events within {ms} ms: try again");
            Err(Error::NotComparable { view: name.to_owned(), reason })
        })
    }

    /// None while somebody else has them at the same offsets.
    fn begin_to_align(&self, name: &str, partitions: &[PartitionId]) -> Result<Option<Aligned>, Error> {
        let mut state = self.open_state()?;
        let entry = state.views.get_mut(name).ok_or_else(|| Error::NoView(name.to_owned()))?;
        let Entry { active, building, aligned, .. } = entry;
        let Some(Building { generation, .. }) = building else {
            return Err(Error::NotBuilding(name.to_owned()));
        };
        let refused = |reason: String| Error::NotComparable { view: name.to_owned(), reason };
        if !has_same_parts(active, generation) {
            return Err(refused("it reads another stream now".to_owned()));
        }
        if aligned.strong_count() > 0 {
            return Ok(None);
        }
        let mut pairs = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let (old, new) = (active.part(partition)?, generation.part(partition)?);
            self.can_meet(name, generation, [old, new])?;
            pairs.push([Held::new(old), Held::new(new)]);
        }
        let alone = Arc::new(());
        *aligned = Arc::downgrade(&alone);
        Ok(Some(Aligned { pairs, moved: self.deps.moved.clone(), alone: Some(alone) }))
    }

    /// Whether the partitions of both are at work, and near each other.
    fn can_meet(&self, name: &str, new: &Generation, pair: [&Part; 2]) -> Result<(), Error> {
        let [old, part] = pair;
        for part in pair {
            let report = part.progress.report();
            if !report.opened || report.standing != Standing::Running || part.progress.is_paused() {
                let why = report.failure.map_or_else(String::new, |why| format!(": {why}"));
                let reason = format!("partition {} does not run now{why}", part.progress.at.partition);
                return Err(Error::NotComparable { view: name.to_owned(), reason });
            }
        }
        let near = self.deps.options.get().switch_events_max;
        if distance(&self.deps, old, part).is_some_and(|events| events <= near) {
            return Ok(());
        }
        Err(Error::NotBuilt { view: name.to_owned(), percent: percent(&self.deps, new) })
    }
}

/// How much of what there is a generation has processed.
fn percent(deps: &Deps, generation: &Generation) -> u64 {
    let (mut done, mut all) = (0_u64, 0_u64);
    for part in generation.parts() {
        let position = part.progress.position().0;
        done += position;
        all += deps.log.bounds(part.progress.at).map_or(position, |bounds| bounds.end.0);
    }
    done.saturating_mul(100) / all.max(1)
}
