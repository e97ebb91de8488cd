//! What a statement that is not a query demands. Nothing is changed here.

use super::{Engine, describe, explain};
use crate::catalog::{
    Change, ProjectionDef, SourceDef, check_added_column, check_cleanup, check_merges, of_source,
};
use crate::query::Answer;
use crate::sql::{Kind, Listing, Secret, Statement, StatementOptions as Options, bad_option};
use crate::{Catalog, Error, plan};
use std::collections::BTreeMap;
use tw_log::NewStream;
use tw_types::{Column, Schema, StreamDef, StreamKind, StreamName, StreamOptions};

/// What is to be done for a statement. `done` says it to whoever wrote the statement, once it is done.
#[derive(Debug)]
pub enum Action {
    /// Run [`Engine::query`] with the same statement.
    Query,
    /// Nothing: the answer is here.
    Rows(Answer),
    /// Nothing: the answer is [`Engine::show_sources`], which wants to know how they are.
    ShowSources,
    /// Nothing: the answer is [`Engine::show_projections`], which wants to know how they are.
    ShowProjections,
    /// Create the stream.
    CreateStream {
        /// The stream.
        stream: NewStream,
        /// What was done.
        done: String,
    },
    /// Alter the stream.
    AlterStream {
        /// The stream as it is to be.
        stream: NewStream,
        /// What was done.
        done: String,
    },
    /// Drop the stream.
    DropStream {
        /// The stream.
        name: StreamName,
        /// What was done.
        done: String,
    },
    /// Append [`Change::to_event`] to `$config`, and let the catalogue, views and sources follow.
    Change {
        /// The change.
        change: Change,
        /// The password of a source that is created, which must not become part of its definition.
        secret: Option<Secret>,
        /// What was done.
        done: String,
    },
    /// Nothing: it is so already.
    Nothing {
        /// What there is.
        done: String,
    },
}

impl Engine {
    /// What a statement demands, other than to compute rows.
    ///
    /// # Errors
    /// A name that is taken, or missing; a SELECT that cannot be kept up to date; an option that does not exist.
    pub fn decide(&self, statement: &Statement) -> Result<Action, Error> {
        let catalog = self.catalog();
        match statement {
            Statement::Query(_) | Statement::ExplainQuery(_) => Ok(Action::Query),
            Statement::CreateStream { name, if_not_exists, columns, options } => {
                let partitions = self.options().stream_partitions;
                create_stream(&catalog, name, *if_not_exists, columns.as_deref(), options, partitions)
            }
            Statement::CreateSource { name, if_not_exists, url, secret, tables, options } => {
                if let Some(nothing) = exists(&catalog, Kind::Source, name, *if_not_exists)? {
                    return Ok(nothing);
                }
                let def = SourceDef {
                    name: name.clone(),
                    kind: "postgres".into(),
                    url: url.clone(),
                    tables: tables.clone(),
                    options: options.clone(),
                };
                Ok(Action::Change {
                    change: Change::SourceCreated(def),
                    secret: secret.clone(),
                    done: format!("source `{name}` created"),
                })
            }
            Statement::CreateProjection { name, if_not_exists, or_replace, options, query } => {
                if let Some(option) = options.keys().next() {
                    return Err(Error::Refused(format!(
                        "there is no option `{option}`: projections take none"
                    )));
                }
                if *or_replace && let Some(def) = self.read_before(&catalog, name, query) {
                    let done =
                        format!("projection `{name}` stays as it answers, what is built anew is given up");
                    return Ok(change(Change::ProjectionAltered(def.as_ref().clone()), done));
                }
                create_projection(&catalog, name, *if_not_exists, *or_replace, query)
            }
            Statement::SetOptions { name, options } => set_options(&catalog, name, options),
            Statement::AddColumn { name, column, if_not_exists } => {
                add_column(&catalog, name, column, *if_not_exists)
            }
            Statement::Drop { kind, name, if_exists } => drop_one(&catalog, *kind, name, *if_exists),
            Statement::Pause { kind, name } => set_paused(&catalog, *kind, name, true),
            Statement::Resume { kind, name } => set_paused(&catalog, *kind, name, false),
            Statement::Hold(name) => set_on_hold(&catalog, name, true),
            Statement::Release(name) => set_on_hold(&catalog, name, false),
            Statement::Rebuild(name) => {
                let def = catalog.projection(name)?.def.as_ref().clone();
                let def = ProjectionDef { version: def.version + 1, ..def };
                Ok(change(Change::ProjectionAltered(def), format!("projection `{name}` is being rebuilt")))
            }
            Statement::Show(Listing::Sources) => Ok(Action::ShowSources),
            Statement::Show(Listing::Projections) => Ok(Action::ShowProjections),
            Statement::Show(listing) => Ok(Action::Rows(describe::show(self, &catalog, *listing))),
            Statement::Describe { name } => Ok(Action::Rows(describe::describe(self, &catalog, name)?)),
            Statement::ExplainProjection { query } => {
                Ok(Action::Rows(explain::projection(&plan::compile(&catalog, query)?)))
            }
            Statement::ExplainName(name) => {
                let def = &catalog.projection(name)?.def;
                Ok(Action::Rows(explain::projection(&plan::compile(&catalog, &def.query)?)))
            }
        }
    }
}

