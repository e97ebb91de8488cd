//! Events as `tradewind demo --regions` writes them, made before anything is measured, and sent as fast as they are taken or at a rate.

use crate::cluster::wire::Wire;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tw_testing::Random;

/// How many events a request has at most.
const BATCH: u64 = 1_000;
/// What becomes of orders.
const STATES: [&str; 5] = ["placed", "paid", "shipped", "cancelled", "refunded"];

/// Requests that are ready to be sent.
pub(crate) struct Backlog {
    pub(crate) bodies: VecDeque<String>,
    /// How many events they have.
    pub(crate) events: u64,
    /// How long all lines are.
    pub(crate) text_bytes: u64,
    /// How long what they say is: ids, sources, types, subjects and data, without what JSON puts around them.
    pub(crate) content_bytes: u64,
}

impl Backlog {
    /// So many events; those of another round are others.
    pub(crate) fn new(round: u64, events: u64) -> Self {
        let mut backlog = Self { bodies: VecDeque::new(), events, text_bytes: 0, content_bytes: 0 };
        let mut next = 0;
        while next < events {
            let until = (next + BATCH).min(events);
            let mut body = String::new();
            for number in next..until {
                backlog.content_bytes += event(&mut body, round << 32 | number);
            }
            backlog.text_bytes += body.len() as u64;
            backlog.bodies.push_back(body);
            next = until;
        }
        backlog
    }
}

/// Adds an event as a line; returns how many bytes of it are content.
fn event(lines: &mut String, number: u64) -> u64 {
    let mut random = Random::new(number);
    let drawn = random.next();
    // Orders go through about three states; a few customers buy most.
    let order = number / 3;
    let state = STATES.get((number % 3 + drawn % 2) as usize).copied().unwrap_or_default();
    let customer = (400f64.powf((drawn >> 11) as f64 / (1u64 << 53) as f64)) as u64;
    let cents = 500 + random.next() % 49_500;
    let data = format!(
        r#"{{"customer_id":{customer},"id":{order},"state":"{state}","total":"{}.{:02}"}}"#,
        cents / 100,
        cents % 100
    );
    let (id, subject, ty) =
        (format!("1-{number}-{state}"), format!("order-1-{order}"), format!("order.{state}"));
    let source = "/demo/region-1";
    // Writing to memory does not fail.
    let _infallible = writeln!(
        lines,
        r#"{{"data":{data},"id":"{id}","source":"{source}","specversion":"1.0","subject":"{subject}","type":"{ty}"}}"#
    );
    (data.len() + id.len() + subject.len() + ty.len() + source.len()) as u64
}

/// Sends everything, over so many connections at a time.
pub(crate) async fn send(to: Wire, bodies: VecDeque<String>, connections: usize) -> anyhow::Result<()> {
    let bodies = Arc::new(Mutex::new(bodies));
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let bodies = bodies.clone();
        tasks.spawn(async move {
            loop {
                let body = bodies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(body) = body else { return anyhow::Ok(()) };
                to.lines(&body).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Sends everything evenly within `duration`; returns how long it took.
pub(crate) async fn paced(
    to: Wire,
    bodies: VecDeque<String>,
    duration: Duration,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let every = duration.div_f64(bodies.len().max(1) as f64);
    let mut tasks = JoinSet::new();
    for (number, body) in bodies.into_iter().enumerate() {
        tokio::time::sleep_until((began + every.mul_f64(number as f64)).into()).await;
        tasks.spawn(async move { to.lines(&body).await });
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(began.elapsed())
}
