//! The endpoints: each translates a request into calls of the parts, and their outcome into an answer.

mod admin;
mod append;
mod claims;
mod cluster;
pub(crate) mod compare;
mod definitions;
mod events;
mod groups;
mod history;
mod homes;
mod live;
mod locks;
mod metrics;
mod parked;
mod regions;
mod rights;
mod routing;
mod settings;
mod sql;
mod streams;
mod system;
mod traces;

pub(crate) use admin::ResnapshotRequest;
pub(crate) use append::{AppendResult, AppendedSummary};
pub(crate) use definitions::{NewStreamRequest, StreamBody, StreamPatch};
pub(crate) use events::{FORMATS, Format as EventFormat, Page};
pub(crate) use history::HistoryPage;
pub(crate) use live::Hub;
pub(crate) use locks::{LockRequest, MoreLocksRequest};
pub(crate) use parked::{ParkedDecided, ParkedDecision};
pub(crate) use regions::{USER, part as regions, user};
pub(crate) use settings::{RollbackRequest, SettingRequest};
pub(crate) use sql::SqlRequest;

use crate::body::Body;
use crate::parts::{Action, DrainUsersRequest, RollBackRequest, ShiftRequest, Target, WeighRequest};
use crate::route::Route;
use crate::service::Call;
use crate::{Code, Problem};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// The outcome of an endpoint.
pub(crate) type Outcome = Result<Response<Body>, Problem>;

/// Calls the endpoint of a request.
pub(crate) async fn dispatch(call: &Call, body: Incoming) -> Outcome {
    match call.route {
        // The most frequent one is not boxed; the others are, so that its future stays small.
        Route::AppendEvents => append::append(call, body, None).await,
        _ => Box::pin(dispatch_other(call, body)).await,
    }
}

async fn dispatch_other(call: &Call, body: Incoming) -> Outcome {
    let source = || call.capture(0);
    match call.route {
        Route::AppendEvents => append::append(call, body, None).await,
        Route::AppendSubject => append::append(call, body, Some(&call.capture(1)?)).await,
        Route::ReadEvents => events::read(call).await,
        Route::ReadSubject => history::read(call).await,
        Route::ShowRights => rights::view(call).await,
        Route::GiveRights => rights::give(call, body).await,
        Route::ShowClaim => claims::view(call).await,
        Route::Claim => claims::claim(call, body).await,
        Route::SettleClaims => claims::settled(call, body).await,
        Route::Sql => sql::execute(call, body).await,
        Route::ListStreams => streams::list(call),
        Route::GetStream => streams::get(call).await,
        Route::PutStream => definitions::put(call, body).await,
        Route::PatchStream => definitions::patch(call, body).await,
        Route::DeleteStream => definitions::delete(call).await,
        Route::ListSources => admin::sources(call).await,
        Route::GetSource => admin::source(call).await,
        Route::DeleteSource => admin::drop_source(call).await,
        Route::PauseSource => admin::act(call, Target::Source(&source()?), Action::Pause).await,
        Route::ResumeSource => admin::act(call, Target::Source(&source()?), Action::Resume).await,
        Route::ResnapshotSource => admin::resnapshot(call, body).await,
        Route::ListProjections => admin::projections(call).await,
        Route::GetProjection => admin::projection(call).await,
        Route::DeleteProjection => admin::act(call, Target::Projection(&source()?), Action::Drop).await,
        Route::PauseProjection => admin::act(call, Target::Projection(&source()?), Action::Pause).await,
        Route::ResumeProjection => admin::act(call, Target::Projection(&source()?), Action::Resume).await,
        Route::RebuildProjection => admin::act(call, Target::Projection(&source()?), Action::Rebuild).await,
        Route::HoldProjection => admin::act(call, Target::Projection(&source()?), Action::Hold).await,
        Route::ReleaseProjection => admin::act(call, Target::Projection(&source()?), Action::Release).await,
        Route::CompareProjection => compare::compare(call).await,
        Route::ListParked => admin::parked(call).await,
        Route::RetryAllParked => parked::all(call, body, parked::Decision::Retry).await,
        Route::DropAllParked => parked::all(call, body, parked::Decision::Drop).await,
        Route::GetParked => admin::parked_one(call).await,
        Route::RetryParked => admin::parked_retry(call).await,
        Route::DropParked => admin::parked_drop(call).await,
        Route::ListGroups => groups::list(call).await,
        Route::GetGroup => groups::show(call).await,
        Route::ResetGroup => groups::reset(call, body).await,
        Route::Status => system::status(call).await,
        Route::OpenApi => Ok(system::openapi()),
        Route::Health => Ok(system::health(call)),
        Route::Ready => system::ready(call),
        Route::Metrics => Ok(system::metrics(call)),
        Route::Errors => Ok(system::errors()),
        _ => Box::pin(dispatch_control(call, body)).await,
    }
}

