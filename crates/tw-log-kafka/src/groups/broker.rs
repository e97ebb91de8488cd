//! What brokers say of groups, and what they are told. All of it blocks the thread, until the deadline at most.

use super::{Deadline, GroupError, Result};
use crate::client::{self, Quiet};
use crate::partition::Partition;
use crate::shared::Shared;
use crate::topics;
use rdkafka::Offset as At;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupInfo;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tw_types::{PartitionId, StreamPartition, chain};
use tw_wire::kafka::assignment;

/// How long to wait before brokers are asked again that have just started, or gone. Each time the library says so in its log.
const AGAIN: Duration = Duration::from_millis(500);

/// A group as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) protocol: Option<String>,
    /// None if they do not say.
    pub(super) members: Option<Vec<DescribedMember>>,
}

/// A member as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DescribedMember {
    pub(super) id: String,
    pub(super) client: String,
    pub(super) host: String,
    /// Topics, and the partitions of each.
    pub(super) assigned: Vec<(String, Vec<PartitionId>)>,
}

/// What a group has committed, in records.
pub(super) type Committed = BTreeMap<StreamPartition, u64>;

/// The groups of the consumer protocol, in the order of their names: all, or the one of this name. Each broker tells those that
/// it coordinates, so that all brokers must be there: what one that has just died has coordinated is told once another one has
/// taken over. While that one reads what it takes over, it may be missing.
pub(super) fn groups(
    shared: &Shared,
    deadline: &Deadline,
    action: &'static str,
    only: Option<&str>,
) -> Result<Vec<Described>> {
    let failed = |cause| GroupError::from(client::unavailable(&shared.options, action, cause));
    let mut cause = KafkaError::GroupListFetch(RDKafkaErrorCode::OperationTimedOut);
    while let Some(left) = deadline.left() {
        // Each time another one, which says anew what it cannot reach.
        let consumer =
            client::of_group(&shared.options, only.unwrap_or(&shared.options.prefix)).map_err(failed)?;
        let told = list(shared, &consumer, deadline, only);
        // The library forgets the error of one broker when another one answers after it.
        while consumer.poll(Duration::from_millis(1)).is_some() {}
        match told {
            Ok(groups) if consumer.context().unreachable() == 0 => return Ok(groups),
            Ok(_) => cause = KafkaError::GroupListFetch(RDKafkaErrorCode::BrokerTransportFailure),
            Err(error) if is_refused(&error) => {
                return Err(GroupError::Refused {
                    group: only.unwrap_or("*").to_owned(),
                    source: Arc::new(error),
                });
            }
            Err(error) => cause = error,
        }
        std::thread::sleep(AGAIN.min(left));
    }
    Err(failed(cause))
}

/// What the brokers tell that there are now.
fn list(
    shared: &Shared,
    consumer: &BaseConsumer<Quiet>,
    deadline: &Deadline,
    only: Option<&str>,
) -> std::result::Result<Vec<Described>, KafkaError> {
    // A broker that has just gone may keep the library waiting: then there is time left for who takes over.
    let most = Duration::from_millis(shared.options.request_ms_max / 3);
    let left = || deadline.left().unwrap_or(AGAIN).min(most);
    // The library finds out by itself which brokers there are, but only after a second.
    consumer.fetch_metadata(Some(&topics::of_writers(&shared.options)), left())?;
    let list = consumer.fetch_group_list(only, left())?;
    let mut groups: Vec<_> = list.groups().iter().filter_map(describe).collect();
    // One that moves between brokers may be told by both, of which one knows it.
    groups.sort_by(|a, b| (&a.name, a.members.is_none()).cmp(&(&b.name, b.members.is_none())));
    groups.dedup_by(|a, b| a.name == b.name);
    Ok(groups)
}

/// A group as the library shows it; None of another protocol, such as the one of Kafka Connect's workers, and of one without a
/// name, which old programs may have made and nobody can ask for.
///
/// Of a group of the newer protocol (KIP-848) the library learns its name alone: what it asks for does not cover it, and the
/// broker says that such a group is dead.
fn describe(group: &GroupInfo) -> Option<Described> {
    if !["consumer", ""].contains(&group.protocol_type()) || group.name().is_empty() {
        return None;
    }
    let (name, told) = (group.name().to_owned(), group.state());
    if group.protocol_type().is_empty() && told == "Dead" {
        return Some(Described { name, state: "unknown".to_owned(), protocol: None, members: None });
    }
    let members = group.members().iter().map(|member| {
        let assigned =
            assignment::read(member.assignment().unwrap_or_default()).unwrap_or_else(|malformed| {
                let error = chain(&malformed);
                tracing::debug!(group = name, member = member.id(), error, "what a member has is not shown");
                Vec::new()
            });
        DescribedMember {
            id: member.id().to_owned(),
            client: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            assigned: assigned.into_iter().map(|(topic, numbers)| (topic.to_owned(), numbers)).collect(),
        }
    });
    let members = Some(members.collect());
    let protocol = Some(group.protocol().to_owned()).filter(|protocol| !protocol.is_empty());
    Some(Described { state: snake_case(told), protocol, members, name })
}

