//! How plans, claims and announcements are stored: JSON, version 1.

use crate::{Entry, Key, Result, record};
use serde::{Deserialize, Serialize};
use tw_plan::ownership::{Claim, Holder};
use tw_plan::placement::{Plan, Unit};
use tw_types::NodeId;

/// The keys of placement.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) root: Key,
    pub(super) plan: Key,
    pub(super) rebalance: Key,
    claims: Key,
    ready: Key,
}

/// What an entry below the root is about.
pub(super) enum About {
    Plan,
    Rebalance,
    Claim(Unit),
    Ready(Unit),
}

/// A claim as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct ClaimV1 {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
    epoch: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fence: Vec<String>,
}

/// A request for an even plan as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct RebalanceV1 {
    v: u32,
    /// Who asks.
    node: NodeId,
}

/// An announcement as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct ReadyV1 {
    v: u32,
    node: NodeId,
}

impl Keys {
    pub(super) fn new() -> Result<Self> {
        let root = Key::new(["placement"])?;
        let names = ["plan", "rebalance", "claims", "ready"];
        let [plan, rebalance, claims, ready] = names.map(|name| root.child(name));
        Ok(Self { plan: plan?, rebalance: rebalance?, claims: claims?, ready: ready?, root })
    }

    pub(super) fn claim(&self, unit: &Unit) -> Result<Key> {
        self.claims.child(unit.as_str())
    }

    pub(super) fn ready(&self, unit: &Unit) -> Result<Key> {
        self.ready.child(unit.as_str())
    }

    /// What a key is about; nothing for one that is not of this version.
    pub(super) fn about(&self, key: &Key) -> Option<About> {
        if *key == self.plan {
            return Some(About::Plan);
        }
        if *key == self.rebalance {
            return Some(About::Rebalance);
        }
        let unit = || Unit::new(&key.name()).ok();
        if self.claims.below().contains(key) {
            return unit().map(About::Claim);
        }
        self.ready.below().contains(key).then(unit)?.map(About::Ready)
    }
}

pub(super) fn encode_plan(key: &Key, plan: &Plan) -> Result<Vec<u8>> {
    record::encode(key, plan)
}

pub(super) fn decode_plan(entry: &Entry) -> Result<Plan> {
    record::decode(entry)
}

pub(super) fn encode_claim(key: &Key, claim: &Claim) -> Result<Vec<u8>> {
    let Claim { holder, epoch, fence, revision: _ } = claim.clone();
    record::encode(key, &ClaimV1 { v: 1, holder, epoch, fence })
}

pub(super) fn decode_claim(entry: &Entry) -> Result<Claim> {
    let ClaimV1 { v: _, holder, epoch, fence } = record::decode(entry)?;
    Ok(Claim { holder, epoch, fence, revision: entry.modified.0 })
}

pub(super) fn encode_rebalance(key: &Key, node: &NodeId) -> Result<Vec<u8>> {
    record::encode(key, &RebalanceV1 { v: 1, node: node.clone() })
}

pub(super) fn encode_ready(key: &Key, node: &NodeId) -> Result<Vec<u8>> {
    record::encode(key, &ReadyV1 { v: 1, node: node.clone() })
}

pub(super) fn decode_ready(entry: &Entry) -> Result<NodeId> {
    Ok(record::decode::<ReadyV1>(entry)?.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;
    use bytes::Bytes;

    fn entry(key: &Key, value: Vec<u8>) -> Entry {
        let (created, modified) = (Revision(3), Revision(9));
        Entry { key: key.clone(), value: Bytes::from(value), created, modified, lease: None }
    }

    #[test]
    fn version_1_is_stored_like_this() {
        let keys = Keys::new().unwrap();
        let unit = Unit::new("7/0").unwrap();
        let key = keys.claim(&unit).unwrap();
        assert_eq!(key.as_str(), "placement/claims/7%2F0");
        let node = NodeId::new("a").unwrap();
        let holder = Holder { node: node.clone(), incarnation: 5, writer: "a-1".into() };
        let claim = Claim { holder: Some(holder), epoch: 2, fence: vec!["b-1".into()], revision: 9 };
        let value = encode_claim(&key, &claim).unwrap();
        let golden =
            r#"{"v":1,"holder":{"node":"a","incarnation":5,"writer":"a-1"},"epoch":2,"fence":["b-1"]}"#;
        assert_eq!(String::from_utf8_lossy(&value), golden);
        assert_eq!(decode_claim(&entry(&key, value)).unwrap(), claim);
        let key = keys.ready(&unit).unwrap();
        let value = encode_ready(&key, &node).unwrap();
        assert_eq!(String::from_utf8_lossy(&value), r#"{"v":1,"node":"a"}"#);
        assert_eq!(decode_ready(&entry(&key, value)).unwrap(), node);
        assert!(matches!(keys.about(&key), Some(About::Ready(found)) if found == unit));
        let value = encode_rebalance(&keys.rebalance, &node).unwrap();
        assert_eq!(String::from_utf8_lossy(&value), r#"{"v":1,"node":"a"}"#);
        assert!(matches!(keys.about(&keys.rebalance), Some(About::Rebalance)));
        assert!(keys.about(&Key::new(["placement", "other"]).unwrap()).is_none());
    }
}
