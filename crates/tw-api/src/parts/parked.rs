//! Events that could not be processed (PRO-3).

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::fmt;
use tw_types::{Offset, PartitionId, StreamName};
use utoipa::ToSchema;

/// Parked events: what waits for a person's decision.
pub trait Parked: Send + Sync + 'static {
    /// Parked events, in the order of their views, streams and places.
    fn list(&self, filter: ParkedFilter) -> BoxFuture<'_, Result<Vec<ParkedEvent>, Problem>>;

    /// One parked event.
    fn show<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<ParkedEvent, Problem>>;

    /// Tries it again, and then what waits behind it.
    fn retry<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>>;

    /// Skips it for good and goes on with what waits behind it.
    fn skip<'a>(&'a self, id: &'a ParkedId) -> BoxFuture<'a, Result<(), Problem>>;
}

/// Which parked events to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Only those of this view.
    pub view: Option<String>,
    /// Only those after this one.
    pub after: Option<ParkedId>,
    /// At most this many.
    pub limit: usize,
}

/// Names a parked event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParkedId {
    /// The view that could not process it.
    pub view: String,
    /// The stream that it is in.
    pub stream: StreamName,
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
}

impl fmt::Display for ParkedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.view, self.stream, self.partition, self.offset)
    }
}

/// A parked event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParkedEvent {
    /// The view that could not process it.
    #[schema(example = "revenue")]
    pub view: String,
    /// The stream that it is in.
    #[schema(example = "shop.orders")]
    pub stream: String,
    /// Its partition.
    #[schema(example = 0)]
    pub partition: u32,
    /// Its offset.
    #[schema(example = 41)]
    pub offset: u64,
    /// How often it was tried.
    #[schema(example = 8)]
    pub attempts: u32,
    /// Why it could not be processed.
    #[schema(example = "`total` is not a number")]
    pub why: String,
    /// `parked`, or `retrying` while it is processed again because somebody said so.
    #[schema(example = "parked")]
    pub state: String,
    /// When the log accepted it, RFC 3339; only when one event is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-31T09:30:00Z")]
    pub time: Option<String>,
    /// Its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "order.placed")]
    pub event_type: Option<String>,
    /// Its subject, whose later events wait behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "order-7")]
    pub event_subject: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "a1")]
    pub event_id: Option<String>,
    /// How many events of its subject wait behind it, counted up to 100; only when one event is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    pub waiting: Option<u64>,
}
