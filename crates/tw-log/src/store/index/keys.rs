//! Idempotency keys in the stored index.

use super::{Index, format};
use crate::store::Result;
use hashbrown::HashMap;
use tw_order::{KeyHash, KeyRecord};
use tw_state::{Batch, Range};

/// How many old keys are removed with each flush.
const REMOVE_MAX: usize = 10_000;

impl Index {
    /// The record of a key.
    pub(in crate::store) fn key(&self, key: KeyHash) -> Result<Option<KeyRecord>> {
        let stored = self.state.get(self.keys, &format::key_key(key))?;
        Ok(stored.and_then(|bytes| format::read_key_record(&bytes)))
    }

    /// Adds to `batch` what stores `records` and removes keys that are older than `keep_ms`, and others so that about
    /// `keys_max` remain.
    pub(in crate::store) fn put_keys(
        &self,
        records: &[(KeyHash, KeyRecord)],
        now_ms: u64,
        keep_ms: u64,
        keys_max: u64,
        batch: &mut Batch,
    ) -> Result<()> {
        let oldest_ms = now_ms.saturating_sub(keep_ms);
        let count = self.state.get(self.keys, format::KEY_COUNT)?;
        let before = count.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
        let before = before.unwrap_or_default();
        let mut count = before;
        let mut written: HashMap<u128, u64> = HashMap::new();
        for (key, record) in records {
            let mut merged = record.clone();
            match self.key(*key)? {
                Some(stored) => {
                    batch.remove(self.keys, format::key_time_key(stored.time_ms, *key));
                    merged = stored;
                    merged.merge(record, keep_ms);
                }
                None => count += 1,
            }
            batch.put(self.keys, format::key_key(*key), format::write_key_record(&merged));
            batch.put(self.keys, format::key_time_key(merged.time_ms, *key), "");
            written.insert(key.0, merged.time_ms);
        }
        let snapshot = self.state.snapshot();
        for entry in snapshot.range(self.keys, Range::prefix(b"t")).take(REMOVE_MAX) {
            let (at, _) = entry?;
            let Some((time_ms, key)) = format::read_key_time_key(&at) else { continue };
            if time_ms >= oldest_ms && count <= keys_max {
                break;
            }
            // Not one that was just written anew.
            if !written.contains_key(&key.0) {
                batch.remove(self.keys, at);
                batch.remove(self.keys, format::key_key(key));
                count = count.saturating_sub(1);
            }
        }
        if count != before {
            batch.put(self.keys, format::KEY_COUNT, count.to_be_bytes().to_vec());
        }
        Ok(())
    }
}
