//! The state of one subject: the same in every region that has the same changes, whatever order they came in.
//!
//! It is a base, which is the fold of all changes up to a cut, and all changes after the cut, in the order of their stamps. Each
//! field's value is the fold of the changes that survive. A delete takes away exactly the changes that it had seen, of every
//! class; the subject exists while one survives.
//!
//! [`Subject::forget_stable`] moves the cut. Whoever writes later knows of all that is stable, so nothing ever comes in
//! before the cut, and a delete that comes takes the whole base away.
//!
//! Changes come from the log, through delivery in the order of causes; the shell stores the state and tells the conflicts.
//! What was received is never refused: limits hold where a change is accepted, see [`Subject::admit`].

mod admit;
mod conflict;
mod log;
mod saved;
mod shows;
#[cfg(test)]
mod tests;

pub use admit::{Error, Limits};
pub use conflict::{Conflict, ConflictKind};
pub use saved::{Misfit, Saved};

use crate::class::{Class, Reserve, State, Value};
use crate::{Change, Context, FieldOp, Kind, Seen, Stamp};
use log::Log;
use std::sync::Arc;

/// A subject. Two with the same fields are equal when they hold the same changes and have forgotten the same ones.
#[derive(Debug, Clone)]
pub struct Subject<V> {
    classes: Arc<[Class<V>]>,
    /// The last change in the base; none before it will ever come.
    cut: Option<Stamp>,
    /// The fold of what survives up to the cut.
    base: Vec<State<V>>,
    /// Whether a change up to the cut survives.
    base_lives: bool,
    log: Log<V>,
    /// The fold of all that survives.
    now: Vec<State<V>>,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// It was there before, and nothing happened.
    pub duplicate: bool,
    /// The fields whose value is another one now, in their order.
    pub changed: Vec<u16>,
    /// The fields that do not exist, or whose class does not take the operation. It did nothing there, in every region.
    pub ill_fitting: Vec<u16>,
    /// Whether the subject existed before, and whether it does now.
    pub existed: bool,
    /// See `existed`.
    pub exists: bool,
    /// The conflicts that this change is in, each told once in every region.
    pub conflicts: Vec<Conflict>,
}

impl<V: Ord + Clone> Subject<V> {
    /// A subject that does not exist yet, with fields of these classes.
    pub fn new(classes: Arc<[Class<V>]>) -> Self {
        let base: Vec<_> = classes.iter().map(State::new).collect();
        Self { classes, cut: None, now: base.clone(), base, base_lives: false, log: Log::new() }
    }

    /// Whether a change survives.
    pub fn exists(&self) -> bool {
        self.base_lives || self.log.alive() > 0
    }

