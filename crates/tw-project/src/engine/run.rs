//! Running queries.

use super::scope::{self, Moment, Scope};
use super::{Engine, Known, explain};
use crate::answers::{Collecting, Making, Question, collected};
use crate::catalog::Table;
use crate::dialect::{Dialect, plan_query, varies};
use crate::gather::fetch::being_changed;
use crate::query::point::PointRead;
use crate::query::{Answer, Bounds, bounded, client_schema, query_error};
use crate::sql::{self, Lowered, Param, Statement};
use crate::{Error, session};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::SessionState;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::sqlparser::ast::Query;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tw_types::{StreamDef, Timestamp, Token};

/// How often a query starts again because a view has another definition than it began with.
const CHANGES_MAX: usize = 5;

/// Longer statements are not remembered: they are made for one run.
const KNOWN_BYTES_MAX: usize = 16 << 10;

/// What belongs to a query beside its text.
#[derive(Debug, Clone)]
pub struct Request {
    /// The values of `$1`, `$2` and so on.
    pub params: Vec<Param>,
    /// The answer sees everything before this cut (PRJ-2).
    pub token: Option<Token>,
    /// How long it may take, in milliseconds, waiting for the token included; at most what the options say.
    pub timeout_ms: Option<u64>,
    /// How many rows it may have; at most what the options say.
    pub rows_max: Option<u64>,
    /// What `now()` is.
    pub now: Timestamp,
}

/// A statement that can be run.
struct Planned {
    physical: Arc<dyn ExecutionPlan>,
    state: SessionState,
}

impl Request {
    /// A query without parameters and demands, that is run at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { params: Vec::new(), token: None, timeout_ms: None, rows_max: None, now }
    }
}

impl Engine {
    /// Carries out the text of a query: as [`Engine::query`], but a text that was seen before is not parsed again, and one
    /// that reads by key is not planned.
    ///
    /// # Errors
    /// As [`Engine::query`]; [`Error::Syntax`].
    pub async fn run(&self, sql: &str, request: Request) -> Result<Answer, Error> {
        let known = self.known(sql)?;
        if let Some(point) = &known.point
            && let Some(part) = point.part(&request.params)
        {
            if let Some(answer) = self.read_point(point, &part, &request).await? {
                return Ok(answer);
            }
            // What was built beside the view has taken its place: the next run looks at the statement anew.
            self.0.known.lock().remove(sql);
        }
        self.carry_out(&known.statement, Some(sql).filter(|_| known.lasts), request).await
    }

