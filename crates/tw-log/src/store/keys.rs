//! Idempotency keys: how a write says its key in the log, and where the records of keys are.
//!
//! The first event of a keyed write in each partition carries the reserved extension `twidempotencykey`, whose value is
//! the fingerprint of the write's content (16 hexadecimal digits), the count of its events in that partition, and
//! the key, with commas between. So the key is in the log exactly when the events are, and a replay finds it.

use super::Result;
use super::write::{Content, PreparedPart};
use tw_order::{KeyHash, KeyPart, KeyRecord};
use tw_types::{Compression, Data, EventRef, Extension, ExtensionValue, StoredRef, StreamPartition};
use tw_wire::{Batch, BatchBuilder};
use xxhash_rust::xxh3::Xxh3Default;

/// The name of the extension.
pub(super) const EXTENSION: &str = "twidempotencykey";

/// The key of a write.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) hash: KeyHash,
    pub(super) fingerprint: u64,
}

/// Writes the key into the first event of each part.
pub(super) fn prepare(text: String, parts: &mut [PreparedPart]) -> Result<Key> {
    let mut hasher = Xxh3Default::new();
    for part in &*parts {
        // By name: a stream that was dropped and created anew has another number.
        hasher.update(part.def.name.as_str().as_bytes());
        hasher.update(&part.partition.at.partition.0.to_le_bytes());
        let Content::Own(batch) = &part.content else { continue };
        for record in batch.records()?.iter()? {
            feed(&mut hasher, &record?.event);
        }
    }
    let key = Key { hash: KeyHash::of(&text), text, fingerprint: hasher.digest() };
    for part in parts {
        if let Content::Own(batch) = &mut part.content {
            *batch = rewrite(batch, part.def.options.compression, Some(&key), |_| true)?;
        }
    }
    Ok(key)
}

