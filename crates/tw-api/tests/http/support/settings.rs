//! Options on a panel: each has the default 1 and takes any number.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tw_api::parts::{Setting, SettingChange, Settings};
use tw_api::{Code, Problem};
use tw_types::{ExpectedVersion, Version};

/// The one option that there is.
pub(crate) const KEY: &str = "http.requests_max";

#[derive(Default)]
pub(crate) struct Panel(Mutex<Vec<SettingChange>>);

impl Panel {
    fn setting(&self, key: &str) -> Result<Setting, Problem> {
        if key != KEY {
            return Err(Problem::new(Code::NoOption, format!("there is no option `{key}`")));
        }
        let changes = self.0.lock();
        let set = changes.last().map(|change| change.value.clone()).filter(|value| !value.is_null());
        Ok(Setting {
            key: key.to_owned(),
            source: if set.is_some() { "set" } else { "default" }.to_owned(),
            value: set.unwrap_or(json!(1)),
            default: json!(1),
            live: true,
            version: changes.len() as u64,
            problem: None,
        })
    }
}

impl Settings for Panel {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Setting>, Problem>> {
        Box::pin(async { Ok(vec![self.setting(KEY)?]) })
    }

    fn show<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(async move { self.setting(key) })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Option<Value>,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(async move {
            let before = self.setting(key)?;
            if !expected.holds(Version(before.version)) {
                return Err(Problem::version_conflict(key, Version(before.version), expected));
            }
            if value.as_ref().is_some_and(|value| !value.is_number()) {
                return Err(Problem::new(Code::InvalidOption, format!("`{key}` is no number")));
            }
            self.0.lock().push(SettingChange {
                version: before.version + 1,
                value: value.unwrap_or_default(),
                previous: before.value,
                author: author.to_owned(),
                time: "2026-01-31T09:30:00Z".to_owned(),
                restored: None,
            });
            self.setting(key)
        })
    }

    fn rollback<'a>(
        &'a self,
        key: &'a str,
        version: Version,
        expected: ExpectedVersion,
        author: &'a str,
    ) -> BoxFuture<'a, Result<Setting, Problem>> {
        Box::pin(async move {
            let old = self.0.lock().iter().find(|change| change.version == version.0).cloned();
            let old = old.ok_or_else(|| Problem::new(Code::NoOptionVersion, "there is no such version"))?;
            self.set(key, Some(old.value), expected, author).await
        })
    }

    fn history<'a>(
        &'a self,
        key: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SettingChange>, Problem>> {
        Box::pin(async move {
            self.setting(key)?;
            Ok(self.0.lock().iter().rev().take(limit).cloned().collect())
        })
    }
}
