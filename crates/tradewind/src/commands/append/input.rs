//! Lines from standard input, as many at once as are there: a fast input goes in large batches, a slow one line by line.

use crate::error::{Error, Result};
use std::io::{self, BufRead as _, IsTerminal as _};
use tokio::sync::mpsc;

/// The most lines of a batch.
const LINES_MAX: usize = 5_000;
/// About the most bytes of a batch.
const BYTES_MAX: usize = 2 << 20;
/// How many lines are read ahead.
const AHEAD: usize = 2 * LINES_MAX;

/// Lines with their numbers, from 1; empty ones are left out.
pub(super) struct Input(mpsc::Receiver<io::Result<(u64, String)>>);

impl Input {
    /// Reads standard input, on a thread of its own.
    ///
    /// # Errors
    /// When it is a terminal and nobody could know that we wait; when there is no thread.
    pub(super) fn stdin() -> Result<Self> {
        if io::stdin().is_terminal() {
            return Err(Error::Usage(
                "no events: give them as arguments, or one a line on standard input".to_owned(),
            ));
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            for (line, number) in io::stdin().lock().lines().zip(1..) {
                let numbered = line.map(|line| (number, line));
                let over = numbered.is_err();
                let empty = numbered.as_ref().is_ok_and(|(_, line)| line.trim().is_empty());
                if (!empty && sender.blocking_send(numbered).is_err()) || over {
                    return;
                }
            }
        })?;
        Ok(Self(receiver))
    }

    /// The next lines: at least one, waiting for it; None at the end.
    ///
    /// # Errors
    /// When the input does not read, as when it is not UTF-8.
    pub(super) async fn batch(&mut self) -> Result<Option<Vec<(u64, String)>>> {
        let Some(first) = self.0.recv().await.transpose()? else { return Ok(None) };
        let mut bytes = first.1.len();
        let mut batch = vec![first];
        while batch.len() < LINES_MAX && bytes < BYTES_MAX {
            let Ok(line) = self.0.try_recv() else { break };
            let line = line?;
            bytes += line.1.len();
            batch.push(line);
        }
        Ok(Some(batch))
    }
}
