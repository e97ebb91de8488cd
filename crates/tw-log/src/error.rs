//! What can go wrong with the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tw_types::{
    InvalidOption, Offset, Origin, RegionId, SkewExceeded, StreamId, StreamName, StreamPartition,
};

/// An operation on the log failed. Cloneable, because one failed write fails every append that shared it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No stream has this name.
    #[error("there is no stream `{0}`")]
    NoStream(String),
    /// No stream has this number: it was dropped.
    #[error("there is no stream number {0}: it may have been dropped")]
    NoStreamId(StreamId),
    /// The stream has fewer partitions.
    #[error("partition {at} does not exist: the stream has {partitions}")]
    NoPartition {
        /// The partition that was asked for.
        at: StreamPartition,
        /// How many there are.
        partitions: u32,
    },
    /// A stream of this name exists.
    #[error("a stream `{0}` exists already")]
    StreamExists(StreamName),
    /// A definition breaks a rule.
    #[error("stream `{name}` cannot be defined so: {reason}")]
    InvalidStream {
        /// The stream.
        name: StreamName,
        /// The rule, and what to do.
        reason: String,
    },
    /// The partition has gone on, or back: another writer was faster, or an earlier append failed.
    #[error("append to {at} expected the end {expected}, but it is {actual}")]
    WrongEnd {
        /// The partition.
        at: StreamPartition,
        /// What the append expected.
        expected: Offset,
        /// What it is.
        actual: Offset,
    },
    /// The wanted events were removed by retention or trim.
    #[error("events of {at} before offset {start} have been removed: read from there on")]
    Trimmed {
        /// The partition.
        at: StreamPartition,
        /// The first offset that is still there.
        start: Offset,
    },
    /// The wanted offset is beyond the end.
    #[error("offset {from} of {at} is beyond the end {end}")]
    BeyondEnd {
        /// The partition.
        at: StreamPartition,
        /// The offset that was asked for.
        from: Offset,
        /// The end, exclusive.
        end: Offset,
    },
    /// More bytes than may be written at once.
    #[error("append of {bytes} bytes is over the limit of {bytes_max} bytes: split it")]
    TooLarge {
        /// The size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A batch is not what it says it is.
    #[error(transparent)]
    Wire(#[from] tw_wire::Error),
    /// Too many bytes are waiting to be written.
    #[error(
        "too many writes are waiting: try again when some are done, or raise `in_flight_bytes_max` of the log"
    )]
    Busy,
    /// There is no room for new events. Reads go on; writes are accepted again once there is room.
    #[error("no room on the disk that holds `{folder}`: free some, or shorten the retention of a stream")]
    DiskFull {
        /// The log's folder.
        folder: PathBuf,
    },
    /// A stored block is damaged.
    #[error("`{file}` is damaged at byte {position}: {cause}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The byte at which the damaged block or frame starts.
        position: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// A folder in which a log was to be.
    #[error("there is no log in `{0}`: name the folder of a log that was written before")]
    NoLog(PathBuf),
    /// The epoch cannot be raised any more.
    #[error(
        "the log in `{folder}` is in epoch {max}, the last one that regions tell apart: set up the region anew, with another number"
    )]
    Epochs {
        /// The log's folder.
        folder: PathBuf,
        /// The last epoch.
        max: u32,
    },
    /// Another process has the folder.
    #[error("the data folder `{0}` is in use by another process")]
    Locked(PathBuf),
    /// A write or sync failed earlier; nothing more is accepted until a restart, because nobody knows what is on the disk.
    #[error("the log has stopped accepting events after `{0}`: check the disk, then restart")]
    Stopped(Arc<io::Error>),
    /// The write failed while it was under way: the events may or may not be stored.
    #[error("it is unknown whether the events were stored: {0}")]
    Unknown(Arc<io::Error>),
    /// An option of the engine is outside its bounds.
    #[error("option `{option}` of the log is {value}, outside {min} to {max}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The refused value.
        value: u64,
        /// The smallest allowed value; the unit is in the option's name.
        min: u64,
        /// The largest allowed value.
        max: u64,
    },
    /// An option of the engine that is a text breaks a rule.
    #[error("option `{option}` of the log {reason}")]
    InvalidText {
        /// The option's name.
        option: &'static str,
        /// What it is, the rule, and what to do.
        reason: String,
    },
    /// The folder holds the log of another region.
    #[error(
        "the data folder `{folder}` holds the log of region {region}, not of region {wanted}: set `region` to {region}, or use another folder"
    )]
    OtherRegion {
        /// The log's folder.
        folder: PathBuf,
        /// Its region.
        region: RegionId,
        /// The region in the options.
        wanted: RegionId,
    },
    /// Events that are said to be another region's, and cannot be.
    #[error("events from `{origin}` (region.epoch.sequence) cannot be another region's: {reason}")]
    NotForeign {
        /// Where the first of them is said to come from.
        origin: Origin,
        /// The rule, and what to do.
        reason: &'static str,
    },
    /// The clock of another region is ahead.
    #[error("events of region `{region}` are not taken")]
    Skewed {
        /// The region.
        region: RegionId,
        /// By how much.
        #[source]
        source: SkewExceeded,
    },
    /// The engine cannot hold events of other regions.
    #[error("{engine} does not hold events of other regions: use the embedded log")]
    NoRegions {
        /// What the log is kept by.
        engine: &'static str,
    },
    /// Another process has taken over the name under which this one writes.
    #[error(
        "another process writes as `{writer}` now, and this one was shut out: start it again if it should go on"
    )]
    Fenced {
        /// The name.
        writer: String,
    },
    /// The servers that hold the log do not answer, or refuse.
    #[error("the servers of the log at `{servers}` cannot {action} now")]
    Unavailable {
        /// What was asked of them.
        action: &'static str,
        /// Where they are.
        servers: String,
        /// Why not.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The log is being closed.
    #[error("the log is shutting down")]
    Closed,
    /// The system refused an operation.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Whether the same may work later, without anybody doing something about this process: servers come back, and disks have room again.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::DiskFull { .. }
                | Self::Unknown(_)
                | Self::Unavailable { .. }
                | Self::Skewed { .. }
                | Self::Io { .. }
        )
    }
}

impl From<(StreamName, InvalidOption)> for Error {
    fn from((name, invalid): (StreamName, InvalidOption)) -> Self {
        Self::InvalidStream { name, reason: invalid.to_string() }
    }
}
