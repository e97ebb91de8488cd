//! The frames of protocols 1 to 4, between a region R that connects and pulls and a region P that sends.
//!
//! ```text
//! byte  bytes  content (little-endian)
//!    0      1  kind: 1 hello · 2 refuse · 3 pull · 4 credit · 5 have · 16 block · 17 passed · 18 heartbeat
//!    1      4  length of the body
//!    5         body: JSON, except of a block
//!
//! body of a block
//!    0      4  stream: its index in P's hello
//!    4      4  partition
//!    8      8  timestamp of the first event of P that follows in this partition; 0: none is known
//!   16      1  flags: 1 what P had seen follows, because it is not what was sent last on this connection
//!   17      2  only with flag 1: count of regions, then for each its number (2) and a timestamp (8)
//!    …         the block as it is stored, see `tw_wire::BlockHeader`
//! ```
//!
//! The order of things:
//!
//! 1. Both sides send a [`Hello`] first, in whose form later protocols only add fields. Whoever does not agree sends a [`Refuse`]
//!    and closes.
//! 2. R sends a [`Pull`] and [`Credit`]. P answers a pull with a [`Heartbeat`] that names the epochs of each pulled partition,
//!    before the first block of it; its `until` may be [`tw_types::Hlc::ZERO`], which promises nothing.
//! 3. P sends blocks of several partitions in the order of their first timestamps, as long as it has credit left: each block uses up its bytes
//!    as stored, and the last one may go below zero. So a window that is smaller than a block stops nothing, and what R has to
//!    hold is the window and one block at most.
//! 4. A pull of a partition that was pulled before sets P back; R drops what was under way until it fits.
//!
//! Protocol 2 adds [`Hello::wanted`]: P gives back what it has received of another region, in the place of that, and everything that
//! the frames say of P's own events is said of those. A region that lost some of its own asks so for what it lacks.
//!
//! Protocol 3 adds [`Hello::relays`]: P goes on with that for good, and says of a promise no more than that region has said itself
//! (`docs/adr/0023-relays.md`).
//!
//! Protocol 4 adds [`Hello::restores`] and [`Hello::withheld`]: P gives back what is in streams that both have, up to the first event in one that R
//! has not yet, and says which that are. The definition of such a stream may depend on what comes before.
//!
//! Whoever knows of regions that are evicted says so with [`Hello::evicted`], in any protocol; who does not know the field passes it over.
//!
//! Decoding keeps at most one frame in memory, and reserves nothing because of a length that was only announced. Compression is the
//! business of who moves the bytes.

mod block;
mod decoder;
mod message;
#[cfg(test)]
mod tests;

pub use block::Block;
pub use decoder::Decoder;
pub use message::{
    Credit, Epochs, Evicted, Have, Heartbeat, Hello, Passed, Protocols, Pull, Pulled, Refuse, Relayed,
    RelayedLink, Stream,
};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The protocols that this version speaks.
pub const PROTOCOLS: Protocols = Protocols { min: 1, max: 4 };
/// The longest body of a frame, in bytes: a block of the largest size with its head.
pub const FRAME_BYTES_MAX: usize = tw_wire::BLOCK_BYTES_MAX + (64 << 10);
/// The longest body of a frame that is not a block, in bytes.
pub const CONTROL_BYTES_MAX: usize = 16 << 20;
/// The most entries of a pull or a heartbeat; more go into further frames.
pub const ENTRIES_MAX: usize = 10_000;
/// The length of what comes before a body.
pub const HEAD_BYTES: usize = 5;

/// One message of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of both sides.
    Hello(Hello),
    /// The last one: why there will be no link.
    Refuse(Refuse),
    /// R asks for partitions.
    Pull(Pull),
    /// R grants bytes.
    Credit(Credit),
    /// R says what it has.
    Have(Have),
    /// P sends a block.
    Block(Block),
    /// P has nothing left of what R lacks next.
    Passed(Passed),
    /// P says up to when everything was sent.
    Heartbeat(Heartbeat),
}

