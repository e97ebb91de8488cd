//! Changes of merged rows, as rows that are taken back and added.
//!
//! What is kept of a subject is its row, and behind it what `tw-merge` needs to take in a change that comes late: the changes that some region may not
//! have seen yet. Once every region has seen them, only their result stays. A row that is gone is kept, as one that is there 0 times, for as long as that.

use super::changes::{SUBJECT_BYTES_MAX, rejected, row_before, state};
use super::rows::{Row, RowCache, RowKey, Staged, StoredRow, read_row};
use super::signed::{Effect, SignedRows};
use crate::merged::Knowledge;
use crate::merged::change::ChangeOps;
use crate::merged::conflict::{self, Teller};
use crate::merged::value::{Value, sum_slot};
use crate::operators::aggregator::RowPlace;
use crate::operators::groups::Error as StateError;
use crate::rows::builder::RowsBuilder;
use crate::rows::columns::{TableColumn, TableColumns};
use crate::rows::slot::Slot;
use crate::state::Malformed;
use crate::state::layout::{self, Kind};
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tw_merge::class::Value as Merged;
use tw_merge::subject::Subject;
use tw_merge::{Change, Seen, Stamp};
use tw_process::ApplyError;
use tw_state::{Keyspace, Snapshot, Store};
use tw_types::{Offset, PartitionId, StoredRef, StreamPartition};

/// The version of what is stored behind a row.
const VERSION: u8 = 1;
/// How many subjects are remembered of which something is kept that may be forgotten once it is stable; others wait for their next change.
const UNSETTLED_MAX: usize = 65_536;
/// How many of them are looked at with each batch of events.
const SETTLED_AT_ONCE: usize = 64;

/// The key of a conflict, and what is to be told of it.
pub(crate) type Aside = (Vec<u8>, Vec<u8>);

/// Where the value of a column of the table is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Subject,
    Field(u16),
}

/// See the module's text.
pub(crate) struct MergeReader {
    ops: ChangeOps,
    columns: Vec<Place>,
    knowledge: Arc<dyn Knowledge>,
    at: StreamPartition,
    /// Whether equal rows from different places are different.
    places_matter: bool,
    /// Who tells conflicts, if this view does.
    teller: Option<Teller>,
    /// Of each region, up to when everything of it is applied.
    applied: Seen,
    /// What every region has seen by that.
    stable: Seen,
    /// What is applied once this offset is reached.
    ahead: Option<(Seen, Offset)>,
    /// The same after the batch that was read last.
    next: Option<(Seen, Offset)>,
    unsettled: VecDeque<RowKey>,
    known: HashSet<RowKey>,
    rows: SignedRows,
    told: Vec<Aside>,
}

impl MergeReader {
    /// A reader of these columns of a partition. With a teller, `columns` are all of the stream.
    pub(crate) fn new(
        columns: &TableColumns,
        at: StreamPartition,
        places_matter: bool,
        knowledge: Arc<dyn Knowledge>,
        tells: Option<&str>,
    ) -> Self {
        let (mut members, mut places) = (Vec::new(), Vec::new());
        for column in &columns.columns {
            places.push(match column {
                TableColumn::Member(member) => {
                    members.push(member);
                    Place::Field(members.len() as u16 - 1)
                }
                // A table of merged rows has nothing else.
                TableColumn::Meta(_) | TableColumn::Data => Place::Subject,
            });
        }
        let ops = ChangeOps::new(members);
        let types = columns.schema();
        let rows = RowsBuilder::of(types.fields().iter().map(|field| field.data_type()));
        let rows = SignedRows::new(rows);
        let columns_of = |ops: &ChangeOps| ops.columns().cloned().zip(ops.types().cloned()).collect();
        let teller = tells.map(|stream| Teller::new(stream, columns_of(&ops)));
        Self {
            ops,
            columns: places,
            knowledge,
            at,
            places_matter,
            teller,
            applied: Seen::new(),
            stable: Seen::new(),
            ahead: None,
            next: None,
            unsettled: VecDeque::new(),
            known: HashSet::new(),
            rows,
            told: Vec::new(),
        }
    }

