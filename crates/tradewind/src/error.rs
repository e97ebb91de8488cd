//! Why a command failed, what the person can do, and the exit code that scripts decide by.

use crate::client::Problem;
use std::io;
use std::process::ExitCode;
use tw_types::chain;

/// The exit codes, which are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something failed.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// The node refused: a rule, a conflict, a state in which this cannot be done.
    Refused = 4,
    /// It took too long.
    Timeout = 5,
    /// The node runs, but not as it should.
    Degraded = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line contradicts itself, or lacks something.
    #[error("{0}")]
    Usage(String),
    /// The node says no.
    #[error("{0}")]
    Problem(#[from] Box<Problem>),
    /// What was named does not exist, and the node could not say so itself.
    #[error("{0}")]
    NotFound(String),
    /// Nobody agreed to what would be lost.
    #[error("{0}")]
    Refused(String),
    /// No node answers.
    #[error("no node answers at `{url}`")]
    Connect {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came over it was no answer.
    #[error("the connection to `{url}` broke")]
    Lost {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// The node is not as it should be.
    #[error("{0}")]
    Degraded(String),
    /// The answer is not what the interface promises.
    #[error("the answer of `{url}` is not understood: {reason}")]
    Answer {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be used.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Standard input does not read, or output cannot be written.
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// Certificates of regions cannot be made.
    #[error(transparent)]
    Certificates(#[from] tw_region::tls::Error),
    /// Whatever else went wrong, with its causes.
    #[error("{0}")]
    Failed(String),
}

/// The result of a command.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Problem(problem) => problem.exit(),
            Self::NotFound(_) => Exit::NotFound,
            Self::Refused(_) => Exit::Refused,
            Self::Timeout(_) => Exit::Timeout,
            Self::Degraded(_) => Exit::Degraded,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Error,
        }
    }

    /// Whether the reader of our output has gone, as `head` does: then there is nothing to say, and nobody to say it to.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do about it, where that is not part of the message.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { .. } => Some(
                "start one with `tradewind up`, or say where it is with `--url` or TRADEWIND_URL".to_owned(),
            ),
            Self::Problem(problem) => problem.suggestion.clone(),
            _ => None,
        }
    }

    /// The message with its causes, in one line.
    pub(crate) fn describe(&self) -> String {
        chain(self)
    }
}
