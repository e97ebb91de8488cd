//! The writer: one commit after the other, each one frame, one write and one sync.
//!
//! It has no thread and no queue of its own: whoever drives it (a thread, or a simulation) calls [`Writer::commit`]. Only
//! one frame is ever on its way to the disk, so after a crash at most the last frame can be torn, and a whole frame behind
//! a broken one is proof of damage. Nothing is published before its frame is durable.

use super::codec::{part, round_up};
use super::index::Index;
use super::layout::{FRAME_HEADER, FrameHeader, PAGE, SegmentId};
use super::plan::{self, Circumstances, Head, Knowledge, Plan, Verdict};
use super::queue::Request;
use super::record::{Checkpoint, Record, SegmentEntry};
use super::segment::Segment;
use super::shared::{Shared, io_error};
use super::spares::Spare;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tw_env::File;
use tw_types::Epoch;
use tw_wire::{BatchBuilder, Block, BlockHeader};

/// What fills the last page of a write.
static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// The segment that is written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn File>,
    /// The length of the file.
    pub(crate) len: u64,
    /// Where the next frame goes.
    pub(crate) position: u64,
    /// The number of the last frame; 0 before the first.
    pub(crate) number: u32,
}

/// The writer. See the module's text.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) known: Knowledge,
    pub(crate) active: Active,
    /// The segments that are part of the log, without the one that is written.
    pub(crate) live: BTreeMap<SegmentId, SegmentEntry>,
    pub(crate) tail: super::publish::Tail,
    /// Whether it may wait for a spare segment, because a thread makes them.
    pub(crate) patient: bool,
    builder: BatchBuilder,
    failed: Option<Arc<io::Error>>,
}

/// Why a frame was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no room for it. Nothing of it will ever be read.
    NoRoom(Error),
    /// Nobody knows what is on the disk.
    Lost(Arc<io::Error>),
}

