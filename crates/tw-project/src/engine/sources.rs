//! SHOW SOURCES: what is defined, and how it is.

use super::Engine;
use super::listing::Listing;
use crate::query::Answer;
use std::collections::BTreeMap;

/// How a source is, as whoever runs it says. What is None is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceStanding {
    /// `streaming`, `snapshotting`, `paused`, `failed` and the like.
    pub state: String,
    /// How far the log is behind the source, in milliseconds.
    pub lag_ms: Option<u64>,
    /// The same in bytes of the source's own log.
    pub lag_bytes: Option<u64>,
    /// How many bytes of its own log the source keeps for us.
    pub retained_bytes: Option<u64>,
    /// Why it does not stream.
    pub error: Option<String>,
}

impl Engine {
    /// What SHOW SOURCES answers: every source that is defined, and how it is, by its name.
    pub fn show_sources(&self, standings: &BTreeMap<String, SourceStanding>) -> Answer {
        let catalog = self.catalog();
        let sources: Vec<_> = catalog.sources().map(|source| source.def.as_ref()).collect();
        let standings: Vec<_> = sources.iter().map(|source| standings.get(&source.name)).collect();
        let number = |value: fn(&SourceStanding) -> Option<u64>| {
            standings.iter().map(move |standing| standing.and_then(value))
        };
        Listing::default()
            .text("name", sources.iter().map(|source| source.name.as_str()))
            .text("kind", sources.iter().map(|source| source.kind.as_str()))
            .text_or_null("state", standings.iter().map(|standing| standing.map(|it| it.state.as_str())))
            .number("lag_ms", number(|it| it.lag_ms))
            .number("lag_bytes", number(|it| it.lag_bytes))
            .number("retained_bytes", number(|it| it.retained_bytes))
            .text_or_null(
                "error",
                standings.iter().map(|standing| standing.and_then(|it| it.error.as_deref())),
            )
            .text("url", sources.iter().map(|source| source.url.as_str()))
            .text("tables", sources.iter().map(|source| source.tables.join(", ")))
            .answer()
    }
}
