//! Looks at everything once a second, and closes a step when its time is over. It reads what is known anyway, and waits for nobody.

use super::history::Report;
use super::window::Window;
use crate::core::Core;
use crate::status::PROJECTION;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tw_types::{PartitionId, StreamDef, StreamId, StreamPartition};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// Over how many looks the rate of a stream is told.
const LOOKS: usize = 10;

/// What the log has taken of a stream, when it was looked.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    at: Duration,
    /// Offsets given, over all partitions.
    end: u64,
    /// The same of the partitions that this node owns.
    own_end: u64,
    /// How many of those there are.
    owned: u32,
    /// Bytes written to those, if the log knows.
    written_bytes: Option<u64>,
}

/// Samples until the node ends, and sends what each step came to.
pub(super) async fn run(
    core: Arc<Core>,
    node: String,
    reports: mpsc::Sender<Report>,
    mut stopped: watch::Receiver<bool>,
) {
    let step_ms = core.options.holds().metrics.interval_ms;
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sampler = Sampler::default();
    let mut step = core.env.clock.now_ms() / step_ms;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = stopped.changed() => return,
        }
        sampler.look(&core);
        let now = core.env.clock.now_ms() / step_ms;
        if now == step {
            continue;
        }
        let options = &core.options.holds().metrics;
        let (series, cut) = sampler.window.close(options.series_max as usize);
        let report = Report { node: node.clone(), start_ms: step * step_ms, step_ms, cut, series };
        // A clock that is set back has no new step to tell of.
        if now > step && options.enabled && !report.series.is_empty() {
            // Who keeps them may be busy with a slow log: then this step is left out.
            let _full = reports.try_send(report);
        }
        step = now;
    }
}

#[derive(Default)]
struct Sampler {
    window: Window,
    streams: BTreeMap<StreamId, VecDeque<Taken>>,
    looked: Option<Duration>,
}

impl Sampler {
    fn look(&mut self, core: &Core) {
        let now = core.env.clock.monotonic();
        let seconds = self.looked.replace(now).map(|before| now.saturating_sub(before).as_secs_f64());
        self.of_streams(core, now);
        self.of_views(core);
        let lag = *core.meters.source_lag_bytes.lock();
        if let Some(lag) = lag {
            self.window.note("source_lag_bytes", lag as f64, 1.0);
        }
        let traffic = core.options.traffic();
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
            self.window.note("errors_per_second", traffic.errors as f64 / seconds, seconds);
        }
        if let Some((p99, appends)) = traffic.append_p99 {
            self.window.note("append_p99_ms", p99.as_secs_f64() * 1e3, appends as f64);
        }
    }

    fn of_streams(&mut self, core: &Core, now: Duration) {
        let streams = core.log.streams();
        self.streams.retain(|id, _| streams.by_id(*id).is_ok());
        let (mut events, mut bytes, mut log_bytes) = ((0.0, 0.0), None, None);
        let mut rates = BTreeMap::new();
        for stream in streams.iter() {
            let (taken, held) = taken(core, stream, now);
            log_bytes = add(log_bytes, held.map(|held| held as f64));
            let looks = self.streams.entry(stream.id).or_default();
            if let (Some(first), false) = (looks.front(), looks.is_empty()) {
                let seconds = now.saturating_sub(first.at).as_secs_f64().max(0.001);
                rates.insert(stream.id, taken.end.saturating_sub(first.end) as f64 / seconds);
            }
            // A partition that has come or gone is no traffic.
            if let Some(last) = looks.back().filter(|last| last.owned == taken.owned) {
                let seconds = now.saturating_sub(last.at).as_secs_f64().max(0.001);
                let rate = taken.own_end.saturating_sub(last.own_end) as f64 / seconds;
                if !stream.name.is_system() {
                    events = (events.0 + rate, seconds);
                    let of_bytes = |(now, before): (u64, u64)| now.saturating_sub(before) as f64 / seconds;
                    bytes = add(bytes, taken.written_bytes.zip(last.written_bytes).map(of_bytes));
                    let name = format!("stream_events_per_second/{}", stream.name);
                    self.window.note(&name, rate, seconds);
                }
            }
            looks.push_back(taken);
            if looks.len() > LOOKS + 1 {
                looks.pop_front();
            }
        }
        *core.meters.rates.lock() = rates;
        if events.1 > 0.0 {
            self.window.note("appended_events_per_second", events.0, events.1);
        }
        for (name, value) in [("appended_bytes_per_second", bytes), ("log_bytes", log_bytes)] {
            if let Some(value) = value {
                self.window.note(name, value, 1.0);
            }
        }
    }

    fn of_views(&mut self, core: &Core) {
        let streams = core.log.streams();
        let (mut parked, mut worst) = (0, None);
        for view in core.workers.status() {
            let Ok(stream) = streams.get(view.stream.as_str()).map(|stream| stream.id) else { continue };
            let own = view.partitions.iter();
            let own = own.filter(|part| owns(core, StreamPartition::new(stream, part.partition)));
            let (mut lag_ms, mut rate) = (0, 0.0);
            for part in own {
                parked += part.parked;
                lag_ms = lag_ms.max(part.lag_ms);
                rate += part.events_per_second;
            }
            let Some(name) = view.name.strip_prefix(PROJECTION) else { continue };
            worst = worst.max(Some(lag_ms));
            self.window.note(&format!("projection_lag_ms/{name}"), lag_ms as f64, 1.0);
            self.window.note(&format!("projection_events_per_second/{name}"), rate, 1.0);
        }
        self.window.note("parked_events", parked as f64, 1.0);
        if let Some(worst) = worst {
            self.window.note("projection_lag_ms", worst as f64, 1.0);
        }
    }
}

/// The sum of what is known.
fn add(sum: Option<f64>, more: Option<f64>) -> Option<f64> {
    match (sum, more) {
        (Some(sum), Some(more)) => Some(sum + more),
        (sum, more) => sum.or(more),
    }
}

fn owns(core: &Core, at: StreamPartition) -> bool {
    !core.cluster_options.enabled || core.cluster.owns(at)
}

/// What the log has of a stream, and what of that takes room here, in bytes, if it knows.
fn taken(core: &Core, stream: &StreamDef, at: Duration) -> (Taken, Option<u64>) {
    let mut taken = Taken { at, ..Taken::default() };
    let mut held_bytes = None;
    for partition in (0..stream.partitions).map(|number| StreamPartition::new(stream.id, PartitionId(number)))
    {
        // A partition that is just gone has nothing.
        let Ok(bounds) = core.log.bounds(partition) else { continue };
        taken.end += bounds.end.0;
        if !owns(core, partition) {
            continue;
        }
        taken.owned += 1;
        taken.own_end += bounds.end.0;
        if let Ok(Some(held)) = core.log.held(partition) {
            taken.written_bytes = Some(taken.written_bytes.unwrap_or_default() + held.written_bytes);
            held_bytes = Some(held_bytes.unwrap_or_default() + held.bytes);
        }
    }
    (taken, held_bytes)
}