/// `PreparingRebalance` is `preparing_rebalance`.
fn snake_case(state: &str) -> String {
    let mut text = String::with_capacity(state.len() + 4);
    for c in state.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// A client in the name of a group, which does not join it.
pub(super) struct Member<'s> {
    shared: &'s Shared,
    deadline: &'s Deadline,
    action: &'static str,
    group: String,
    consumer: BaseConsumer<Quiet>,
}

impl<'s> Member<'s> {
    pub(super) fn new(
        shared: &'s Shared,
        deadline: &'s Deadline,
        action: &'static str,
        group: &str,
    ) -> Result<Self> {
        let consumer = client::of_group(&shared.options, group);
        let consumer = consumer.map_err(|cause| client::unavailable(&shared.options, action, cause))?;
        Ok(Self { shared, deadline, action, group: group.to_owned(), consumer })
    }

    fn failed(&self, cause: KafkaError) -> GroupError {
        if is_refused(&cause) {
            return GroupError::Refused { group: self.group.clone(), source: Arc::new(cause) };
        }
        client::unavailable(&self.shared.options, self.action, cause).into()
    }

    /// What the group has committed in these partitions.
    pub(super) fn committed(&self, partitions: &[Arc<Partition>]) -> Result<Committed> {
        let timed_out = || self.failed(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        let left = self.deadline.left().ok_or_else(timed_out)?;
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            wanted.add_partition(&partition.topic, partition.number());
        }
        let told = match self.consumer.committed_offsets(wanted, left) {
            // Groups that share single records (KIP-932) commit nothing.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupIdNotFound) => {
                return Ok(Committed::new());
            }
            told => told.map_err(|cause| self.failed(cause))?,
        };
        let places: BTreeMap<_, _> = partitions.iter().map(|p| ((&*p.topic, p.number()), p.at)).collect();
        let committed = told.elements().into_iter().filter_map(|element| {
            // A topic may be gone.
            element.error().ok()?;
            let At::Offset(record) = element.offset() else { return None };
            let at = places.get(&(element.topic(), element.partition()))?;
            Some((*at, u64::try_from(record).ok()?))
        });
        Ok(committed.collect())
    }

    /// Commits records for the group, which must have no members.
    pub(super) fn commit(&self, records: &[(Arc<Partition>, u64)]) -> Result<()> {
        let timed_out = || self.failed(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut));
        let mut list = TopicPartitionList::with_capacity(records.len());
        for (partition, record) in records {
            let to = At::Offset(i64::try_from(*record).unwrap_or(i64::MAX));
            let added = list.add_partition_offset(&partition.topic, partition.number(), to);
            added.map_err(|cause| self.failed(cause))?;
        }
        // Nobody is told that it was not done, and then it is.
        self.deadline.left().ok_or_else(timed_out)?;
        self.deadline.commits();
        match self.consumer.commit(&list, CommitMode::Sync) {
            Ok(()) => Ok(()),
            Err(cause) if has_members(&cause) => Err(GroupError::HasMembers(self.group.clone())),
            Err(cause) if is_unknown(&cause) => Err(GroupError::Unknown(self.group.clone())),
            Err(cause) => Err(self.failed(cause)),
        }
    }
}

/// Whether the broker says that the group has members, of which we are none.
fn has_members(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        FencedInstanceId, FencedMemberEpoch, IllegalGeneration, NonEmptyGroup, RebalanceInProgress,
        StaleMemberEpoch, UnknownMemberId,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            UnknownMemberId
                | IllegalGeneration
                | RebalanceInProgress
                | NonEmptyGroup
                | FencedInstanceId
                | FencedMemberEpoch
                | StaleMemberEpoch
        )
    )
}

/// Whether the answer is no, and stays so.
fn is_refused(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, GroupAuthorizationFailed, InvalidGroupId, TopicAuthorizationFailed,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            ClusterAuthorizationFailed | GroupAuthorizationFailed | InvalidGroupId | TopicAuthorizationFailed
        )
    )
}

/// Whether a request may have been carried out whose answer did not come.
fn is_unknown(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{BrokerTransportFailure, OperationTimedOut, RequestTimedOut};
    matches!(error.rdkafka_error_code(), Some(BrokerTransportFailure | OperationTimedOut | RequestTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_says_to_who_is_no_member_is_told_apart() {
        let commit = |code| KafkaError::ConsumerCommit(code);
        assert!(has_members(&commit(RDKafkaErrorCode::UnknownMemberId)));
        assert!(has_members(&commit(RDKafkaErrorCode::RebalanceInProgress)));
        assert!(!has_members(&commit(RDKafkaErrorCode::WaitingForCoordinator)));
        assert!(is_unknown(&commit(RDKafkaErrorCode::OperationTimedOut)));
        // It was never sent.
        assert!(!is_unknown(&commit(RDKafkaErrorCode::WaitingForCoordinator)));
        assert!(is_refused(&commit(RDKafkaErrorCode::GroupAuthorizationFailed)));
    }

    #[test]
    fn states_are_written_as_everything_else_is() {
        let states = ["Stable", "Empty", "PreparingRebalance", "Dead", ""].map(snake_case);
        assert_eq!(states, ["stable", "empty", "preparing_rebalance", "dead", ""]);
    }
}