    /// What `events` do to rows. Nothing of it counts before [`MergeReader::accept`].
    ///
    /// # Errors
    /// [`ApplyError::Rejected`] for an event that is not a change of a row, or that comes too late to be put in where it belongs.
    pub(crate) fn read(
        &mut self,
        events: &[StoredRef<'_>],
        cache: &mut RowCache,
        store: &dyn Store,
    ) -> Result<Effect, ApplyError> {
        self.rows.start();
        self.told.clear();
        if self.ahead.is_none() {
            self.ahead = Some(self.knowledge.here(self.at).map_err(of_log)?);
        }
        let (mut staged, mut applied, mut end) = (Staged::new(), self.applied.clone(), Offset::ZERO);
        for event in events {
            self.read_one(event, cache, store, &mut staged, &mut applied)?;
            end = Offset(event.offset.0 + 1);
        }
        self.next = Some((applied, end));
        Ok(self.rows.finish(staged))
    }

    /// What was read last is applied. The conflicts in it, each with its key.
    ///
    /// # Errors
    /// The log, or the store, cannot be read.
    pub(crate) fn accept(
        &mut self,
        cache: &mut RowCache,
        store: &dyn Store,
    ) -> Result<Vec<Aside>, ApplyError> {
        if let Some((applied, end)) = self.next.take() {
            self.applied = applied;
            if let Some((seen, _)) = self.ahead.take_if(|(_, until)| *until <= end) {
                self.applied.join(&seen);
            }
            self.stable = self.knowledge.stable(&self.applied).map_err(of_log)?;
        }
        self.settle(cache, store)?;
        Ok(std::mem::take(&mut self.told))
    }

    fn read_one(
        &mut self,
        event: &StoredRef<'_>,
        cache: &mut RowCache,
        store: &dyn Store,
        staged: &mut Staged,
        applied: &mut Seen,
    ) -> Result<(), ApplyError> {
        let Some(subject) = event.event.subject else {
            return Err(rejected("the change does not tell whose row it is about: it has no subject"));
        };
        if subject.len() > SUBJECT_BYTES_MAX {
            let length = subject.len();
            return Err(rejected(format!(
                "a subject of {length} bytes is too long: at most {SUBJECT_BYTES_MAX} are allowed"
            )));
        }
        let kind = self.ops.read(&event.event.data, false).map_err(|error| rejected(error.to_string()))?;
        let stamp = Stamp { hlc: event.hlc, origin: event.origin };
        let context = self.knowledge.context(stamp).map_err(of_log)?;
        let key = RowKey::subject(subject);
        let before = row_before(&key, Some(cache), store, staged)?;
        let mut merged = self.subject(before.as_ref())?;
        if merged.cut().is_some_and(|cut| !context.knew(&cut)) || merged.holds(&stamp) {
            return Err(rejected(format!(
                "change {stamp} does not know of {}, which every region was known to have: its region was not among the peers of this one when that was \
                 decided; write it anew there",
                merged.cut().unwrap_or(stamp)
            )));
        }
        applied.join(&context.seen);
        applied.raise(stamp.region(), stamp.hlc);
        let outcome = merged.apply(Change { context, kind });
        if let Some(teller) = &self.teller {
            for conflict in &outcome.conflicts {
                let told = teller.tell(subject, conflict, |stamp| merged.change(stamp));
                // Texts and numbers always have a JSON form.
                self.told.push((conflict::key(conflict), serde_json::to_vec(&told).unwrap_or_default()));
            }
        }
        merged.forget_stable(&self.stable);
        self.put(subject, key, before.as_ref(), &merged, staged)
    }

    /// Takes back the row before, adds the row after, and keeps what is to be kept.
    fn put(
        &mut self,
        subject: &str,
        key: RowKey,
        before: Option<&StoredRow>,
        merged: &Subject<Value>,
        staged: &mut Staged,
    ) -> Result<(), ApplyError> {
        let before = before.map(StoredRow::read).transpose().map_err(malformed)?;
        let before = before.filter(|row| row.count > 0);
        let place =
            merged.last().map_or_else(RowPlace::default, |Stamp { hlc, origin }| RowPlace { hlc, origin });
        let slots = self.slots(subject, merged);
        let same = match (&before, merged.exists()) {
            (Some(before), true) => before.slots == slots && (!self.places_matter || before.place == place),
            (None, false) => true,
            _ => false,
        };
        if !same {
            if let Some(before) = &before {
                self.rows.push(&before.slots, before.place, true);
            }
            if merged.exists() {
                self.rows.push(&slots, place, false);
            }
        }
        let stored = store_row(place, &slots, merged)?;
        drop(slots);
        if merged.unstable() > 0 && self.known.len() < UNSETTLED_MAX && self.known.insert(key.clone()) {
            self.unsettled.push_back(key.clone());
        }
        staged.insert(key, stored);
        Ok(())
    }

    /// What is kept of a subject.
    fn subject(&self, stored: Option<&StoredRow>) -> Result<Subject<Value>, ApplyError> {
        let row = stored.map(StoredRow::read).transpose();
        row.and_then(|row| restored(&self.ops, row.as_ref())).map_err(malformed)
    }

    /// The values of a row, in the order of the columns.
    fn slots<'a>(&self, subject: &'a str, merged: &'a Subject<Value>) -> Vec<Slot<'a>> {
        let columns: Vec<_> = self.ops.columns().collect();
        let slot = |place: &Place| match place {
            Place::Subject => Slot::Text(Cow::Borrowed(subject)),
            Place::Field(field) => match merged.value(*field) {
                Merged::Absent => Slot::Null,
                Merged::One(value) => value.slot(),
                Merged::Number(sum) => {
                    columns.get(usize::from(*field)).map_or(Slot::Null, |column| sum_slot(sum, &column.ty))
                }
                Merged::Elements(elements) => {
                    let all: Vec<_> = elements.into_iter().map(Value::element).collect();
                    Slot::Text(Cow::Owned(serde_json::Value::from(all).to_string()))
                }
            },
        };
        self.columns.iter().map(slot).collect()
    }

    /// Forgets of some subjects what is stable by now.
    fn settle(&mut self, cache: &mut RowCache, store: &dyn Store) -> Result<(), ApplyError> {
        let mut staged = Staged::new();
        for _ in 0..SETTLED_AT_ONCE.min(self.unsettled.len()) {
            let Some(key) = self.unsettled.pop_front() else { break };
            let stored = cache.get(&key, store).map_err(state)?.cloned();
            let mut merged = self.subject(stored.as_ref())?;
            let unstable = merged.unstable();
            merged.forget_stable(&self.stable);
            if let Some(stored) = stored.as_ref().filter(|_| merged.unstable() < unstable) {
                let row = stored.read().map_err(malformed)?;
                staged.insert(key.clone(), store_row(row.place, &row.slots, &merged)?);
            }
            if merged.unstable() > 0 {
                self.unsettled.push_back(key);
            } else {
                self.known.remove(&key);
            }
        }
        cache.put_all(staged);
        Ok(())
    }
}

/// The subject behind a row.
fn restored(ops: &ChangeOps, row: Option<&Row<'_>>) -> Result<Subject<Value>, Malformed> {
    let Some(row) = row else { return Ok(Subject::new(ops.classes().clone())) };
    let saved = match row.rest.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    };
    let saved = saved.ok_or(Malformed("what is kept behind a row does not read"))?;
    Subject::restore(ops.classes().clone(), saved)
        .map_err(|_| Malformed("what is kept behind a row is of other classes"))
}