/// Has a projection or a source rest, or go on.
fn set_paused(catalog: &Catalog, kind: Kind, name: &str, paused: bool) -> Result<Action, Error> {
    let what = kind.word();
    let (word, is_paused) = (
        if paused { "paused" } else { "resumed" },
        match kind {
            Kind::Source => catalog.source(name)?.paused,
            _ => catalog.projection(name)?.paused,
        },
    );
    if is_paused == paused {
        let state = if paused { "paused already" } else { "not paused" };
        return Ok(Action::Nothing { done: format!("{what} `{name}` is {state}") });
    }
    let name = name.to_owned();
    let done = format!("{what} `{name}` {word}");
    Ok(match (kind, paused) {
        (Kind::Source, true) => {
            let done = format!("{done}: until it is resumed, its database keeps WAL for it");
            change(Change::SourcePaused(name), done)
        }
        (Kind::Source, false) => change(Change::SourceResumed(name), done),
        (_, true) => change(Change::ProjectionPaused(name), done),
        (_, false) => change(Change::ProjectionResumed(name), done),
    })
}

/// Has what is built anew of a projection wait before it takes over, or lets it.
fn set_on_hold(catalog: &Catalog, name: &str, on_hold: bool) -> Result<Action, Error> {
    let is_on_hold = catalog.projection(name)?.on_hold;
    if is_on_hold == on_hold {
        let state = if on_hold { "held already" } else { "not held" };
        return Ok(Action::Nothing { done: format!("projection `{name}` is {state}") });
    }
    let name = name.to_owned();
    Ok(if on_hold {
        let done = format!("what is built anew of projection `{name}` will wait until it is released");
        change(Change::ProjectionHeld(name), done)
    } else {
        let done =
            format!("what is built anew of projection `{name}` takes over as soon as it has caught up");
        change(Change::ProjectionReleased(name), done)
    })
}

fn change(change: Change, done: String) -> Action {
    Action::Change { change, secret: None, done }
}

/// Checks that something new may have a name; if there is one of its kind already and that is fine, nothing is to be done.
fn exists(catalog: &Catalog, kind: Kind, name: &str, if_not_exists: bool) -> Result<Option<Action>, Error> {
    match catalog.check_new_name(kind.word(), name) {
        Err(Error::Exists { what, .. }) if if_not_exists && what == kind.word() => {
            Ok(Some(Action::Nothing { done: format!("{what} `{name}` exists already") }))
        }
        checked => checked.map(|()| None),
    }
}

