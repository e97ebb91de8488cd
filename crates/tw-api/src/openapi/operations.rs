//! What each route does, takes and answers.

mod cluster;
mod groups;
mod locks;
mod numbers;
mod regions;
mod settings;
mod traces;

use super::doc::Doc;
use super::schemas::{CloudEvent, Message, ParkedList, ProjectionList, ResultRows, SourceList, StreamList};
use crate::Code;
use crate::endpoints::compare::ComparisonView;
use crate::endpoints::{
    AppendResult, AppendedSummary, HistoryPage, NewStreamRequest, Page, ParkedDecided, ParkedDecision,
    ResnapshotRequest, SqlRequest, StreamBody, StreamPatch,
};
use crate::parts::{
    ClaimQuery, ClaimRequest, ClaimView, Claimed, GiveRights, GivenRights, ParkedEvent, Projection,
    RightsView, Settled, Source, Status,
};
use crate::route::Route;
use serde_json::{Value, json};
use tw_wire::cloudevents::{BATCH, EVENT, LINES};

pub(super) const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// Whether it is refused when more of it comes than is worked on in time.
fn is_admitted(route: Route) -> bool {
    matches!(
        route,
        Route::AppendEvents | Route::AppendSubject | Route::ReadEvents | Route::ReadSubject | Route::Sql
    )
}

/// Describes a route.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = if is_admitted(route) { counted(doc) } else { doc };
    match route {
        Route::AppendEvents => append(stream(doc).about("events", "Append events")),
        Route::AppendSubject => append_subject(doc),
        Route::ReadEvents => read_events(doc),
        Route::ReadSubject => read_subject(doc),
        Route::ShowRights | Route::GiveRights => rights(route, doc),
        Route::ShowClaim | Route::Claim | Route::SettleClaims => claims(route, doc),
        Route::Sql => sql(doc),
        Route::ListStreams
        | Route::GetStream
        | Route::PutStream
        | Route::PatchStream
        | Route::DeleteStream => definitions(route, doc),
        Route::ListSources
        | Route::GetSource
        | Route::DeleteSource
        | Route::PauseSource
        | Route::ResumeSource
        | Route::ResnapshotSource => sources(route, doc),
        Route::ListProjections
        | Route::GetProjection
        | Route::DeleteProjection
        | Route::PauseProjection
        | Route::ResumeProjection
        | Route::RebuildProjection
        | Route::HoldProjection
        | Route::ReleaseProjection
        | Route::CompareProjection => projections(route, doc),
        Route::RetryAllParked | Route::DropAllParked => parked_all(route, doc),
        Route::ListParked | Route::GetParked | Route::RetryParked | Route::DropParked => parked(route, doc),
        _ => control(route, doc),
    }
}

