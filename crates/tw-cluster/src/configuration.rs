//! Configuration values with versions: compare-and-set, a history, a way back.
//!
//! The current value is under `config/NAME`, each version that is still kept under `config-history/NAME/VERSION`; both are
//! written in one transaction. Whoever sets a value has validated it: what it means is not known here.

use crate::mirror::Mirror;
use crate::{Change, Coordination, Entry, Error, Guard, Key, Outcome, Result, Revision, Transaction, record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// The most versions that one change removes, when fewer are to be kept than before.
const REMOVED_MAX: u64 = 64;

/// The options of configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigurationOptions {
    /// How many versions of each value are kept, with the current one: 1 to 1,000.
    pub versions_max: u32,
}

impl Default for ConfigurationOptions {
    fn default() -> Self {
        Self { versions_max: 20 }
    }
}

/// One version of a configuration value.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name, such as `log.retention_ms`.
    pub name: String,
    /// Its version: dense, from 1.
    pub version: u64,
    /// The value; nothing where it is unset, so that the default counts.
    pub value: Option<Value>,
    /// Who set it.
    pub author: String,
    /// When, in milliseconds since 1970, by the clock of the node that set it.
    pub at_ms: u64,
    /// Which version it brought back.
    pub restored: Option<u64>,
}

/// A version as it is stored: JSON, version 1. Fields that a newer node adds are passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SettingV1 {
    v: u32,
    version: u64,
    /// The oldest version that is kept.
    oldest: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    author: String,
    at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<u64>,
}

impl SettingV1 {
    fn setting(self, name: &str) -> Setting {
        let Self { version, value, author, at_ms, restored, .. } = self;
        Setting { name: name.to_owned(), version, value, author, at_ms, restored }
    }
}

/// The configuration of a cluster.
#[derive(Debug, Clone)]
pub struct Configuration {
    coordination: Arc<dyn Coordination>,
    current: Key,
    history: Key,
    versions_max: u64,
}

