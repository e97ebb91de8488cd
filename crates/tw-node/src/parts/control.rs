//! Definitions and the state of the node behind the interface.

use super::problem::of_project;
use crate::core::Core;
use crate::status;
use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use tw_api::parts::{Action, Control, Extent, Projection, Source, Status, Target};
use tw_api::{Code, Problem};
use tw_log::NewStream;
use tw_project::{RowCheck, quoted};
use tw_types::{Data, EventRef, Schema, StreamDef, StreamId, StreamKind, StreamName};

/// Whoever looks after definitions in a node.
pub(crate) struct NodeControl {
    core: Arc<Core>,
    doors: Doors,
}

impl NodeControl {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, doors: Doors::default() }
    }
}

/// The checks of declared columns, made once per schema.
#[derive(Default)]
pub(crate) struct Doors(RwLock<HashMap<StreamId, Door>>);

struct Door {
    schema_version: u32,
    check: Arc<RowCheck>,
}

impl Doors {
    pub(crate) fn check(&self, stream: StreamId, schema: &Schema) -> Arc<RowCheck> {
        let known = |door: &Door| (door.schema_version == schema.version).then(|| door.check.clone());
        if let Some(check) = self.0.read().get(&stream).and_then(known) {
            return check;
        }
        let check = Arc::new(RowCheck::new(schema));
        self.0.write().insert(stream, Door { schema_version: schema.version, check: check.clone() });
        check
    }
}

/// The data of an event of a stream with columns: who reads them takes JSON only.
fn json_of<'a>(stream: &StreamDef, event: &EventRef<'a>) -> Result<&'a [u8], String> {
    let (id, name) = (event.id, &stream.name);
    match event.data {
        Data::Json(json) => Ok(json),
        Data::None => {
            Err(format!("event `{id}` has no data, but `{name}` has declared columns: send a JSON object"))
        }
        Data::Text(_) | Data::Binary(_) => {
            let what = event
                .datacontenttype
                .map_or_else(|| "bytes without a content type".to_owned(), |ty| format!("`{ty}`"));
            Err(format!(
                "the data of event `{id}` is {what}, but `{name}` has declared columns, and its columns are read from JSON: send the data as `application/json`"
            ))
        }
    }
}

impl Control for NodeControl {
    fn admit(&self, stream: &StreamDef, event: &EventRef<'_>) -> Result<(), Problem> {
        let refuse = |why: String| Err(Problem::new(Code::ReadOnlyStream, why));
        if stream.name.is_system() {
            return refuse(format!("`{}` is the platform's own: append to a stream of yours", stream.name));
        }
        if stream.kind == StreamKind::Table {
            return refuse(format!("`{}` is filled by a source: change the rows there", stream.name));
        }
        let Some(schema) = &stream.schema else { return Ok(()) };
        if schema.merges() {
            if event.subject.is_none() {
                let why = format!(
                    "event `{}` has no subject, and events of `{}` are changes of the row of their subject: name it",
                    event.id, stream.name
                );
                return Err(Problem::new(Code::EventRefused, why));
            }
            if matches!(event.data, Data::None) {
                // It deletes the row.
                return Ok(());
            }
        }
        let json = json_of(stream, event).map_err(|why| Problem::new(Code::EventRefused, why))?;
        self.doors.check(stream.id, schema).check(json).map_err(|error| {
            Problem::new(
                Code::EventRefused,
                format!("the data of event `{}` does not fit: {error}", event.id),
            )
        })
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        Box::pin(self.core.definitions.create_stream(stream))
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        Box::pin(self.core.definitions.alter_stream(changed))
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(self.core.definitions.drop_stream(name))
    }

    fn source<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Source, Problem>> {
        Box::pin(async move {
            let catalog = self.core.engine.catalog();
            let defined = catalog.source(name).map_err(of_project)?;
            Ok(status::source(&self.core, defined).await)
        })
    }

    fn sources(&self) -> BoxFuture<'_, Result<Vec<Source>, Problem>> {
        Box::pin(async { Ok(status::sources(&self.core).await) })
    }

    fn projections(&self, extent: Extent) -> BoxFuture<'_, Result<Vec<Projection>, Problem>> {
        Box::pin(async move {
            Ok(match extent {
                Extent::Everywhere => status::projections(&self.core).await,
                Extent::Own => status::own_projections(&self.core),
            })
        })
    }

    fn act<'a>(&'a self, target: Target<'a>, action: Action) -> BoxFuture<'a, Result<String, Problem>> {
        Box::pin(async move {
            let (verb, kind, name) = match (target, action) {
                (Target::Source(name), Action::Resnapshot(tables)) => {
                    return resnapshot(&self.core, name, &tables).await;
                }
                (Target::Projection(name), Action::Pause) => ("PAUSE", "PROJECTION", name),
                (Target::Projection(name), Action::Resume) => ("RESUME", "PROJECTION", name),
                (Target::Projection(name), Action::Rebuild) => ("REBUILD", "PROJECTION", name),
                (Target::Projection(name), Action::Hold) => ("HOLD", "PROJECTION", name),
                (Target::Projection(name), Action::Release) => ("RELEASE", "PROJECTION", name),
                (Target::Projection(name), Action::Drop) => ("DROP", "PROJECTION", name),
                (Target::Source(name), Action::Pause) => ("PAUSE", "SOURCE", name),
                (Target::Source(name), Action::Resume) => ("RESUME", "SOURCE", name),
                (Target::Source(name), Action::Drop) => ("DROP", "SOURCE", name),
                (target, action) => return Err(impossible(target, &action)),
            };
            self.core.definitions.say(&format!("{verb} {kind} {}", quoted(name))).await
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        Box::pin(async { Ok(status::node(&self.core, &status::sources(&self.core).await)) })
    }

    fn ready(&self) -> Result<(), Problem> {
        if self.core.is_closing() {
            return Err(Problem::new(Code::ShuttingDown, "the node is shutting down"));
        }
        match self.core.log_failure() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn log_silent_ms(&self) -> Option<u64> {
        self.core.log_silent_ms()
    }
}

/// Has a source read tables again.
async fn resnapshot(core: &Core, name: &str, tables: &[String]) -> Result<String, Problem> {
    let source = core.engine.catalog().source(name).map_err(of_project)?.clone();
    if source.paused {
        let detail = format!("source `{name}` is paused: resume it before its tables are read again");
        return Err(Problem::new(Code::WrongState, detail));
    }
    core.sources.resnapshot(name, tables).await?;
    Ok(format!("source `{name}` reads its rows again"))
}

fn impossible(target: Target<'_>, action: &Action) -> Problem {
    let (what, name) = match target {
        Target::Source(name) => ("source", name),
        Target::Projection(name) => ("projection", name),
    };
    let action = match action {
        Action::Pause => "paused",
        Action::Resume => "resumed",
        Action::Rebuild => "rebuilt",
        Action::Hold => "held",
        Action::Release => "released",
        Action::Resnapshot(_) => "copied again",
        Action::Drop => "dropped",
    };
    Problem::new(Code::WrongState, format!("{what} `{name}` cannot be {action}: a {what} cannot do that"))
}
