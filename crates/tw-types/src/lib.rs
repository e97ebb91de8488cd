//! The vocabulary of Tradewind as types.
//!
//! Every other crate speaks in these words: an [`Event`] is about a subject, sits at a [`Position`] in a
//! [stream](StreamName), carries an [`Hlc`] timestamp and an [`Origin`]. This crate holds values and the rules
//! that make them valid; it does no I/O, reads no clock and decides nothing.

pub mod calendar;
mod chain;
mod class;
mod event;
mod expected;
mod hlc;
mod merge;
mod name;
mod node;
mod origin;
mod position;
mod schema;
mod stream;
mod text;
mod time;
mod token;
pub mod varint;

pub use chain::chain;
pub use class::{DataClass, UnknownClass};
pub use event::{Data, Event, EventRef, Extension, ExtensionValue, Stored, StoredRef};
pub use expected::ExpectedVersion;
pub use hlc::{Hlc, HlcClock, SkewExceeded};
pub use merge::{Merge, MergeExpr, UnknownMerge};
pub use name::{InvalidName, StreamId, StreamName};
pub use node::{InvalidNodeId, NodeId};
pub use origin::{Epoch, Origin, RegionId, Sequence};
pub use position::{Offset, PartitionId, Position, StreamPartition, Version};
pub use schema::{Column, ColumnType, Schema, UnknownType};
pub use stream::{Cleanup, Compression, InvalidOption, StreamDef, StreamKind, StreamMode, StreamOptions};
pub use time::{InvalidTimestamp, Timestamp};
pub use token::{ClientToken, InvalidToken, Token};