/// Adds all that an event says, so that no two different events feed the same bytes.
fn feed(hasher: &mut Xxh3Default, event: &EventRef<'_>) {
    let mut text = |text: Option<&str>| {
        hasher.update(&text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    };
    text(Some(event.id));
    text(Some(event.source));
    text(Some(event.ty));
    text(event.subject);
    text(event.datacontenttype);
    text(event.dataschema);
    for extension in &event.extensions {
        text(Some(extension.name));
        match extension.value {
            ExtensionValue::Bool(value) => text(Some(if value { "true" } else { "false" })),
            ExtensionValue::Integer(value) => text(Some(&value.to_string())),
            ExtensionValue::Text(value) => text(Some(value)),
        }
    }
    hasher.update(&(event.extensions.len() as u64).to_le_bytes());
    hasher.update(&event.time.map_or(i64::MIN, tw_types::Timestamp::nanos).to_le_bytes());
    let kind = match event.data {
        Data::None => 0u8,
        Data::Json(_) => 1,
        Data::Text(_) => 2,
        Data::Binary(_) => 3,
    };
    hasher.update(&[kind]);
    hasher.update(&(event.data.bytes().len() as u64).to_le_bytes());
    hasher.update(event.data.bytes());
}

/// The ids of a batch's events.
pub(super) fn ids(batch: &Batch) -> Result<Vec<String>> {
    let records = batch.records()?;
    records.iter()?.map(|record| Ok(record?.event.id.to_owned())).collect()
}

/// A batch of those events of `batch`, by index, that `keep` keeps, of which there is at least one. The first one says
/// `key`.
pub(super) fn rewrite(
    batch: &Batch,
    compression: Compression,
    key: Option<&Key>,
    keep: impl Fn(usize) -> bool,
) -> Result<Batch> {
    let records = batch.records()?;
    let kept = (0..batch.count() as usize).filter(|index| keep(*index)).count();
    let value = key.map(|key| format!("{:016x},{kept},{}", key.fingerprint, key.text));
    let mut builder = BatchBuilder::new();
    for (index, record) in records.iter()?.enumerate() {
        let mut event = record?.event;
        if keep(index) {
            event.extensions.retain(|extension| extension.name != EXTENSION);
            if let Some(value) = value.as_deref().filter(|_| builder.count() == 0) {
                event.extensions.push(Extension { name: EXTENSION, value: ExtensionValue::Text(value) });
            }
            builder.push(&event);
        }
    }
    Ok(builder.finish(compression)?)
}

/// What a stored event says of a keyed write of which it is the first event; None if it says nothing.
pub(super) fn read(at: StreamPartition, record: &StoredRef<'_>) -> Option<(KeyHash, KeyRecord)> {
    let extension = record.event.extensions.iter().find(|extension| extension.name == EXTENSION)?;
    let ExtensionValue::Text(value) = extension.value else { return None };
    let (fingerprint, rest) = value.split_once(',')?;
    let (count, key) = rest.split_once(',')?;
    let part = KeyPart { at, base: record.offset, count: count.parse().ok().filter(|count| *count > 0)? };
    let fingerprint = u64::from_str_radix(fingerprint, 16).ok()?;
    let record = KeyRecord { fingerprint, time_ms: record.hlc.millis(), parts: vec![part] };
    Some((KeyHash::of(key), record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::{Event, Hlc, Offset, Origin, Version};

    fn batch(ids: &[&str]) -> Batch {
        let mut builder = BatchBuilder::new();
        for id in ids {
            let event = Event { id: (*id).into(), source: "s".into(), ty: "t".into(), ..Event::default() };
            builder.push(&event.as_ref());
        }
        builder.finish(Compression::None).unwrap()
    }

    fn key(text: &str) -> Key {
        Key { text: text.into(), hash: KeyHash::of(text), fingerprint: 0xabc }
    }

    #[test]
    fn the_first_kept_event_says_the_key_and_the_count() {
        let written =
            rewrite(&batch(&["1", "2", "3"]), Compression::None, Some(&key("a,b")), |_| true).unwrap();
        let written = rewrite(&written, Compression::None, Some(&key("a,b")), |index| index > 0).unwrap();
        let at = StreamPartition::new(tw_types::StreamId(3), tw_types::PartitionId(1));
        let records = written.records().unwrap();
        let found: Vec<_> = records.iter().unwrap().map(|record| read(at, &record.unwrap())).collect();
        let part = KeyPart { at, base: Offset::ZERO, count: 2 };
        let record = KeyRecord { fingerprint: 0xabc, time_ms: 0, parts: vec![part] };
        assert_eq!(found, [Some((KeyHash::of("a,b"), record)), None]);
    }

    #[test]
    fn values_that_are_not_ours_are_ignored() {
        let at = StreamPartition::new(tw_types::StreamId(3), tw_types::PartitionId(1));
        for value in ["", "abc", "abc,1", "xyz,1,k", "abc,0,k", "abc,-1,k", "ffffffffffffffffff,1,k"] {
            let extension = Extension { name: EXTENSION, value: ExtensionValue::Text(value) };
            let event = EventRef { extensions: vec![extension], ..EventRef::default() };
            let record = StoredRef {
                event,
                offset: Offset(4),
                version: Version(1),
                hlc: Hlc::ZERO,
                origin: Origin::default(),
            };
            assert_eq!(read(at, &record), None, "{value}");
        }
    }

    #[test]
    fn different_contents_have_different_fingerprints() {
        let print = |event: Event| {
            let mut hasher = Xxh3Default::new();
            feed(&mut hasher, &event.as_ref());
            hasher.digest()
        };
        let event = Event { id: "1".into(), source: "s".into(), ty: "t".into(), ..Event::default() };
        let extension = |name: &str, value| Extension { name: name.to_owned(), value };
        let text = |text: &str| ExtensionValue::Text(text.to_owned());
        let variants = [
            event.clone(),
            Event { id: "1s".into(), source: String::new(), ..event.clone() },
            Event { subject: Some(String::new()), ..event.clone() },
            Event { datacontenttype: Some(String::new()), ..event.clone() },
            Event { dataschema: Some(String::new()), ..event.clone() },
            Event { time: Some(tw_types::Timestamp::from_nanos(0)), ..event.clone() },
            Event { data: Data::Json(b"1".to_vec()), ..event.clone() },
            Event { data: Data::Text(b"1".to_vec()), ..event.clone() },
            Event { extensions: vec![extension("a", text("b"))], ..event.clone() },
            Event { extensions: vec![extension("a", text("")), extension("b", text(""))], ..event.clone() },
        ];
        let mut prints: Vec<_> = variants.into_iter().map(print).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), 10);
    }
}
