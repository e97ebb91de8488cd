//! The oracle: a stream replayed into the table that it tells of.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tw_types::{ColumnType, PartitionId, Stored, StreamDef};

type Row = Vec<Option<String>>;

/// What stands for a value that an update did not touch.
const UNAVAILABLE: &str = "\"__debezium_unavailable_value\"";

/// A table as its stream tells it.
pub(crate) struct Model {
    /// The columns, quoted for SQL.
    pub(crate) columns: Vec<String>,
    names: Vec<(String, ColumnType)>,
    /// Rows with a key, by subject.
    by_subject: BTreeMap<String, Row>,
    /// Rows without one, by partition.
    bag: BTreeMap<PartitionId, Vec<Row>>,
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    op: char,
    #[serde(borrow)]
    before: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(borrow)]
    after: Option<BTreeMap<String, &'a RawValue>>,
    source: Source,
}

#[derive(serde::Deserialize)]
struct Source {
    lsn: u64,
}

impl Model {
    /// Replays the events of a stream; checks what holds for every stream.
    pub(crate) fn of(def: &StreamDef, events: &[Stored]) -> Self {
        let schema = def.schema.as_ref().unwrap();
        let names: Vec<_> = schema.columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
        let quoted = names.iter().map(|(name, _)| format!("\"{}\"", name.replace('"', "\"\"")));
        let mut model =
            Self { columns: quoted.collect(), names, by_subject: BTreeMap::new(), bag: BTreeMap::new() };
        let keyed = !schema.key.is_empty();
        let mut ids = HashSet::new();
        let mut last: BTreeMap<(PartitionId, Option<String>), u64> = BTreeMap::new();
        for stored in events {
            let event = &stored.event;
            assert!(
                ids.insert(event.id.clone()) || event.ty == "source.gap",
                "event {} is there twice",
                event.id
            );
            if event.ty == "source.gap" {
                continue;
            }
            let data: Envelope<'_> = serde_json::from_slice(event.data.bytes()).unwrap();
            // Changes of a row are in commit order; a reset may begin another history.
            let key = (stored.position.partition, event.subject.clone());
            if data.op == 't' {
                last.clear();
            } else if let Some(before) = last.insert(key, data.source.lsn) {
                assert!(before <= data.source.lsn, "event {} comes after {before}", event.id);
            }
            model.apply(stored, &data, keyed);
        }
        model
    }

    fn apply(&mut self, stored: &Stored, data: &Envelope<'_>, keyed: bool) {
        let partition = stored.position.partition;
        let expected = match data.op {
            'c' => "row.insert",
            'u' => "row.update",
            'd' => "row.delete",
            'r' => "row.read",
            _ => "table.truncate",
        };
        assert_eq!(stored.event.ty, expected);
        let subject = stored.event.subject.clone();
        match (data.op, &subject) {
            ('t', _) => {
                self.bag.remove(&partition);
                self.by_subject.retain(|subject, _| !subject.starts_with(&format!("{partition}/")));
            }
            ('d', Some(subject)) if keyed => {
                self.by_subject.remove(&format!("{partition}/{subject}"));
            }
            ('d' | 'u', _) if !keyed => {
                let row = self.row(data.before.as_ref().unwrap(), None);
                let after = data.after.as_ref().map(|after| self.row(after, Some(&row)));
                let bag = self.bag.entry(partition).or_default();
                let place = bag.iter().position(|known| *known == row).expect("a deleted row was there");
                bag.swap_remove(place);
                bag.extend(after);
            }
            (_, Some(subject)) if keyed => {
                let subject = format!("{partition}/{subject}");
                let row = self.row(data.after.as_ref().unwrap(), self.by_subject.get(&subject));
                self.by_subject.insert(subject, row);
            }
            _ => {
                let row = self.row(data.after.as_ref().unwrap(), None);
                self.bag.entry(partition).or_default().push(row);
            }
        }
    }

    /// The values as the server prints them.
    fn row(&self, values: &BTreeMap<String, &RawValue>, before: Option<&Row>) -> Row {
        let known: BTreeSet<_> = self.names.iter().map(|(name, _)| name.as_str()).collect();
        for name in values.keys() {
            assert!(known.contains(name.as_str()) || before.is_none(), "an unknown column {name}");
        }
        let value = |index: usize, name: &str, ty: &ColumnType| {
            let json = values.get(name)?.get();
            if json == UNAVAILABLE {
                // A row that has another key, or that is not read yet, is told as a whole later.
                return before.map_or(Some(UNAVAILABLE.to_owned()), |row| row.get(index).cloned().flatten());
            }
            match json {
                "null" => None,
                "true" => Some("t".into()),
                "false" => Some("f".into()),
                _ if json.starts_with('"') => {
                    let text: String = serde_json::from_str(json).unwrap();
                    if *ty != ColumnType::Bytea {
                        return Some(text);
                    }
                    let bytes = BASE64_STANDARD.decode(text).unwrap();
                    Some(bytes.iter().fold("\\x".to_owned(), |hex, byte| hex + &format!("{byte:02x}")))
                }
                number => Some(number.to_owned()),
            }
        };
        self.names.iter().enumerate().map(|(index, (name, ty))| value(index, name, ty)).collect()
    }

    /// All rows, sorted.
    pub(crate) fn rows(self) -> Vec<Row> {
        let mut rows: Vec<_> =
            self.by_subject.into_values().chain(self.bag.into_values().flatten()).collect();
        rows.sort();
        rows
    }
}
