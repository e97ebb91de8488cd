//! What names mean in a statement, and which may be given.

use super::{Catalog, ProjectionDef};
use crate::Error;
use crate::dialect::suggest;
use std::sync::Arc;
use tw_types::{StreamDef, StreamKind, StreamName};

/// The schema of histories: `events."shop.orders"`.
pub(crate) const EVENTS: &str = "events";
/// The schema of what is built anew of projections: `next.revenue`.
pub(crate) const NEXT: &str = "next";
/// Schemas that statements of PostgreSQL's tools look for; nothing else may be called so.
const RESERVED: [&str; 5] = [EVENTS, NEXT, "public", "pg_catalog", "information_schema"];

/// A table of the catalogue.
#[derive(Debug, Clone)]
pub(crate) enum Table {
    /// The result of a projection.
    Projection(Arc<ProjectionDef>),
    /// The result of what is built anew of a projection.
    Next(Arc<ProjectionDef>),
    /// The latest rows of a captured table.
    Latest(Arc<StreamDef>),
    /// The events of a stream as rows.
    Rows(Arc<StreamDef>),
    /// The events of a stream as events.
    History(Arc<StreamDef>),
}

impl Table {
    /// The stream that it is made of, if it is not made of a projection's state.
    pub(crate) fn stream(&self) -> Option<&Arc<StreamDef>> {
        match self {
            Self::Projection(_) | Self::Next(_) => None,
            Self::Latest(stream) | Self::Rows(stream) | Self::History(stream) => Some(stream),
        }
    }
}

impl Catalog {
    /// The table that a name in a statement means: `revenue`, `clicks`, `shop.orders`, `shop."sales.orders"`,
    /// `events."shop.orders"`, `next.revenue`.
    ///
    /// # Errors
    /// [`Error::NotFound`], with a suggestion.
    pub(crate) fn table(&self, schema: Option<&str>, name: &str) -> Result<Table, Error> {
        if schema == Some(EVENTS) {
            return self
                .streams
                .get(name)
                .map(|stream| Table::History(stream.clone()))
                .map_err(|_| self.no_stream(name));
        }
        let full = match schema {
            None | Some("public") => name.to_owned(),
            Some(schema) => format!("{schema}.{name}"),
        };
        if let Some(projection) = self.projections.get(&full) {
            return Ok(Table::Projection(projection.def.clone()));
        }
        match self.streams.get(&full) {
            Ok(stream) if stream.is_table() => Ok(Table::Latest(stream.clone())),
            Ok(stream) => Ok(Table::Rows(stream.clone())),
            Err(_) if schema == Some(NEXT) && self.projections.contains_key(name) => {
                self.projection(name).map(|projection| Table::Next(projection.def.clone()))
            }
            Err(_) => {
                let known: Vec<String> = self.table_names().collect();
                let hint = match suggest::did_you_mean(&full, known.iter().map(String::as_str)) {
                    none if none.is_empty() => ": SHOW TABLES lists all".to_owned(),
                    hint => hint,
                };
                Err(Error::NotFound { what: "table", name: full, hint })
            }
        }
    }

    /// The error for a stream that is not there.
    pub(crate) fn no_stream(&self, name: &str) -> Error {
        let known = self.streams.iter().map(|stream| stream.name.as_str());
        Error::NotFound { what: "stream", name: name.to_owned(), hint: suggest::did_you_mean(name, known) }
    }

    /// The names of all tables but histories, in order.
    pub(crate) fn table_names(&self) -> impl Iterator<Item = String> {
        let streams = self.streams.iter().map(|stream| stream.name.to_string());
        streams.chain(self.projections.keys().cloned())
    }

    /// Checks that a new stream, projection or source may have a name.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Refused`].
    pub(crate) fn check_new_name(&self, what: &'static str, name: &str) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Refused(format!("`{name}` cannot name a {what}: {reason}")));
        if let Err(invalid) = StreamName::new(name) {
            return refuse(invalid.rule.to_owned());
        }
        if RESERVED.contains(&name) {
            return refuse("it names a schema".into());
        }
        if let Some((schema, _)) = name.split_once('.')
            && what != "stream"
        {
            return refuse(format!("a point separates schema and table, and `{schema}` would be the schema"));
        }
        let taken = if self.streams.get(name).is_ok() {
            "stream"
        } else if self.projections.contains_key(name) {
            "projection"
        } else if self.sources.contains_key(name) {
            "source"
        } else {
            return self.check_schema(what, name);
        };
        Err(Error::Exists { what: taken, name: name.to_owned() })
    }

    /// A source is a schema: its tables are named after it.
    fn check_schema(&self, what: &'static str, name: &str) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::Refused(format!("`{name}` cannot name a {what}: {reason}")));
        if let Some((schema, _)) = name.split_once('.') {
            if RESERVED.contains(&schema) {
                return refuse(format!("the schema `{schema}` is the platform's own"));
            }
            if self.sources.contains_key(schema) {
                return refuse(format!("names that start with `{schema}.` belong to the source `{schema}`"));
            }
        }
        let prefix = format!("{name}.");
        // Tables that a source of this name has left become tables of the new one.
        let inside = self
            .streams
            .iter()
            .find(|stream| stream.kind != StreamKind::Table && stream.name.as_str().starts_with(&prefix));
        match inside {
            Some(stream) if what == "source" => refuse(format!(
                "names that start with `{prefix}` would belong to it, and there is a stream `{}`: drop that first",
                stream.name
            )),
            _ => Ok(()),
        }
    }
}
