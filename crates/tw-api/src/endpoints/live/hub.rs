//! Topics that are looked at once for all who follow them, and only while somebody does.
//!
//! A topic has a state with a version. Who follows remembers what version it has seen, and takes the difference when it can: a slow one
//! skips versions, and holds up nobody.

use super::topic::Topic;
use crate::server::{Phase, next_phase};
use crate::service::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often a topic is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How many rows that are gone are remembered for who has not heard of it.
const GONE_MAX: usize = 10_000;

/// What a topic is.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Rises with each change; 0 before the first look.
    pub(super) version: u64,
    content: Content,
}

#[derive(Debug, Default, Clone)]
enum Content {
    #[default]
    Nothing,
    /// It is sent as a whole.
    Whole(Arc<str>),
    /// It is a list, of which the changes are sent.
    Rows(Rows),
    /// It could not be looked at.
    Failed(Arc<str>),
}

/// Rows by their names, each with the version in which it changed last.
#[derive(Debug, Default, Clone)]
struct Rows {
    rows: BTreeMap<String, (u64, Arc<str>)>,
    /// Those that are gone, the latest last.
    gone: Vec<(u64, String)>,
    /// Who has not seen this version may not know of some that are gone.
    known_since: u64,
}

impl State {
    /// What is to be sent to one who has seen a version, 0 for nothing: the kind of event, and the data. None if there is nothing new.
    pub(super) fn since(&self, topic: Topic, seen: u64) -> Option<(&'static str, String)> {
        if self.version <= seen {
            return None;
        }
        match &self.content {
            Content::Nothing => None,
            Content::Whole(text) => Some((topic.name(), text.to_string())),
            Content::Failed(problem) => {
                Some(("tradewind.problem", format!(r#"{{"topic":"{}","problem":{problem}}}"#, topic.name())))
            }
            Content::Rows(rows) if seen == 0 || seen < rows.known_since => {
                let all: Vec<&str> = rows.rows.values().map(|(_, row)| &**row).collect();
                Some((topic.name(), format!(r#"{{"{}":[{}]}}"#, topic.name(), all.join(","))))
            }
            Content::Rows(rows) => {
                let changed = rows.rows.values().filter(|(version, _)| *version > seen);
                let changed: Vec<&str> = changed.map(|(_, row)| &**row).collect();
                let gone = rows.gone.iter().filter(|(version, _)| *version > seen);
                // One that has come back is there.
                let gone = gone.map(|(_, name)| name).filter(|name| !rows.rows.contains_key(*name));
                let gone = json!(gone.collect::<Vec<_>>());
                Some((topic.name(), format!(r#"{{"changed":[{}],"gone":{gone}}}"#, changed.join(","))))
            }
        }
    }
}

impl Rows {
    /// Takes a new look; whether anything has changed.
    fn take(&mut self, list: Vec<Value>, version: u64) -> bool {
        let mut before = std::mem::take(&mut self.rows);
        let mut has_changed = false;
        for row in list {
            let name = row.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let text = row.to_string();
            let known = before.remove(&name).filter(|(_, known)| **known == *text);
            has_changed |= known.is_none();
            self.rows.insert(name, known.unwrap_or_else(|| (version, text.into())));
        }
        has_changed |= !before.is_empty();
        self.gone.extend(before.into_keys().map(|name| (version, name)));
        if let Some(more) = self.gone.len().checked_sub(GONE_MAX).filter(|more| *more > 0) {
            self.known_since =
                self.gone.drain(..more).next_back().map_or(self.known_since, |(version, _)| version);
        }
        has_changed
    }
}

/// The topics of a server.
pub(crate) struct Hub(Vec<Mutex<Option<watch::Sender<Arc<State>>>>>);

impl Default for Hub {
    fn default() -> Self {
        Self(Topic::ALL.iter().map(|_| Mutex::default()).collect())
    }
}

impl Hub {
    /// Follows a topic, which is looked at from now on.
    pub(super) fn follow(api: &Arc<Api>, topic: Topic) -> watch::Receiver<Arc<State>> {
        let Some(slot) = api.hub.0.get(topic as usize) else { return watch::channel(Arc::default()).1 };
        let mut slot = slot.lock();
        if let Some(sender) = &*slot {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::default());
        *slot = Some(sender);
        tokio::spawn(look(Arc::downgrade(api), topic, api.phase.clone()));
        receiver
    }
}

/// Looks at a topic until nobody follows it any more, or the server ends.
async fn look(api: Weak<Api>, topic: Topic, mut phase: watch::Receiver<Phase>) {
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut rows, mut version, mut essence) = (Rows::default(), 0, Value::Null);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = next_phase(&mut phase) => {}
        }
        let Some(api) = api.upgrade() else { return };
        let Some(slot) = api.hub.0.get(topic as usize) else { return };
        {
            let mut slot = slot.lock();
            let is_followed = slot.as_ref().is_some_and(|sender| sender.receiver_count() > 0);
            if !is_followed || *phase.borrow() != Phase::Serving {
                // Under the lock: who comes now finds nobody looking, and begins anew.
                *slot = None;
                return;
            }
        }
        let content = match topic.look(&api).await {
            Ok(mut found) if topic.is_of_rows() => {
                let list = found.get_mut(topic.name()).map(Value::take);
                let list = if let Some(Value::Array(list)) = list { list } else { Vec::new() };
                let is_first = version == 0 || essence != Value::Null;
                essence = Value::Null;
                (rows.take(list, version + 1) || is_first).then(|| Content::Rows(rows.clone()))
            }
            Ok(found) => {
                let now = topic.essence(&found);
                let is_news = version == 0 || now != essence;
                essence = now;
                is_news.then(|| Content::Whole(found.to_string().into()))
            }
            Err(problem) => {
                let text = String::from_utf8_lossy(&problem.to_json(None)).into_owned();
                let now = Value::from(text.clone());
                let is_news = now != essence;
                essence = now;
                is_news.then(|| Content::Failed(text.into()))
            }
        };
        if let Some(content) = content {
            version += 1;
            if let Some(sender) = &*slot.lock() {
                sender.send_replace(Arc::new(State { version, content }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rows: &Rows, version: u64) -> State {
        State { version, content: Content::Rows(rows.clone()) }
    }

    fn sent(state: &State, seen: u64) -> Value {
        let (_, text) = state.since(Topic::Streams, seen).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn first_all_rows_are_sent_and_then_what_changed_since_also_over_versions_that_were_skipped() {
        let mut rows = Rows::default();
        let row = |name: &str, n: u64| json!({ "name": name, "n": n });
        assert!(rows.take(vec![row("a", 1), row("b", 1)], 1));
        assert_eq!(sent(&state(&rows, 1), 0), json!({ "streams": [row("a", 1), row("b", 1)] }));
        assert!(state(&rows, 1).since(Topic::Streams, 1).is_none());
        assert!(!rows.take(vec![row("a", 1), row("b", 1)], 2));
        assert!(rows.take(vec![row("a", 2), row("b", 1)], 2));
        assert!(rows.take(vec![row("a", 2), row("c", 1)], 3));
        let expected = json!({ "changed": [row("a", 2), row("c", 1)], "gone": ["b"] });
        assert_eq!(sent(&state(&rows, 3), 1), expected);
        assert_eq!(sent(&state(&rows, 3), 2), json!({ "changed": [row("c", 1)], "gone": ["b"] }));
        assert!(rows.take(vec![row("a", 2), row("b", 5), row("c", 1)], 4));
        assert_eq!(sent(&state(&rows, 4), 2)["gone"], json!([]), "it has come back");
    }

    #[test]
    fn who_may_not_know_what_is_gone_is_sent_all_rows() {
        let mut rows = Rows::default();
        let many = (0..GONE_MAX + 5).map(|n| json!({ "name": format!("{n}") })).collect();
        rows.take(many, 1);
        rows.take(vec![json!({ "name": "a" })], 2);
        rows.take(vec![], 3);
        assert_eq!(rows.gone.len(), GONE_MAX);
        assert_eq!(sent(&state(&rows, 3), 1), json!({ "streams": [] }));
        assert_eq!(sent(&state(&rows, 3), 2), json!({ "changed": [], "gone": ["a"] }));
    }

    #[test]
    fn time_that_goes_on_is_no_change_of_the_state() {
        let status = |uptime_ms: u64, streams: u64| json!({ "uptime_ms": uptime_ms, "streams": streams, "disk_free_bytes": uptime_ms });
        let essence = |value: &Value| Topic::Status.essence(value);
        assert_eq!(essence(&status(1, 2)), essence(&status(5, 2)));
        assert_ne!(essence(&status(1, 2)), essence(&status(1, 3)));
    }
}
