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

/// How many subjects there are.
const SUBJECTS: u64 = 100_000;

/// Data for events: random bytes, or JSON-like text that compresses; and their subjects, so that no time goes into making them.
pub(crate) struct Payloads {
    bytes: Vec<u8>,
    subjects: Vec<String>,
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
        Self::of(bytes)
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
        Self::of(text.into_bytes())
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, subjects: (0..SUBJECTS).map(|n| format!("customer-{n}")).collect() }
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
        for n in first..first + count {
            builder.push(&EventRef {
                id: hex(n, &mut [0; 16]),
                source: "/bench",
                ty: "order.placed",
                subject: self.subjects.get((n % SUBJECTS) as usize).map(String::as_str),
                data: Data::Binary(self.get(n)),
                ..EventRef::default()
            });
        }
        Ok(builder.finish(compression)?)
    }
}

/// 16 digits, as `{:016x}` gives them, in a fraction of its time.
fn hex(n: u64, digits: &mut [u8; 16]) -> &str {
    let mut rest = n;
    for digit in digits.iter_mut().rev() {
        let value = rest as u8 & 15;
        *digit = if value < 10 { b'0' + value } else { b'a' - 10 + value };
        rest >>= 4;
    }
    std::str::from_utf8(digits).unwrap_or_default()
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