/// What nodes and regions agree on: the cluster, regions, locks and options.
async fn dispatch_control(call: &Call, body: Incoming) -> Outcome {
    match call.route {
        Route::ShowCluster => cluster::view(call).await,
        Route::ShowPlan => cluster::plan(call).await,
        Route::ShowRebalance => cluster::rebalance(call, false).await,
        Route::Rebalance => cluster::rebalance(call, true).await,
        Route::DrainNode => cluster::drain(call, true).await,
        Route::ActivateNode => cluster::drain(call, false).await,
        Route::ReadPeer => cluster::read(call, body).await,
        Route::ShowRegions => regions::view(call).await,
        Route::ChooseRegion => regions::route(call).await,
        Route::ReportMeasured => regions::measured(call, body).await,
        Route::ShowRouting => routing::view(call).await,
        Route::ShiftUsers => routing::change::<ShiftRequest>(call, body).await,
        Route::DrainUsers => routing::change::<DrainUsersRequest>(call, body).await,
        Route::WeighRegion => routing::change::<WeighRequest>(call, body).await,
        Route::RollBackRouting => routing::change::<RollBackRequest>(call, body).await,
        Route::TellLoad => routing::load(call),
        Route::RetryRegion => regions::retry(call).await,
        Route::ListHomes => homes::list(call).await,
        Route::MoveHomes => homes::give_away(call, body).await,
        Route::Failover => homes::failover(call, body).await,
        Route::EvictRegion => regions::evict(call, body).await,
        Route::DrainRegion => regions::drain(call, body).await,
        Route::GoOnRestoring => regions::go_on(call, body).await,
        Route::RegionHashes => regions::hashes(call).await,
        Route::ListLocks => locks::list(call).await,
        Route::GetLock => locks::show(call).await,
        Route::OpenLockSession => locks::open(call, body).await,
        Route::TakeLocks => locks::take(call, body).await,
        Route::RenewLockSession => locks::renew(call).await,
        Route::CloseLockSession => locks::close(call).await,
        Route::ReleaseLock => locks::release(call).await,
        Route::ListSettings => settings::list(call).await,
        Route::GetSetting => settings::show(call).await,
        Route::PutSetting => settings::set(call, body).await,
        Route::DeleteSetting => settings::unset(call).await,
        Route::SettingHistory => settings::history(call).await,
        Route::RollbackSetting => settings::rollback(call, body).await,
        Route::LiveTopics => live::answer(call).await,
        Route::MeasuredSeries => metrics::read(call),
        Route::GetTrace => traces::show(call).await,
        // Whoever calls this has taken all others.
        _ => Err(Problem::new(Code::NoRoute, "nothing is served here")),
    }
}

/// An answer of some bytes.
pub(crate) fn answer(media_type: HeaderValue, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(bytes.into()));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// An answer of one JSON value.
pub(crate) fn json(value: &impl Serialize) -> Outcome {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Problem::new(Code::Internal, format!("the answer has no JSON form: {error}")))?;
    Ok(answer(JSON, bytes))
}

/// The body of a request as one JSON value; an empty body is `{}`.
pub(crate) async fn read_json<T: DeserializeOwned>(call: &Call, body: Incoming) -> Result<T, Problem> {
    read_json_of(&call.body(body).await?)
}

/// What the JSON of a body says, without a body what an empty object does.
fn read_json_of<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(Code::InvalidBody, format!("the body is not what is expected: {error}"))
    })
}

/// Whether the content type says JSON, or nothing.
pub(crate) fn expect_json(call: &Call) -> Result<(), Problem> {
    let content_type = crate::headers::content_type(&call.headers)?;
    let merge_patch = content_type.eq_ignore_ascii_case("application/merge-patch+json");
    // curl says this when it is told nothing.
    let unspecified = content_type.is_empty() || content_type == "application/x-www-form-urlencoded";
    if unspecified || merge_patch || tw_wire::cloudevents::is_json(content_type) {
        return Ok(());
    }
    let detail = format!("the content type is `{content_type}`: send application/json");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// An answer without content.
pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response
}
