//! Reading what another node has asked for, a piece at a time: nothing waits in memory for a reader that is slow.

mod partials;

use super::filter::{compact, keep};
use super::frames::{self, FRAME_BYTES, Failure, GroupsFrame, Kind};
use super::hold::{HeldView, Moment};
use super::request::{Get, GetGroups, GetRows};
use crate::Error;
use crate::operators::entries::owner;
use crate::operators::part::{Part as _, StoredPart};
use crate::view::{RowsCursor, RowsOut, ViewReader};
use bytes::{Bytes, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use partials::PartialsSender;
use std::sync::Arc;
use tokio::time::Instant;
use tw_types::Token;
use tw_types::chain;

/// The answer to a read: the head and all of it.
pub(crate) fn answer(
    moment: Arc<Moment>,
    view: HeldView,
    get: Get,
    cut: Token,
    deadline: Instant,
    query_bytes_max: usize,
) -> Result<BoxStream<'static, Bytes>> {
    // One group is looked up at once, unless it has to be put together of entries.
    let at_once = match &get {
        Get::Groups(get) => get.one && get.aggregates.is_empty(),
        Get::Rows(get) => get.subject.is_some(),
        Get::Partials(_) => false,
    };
    let mut sender = match get {
        Get::Groups(get) => {
            Sender::Groups(Box::new(GroupsSender { moment, view, get, at: GroupsCursor::default() }))
        }
        Get::Rows(get) => Sender::Rows(Box::new(RowsSender::new(moment, view, get)?)),
        Get::Partials(get) => {
            Sender::Partials(Box::new(PartialsSender::new(moment, view, &get, query_bytes_max)?))
        }
    };
    let head = frames::head(None, cut, None);
    if at_once {
        let mut all = BytesMut::from(&head[..]);
        while let Some(bytes) = sender.next()? {
            all.extend_from_slice(&bytes);
        }
        all.extend_from_slice(&frames::end());
        let all = all.freeze();
        return Ok(stream::once(async { all }).boxed());
    }
    let rest = stream::unfold(Some(sender), move |sender| async move {
        let (bytes, sender) = step(sender?, deadline).await;
        Some((bytes, sender))
    });
    Ok(stream::once(async { head }).chain(rest).boxed())
}

/// The next bytes, and what goes on, if it does.
async fn step(mut sender: Sender, deadline: Instant) -> (Bytes, Option<Sender>) {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let bytes = sender.next();
            (sender, bytes)
        });
        let failed = match tokio::time::timeout_at(deadline, read).await {
            Err(_) => Failure::Timeout,
            Ok(Err(error)) => Failure::Other { message: error.to_string() },
            Ok(Ok((_, Err(error)))) => Failure::of(Error::from(error)),
            Ok(Ok((_, Ok(None)))) => return (frames::end(), None),
            Ok(Ok((rest, Ok(Some(bytes))))) if bytes.is_empty() => {
                // Nothing was found yet: whoever has gone away is noticed here.
                sender = rest;
                continue;
            }
            Ok(Ok((rest, Ok(Some(bytes))))) => return (bytes, Some(rest)),
        };
        return (frames::failure(&failed), None);
    }
}

impl Failure {
    /// An error as another node is told of it.
    pub(crate) fn of(error: Error) -> Self {
        match error {
            Error::NotReadable { reason, .. } => Self::NotReadable { reason },
            Error::TokenTimeout { .. } => Self::TokenTimeout,
            Error::Timeout { .. } => Self::Timeout,
            other => Self::Other { message: chain(&other) },
        }
    }
}

/// What reads.
enum Sender {
    Groups(Box<GroupsSender>),
    Rows(Box<RowsSender>),
    Partials(Box<PartialsSender>),
}

impl Sender {
    /// The next frames; None at the end.
    fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Groups(sender) => sender.next(),
            Self::Rows(sender) => sender.next(),
            Self::Partials(sender) => sender.next(),
        }
    }
}

fn reader<'a>(moment: &'a Moment, view: &'a HeldView) -> Result<ViewReader<'a>> {
    ViewReader::new(view.view.plan(), view.keyspace, moment.snapshot.as_ref(), &view.partitions, 0)
}

/// Groups as they are stored.
struct GroupsSender {
    moment: Arc<Moment>,
    view: HeldView,
    get: GetGroups,
    at: GroupsCursor,
}

/// How far groups were read.
#[derive(Default)]
struct GroupsCursor {
    /// How many partitions were read to their ends.
    parts: usize,
    /// The last group that was given as a whole.
    done: Option<Bytes>,
    open: Option<OpenGroup>,
}

/// A group of whose entries some were given.
struct OpenGroup {
    key: Bytes,
    value: Bytes,
    /// Of how many aggregates all entries were given.
    aggregates: usize,
    /// The last one that was given of the next.
    after: Option<Bytes>,
}

