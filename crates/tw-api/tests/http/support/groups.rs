//! Consumer groups that read one stream of one partition with the offsets 10 to 20, and lose no place.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tw_api::parts::{
    GroupFilter, GroupLine, GroupPage, GroupPlace, GroupReset, GroupStep, GroupView, Groups, ResetGroup,
    ResetTo,
};
use tw_api::{Code, Problem};

const START: u64 = 10;
const END: u64 = 20;

/// Where each group is.
#[derive(Default)]
pub(crate) struct Readers(Mutex<BTreeMap<String, u64>>);

impl Readers {
    pub(crate) fn new<const N: usize>(readers: [(&str, u64); N]) -> Self {
        Self(Mutex::new(readers.map(|(name, at)| (name.to_owned(), at)).into()))
    }

    fn at(&self, group: &str) -> Result<u64, Problem> {
        let missing = || Problem::new(Code::NoGroup, format!("there is no group `{group}`"));
        self.0.lock().get(group).copied().ok_or_else(missing)
    }
}

impl Groups for Readers {
    fn list(&self, filter: GroupFilter) -> BoxFuture<'_, Result<GroupPage, Problem>> {
        let groups = self.0.lock();
        let after = filter.after.unwrap_or_default();
        let reads = filter.stream.is_none_or(|stream| stream == "orders");
        let wanted =
            groups.iter().filter(|(name, _)| reads && **name > after && name.starts_with(&filter.prefix));
        let mut lines: Vec<_> = wanted
            .map(|(name, at)| GroupLine {
                group: name.clone(),
                state: "empty".to_owned(),
                protocol: None,
                members: Some(0),
                streams: vec!["orders".to_owned()],
                lag_events: Some(END - at),
            })
            .collect();
        let limit = filter.limit.unwrap_or(usize::MAX);
        let is_more = lines.len() > limit;
        lines.truncate(limit);
        let next = lines.last().filter(|_| is_more).map(|last| last.group.clone());
        Box::pin(std::future::ready(Ok(GroupPage { groups: lines, next })))
    }

    fn show<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<GroupView, Problem>> {
        Box::pin(async move {
            let at = self.at(group)?;
            let place = GroupPlace {
                stream: "orders".to_owned(),
                partition: 0,
                committed: Some(at),
                kafka_offset: Some(2 * at),
                start: START,
                end: END,
                lag_events: Some(END - at),
                member: None,
            };
            let (group, state) = (group.to_owned(), "empty".to_owned());
            Ok(GroupView { group, state, protocol: None, members: Some(Vec::new()), partitions: vec![place] })
        })
    }

    fn reset<'a>(
        &'a self,
        group: &'a str,
        request: ResetGroup,
    ) -> BoxFuture<'a, Result<GroupReset, Problem>> {
        Box::pin(async move {
            let from = self.at(group)?;
            let wanted = match request.to {
                ResetTo::Start => START,
                ResetTo::End => END,
                ResetTo::Offset(offset) => offset,
                ResetTo::Time(time) => START + time.0.millis().unsigned_abs(),
                ResetTo::Back(events) => from.saturating_sub(events),
            };
            let to = wanted.clamp(START, END);
            if !request.dry_run {
                self.0.lock().insert(group.to_owned(), to);
            }
            let step =
                GroupStep { partition: 0, from: Some(from), to, kafka_offset: 2 * to, clamped: to != wanted };
            let (group, stream, dry_run) = (group.to_owned(), request.stream, request.dry_run);
            Ok(GroupReset { group, exists: true, stream, dry_run, partitions: vec![step] })
        })
    }
}
