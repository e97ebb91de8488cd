//! Random tables, and what happens to their rows.

use crate::random::Random;
use serde_json::{Map, Value as Json, json};

/// The types of columns, as PostgreSQL calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Money,
    Float8,
    Text,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
}

pub const TYPES: [Type; 12] = [
    Type::Bool,
    Type::Int2,
    Type::Int4,
    Type::Int8,
    Type::Numeric,
    Type::Money,
    Type::Float8,
    Type::Text,
    Type::Date,
    Type::Timestamp,
    Type::TimestampTz,
    Type::Uuid,
];

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Numeric => "numeric",
            Self::Money => "numeric(8,2)",
            Self::Float8 => "double precision",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Uuid => "uuid",
        }
    }

    /// Texts of its values, few, so that they meet again. Sums of the floats are exact in any order.
    fn values(self) -> &'static [&'static str] {
        match self {
            Self::Bool => &["t", "f"],
            Self::Int2 => &["0", "1", "-1", "7", "-300", "32000"],
            Self::Int4 => &["0", "1", "2", "-3", "1000", "-70000"],
            Self::Int8 => &["0", "5", "-5", "4000000000", "-123456789012"],
            Self::Numeric => &["0", "1.5", "-2.25", "1000.001", "0.0000001", "123456789012.5"],
            Self::Money => &["0.00", "9.99", "-1.25", "100.00", "99999.99"],
            Self::Float8 => &["0", "0.5", "-1.25", "1024", "3.75"],
            Self::Text => &["", "a", "b", "Ab", "zebra", "日本", "x y", "10"],
            Self::Date => &["2026-01-31", "2024-02-29", "1999-12-31", "2026-02-01"],
            Self::Timestamp => &["2026-01-31 09:30:00", "2026-01-31 09:30:00.5", "2000-01-01 00:00:00"],
            Self::TimestampTz => {
                &["2026-03-29 00:30:00+00", "2026-03-29 01:30:00.25+00", "1970-01-01 00:00:00+00"]
            }
            Self::Uuid => &["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-4fff-8fff-ffffffffffff"],
        }
    }
}

/// How the stream tells of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Changes of rows with a key.
    Keyed,
    /// Changes of rows without one: the whole row before is told.
    Whole,
    /// Events of a stream with declared columns.
    Events,
}

pub struct Table {
    pub kind: Kind,
    /// The first one is the key `k`.
    pub columns: Vec<(String, Type)>,
    pub partitions: u32,
}

/// The texts of a row's values; None is NULL.
pub type Row = Vec<Option<String>>;

/// A change of a row. `number` identifies the row in PostgreSQL, `k` where there is a key.
#[derive(Debug, Clone)]
pub enum Change {
    Insert { row: Row },
    Update { before: Row, after: Row, /* Columns whose values are not told. */ untold: Vec<usize> },
    Delete { before: Row },
    Truncate,
}

impl Table {
    pub fn random(random: &mut Random) -> Self {
        let kind = *random.of(&[Kind::Keyed, Kind::Keyed, Kind::Keyed, Kind::Whole, Kind::Events]);
        let mut columns = vec![("k".to_owned(), if random.one_in(4) { Type::Text } else { Type::Int4 })];
        for index in 0..2 + random.below(5) {
            columns.push((format!("c{index}"), *random.of(&TYPES)));
        }
        Self { kind, columns, partitions: 1 + random.below(3) as u32 }
    }

    fn row(&self, random: &mut Random, key: usize) -> Row {
        let rest = self
            .columns
            .iter()
            .skip(1)
            .map(|(_, ty)| (!random.one_in(6)).then(|| (*random.of(ty.values())).to_owned()));
        std::iter::once(Some(key.to_string())).chain(rest).collect()
    }
}

/// A history. Of a keyed table no two rows have the same key.
pub fn changes(table: &Table, random: &mut Random) -> Vec<Change> {
    let mut rows: Vec<Row> = Vec::new();
    let keys = 3 + random.below(20);
    let mut changes = Vec::new();
    for _ in 0..20 + random.below(60) {
        let action = random.below(100);
        let free = |rows: &[Row], key: usize| {
            table.kind != Kind::Keyed || rows.iter().all(|row| row[0] != Some(key.to_string()))
        };
        if table.kind == Kind::Events || rows.is_empty() || action < 50 {
            let key = random.below(keys);
            if free(&rows, key) {
                let row = table.row(random, key);
                rows.push(row.clone());
                changes.push(Change::Insert { row });
            }
        } else if action < 78 {
            let at = random.below(rows.len());
            let before = rows[at].clone();
            let old_key: usize = before[0].as_ref().unwrap().parse().unwrap();
            let key = random.below(keys);
            let key = if random.one_in(5) && free(&rows, key) { key } else { old_key };
            let mut after = before.clone();
            let new = table.row(random, key);
            let mut untold = Vec::new();
            for (index, value) in after.iter_mut().enumerate() {
                if index == 0 || random.one_in(2) {
                    value.clone_from(&new[index]);
                } else if table.columns[index].1 == Type::Text
                    && value.is_some()
                    && table.kind == Kind::Keyed
                    && key == old_key
                {
                    untold.push(index);
                }
            }
            rows[at] = after.clone();
            changes.push(Change::Update { before, after, untold });
        } else if action < 98 || changes.len() < 10 {
            let before = rows.swap_remove(random.below(rows.len()));
            changes.push(Change::Delete { before });
        } else {
            rows.clear();
            changes.push(Change::Truncate);
        }
    }
    changes
}

/// A row as capture writes it.
pub fn to_json(table: &Table, row: &Row, untold: &[usize]) -> Json {
    let mut object = Map::new();
    for (index, ((name, ty), value)) in table.columns.iter().zip(row).enumerate() {
        let value = match (ty, value) {
            _ if untold.contains(&index) => json!("__debezium_unavailable_value"),
            (_, None) => Json::Null,
            (Type::Bool, Some(text)) => json!(text == "t"),
            (Type::Int2 | Type::Int4 | Type::Int8, Some(text)) => json!(text.parse::<i64>().unwrap()),
            (Type::Float8, Some(text)) => json!(text.parse::<f64>().unwrap()),
            (_, Some(text)) => json!(text),
        };
        object.insert(name.clone(), value);
    }
    Json::Object(object)
}
