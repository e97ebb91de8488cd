//! What a request about groups does, on a thread of its own.

use super::aim::{Aim, aim, lag};
use super::broker::{self, Committed, Described, Member as Client};
use super::places::{Known, Places};
use super::{
    Deadline, Group, GroupError, GroupFilter, GroupPage, GroupPartition, GroupRow, Member, ResetPartition,
    Resets, Result, Target,
};
use crate::partition::Partition;
use crate::shared::Shared;
use crate::topics;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tw_log::Streams;
use tw_types::{Offset, PartitionId, StreamDef, StreamName, StreamPartition, Timestamp};

/// How many groups are asked about at once. Each has a client of its own, because a client speaks for one group; most of
/// their time they wait.
const CLIENTS_MAX: usize = 16;
/// How many groups are asked about before it is looked whether there are enough.
const BATCH: usize = 64;

/// See the module's text.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Arc<Mutex<Known>>,
    pub(super) deadline: Deadline,
    /// What is done, in an error's words.
    pub(super) action: &'static str,
}

/// The streams whose topics a group may read.
struct Shown {
    streams: Arc<Streams>,
    by_topic: HashMap<String, Arc<StreamDef>>,
    partitions: Vec<Arc<Partition>>,
}

impl Shown {
    fn new(shared: &Shared) -> Self {
        let streams = shared.streams();
        let topic = |def: &Arc<StreamDef>| (topics::of_stream(&shared.options, def), def.clone());
        Self { by_topic: streams.iter().map(topic).collect(), partitions: shared.all(), streams }
    }

    fn name(&self, at: StreamPartition) -> Option<StreamName> {
        self.streams.of_partition(at).ok().map(|def| def.name.clone())
    }

    /// The partitions of streams among those that a member has.
    fn assigned(&self, topics: &[(String, Vec<PartitionId>)]) -> Vec<StreamPartition> {
        let mut assigned = Vec::new();
        for (topic, numbers) in topics {
            let Some(def) = self.by_topic.get(topic) else { continue };
            let known = numbers.iter().filter(|number| number.0 < def.partitions);
            assigned.extend(known.map(|number| StreamPartition::new(def.id, *number)));
        }
        assigned
    }
}

impl Work {
    /// See [`super::Groups::list`].
    pub(super) fn list(&self, filter: &GroupFilter) -> Result<GroupPage> {
        let shown = Shown::new(&self.shared);
        let stream = filter.stream.as_deref().map(|name| shown.streams.get(name)).transpose()?;
        let mut groups = broker::groups(&self.shared, &self.deadline, self.action, None)?;
        groups.retain(|group| {
            let is_after = filter.after.as_ref().is_none_or(|after| group.name > *after);
            is_after && group.name.starts_with(&filter.prefix)
        });
        let limit = filter.limit.unwrap_or(usize::MAX);
        let (mut page, mut told, mut last) = (GroupPage::default(), 0, None);
        let mut places = None;
        while told < groups.len() && page.groups.len() < limit {
            let wanted = if stream.is_some() { BATCH } else { BATCH.min(limit - page.groups.len()) };
            let batch = groups.get(told..groups.len().min(told + wanted)).unwrap_or_default();
            let Some(committed) = self.committed(batch, &shown.partitions)? else {
                // A page may be short, if it can be gone on after it.
                if filter.limit.is_some() && told > 0 {
                    break;
                }
                return Err(GroupError::TooMany { groups: groups.len(), told });
            };
            let places = match &mut places {
                Some(places) => places,
                none => none.insert(Places::new(&self.shared, &self.known)?),
            };
            let records =
                committed.iter().flat_map(|of_group| of_group.iter().map(|(at, record)| (*at, *record)));
            let events = places.events(records)?;
            for (group, committed) in batch.iter().zip(&committed) {
                if page.groups.len() == limit {
                    break;
                }
                told += 1;
                last = Some(&group.name);
                let (row, streams) = self.row(group, committed, &events, &shown);
                if stream.is_none_or(|stream| streams.contains(&stream.name)) {
                    page.groups.push(row);
                }
            }
        }
        page.next = last.filter(|_| told < groups.len()).cloned();
        Ok(page)
    }

    /// A line of a list, and the streams that the group reads.
    fn row(
        &self,
        group: &Described,
        committed: &Committed,
        events: &HashMap<(StreamPartition, u64), Offset>,
        shown: &Shown,
    ) -> (GroupRow, BTreeSet<StreamName>) {
        let mut lag_events = None;
        for (at, record) in committed {
            let (Some(next), Ok(partition)) = (events.get(&(*at, *record)), self.shared.partition(*at))
            else {
                continue;
            };
            *lag_events.get_or_insert(0) += lag(*next, partition.bounds());
        }
        let members = group.members.as_deref().unwrap_or_default();
        let assigned = members.iter().flat_map(|member| shown.assigned(&member.assigned));
        let streams: BTreeSet<_> =
            committed.keys().copied().chain(assigned).filter_map(|at| shown.name(at)).collect();
        let row = GroupRow {
            group: group.name.clone(),
            state: group.state.clone(),
            protocol: group.protocol.clone(),
            members: group.members.as_ref().map(Vec::len),
            streams: streams.iter().cloned().collect(),
            lag_events,
        };
        (row, streams)
    }

