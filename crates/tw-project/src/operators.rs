//! Incremental operators: rows with a sign go in, changes of state come out, and readers put the partitions' parts together.

pub(crate) mod accumulator;
pub(crate) mod aggregate;
pub(crate) mod aggregator;
pub(crate) mod best;
mod counts;
pub(crate) mod entries;
mod exact_sum;
pub(crate) mod groups;
pub(crate) mod part;
pub(crate) mod partials;
pub(crate) mod read;
pub(crate) mod sums;
