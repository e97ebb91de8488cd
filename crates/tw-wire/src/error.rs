//! What can be wrong with bytes.

/// Bytes that are not what they should be, or events that cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the format needs: a cut-off block.
    #[error("block is cut off: {have} of {need} bytes are there")]
    CutOff {
        /// How many bytes there are.
        have: usize,
        /// How many the block needs at least.
        need: usize,
    },
    /// The first four bytes are not those of a block.
    #[error("no block starts here")]
    NoBlock,
    /// A checksum does not match: the bytes were damaged.
    #[error("checksum of the block's {part} does not match: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// `header` or `body`.
        part: &'static str,
        /// The checksum in the block.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The checksum matches, yet the content contradicts itself: written by a faulty or hostile writer.
    #[error("block is malformed: {0}")]
    Malformed(&'static str),
    /// More than a block can hold.
    #[error("batch of {bytes} bytes is over the block limit of {bytes_max} bytes: split it")]
    TooLarge {
        /// The size of the batch.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More different sources, types, schemas and names of extensions than a block can hold.
    #[error(
        "batch has {texts} different sources, types and names of extensions, over the limit of {texts_max}: split it"
    )]
    TooManyTexts {
        /// How many there are.
        texts: usize,
        /// The limit.
        texts_max: usize,
    },
}