    /// What a field is now. A field that is not declared is absent.
    pub fn value(&self, field: u16) -> Value<'_, V> {
        self.now.get(usize::from(field)).map_or(Value::Absent, State::value)
    }

    /// The last change in the order, stable or not.
    pub fn last(&self) -> Option<Stamp> {
        self.log.last().copied().or(self.cut)
    }

    /// The last change that is not kept any more: nothing before it will ever come, and whatever comes knows of it.
    pub const fn cut(&self) -> Option<Stamp> {
        self.cut
    }

    /// What a change says that is kept still.
    pub fn change(&self, stamp: &Stamp) -> Option<&Change<V>> {
        self.log.change(stamp)
    }

    /// How many changes are kept because some region may not have seen them yet.
    pub fn unstable(&self) -> usize {
        self.log.len()
    }

    /// Whether nothing is left: then the subject need not be kept, if duplicates do not come (REG-3).
    pub fn is_spent(&self) -> bool {
        !self.base_lives && self.log.len() == 0
    }

    /// Whether the change with this stamp is here.
    pub fn holds(&self, stamp: &Stamp) -> bool {
        self.cut.is_some_and(|cut| *stamp <= cut) || self.log.contains(stamp)
    }

    /// The rights in a field of the class `reserve`, all that is here counted; None if it is no such field.
    pub fn reserve(&self, field: u16) -> Option<&Reserve> {
        match self.now.get(usize::from(field)) {
            Some(State::Reserve(reserve)) => Some(reserve),
            _ => None,
        }
    }

    /// The rights in such a field as a change with this context will say that it has seen them. What a region has seen is as coarse as the
    /// cursors that it stored, so a transfer that came a moment before may be here and not be seen yet.
    pub fn reserve_as_seen(&self, field: u16, context: &Context) -> Option<Reserve> {
        let State::Reserve(base) = self.base.get(usize::from(field))? else { return None };
        let mut seen = base.clone();
        let known = self.log.surviving(None).filter(|(other, _)| context.knew(&other.stamp));
        for (other, ops) in known {
            for (_, op) in ops.iter().filter(|(named, _)| *named == field) {
                if let FieldOp::Reserve(op) = op {
                    seen.apply(*op, other);
                }
            }
        }
        Some(seen)
    }

    /// Takes a change, in whatever order; one that is here already does nothing.
    pub fn apply(&mut self, change: Change<V>) -> Outcome {
        let existed = self.exists();
        if self.holds(&change.context.stamp) {
            return Outcome { duplicate: true, existed, exists: existed, ..Outcome::default() };
        }
        let conflicts = conflict::with_others(&change, self.log.concurrent(&change.context), &self.classes);
        let ill_fitting = self.ill_fitting(&change);
        let changed = match change.kind {
            Kind::Put(_) => self.put(change),
            Kind::Delete => self.delete(change),
        };
        Outcome { duplicate: false, changed, ill_fitting, existed, exists: self.exists(), conflicts }
    }

    fn ill_fitting(&self, change: &Change<V>) -> Vec<u16> {
        let Kind::Put(ops) = &change.kind else { return Vec::new() };
        let fits = |field: u16, op| self.classes.get(usize::from(field)).is_some_and(|class| class.takes(op));
        sorted(ops.iter().filter(|(field, op)| !fits(*field, op)).map(|(field, _)| *field))
    }

    fn put(&mut self, change: Change<V>) -> Vec<u16> {
        let arrival = self.log.arrival(&change.context.stamp);
        let Change { context, kind: Kind::Put(ops) } = change else { return Vec::new() };
        let stamp = context.stamp;
        if !self.log.insert_put(context.clone(), ops.clone()) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        let mut again = Vec::new();
        for (field, op) in &ops {
            let place = usize::from(*field);
            let (Some(class), Some(state)) = (self.classes.get(place), self.now.get_mut(place)) else {
                continue;
            };
            if !state.takes(arrival) {
                again.push(*field);
            } else if state.apply(class, op, &context) {
                changed.push(*field);
            }
        }
        if !again.is_empty() {
            changed.extend(self.fold_again(|field| again.contains(&field), Some(&stamp)));
        }
        sorted(changed)
    }

    fn delete(&mut self, change: Change<V>) -> Vec<u16> {
        self.log.insert_delete(change.context);
        self.clear_base();
        self.fold_again(|_| true, None)
    }

    /// A delete that is not in the base has seen all of it, because all of it was stable before the delete came.
    fn clear_base(&mut self) {
        self.base_lives = false;
        self.base = self.classes.iter().map(State::new).collect();
    }

    /// Folds fields anew, from the change at `from` on if that is enough for them. Which ones have another value then.
    fn fold_again(&mut self, wanted: impl Fn(u16) -> bool, from: Option<&Stamp>) -> Vec<u16> {
        let mut changed = Vec::new();
        let fields = self.classes.iter().zip(&self.base).zip(&mut self.now);
        for (field, ((class, base), now)) in (0u16..).zip(fields).filter(|(field, _)| wanted(*field)) {
            let before = now.clone();
            let from = now.rewind(base, from);
            for (context, ops) in self.log.surviving(from) {
                for (_, op) in ops.iter().filter(|(named, _)| *named == field) {
                    now.apply(class, op, context);
                }
            }
            if before.value() != now.value() {
                changed.push(field);
            }
        }
        changed
    }

    /// Joins another state of the same subject, which another region holds: then this one has every change that is in one of them. Conflicts
    /// are told between changes that are not in a base; of two that were in the other one's base, that one has told.
    pub fn merge(&mut self, other: &Self) -> Outcome {
        let existed = self.exists();
        let mut outcome = Outcome { existed, ..Outcome::default() };
        let before = self.now.clone();
        let news: Vec<Change<V>> =
            other.log.changes().filter(|new| !self.holds(&new.context.stamp)).collect();
        let mut all = self.log.clone();
        for new in &news {
            let concurrent = all.concurrent(&new.context);
            outcome.conflicts.extend(conflict::with_others(new, concurrent, &self.classes));
            all.insert(new.clone());
        }
        let (newer, older) = if other.cut > self.cut { (other, &*self) } else { (&*self, other) };
        let cut = newer.cut;
        let late_delete = older.log.deletes().any(|stamp| Some(*stamp) > cut && !newer.log.contains(stamp));
        let (base, base_lives) = (newer.base.clone(), newer.base_lives);
        outcome.duplicate = news.is_empty() && cut == self.cut;
        (self.cut, self.base, self.base_lives) = (cut, base, base_lives);
        if let Some(cut) = &cut {
            all.forget(cut);
        }
        self.log = all;
        if late_delete {
            self.clear_base();
        }
        self.fold_again(|_| true, None);
        let pairs = (0u16..).zip(before.iter().zip(&self.now));
        outcome.changed =
            pairs.filter(|(_, (was, is))| was.value() != is.value()).map(|(field, _)| field).collect();
        outcome.exists = self.exists();
        outcome
    }

    /// Forgets the order among changes that are stable, and the deletes that are. No value changes by that, now or later.
    ///
    /// `stable` is what every live region has said that it had seen, after all that they had sent before saying so was applied here: so
    /// whatever is not here yet knows of it. Changes are forgotten up to the first one that is not stable.
    pub fn forget_stable(&mut self, stable: &Seen) {
        while let Some(first) = self.log.pop_first_if(|stamp| stable.holds(stamp)) {
            if let (false, Kind::Put(ops)) = (first.dead, first.change.kind) {
                self.base_lives = true;
                for (field, op) in &ops {
                    let place = usize::from(*field);
                    if let (Some(class), Some(state)) = (self.classes.get(place), self.base.get_mut(place)) {
                        state.apply(class, op, &first.change.context);
                    }
                }
            }
            self.cut = Some(first.change.context.stamp);
        }
        if let Some(cut) = &self.cut {
            self.base.iter_mut().chain(&mut self.now).for_each(|state| state.forget(cut));
        }
    }
}

impl<V: PartialEq> PartialEq for Subject<V> {
    fn eq(&self, other: &Self) -> bool {
        self.cut == other.cut
            && self.base_lives == other.base_lives
            && self.base == other.base
            && self.log == other.log
            && self.now == other.now
    }
}

/// Each once, in order.
fn sorted(fields: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let mut fields: Vec<u16> = fields.into_iter().collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}
