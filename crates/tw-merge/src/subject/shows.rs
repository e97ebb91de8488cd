//! Whether a value that a field had may come back.

use super::Subject;
use crate::FieldOp;
use crate::class::State;

impl<V: Ord + Clone> Subject<V> {
    /// Whether a field of the class `lww` or `unique` is this value, or may be it again without another change that says so.
    ///
    /// A change that says so does not count once one that survives had seen it and says something else: a delete that takes the later one away
    /// had seen it, and by that the earlier one, too. What comes had seen the base, which says what was written last in it. That holds
    /// where changes come in the order of causes; what has not come yet is not known here.
    pub fn may_show(&self, field: u16, value: &V) -> bool {
        let says = |op: &(u16, FieldOp<V>)| match op {
            (named, FieldOp::Set(said)) if *named == field => Some(said == value),
            _ => None,
        };
        let mut survivors = Vec::new();
        for (context, ops) in self.log.surviving(None) {
            // The last one of a change counts.
            survivors.extend(ops.iter().rev().find_map(says).map(|is_it| (context, is_it)));
        }
        let is_in_base = matches!(self.base.get(usize::from(field)), Some(State::Lww(base)) if base.value() == Some(value));
        if is_in_base && survivors.is_empty() {
            return true;
        }
        let is_replaced = |stamp| survivors.iter().any(|(later, _)| later.knew(stamp));
        survivors.iter().any(|(context, is_it)| *is_it && !is_replaced(&context.stamp))
    }
}
