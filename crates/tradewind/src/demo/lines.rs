//! The demo without a screen: a line a second.

use super::measure::{Measured, Shared};
use crate::error::Result;
use crate::output::count;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// Prints until the output cannot be written.
pub(super) async fn show(url: &str, measured: &Shared) -> Result<()> {
    print(&format!(
        "a shop of customers, orders and clicks, three live views; the node serves {url} (open it in a browser)"
    ))?;
    print(&format!("try next, in another terminal:\n{}", try_next(url)))?;
    let mut beats = tokio::time::interval(Duration::from_secs(1));
    beats.tick().await;
    loop {
        beats.tick().await;
        let line = {
            let mut measured = measured.borrow_mut();
            measured.roll();
            line(&measured)
        };
        print(&line)?;
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn line(measured: &Measured) -> String {
    let seen = &measured.seen;
    let mut line = format!(
        "{:>4} s  {:>9}/s  {:>12} events  durable after {}  in the views after {}  behind {}",
        measured.since.elapsed().as_secs(),
        count(measured.rate()),
        count(seen.stored),
        measured.appends.words(),
        measured.visible.words(),
        count(seen.lag_events),
    );
    if let Some(row) = seen.tables.first().and_then(|table| table.rows.first()) {
        // Writing to memory does not fail.
        let _infallible = write!(line, "  best customer {}", row.join(" "));
    }
    for problem in &seen.problems {
        let _infallible = write!(line, "  ! {problem}");
    }
    line
}

/// What a person may try while the demo runs.
pub(super) fn try_next(url: &str) -> String {
    let at = if url == "http://127.0.0.1:7070" { String::new() } else { format!(" --url {url}") };
    format!(
        "  tradewind{at} sql \"SELECT * FROM revenue ORDER BY revenue DESC LIMIT 5\"\n  \
           tradewind{at} tail shop.orders\n  \
           tradewind{at} stream history shop.orders order-7\n  \
           tradewind{at} sql \"CREATE PROJECTION by_country AS SELECT country, count(*) FROM shop.customers GROUP BY country\"\n  \
           curl -s {url}/metrics"
    )
}

/// What was measured altogether.
///
/// # Errors
/// When it cannot be written.
pub(super) fn summary(measured: &Measured) -> Result<()> {
    let seconds = measured.since.elapsed().as_secs_f64();
    let rate = (measured.events as f64 / seconds) as u64;
    print(&format!(
        "{} events in {seconds:.0} s ({}/s); durable after {}, in the views after {}; {} in the log",
        count(measured.events),
        count(rate),
        measured.appends.words(),
        measured.visible.words(),
        count(measured.seen.stored),
    ))
}