impl Configuration {
    /// The configuration that this coordination holds.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn new(coordination: Arc<dyn Coordination>, options: &ConfigurationOptions) -> Result<Self> {
        if !(1..=1_000).contains(&options.versions_max) {
            let value = options.versions_max.to_string();
            return Err(Error::InvalidOption { option: "versions_max", value, rule: "1 to 1,000" });
        }
        let (current, history) = (Key::new(["config"])?, Key::new(["config-history"])?);
        Ok(Self { coordination, current, history, versions_max: u64::from(options.versions_max) })
    }

    /// The current version of a value; nothing if it was never set.
    ///
    /// # Errors
    /// [`Error::InvalidKey`], [`Error::InvalidRecord`], and those of [`Coordination::read`].
    pub async fn get(&self, name: &str) -> Result<Option<Setting>> {
        Ok(self.find(name).await?.map(|(_, record)| record.setting(name)))
    }

    async fn find(&self, name: &str) -> Result<Option<(Revision, SettingV1)>> {
        let read = self.coordination.read(self.current.child(name)?.alone(), None).await?;
        let entry = read.entries.first();
        entry.map(|entry| Ok((entry.modified, record::decode(entry)?))).transpose()
    }

    /// The current versions of all values, by name.
    ///
    /// # Errors
    /// Those of [`Configuration::get`].
    pub async fn list(&self) -> Result<Vec<Setting>> {
        let read = self.coordination.read(self.current.below(), None).await?;
        read.entries.iter().map(setting).collect()
    }

    /// The versions of a value that are kept, the current one first.
    ///
    /// # Errors
    /// Those of [`Configuration::get`].
    pub async fn history(&self, name: &str) -> Result<Vec<Setting>> {
        let read = self.coordination.read(self.history.child(name)?.below(), None).await?;
        let records = read.entries.iter().rev().map(record::decode::<SettingV1>);
        records.map(|record| Ok(record?.setting(name))).collect()
    }

    /// Sets a value, or unsets it, which JSON's `null` does too. With `expected`, only if that is the current version; 0 is a value that was never set.
    ///
    /// # Errors
    /// [`Error::OtherVersion`], [`Error::TooLarge`], [`Error::InvalidKey`], [`Error::Unavailable`],
    /// [`Error::Unknown`] (look at the current version before trying again), [`Error::Refused`].
    pub async fn set(
        &self,
        name: &str,
        value: Option<Value>,
        expected: Option<u64>,
        author: &str,
    ) -> Result<Setting> {
        self.write(name, value.filter(|value| !value.is_null()), expected, author, None).await
    }

    /// Sets a value to what it was at a version that is still kept. This is a new version too.
    ///
    /// # Errors
    /// [`Error::NoVersion`], and those of [`Configuration::set`].
    pub async fn rollback(
        &self,
        name: &str,
        version: u64,
        expected: Option<u64>,
        author: &str,
    ) -> Result<Setting> {
        let read = self.coordination.read(self.version(name, version)?.alone(), None).await?;
        let Some(entry) = read.entries.first() else {
            let kept = self.find(name).await?.map(|(_, record)| (record.oldest, record.version));
            return Err(Error::NoVersion { name: name.to_owned(), version, kept });
        };
        let old: SettingV1 = record::decode(entry)?;
        self.write(name, old.value, expected, author, Some(version)).await
    }

    /// Follows all values.
    pub fn watch(&self) -> ConfigurationWatch {
        let mirror = Mirror::new(self.coordination.clone(), self.current.below());
        ConfigurationWatch { mirror, settings: VecDeque::new() }
    }

    /// Numbers of one length, so that they are in order as text.
    fn version(&self, name: &str, version: u64) -> Result<Key> {
        self.history.child(name)?.child(&format!("{version:020}"))
    }

    async fn write(
        &self,
        name: &str,
        value: Option<Value>,
        expected: Option<u64>,
        author: &str,
        restored: Option<u64>,
    ) -> Result<Setting> {
        let key = self.current.child(name)?;
        let at_ms = self.coordination.time().clock().now_ms();
        loop {
            let found = self.find(name).await?;
            let (actual, oldest) =
                found.as_ref().map_or((0, 1), |(_, record)| (record.version, record.oldest));
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                return Err(Error::OtherVersion { name: name.to_owned(), expected, actual });
            }
            let version = actual + 1;
            let keep_from =
                (version + 1).saturating_sub(self.versions_max).clamp(oldest, oldest + REMOVED_MAX);
            let (value, author) = (value.clone(), author.to_owned());
            let record = SettingV1 { v: 1, version, oldest: keep_from, value, author, at_ms, restored };
            let bytes = record::encode(&key, &record)?;
            let guard = match found {
                Some((modified, _)) => Guard::Unchanged(key.clone(), modified),
                None => Guard::Absent(key.clone()),
            };
            let mut change = Transaction::new().when(guard).put(&key, bytes.clone());
            change = change.put(&self.version(name, version)?, bytes);
            for old in oldest..keep_from {
                change = change.delete(&self.version(name, old)?);
            }
            if let Outcome::Done(_) = self.coordination.commit(change).await? {
                return Ok(record.setting(name));
            }
        }
    }
}

fn setting(entry: &Entry) -> Result<Setting> {
    Ok(record::decode::<SettingV1>(entry)?.setting(&entry.key.name()))
}

/// Follows all configuration values.
pub struct ConfigurationWatch {
    mirror: Mirror,
    settings: VecDeque<Setting>,
}

impl ConfigurationWatch {
    /// The next value that was set: at first, every value as it is. Cancel-safe. After an interruption, versions that were
    /// followed by another may be left out.
    ///
    /// # Errors
    /// Those of [`Coordination::read`]; it can be called again.
    pub async fn next(&mut self) -> Result<Setting> {
        loop {
            if let Some(setting) = self.settings.pop_front() {
                return Ok(setting);
            }
            for change in self.mirror.next().await? {
                let Change::Put(entry) = change else { continue };
                match setting(&entry) {
                    Ok(setting) => self.settings.push_back(setting),
                    Err(error) => tracing::warn!("{error}: the value as it was before stays in effect here"),
                }
            }
        }
    }
}

impl fmt::Debug for ConfigurationWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigurationWatch").field("settings", &self.settings).finish_non_exhaustive()
    }
}
