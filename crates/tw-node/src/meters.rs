//! What a node measures of itself over time: sampled every second, appended to `$metrics` every step, and folded in memory.
//!
//! ```text
//! log, views, sources, interface ──1 s──▶ window ──a step──▶ $metrics ──▶ history ──▶ GET /v1/metrics
//! ```
//!
//! - `history` is the fold, `window` what is sampled within a step, `event` the form in the log; all pure.
//! - `sampler` looks, `keeper` appends and follows the log. What the log does not take is still told until the node ends.
//!
//! It never keeps anything else from going on: a log that refuses writes is left alone.

mod event;
mod history;
mod keeper;
mod sampler;
mod window;

use crate::InvalidConfig;
use crate::core::Core;
use history::History;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tw_api::parts::{self, Measured, Point, Series, SeriesName, Source, Wanted};
use tw_types::StreamId;

/// What a node measures of itself over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsOptions {
    /// Whether the node keeps a history of its numbers, as events of `$metrics`. Default true.
    pub enabled: bool,
    /// How long a step is, in milliseconds: 1,000 to 60,000, a divisor of a minute. The history of other steps than these is passed over.
    /// Default 10,000.
    pub interval_ms: u64,
    /// How many series there are at most; of streams and projections the busiest are measured. Each takes about 30 KB. 20 to 10,000,
    /// default 1,000.
    pub series_max: u32,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { enabled: true, interval_ms: 10_000, series_max: 1_000 }
    }
}

impl MetricsOptions {
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        let refuse = |reason: String| Err(InvalidConfig::Value { table: "metrics", reason });
        let Self { interval_ms, series_max, .. } = *self;
        if !(1_000..=60_000).contains(&interval_ms) || 60_000 % interval_ms != 0 {
            return refuse(format!(
                "option `interval_ms` is {interval_ms}: use a divisor of 60000 from 1000 to 60000, such as 10000"
            ));
        }
        if !(20..=10_000).contains(&series_max) {
            return refuse(format!("option `series_max` is {series_max}, outside 20 to 10000"));
        }
        Ok(())
    }
}

/// What is measured.
pub(crate) struct Meters {
    history: Mutex<History>,
    /// Events per second of each stream, over the last seconds.
    rates: Mutex<BTreeMap<StreamId, f64>>,
    /// How far the log is behind the source that is furthest ahead of it, in bytes, when sources were looked at last.
    source_lag_bytes: Mutex<Option<u64>>,
}

impl Meters {
    pub(crate) fn new(options: &MetricsOptions) -> Self {
        let history = History::new(options.interval_ms, options.series_max as usize);
        Self { history: Mutex::new(history), rates: Mutex::default(), source_lag_bytes: Mutex::default() }
    }

    /// Notes how sources are, for whoever samples: to ask them costs more.
    pub(crate) fn note_sources(&self, sources: &[Source]) {
        *self.source_lag_bytes.lock() = sources.iter().filter_map(|source| source.lag_bytes).max();
    }
}

/// Measures until the node ends. `node` is its name among nodes.
pub(crate) async fn run(core: Arc<Core>, node: String, stopped: watch::Receiver<bool>) {
    let (reports, closed) = tokio::sync::mpsc::channel(keeper::REPORTS_MAX);
    let keeper = keeper::run(core.clone(), closed);
    tokio::join!(sampler::run(core, node, reports, stopped), keeper);
}

/// The numbers of a node, for its interface.
pub(crate) struct NodeMeters(pub(crate) Arc<Core>);

impl parts::Meters for NodeMeters {
    fn rate(&self, stream: StreamId) -> f64 {
        self.0.meters.rates.lock().get(&stream).copied().unwrap_or_default()
    }

    fn series(&self) -> Vec<SeriesName> {
        let history = self.0.meters.history.lock();
        let named = |name: &str| Some(SeriesName { name: name.to_owned(), unit: history::unit(name)? });
        history.names().filter_map(named).collect()
    }

    fn history(&self, wanted: &Wanted) -> Measured {
        let now_ms = self.0.env.clock.now_ms();
        let history = self.0.meters.history.lock();
        let span = history.span(wanted.from_ms, wanted.to_ms, now_ms, wanted.points_max);
        let series = wanted.series.iter().map(|name| {
            let steps = history.steps(name, &span);
            let points = steps.iter().map(|step| Point(step.start_ms, step.mean, step.max)).collect();
            Series { name: name.clone(), unit: history::unit(name).unwrap_or_default(), points }
        });
        Measured { series: series.collect(), from_ms: span.from_ms, to_ms: span.to_ms, step_ms: span.step_ms }
    }

    fn is_known(&self, name: &str) -> bool {
        history::unit(name).is_some()
    }
}