/// The same for what nodes and regions agree on, and for the node itself.
fn control(route: Route, doc: Doc<'_>) -> Doc<'_> {
    match route {
        Route::ShowCluster
        | Route::ShowPlan
        | Route::ShowRebalance
        | Route::Rebalance
        | Route::DrainNode
        | Route::ActivateNode
        | Route::ReadPeer => cluster::describe(route, doc),
        Route::ShowRegions
        | Route::RetryRegion
        | Route::ListHomes
        | Route::MoveHomes
        | Route::Failover
        | Route::EvictRegion
        | Route::DrainRegion
        | Route::GoOnRestoring
        | Route::ChooseRegion
        | Route::ReportMeasured
        | Route::ShowRouting
        | Route::ShiftUsers
        | Route::DrainUsers
        | Route::WeighRegion
        | Route::RollBackRouting
        | Route::TellLoad
        | Route::RegionHashes => regions::describe(route, doc),
        Route::GetTrace => traces::describe(doc),
        Route::ListGroups | Route::GetGroup | Route::ResetGroup => groups::describe(route, doc),
        Route::ListLocks
        | Route::GetLock
        | Route::OpenLockSession
        | Route::TakeLocks
        | Route::RenewLockSession
        | Route::CloseLockSession
        | Route::ReleaseLock => locks::describe(route, doc),
        Route::ListSettings
        | Route::GetSetting
        | Route::PutSetting
        | Route::DeleteSetting
        | Route::SettingHistory
        | Route::RollbackSetting => settings::describe(route, doc),
        Route::LiveTopics => numbers::live(doc),
        Route::MeasuredSeries => numbers::describe(doc),
        _ => system(route, doc),
    }
}

/// What is refused when more of it comes than is worked on in time.
fn counted(doc: Doc<'_>) -> Doc<'_> {
    doc.header("Priority", "How urgent it is, from `u=0` to `u=7` (RFC 9218), where 3 is the default and 7 is what nobody waits for: under overload, the less urgent is refused first.", "u=7")
        .problems(&[Code::OverCapacity])
}

fn stream(doc: Doc<'_>) -> Doc<'_> {
    doc.path("stream", "The stream's name, percent-encoded.", "orders").problems(&[Code::NoStream])
}

fn token(doc: Doc<'_>) -> Doc<'_> {
    doc.header("Tradewind-Token", "The answer must see everything before this cut.", "tw1;7=0:121")
        .problems(&[Code::Timeout, Code::OtherRegion, Code::RegionBehind])
}

fn timeout(doc: Doc<'_>) -> Doc<'_> {
    doc.query("timeout_ms", "How long to wait for the token at most, in milliseconds.", 5_000)
}

fn event(id: &str) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "order.placed", "subject": "order-7",
        "data": {"customer": 7, "total": 129.95}
    })
}

fn append(doc: Doc<'_>) -> Doc<'_> {
    let lines = format!("{}\n{}\n", event("e-3"), event("e-4"));
    doc.details(
        "All events are stored, or none. The answer comes when they are on stable storage. Besides the bodies below, an \
         event can come in the binary mode of CloudEvents: attributes as headers (`ce-specversion`, `ce-id`, `ce-source`, \
         `ce-type`, …), the data as the body, its media type as content type. An event without the attribute \
         `traceparent` gets the one of the request.",
    )
    .header("Idempotency-Key", "A request with the same key and the same events stores nothing, and is told where the events of the first are.", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
    .header("Prefer", "`return=minimal` answers with count and token alone.", "return=minimal")
    .query("dedup", "Whether an event that its subject has already, by its id, is not stored again. Default true.", true)
    .body::<CloudEvent>(EVENT, event("e-1"))
    .body::<Vec<CloudEvent>>(BATCH, json!([event("e-2")]))
    .text_body(LINES, &lines)
    .answer::<AppendResult>(200, JSON, "The events are stored. With `Prefer: return=minimal`: see AppendedSummary.")
    .answer::<AppendedSummary>(200, "application/json; return=minimal", "")
    .answer_header(200, "Tradewind-Token", "The cut after the events.")
    .problems(&[
        Code::InvalidEvent,
        Code::InvalidBody,
        Code::InvalidParameter,
        Code::ReadOnlyStream,
        Code::BodyTimeout,
        Code::BodyTooLarge,
        Code::EventTooLarge,
        Code::TooManyEvents,
        Code::UnsupportedMediaType,
        Code::EventRefused,
        Code::IdempotencyKeyReused,
        Code::Busy,
        Code::LogStopped,
        Code::ShuttingDown,
        Code::OutcomeUnknown,
        Code::NoOwner,
        Code::DiskFull,
        Code::Internal,
    ])
}

fn append_subject(doc: Doc<'_>) -> Doc<'_> {
    let doc = stream(doc).path("subject", "The subject, percent-encoded.", "order-7");
    append(doc.about("events", "Append events to a subject"))
        .header("If-Match", "The version that the subject must have, in quotes.", "\"5\"")
        .header("If-None-Match", "`*`: the subject must have no events.", "*")
        .answer_header(200, "ETag", "The version that the subject has now, in quotes.")
        .answer_header(
            200,
            "Tradewind-Checked-In",
            "The region with whose version the expected one was compared, if others may have another one.",
        )
        .problems(&[Code::SubjectMismatch, Code::VersionConflict])
}

fn read_events(doc: Doc<'_>) -> Doc<'_> {
    let doc = stream(doc)
        .about("events", "Read events")
        .details(
            "Partitions are merged by time of acceptance; within a partition events come in order. `application/json` is a \
             page; `application/x-ndjson` goes to the present end of the stream; `text/event-stream` stays connected, and \
             a reader that comes back with `Last-Event-ID` goes on exactly where it left off.",
        )
        .query("partition", "Only this partition.", 0)
        .query("from", "`earliest` (the default), `latest`, an offset (with `partition`), a token (the events after it), or a time of acceptance.", "earliest")
        .query("limit", "At most so many events. Default 100 for a page, otherwise none.", 100)
        .query("subject", "Only events about this subject.", "order-7")
        .query("type", "Only events whose type starts with this.", "order.")
        .query("attribute", "Only events with this attribute: NAME=VALUE. Up to 16.", "source=/shop")
        .query("json", "Only events in whose data a path of JSONPath (RFC 9535) finds something, or finds a value: PATH, or PATH=VALUE. Up to 16.", "$.total=40")
        .query("text", "Only events whose id, subject, type or data have this text; ASCII letters of either case.", "bern")
        .query("order", "`asc` (the default), or `desc`: the newest first, in pages, from `latest` if `from` does not say otherwise; `next` goes on backwards.", "asc")
        .header("Last-Event-ID", "The last id that a reader of text/event-stream has seen; counts instead of `from`.", "tw1;7=0:121");
    token(timeout(doc))
        .answer::<Page>(200, JSON, "Events.")
        .answer::<Vec<CloudEvent>>(200, BATCH, "")
        .text_answer(200, LINES, "")
        .text_answer(200, "text/event-stream", "")
        .answer_header(200, "Tradewind-Token", "The cut after the last event.")
        .problems(&[
            Code::InvalidParameter,
            Code::BeyondEnd,
            Code::NoPartition,
            Code::NotAcceptable,
            Code::EventsRemoved,
            Code::TooManyReaders,
            Code::Damaged,
        ])
}

fn rights(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc =
        stream(doc).path("subject", "The subject, percent-encoded.", "apple").problems(&[Code::WrongState]);
    if route == Route::ShowRights {
        return doc.about("events", "Show which region may use how much of a row").answer::<RightsView>(
            200,
            JSON,
            "The columns of the class `reserve`.",
        );
    }
    doc.about("events", "Give rights of this region to another one")
        .details(
            "Regions do so by themselves when one lacks some that another one has. Ahead of time, such as before a sale, it spares whoever buys there the \
             way to the other region.",
        )
        .body::<GiveRights>(JSON, json!({"column": "stock", "to": 2, "amount": 3}))
        .answer::<GivenRights>(200, JSON, "They are the other region's, which can use them when it has heard of it.")
        .problems(&[Code::NoRights, Code::NoRegion, Code::Busy])
}

fn claims(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = stream(doc).problems(&[Code::WrongState, Code::InvalidParameter]);
    let value = json!({"column": "email", "value": "ann@example.org"});
    match route {
        Route::ShowClaim => doc
            .about("events", "Show which row has a value of a unique column")
            .query("column", "A column of the class `unique`.", "email")
            .query("value", "The value as text.", "ann@example.org")
            .answer::<ClaimView>(200, JSON, "Who claimed it last, as far as the region that is asked knows."),
        Route::Claim => doc
            .about("events", "Claim a value of a unique column for a row")
            .details(
                "Changes claim by themselves what they need. The region that decides answers; others say that they do not.",
            )
            .body::<ClaimRequest>(JSON, json!({"column": "email", "value": "ann@example.org", "subject": "ann"}))
            .answer::<Claimed>(200, JSON, "It is the row's.")
            .problems(&[Code::NotUnique, Code::NotHome, Code::HomeMoving, Code::NotReady, Code::Timeout]),
        _ => doc
            .about("events", "Wait for changes that have claimed a value")
            .details("A region that decides asks so before it gives a value to another row.")
            .path("subject", "The subject, percent-encoded.", "ann")
            .body::<ClaimQuery>(JSON, value)
            .answer::<Settled>(200, JSON, "None of them is under way in this region any more.")
            .problems(&[Code::Timeout]),
    }
}

fn read_subject(doc: Doc<'_>) -> Doc<'_> {
    let doc = stream(doc)
        .path("subject", "The subject, percent-encoded.", "order-7")
        .about("events", "Read the history of a subject")
        .query("from_version", "With this version and later ones. Default 1.", 1)
        .query("limit", "At most so many events. Default 1,000.", 100)
        .header("If-None-Match", "The version that the client has: 304 if there is no other.", "\"5\"");
    token(timeout(doc))
        .answer::<HistoryPage>(200, JSON, "Events, none if the subject has none.")
        .answer::<Vec<CloudEvent>>(200, BATCH, "")
        .text_answer(200, LINES, "")
        .answer_header(200, "ETag", "The version that the subject has, in quotes; 0 without events.")
        .answer_header(200, "Tradewind-Token", "The cut that the answer reflects.")
        .empty_answer(304, "The subject has the version of If-None-Match.")
        .problems(&[Code::InvalidParameter, Code::NotAcceptable, Code::Damaged, Code::NoOwner])
}

fn sql(doc: Doc<'_>) -> Doc<'_> {
    let doc = doc
        .about("sql", "Carry out a statement")
        .details(
            "Rows are sent while they are computed; the statement ends when the client goes. If not all rows can be computed, \
             JSON and NDJSON say why in `problem`, and the connection is closed before the end of the answer.",
        )
        .body::<SqlRequest<'_>>(JSON, json!({"sql": "SELECT $1 AS n", "params": [7]}))
        .text_body(TEXT, "SELECT 1 AS n");
    token(timeout(doc))
        .answer::<ResultRows>(200, JSON, "The rows of a query, or what was done.")
        .answer::<Message>(200, "application/json; definition", "")
        .text_answer(200, LINES, "")
        .text_answer(200, "text/csv", "")
        .text_answer(200, "application/vnd.apache.arrow.stream", "")
        .problems(&[
            Code::InvalidStatement,
            Code::InvalidDefinition,
            Code::NoTable,
            Code::NoStream,
            Code::NoSource,
            Code::NoProjection,
            Code::InvalidBody,
            Code::InvalidParameter,
            Code::NotAcceptable,
            Code::UnsupportedMediaType,
            Code::AlreadyExists,
            Code::InUse,
            Code::WrongState,
        ])
}

fn definitions(route: Route, doc: Doc<'_>) -> Doc<'_> {
    if route == Route::ListStreams {
        return doc
            .about("streams", "List streams")
            .query("prefix", "Only those whose names start so.", "shop.")
            .query("after", "Only those after this name.", "shop.orders")
            .query("limit", "At most so many, 1 to 10,000; then the answer has `next`. Default all.", 100)
            .answer::<StreamList>(200, JSON, "The streams.")
            .problems(&[Code::InvalidParameter]);
    }
    let doc = stream(doc);
    match route {
        Route::PutStream => doc
            .about("streams", "Define a stream")
            .details("A stream that is defined just so already is left as it is.")
            .body::<NewStreamRequest>(
                JSON,
                json!({"partitions": 4, "columns": [{"name": "total", "type": "numeric(12,2)"}], "options": {"retention_ms": 604_800_000}}),
            )
            .answer::<StreamBody>(201, JSON, "It was defined.")
            .answer::<StreamBody>(200, JSON, "It is defined just so already.")
            .problems(&[Code::InvalidDefinition, Code::InvalidBody, Code::AlreadyExists]),
        Route::PatchStream => doc
            .about("streams", "Change columns or options of a stream")
            .details("A JSON merge patch (RFC 7396): what is not there stays, null resets.")
            .body::<StreamPatch>("application/merge-patch+json", json!({"options": {"retention_ms": null, "cleanup": "compact"}}))
            .answer::<StreamBody>(200, JSON, "The stream as it is now.")
            .problems(&[Code::InvalidDefinition, Code::InvalidBody]),
        Route::DeleteStream => doc
            .about("streams", "Drop a stream and its events")
            .empty_answer(204, "It is gone.")
            .problems(&[Code::InvalidDefinition, Code::InUse]),
        _ => doc.about("streams", "Show a stream").answer::<StreamBody>(200, JSON, "The stream, and what its partitions hold."),
    }
}

fn sources(route: Route, doc: Doc<'_>) -> Doc<'_> {
    if route == Route::ListSources {
        return doc.about("sources", "List sources").answer::<SourceList>(
            200,
            JSON,
            "All sources and their state.",
        );
    }
    let doc = doc.path("source", "The source's name, percent-encoded.", "shop").problems(&[Code::NoSource]);
    match route {
        Route::DeleteSource => doc
            .about("sources", "Drop a source")
            .details("Its slot and publications are removed from the database, if that can be reached; its streams stay.")
            .answer::<Message>(200, JSON, "It is dropped. The message says what it leaves, and where.")
            .problems(&[Code::WrongState, Code::InUse]),
        Route::PauseSource => done(doc.about("sources", "Pause a source"), 204),
        Route::ResumeSource => done(doc.about("sources", "Resume a source"), 204),
        Route::ResnapshotSource => done(doc.about("sources", "Copy tables of a source again"), 202)
            .body::<ResnapshotRequest>(JSON, json!({"tables": ["public.orders"]})),
        _ => doc.about("sources", "Show a source").answer::<Source>(200, JSON, "The source and its state."),
    }
}

fn projections(route: Route, doc: Doc<'_>) -> Doc<'_> {
    if route == Route::ListProjections {
        let doc = doc.about("projections", "List projections");
        return doc.answer::<ProjectionList>(200, JSON, "All projections and their state.");
    }
    let doc = doc
        .path("projection", "The projection's name, percent-encoded.", "revenue")
        .problems(&[Code::NoProjection]);
    match route {
        Route::DeleteProjection => done(doc.about("projections", "Drop a projection"), 204),
        Route::PauseProjection => done(doc.about("projections", "Pause a projection"), 204),
        Route::ResumeProjection => done(doc.about("projections", "Resume a projection"), 204),
        Route::RebuildProjection => {
            done(doc.about("projections", "Build a projection anew, beside the one that answers"), 202)
        }
        Route::HoldProjection => {
            done(doc.about("projections", "Have what is built anew wait before it takes over"), 204)
        }
        Route::ReleaseProjection => done(doc.about("projections", "Let what is built anew take over"), 204),
        Route::CompareProjection => doc
            .about("projections", "Compare what answers with what is built anew")
            .query("limit", "How many rows that differ are shown, up to 1,000. Default 20.", 20)
            .query("where", "Only rows of which this condition is true.", "total > 10")
            .query("timeout_ms", "How long it may take, in milliseconds.", 10000)
            .answer::<ComparisonView>(200, JSON, "How many rows differ, and some of them.")
            .problems(&[Code::InvalidParameter, Code::InvalidStatement, Code::WrongState, Code::Timeout]),
        _ => doc.about("projections", "Show a projection").answer::<Projection>(
            200,
            JSON,
            "The projection and its state.",
        ),
    }
}

fn parked(route: Route, doc: Doc<'_>) -> Doc<'_> {
    if route == Route::ListParked {
        return doc
            .about("parked", "List parked events")
            .query("view", "Only those of this view.", "revenue")
            .query("after", "Only those after this one.", "revenue/shop.orders/0/41")
            .query("limit", "At most so many, up to 1,000. Default 100.", 100)
            .answer::<ParkedList>(200, JSON, "Parked events.")
            .problems(&[Code::InvalidParameter, Code::NoProjection]);
    }
    let doc = doc
        .path("view", "The view that could not process it.", "revenue")
        .path("stream", "The stream that it is in.", "shop.orders")
        .path("partition", "Its partition.", 0)
        .path("offset", "Its offset.", 41)
        .problems(&[Code::NoParkedEvent, Code::InvalidParameter]);
    match route {
        Route::RetryParked => done(doc.about("parked", "Try a parked event again"), 202),
        Route::DropParked => done(doc.about("parked", "Skip a parked event for good"), 204),
        _ => doc.about("parked", "Show a parked event").answer::<ParkedEvent>(200, JSON, "The parked event."),
    }
}

fn parked_all(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let what = if route == Route::RetryAllParked {
        "Try parked events of a view again"
    } else {
        "Skip parked events of a view for good"
    };
    doc.about("parked", what)
        .details("Events that are being tried already are passed over. What could not be done is told of each event, and ends nothing.")
        .body::<ParkedDecision>(JSON, json!({"view": "revenue", "reason_prefix": "invalid input", "limit": 100}))
        .answer::<ParkedDecided>(200, JSON, "What was done, what was not, and where to go on.")
        .problems(&[Code::InvalidBody, Code::InvalidParameter, Code::NoProjection])
}

fn done(doc: Doc<'_>, status: u16) -> Doc<'_> {
    let text = if status == 202 { "It has begun." } else { "It is done." };
    doc.empty_answer(status, text).problems(&[Code::WrongState, Code::InUse])
}

fn system(route: Route, doc: Doc<'_>) -> Doc<'_> {
    match route {
        Route::Status => {
            doc.about("system", "Show the state of the node").answer::<Status>(200, JSON, "The state.")
        }
        Route::OpenApi => doc.about("system", "This description").text_answer(200, JSON, "OpenAPI 3.1."),
        Route::Ready => doc
            .about("system", "Whether the node serves requests")
            .text_answer(200, TEXT, "It does.")
            .problems(&[Code::NotReady, Code::ShuttingDown]),
        Route::Metrics => doc.about("system", "The metrics of the process").text_answer(
            200,
            "text/plain; version=0.0.4",
            "For Prometheus.",
        ),
        Route::Errors => doc.about("system", "What the codes of problems mean").text_answer(
            200,
            "text/markdown",
            "docs/errors.md.",
        ),
        _ => doc
            .about("system", "Whether the process lives")
            .details("Every path answers `no_route` or `method_not_allowed` where nothing is served.")
            .text_answer(200, TEXT, "It does."),
    }
}
