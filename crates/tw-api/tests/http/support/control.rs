//! Definitions in the log, and sources and projections that have a state and nothing to do.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_api::parts::{Action, Control, Extent, Projection, Source, Status, Target};
use tw_api::{Code, Problem};
use tw_log::{Log, NewStream};
use tw_types::{EventRef, StreamDef, StreamName};

pub(crate) struct Registry {
    log: Arc<dyn Log>,
    pub(crate) sources: Mutex<BTreeMap<String, Source>>,
    pub(crate) projections: Mutex<BTreeMap<String, Projection>>,
    /// What the node waits for.
    pub(crate) waits_for: Mutex<Option<String>>,
}

impl Registry {
    pub(crate) fn new(log: Arc<dyn Log>) -> Self {
        Self { log, sources: Mutex::default(), projections: Mutex::default(), waits_for: Mutex::default() }
    }

    pub(crate) fn add_source(&self, name: &str) {
        let source = Source {
            name: name.into(),
            kind: "postgres".into(),
            state: "streaming".into(),
            ..Source::default()
        };
        self.sources.lock().insert(name.into(), source);
    }

    /// Adds a projection that reads the stream `over`.
    pub(crate) fn add_projection(&self, name: &str, over: &str) {
        let sql = format!("SELECT count(*) FROM {over}");
        let projection =
            Projection { name: name.into(), sql, state: "running".into(), ..Projection::default() };
        self.projections.lock().insert(name.into(), projection);
    }
}

impl Control for Registry {
    fn admit(&self, stream: &StreamDef, event: &EventRef<'_>) -> Result<(), Problem> {
        let Some(schema) = &stream.schema else { return Ok(()) };
        let data: serde_json::Value = serde_json::from_slice(event.data.bytes()).unwrap_or_default();
        let missing = schema.columns.iter().find(|column| !column.nullable && data[&column.name].is_null());
        missing.map_or(Ok(()), |column| {
            Err(Problem::new(
                Code::EventRefused,
                format!("column `{}` may not be null: give it a value", column.name),
            ))
        })
    }

    fn create_stream(&self, stream: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        Box::pin(async move { Ok(self.log.create_stream(stream).await?) })
    }

    fn alter_stream(&self, changed: NewStream) -> BoxFuture<'_, Result<Arc<StreamDef>, Problem>> {
        Box::pin(async move { Ok(self.log.alter_stream(changed).await?) })
    }

    fn drop_stream<'a>(&'a self, name: &'a StreamName) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let reader = self.projections.lock().values().find(|p| p.sql.ends_with(name.as_str())).cloned();
            if let Some(reader) = reader {
                let detail = format!("projection `{}` reads `{name}`: drop it first", reader.name);
                return Err(Problem::new(Code::InUse, detail));
            }
            Ok(self.log.drop_stream(name).await?)
        })
    }

    fn source<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Source, Problem>> {
        let missing = move || Problem::new(Code::NoSource, format!("there is no source `{name}`"));
        Box::pin(async move { self.sources.lock().get(name).cloned().ok_or_else(missing) })
    }

    fn sources(&self) -> BoxFuture<'_, Result<Vec<Source>, Problem>> {
        Box::pin(async { Ok(self.sources.lock().values().cloned().collect()) })
    }

    fn projections(&self, _: Extent) -> BoxFuture<'_, Result<Vec<Projection>, Problem>> {
        Box::pin(async { Ok(self.projections.lock().values().cloned().collect()) })
    }

    fn act<'a>(&'a self, target: Target<'a>, action: Action) -> BoxFuture<'a, Result<String, Problem>> {
        Box::pin(async move {
            let (mut sources, mut projections) = (self.sources.lock(), self.projections.lock());
            let (state, working) = match target {
                Target::Source(name) => {
                    let missing = || Problem::new(Code::NoSource, format!("there is no source `{name}`"));
                    let source = sources.get_mut(name).ok_or_else(missing)?;
                    if action == Action::Drop {
                        sources.remove(name);
                        return Ok(format!("source `{name}` dropped, but its slot is still there"));
                    }
                    (&mut source.state, "streaming")
                }
                Target::Projection(name) => {
                    let missing =
                        || Problem::new(Code::NoProjection, format!("there is no projection `{name}`"));
                    let projection = projections.get_mut(name).ok_or_else(missing)?;
                    if action == Action::Drop {
                        projections.remove(name);
                        return Ok(format!("projection `{name}` dropped"));
                    }
                    (&mut projection.state, "running")
                }
            };
            *state = match (action, state.as_str()) {
                (Action::Pause, now) if now == working => "paused".into(),
                (Action::Resume, "paused") => working.into(),
                (Action::Rebuild, _) => "building".into(),
                (Action::Resnapshot(tables), _) => format!("snapshotting {}", tables.join(" ")),
                (action, now) => {
                    let detail = format!("it is {now}: {action:?} is not possible");
                    return Err(Problem::new(Code::WrongState, detail));
                }
            };
            Ok(state.clone())
        })
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        Box::pin(async {
            let (sources, projections) =
                (self.sources.lock().len() as u64, self.projections.lock().len() as u64);
            let streams = self.log.streams().iter().count() as u64;
            Ok(Status { state: "ready".into(), streams, sources, projections, ..Status::default() })
        })
    }

    fn ready(&self) -> Result<(), Problem> {
        match &*self.waits_for.lock() {
            None => Ok(()),
            Some(what) => Err(Problem::new(Code::NotReady, format!("the node waits for {what}"))),
        }
    }
}
