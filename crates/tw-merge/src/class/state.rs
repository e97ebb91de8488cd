//! The states of all classes behind one face, for a subject whose fields have different ones.

use super::{Class, Counter, Custom, Extreme, Lww, Reserve, Set, Side, Value};
use crate::{Context, FieldOp, Stamp};
use serde::{Deserialize, Serialize};

/// How a change has come, compared with those that are folded already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arrival {
    /// After all of them.
    InOrder,
    /// Before some of them, none of which knew of it. Delivery in the order of causes lets nothing worse happen.
    Late,
    /// Before one that knew of it.
    AfterItsEffect,
}

/// A field's fold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "V: Ord + Deserialize<'de>"))]
pub(crate) enum State<V> {
    Lww(Lww<V>),
    Extreme(Extreme<V>),
    Counter(Counter),
    Set(Set<V>),
    Reserve(Reserve),
    Custom(Custom<V>),
}

impl<V: Ord + Clone> State<V> {
    /// Before any change.
    pub(crate) const fn new(class: &Class<V>) -> Self {
        match class {
            Class::Lww | Class::Unique => Self::Lww(Lww::new()),
            Class::Max => Self::Extreme(Extreme::new(Side::Max)),
            Class::Min => Self::Extreme(Extreme::new(Side::Min)),
            Class::Counter => Self::Counter(Counter::new()),
            Class::Set => Self::Set(Set::new()),
            Class::Reserve => Self::Reserve(Reserve::new()),
            Class::Custom(_) => Self::Custom(Custom::new()),
        }
    }

    /// Whether it is one of this class.
    pub(crate) const fn is_of(&self, class: &Class<V>) -> bool {
        match (self, class) {
            (Self::Extreme(state), Class::Max) => matches!(state.side(), Side::Max),
            (Self::Extreme(state), Class::Min) => matches!(state.side(), Side::Min),
            (Self::Lww(_), Class::Lww | Class::Unique)
            | (Self::Counter(_), Class::Counter)
            | (Self::Set(_), Class::Set)
            | (Self::Reserve(_), Class::Reserve)
            | (Self::Custom(_), Class::Custom(_)) => true,
            _ => false,
        }
    }

    /// Whether a change that came like this may be applied to what is folded already.
    pub(crate) fn takes(&self, arrival: Arrival) -> bool {
        let worst = match self {
            Self::Lww(_) | Self::Extreme(_) | Self::Counter(_) | Self::Reserve(_) => Arrival::AfterItsEffect,
            Self::Set(_) => Arrival::Late,
            Self::Custom(_) => Arrival::InOrder,
        };
        arrival <= worst
    }

    /// Applies an operation; whether the value changed. One that does not fit changes nothing.
    pub(crate) fn apply(&mut self, class: &Class<V>, op: &FieldOp<V>, context: &Context) -> bool {
        match (self, op) {
            (Self::Lww(state), FieldOp::Set(value)) => state.apply(value, context),
            (Self::Extreme(state), FieldOp::Offer(value)) => state.apply(value),
            (Self::Counter(state), FieldOp::Add(delta)) => state.apply(*delta),
            (Self::Set(state), FieldOp::Insert(element)) => state.insert(element, context),
            (Self::Set(state), FieldOp::Remove(element)) => state.remove(element, context),
            (Self::Reserve(state), FieldOp::Reserve(op)) => state.apply(*op, context),
            (Self::Custom(state), FieldOp::Input(input)) => match class {
                Class::Custom(fold) => state.apply(fold.as_ref(), input, &context.stamp),
                _ => false,
            },
            _ => false,
        }
    }

    /// Takes back what was folded from `from` on, or more. From where the changes are to be folded again: None is from the first one after
    /// `base`.
    pub(crate) fn rewind(&mut self, base: &Self, from: Option<&Stamp>) -> Option<Stamp> {
        if let (Self::Custom(state), Some(from)) = (&mut *self, from) {
            state.rewind(from);
            return Some(*from);
        }
        self.clone_from(base);
        None
    }

    /// Whatever is not after `cut` will never be taken back.
    pub(crate) fn forget(&mut self, cut: &Stamp) {
        if let Self::Custom(state) = self {
            state.forget(cut);
        }
    }

    /// What the field is now.
    pub(crate) fn value(&self) -> Value<'_, V> {
        let one = |value: Option<_>| value.map_or(Value::Absent, Value::One);
        match self {
            Self::Lww(state) => one(state.value()),
            Self::Extreme(state) => one(state.value()),
            Self::Counter(state) => Value::Number(state.value()),
            Self::Set(state) => Value::Elements(state.iter().collect()),
            Self::Reserve(state) => Value::Number(state.value()),
            Self::Custom(state) => one(state.value()),
        }
    }
}
