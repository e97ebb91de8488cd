//! What can go wrong with a source.

use crate::Lsn;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A source cannot go on, or cannot start. No message holds a password or a value of a row.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is outside its bounds.
    #[error("option `{option}` of a source is `{value}`: {rule}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: String,
        /// The rule.
        rule: String,
    },
    /// An address does not read.
    #[error("`{address}` is not an address of a PostgreSQL database: {rule}")]
    Address {
        /// The address, without anything that may be a password.
        address: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// The server cannot be reached.
    #[error(
        "PostgreSQL at `{address}` cannot be reached: check host, port and firewall, and that the server runs"
    )]
    Connect {
        /// Host, port and database.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server lets one wait.
    #[error(
        "PostgreSQL at `{address}` has not answered within {seconds} s: check that it is not overloaded and that nobody \
         holds a lock on its catalogue (pg_locks), then try again"
    )]
    Late {
        /// Host, port and database.
        address: String,
        /// How long it had.
        seconds: u64,
    },
    /// There is no encrypted connection.
    #[error("no encrypted connection to PostgreSQL at `{address}`: {reason}")]
    Tls {
        /// Host, port and database.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The server does not believe who we are.
    #[error("PostgreSQL at `{address}` does not let the source in: {reason}")]
    Authentication {
        /// Host, port and database.
        address: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The server answers with an error.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The connection broke.
    #[error("the connection to PostgreSQL was lost")]
    Lost(#[source] io::Error),
    /// The server says what it must not say.
    #[error("PostgreSQL's answer is not understood: {0}")]
    Protocol(String),
    /// The server sends more at once than is allowed.
    #[error(
        "a message of {bytes} bytes is over the limit of {bytes_max} bytes: make the source anew with a higher \
         `message_bytes_max`"
    )]
    FrameTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Something about the database has to be changed first.
    #[error("{problem}: {remedy}")]
    Refused {
        /// What is in the way.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A change cannot be turned into an event.
    ///
    /// What is wrong with it can be put right for the changes to come only: the server keeps this one as it was written,
    /// and sends it again with every attempt.
    #[error(
        "a change of table `{table}` at {lsn} cannot be captured: {reason}; the server will send it again as it is: put \
         right what is wrong, drop the source and make it again, and its tables are read anew"
    )]
    Change {
        /// The table.
        table: String,
        /// The commit of the transaction.
        lsn: Lsn,
        /// Which column, and why.
        reason: String,
    },
    /// A row that was there before cannot be turned into an event. It is read again with the next attempt.
    #[error(
        "a row of table `{table}` cannot be captured: {reason}; once that is put right, the source goes on by itself"
    )]
    Row {
        /// The table.
        table: String,
        /// Which column, and why.
        reason: String,
    },
    /// The scratch folder does not do what it should.
    #[error("cannot {action} `{path}`, where large transactions wait for their commit")]
    Scratch {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// More bytes wait for their commit than are allowed.
    #[error(
        "transactions under way take more than {bytes_max} bytes: make the source anew with a higher `scratch_bytes_max`, or \
         commit more often"
    )]
    ScratchFull {
        /// The limit.
        bytes_max: u64,
    },
    /// Another region is the home of a stream, or this one takes no writes at the moment.
    #[error("stream `{stream}` is not written here now: {reason}")]
    NotWritten {
        /// The stream.
        stream: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The log refuses.
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    /// The event store refuses.
    #[error(transparent)]
    Store(#[from] tw_log::store::Error),
    /// What a source wrote about itself earlier does not read.
    #[error(
        "what the log says about source `{name}` does not read: {reason}; was it written by a later version?"
    )]
    Cursor {
        /// The source.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The source is being stopped.
    #[error("the source is being stopped")]
    Stopped,
}

impl Error {
    /// The server closed the connection without a word.
    pub(crate) fn closed() -> Self {
        Self::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))
    }

    /// A problem with the database and its remedy.
    pub(crate) fn refused(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { problem: problem.into(), remedy: remedy.into() }
    }

    /// The SQLSTATE, if the server said one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            _ => None,
        }
    }

    /// Whether it is likely to go away by itself: a server that restarts, a network that is away.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Late { .. } | Self::Lost(_) | Self::NotWritten { .. } => true,
            // Classes of PostgreSQL's appendix "Error Codes": connection, resources, operator intervention; and a
            // slot that the walsender of a connection lost a moment ago still holds.
            Self::Server(error) => {
                ["08", "53", "57"].iter().any(|class| error.code.starts_with(class)) || error.code == "55006"
            }
            Self::Log(error) | Self::Store(tw_log::store::Error::Log(error)) => matches!(
                error,
                tw_log::Error::Busy | tw_log::Error::WrongEnd { .. } | tw_log::Error::DiskFull { .. }
            ),
            _ => false,
        }
    }
}

/// An error as the server tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerError {
    /// The SQLSTATE.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl std::error::Error for ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL says: {} ({})", self.message, self.code)?;
        for more in [&self.detail, &self.hint].into_iter().flatten() {
            write!(f, "; {more}")?;
        }
        Ok(())
    }
}