    /// What groups have committed, in their order; None when it takes too long. Several are asked about at once.
    fn committed(
        &self,
        groups: &[Described],
        partitions: &[Arc<Partition>],
    ) -> Result<Option<Vec<Committed>>> {
        let (next, told) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let ask = || {
            while let Some((index, group)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                groups.get(index).map(|group| (index, group))
            } {
                if self.is_late() {
                    return;
                }
                let client = Client::new(&self.shared, &self.deadline, self.action, &group.name);
                let outcome = client.and_then(|client| client.committed(partitions));
                let is_error = outcome.is_err();
                told.lock().insert(index, outcome);
                if is_error {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..groups.len().min(CLIENTS_MAX) {
                scope.spawn(ask);
            }
        });
        let mut all = Vec::with_capacity(groups.len());
        for outcome in told.into_inner().into_values() {
            all.push(outcome?);
        }
        Ok((all.len() == groups.len()).then_some(all))
    }

    /// Whether no further group is asked about, so that what is known can be told in time.
    fn is_late(&self) -> bool {
        let limit_ms = u128::from(self.shared.options.request_ms_max);
        self.deadline.left().is_none_or(|left| left.as_millis() < limit_ms / 4)
    }

    /// See [`super::Groups::show`].
    pub(super) fn show(&self, group: &str) -> Result<Group> {
        let shown = Shown::new(&self.shared);
        let client = Client::new(&self.shared, &self.deadline, self.action, group)?;
        // First of all: this waits until the group's coordinator knows what it has.
        let committed = client.committed(&shown.partitions)?;
        let group = self.find(group)?.ok_or_else(|| GroupError::NoGroup(group.to_owned()))?;
        let places = Places::new(&self.shared, &self.known)?;
        let events = places.events(committed.iter().map(|(at, record)| (*at, *record)))?;
        let mut owners: HashMap<StreamPartition, String> = HashMap::new();
        let members = group.members.map(|members| {
            let members = members.into_iter().map(|member| {
                let assigned = shown.assigned(&member.assigned);
                owners.extend(assigned.iter().map(|at| (*at, member.id.clone())));
                let named = assigned.iter().filter_map(|at| Some((shown.name(*at)?, at.partition)));
                let mut partitions: Vec<_> = named.collect();
                partitions.sort();
                Member { id: member.id, client: member.client, host: member.host, partitions }
            });
            members.collect::<Vec<_>>()
        });
        let all: BTreeSet<_> = committed.keys().chain(owners.keys()).copied().collect();
        let mut partitions: Vec<_> = all
            .into_iter()
            .filter_map(|at| {
                let bounds = self.shared.partition(at).ok()?.bounds();
                let record = committed.get(&at).copied();
                let next = record.and_then(|record| events.get(&(at, record)).copied());
                Some(GroupPartition {
                    stream: shown.name(at)?,
                    partition: at.partition,
                    committed: next,
                    record,
                    start: bounds.start,
                    end: bounds.end,
                    lag_events: next.map(|next| lag(next, bounds)),
                    member: owners.get(&at).cloned(),
                })
            })
            .collect();
        partitions.sort_by(|a, b| (&a.stream, a.partition).cmp(&(&b.stream, b.partition)));
        Ok(Group { group: group.name, state: group.state, protocol: group.protocol, members, partitions })
    }

    fn find(&self, group: &str) -> Result<Option<Described>> {
        let found = broker::groups(&self.shared, &self.deadline, self.action, Some(group))?;
        Ok(found.into_iter().find(|found| found.name == group))
    }

    /// See [`super::Groups::reset`].
    pub(super) fn reset(
        &self,
        group: &str,
        at: &[StreamPartition],
        stream: &StreamName,
        to: Target,
        dry_run: bool,
    ) -> Result<Resets> {
        let partitions: tw_log::Result<Vec<_>> = at.iter().map(|at| self.shared.partition(*at)).collect();
        let partitions = partitions?;
        let client = Client::new(&self.shared, &self.deadline, self.action, group)?;
        let committed = client.committed(&partitions)?;
        let described = self.find(group)?;
        let members = described.as_ref().and_then(|group| group.members.as_ref());
        if members.is_some_and(|members| !members.is_empty()) {
            return Err(GroupError::HasMembers(group.to_owned()));
        }
        let resets = self.plan(group, &partitions, &committed, stream, to)?;
        if !dry_run {
            let records: Vec<_> =
                partitions.into_iter().zip(resets.iter().map(|reset| reset.record)).collect();
            client.commit(&records)?;
        }
        Ok(Resets { exists: described.is_some(), partitions: resets })
    }

    /// What becomes of each partition.
    fn plan(
        &self,
        group: &str,
        partitions: &[Arc<Partition>],
        committed: &Committed,
        stream: &StreamName,
        to: Target,
    ) -> Result<Vec<ResetPartition>> {
        let places = Places::new(&self.shared, &self.known)?;
        let timed = match to {
            Target::Time(time) => places.since(partitions, millis(time))?,
            _ => HashMap::new(),
        };
        let records = committed.iter().chain(&timed).map(|(at, record)| (*at, *record));
        let events = places.events(records)?;
        let mut resets = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let event = |record: Option<&u64>| record.and_then(|record| events.get(&(partition.at, *record)));
            let from = event(committed.get(&partition.at)).copied();
            let at_time = event(timed.get(&partition.at)).copied();
            let number = partition.at.partition;
            let Some(Aim { to, clamped }) = aim(to, partition.bounds(), from, at_time) else {
                let (group, stream) = (group.to_owned(), stream.clone());
                return Err(GroupError::NothingCommitted { group, stream, partition: number });
            };
            let record = places.record(partition, to)?;
            resets.push(ResetPartition { partition: number, from, to, record, clamped });
        }
        Ok(resets)
    }
}

/// Milliseconds since 1970; what is between two of them is the later one, as when events are read from a time on.
fn millis(time: Timestamp) -> i64 {
    time.nanos().div_euclid(1_000_000) + i64::from(time.nanos().rem_euclid(1_000_000) > 0)
}
