//! Configuration that changes while nodes run.

use crate::Problem;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tw_types::{ExpectedVersion, Version};
use utoipa::ToSchema;

/// The options of the nodes, and what was set of them.
pub trait Settings: Send + Sync + 'static {
    /// All options, in the order of their keys.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Setting>, Problem>>;

    /// One option.
    fn show<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Setting, Problem>>;

    /// Sets an option on every node, or unsets it, so that the file or the default counts again. It is in effect on this node
    /// when the future resolves. Only if its version is the expected one; [`ExpectedVersion::None`] is one that was never set.
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Option<Value>,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>>;

    /// Sets an option to what it was at a version.
    fn rollback<'a>(
        &'a self,
        key: &'a str,
        version: Version,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>>;

    /// The latest changes of an option, at most so many, the last one first.
    fn history<'a>(
        &'a self,
        key: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SettingChange>, Problem>>;
}

/// An option of the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// The table and the option, as `tradewind.toml` names them.
    #[schema(example = "http.requests_max")]
    pub key: String,
    /// What holds on this node.
    #[schema(example = 8192)]
    pub value: Value,
    /// Where that comes from: `set` here for every node; `file` of this node, or its command line; `default`.
    #[schema(example = "set")]
    pub source: String,
    /// What holds when nobody says anything.
    #[schema(example = 4096)]
    pub default: Value,
    /// Whether it can be set while nodes run. The others are changed in the file of each node, which is then restarted.
    #[schema(example = true)]
    pub live: bool,
    /// How often it was set and unset; 0 if never.
    #[schema(example = 3)]
    pub version: u64,
    /// Why what was set does not hold on this node: it contradicts the file of this node, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A change of an option: the data of an event of `$config` of the type `tradewind.config.changed`, and when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingChange {
    /// Its version: dense, from 1.
    #[schema(example = 3)]
    pub version: u64,
    /// What it was set to; null where it was unset.
    #[schema(example = 8192)]
    pub value: Value,
    /// What had been set before; null for nothing.
    #[schema(example = 6000)]
    pub previous: Value,
    /// Who did it, in their own words.
    #[schema(example = "ann@db-1")]
    pub author: String,
    /// When, RFC 3339.
    #[schema(example = "2026-01-31T09:30:00Z")]
    pub time: String,
    /// Which version it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    pub restored: Option<u64>,
}
