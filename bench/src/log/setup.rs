//! What the benchmarks of the log have in common: events, and a log whose segments are recycled.

use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use tw_env::Env;
use tw_log::{EmbeddedLog, Log, NewStream, Options};
use tw_types::{
    Cleanup, Compression, Data, EventRef, PartitionId, StreamName, StreamOptions, StreamPartition,
};
use tw_wire::{Batch, BatchBuilder};

/// The size of an event's data, in bytes.
pub(crate) const DATA_BYTES: usize = 256;
/// How many partitions the events go to.
pub(crate) const PARTITIONS: u32 = 16;

/// Data for events: random bytes, or JSON-like text that compresses.
pub(crate) struct Payloads {
    bytes: Vec<u8>,
}

impl Payloads {
    /// Bytes that do not compress.
    pub(crate) fn random() -> Self {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let bytes = (0..1 << 20)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        Self { bytes }
    }

    /// Text with the repetition of JSON.
    pub(crate) fn text() -> Self {
        let mut text = String::new();
        let mut n = 0u64;
        while text.len() < 1 << 20 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += &format!(
                "{{\"customer\":{},\"state\":\"paid\",\"total\":{}.{:02}}},",
                n >> 40,
                n >> 50,
                n >> 58
            );
        }
        Self { bytes: text.into_bytes() }
    }

    fn get(&self, n: u64) -> &[u8] {
        let at = (n as usize * 89) % (self.bytes.len() - DATA_BYTES);
        self.bytes.get(at..at + DATA_BYTES).unwrap_or_default()
    }

    /// A batch of `count` events, encoded as a client would.
    pub(crate) fn batch(
        &self,
        builder: &mut BatchBuilder,
        first: u64,
        count: u64,
        compression: Compression,
    ) -> Result<Batch> {
        let mut id = String::with_capacity(20);
        let mut subject = String::with_capacity(20);
        for n in first..first + count {
            use std::fmt::Write;
            id.clear();
            subject.clear();
            write!(id, "{n:016x}")?;
            write!(subject, "customer-{}", n % 100_000)?;
            builder.push(&EventRef {
                id: &id,
                source: "/bench",
                ty: "order.placed",
                subject: Some(&subject),
                data: Data::Binary(self.get(n)),
                ..EventRef::default()
            });
        }
        Ok(builder.finish(compression)?)
    }
}

/// A log in a new folder with one stream of [`PARTITIONS`] partitions that keeps about `keep_bytes` in all.
pub(crate) fn open(
    folder: &Path,
    keep_bytes: u64,
    options: Options,
) -> Result<(Arc<EmbeddedLog>, Vec<StreamPartition>)> {
    let log = Arc::new(EmbeddedLog::open(folder, options, Env::real())?);
    let stream = StreamOptions {
        retention_bytes: Some(keep_bytes / u64::from(PARTITIONS)),
        cleanup: Cleanup::Delete,
        compression: Compression::None,
        ..StreamOptions::default()
    };
    let new = NewStream { options: stream, ..NewStream::plain(StreamName::new("bench")?, PARTITIONS) };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let def = runtime.block_on(log.create_stream(new))?;
    let partitions = (0..PARTITIONS).map(|p| StreamPartition::new(def.id, PartitionId(p))).collect();
    Ok((log, partitions))
}
