//! Options behind the interface.

use crate::core::Core;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::Arc;
use tw_api::Problem;
use tw_api::parts::{Setting, SettingChange, Settings};
use tw_types::{ExpectedVersion, Version};

/// The options of a node.
pub(crate) struct NodeSettings(pub(crate) Arc<Core>);

impl Settings for NodeSettings {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Setting>, Problem>> {
        Box::pin(self.0.options.list())
    }

    fn show<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(self.0.options.show(key))
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Option<Value>,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(self.0.options.set(key, value.unwrap_or_default(), expected, author, None))
    }

    fn rollback<'a>(
        &'a self,
        key: &'a str,
        version: Version,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(self.0.options.rollback(key, version, expected, author))
    }

    fn history<'a>(
        &'a self,
        key: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SettingChange>, Problem>> {
        Box::pin(self.0.options.history(key, limit))
    }
}
