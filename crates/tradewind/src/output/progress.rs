//! A line on standard error that says how far something is: on a terminal only, and gone when it is done.

use super::{count, duration_ms, stderr_style};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(100);
/// The width of the bar.
const BAR: usize = 24;

/// How far something is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    shown: bool,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Begins; nothing is shown yet.
    pub(crate) fn new(what: &'static str) -> Self {
        // Where the output itself goes to the terminal, it shows by itself how far it is.
        let shown = io::stderr().is_terminal();
        Self { what, shown, started: Instant::now(), drawn: None }
    }

    /// Shows nothing.
    pub(crate) fn hide(mut self) -> Self {
        self.shown = false;
        self
    }

    /// `done` of about `total` are done.
    pub(crate) fn at(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        if !self.shown || self.drawn.is_some_and(|drawn| now - drawn < EVERY) {
            return;
        }
        self.drawn = Some(now);
        let line = line(self.what, done, total, now - self.started);
        let _unseen = write!(io::stderr(), "\r\x1b[2K{}", stderr_style().dim(line));
    }

    /// Removes the line.
    pub(crate) fn end(&mut self) {
        if self.drawn.take().is_some() {
            let _unseen = write!(io::stderr(), "\r\x1b[2K");
        }
    }

    /// For how long it has gone on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn line(what: &str, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    let numbers = format!("{} {what}, {}/s", count(done), count(rate as u64));
    let Some(total) = total.filter(|total| *total > 0) else { return numbers };
    let share = (done as f64 / total as f64).clamp(0.0, 1.0);
    let full = (share * BAR as f64) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR - full));
    let left = total.saturating_sub(done) as f64 / rate.max(0.001);
    let left = if done > 0 && seconds > 1.0 {
        format!(", about {} left", duration_ms((left * 1_000.0) as u64))
    } else {
        String::new()
    };
    format!("{bar} {:3.0} %  {numbers}{left}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let after = Duration::from_secs(10);
        assert_eq!(
            line("events", 2_500_000, Some(10_000_000), after),
            "██████░░░░░░░░░░░░░░░░░░  25 %  2,500,000 events, 250,000/s, about 30.0 s left"
        );
        assert_eq!(line("events", 20, None, after), "20 events, 2/s");
        assert_eq!(
            line("events", 30, Some(20), after),
            "████████████████████████ 100 %  30 events, 3/s, about 0 ms left"
        );
    }
}
