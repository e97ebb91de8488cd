//! Plans of projections: from SQL to operators.

mod aggregates;
mod compile;
mod refuse;
pub(crate) mod steps;
mod walk;

pub(crate) use compile::{ProjectionPlan, compile};