    /// The streams that a query reads, each once; none of what is no query. Tables that do not exist are left out.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn streams(&self, sql: &str) -> Result<Vec<Arc<StreamDef>>, Error> {
        let known = self.known(sql)?;
        let (Statement::Query(query) | Statement::ExplainQuery(query)) = &known.statement else {
            return Ok(Vec::new());
        };
        Ok(scope::streams(&self.catalog(), query))
    }

    /// Carries out a query, or explains it. The rows are computed as they are taken; what is kept of answers is for those who give the
    /// text ([`Engine::run`]).
    ///
    /// # Errors
    /// Names, types and expressions that make no sense; a value that cannot be computed; a bound that is reached; a table
    /// that cannot be read. Errors that come up while rows are computed come in the answer.
    pub async fn query(&self, statement: &Statement, request: Request) -> Result<Answer, Error> {
        self.carry_out(statement, None, request).await
    }

    /// Carries out a query; answers to the text `sql` may be kept.
    async fn carry_out(
        &self,
        statement: &Statement,
        sql: Option<&str>,
        request: Request,
    ) -> Result<Answer, Error> {
        match statement {
            Statement::Query(query) => self.select(query, sql, request).await,
            Statement::ExplainQuery(query) => {
                let (point, _) = self.point(&Statement::Query(query.clone()));
                match point.filter(|point| point.part(&request.params).is_some()) {
                    Some(point) => Ok(explain::point(&point, self.point_gathers(&point, &request.params))),
                    None => self.explain(query, &request).await,
                }
            }
            _ => Err(Error::Refused("this statement is not a query".into())),
        }
    }

    async fn explain(&self, query: &Query, request: &Request) -> Result<Answer, Error> {
        let bounds = self.bounds(request);
        let Lowered { query, .. } = sql::lower(query.clone(), &request.params)?;
        let scope = Scope::open(self, &query, request.token.as_ref(), bounds.deadline).await?;
        let Planned { physical, .. } = self.plan(&scope, query, request, bounds).await?;
        Ok(explain::query(physical.as_ref(), self.gathers(&scope.views)))
    }

    async fn select(&self, query: &Query, sql: Option<&str>, request: Request) -> Result<Answer, Error> {
        let bounds = self.bounds(&request);
        let question = sql.and_then(|sql| self.0.answers.question(sql, &request.params));
        let Lowered { query, names } = sql::lower(query.clone(), &request.params)?;
        let (mut changed, mut looks) = (String::new(), true);
        for _ in 0..CHANGES_MAX {
            let scope = Scope::open(self, &query, request.token.as_ref(), bounds.deadline).await?;
            let known = question.as_ref().filter(|_| looks);
            let known = known.and_then(|question| self.0.answers.find(question, &scope.sources));
            let mut fixed = None;
            if let Some(known) = &known {
                scope.need(&known.needs);
                fixed = Some(scope.fix(self, request.token.as_ref(), bounds, sql).await?);
                if let Some(Some(moment)) = &fixed
                    && known.holds(moment.state.as_ref(), bounds.rows_max)
                {
                    self.0.answers.count_hit();
                    return Ok(known.give(moment.reflects.clone()));
                }
            }
            let since = Instant::now();
            let Planned { physical, state } = self.plan(&scope, query.clone(), &request, bounds).await?;
            let planned = since.elapsed();
            if known.is_some_and(|known| known.needs != scope.needs()) {
                // More is read than was fixed.
                looks = false;
                continue;
            }
            let fixed = match fixed {
                Some(fixed) => fixed,
                None => scope.fix(self, request.token.as_ref(), bounds, sql).await?,
            };
            let Some(moment) = fixed else {
                changed = scope.views.first().map(|view| view.table.clone()).unwrap_or_default();
                continue;
            };
            let schema = client_schema(&physical.schema(), names.as_deref());
            let stream =
                execute_stream(physical, state.task_ctx()).map_err(|error| query_error(error, bounds))?;
            let batches = bounded(stream, schema.clone(), bounds);
            let reflects = moment.reflects.clone();
            let collecting = question.and_then(|question| {
                self.0.answers.count_miss();
                self.collecting(question, &scope, moment, schema.clone(), planned)
            });
            return Ok(Answer { schema, batches: collected(batches, collecting), reflects });
        }
        Err(being_changed(&changed))
    }

    /// Plans a statement; its views know then which partitions are read.
    async fn plan(
        &self,
        scope: &Scope,
        query: Query,
        request: &Request,
        bounds: Bounds,
    ) -> Result<Planned, Error> {
        let dialect = Dialect { now_us: Some(request.now.nanos().div_euclid(1_000)) };
        let state = session::state(dialect, Some(self.runtime()?), self.options().query_threads_max);
        let plan = plan_query(dialect, scope, &state, query)?;
        let physical = state.create_physical_plan(&plan).await.map_err(|error| query_error(error, bounds))?;
        Ok(Planned { physical, state })
    }

    /// How an answer is collected that is to be kept; None if it is not.
    fn collecting(
        &self,
        question: Question,
        scope: &Scope,
        moment: Moment,
        schema: SchemaRef,
        work: Duration,
    ) -> Option<Collecting> {
        let work_ms_min = if moment.is_remote { 0 } else { self.options().answers_ms_min };
        let work_min = Duration::from_millis(work_ms_min);
        let (log, streams) = (self.0.log.clone(), scope.streams().cloned().collect::<Vec<_>>());
        let making = Making {
            sources: scope.sources.clone(),
            needs: scope.needs(),
            state: moment.state?,
            schema,
            work,
            work_min,
            is_there: Box::new(move |state| state.is_there(log.as_ref(), &streams)),
        };
        Collecting::new(&self.0.answers, question, making)
    }

    pub(super) fn bounds(&self, request: &Request) -> Bounds {
        let options = self.options();
        let timeout_ms = request.timeout_ms.unwrap_or(options.query_ms_max).min(options.query_ms_max);
        Bounds {
            deadline: Instant::now() + Duration::from_millis(timeout_ms),
            timeout_ms,
            rows_max: request.rows_max.unwrap_or(options.query_rows_max).min(options.query_rows_max),
            memory_bytes_max: options.query_memory_bytes_max,
        }
    }

    /// A statement that was seen before, or is seen now.
    fn known(&self, sql: &str) -> Result<Arc<Known>, Error> {
        let epoch = self.0.epoch.load(Ordering::Acquire);
        if let Some(known) = self.0.known.lock().get(sql).filter(|known| known.epoch == epoch) {
            return Ok(known.clone());
        }
        let statement = sql::parse(sql)?;
        let (point, could_be_read) = self.point(&statement);
        let lasts = matches!(&statement, Statement::Query(query) if !varies(query));
        let known = Arc::new(Known { statement, epoch, point, lasts });
        // A view that cannot be read yet would never be read by its key.
        let remember = could_be_read && sql.len() <= KNOWN_BYTES_MAX;
        if remember && self.options().plans_max > 0 {
            let mut all = self.0.known.lock();
            if all.len() >= self.options().plans_max {
                all.clear();
            }
            all.insert(sql.to_owned(), known.clone());
        }
        Ok(known)
    }

    /// What a statement reads by key, if it does; and whether the view could be read, without which that is not known.
    fn point(&self, statement: &Statement) -> (Option<PointRead>, bool) {
        let mut could_be_read = true;
        let catalog = self.catalog();
        let point = PointRead::recognise(statement, &catalog, |table| {
            let name = scope::view_name(table).filter(|_| !matches!(table, Table::Next(_)))?;
            let view = scope::stream_of(&catalog, table).and_then(|stream| self.find_view(&name, stream));
            could_be_read = view.is_ok();
            Some(view.ok()?.plan().clone())
        });
        (point, could_be_read)
    }
}
