//! What changes of merged rows need before they are accepted: rights to columns of the class `reserve`, and unique values, which
//! [`crate::claims`] gets.
//!
//! A row is held while a change of it is decided and stored, and the change is stored only if the row has the version that it had then; so nothing comes
//! between. Nobody holds a row while another region is asked: two that ask each other would wait for each other.
//! `docs/adr/0025-asked-before-it-is-accepted.md` says why it is so.

mod ask;
mod row;

pub(crate) use row::with as row;

use crate::claims::{NodeClaims, Writing};
use crate::core::Core;
use crate::parts::Doors;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tw_api::parts::{
    ColumnRightsView, GiveRights, GivenRights, Held, Obtained, Pass, RegionRightsView, Rights, RightsView,
    RowChange,
};
use tw_api::{Code, Problem};
use tw_project::Verdict;
use tw_types::{Data, Merge, StreamDef, StreamId, Version};

/// How many rows can be held at the same time: those that share one of so many locks wait for each other.
const LOCKS: usize = 1_024;
/// How long to wait before what cannot be said yet is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// The data of changes of one row; None deletes it.
type Changes = Vec<Option<Vec<u8>>>;

/// Whoever gets what changes need.
pub(crate) struct NodeRights {
    core: Arc<Core>,
    claims: Arc<NodeClaims>,
    doors: Doors,
    locks: Box<[Arc<Mutex<()>>]>,
    hasher: std::hash::RandomState,
}

/// Rows that are held.
struct Rows(#[expect(dead_code, reason = "they are held until this is dropped")] Vec<OwnedMutexGuard<()>>);

/// What changes that are accepted keep from others until they are stored.
struct Kept {
    _rows: Rows,
    _values: Option<Writing>,
}

impl Held for Kept {}

impl NodeRights {
    pub(crate) fn new(core: Arc<Core>, claims: Arc<NodeClaims>) -> Self {
        let locks = std::iter::repeat_with(Arc::default).take(LOCKS).collect();
        Self { core, claims, doors: Doors::default(), locks, hasher: std::hash::RandomState::new() }
    }

    /// Holds rows, always in the same order.
    async fn hold(&self, stream: StreamId, subjects: impl IntoIterator<Item = &str>) -> Rows {
        let lock = |subject| self.hasher.hash_one((stream, subject)) as usize % LOCKS;
        let places: BTreeSet<usize> = subjects.into_iter().map(lock).collect();
        let mut held = Vec::with_capacity(places.len());
        for lock in places.into_iter().filter_map(|place| self.locks.get(place)) {
            held.push(lock.clone().lock_owned().await);
        }
        Rows(held)
    }

    /// What changes of one row come to now, and the version of the row that this is said of.
    async fn verdict(
        &self,
        stream: &Arc<StreamDef>,
        subject: &str,
        changes: Changes,
    ) -> Result<(Verdict, Version), Problem> {
        row::with(&self.core, stream, subject, move |row| {
            let changes: Vec<Data<&[u8]>> =
                changes.iter().map(|json| json.as_deref().map_or(Data::None, Data::Json)).collect();
            row.admit(&changes)
        })
        .await
    }

    /// The rows of which rights are needed, with all their changes.
    fn needing<'c>(
        &self,
        stream: &StreamDef,
        changes: &'c [RowChange],
    ) -> Result<BTreeMap<&'c str, Changes>, Problem> {
        let mut rows: BTreeMap<&str, Changes> = BTreeMap::new();
        let Some(schema) = &stream.schema else { return Ok(rows) };
        let check = self.doors.check(stream.id, schema);
        let mut needing = BTreeSet::new();
        for change in changes {
            let data = change.json.as_deref().map_or(Data::None, Data::Json);
            let refused = |error: tw_project::RowError| Problem::new(Code::EventRefused, error.to_string());
            if check.needs_rights(&data).map_err(refused)? {
                needing.insert(change.subject.as_str());
            }
            rows.entry(&change.subject).or_default().push(change.json.clone());
        }
        rows.retain(|subject, _| needing.contains(subject));
        Ok(rows)
    }

    async fn get(
        &self,
        stream: &Arc<StreamDef>,
        changes: &[RowChange],
        timeout: Duration,
    ) -> Result<Obtained, Problem> {
        let clock = &self.core.env.clock;
        let deadline = clock.monotonic() + timeout;
        // Before any row is held, because that may ask other regions.
        let values = self.claims.obtain(stream, changes, timeout).await?;
        let rows = self.needing(stream, changes)?;
        'again: loop {
            let held = self.hold(stream.id, rows.keys().copied()).await;
            let mut versions = Vec::with_capacity(rows.len());
            for (subject, changes) in &rows {
                let (verdict, version) = self.verdict(stream, subject, changes.clone()).await?;
                let left = deadline.saturating_sub(clock.monotonic());
                match verdict {
                    Verdict::Admitted => versions.push(((*subject).to_owned(), version)),
                    Verdict::Refused(why) => {
                        return Err(Problem::new(Code::NoRights, format!("`{subject}`: {why}")));
                    }
                    Verdict::Ask(lack) => {
                        drop(held);
                        self.ask(stream, subject, lack, left).await?;
                        continue 'again;
                    }
                    Verdict::NotYet(why) if left.is_zero() => {
                        return Err(Problem::new(Code::Timeout, format!("`{subject}`: {why}")));
                    }
                    Verdict::NotYet(_) => {
                        drop(held);
                        tokio::time::sleep(AGAIN.min(left)).await;
                        continue 'again;
                    }
                }
            }
            let kept = Kept { _rows: held, _values: values };
            return Ok(Obtained { versions, held: Some(Pass::new(kept)) });
        }
    }
}

impl Rights for NodeRights {
    fn asks(&self, stream: &StreamDef) -> bool {
        stream.has_merge(&Merge::Reserve) || stream.has_merge(&Merge::Unique)
    }

    fn obtain<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        changes: &'a [RowChange],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Obtained, Problem>> {
        Box::pin(self.get(stream, changes, timeout))
    }

    fn view<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<RightsView, Problem>> {
        Box::pin(async move {
            let (rights, _) = row::with(&self.core, stream, subject, |row| row.rights()).await?;
            let region = |(region, amount): (tw_types::RegionId, serde_json::Value)| RegionRightsView {
                region: region.0,
                amount,
            };
            let columns = rights.into_iter().map(|of| ColumnRightsView {
                column: of.column,
                quantity: of.quantity,
                regions: of.regions.into_iter().map(region).collect(),
            });
            Ok(RightsView {
                stream: stream.name.to_string(),
                subject: subject.to_owned(),
                columns: columns.collect(),
            })
        })
    }

    fn give<'a>(
        &'a self,
        stream: &'a Arc<StreamDef>,
        subject: &'a str,
        request: GiveRights,
    ) -> BoxFuture<'a, Result<GivenRights, Problem>> {
        Box::pin(self.give_away(stream, subject, request))
    }
}
