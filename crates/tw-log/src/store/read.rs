//! Reading: versions, histories, pages, places in time.

use super::partition::Partition;
use super::{Core, Result, keys};
use crate::{Bounds, Error as LogError};
use std::sync::Arc;
use tw_order::{Posting, SubjectHash};
use tw_types::{Cleanup, Hlc, Offset, Stored, StoredRef, StreamPartition, Timestamp, Version};
use tw_wire::Block;

/// How many events of a subject are looked up at a time.
const PAGE_EVENTS: usize = 256;
/// How much is read from the log at a time, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Which events to show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only events whose type starts with this: a category.
    pub type_prefix: Option<String>,
    /// Only events of this subject.
    pub subject: Option<String>,
}

impl Filter {
    fn shows(&self, record: &StoredRef<'_>) -> bool {
        self.type_prefix.as_deref().is_none_or(|prefix| record.event.ty.starts_with(prefix))
            && self.subject.as_deref().is_none_or(|subject| record.event.subject == Some(subject))
    }
}

/// Some events of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in order; there may be none although there are more to come.
    pub events: Vec<Stored>,
    /// Where to read on.
    pub next: Offset,
}

/// An event as it is given out.
fn stored(at: StreamPartition, record: &StoredRef<'_>) -> Stored {
    let mut stored = record.to_owned(at.partition);
    stored.event.extensions.retain(|extension| extension.name != keys::EXTENSION);
    stored
}

/// About how many bytes an event takes.
fn bytes(record: &StoredRef<'_>) -> usize {
    let event = &record.event;
    event.data.bytes().len() + event.subject.map_or(0, str::len) + event.id.len() + event.ty.len() + 64
}

impl Core {
    /// The version of a subject, of what is durable.
    pub(super) async fn version(&self, partition: &Arc<Partition>, subject: SubjectHash) -> Result<Version> {
        self.current(partition).await?;
        let known = {
            let state = partition.lock();
            state.ledger.head(state.sealed.as_deref(), subject, state.confirmed)
        };
        match known {
            Some(version) => Ok(version),
            None => Ok(self.index.tail(partition.at, subject)?.map_or(Version::NONE, |tail| tail.last())),
        }
    }

    /// The first `limit` durable events of a subject that are from version `from` and from offset `start` on, and the
    /// end of what was looked at.
    pub(super) fn page(
        &self,
        partition: &Partition,
        subject: SubjectHash,
        from: Version,
        start: Offset,
        limit: usize,
    ) -> Result<(Vec<Posting>, Offset)> {
        let wanted = |posting: &Posting| posting.version >= from && posting.offset >= start;
        // What is in memory first: what leaves memory is in the stored index before.
        let (mut fresh, end): (Vec<Posting>, Offset) = {
            let state = partition.lock();
            let sealed = state.sealed.iter().flat_map(|sealed| sealed.postings(subject, state.confirmed));
            let all = sealed.chain(state.ledger.postings(subject, state.confirmed));
            (all.filter(wanted).take(limit).collect(), state.confirmed)
        };
        let mut page: Vec<Posting> = Vec::new();
        self.index.runs(partition.at, subject, from, |run| {
            if run.last_offset() >= start {
                page.extend(run.iter().filter(wanted));
            }
            page.len() < limit
        })?;
        if page.len() < limit
            && let Some(tail) = self.index.tail(partition.at, subject)?
        {
            page.extend(tail.iter().filter(wanted));
        }
        page.append(&mut fresh);
        page.sort_unstable_by_key(|posting| posting.version);
        page.dedup_by_key(|posting| posting.version);
        page.retain(|posting| posting.offset < end);
        page.truncate(limit);
        Ok((page, end))
    }

    /// The events of a subject from a version on.
    pub(super) async fn history(
        &self,
        partition: &Arc<Partition>,
        subject: &str,
        from: Version,
        limit: usize,
    ) -> Result<Vec<Stored>> {
        self.current(partition).await?;
        let at = partition.at;
        let hash = SubjectHash::of(subject);
        let Bounds { start, .. } = self.log.bounds(at)?;
        let mut from = from.max(Version(1));
        if self.log.streams().of_partition(at)?.options.cleanup == Cleanup::Compact {
            from = self.first_present(partition, subject, from).await?;
        }
        let (mut events, mut size) = (Vec::new(), 0);
        while events.len() < limit && size < self.options.get().read_bytes_max as usize {
            let (page, _) = self.page(partition, hash, from, start, PAGE_EVENTS.min(limit - events.len()))?;
            let Some(last) = page.last() else { break };
            from = last.version.next();
            self.read_postings(at, &page, |record, posting| {
                if record.event.subject == Some(subject) {
                    size += bytes(record);
                    events.push(Stored { version: posting.version, ..stored(at, record) });
                }
            })
            .await?;
        }
        Ok(events)
    }

