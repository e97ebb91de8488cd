//! What a source that runs is told by its owner.

use crate::Error;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait.
const COMMANDS_MAX: usize = 16;

/// What the owner of a source asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Write what is complete, confirm it, end.
    Stop,
    /// Read all rows of a table again.
    Resnapshot { table: String, answer: oneshot::Sender<Result<(), Error>> },
}

/// The end at which commands arrive. Whether the source was told to stop outlasts the attempt that was told: writing what is complete
/// may fail, and then there must be no next attempt.
#[derive(Debug)]
pub(crate) struct Commands {
    arriving: mpsc::Receiver<Command>,
    stopping: bool,
}

/// Where the owner says them, and where they arrive.
pub(crate) fn channel() -> (mpsc::Sender<Command>, Commands) {
    let (sender, arriving) = mpsc::channel(COMMANDS_MAX);
    (sender, Commands { arriving, stopping: false })
}

impl Commands {
    /// Waits for the next one; an owner that has gone wants the source to stop. If it is dropped before it is ready, no command is lost.
    pub(crate) async fn next(&mut self) -> Command {
        let command = self.arriving.recv().await.unwrap_or(Command::Stop);
        self.stopping |= matches!(command, Command::Stop);
        command
    }

    /// The same for a source that is not connected, and can do nothing but stop: it returns when it is to.
    pub(crate) async fn stop(&mut self) {
        while let Command::Resnapshot { answer, .. } = self.next().await {
            let _nobody_waits = answer.send(Err(Error::Stopped));
        }
    }

    /// Whether the source was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }
}
