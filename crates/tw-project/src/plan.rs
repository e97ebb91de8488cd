//! Plans of projections: from SQL to operators.

mod aggregates;
mod compile;
mod refuse;
mod regions;
pub(crate) mod steps;
mod walk;

pub(crate) use compile::{ProjectionPlan, compile};
pub(crate) use regions::check_mode;
