//! Plans of projections, and of columns that are merged by an expression: from SQL to operators.

mod aggregates;
mod compile;
mod fold;
mod refuse;
mod regions;
pub(crate) mod steps;
mod walk;

pub(crate) use compile::{ProjectionPlan, compile};
pub(crate) use fold::{FoldPlan, compile_fold};
pub(crate) use regions::check_mode;
