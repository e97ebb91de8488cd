//! What can go wrong with the store.

/// An operation on the store failed. The state behind it can be rebuilt by replay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keyspace was dropped.
    #[error("this part of the state was dropped")]
    NoKeyspace,
    /// Another process has the folder.
    #[error("the state folder `{0}` is in use by another process")]
    Locked(std::path::PathBuf),
    /// The engine failed: an I/O error, no room, damaged files.
    #[error(
        "the state in `{folder}` cannot be used: remove that folder, and it will be rebuilt from the log"
    )]
    Engine {
        /// The folder of the store.
        folder: std::path::PathBuf,
        /// What the engine says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
