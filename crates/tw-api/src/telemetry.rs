//! What is measured of the interface itself.

mod window;

pub(crate) use window::Window;

use crate::route::Route;
use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tw_plan::overload::Priority;

/// The statuses that are counted by themselves; the others are counted as 0.
const STATUSES: [u16; 25] = [
    200, 201, 204, 304, 400, 403, 404, 405, 406, 408, 409, 410, 412, 413, 415, 421, 422, 423, 429, 431, 500,
    503, 504, 507, 0,
];

/// Handles of all metrics, so that measuring costs no lookup.
pub(crate) struct Telemetry {
    /// By route (the last for none), then by status.
    requests: Vec<[OnceLock<Counter>; STATUSES.len()]>,
    seconds: Vec<OnceLock<Histogram>>,
    pub(crate) connections: Gauge,
    pub(crate) requests_open: Gauge,
    pub(crate) readers: Gauge,
    pub(crate) appended: Counter,
    pub(crate) delivered: Counter,
    pub(crate) stalled: Counter,
    /// Answers that say that the node could not, since the start.
    pub(crate) errors: AtomicU64,
    /// How long appends took that have succeeded since somebody looked.
    pub(crate) append_times: Window,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        describe();
        let slots = Route::ALL.len() + 1;
        Self {
            requests: (0..slots).map(|_| Default::default()).collect(),
            seconds: (0..slots).map(|_| OnceLock::new()).collect(),
            connections: metrics::gauge!("tradewind_http_connections"),
            requests_open: metrics::gauge!("tradewind_http_requests_open"),
            readers: metrics::gauge!("tradewind_http_readers"),
            appended: metrics::counter!("tradewind_http_events_appended_total"),
            delivered: metrics::counter!("tradewind_http_events_delivered_total"),
            stalled: metrics::counter!("tradewind_http_connections_stalled_total"),
            errors: AtomicU64::new(0),
            append_times: Window::default(),
        }
    }

    /// A request was answered; `elapsed` is the time until the answer began.
    pub(crate) fn answered(&self, route: Option<Route>, status: StatusCode, elapsed: Duration) {
        if status.is_server_error() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if status.is_success() && matches!(route, Some(Route::AppendEvents | Route::AppendSubject)) {
            self.append_times.record(elapsed);
        }
        let slot = route.map_or(Route::ALL.len(), |route| route as usize);
        let name = route.map_or("none", Route::name);
        let place = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        if let Some(counter) = self.requests.get(slot).and_then(|statuses| statuses.get(place)) {
            counter
                .get_or_init(|| {
                    let status = STATUSES.get(place).copied().unwrap_or_default().to_string();
                    metrics::counter!("tradewind_http_requests_total", "route" => name, "status" => status)
                })
                .increment(1);
        }
        if let Some(seconds) = self.seconds.get(slot) {
            seconds
                .get_or_init(|| metrics::histogram!("tradewind_http_request_seconds", "route" => name))
                .record(elapsed.as_secs_f64());
        }
    }
}

/// The handles of one door's metrics.
pub(crate) struct DoorMeters {
    limit: Gauge,
    in_flight: Gauge,
    seconds: Histogram,
    /// By the names of priorities, the lowest first.
    refused: [Counter; 4],
}

impl DoorMeters {
    pub(crate) fn new(class: &'static str) -> Self {
        let refused = |priority: &'static str| {
            let counter =
                metrics::counter!("tradewind_http_refused_total", "class" => class, "priority" => priority);
            // It is there before anybody is refused.
            counter.increment(0);
            counter
        };
        Self {
            limit: metrics::gauge!("tradewind_http_limit", "class" => class),
            in_flight: metrics::gauge!("tradewind_http_in_flight", "class" => class),
            seconds: metrics::histogram!("tradewind_http_work_seconds", "class" => class),
            refused: ["background", "normal", "high", "critical"].map(refused),
        }
    }

    /// So many may be inside, and so many are.
    pub(crate) fn show(&self, limit: u32, in_flight: u32) {
        self.limit.set(limit);
        self.in_flight.set(in_flight);
    }

    /// A request was worked on for this long until its answer began.
    pub(crate) fn worked(&self, time: Duration) {
        self.seconds.record(time.as_secs_f64());
    }

    /// A request was refused.
    pub(crate) fn refused(&self, priority: Priority) {
        // Each name has four steps.
        if let Some(counter) = self.refused.get(usize::from(u8::from(priority) / 4)) {
            counter.increment(1);
        }
    }
}

fn describe() {
    metrics::describe_counter!(
        "tradewind_http_requests_total",
        "Requests answered, by route and status; status 0 is any other."
    );
    metrics::describe_histogram!(
        "tradewind_http_request_seconds",
        Unit::Seconds,
        "Time until an answer began, by route."
    );
    metrics::describe_gauge!("tradewind_http_connections", "Open connections.");
    metrics::describe_gauge!("tradewind_http_requests_open", "Requests under way.");
    metrics::describe_gauge!(
        "tradewind_http_limit",
        "How many requests of a class may be worked on at once."
    );
    metrics::describe_gauge!("tradewind_http_in_flight", "How many requests of a class are worked on.");
    metrics::describe_histogram!(
        "tradewind_http_work_seconds",
        Unit::Seconds,
        "How long requests of a class were worked on until their answers began; waits for clients and other nodes are left out."
    );
    metrics::describe_counter!(
        "tradewind_http_refused_total",
        "Requests refused because more came than were worked on in time, by class and priority."
    );
    metrics::describe_gauge!("tradewind_http_readers", "Connected readers of text/event-stream.");
    metrics::describe_counter!("tradewind_http_events_appended_total", "Events appended.");
    metrics::describe_counter!("tradewind_http_events_delivered_total", "Events sent to readers.");
    metrics::describe_counter!(
        "tradewind_http_connections_stalled_total",
        "Connections closed because the client took nothing for too long."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_a_problem_is_counted_by_itself() {
        let missing = crate::Code::ALL.iter().filter(|code| !STATUSES.contains(&code.status().as_u16()));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&crate::Code>::new());
    }
}