fn create_stream(
    catalog: &Catalog,
    name: &str,
    if_not_exists: bool,
    columns: Option<&[Column]>,
    options: &Options,
    partitions_default: u32,
) -> Result<Action, Error> {
    if let Some(nothing) = exists(catalog, Kind::Stream, name, if_not_exists)? {
        return Ok(nothing);
    }
    let mut options = options.clone();
    let partitions = match options.remove("partitions") {
        None => partitions_default,
        Some(text) => text
            .parse()
            .ok()
            .filter(|partitions| (1..=StreamDef::PARTITIONS_MAX).contains(partitions))
            .ok_or_else(|| {
                Error::Refused(format!(
                    "option `partitions` is `{text}`, outside 1 to {}",
                    StreamDef::PARTITIONS_MAX
                ))
            })?,
    };
    let schema = columns.map(|columns| Schema { version: 1, columns: columns.to_vec(), key: Vec::new() });
    let stream = NewStream {
        // Checked above.
        name: StreamName::new(name).map_err(|invalid| Error::Refused(invalid.to_string()))?,
        kind: StreamKind::Events,
        partitions,
        schema: schema.map(Schema::completed),
        options: stream_options(&StreamOptions::default(), &options)?,
    };
    check_merges(&stream)?;
    Ok(Action::CreateStream { stream, done: format!("stream `{name}` created") })
}

/// The options that streams have; `partitions` is one only when a stream is created.
const STREAM_OPTIONS: [&str; 8] = [
    "partitions",
    "retention_ms",
    "retention_bytes",
    "cleanup",
    "compression",
    "event_bytes_max",
    "mode",
    "home",
];

/// The value of an option, as JSON has it.
fn option_value(name: &str, text: &str) -> serde_json::Value {
    match text.parse::<u64>() {
        Ok(number) => number.into(),
        Err(_) if text.eq_ignore_ascii_case("none") && name.starts_with("retention") => {
            serde_json::Value::Null
        }
        Err(_) => text.to_lowercase().into(),
    }
}

/// Options with some of them changed.
fn stream_options(
    before: &StreamOptions,
    changes: &BTreeMap<String, String>,
) -> Result<StreamOptions, Error> {
    let refused = |error: serde_json::Error| Error::Refused(format!("the options of a stream: {error}"));
    let mut all = match serde_json::to_value(before).map_err(refused)? {
        serde_json::Value::Object(all) => all,
        _ => serde_json::Map::new(),
    };
    let one = |name: &str, text: &str| {
        let object = serde_json::Map::from_iter([(name.to_owned(), option_value(name, text))]);
        serde_json::from_value::<StreamOptions>(object.into()).map(drop)
    };
    if let Some(wrong) = bad_option("stream", changes, &STREAM_OPTIONS, one) {
        return Err(Error::Refused(wrong));
    }
    for (name, text) in changes {
        all.insert(name.clone(), option_value(name, text));
    }
    let options: StreamOptions = serde_json::from_value(all.into()).map_err(refused)?;
    options.check().map_err(|invalid| Error::Refused(invalid.to_string()))?;
    Ok(options)
}

fn create_projection(
    catalog: &Catalog,
    name: &str,
    if_not_exists: bool,
    or_replace: bool,
    query: &str,
) -> Result<Action, Error> {
    if or_replace && let Ok(known) = catalog.projection(name) {
        let stream = plan::compile(catalog, query)?.stream.id;
        let def = ProjectionDef {
            query: query.to_owned(),
            stream,
            version: known.def.version + 1,
            ..known.def.as_ref().clone()
        };
        return Ok(change(Change::ProjectionAltered(def), format!("projection `{name}` replaced")));
    }
    if let Some(nothing) = exists(catalog, Kind::Projection, name, if_not_exists)? {
        return Ok(nothing);
    }
    let stream = plan::compile(catalog, query)?.stream.id;
    let def = ProjectionDef {
        name: name.to_owned(),
        query: query.to_owned(),
        stream,
        version: 1,
        options: BTreeMap::new(),
    };
    Ok(change(Change::ProjectionCreated(def), format!("projection `{name}` created")))
}

fn stream_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a StreamDef, Error> {
    catalog.streams().get(name).map(AsRef::as_ref).map_err(|_| catalog.no_stream(name))
}

fn altered(stream: &StreamDef) -> NewStream {
    NewStream {
        name: stream.name.clone(),
        kind: stream.kind,
        partitions: stream.partitions,
        schema: stream.schema.clone(),
        options: stream.options.clone(),
    }
}

