//! Changes that are being accepted by claims.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tw_project::UniqueValue;
use tw_types::StreamId;

/// That a row is given a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    stream: StreamId,
    subject: String,
    column: String,
    value: String,
}

impl Key {
    pub(super) fn new(stream: StreamId, subject: &str, of: &UniqueValue) -> Self {
        let UniqueValue { column, value } = of.clone();
        Self { stream, subject: subject.to_owned(), column, value }
    }
}

/// How many changes are under way, by what they give to whom.
#[derive(Default)]
pub(super) struct UnderWay(Arc<Shared>);

#[derive(Default)]
struct Shared {
    counts: Mutex<HashMap<Key, usize>>,
    /// Rises when some have ended.
    ended: watch::Sender<u64>,
}

/// Changes that are under way until this is dropped.
pub(crate) struct Writing {
    shared: Arc<Shared>,
    keys: Vec<Key>,
}

impl UnderWay {
    /// Counts changes, until what it returns is dropped.
    pub(super) fn begin(&self, keys: Vec<Key>) -> Writing {
        let mut counts = self.0.counts.lock();
        for key in &keys {
            *counts.entry(key.clone()).or_default() += 1;
        }
        drop(counts);
        Writing { shared: self.0.clone(), keys }
    }

    /// Waits until none is under way; whether that was so in time.
    pub(super) async fn ended(&self, key: &Key, timeout: Duration) -> bool {
        let mut ended = self.0.ended.subscribe();
        let none = ended.wait_for(|_| !self.0.counts.lock().contains_key(key));
        matches!(tokio::time::timeout(timeout, none).await, Ok(Ok(_)))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock();
        for key in &self.keys {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        drop(counts);
        self.shared.ended.send_modify(|ended| *ended += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_waits_for_that_row_and_that_value() {
        let of = |value: &str| UniqueValue { column: "email".into(), value: value.into() };
        let key = |subject, value| Key::new(StreamId(1), subject, &of(value));
        let under_way = UnderWay::default();
        let long = Duration::from_secs(60);
        assert!(under_way.ended(&key("ann", "a"), long).await, "nothing is under way");
        let [one, two] = [0, 1].map(|_| under_way.begin(vec![key("ann", "a"), key("ann", "b")]));
        assert!(under_way.ended(&key("bob", "a"), long).await, "of another row");
        assert!(under_way.ended(&key("ann", "c"), long).await, "another value");
        assert!(!under_way.ended(&key("ann", "a"), Duration::ZERO).await);
        drop(one);
        assert!(!under_way.ended(&key("ann", "a"), Duration::ZERO).await, "there is another one");
        let waited = async {
            assert!(under_way.ended(&key("ann", "a"), long).await);
        };
        let end = async { drop(two) };
        tokio::join!(waited, end);
        assert!(under_way.0.counts.lock().is_empty());
    }
}
