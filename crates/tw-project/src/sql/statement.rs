//! Statements as values.

use super::secret::Secret;
use datafusion::sql::sqlparser::ast::Query;
use std::collections::BTreeMap;
use tw_types::Column;

/// What statements are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream.
    Stream,
    /// A source.
    Source,
    /// A projection.
    Projection,
}

impl Kind {
    /// The word for one of them.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Source => "source",
            Self::Projection => "projection",
        }
    }
}

/// What SHOW lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `SHOW STREAMS`
    Streams,
    /// `SHOW SOURCES`
    Sources,
    /// `SHOW PROJECTIONS`
    Projections,
    /// `SHOW TABLES`
    Tables,
}

/// Options as they were written: `WITH (partitions = 4)`.
pub type Options = BTreeMap<String, String>;

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `CREATE STREAM`
    CreateStream {
        /// Its name.
        name: String,
        /// Whether it may exist already.
        if_not_exists: bool,
        /// Its declared columns; None for plain JSON.
        columns: Option<Vec<Column>>,
        /// Its options.
        options: Options,
    },
    /// `CREATE SOURCE … FROM POSTGRES`
    CreateSource {
        /// Its name.
        name: String,
        /// Whether it may exist already.
        if_not_exists: bool,
        /// Where it captures from, without the password.
        url: String,
        /// The password, which must not become part of the definition.
        secret: Option<Secret>,
        /// The tables, as `schema.table`.
        tables: Vec<String>,
        /// Its options.
        options: Options,
    },
    /// `CREATE PROJECTION … AS SELECT`
    CreateProjection {
        /// Its name.
        name: String,
        /// Whether it may exist already.
        if_not_exists: bool,
        /// Whether it takes the place of one that exists.
        or_replace: bool,
        /// Its options.
        options: Options,
        /// The text of its SELECT.
        query: String,
    },
    /// `ALTER STREAM … SET (…)`
    SetOptions {
        /// The stream.
        name: String,
        /// The options that change.
        options: Options,
    },
    /// `ALTER STREAM … ADD COLUMN`
    AddColumn {
        /// The stream.
        name: String,
        /// The new column.
        column: Column,
        /// Whether it may exist already.
        if_not_exists: bool,
    },
    /// `DROP`
    Drop {
        /// What is dropped.
        kind: Kind,
        /// Its name.
        name: String,
        /// Whether it may be missing.
        if_exists: bool,
    },
    /// `SHOW`
    Show(Listing),
    /// `DESCRIBE`
    Describe {
        /// The table, stream, projection or source.
        name: Name,
    },
    /// `EXPLAIN SELECT`
    ExplainQuery(Box<Query>),
    /// `EXPLAIN CREATE PROJECTION … AS SELECT`
    ExplainProjection {
        /// The text of the SELECT.
        query: String,
    },
    /// `EXPLAIN` and the name of a projection
    ExplainName(String),
    /// `PAUSE PROJECTION`, `PAUSE SOURCE`
    Pause {
        /// What is paused: not a stream.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// `RESUME PROJECTION`, `RESUME SOURCE`
    Resume {
        /// What goes on: not a stream.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// `REBUILD PROJECTION`
    Rebuild(String),
    /// `HOLD PROJECTION`: what is built anew does not take over yet.
    Hold(String),
    /// `RELEASE PROJECTION`: it may.
    Release(String),
    /// `SELECT`, `WITH … SELECT`, `VALUES`
    Query(Box<Query>),
}

/// The name of a table, with its schema if one was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The schema.
    pub schema: Option<String>,
    /// The rest.
    pub name: String,
}

impl Name {
    /// The name in one piece.
    pub fn full(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}
