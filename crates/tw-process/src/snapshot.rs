//! State snapshots: the state of one partition of a view, stored where another node finds it.
//!
//! A node that begins with a partition takes the newest snapshot, and processes only what came after it. The log stays the
//! truth: a snapshot that is damaged, of another definition or of another log is refused, the next older one is taken instead,
//! and without any the partition is processed from its beginning. What a snapshot holds and its position were committed in
//! one step, and are imported in one (PRO-2).
//!
//! ```text
//! views/VIEW/PARTITION/DEFINITION-STREAM/manifests/RUN      which chunks there are: written last
//!                                       /chunks/RUN/N       a chunk
//! ```
//!
//! `VIEW` is the hashed name (XXH3), `DEFINITION` its number, both in hexadecimal. `RUN` is the position and a random number,
//! so that runs sort by position, and two nodes that store at once do not mix. No object is ever changed. The bytes are in
//! [`mod@format`], what is due when and what goes when in `plan`; `keeper` carries it out.

mod counts;
mod export;
pub mod format;
mod import;
mod keeper;
mod names;
mod options;
mod plan;

pub use counts::Counts;
pub use export::Exported;
pub use options::Options;

pub(crate) use counts::Counters;
pub(crate) use import::{Found, Importing, Refusal, Restore, Seeking};
pub(crate) use keeper::{Keeper, Keeping};
pub(crate) use names::Run;

/// How many objects a partition of a view may have in a depot, all its snapshots together.
const OBJECTS_MAX: usize = 250_000;
