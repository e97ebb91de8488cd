//! A third party that regions ask who is the home of a stream: the seam to what they agree on.
//!
//! Without one, a failover is a person's decision, and a home that is cut off writes on. With one, a region writes only as long as it is sure that
//! nobody can have been made the home in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use tw_merge::Seen;
use tw_types::RegionId;

/// What an arbiter answers, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, NoAnswer>> + Send + 'a>>;

/// What is agreed of the home of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The home.
    pub home: RegionId,
    /// Its term.
    pub term: u64,
    /// Whether it was taken from a region that was gone; given by that region otherwise.
    pub is_taken: bool,
}

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    /// The regions that are there, this one included, and what each had seen of others when it said so last.
    pub present: BTreeMap<RegionId, Seen>,
    /// What is agreed, by stream.
    pub agreed: BTreeMap<String, Agreed>,
}

/// The arbiter was not reached, or is at odds with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer(pub String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "who is the home cannot be agreed on: {}", self.0)
    }
}

impl std::error::Error for NoAnswer {}

/// See the module's text. What it stores is what a majority of it stores.
pub trait Arbiter: Send + Sync + fmt::Debug {
    /// Whether this region may write a stream in this term, right now: [`Arbiter::agreed`] or [`Arbiter::agree`] has said so since this
    /// region is there, and nobody can think that it is gone. No waiting.
    fn may_write(&self, stream: &str, term: u64) -> bool;

    /// What is agreed of a stream; None if nothing ever was.
    fn agreed<'a>(&'a self, stream: &'a str) -> Answer<'a, Option<Agreed>>;

    /// Replaces `before`, what was agreed, by `now`; false if something else was agreed, or if the region `gone` is there.
    fn agree<'a>(
        &'a self,
        stream: &'a str,
        before: Option<Agreed>,
        now: Agreed,
        gone: Option<RegionId>,
    ) -> Answer<'a, bool>;

    /// Says that this region is there, and what it has seen of others; and looks who else is, and what is agreed. This is called again and again: that
    /// a region is there holds for a bounded time only.
    fn look<'a>(&'a self, seen: &'a Seen) -> Answer<'a, Look>;

    /// Whether a region that is gone is replaced without being asked.
    fn is_automatic(&self) -> bool;
}
