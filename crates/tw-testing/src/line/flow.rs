//! One way of a line: when each chunk arrives, and the tasks that carry it.

use super::Quality;
use crate::Random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The most bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;
/// How many chunks of a connection are under way at most; then its sender has to wait, as with a full window.
const CHUNKS_MAX: usize = 256;

/// What all connections share of one way.
#[derive(Debug)]
pub(super) struct Direction {
    quality: Mutex<Quality>,
    /// Until when the line is busy with what was sent before.
    busy_until: Mutex<Instant>,
    is_cut: watch::Sender<bool>,
    passed_bytes: AtomicU64,
}

impl Direction {
    pub(super) fn new(quality: Quality) -> Self {
        Self {
            quality: Mutex::new(quality),
            busy_until: Mutex::new(Instant::now()),
            is_cut: watch::Sender::new(false),
            passed_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, quality: Quality) {
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }

    pub(super) fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    pub(super) fn passed_bytes(&self) -> u64 {
        self.passed_bytes.load(Ordering::SeqCst)
    }

    /// Waits until the way is not cut.
    pub(super) async fn is_whole(&self) {
        let mut is_cut = self.is_cut.subscribe();
        let _never_closed = is_cut.wait_for(|is_cut| !is_cut).await;
    }

    /// When so many bytes that are sent now arrive, if nothing of their connection is before them.
    fn arrival(&self, bytes: usize, random: &mut Random) -> Instant {
        let quality = *self.quality.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sent = Instant::now();
        if quality.bytes_per_second > 0 {
            let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            let takes = Duration::from_secs_f64(bytes as f64 / quality.bytes_per_second as f64);
            *busy_until = (*busy_until).max(sent) + takes;
            sent = *busy_until;
        }
        sent + quality.delay + quality.jitter.mul_f64(random.fraction())
    }
}

/// One way of one connection.
pub(super) struct Flow {
    direction: Arc<Direction>,
    random: Random,
}

/// Bytes under way, and when they arrive; no bytes: the sender has closed its end.
type Chunk = (Instant, Vec<u8>);

impl Flow {
    pub(super) fn new(direction: Arc<Direction>, seed: u64) -> Self {
        Self { direction, random: Random::new(seed) }
    }

    /// Carries everything until one end closes.
    pub(super) async fn carry(self, from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let direction = self.direction.clone();
        tokio::join!(self.take(from, sender), give(direction, to, chunks));
    }

    /// Takes what is sent.
    async fn take(mut self, mut from: OwnedReadHalf, chunks: mpsc::Sender<Chunk>) {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut last = Instant::now();
        loop {
            // A connection that breaks says no more than one that ends.
            let length = from.read(&mut buffer).await.unwrap_or(0);
            last = last.max(self.direction.arrival(length, &mut self.random));
            let bytes = buffer.get(..length).unwrap_or_default();
            if chunks.send((last, bytes.to_vec())).await.is_err() || length == 0 {
                return;
            }
        }
    }
}

/// Gives what arrives.
async fn give(direction: Arc<Direction>, mut to: OwnedWriteHalf, mut chunks: mpsc::Receiver<Chunk>) {
    while let Some((arrives, bytes)) = chunks.recv().await {
        tokio::time::sleep_until(arrives).await;
        direction.is_whole().await;
        // Counted first: whoever has received something finds it counted.
        direction.passed_bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _gone_already = to.shutdown().await;
}