/// The subject behind a row of a merged stream's table, as its view has stored it.
pub(crate) fn stored_subject(
    ops: &ChangeOps,
    keyspace: Keyspace,
    snapshot: &dyn Snapshot,
    partition: PartitionId,
    subject: &str,
) -> Result<Subject<Value>, StateError> {
    let era = snapshot.get(keyspace, &layout::era_key(partition))?;
    let prefix = layout::prefix(Kind::Row, partition, layout::take_era(era.as_deref())?);
    let stored = snapshot.get(keyspace, &layout::key(&prefix, RowKey::subject(subject).bytes()))?;
    let row = stored.as_deref().map(read_row).transpose()?;
    Ok(restored(ops, row.as_ref())?)
}

/// A row with what is kept behind it; None if nothing needs to be kept.
fn store_row(
    place: RowPlace,
    slots: &[Slot<'_>],
    merged: &Subject<Value>,
) -> Result<Option<StoredRow>, ApplyError> {
    if merged.is_spent() {
        return Ok(None);
    }
    let saved = postcard::to_extend(&merged.save(), vec![VERSION])
        .map_err(|_| malformed(Malformed("what is kept behind a row cannot be stored")))?;
    let slots = if merged.exists() { slots } else { &[] };
    Ok(Some(StoredRow::with_rest(u64::from(merged.exists()), place, slots, &saved)))
}

fn malformed(error: Malformed) -> ApplyError {
    ApplyError::State(super::changes::damaged(error))
}

/// The log cannot be read: the view stops, and the event is not to blame.
fn of_log(error: tw_log::Error) -> ApplyError {
    ApplyError::State(tw_state::Error::Engine { folder: std::path::PathBuf::new(), source: Box::new(error) })
}