impl GroupsSender {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let reader = reader(&self.moment, &self.view)?;
        let Some(part) = reader.stored().get(self.at.parts) else { return Ok(None) };
        let mut frame = GroupsFrame::new(part.partition);
        if fill(part, &self.get, &mut frame, &mut self.at)? {
            self.at = GroupsCursor { parts: self.at.parts + 1, ..GroupsCursor::default() };
        }
        Ok(Some(frame.finish()))
    }
}

/// Fills a frame with what comes next of a partition; whether that was the last of it.
fn fill(
    part: &StoredPart<'_>,
    get: &GetGroups,
    frame: &mut GroupsFrame,
    at: &mut GroupsCursor,
) -> Result<bool> {
    let start = &get.start.0;
    if let Some(open) = at.open.take()
        && !put_group(part, get, open, frame, at)?
    {
        return Ok(false);
    }
    if get.one {
        return match (&at.done, part.group(start)?) {
            (None, Some(value)) => {
                let key = Bytes::copy_from_slice(start);
                put_group(part, get, OpenGroup { key, value, aggregates: 0, after: None }, frame, at)
            }
            _ => Ok(true),
        };
    }
    let done = at.done.clone();
    for group in part.groups_after(start, done.as_deref()) {
        let (key, value) = group?;
        let open = OpenGroup { key, value, aggregates: 0, after: None };
        if !put_group(part, get, open, frame, at)? || frame.is_full() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts the rest of a group into a frame, its entries first; false if the frame is full before.
fn put_group(
    part: &StoredPart<'_>,
    get: &GetGroups,
    mut open: OpenGroup,
    frame: &mut GroupsFrame,
    at: &mut GroupsCursor,
) -> Result<bool> {
    while let Some(&aggregate) = get.aggregates.get(open.aggregates) {
        let owner = owner(&open.key, usize::from(aggregate));
        for entry in part.entries_after(&owner, open.after.as_deref()) {
            let (key, value) = entry?;
            frame.entry(aggregate, &key, &value);
            if frame.is_full() {
                open.after = Some(key);
                at.open = Some(open);
                return Ok(false);
            }
        }
        (open.aggregates, open.after) = (open.aggregates + 1, None);
    }
    frame.group(&open.key, &open.value);
    at.done = Some(open.key);
    Ok(true)
}

/// Rows of a view that is not grouped.
struct RowsSender {
    moment: Arc<Moment>,
    view: HeldView,
    get: GetRows,
    condition: Option<Arc<dyn PhysicalExpr>>,
    at: RowsCursor,
    /// How many rows are still wanted.
    left: u64,
    /// None once everything was given.
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl RowsSender {
    fn new(moment: Arc<Moment>, view: HeldView, get: GetRows) -> Result<Self> {
        let output = &view.view.plan().output;
        let condition = get.filter.as_ref().map(|filter| filter.expression(output)).transpose()?;
        let schema: SchemaRef = match &get.columns {
            Some(columns) => Arc::new(output.project(columns)?),
            None => output.clone(),
        };
        let writer = Some(StreamWriter::try_new(Vec::new(), &schema)?);
        let left = get.rows_max.unwrap_or(u64::MAX);
        Ok(Self { moment, view, get, condition, at: RowsCursor::default(), left, writer })
    }

    /// The next rows as they are kept; None at the end.
    fn rows(&mut self) -> Result<Option<RecordBatch>> {
        if self.left == 0 {
            return Ok(None);
        }
        let reader = reader(&self.moment, &self.view)?;
        match &self.get.subject {
            Some(_) if self.at != RowsCursor::default() => Ok(None),
            Some(subject) => {
                self.at = RowsCursor::ended();
                reader.row(subject).map(Some)
            }
            None => reader.next_rows(&mut RowsOut::new(self.view.view.plan()), &mut self.at),
        }
    }

    fn next(&mut self) -> Result<Option<Bytes>> {
        if self.writer.is_none() {
            return Ok(None);
        }
        let rows = self.rows()?;
        let Some(writer) = &mut self.writer else { return Ok(None) };
        let Some(rows) = rows else {
            writer.finish()?;
            let last = framed(std::mem::take(writer.get_mut()));
            self.writer = None;
            return Ok(Some(last));
        };
        let all = rows.num_rows();
        let mut rows = match &self.condition {
            Some(condition) => keep(condition, rows)?,
            None => rows,
        };
        if rows.num_rows() as u64 > self.left {
            rows = rows.slice(0, usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= rows.num_rows() as u64;
        if let Some(columns) = &self.get.columns {
            rows = rows.project(columns)?;
        }
        if rows.num_rows() < all {
            rows = compact(&rows)?;
        }
        if rows.num_rows() > 0 {
            writer.write(&rows)?;
        }
        Ok(Some(framed(std::mem::take(writer.get_mut()))))
    }
}

/// Pieces of a stream of rows as frames.
fn framed(bytes: Vec<u8>) -> Bytes {
    let mut out = BytesMut::with_capacity(bytes.len() + 16);
    bytes.chunks(FRAME_BYTES).for_each(|piece| frames::put_frame(&mut out, Kind::Rows, piece));
    out.freeze()
}
