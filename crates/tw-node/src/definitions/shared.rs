//! What is defined in all regions: said in `$definitions` before it is done, and done by every region that hears of it.
//!
//! Whoever defines something says it, and then does what was said like any other region; so it makes no difference where it was said, nor when a
//! process ends. What cannot be done here, because something else has the name, is a dispute: it is shown, and tried again.

use super::{Definitions, State};
use crate::claims;
use crate::parts::problem;
use std::collections::BTreeMap;
use std::sync::Arc;
use tw_api::{Code, Problem};
use tw_log::{NewStream, Signal};
use tw_project::{Action, Catalog, Change, Kind, ProjectionDef, Statement};
use tw_region::definitions::{DEFINITIONS_STREAM, Definition, Step};
use tw_types::{PartitionId, StreamDef, StreamMode, StreamName, StreamOptions, StreamPartition, chain};

impl Definitions {
    /// What is not as all regions have it, with the reason, by its name.
    pub(crate) fn disputes(&self) -> BTreeMap<String, String> {
        self.disputes.read().clone()
    }

    /// Rises with what is said in any region; never, where there is only this one.
    pub(crate) fn said(&self) -> Arc<Signal> {
        let at = self
            .log
            .streams()
            .get(DEFINITIONS_STREAM)
            .map(|def| StreamPartition::new(def.id, PartitionId(0)));
        at.and_then(|at| self.log.end_signal(at)).unwrap_or_default()
    }

    /// Does what was said and is not done here, and says what is here and was not said. Whether anything was done: then there may be more.
    pub(super) async fn share(&self, state: &mut State) -> bool {
        if !self.is_region() {
            return false;
        }
        if let Err(error) = state.agreed.follow(&self.events).await {
            tracing::error!(
                error = chain(&error),
                "what all regions have defined cannot be followed; it is tried again"
            );
            return false;
        }
        let mut disputes = BTreeMap::new();
        // A stream that a projection reads is not dropped, and a projection reads a stream that is there.
        let has_done = self.drop_projections(state, &mut disputes).await
            || self.do_steps(state, &mut disputes).await
            || self.make_projections(state, &mut disputes).await;
        if !has_done {
            let before = std::mem::replace(&mut *self.disputes.write(), disputes.clone());
            for (name, why) in disputes.iter().filter(|(name, why)| before.get(*name) != Some(why)) {
                tracing::warn!(name, why, "what all regions have is not so here");
            }
            self.tell_untold(state).await;
        }
        has_done
    }

    /// Makes the streams in which unique values are claimed, and removes those of streams that are gone. Whether there was anything to be done.
    pub(super) async fn keep_claims(&self) -> bool {
        let mut has_done = false;
        for step in claims::steps(&self.log.streams()) {
            let done = match &step {
                claims::Step::Create(new) => self.log.create_stream(new.clone()).await.map(drop),
                claims::Step::Drop(name) => self.log.drop_stream(name).await.map(drop),
            };
            match done {
                Ok(()) => has_done = true,
                Err(error) => tracing::warn!(
                    error = chain(&error),
                    ?step,
                    "where unique values are claimed cannot be defined now; it is tried again"
                ),
            }
        }
        has_done
    }

    async fn drop_projections(&self, state: &State, disputes: &mut BTreeMap<String, String>) -> bool {
        let dropped = state
            .agreed
            .projections()
            .filter(|(name, _, query)| query.is_none() && is_of_shared(&state.catalog, name));
        let mut has_done = false;
        for (name, by, _) in dropped {
            let statement =
                Statement::Drop { kind: Kind::Projection, name: name.to_owned(), if_exists: true };
            has_done |= self.follow_statement(state, name, by.0, &statement, disputes).await;
        }
        has_done
    }

    async fn make_projections(&self, state: &State, disputes: &mut BTreeMap<String, String>) -> bool {
        let mut has_done = false;
        for (name, by, query) in state.agreed.projections() {
            let Some(query) = query else { continue };
            let known = state.catalog.projection(name).ok();
            if known.is_some_and(|known| known.def.query == query) {
                continue;
            }
            if known.is_some() && !is_of_shared(&state.catalog, name) {
                let why = format!(
                    "region {by} has defined the projection `{name}`, and here is one of this name of a stream of this region alone: drop that"
                );
                disputes.insert(name.to_owned(), why);
                continue;
            }
            let statement = Statement::CreateProjection {
                name: name.to_owned(),
                if_not_exists: false,
                or_replace: true,
                options: BTreeMap::new(),
                query: query.to_owned(),
            };
            has_done |= self.follow_statement(state, name, by.0, &statement, disputes).await;
        }
        has_done
    }

