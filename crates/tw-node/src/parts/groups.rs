//! Consumer groups behind the interface. Every node asks Kafka itself: there is no owner of a group among them.

use futures_util::future::BoxFuture;
use tw_api::parts::{
    EventTime, GroupFilter, GroupLine, GroupMember, GroupPage, GroupPlace, GroupReset, GroupShare, GroupStep,
    GroupView, Groups, ResetGroup, ResetTo,
};
use tw_api::{Code, Problem};
use tw_log_kafka::{GroupError, Reset, Target};
use tw_types::{Offset, PartitionId, chain};

/// The groups of the brokers that hold the node's log.
pub(crate) struct NodeGroups(pub(crate) tw_log_kafka::Groups);

impl Groups for NodeGroups {
    fn list(&self, filter: GroupFilter) -> BoxFuture<'_, Result<GroupPage, Problem>> {
        let GroupFilter { prefix, after, limit, stream } = filter;
        let filter = tw_log_kafka::GroupFilter { prefix, after, limit, stream };
        Box::pin(async move {
            let page = self.0.list(filter).await.map_err(of_groups)?;
            let lines = page.groups.into_iter().map(|group| GroupLine {
                group: group.group,
                state: group.state,
                protocol: group.protocol,
                members: group.members.map(|members| members as u64),
                streams: group.streams.iter().map(ToString::to_string).collect(),
                lag_events: group.lag_events,
            });
            Ok(GroupPage { groups: lines.collect(), next: page.next })
        })
    }

    fn show<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<GroupView, Problem>> {
        Box::pin(async move { self.0.show(group).await.map(view).map_err(of_groups) })
    }

    fn reset<'a>(
        &'a self,
        group: &'a str,
        request: ResetGroup,
    ) -> BoxFuture<'a, Result<GroupReset, Problem>> {
        let ResetGroup { stream, partitions, to, dry_run } = request;
        let partitions = partitions.map(|numbers| numbers.into_iter().map(PartitionId).collect());
        let to = match to {
            ResetTo::Start => Target::Start,
            ResetTo::End => Target::End,
            ResetTo::Offset(offset) => Target::Offset(Offset(offset)),
            ResetTo::Time(EventTime(time)) => Target::Time(time),
            ResetTo::Back(events) => Target::Back(events),
        };
        Box::pin(async move {
            let reset = Reset { stream: stream.clone(), partitions, to, dry_run };
            let done = self.0.reset(group, reset).await.map_err(of_groups)?;
            let steps = done.partitions.into_iter().map(|step| GroupStep {
                partition: step.partition.0,
                from: step.from.map(|from| from.0),
                to: step.to.0,
                kafka_offset: step.record,
                clamped: step.clamped,
            });
            let (group, exists, partitions) = (group.to_owned(), done.exists, steps.collect());
            Ok(GroupReset { group, exists, stream, dry_run, partitions })
        })
    }
}

fn view(group: tw_log_kafka::Group) -> GroupView {
    let member = |member: tw_log_kafka::Member| {
        let share = |(stream, partition): (tw_types::StreamName, PartitionId)| GroupShare {
            stream: stream.to_string(),
            partition: partition.0,
        };
        let partitions = member.partitions.into_iter().map(share).collect();
        GroupMember { id: member.id, client: member.client, host: member.host, partitions }
    };
    let place = |place: tw_log_kafka::GroupPartition| GroupPlace {
        stream: place.stream.to_string(),
        partition: place.partition.0,
        committed: place.committed.map(|at| at.0),
        kafka_offset: place.record,
        start: place.start.0,
        end: place.end.0,
        lag_events: place.lag_events,
        member: place.member,
    };
    GroupView {
        group: group.group,
        state: group.state,
        protocol: group.protocol,
        members: group.members.map(|members| members.into_iter().map(member).collect()),
        partitions: group.partitions.into_iter().map(place).collect(),
    }
}

/// An error about groups as a problem of the interface.
fn of_groups(error: GroupError) -> Problem {
    let text = chain(&error);
    let code = match error {
        GroupError::Log(tw_log::Error::Unavailable { .. }) => Code::KafkaUnavailable,
        GroupError::Log(error) => return error.into(),
        GroupError::InvalidName(_) => return Problem::parameter("group", text),
        GroupError::NoGroup(_) => Code::NoGroup,
        GroupError::HasMembers(_) => Code::InUse,
        GroupError::NothingCommitted { .. } | GroupError::Refused { .. } => Code::WrongState,
        GroupError::Unknown(_) | GroupError::TooMany { .. } => Code::Timeout,
        GroupError::Busy => Code::Overloaded,
    };
    Problem::new(code, text)
}