/// Why bytes are no frame, or a frame cannot be bytes. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kind that this protocol does not have.
    #[error(
        "a link has no frame of kind {kind}: what connects here is no region, or the stream of bytes is damaged"
    )]
    Kind {
        /// The first byte.
        kind: u8,
    },
    /// A body that is too long.
    #[error(
        "a frame of kind {kind} with {bytes} bytes is longer than the {bytes_max} that it may have: send it in parts"
    )]
    TooLong {
        /// The kind of frame.
        kind: u8,
        /// The length of its body.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// More entries than one frame may have.
    #[error("a frame of kind {kind} with {count} entries has more than {count_max}: send it in parts")]
    TooMany {
        /// The kind of frame.
        kind: u8,
        /// How many entries.
        count: usize,
        /// The bound.
        count_max: usize,
    },
    /// A body that is not what its kind says.
    #[error(
        "the body of a frame of kind {kind} cannot be read: both sides must speak the protocol that they agreed on"
    )]
    Body {
        /// The kind of frame.
        kind: u8,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A block's head that ends too early or says what cannot be.
    #[error(
        "the head of a block is damaged ({what}): both sides must speak the protocol that they agreed on"
    )]
    Head {
        /// What is wrong with it.
        what: &'static str,
    },
}

const HELLO: u8 = 1;
const REFUSE: u8 = 2;
const PULL: u8 = 3;
const CREDIT: u8 = 4;
const HAVE: u8 = 5;
const BLOCK: u8 = 16;
const PASSED: u8 = 17;
const HEARTBEAT: u8 = 18;

impl Frame {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`Error::TooLong`] and [`Error::TooMany`]; `out` is as it was then.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), Error> {
        match self {
            Self::Hello(body) => put_json(HELLO, body, out),
            Self::Refuse(body) => put_json(REFUSE, body, out),
            Self::Pull(body) => {
                check_count(PULL, body.entries.len())?;
                put_json(PULL, body, out)
            }
            Self::Credit(body) => put_json(CREDIT, body, out),
            Self::Have(body) => put_json(HAVE, body, out),
            Self::Block(block) => {
                let start = out.len();
                put_head(BLOCK, block.length(), FRAME_BYTES_MAX, out)?;
                block.put(out).inspect_err(|_| out.truncate(start))
            }
            Self::Passed(body) => put_json(PASSED, body, out),
            Self::Heartbeat(body) => {
                check_count(HEARTBEAT, body.epochs.len())?;
                put_json(HEARTBEAT, body, out)
            }
        }
    }

    /// Reads the body of a frame of this kind.
    fn decode(kind: u8, body: Bytes) -> Result<Self, Error> {
        Ok(match kind {
            HELLO => Self::Hello(json(kind, &body)?),
            REFUSE => Self::Refuse(json(kind, &body)?),
            PULL => {
                let pull: Pull = json(kind, &body)?;
                check_count(kind, pull.entries.len())?;
                Self::Pull(pull)
            }
            CREDIT => Self::Credit(json(kind, &body)?),
            HAVE => Self::Have(json(kind, &body)?),
            BLOCK => Self::Block(Block::read(body)?),
            PASSED => Self::Passed(json(kind, &body)?),
            HEARTBEAT => {
                let heartbeat: Heartbeat = json(kind, &body)?;
                check_count(kind, heartbeat.epochs.len())?;
                Self::Heartbeat(heartbeat)
            }
            _ => return Err(Error::Kind { kind }),
        })
    }
}

/// The longest body of a kind.
fn bytes_max(kind: u8) -> Result<usize, Error> {
    match kind {
        BLOCK => Ok(FRAME_BYTES_MAX),
        HELLO..=HAVE | PASSED | HEARTBEAT => Ok(CONTROL_BYTES_MAX),
        _ => Err(Error::Kind { kind }),
    }
}

fn check_count(kind: u8, count: usize) -> Result<(), Error> {
    if count > ENTRIES_MAX {
        return Err(Error::TooMany { kind, count, count_max: ENTRIES_MAX });
    }
    Ok(())
}

fn put_head(kind: u8, bytes: usize, bytes_max: usize, out: &mut BytesMut) -> Result<(), Error> {
    let too_long = Error::TooLong { kind, bytes, bytes_max };
    let Some(length) = u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max) else { return Err(too_long) };
    out.reserve(HEAD_BYTES + bytes);
    out.put_u8(kind);
    out.put_u32_le(length);
    Ok(())
}

fn put_json<T: Serialize>(kind: u8, body: &T, out: &mut BytesMut) -> Result<(), Error> {
    let body = serde_json::to_vec(body).map_err(|source| Error::Body { kind, source })?;
    put_head(kind, body.len(), CONTROL_BYTES_MAX, out)?;
    out.put_slice(&body);
    Ok(())
}

fn json<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Body { kind, source })
}