    /// Does what a statement demands that was carried out in another region, or in this one. Whether it was done.
    async fn follow_statement(
        &self,
        state: &State,
        name: &str,
        by: u16,
        statement: &Statement,
        disputes: &mut BTreeMap<String, String>,
    ) -> bool {
        let done = match self.engine.decide(statement) {
            Ok(Action::Change { change, done, .. }) => self.change(state, change, None, done).await,
            Ok(_) => return false,
            Err(error) => Err(problem::of_project(error)),
        };
        match done {
            Ok(done) => {
                tracing::info!(region = by, done, "what a region has defined is done here");
                true
            }
            Err(problem) => {
                let why = format!(
                    "what region {by} has defined as projection `{name}` cannot be so here: {}",
                    problem.detail()
                );
                disputes.insert(name.to_owned(), why);
                false
            }
        }
    }

    /// Makes streams what all regions have them be. Whether there was anything to be done.
    async fn do_steps(&self, state: &State, disputes: &mut BTreeMap<String, String>) -> bool {
        let mut has_done = false;
        for step in state.agreed.steps(&self.log.streams()) {
            let (name, done) = match step {
                Step::Create(new) => (new.name.clone(), self.create_here(state, new).await),
                Step::Alter(changed) => {
                    (changed.name.clone(), self.log.alter_stream(changed).await.map(drop).map_err(Into::into))
                }
                Step::Drop(name) => (name.clone(), self.drop_here(state, &name).await),
                Step::Differs { name, why } => (name, Err(Problem::new(Code::WrongState, why))),
            };
            match done {
                Ok(()) => has_done = true,
                Err(problem) => {
                    disputes.insert(name.to_string(), problem.detail().to_owned());
                }
            }
        }
        has_done
    }

    async fn create_here(&self, state: &State, new: NewStream) -> Result<(), Problem> {
        state.catalog.check_new_stream(&new).map_err(problem::of_definition)?;
        self.log.create_stream(new).await?;
        Ok(())
    }

    async fn drop_here(&self, state: &State, name: &StreamName) -> Result<(), Problem> {
        let id = self.log.streams().get(name.as_str())?.id;
        state.catalog.check_unused(id, name.as_str()).map_err(problem::of_project)?;
        self.log.drop_stream(name).await?;
        Ok(())
    }

    /// Says what this region has and nobody was told, such as what was defined before there were regions.
    async fn tell_untold(&self, state: &State) {
        let mut untold = state.agreed.untold(&self.log.streams());
        let projections = state.catalog.projections().map(|known| &known.def);
        let projections = projections.filter(|def| !state.agreed.knows_projection(&def.name));
        untold.extend(
            projections.filter(|def| is_of_shared(&state.catalog, &def.name)).map(|def| of_projection(def)),
        );
        for definition in untold {
            // Also while a region takes nothing because it is restored; it is said later.
            if let Err(problem) = self.tell(&definition).await {
                tracing::debug!(
                    reason = problem.detail(),
                    "a definition cannot be told to other regions yet"
                );
                return;
            }
        }
    }

    /// Says it in all regions.
    pub(super) async fn tell(&self, definition: &Definition) -> Result<(), Problem> {
        let streams = self.log.streams();
        let mut write = self.events.write();
        write.push(streams.get(DEFINITIONS_STREAM)?, &definition.event(self.event_id()).as_ref())?;
        self.events.append(write).await?;
        Ok(())
    }

    /// Whether this installation is one of several regions.
    fn is_region(&self) -> bool {
        self.log.streams().get(DEFINITIONS_STREAM).is_ok()
    }

    fn is_shared(&self, options: &StreamOptions) -> bool {
        self.is_region() && options.mode != StreamMode::Local
    }

    /// Defines a stream: here, or in all regions, where it is so once this has caught up.
    pub(super) async fn create(&self, state: &State, mut new: NewStream) -> Result<(), Problem> {
        if !self.is_shared(&new.options) {
            new.options.replaces = None;
            self.log.create_stream(new).await?;
            return Ok(());
        }
        new.options.replaces = state.agreed.replaces(new.name.as_str());
        // What the log would not take is not said.
        self.log.streams().create(new.clone())?;
        self.tell(&Definition::StreamCreated(new)).await
    }

