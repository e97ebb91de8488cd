//! Options that change while nodes run.
//!
//! A change is an event of `$config`, appended with the version that the option is expected to have; so the log is where they
//! are kept, on one node and on many, and every node follows it. What was set is laid over the node's own configuration, and
//! what then holds is given to the components. See docs/adr/0012-configuration-in-the-log.md.

mod change;
mod overlay;

use crate::cluster::Balance;
use crate::parts::problem::of_config;
use crate::{Config, Error, InvalidConfig};
use change::Change;
pub(crate) use overlay::is_live;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tw_api::parts::{Setting, SettingChange};
use tw_api::{Code, Problem};
use tw_env::{Env, Live};
use tw_log::store::{EventStore, Filter};
use tw_log::{CONFIG_PARTITION, CONFIG_STREAM, Log};
use tw_types::{ExpectedVersion, Offset, Stored, Timestamp, Version};

/// How many changes, and bytes of them, are read at once.
const EVENTS: usize = 1_000;
const READ_BYTES: usize = 1 << 20;
/// The longest text that says who changes something, in bytes.
const AUTHOR_BYTES_MAX: usize = 200;

/// Who is told what holds.
pub(crate) struct Components {
    pub(crate) engine: tw_project::Engine,
    pub(crate) workers: tw_process::Handle,
    pub(crate) events: EventStore,
    /// Who balances reads, if there are other nodes.
    pub(crate) balance: Option<Arc<Balance>>,
    /// The interface, once it is started.
    pub(crate) http: OnceLock<tw_api::Handle>,
}

/// The options of a node.
pub(crate) struct Options {
    /// What the file, the command line and the defaults say.
    own: Config,
    env: Env,
    components: Components,
    state: Mutex<State>,
    /// What holds.
    holds: Live<Config>,
}

#[derive(Default)]
struct State {
    /// The next event of `$config`.
    at: Offset,
    /// What was set of each option that was ever set; null where it was unset.
    set: BTreeMap<String, (Version, Value)>,
    /// What of it does not hold here, and why.
    refused: BTreeMap<String, String>,
}

impl State {
    /// The options that are set.
    fn values(&self) -> BTreeMap<String, Value> {
        let set = self.set.iter().filter(|(_, (_, value))| !value.is_null());
        set.map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    fn version(&self, key: &str) -> Version {
        self.set.get(key).map_or(Version::NONE, |(version, _)| *version)
    }

    fn value(&self, key: &str) -> Value {
        self.set.get(key).map_or(Value::Null, |(_, value)| value.clone())
    }
}

impl Options {
    pub(crate) fn new(own: Config, env: Env, components: Components) -> Self {
        let holds = Live::new(own.clone());
        Self { own, env, components, state: Mutex::default(), holds }
    }

    /// What holds.
    pub(crate) fn holds(&self) -> Arc<Config> {
        self.holds.get()
    }

    /// How many requests of clients the interface has let in since it was started.
    pub(crate) fn served(&self) -> u64 {
        self.components.http.get().map_or(0, tw_api::Handle::served)
    }

    /// The interface has started, and is told of what comes, and of what came meanwhile.
    pub(crate) fn serves(&self, http: tw_api::Handle) {
        // There is one interface.
        let _first = self.components.http.set(http.clone());
        if let Err(error) = http.reconfigure(self.holds().interface()) {
            tracing::error!(%error, "an option is not accepted");
        }
    }

    /// How many requests are under way.
    pub(crate) fn requests(&self) -> u32 {
        self.components.http.get().map_or(0, tw_api::Handle::in_flight)
    }

    /// What the interface has done since it was asked last.
    pub(crate) fn traffic(&self) -> tw_api::Traffic {
        self.components.http.get().map_or_else(Default::default, tw_api::Handle::traffic)
    }

    fn log(&self) -> &Arc<dyn Log> {
        self.components.events.log()
    }

    /// Reads what is new in `$config`, and puts it into effect.
    ///
    /// # Errors
    /// Those of reading the log.
    pub(crate) async fn follow(&self) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await.map_err(Error::Events)
    }

    async fn catch_up(&self, state: &mut State) -> Result<(), tw_log::store::Error> {
        let changes = Filter { type_prefix: Some(change::CHANGED.to_owned()), subject: None };
        let mut news = false;
        loop {
            let read =
                self.components.events.read(CONFIG_PARTITION, state.at, &changes, EVENTS, READ_BYTES).await?;
            let is_end = read.next == state.at;
            state.at = read.next;
            for event in &read.events {
                news |= take(event, state);
            }
            if is_end {
                break;
            }
        }
        if news {
            self.apply(state);
        }
        Ok(())
    }

