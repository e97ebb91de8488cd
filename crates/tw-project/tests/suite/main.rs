//! Statements, projections and queries, on a log and a store in memory with real workers.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, unreachable_pub, reason = "these are tests")]

mod aggregates;
mod answers;
mod comparisons;
mod conditions;
mod definitions;
mod documentation;
mod gather;
mod latest;
mod merges;
mod next;
mod projections;
mod queries;
mod regions;
mod serving;
mod standbys;
mod statements;
mod support;
mod texts;