fn set_options(catalog: &Catalog, name: &str, options: &Options) -> Result<Action, Error> {
    let stream = stream_of(catalog, name)?;
    if options.contains_key("partitions") {
        return Err(Error::Refused(
            "the number of partitions cannot be changed: create another stream".into(),
        ));
    }
    let changed = NewStream { options: stream_options(&stream.options, options)?, ..altered(stream) };
    check_cleanup(stream, &changed.options)?;
    check_merges(&changed)?;
    plan::check_mode(catalog, stream, &changed.options)?;
    Ok(Action::AlterStream { stream: changed, done: format!("stream `{name}` altered") })
}

fn add_column(catalog: &Catalog, name: &str, column: &Column, if_not_exists: bool) -> Result<Action, Error> {
    let stream = stream_of(catalog, name)?;
    if stream.kind == StreamKind::Table {
        return Err(Error::Refused(of_source(stream)));
    }
    let Some(schema) = &stream.schema else {
        return Err(Error::Refused(format!(
            "`{name}` is a stream of plain JSON, which has no declared columns"
        )));
    };
    if schema.column(&column.name).is_some() {
        if if_not_exists {
            return Ok(Action::Nothing {
                done: format!("column `{}` of `{name}` exists already", column.name),
            });
        }
        return Err(Error::Exists { what: "column", name: column.name.clone() });
    }
    check_added_column(column, schema.merges())?;
    let mut schema = schema.clone();
    schema.version += 1;
    schema.columns.push(column.clone());
    let changed = NewStream { schema: Some(schema.completed()), ..altered(stream) };
    check_merges(&changed)?;
    Ok(Action::AlterStream { stream: changed, done: format!("column `{}` of `{name}` added", column.name) })
}

fn drop_one(catalog: &Catalog, kind: Kind, name: &str, if_exists: bool) -> Result<Action, Error> {
    let found = match kind {
        Kind::Stream => stream_of(catalog, name).map(|_| ()),
        Kind::Source => catalog.source(name).map(|_| ()),
        Kind::Projection => catalog.projection(name).map(|_| ()),
    };
    let what = kind.word();
    match found {
        Err(Error::NotFound { .. }) if if_exists => {
            return Ok(Action::Nothing { done: format!("there is no {what} `{name}`") });
        }
        found => found?,
    }
    let done = format!("{what} `{name}` dropped");
    Ok(match kind {
        Kind::Stream => {
            let stream = stream_of(catalog, name)?;
            catalog.check_unused(stream.id, name)?;
            if stream.name.is_system() {
                return Err(Error::Refused(format!(
                    "`{name}` is one of the platform's own streams, which cannot be dropped"
                )));
            }
            Action::DropStream { name: stream.name.clone(), done }
        }
        Kind::Source => {
            let left = left_by_source(catalog, name);
            change(Change::SourceDropped(name.to_owned()), format!("{done}{left}"))
        }
        Kind::Projection => change(Change::ProjectionDropped(name.to_owned()), done),
    })
}

/// What a dropped source leaves, and how that is removed.
fn left_by_source(catalog: &Catalog, source: &str) -> String {
    const NAMES_MAX: usize = 5;
    let prefix = format!("{source}.");
    let left: Vec<&str> = catalog
        .streams()
        .iter()
        .map(|stream| stream.name.as_str())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    let Some(first) = left.first() else { return String::new() };
    let mut names: Vec<String> = left.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect();
    if let more @ 1.. = left.len().saturating_sub(NAMES_MAX) {
        names.push(format!("{more} more"));
    }
    format!(
        "; its tables stay as they are ({}): a source of the same name goes on with them, DROP STREAM {} removes one",
        names.join(", "),
        in_statement(first)
    )
}

/// A name as a statement has it.
fn in_statement(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    let parts_start_well = name.split('.').all(|part| !part.starts_with(|c: char| c.is_ascii_digit()));
    if name.chars().all(plain) && parts_start_well {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