    /// Puts what was set into effect.
    fn apply(&self, state: &mut State) {
        let (config, refused) = overlay::effective(&self.own, &state.values());
        for (key, why) in &refused {
            if state.refused.get(key) != Some(why) {
                tracing::warn!(
                    option = key,
                    why,
                    "what was set does not fit this node, whose own value holds"
                );
            }
        }
        state.refused = refused;
        let components = &self.components;
        // They are within their bounds; should a component see that otherwise, the others are told all the same.
        let told = [
            components.engine.reconfigure(config.query.clone()).err().map(|error| error.to_string()),
            components.workers.reconfigure(config.process.clone()).err().map(|error| error.to_string()),
            components
                .balance
                .as_ref()
                .and_then(|balance| balance.reconfigure(&config.cluster.balance).err())
                .map(|error| error.to_string()),
            components.events.reconfigure(config.events.clone()).err().map(|error| error.to_string()),
            components
                .http
                .get()
                .and_then(|http| http.reconfigure(config.interface()).err())
                .map(|error| error.to_string()),
        ];
        for error in told.into_iter().flatten() {
            tracing::error!(error, "an option is not accepted");
        }
        self.holds.set(config);
    }

    /// All options, in the order of their keys.
    ///
    /// # Errors
    /// Those of reading the log.
    pub(crate) async fn list(&self) -> Result<Vec<Setting>, Problem> {
        let mut state = self.state.lock().await;
        self.catch_up(&mut state).await?;
        self.settings(&state).map_err(of_config)
    }

    fn settings(&self, state: &State) -> Result<Vec<Setting>, InvalidConfig> {
        let defaults = overlay::options(&Config::default())?;
        let own = overlay::options(&self.own)?;
        let holds = overlay::options(&self.holds())?;
        let settings = holds.into_iter().map(|(key, value)| {
            let default = defaults.get(&key).cloned().unwrap_or_default();
            let is_set = !state.value(&key).is_null() && !state.refused.contains_key(&key);
            let source = match () {
                () if is_set => "set",
                () if own.get(&key) != Some(&default) => "file",
                () => "default",
            };
            Setting {
                value,
                source: source.to_owned(),
                default,
                live: is_live(&key),
                version: state.version(&key).0,
                problem: state.refused.get(&key).cloned(),
                key,
            }
        });
        Ok(settings.collect())
    }

    /// One option.
    ///
    /// # Errors
    /// `no_option`, and those of reading the log.
    pub(crate) async fn show(&self, key: &str) -> Result<Setting, Problem> {
        let found = self.list().await?.into_iter().find(|setting| setting.key == key);
        found.ok_or_else(|| no_option(key))
    }