    /// The first version from `from` on whose event is still there. Compaction leaves the latest ones, so that what is
    /// gone comes before what is there.
    async fn first_present(
        &self,
        partition: &Arc<Partition>,
        subject: &str,
        from: Version,
    ) -> Result<Version> {
        let hash = SubjectHash::of(subject);
        let (mut gone, mut there) = (Version(from.0 - 1), self.version(partition, hash).await?);
        // The first one is the most likely one.
        let mut middle = from;
        while there.0.saturating_sub(gone.0) > 1 {
            let (page, _) = self.page(partition, hash, middle, Offset::ZERO, 1)?;
            let Some(posting) = page.first() else { break };
            let event = self.event_at(partition.at, posting.offset).await?;
            if event.is_some_and(|event| event.event.subject.as_deref() == Some(subject)) {
                there = middle;
            } else {
                gone = posting.version;
            }
            middle = Version(gone.0 + there.0.saturating_sub(gone.0) / 2);
        }
        Ok(there.max(from))
    }

    /// Reads the events at `postings`, which are in order, each block once; those that are gone are passed over.
    pub(super) async fn read_postings(
        &self,
        at: StreamPartition,
        postings: &[Posting],
        mut each: impl FnMut(&StoredRef<'_>, &Posting),
    ) -> Result<()> {
        let mut rest = postings;
        while let Some(first) = rest.first() {
            let blocks = match self.log.read(at, first.offset, 1).await {
                Err(LogError::Trimmed { start, .. }) => {
                    rest = after(rest, start);
                    continue;
                }
                blocks => blocks?,
            };
            let Some(block) = blocks.first() else { return Ok(()) };
            let records = block.records()?;
            let mut iter = records.iter()?;
            while let Some(posting) = rest.first().filter(|next| next.offset < block.header().end_offset()) {
                iter.skip_before(posting.offset)?;
                let Some(record) = iter.next().transpose()? else { break };
                rest = after(rest, record.offset);
                if let Some(posting) = rest.first().filter(|next| next.offset == record.offset) {
                    each(&record, posting);
                    rest = after(rest, record.offset.next());
                }
            }
            rest = after(rest, block.header().end_offset());
            // Blocks in memory are there at once: without this, many would hold their thread for long.
            yield_now().await;
        }
        Ok(())
    }

    /// The event at an offset; None when it is gone.
    pub(super) async fn event_at(&self, at: StreamPartition, offset: Offset) -> Result<Option<Stored>> {
        let blocks = match self.log.read(at, offset, 1).await {
            Err(LogError::Trimmed { .. }) => return Ok(None),
            blocks => blocks?,
        };
        let Some(block) = blocks.first() else { return Ok(None) };
        let records = block.records()?;
        let mut iter = records.iter()?;
        iter.skip_before(offset)?;
        for record in iter {
            let record = record?;
            if record.offset >= offset {
                return Ok((record.offset == offset).then(|| stored(at, &record)));
            }
        }
        Ok(None)
    }

    /// Shows the events from `from` to before `end`, for as long as `each` says so. Returns where it stopped.
    pub(super) async fn scan(
        &self,
        at: StreamPartition,
        from: Offset,
        end: Offset,
        mut each: impl FnMut(&StoredRef<'_>) -> bool,
    ) -> Result<Offset> {
        let mut next = from;
        while next < end {
            let blocks = self.log.read(at, next, READ_BYTES).await?;
            if blocks.is_empty() {
                return Ok(next);
            }
            for block in &blocks {
                match show(block, next, end, &mut each)? {
                    Some(stopped) => return Ok(stopped),
                    None => next = block.header().end_offset(),
                }
                // As when postings are read.
                yield_now().await;
            }
        }
        Ok(next.min(end))
    }

    /// A page of a partition.
    pub(super) async fn read(
        &self,
        at: StreamPartition,
        from: Offset,
        filter: &Filter,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page> {
        let Bounds { start, end } = self.log.bounds(at)?;
        if from < start {
            return Err(LogError::Trimmed { at, start }.into());
        }
        if from > end {
            return Err(LogError::BeyondEnd { at, from, end }.into());
        }
        if limit == 0 || from == end {
            return Ok(Page { events: Vec::new(), next: from });
        }
        if let Some(subject) = &filter.subject {
            return self.read_subject(at, from, subject, filter, limit, bytes_max).await;
        }
        let (mut events, mut size, mut seen) = (Vec::new(), 0, 0);
        let seen_max = self.options.get().read_bytes_max as usize;
        let next = self
            .scan(at, from, end, |record| {
                seen += bytes(record);
                if filter.shows(record) {
                    size += bytes(record);
                    events.push(stored(at, record));
                }
                events.len() < limit && size < bytes_max && seen < seen_max
            })
            .await?;
        Ok(Page { events, next })
    }

    /// A page of a subject's events, found through the index.
    async fn read_subject(
        &self,
        at: StreamPartition,
        from: Offset,
        subject: &str,
        filter: &Filter,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page> {
        let partition = self.partition(at)?;
        self.current(&partition).await?;
        let hash = SubjectHash::of(subject);
        let (mut events, mut size, mut next) = (Vec::new(), 0, from);
        let bytes_max = bytes_max.min(self.options.get().read_bytes_max as usize);
        while events.len() < limit && (size < bytes_max || events.is_empty()) {
            let wanted = PAGE_EVENTS.min(limit - events.len());
            let (page, end) = self.page(&partition, hash, Version(1), next, wanted)?;
            let Some(last) = page.last() else {
                next = next.max(end);
                break;
            };
            next = last.offset.next();
            self.read_postings(at, &page, |record, posting| {
                if filter.shows(record) {
                    size += bytes(record);
                    events.push(Stored { version: posting.version, ..stored(at, record) });
                }
            })
            .await?;
        }
        Ok(Page { events, next })
    }

    /// The offset from which on all events are that were accepted at `time` or later, here or in another region; earlier ones of
    /// other regions may be among them. Timestamps of one region rise with offsets, and one of this region is later than all before it;
    /// one of another region may have come late, so that it says nothing of what is before it.
    pub(super) async fn offset_at(&self, at: StreamPartition, time: Timestamp) -> Result<Offset> {
        let Bounds { start, end } = self.log.bounds(at)?;
        let millis = time.nanos().div_euclid(1_000_000) + i64::from(time.nanos().rem_euclid(1_000_000) > 0);
        let wanted = Hlc::new(u64::try_from(millis).unwrap_or_default(), 0);
        let (mut low, mut high) = (start, end);
        while low < high {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let blocks = match self.log.read(at, middle, 1).await {
                Err(LogError::Trimmed { start, .. }) => {
                    low = start;
                    continue;
                }
                blocks => blocks?,
            };
            match blocks.first().map(Block::header) {
                Some(header) if header.last_hlc < wanted && header.region != self.log.region() => {
                    match self.next_telling(at, header.end_offset(), high, wanted).await? {
                        Some(end) => low = end,
                        // Nothing between here and `high` tells of anything: it is decided by what is before.
                        None if middle == low => return self.first_since(at, low, end, wanted).await,
                        None => high = middle,
                    }
                }
                Some(header) if header.last_hlc < wanted => low = header.end_offset(),
                Some(header) if header.first_hlc < wanted && header.region == self.log.region() => {
                    let steps = wanted.as_u64() - header.first_hlc.as_u64();
                    return Ok(header.base_offset.plus(steps).max(low));
                }
                Some(header) => high = header.base_offset.min(middle).max(low),
                None => high = middle,
            }
        }
        self.first_since(at, low, end, wanted).await
    }

    /// Looks for a block of this region between `from` and `high` that is earlier than `wanted`: all before its end is earlier, too. None
    /// if there is none before something that is not earlier.
    async fn next_telling(
        &self,
        at: StreamPartition,
        from: Offset,
        high: Offset,
        wanted: Hlc,
    ) -> Result<Option<Offset>> {
        let mut next = from;
        while next < high {
            let blocks = match self.log.read(at, next, READ_BYTES).await {
                // What was before is gone, so it is of no interest how early it was.
                Err(LogError::Trimmed { start, .. }) => return Ok(Some(start)),
                blocks => blocks?,
            };
            if blocks.is_empty() {
                break;
            }
            for block in blocks {
                let header = block.header();
                if header.base_offset >= high || header.last_hlc >= wanted {
                    return Ok(None);
                }
                if header.region == self.log.region() {
                    return Ok(Some(header.end_offset()));
                }
                next = header.end_offset();
            }
            yield_now().await;
        }
        Ok(None)
    }

    /// The first event from `from` on that was accepted at `wanted` or later; the end, if there is none.
    async fn first_since(
        &self,
        at: StreamPartition,
        from: Offset,
        end: Offset,
        wanted: Hlc,
    ) -> Result<Offset> {
        let mut next = from;
        while next < end {
            let blocks = match self.log.read(at, next, READ_BYTES).await {
                Err(LogError::Trimmed { start, .. }) => {
                    next = start;
                    continue;
                }
                blocks => blocks?,
            };
            let Some(last) = blocks.last().map(|block| block.header().end_offset()) else { break };
            if let Some(block) = blocks.iter().find(|block| block.header().last_hlc >= wanted) {
                let header = block.header();
                let steps = wanted.as_u64().saturating_sub(header.first_hlc.as_u64());
                return Ok(header.base_offset.plus(steps).max(next));
            }
            next = last;
            yield_now().await;
        }
        Ok(end)
    }
}

/// The postings at `offset` and after it.
fn after(postings: &[Posting], offset: Offset) -> &[Posting] {
    let skip = postings.iter().take_while(|posting| posting.offset < offset).count();
    postings.get(skip..).unwrap_or_default()
}

/// Lets other tasks of the thread run.
pub(super) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Shows the events of a block. Returns where it stopped, if it did before the end of the block.
fn show(
    block: &Block,
    from: Offset,
    end: Offset,
    each: &mut impl FnMut(&StoredRef<'_>) -> bool,
) -> Result<Option<Offset>> {
    let records = block.records()?;
    let mut iter = records.iter()?;
    iter.skip_before(from)?;
    for record in iter {
        let record = record?;
        if record.offset < from {
            continue;
        }
        if record.offset >= end {
            return Ok(Some(end));
        }
        if !each(&record) {
            return Ok(Some(record.offset.next()));
        }
    }
    Ok(None)
}
