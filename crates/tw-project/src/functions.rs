//! Functions with PostgreSQL's semantics, for projections and for queries alike.

pub(crate) mod aggregates;
pub(crate) mod arith;
pub(crate) mod cast;
pub(crate) mod function;
pub(crate) mod json;
pub(crate) mod math;
pub(crate) mod moment;
pub(crate) mod span;
pub(crate) mod text;
pub(crate) mod zone;

pub use function::ValueError;