    /// Sets an option, or unsets it with null, for every node.
    ///
    /// # Errors
    /// `no_option`, `not_live`, `invalid_option`, `version_conflict`, and those of appending to the log.
    pub(crate) async fn set(
        &self,
        key: &str,
        value: Value,
        expected: ExpectedVersion,
        author: &str,
        restored: Option<u64>,
    ) -> Result<Setting, Problem> {
        if author.is_empty() || author.len() > AUTHOR_BYTES_MAX || author.chars().any(char::is_control) {
            let detail = "the author must have 1 to 200 bytes without control characters";
            return Err(Problem::parameter("author", detail));
        }
        let mut state = self.state.lock().await;
        loop {
            self.catch_up(&mut state).await?;
            self.check(&state, key, &value)?;
            let version = state.version(key);
            if !expected.holds(version) {
                return Err(Problem::version_conflict(key, version, expected));
            }
            let (option, previous) = (key.to_owned(), state.value(key));
            let change =
                Change { option, value: value.clone(), previous, author: author.to_owned(), restored };
            match self.append(&change, version).await {
                // Another node was faster, and what is to be is checked anew.
                Err(tw_log::store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => break,
            }
        }
        self.catch_up(&mut state).await?;
        let found = self.settings(&state).map_err(of_config)?.into_iter().find(|setting| setting.key == key);
        found.ok_or_else(|| no_option(key))
    }

    /// Whether an option may be set so.
    fn check(&self, state: &State, key: &str, value: &Value) -> Result<(), Problem> {
        if !overlay::options(&self.own).map_err(of_config)?.contains_key(key) {
            return Err(no_option(key));
        }
        if !is_live(key) {
            let detail = format!(
                "`{key}` takes effect when a node starts: change it in the `tradewind.toml` of each node, and restart the nodes one after another"
            );
            return Err(Problem::new(Code::NotLive, detail));
        }
        let mut values = state.values();
        // What does not hold here anyway says nothing about what is to be.
        values.retain(|known, _| known != key && !state.refused.contains_key(known));
        if !value.is_null() {
            values.insert(key.to_owned(), value.clone());
        }
        overlay::overlay(&self.own, values.iter().map(|(key, value)| (key.as_str(), value)))
            .map(drop)
            .map_err(of_config)
    }

    async fn append(&self, change: &Change, version: Version) -> Result<(), tw_log::store::Error> {
        let random = &self.env.random;
        let event = change.to_event(format!("{:016x}{:016x}", random.next_u64(), random.next_u64()));
        let config = self.log().streams().by_id(CONFIG_STREAM)?.clone();
        let mut write = self.components.events.write();
        write.push(&config, &event.as_ref())?;
        let expected =
            if version == Version::NONE { ExpectedVersion::None } else { ExpectedVersion::Exact(version) };
        write.expect(&config, &change::subject(&change.option), expected);
        self.components.events.append(write).await?;
        let (option, author) = (&change.option, &change.author);
        tracing::info!(option, value = %change.value, previous = %change.previous, author, "option changed");
        Ok(())
    }

    /// The latest changes of an option, the last one first.
    ///
    /// # Errors
    /// `no_option`, and those of reading the log.
    pub(crate) async fn history(&self, key: &str, limit: usize) -> Result<Vec<SettingChange>, Problem> {
        let last = self.show(key).await?.version;
        let from = Version(last.saturating_sub(limit as u64).saturating_add(1));
        let mut changes = self.changes(key, from, limit).await?;
        changes.reverse();
        Ok(changes)
    }

    async fn changes(&self, key: &str, from: Version, limit: usize) -> Result<Vec<SettingChange>, Problem> {
        let subject = change::subject(key);
        let stored = self.components.events.history(CONFIG_STREAM, &subject, from, limit).await;
        Ok(stored?.iter().filter_map(changed).collect())
    }

    /// Sets an option to what it was at a version.
    ///
    /// # Errors
    /// `no_option_version`, and those of [`Options::set`].
    pub(crate) async fn rollback(
        &self,
        key: &str,
        version: Version,
        expected: ExpectedVersion,
        author: &str,
    ) -> Result<Setting, Problem> {
        let last = self.show(key).await?.version;
        let found = self.changes(key, version, 1).await?.into_iter().next();
        let Some(old) = found.filter(|change| change.version == version.0) else {
            let detail = match last {
                0 => format!("`{key}` was never set, so it has no version {version}"),
                last => format!("`{key}` has no version {version}: there are 1 to {last}"),
            };
            return Err(Problem::new(Code::NoOptionVersion, detail));
        };
        self.set(key, old.value, expected, author, Some(version.0)).await
    }
}

/// Tells the log of the process why options cannot be followed.
pub(crate) fn report(outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::error!(error = tw_types::chain(&error), "the options cannot be followed; it is tried again");
    }
}

fn no_option(key: &str) -> Problem {
    let shown: String = key.chars().take(80).collect();
    Problem::new(Code::NoOption, format!("there is no option `{shown}`: `GET /v1/config` lists all of them"))
}

/// Takes a change; tells whether it is one.
fn take(event: &Stored, state: &mut State) -> bool {
    match Change::from_event(event) {
        Ok(change) => {
            state.set.insert(change.option, (event.version, change.value));
            true
        }
        Err(error) => {
            let offset = event.position.offset;
            tracing::warn!(%offset, %error, "a change of an option in `$config` is of a later version, and passed over");
            false
        }
    }
}

/// A change as the interface shows it; nothing for what a later version has written.
fn changed(stored: &Stored) -> Option<SettingChange> {
    let Change { value, previous, author, restored, .. } = Change::from_event(stored).ok()?;
    let ms = i64::try_from(stored.hlc.millis()).unwrap_or(i64::MAX / 1_000_000);
    let time = Timestamp::from_millis(ms).to_string();
    Some(SettingChange { version: stored.version.0, value, previous, author, time, restored })
}
