//! PostgreSQL's SQL on DataFusion: names, types, operators and functions get the meaning that they have there.
//!
//! SQL text is parsed by `sql`, planned by DataFusion with the planners of this room, and rewritten by [`rule`], before
//! DataFusion's own analysis. Projections and queries go through the same steps, so that they agree.

mod checks;
mod context;
mod fallible;
mod functions;
mod guard;
mod named;
mod operand;
mod operators;
mod planner;
mod regex;
mod rewrite;
mod rule;
pub(crate) mod suggest;
mod table;
mod varying;

pub(crate) use context::{Tables, plan_query};
use named::Named;
pub(crate) use rule::PostgresRule;
pub(crate) use varying::varies;

/// What the meaning of a statement depends on beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// The time that `now()` gives, in microseconds since 1970; None in a projection, where nothing may depend on it.
    pub(crate) now_us: Option<i64>,
}
