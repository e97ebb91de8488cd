//! Numbers over time: what a node has measured, now and over the last day.

use serde::Serialize;
use tw_types::StreamId;
use utoipa::ToSchema;

/// Whoever measures.
pub trait Meters: Send + Sync + 'static {
    /// How many events a stream takes per second, over the last ten seconds or so; 0 for one of which nothing is known.
    fn rate(&self, stream: StreamId) -> f64;

    /// The series that there are, in the order of their names.
    fn series(&self) -> Vec<SeriesName>;

    /// What is known of series in a span of time. A series of which nothing is known has no points.
    fn history(&self, wanted: &Wanted) -> Measured;

    /// Whether there may be a series of this name, now or later.
    fn is_known(&self, name: &str) -> bool;
}

/// Which part of the history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The names of the series.
    pub series: Vec<String>,
    /// From when on, inclusive, in milliseconds since 1970.
    pub from_ms: u64,
    /// Until when, exclusive.
    pub to_ms: u64,
    /// The most points of a series.
    pub points_max: u32,
}

/// The name of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeriesName {
    /// Its name; behind a slash the item that it is about.
    #[schema(example = "stream_events_per_second/shop.orders")]
    pub name: String,
    /// What it counts.
    #[schema(example = "events/s")]
    pub unit: &'static str,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Measured {
    /// When its first step begins, in milliseconds since 1970.
    #[schema(example = 1_769_851_800_000_u64)]
    pub from_ms: u64,
    /// When its last step ends.
    #[schema(example = 1_769_855_400_000_u64)]
    pub to_ms: u64,
    /// How long a step is.
    #[schema(example = 10_000)]
    pub step_ms: u64,
    /// The series, in the order in which they were asked for.
    pub series: Vec<Series>,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// Its name.
    #[schema(example = "appended_events_per_second")]
    pub name: String,
    /// What it counts.
    #[schema(example = "events/s")]
    pub unit: &'static str,
    /// When a step begins, the mean in it, and the most; steps without data are left out.
    #[schema(value_type = Vec<Vec<f64>>, example = json!([[1_769_851_800_000_u64, 120.5, 340.0]]))]
    pub points: Vec<Point>,
}

/// A step of a series, sent as a list of its three members.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point(
    /// When it begins, in milliseconds since 1970.
    pub u64,
    /// The mean.
    pub f32,
    /// The most.
    pub f32,
);

/// The numbers of an installation that measures nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmeasured;

impl Meters for Unmeasured {
    fn rate(&self, _: StreamId) -> f64 {
        0.0
    }

    fn series(&self) -> Vec<SeriesName> {
        Vec::new()
    }

    fn history(&self, wanted: &Wanted) -> Measured {
        Measured { from_ms: wanted.from_ms, to_ms: wanted.to_ms, step_ms: 0, series: Vec::new() }
    }

    fn is_known(&self, _: &str) -> bool {
        false
    }
}
