//! What a region checks before it accepts a change.
//!
//! Limits hold here and nowhere else. A change that is accepted is an event, and every region takes it: if a region that received it could
//! refuse it, because other changes came first there, regions would differ. So the regions together may exceed a limit, by what each
//! of them accepted without knowing of the others: at most the limit times the number of regions.

use super::Subject;
use crate::class::{Consumption, Deletion, ReserveOp, State};
use crate::{AMOUNT_MAX, Change, Context, DELTA_MAX, FieldOp, Kind, OPS_MAX, Stamp};
use tw_types::RegionId;

/// How large a subject may become where changes are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most changes that some region has not seen yet.
    pub changes_max: usize,
    /// The most elements of a set.
    pub elements_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { changes_max: 65_536, elements_max: 10_000 }
    }
}

/// Why a region does not accept a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its stamp is in use, or older than what it follows.
    #[error(
        "change `{stamp}` does not come after `{last}`, which is here: take the stamp after reading the subject"
    )]
    NotLater {
        /// Of the change.
        stamp: Stamp,
        /// The last change here.
        last: Stamp,
    },
    /// Too many operations.
    #[error("{count} operations in one change are more than {ops_max}: split it")]
    TooManyOps {
        /// How many it has.
        count: usize,
        /// How many it may have.
        ops_max: usize,
    },
    /// A field that is not declared, or an operation that is not its class's.
    #[error("field {field} does not take this operation: use the one of its class, or declare the field")]
    IllFitting {
        /// The field's place in the declaration.
        field: u16,
    },
    /// A field, or an element of a set, is named twice.
    #[error("field {field} is changed twice in one change: name a field, or an element of a set, once")]
    Twice {
        /// The field's place in the declaration.
        field: u16,
    },
    /// A step or an amount is out of bounds.
    #[error("the number for field {field} is outside {bounds}: split the change")]
    OutOfBounds {
        /// The field's place in the declaration.
        field: u16,
        /// What is allowed, in units of the field's scale.
        bounds: &'static str,
    },
    /// Rights go to the region that has them.
    #[error("a transfer in field {field} goes to its own region `{region}`: name another one")]
    TransferToSelf {
        /// The field's place in the declaration.
        field: u16,
        /// The region.
        region: RegionId,
    },
    /// The region has not got the rights.
    #[error(
        "region `{region}` has rights to {available} in field {field}, not to {amount}: ask other regions for a transfer"
    )]
    NoRights {
        /// The field's place in the declaration.
        field: u16,
        /// The region.
        region: RegionId,
        /// What it may use or give away.
        available: u128,
        /// What it wanted to.
        amount: u64,
    },
    /// A delete of rights of others.
    #[error(
        "region `{holder}` has rights in field {field}: ask it for a transfer of all of them, then delete"
    )]
    RightsElsewhere {
        /// The field's place in the declaration.
        field: u16,
        /// One of those that have some.
        holder: RegionId,
    },
    /// A delete that does not know of another one that is here.
    #[error(
        "delete `{stamp}` is not in what this region says that it has seen: try again once its cursors are stored"
    )]
    NotYetSeen {
        /// The delete that is here.
        stamp: Stamp,
    },
    /// Some region lags behind, or too much is written.
    #[error(
        "{changes_max} changes of the subject were not seen by every region yet: wait until they were, or remove the region that is down"
    )]
    TooManyChanges {
        /// How many there may be.
        changes_max: usize,
    },
    /// A set is full.
    #[error(
        "the set in field {field} would have more than {elements_max} elements: remove some, or use a subject for each"
    )]
    TooManyElements {
        /// The field's place in the declaration.
        field: u16,
        /// How many there may be.
        elements_max: usize,
    },
}

impl<V: Ord + Clone> Subject<V> {
    /// Whether this region may accept a change of its own, given what is here. What it received from others it just applies.
    ///
    /// # Errors
    /// The first rule that the change breaks.
    pub fn admit(&self, change: &Change<V>, limits: &Limits) -> Result<(), Error> {
        let stamp = change.context.stamp;
        if let Some(last) = self.log.last().or(self.cut.as_ref()).filter(|last| stamp <= **last) {
            return Err(Error::NotLater { stamp, last: *last });
        }
        if self.log.len() >= limits.changes_max {
            return Err(Error::TooManyChanges { changes_max: limits.changes_max });
        }
        match &change.kind {
            Kind::Put(ops) => self.admit_put(&change.context, ops, limits),
            Kind::Delete => self.admit_delete(&change.context),
        }
    }