    /// The same for a stream that is there.
    pub(super) async fn alter(&self, state: &State, mut changed: NewStream) -> Result<(), Problem> {
        let (streams, name) = (self.log.streams(), changed.name.clone());
        let before = &streams.get(name.as_str())?.options;
        match (self.is_shared(before), self.is_shared(&changed.options)) {
            (true, true) => {
                changed.options.replaces = before.replaces;
                streams.alter(changed.clone())?;
                self.agreed_on(state, &name)?;
                self.tell(&Definition::StreamAltered(changed)).await
            }
            (true, false) => Err(Problem::new(
                Code::InvalidDefinition,
                format!(
                    "`{name}` is in all regions, and cannot become a stream of this one alone: create another stream"
                ),
            )),
            (false, is_shared) => {
                changed.options.replaces =
                    if is_shared { state.agreed.replaces(name.as_str()) } else { None };
                // That it is in all regions from now on is said when that is so here.
                self.log.alter_stream(changed).await?;
                Ok(())
            }
        }
    }

    /// Removes a stream: here, or in all regions. One that is not the stream that other regions have is removed here.
    pub(super) async fn remove(&self, state: &State, name: &StreamName) -> Result<(), Problem> {
        let options = self.log.streams().get(name.as_str())?.options.clone();
        if self.is_shared(&options) && self.agreed_on(state, name).is_ok() {
            return self
                .tell(&Definition::StreamDropped { name: name.clone(), replaces: options.replaces })
                .await;
        }
        self.log.drop_stream(name).await?;
        Ok(())
    }

    /// Whether a stream is what all regions have.
    fn agreed_on(&self, state: &State, name: &StreamName) -> Result<(), Problem> {
        let steps = state.agreed.steps(&self.log.streams());
        let why = steps.into_iter().find_map(|step| match step {
            Step::Differs { name: other, why } if other == *name => Some(why),
            _ => None,
        });
        why.map_or(Ok(()), |why| Err(Problem::new(Code::WrongState, why)))
    }

    /// What is to be said of a change of a projection, if all regions have it.
    pub(super) fn of_all_regions(&self, state: &State, change: &Change) -> Option<Definition> {
        let is_shared = |id| {
            let streams = self.log.streams();
            streams.by_id(id).is_ok_and(|def| self.is_shared(&def.options))
        };
        match change {
            Change::ProjectionCreated(def) if is_shared(def.stream) => Some(of_projection(def)),
            Change::ProjectionAltered(def) if is_shared(def.stream) => {
                let known = state.catalog.projection(&def.name).ok()?;
                // To build it anew is the business of one region.
                let is_other = known.def.query != def.query && is_of_shared(&state.catalog, &def.name);
                is_other.then(|| of_projection(def))
            }
            Change::ProjectionDropped(name) => {
                let known = state.catalog.projection(name).ok()?;
                is_shared(known.def.stream).then(|| Definition::ProjectionDropped { name: name.clone() })
            }
            _ => None,
        }
    }

    /// Whether what was said was done here, too.
    pub(super) fn undisputed(&self, statement: &Statement) -> Result<(), Problem> {
        let (Statement::CreateStream { name, .. }
        | Statement::CreateProjection { name, .. }
        | Statement::SetOptions { name, .. }
        | Statement::AddColumn { name, .. }
        | Statement::Drop { name, .. }) = statement
        else {
            return Ok(());
        };
        self.undisputed_name(name)
    }

    fn undisputed_name(&self, name: &str) -> Result<(), Problem> {
        let why = self.disputes.read().get(name).cloned();
        why.map_or(Ok(()), |why| Err(Problem::new(Code::WrongState, why)))
    }

    /// A stream that was just defined.
    pub(super) fn now(&self, name: &StreamName) -> Result<Arc<StreamDef>, Problem> {
        self.undisputed_name(name.as_str())?;
        Ok(self.log.streams().get(name.as_str())?.clone())
    }
}

/// What is to be said of a projection.
fn of_projection(def: &ProjectionDef) -> Definition {
    Definition::Projection { name: def.name.clone(), query: def.query.clone() }
}

/// Whether a projection is there, of a stream that is in all regions.
fn is_of_shared(catalog: &Catalog, name: &str) -> bool {
    let stream = catalog.projection(name).map(|known| known.def.stream);
    stream.is_ok_and(|id| catalog.streams().by_id(id).is_ok_and(|def| def.options.mode != StreamMode::Local))
}
