//! What is known of a node, and how it is stored: JSON, version 1. Fields that a newer node adds are passed over.

use super::{kind, load, member};
use crate::{Entry, Key, LeaseId, Result, Revision, record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a node says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Its name, which no other node has.
    pub node: String,
    /// Which installation it is, whatever it is called: drawn once for its data folder, which one process at a time has.
    pub instance: String,
    /// The name in which this process writes to the log, and is fenced off there.
    pub writer: String,
    /// What it does, such as `data` or `gateway`.
    pub roles: BTreeSet<String>,
    /// What it has.
    pub capacity: Capacity,
    /// Where it is reached, by protocol: `http` → `10.0.0.1:7070`.
    pub addresses: BTreeMap<String, String>,
    /// The version of its program.
    pub version: String,
}

/// What a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// Processing power, in thousandths of a core.
    pub cpu_millicores: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Room for data, in bytes.
    pub disk_bytes: u64,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Processing power in use, in thousandths of a core.
    pub cpu_millicores: u64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Writes that wait until they are durable. Nodes of earlier versions do not tell it.
    #[serde(default)]
    pub queued_writes: u64,
    /// How far its views are behind, in events.
    pub lag_events: u64,
    /// When that was so, in milliseconds since 1970, by the node's own clock. Set when it is reported.
    pub at_ms: u64,
}

/// Whether a node is to be given work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It takes its share.
    Active,
    /// It hands over what it has, and takes nothing new.
    Draining,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it said of itself.
    pub registration: Registration,
    /// Whether it is to be given work.
    pub standing: Standing,
    /// When it joined, in milliseconds since 1970, by its own clock.
    pub joined_ms: u64,
    /// The number that fences off whoever had this name before.
    pub epoch: Revision,
    /// The lease that keeps it registered.
    pub lease: Option<LeaseId>,
    /// How busy it is; nothing before its first report, which is not the same as idle.
    pub load: Option<Load>,
}

/// A node as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberV1 {
    v: u32,
    node: String,
    instance: String,
    writer: String,
    pub(super) standing: Standing,
    roles: BTreeSet<String>,
    capacity: Capacity,
    addresses: BTreeMap<String, String>,
    version: String,
    joined_ms: u64,
}

impl MemberV1 {
    pub(super) fn new(registration: &Registration, standing: Standing, joined_ms: u64) -> Self {
        let Registration { node, instance, writer, roles, capacity, addresses, version } =
            registration.clone();
        Self { v: 1, node, instance, writer, standing, roles, capacity, addresses, version, joined_ms }
    }

    pub(super) fn encode(&self, key: &Key) -> Result<Vec<u8>> {
        record::encode(key, self)
    }

    pub(super) fn decode(entry: &Entry) -> Result<Self> {
        record::decode(entry)
    }

    pub(super) fn member(self, entry: &Entry) -> Member {
        let Self { v: _, node, instance, writer, standing, roles, capacity, addresses, version, joined_ms } =
            self;
        let registration = Registration { node, instance, writer, roles, capacity, addresses, version };
        Member { registration, standing, joined_ms, epoch: entry.created, lease: entry.lease, load: None }
    }
}

/// A load as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoadV1 {
    v: u32,
    #[serde(flatten)]
    load: Load,
}

impl LoadV1 {
    pub(super) fn new(load: &Load, at_ms: u64) -> Self {
        Self { v: 1, load: Load { at_ms, ..*load } }
    }

    pub(super) fn encode(&self, key: &Key) -> Result<Vec<u8>> {
        record::encode(key, self)
    }

    pub(super) fn decode(entry: &Entry) -> Result<Self> {
        record::decode(entry)
    }

    pub(super) fn load(self) -> Load {
        self.load
    }
}

/// The nodes that these entries tell of, by name.
pub(super) fn members<'e>(entries: impl IntoIterator<Item = &'e Entry> + Clone) -> BTreeMap<String, Member> {
    let mut members = BTreeMap::new();
    for entry in entries.clone() {
        if let Some((node, false)) = kind(&entry.key)
            && let Some(member) = member(entry)
        {
            members.insert(node, member);
        }
    }
    for entry in entries {
        if let Some((node, true)) = kind(&entry.key)
            && let Some(member) = members.get_mut(&node)
        {
            member.load = load(entry);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn entry(value: &str) -> Entry {
        let (created, modified) = (Revision(7), Revision(9));
        let key = Key::new(["members", "n1"]).unwrap();
        Entry {
            key,
            value: Bytes::copy_from_slice(value.as_bytes()),
            created,
            modified,
            lease: Some(LeaseId(5)),
        }
    }

    #[test]
    fn version_1_is_stored_like_this() {
        let registration = Registration {
            node: "n1".into(),
            instance: "i1".into(),
            writer: "n1-w".into(),
            roles: ["data".into(), "api".into()].into(),
            capacity: Capacity { cpu_millicores: 2000, memory_bytes: 1 << 30, disk_bytes: 1 << 40 },
            addresses: [("http".into(), "10.0.0.1:7070".into())].into(),
            version: "0.1.0".into(),
        };
        let record = MemberV1::new(&registration, Standing::Draining, 1_700_000_000_000);
        let golden = concat!(
            r#"{"v":1,"node":"n1","instance":"i1","writer":"n1-w","standing":"draining","roles":["api","data"],"#,
            r#""capacity":{"cpu_millicores":2000,"memory_bytes":1073741824,"disk_bytes":1099511627776},"#,
            r#""addresses":{"http":"10.0.0.1:7070"},"version":"0.1.0","joined_ms":1700000000000}"#
        );
        assert_eq!(String::from_utf8(record.encode(&Key::new(["k"]).unwrap()).unwrap()).unwrap(), golden);
        let member = MemberV1::decode(&entry(golden)).unwrap().member(&entry(golden));
        assert_eq!((&member.registration, member.epoch), (&registration, Revision(7)));
        let load = Load {
            cpu_millicores: 1,
            memory_bytes: 2,
            in_flight: 4,
            queued_writes: 3,
            lag_events: 5,
            at_ms: 0,
        };
        let golden = concat!(
            r#"{"v":1,"cpu_millicores":1,"memory_bytes":2,"in_flight":4,"queued_writes":3,"lag_events":5,"#,
            r#""at_ms":6}"#
        );
        assert_eq!(
            String::from_utf8(LoadV1::new(&load, 6).encode(&Key::new(["k"]).unwrap()).unwrap()).unwrap(),
            golden
        );
        assert_eq!(LoadV1::decode(&entry(golden)).unwrap().load(), Load { at_ms: 6, ..load });
        let earlier = golden.replace(r#""queued_writes":3,"#, "");
        let told = LoadV1::decode(&entry(&earlier)).unwrap().load();
        assert_eq!(told, Load { at_ms: 6, queued_writes: 0, ..load });
    }

    #[test]
    fn what_a_newer_node_adds_is_passed_over_and_what_is_missing_is_an_error() {
        let newer = r#"{"v":1,"node":"n1","instance":"i","writer":"w","standing":"active","roles":[],"zone":"b","addresses":{},"version":"9",
            "joined_ms":0,"capacity":{"cpu_millicores":1,"memory_bytes":1,"disk_bytes":1,"gpus":8}}"#;
        assert_eq!(MemberV1::decode(&entry(newer)).unwrap().version, "9");
        let error = MemberV1::decode(&entry(r#"{"v":1}"#)).unwrap_err().to_string();
        assert!(error.contains("`members/n1`") && error.contains("missing field"), "{error}");
    }
}
