//! Layouts: what the rows of a table look like, and what identifies one.

use super::name::TableName;
use super::types::BaseType;
use crate::cursor::{Columns, TableCursor};
use tw_types::{Column, DataClass, Schema};

/// One column as it is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayoutColumn {
    pub(crate) name: String,
    /// The number of its type, domains not resolved: what a relation message says.
    pub(crate) type_id: u32,
    pub(crate) type_modifier: i32,
    /// What it is made of.
    pub(crate) base: BaseType,
    pub(crate) nullable: bool,
    /// Its type as SQL writes it, to give a text this type.
    pub(crate) declared: String,
    /// Whether a delete, or an update of it, tells its old value.
    pub(crate) identity: bool,
}

/// What identifies a row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// These columns, as indexes into the layout, in the order of the key.
    Key(Vec<usize>),
    /// All of it: there is no key, but changes tell the whole old row (replica identity full).
    WholeRow,
    /// Nothing: rows are only ever added.
    Nothing,
}

/// What the rows of a table look like from some point of the stream on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) columns: Vec<LayoutColumn>,
    pub(crate) identity: Identity,
}

impl Layout {
    /// The schema of the stream, without its version.
    pub(crate) fn schema(&self) -> Schema {
        let columns = self.columns.iter().map(|column| Column {
            name: column.name.clone(),
            ty: column.base.column_type(),
            nullable: column.nullable,
            class: DataClass::default(),
            merge: None,
        });
        let key = match &self.identity {
            Identity::Key(key) => {
                key.iter().filter_map(|index| Some(self.columns.get(*index)?.name.clone())).collect()
            }
            Identity::WholeRow | Identity::Nothing => Vec::new(),
        };
        Schema { version: 0, columns: columns.collect(), key }
    }

    /// The columns of the key, in its order; empty without one.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = &LayoutColumn> {
        let key: &[usize] = match &self.identity {
            Identity::Key(key) => key,
            Identity::WholeRow | Identity::Nothing => &[],
        };
        key.iter().filter_map(|index| self.columns.get(*index))
    }

    /// A short text that differs when a column's name or declared type does: rows read under one shape read under
    /// another of the same.
    pub(crate) fn shape(&self) -> String {
        let mut text = String::new();
        for column in &self.columns {
            text.push_str(&format!("{:?} {} {},", column.name, column.type_id, column.type_modifier));
        }
        fingerprint(&text)
    }
}

/// Short, however many columns or partitions there are.
pub(super) fn fingerprint(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}

impl Identity {
    /// What a table's cursor says of it.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::WholeRow => "row",
            Self::Nothing => "none",
        }
    }
}

/// `schema` with the next version after `before`, unless it says the same: then None.
pub(crate) fn next_version(before: Option<&Schema>, mut schema: Schema) -> Option<Schema> {
    let version = before.map_or(0, |before| before.version);
    // Classes are declared by people, and stay with their columns.
    for column in &mut schema.columns {
        if let Some(known) = before.and_then(|before| before.column(&column.name)) {
            column.class = known.class;
        }
    }
    schema.version = version;
    if before == Some(&schema) {
        return None;
    }
    schema.version += 1;
    Some(schema)
}

/// What the catalogue knows of a column and no change tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// Its number, which no other column of the table ever gets.
    pub(crate) number: i16,
    /// Whether its value in old rows comes from the catalogue (`ADD COLUMN … DEFAULT`).
    pub(crate) filled: bool,
}

/// Why rows have to be read again without a change of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anew {
    /// Partitions may have been truncated, attached or detached.
    Partitions,
    /// Rows hold other values in their columns.
    Rows,
}

impl Anew {
    /// Why everybody who follows the stream has to forget all rows first, if so: what is written anew takes the place of
    /// what was there, rows that came or went with a partition do not.
    pub(crate) fn reset(self) -> Option<&'static str> {
        match self {
            Self::Partitions => Some("its partitions have changed"),
            Self::Rows => None,
        }
    }
}

/// What the catalogue says about a table at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: u32,
    pub(crate) name: TableName,
    pub(crate) layout: Layout,
    /// Changes whenever the rows are written anew: a rewrite, a truncation, partitions that come and go.
    pub(crate) storage: String,
    /// When its published columns were defined.
    pub(crate) columns: Columns,
    /// What the catalogue knows of each column of the layout, in the same order.
    pub(crate) attributes: Vec<Attribute>,
    /// Whether it is a partitioned table, whose partitions it stands for.
    pub(crate) partitioned: bool,
    /// `d`, `n`, `f` or `i`, as `pg_class.relreplident`.
    pub(crate) replica_identity: char,
    /// About how many rows there are; None if nobody has counted yet.
    pub(crate) rows_estimate: Option<u64>,
    /// The condition that the publication sets on rows, if any.
    pub(crate) row_filter: Option<String>,
    /// Why it cannot be captured, if so.
    pub(crate) obstacle: Option<(String, String)>,
}

impl Described {
    /// What follows FROM to read all of its rows: not those of tables that inherit from it, which are not its own.
    pub(crate) fn table_expression(&self) -> String {
        let only = if self.partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.name.quoted())
    }

    /// What follows SELECT to read its captured columns.
    pub(crate) fn select_list(&self) -> String {
        let names = self.layout.columns.iter();
        let quoted: Vec<_> = names.map(|c| postgres_protocol::escape::escape_identifier(&c.name)).collect();
        quoted.join(", ")
    }

    /// Whether rows look different than when they were read, without a change of each: then they have to be read
    /// again. `schema` is what the stream says, `read` is from when the rows were read.
    pub(crate) fn anew(&self, schema: Option<&Schema>, read: &TableCursor) -> Option<Anew> {
        let stored_anew = self.storage != read.storage;
        if stored_anew && self.partitioned {
            return Some(Anew::Partitions);
        }
        let added = self.layout.columns.iter().zip(&self.attributes).any(|(column, attribute)| {
            let known = schema.is_some_and(|schema| schema.column(&column.name).is_some());
            let later = read.columns.as_ref().is_some_and(|columns| attribute.number > columns.last);
            // A name that comes back is another column: what the log holds under it, no row has any more.
            (known && later) || (!known && (attribute.filled || read.dropped.contains(&column.name)))
        });
        let redefined = read.columns.as_ref().is_some_and(|columns| columns.defined != self.columns.defined);
        let rewritten = stored_anew && (redefined || self.layout.shape() != read.shape);
        (added || rewritten).then_some(Anew::Rows)
    }
}
