//! A log, an index on the disk, and events.

use std::path::Path;
use std::sync::Arc;
use tw_env::Env;
use tw_log::store::{EventStore, Options};
use tw_log::{EmbeddedLog, Log, MemoryLog, NewStream};
use tw_state::DiskStore;
use tw_types::{Compression, Data, EventRef, StreamDef, StreamName, StreamOptions};

/// 128 bytes of JSON; with its attributes an event has about 256 bytes.
pub(crate) const DATA: &[u8] =
    br#"{"customer":"c-00042","total":129.90,"currency":"EUR","items":[{"sku":"A-1","n":1},{"sku":"B-7","n":3}],"note":"ring the bell"}"#;

/// The log below the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// In memory, nothing is synced: shows what the store itself costs.
    Memory,
    /// The embedded log: what is acknowledged is on the disk.
    Embedded,
}

impl Engine {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Memory => "a log in memory (nothing is synced)",
            Self::Embedded => "the embedded log (acknowledged when synced)",
        }
    }
}

pub(crate) struct World {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) stream: Arc<StreamDef>,
}

impl World {
    /// A log with one stream, in `folder` if it is on the disk.
    pub(crate) async fn new(engine: Engine, folder: &Path, partitions: u32) -> anyhow::Result<Self> {
        let log: Arc<dyn Log> = match engine {
            Engine::Memory => Arc::new(MemoryLog::new(Env::real())),
            Engine::Embedded => Arc::new(EmbeddedLog::open(folder, tw_log::Options::default(), Env::real())?),
        };
        let options = StreamOptions { compression: Compression::None, ..StreamOptions::default() };
        let stream = NewStream { options, ..NewStream::plain(StreamName::new("orders")?, partitions) };
        let stream = log.create_stream(stream).await?;
        Ok(Self { log, stream })
    }

    /// An event store on it, whose index is kept in `folder`.
    pub(crate) fn store(&self, folder: &Path, options: Options) -> anyhow::Result<EventStore> {
        let state = Arc::new(DiskStore::open(folder, tw_state::Options::default())?);
        Ok(EventStore::open(self.log.clone(), state, Env::real(), options)?)
    }
}

/// An event about `subject`.
pub(crate) fn event<'a>(subject: &'a str, id: &'a str) -> EventRef<'a> {
    EventRef {
        id,
        source: "/shop/checkout",
        ty: "com.example.order.placed",
        subject: Some(subject),
        data: Data::Json(DATA),
        ..EventRef::default()
    }
}

/// Memory of the whole process, in MiB.
pub(crate) fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// Cheap random numbers from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    /// A number below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() & ((1 << 40) - 1)) as f64 / (1u64 << 40) as f64
    }
}

/// Numbers below `n` by Zipf's law with exponent 1: 0 is the most frequent one.
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    pub(crate) fn new(n: usize) -> Self {
        let mut sums: Vec<f64> = Vec::with_capacity(n);
        let mut sum = 0.0;
        for rank in 1..=n {
            sum += 1.0 / rank as f64;
            sums.push(sum);
        }
        Self(sums)
    }

    pub(crate) fn roll(&self, dice: &mut Dice) -> u64 {
        let at = dice.unit() * self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum < at) as u64
    }
}
