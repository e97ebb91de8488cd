//! Which conflicts are told.
//!
//! A conflict is a pair of changes of which neither knew of the other, where one loses something by it. Whether a pair is one is
//! decided from the two alone. So all regions tell the same pairs: a region tells a pair when the later of the two arrives there, and the
//! earlier one is still here then, because it is forgotten only when nobody can write without knowing of it.

use crate::class::Class;
use crate::{Change, FieldOp, Kind, Stamp};

/// Two changes, neither of which knew of the other one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The field; None for the subject as a whole.
    pub field: Option<u16>,
    /// What happened.
    pub kind: ConflictKind,
    /// Who has its way, of these two.
    pub winner: Stamp,
    /// Who has not.
    pub loser: Stamp,
}

/// What happened to the loser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKind {
    /// Its value was overwritten by another one: `lww` and `unique`.
    Overwritten,
    /// It was folded before the winner, which was made without its result: `custom`.
    FoldedBefore,
    /// It is a delete, and the winner is a put that it does not take away: the subject exists, with what the winner says.
    Outlived,
}

/// The conflicts of a change with others that are concurrent with it, in their order.
pub(super) fn with_others<'a, V: Ord + 'a>(
    change: &'a Change<V>,
    concurrent: impl Iterator<Item = &'a Change<V>>,
    classes: &[Class<V>],
) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = concurrent.flat_map(|other| between(change, other, classes)).collect();
    conflicts.sort_unstable();
    conflicts
}

/// The conflicts of two concurrent changes.
fn between<V: Ord>(a: &Change<V>, b: &Change<V>, classes: &[Class<V>]) -> Vec<Conflict> {
    let (earlier, later) = if a.context.stamp < b.context.stamp { (a, b) } else { (b, a) };
    match (&earlier.kind, &later.kind) {
        (Kind::Delete, Kind::Delete) => Vec::new(),
        (Kind::Delete, Kind::Put(_)) => vec![outlived(later, earlier)],
        (Kind::Put(_), Kind::Delete) => vec![outlived(earlier, later)],
        (Kind::Put(lost), Kind::Put(won)) => {
            let kinds = lost.iter().filter_map(|(field, op)| {
                let class = classes.get(usize::from(*field))?;
                let (_, by) = won.iter().find(|(other, _)| other == field)?;
                Some((*field, kind(class, op, by)?))
            });
            let (winner, loser) = (later.context.stamp, earlier.context.stamp);
            kinds.map(|(field, kind)| Conflict { field: Some(field), kind, winner, loser }).collect()
        }
    }
}

fn outlived<V>(put: &Change<V>, delete: &Change<V>) -> Conflict {
    let (winner, loser) = (put.context.stamp, delete.context.stamp);
    Conflict { field: None, kind: ConflictKind::Outlived, winner, loser }
}

/// Whether an operation loses something by a later one of the same field. The same value twice is no loss.
fn kind<V: Ord>(class: &Class<V>, lost: &FieldOp<V>, won: &FieldOp<V>) -> Option<ConflictKind> {
    match (class, lost, won) {
        (Class::Lww | Class::Unique, FieldOp::Set(lost), FieldOp::Set(won)) if lost != won => {
            Some(ConflictKind::Overwritten)
        }
        (Class::Custom(_), FieldOp::Input(_), FieldOp::Input(_)) => Some(ConflictKind::FoldedBefore),
        _ => None,
    }
}