    fn admit_put(&self, context: &Context, ops: &[(u16, FieldOp<V>)], limits: &Limits) -> Result<(), Error> {
        if ops.len() > OPS_MAX {
            return Err(Error::TooManyOps { count: ops.len(), ops_max: OPS_MAX });
        }
        let mut named: Vec<_> = ops.iter().map(|(field, op)| (*field, element(op))).collect();
        named.sort_unstable();
        if let Some(pair) = named.array_windows().find(|[a, b]| a == b) {
            return Err(Error::Twice { field: pair[0].0 });
        }
        for (field, op) in ops {
            let field = *field;
            if !self.classes.get(usize::from(field)).is_some_and(|class| class.takes(op)) {
                return Err(Error::IllFitting { field });
            }
            match op {
                FieldOp::Add(delta) if !(-DELTA_MAX..=DELTA_MAX).contains(delta) => {
                    let bounds = "-9223372036854775807 to 9223372036854775807";
                    return Err(Error::OutOfBounds { field, bounds });
                }
                FieldOp::Reserve(op) => self.admit_reserve(context, field, *op)?,
                _ => {}
            }
        }
        self.admit_elements(ops, limits)
    }

    fn admit_reserve(&self, context: &Context, field: u16, op: ReserveOp) -> Result<(), Error> {
        let region = context.stamp.region();
        let (amount, uses) = match op {
            ReserveOp::Produce(amount) => (amount, false),
            ReserveOp::Consume(amount) => (amount, true),
            ReserveOp::Transfer { to, .. } if to == region => {
                return Err(Error::TransferToSelf { field, region });
            }
            ReserveOp::Transfer { amount, .. } => (amount, true),
        };
        if !(1..=AMOUNT_MAX).contains(&amount) {
            return Err(Error::OutOfBounds { field, bounds: "1 to 9223372036854775807" });
        }
        if !uses {
            return Ok(());
        }
        let rights = self.reserve_as_seen(field, context).unwrap_or_default();
        match rights.may_consume(region, amount) {
            Consumption::Here => Ok(()),
            Consumption::Ask(_) | Consumption::Short { .. } => {
                let available = rights.available(region);
                Err(Error::NoRights { field, region, available, amount })
            }
        }
    }

    fn admit_elements(&self, ops: &[(u16, FieldOp<V>)], limits: &Limits) -> Result<(), Error> {
        for (field, state) in (0u16..).zip(&self.now) {
            let State::Set(set) = state else { continue };
            let new = ops.iter().filter(|(named, op)| {
                *named == field && matches!(op, FieldOp::Insert(element) if !set.contains(element))
            });
            let new = new.count();
            if new > 0 && set.len() + new > limits.elements_max {
                return Err(Error::TooManyElements { field, elements_max: limits.elements_max });
            }
        }
        Ok(())
    }

    fn admit_delete(&self, context: &Context) -> Result<(), Error> {
        for (field, _) in (0u16..).zip(&self.now) {
            let Some(rights) = self.reserve_as_seen(field, context) else { continue };
            if let Some(stamp) = self.log.deletes().find(|stamp| !context.knew(stamp)) {
                return Err(Error::NotYetSeen { stamp: *stamp });
            }
            if let Deletion::Ask(holders) = rights.may_delete(context.stamp.region()) {
                let holder = holders.first().map_or(context.stamp.region(), |(holder, _)| *holder);
                return Err(Error::RightsElsewhere { field, holder });
            }
        }
        Ok(())
    }
}

/// The element of a set that an operation names.
const fn element<V>(op: &FieldOp<V>) -> Option<&V> {
    match op {
        FieldOp::Insert(element) | FieldOp::Remove(element) => Some(element),
        _ => None,
    }
}
