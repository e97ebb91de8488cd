//! The catalogue: what streams, projections and sources there are.
//!
//! It is a fold of the events of `$config`, so that every node that has read the same events has the same catalogue. Streams are
//! folded by the log itself; projections and sources here.

mod definition;
mod follow;
mod merges;
mod names;
mod streams;

pub use definition::{Change, ProjectionDef, SourceDef};
pub use follow::Follower;
pub(crate) use merges::check_merges;
pub(crate) use names::Table;
pub(crate) use streams::{check_added_column, check_cleanup, of_source};

use crate::Error;
use crate::dialect::suggest;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_log::Streams;
use tw_types::{StreamId, Version};

/// How many earlier definitions of a projection are remembered: only one can be read, and few are altered again before they are built.
const EARLIER_MAX: usize = 4;

/// A projection, and whether it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Its definition.
    pub def: Arc<ProjectionDef>,
    /// What it was defined as before, the latest first: one of them may have built what is read until the definition is built.
    pub earlier: Vec<Arc<ProjectionDef>>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether what is built anew must not take over yet.
    pub on_hold: bool,
}

/// A source, and whether it rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its definition.
    pub def: Arc<SourceDef>,
    /// Whether it is paused.
    pub paused: bool,
}

/// All definitions at one moment. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    streams: Arc<Streams>,
    projections: Arc<BTreeMap<String, Projection>>,
    sources: Arc<BTreeMap<String, Source>>,
    /// How many changes each subject has seen, dropped ones included.
    versions: Arc<BTreeMap<String, u64>>,
}

impl Catalog {
    /// A catalogue of streams, with nothing else yet.
    pub fn new(streams: Arc<Streams>) -> Self {
        Self { streams, ..Self::default() }
    }

    /// The streams.
    pub fn streams(&self) -> &Arc<Streams> {
        &self.streams
    }

    /// Replaces the streams by what the log says now.
    pub fn set_streams(&mut self, streams: Arc<Streams>) {
        self.streams = streams;
    }

    /// The projections, in the order of their names.
    pub fn projections(&self) -> impl Iterator<Item = &Projection> {
        self.projections.values()
    }

    /// The sources, in the order of their names.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// The projection called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn projection(&self, name: &str) -> Result<&Projection, Error> {
        self.projections.get(name).ok_or_else(|| {
            let hint = suggest::did_you_mean(name, self.projections.keys().map(String::as_str));
            Error::NotFound { what: "projection", name: name.to_owned(), hint }
        })
    }

    /// The source called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn source(&self, name: &str) -> Result<&Source, Error> {
        self.sources.get(name).ok_or_else(|| {
            let hint = suggest::did_you_mean(name, self.sources.keys().map(String::as_str));
            Error::NotFound { what: "source", name: name.to_owned(), hint }
        })
    }

    /// Carries out a change that `$config` tells of. Changes of what is not there are ignored, so that a replay from any point
    /// gives the same.
    pub fn apply(&mut self, change: Change) {
        *Arc::make_mut(&mut self.versions).entry(change.subject()).or_default() += 1;
        match change {
            Change::ProjectionCreated(def) => {
                let def = Arc::new(def);
                let projection = Projection { def, earlier: Vec::new(), paused: false, on_hold: false };
                Arc::make_mut(&mut self.projections).insert(projection.def.name.clone(), projection);
            }
            Change::ProjectionAltered(def) => {
                if let Some(projection) = Arc::make_mut(&mut self.projections).get_mut(&def.name) {
                    let before = std::mem::replace(&mut projection.def, Arc::new(def));
                    projection.earlier.insert(0, before);
                    projection.earlier.truncate(EARLIER_MAX);
                }
            }
            Change::ProjectionDropped(name) => {
                Arc::make_mut(&mut self.projections).remove(&name);
            }
            Change::ProjectionPaused(name) => self.set_paused(&name, true),
            Change::ProjectionResumed(name) => self.set_paused(&name, false),
            Change::ProjectionHeld(name) => self.set_on_hold(&name, true),
            Change::ProjectionReleased(name) => self.set_on_hold(&name, false),
            Change::SourceCreated(def) => {
                let source = Source { def: Arc::new(def), paused: false };
                Arc::make_mut(&mut self.sources).insert(source.def.name.clone(), source);
            }
            Change::SourceDropped(name) => {
                Arc::make_mut(&mut self.sources).remove(&name);
            }
            Change::SourcePaused(name) => self.set_source_paused(&name, true),
            Change::SourceResumed(name) => self.set_source_paused(&name, false),
        }
    }

    fn set_paused(&mut self, name: &str, paused: bool) {
        if let Some(projection) = Arc::make_mut(&mut self.projections).get_mut(name) {
            projection.paused = paused;
        }
    }

    fn set_on_hold(&mut self, name: &str, on_hold: bool) {
        if let Some(projection) = Arc::make_mut(&mut self.projections).get_mut(name) {
            projection.on_hold = on_hold;
        }
    }

    fn set_source_paused(&mut self, name: &str, paused: bool) {
        if let Some(source) = Arc::make_mut(&mut self.sources).get_mut(name) {
            source.paused = paused;
        }
    }

    /// The version in its subject's history that the event of a change will have.
    pub fn next_version(&self, change: &Change) -> Version {
        Version(self.versions.get(&change.subject()).copied().unwrap_or_default()).next()
    }

    /// The names of the projections that read a stream.
    pub fn readers(&self, stream: StreamId) -> Vec<&str> {
        self.projections
            .values()
            .filter(|projection| projection.def.stream == stream)
            .map(|projection| projection.def.name.as_str())
            .collect()
    }

    /// Checks that a stream can be dropped: no projection reads it, and no source writes it.
    ///
    /// # Errors
    /// [`Error::InUse`].
    pub fn check_unused(&self, stream: StreamId, name: &str) -> Result<(), Error> {
        if let Some(reader) = self.readers(stream).first() {
            return Err(Error::InUse {
                what: "stream",
                name: name.to_owned(),
                by: format!("the projection `{reader}`"),
            });
        }
        if let Some((source, _)) = name.split_once('.')
            && self.sources.contains_key(source)
        {
            return Err(Error::InUse {
                what: "stream",
                name: name.to_owned(),
                by: format!("the source `{source}`"),
            });
        }
        Ok(())
    }
}