/// A frame that is durable: where each of its blocks lies.
pub(crate) struct Written {
    pub(crate) positions: Vec<u64>,
    /// Whether it started a new segment.
    pub(crate) rolled: bool,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        known: Knowledge,
        active: Active,
        live: BTreeMap<SegmentId, SegmentEntry>,
    ) -> Self {
        let tail = super::publish::Tail::default();
        shared.settled.store(known.clock.last().as_u64(), Ordering::Release);
        let builder = BatchBuilder::new();
        Self { shared, known, active, live, tail, patient: false, builder, failed: None }
    }

    /// Commits one group of what waits in the queue; false when nothing waits. For simulations, which drive the writer
    /// themselves.
    #[cfg(test)]
    pub(crate) fn commit_next(&mut self) -> bool {
        let group = self.shared.queue.take(self.shared.options.group_bytes_max);
        let some = !group.is_empty();
        self.commit(group);
        some
    }

    /// Makes a group of requests durable, publishes what they did, and tells each its outcome.
    pub(crate) fn commit(&mut self, group: Vec<Request>) {
        if group.is_empty() {
            return;
        }
        if let Some(cause) = self.failed.clone() {
            let error = Error::Stopped(cause);
            return group.into_iter().for_each(|request| request.fail(error.clone()));
        }
        let plan = self.plan(group);
        let Some((requests, error)) = self.carry_out(plan) else { return };
        // What makes room goes on alone: there is a reserve for it.
        let (makes_room, others): (Vec<_>, Vec<_>) = requests.into_iter().partition(Request::makes_room);
        if !others.is_empty() && matches!(error, Error::DiskFull { .. }) {
            self.shared.set_full(true);
        }
        for request in others {
            request.fail(error.clone());
        }
        let plan = self.plan(makes_room);
        if let Some((requests, error)) = self.carry_out(plan) {
            requests.into_iter().for_each(|request| request.fail(error.clone()));
        }
    }

    fn plan(&mut self, group: Vec<Request>) -> Plan {
        let around = Circumstances {
            now_ms: self.shared.env.clock.now_ms(),
            id: self.shared.env.random.next_u64(),
            merge_bytes_max: self.shared.options.merge_bytes_max,
            append_bytes_max: self.shared.options.append_bytes_max,
        };
        plan::plan(&self.known, group, around, &mut self.builder)
    }

    /// Writes and publishes a plan. Gives the requests back when there is no room for it.
    fn carry_out(&mut self, plan: Plan) -> Option<(Vec<Request>, Error)> {
        let reserve = self.reserve();
        let spared =
            if plan.requests.iter().all(|(request, _)| request.makes_room()) { reserve / 4 } else { reserve };
        match self.write(&plan.records, &plan.blocks, spared) {
            Ok(written) => {
                if spared == reserve && !plan.blocks.is_empty() {
                    self.shared.set_full(false);
                }
                self.publish(plan, &written);
            }
            Err(Failure::NoRoom(error)) => {
                return Some((plan.requests.into_iter().map(|(request, _)| request).collect(), error));
            }
            Err(Failure::Lost(cause)) => self.stop(plan, cause),
        }
        None
    }

    /// What is kept free at the end of a segment for what makes room.
    fn reserve(&self) -> u64 {
        (self.active.len / 64).max(PAGE)
    }

    /// Accepts nothing more: nobody knows what is on the disk.
    fn stop(&mut self, plan: Plan, cause: Arc<io::Error>) {
        tracing::error!(%cause, "the log stops accepting events");
        self.failed = Some(cause.clone());
        let stopped = Error::Stopped(cause.clone());
        self.shared.stop(stopped.clone());
        for (request, verdict) in plan.requests {
            let refused = matches!(verdict, Verdict::Refused(_));
            request.fail(if refused { stopped.clone() } else { Error::Unknown(cause.clone()) });
        }
        self.shared.queue.fail_all(&stopped);
    }

    /// Writes the frame that says that the log is open. Until it is durable nothing is published; from then on, what a
    /// torn frame left at this place can never be read again.
    pub(crate) fn write_opening(&mut self) -> Result<(), Failure> {
        let opened = Record::Opened { at_ms: self.shared.env.clock.now_ms() };
        self.write(&[opened], &[], 0).map(drop)
    }

    /// Writes the frame that begins the next epoch.
    pub(crate) fn raise_epoch(&mut self) -> Result<(), Failure> {
        let epoch = Epoch(self.known.epoch.0.saturating_add(1));
        let raised = Record::Raised { epoch, at_ms: self.shared.env.clock.now_ms() };
        self.write(&[raised], &[], 0)?;
        self.known.epoch = epoch;
        self.known.heads.values_mut().for_each(Head::begin_epoch);
        Ok(())
    }

    /// Writes one frame and makes it durable. `spared` bytes stay free at the end of the segment.
    fn write(&mut self, records: &[Record], blocks: &[Block], spared: u64) -> Result<Written, Failure> {
        if records.is_empty() && blocks.is_empty() {
            return Ok(Written { positions: Vec::new(), rolled: false });
        }
        let records = Record::encode_all(records);
        let blocks_len: u64 = blocks.iter().map(|block| u64::from(block.header().length)).sum();
        let len = FRAME_HEADER as u64 + records.len() as u64 + blocks_len;
        let rolled = self.active.position + len + spared > self.active.len;
        if rolled {
            self.roll()?;
        }
        // A segment starts with all that must be known before it.
        let mut front = if self.active.number == 0 { self.checkpoint() } else { Vec::new() };
        front.extend_from_slice(&records);
        let len = FRAME_HEADER as u64 + front.len() as u64 + blocks_len;
        if self.active.position + len > self.active.len {
            return Err(Failure::NoRoom(self.does_not_fit(len)));
        }
        match self.write_frame(&front, blocks) {
            Ok(positions) => Ok(Written { positions, rolled }),
            Err(error) if is_full(&error) => Err(self.neutralise()),
            Err(error) => Err(Failure::Lost(Arc::new(error))),
        }
    }

    /// What no segment of this length can hold. Limits elsewhere see to it that there is no such thing.
    fn does_not_fit(&self, len: u64) -> Error {
        let cause = format!("its {len} bytes do not fit in a segment: raise `segment_bytes`");
        io_error("write a frame to", &self.active.segment.path, io::Error::other(cause))
    }

    fn write_frame(&mut self, records: &[u8], blocks: &[Block]) -> io::Result<Vec<u64>> {
        let position = self.active.position;
        let mut content_crc = crc32c::crc32c(records);
        let mut body_len = records.len() as u64;
        let mut positions = Vec::with_capacity(blocks.len());
        for block in blocks {
            let [head, ..] = block.pieces();
            content_crc = crc32c::crc32c_append(content_crc, head);
            positions.push(position + FRAME_HEADER as u64 + body_len);
            body_len += u64::from(block.header().length);
        }
        let header = FrameHeader {
            body_len: body_len as u32,
            records_len: records.len() as u32,
            blocks: blocks.len() as u32,
            content_crc,
            opening: self.shared.opening,
            number: self.active.number + 1,
        };
        let head = header.encode(self.active.segment.salt, position);
        let end = position + header.frame_len();
        // Whole pages are written: a page that is not in memory must not be read first.
        let padding = part(&ZEROS, 0..(round_up(end, PAGE).min(self.active.len) - end) as usize);
        let pieces = blocks.iter().flat_map(Block::pieces).map(AsRef::as_ref);
        let mut slices: Vec<IoSlice<'_>> = [&head, records]
            .into_iter()
            .chain(pieces)
            .chain([padding])
            .filter(|piece| !piece.is_empty())
            .map(IoSlice::new)
            .collect();
        self.active.file.write_all_at(&mut slices, position)?;
        self.active.file.sync().map_err(as_lost)?;
        self.active.number = header.number;
        self.active.position = header.next_position(position);
        self.shared.started.store(self.active.segment.id.first, Ordering::Release);
        Ok(positions)
    }

    /// After a write that found no room: makes sure that nothing of it can ever be read, by a small frame in its place.
    fn neutralise(&mut self) -> Failure {
        let records =
            if self.active.number == 0 { self.checkpoint() } else { Record::encode_all(&[Record::Void]) };
        match self.write_frame(&records, &[]) {
            Ok(_) => Failure::NoRoom(Error::DiskFull { folder: self.shared.folder.clone() }),
            Err(error) => Failure::Lost(Arc::new(error)),
        }
    }

    /// Ends the segment and goes on in a spare one.
    fn roll(&mut self) -> Result<(), Failure> {
        let bytes = Checkpoint::bytes(self.live.len() + 1, self.known.heads.len()) as u64;
        let spare = self.spare(bytes).map_err(Failure::NoRoom)?;
        let Spare { number, salt, len, path, file } = spare;
        let sealed = &self.active.segment;
        sealed.seal(self.active.position);
        self.live.insert(sealed.id, sealed.entry());
        let id = SegmentId::appended(number);
        let segment = Arc::new(Segment::growing(id, salt, path, Index::default()));
        self.shared.segments.write().insert(id, segment.clone());
        self.active = Active { segment, file, len, position: PAGE, number: 0 };
        Ok(())
    }

    fn spare(&self, checkpoint_bytes: u64) -> Result<Spare> {
        let folder = &self.shared.folder;
        if checkpoint_bytes > self.shared.options.segment_len() / 8 {
            let cause =
                format!("its checkpoint of {checkpoint_bytes} bytes is too long: raise `segment_bytes`");
            return Err(io_error("start a segment in", folder, io::Error::other(cause)));
        }
        let spares = &self.shared.spares;
        let spare = if self.patient { spares.take_soon() } else { spares.take() };
        spare.map_err(|failed| match failed {
            Some(error) if !is_full(&error) => {
                Error::Io { action: "prepare a segment in", path: folder.clone(), source: error }
            }
            None if self.patient => Error::Closed,
            _ => Error::DiskFull { folder: folder.clone() },
        })
    }

    /// All knowledge as a record.
    fn checkpoint(&self) -> Vec<u8> {
        let heads = self.known.heads.iter().filter(|(_, head)| head.end.0 > 0);
        let mut partitions: Vec<_> = heads.map(|(at, head)| head.entry(*at)).collect();
        partitions.sort_unstable_by_key(|entry| entry.at);
        Record::encode_all(&[Record::Checkpoint(Checkpoint {
            log: self.shared.log,
            region: self.known.region,
            epoch: self.known.epoch,
            hlc: self.known.clock.last(),
            segments: self.live.values().copied().collect(),
            partitions,
        })])
    }
}

impl Written {
    /// The blocks with their places in the file.
    pub(crate) fn placed<'a>(&'a self, blocks: &'a [Block]) -> impl Iterator<Item = (u64, &'a BlockHeader)> {
        self.positions.iter().copied().zip(blocks.iter().map(Block::header))
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error of a sync is never one of room: the pages are gone, and nobody knows which.
fn as_lost(error: io::Error) -> io::Error {
    if is_full(&error) { io::Error::other(error) } else { error }
}
