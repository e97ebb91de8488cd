//! Why a node does not start, or does not end well.

use std::path::PathBuf;

/// A node cannot start, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration breaks a rule.
    #[error(transparent)]
    Config(#[from] crate::InvalidConfig),
    /// A file or a folder cannot be used.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file of the passwords does not read.
    #[error("`{path}` does not read: {reason}")]
    Secrets {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without any of its values.
        reason: String,
    },
    /// Another process works on the folder.
    #[error("another node uses `{0}`: end it first, or choose another folder with `--data`")]
    Busy(PathBuf),
    /// The log does not open.
    #[error("the log does not open")]
    Log(#[from] tw_log::Error),
    /// The state does not open. It can be rebuilt.
    #[error("the state in `{path}` does not open: remove that folder, and it is built anew from the log")]
    State {
        /// Its folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: tw_state::Error,
    },
    /// The event store does not open.
    #[error(transparent)]
    Events(#[from] tw_log::store::Error),
    /// The workers do not start, or did not end in time.
    #[error(transparent)]
    Process(#[from] tw_process::Error),
    /// The definitions in `$config` cannot be followed.
    #[error(transparent)]
    Project(#[from] tw_project::Error),
    /// The depot does not open.
    #[error(transparent)]
    Depot(#[from] tw_depot::Error),
    /// Coordination does not start.
    #[error(transparent)]
    Coordination(#[from] tw_cluster::Error),
    /// The links with other regions do not start.
    #[error("the links with other regions do not start")]
    Region(#[from] tw_region::service::Error),
    /// The responder of DNS does not start.
    #[error(transparent)]
    Dns(#[from] tw_dns::Error),
    /// The interface does not start.
    #[error(transparent)]
    Server(#[from] tw_api::Error),
    /// What counts for the whole process was set by somebody else.
    #[error("metrics of this process are collected by something else already")]
    Metrics,
    /// A task was ended from outside.
    #[error("the node was interrupted while it started")]
    Interrupted,
}
