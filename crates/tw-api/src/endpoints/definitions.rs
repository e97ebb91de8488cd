//! /v1/streams: definitions of streams.

use super::{Outcome, expect_json, json, no_content, read_json};
use crate::service::Call;
use crate::{Code, Problem};
use http::StatusCode;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tw_log::NewStream;
use tw_types::{Column, DataClass, Merge, Schema, StreamDef, StreamKind, StreamName, StreamOptions};
use utoipa::ToSchema;

/// How many partitions a stream has if nobody says.
const PARTITIONS: u32 = 4;

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamBody {
    /// Its name.
    #[schema(example = "shop.orders")]
    pub(super) name: String,
    /// Its number, as tokens name it.
    #[schema(example = 7)]
    id: u32,
    /// `events`, or `table` for the changes of a captured table.
    #[schema(example = "events")]
    kind: &'static str,
    /// How many partitions it has.
    #[schema(example = 4)]
    partitions: u32,
    /// Its declared columns; absent for plain JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<ColumnBody>>,
    /// The columns that identify a row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key: Vec<String>,
    /// Its options.
    #[schema(value_type = OptionsBody)]
    options: StreamOptions,
    /// What is measured of it; not in answers to definitions.
    #[serde(flatten)]
    pub(super) numbers: Option<NumbersBody>,
    /// What each partition holds; only when one stream is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offsets: Option<Vec<OffsetsBody>>,
}

/// What is measured of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NumbersBody {
    /// How many events it takes per second, over the last ten seconds or so; on a node of a cluster as far as it has heard.
    #[schema(example = 120.5)]
    pub(super) rate_events_per_second: f64,
    /// How many bytes it takes on disk, compressed; null on Kafka, where only the brokers know.
    #[schema(example = 1048576)]
    pub(super) bytes: Option<u64>,
    /// When its last event was accepted, RFC 3339; null without events, and in lists of all streams on Kafka.
    #[schema(example = "2026-01-31T09:30:00Z")]
    pub(super) last_event_at: Option<String>,
}

/// The offsets that a partition holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OffsetsBody {
    /// The partition.
    #[schema(example = 0)]
    pub(super) partition: u32,
    /// The first offset that can be read.
    #[schema(example = 0)]
    pub(super) start: u64,
    /// The offset after the last event.
    #[schema(example = 121)]
    pub(super) end: u64,
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnBody {
    /// The member of the event's JSON data that holds the value.
    #[schema(example = "total")]
    name: String,
    /// Its type, as PostgreSQL names it.
    #[serde(rename = "type")]
    #[schema(example = "numeric(12,2)")]
    ty: String,
    /// Whether the value may be absent or null.
    #[serde(default = "yes")]
    #[schema(example = true)]
    nullable: bool,
    /// How sensitive it is: `public`, `internal`, `confidential`, `personal` or `secret`.
    #[serde(default)]
    #[schema(value_type = String, example = "internal")]
    class: DataClass,
    /// What it is after changes in several regions that did not know of each other: `lww`, `max`, `min`, `counter` or `set`. If one column
    /// has a class, events are changes of the row of their subject, and the other columns are `lww`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "counter")]
    merge: Option<Merge>,
}

fn yes() -> bool {
    true
}

/// The options of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OptionsBody {
    /// Events older than this may be removed, in milliseconds; absent: never.
    #[schema(example = 604800000)]
    retention_ms: Option<u64>,
    /// Each partition's oldest events may be removed beyond this many bytes; absent: never.
    retention_bytes: Option<u64>,
    /// `delete`, or `compact`: of each subject the latest event stays.
    #[schema(example = "delete")]
    cleanup: Option<String>,
    /// `none` or `lz4`.
    #[schema(example = "lz4")]
    compression: Option<String>,
    /// The largest event, in bytes.
    #[schema(example = 1048576)]
    event_bytes_max: Option<u32>,
    /// `local`; `active-active`: written in every region; `home-region`: written in one region at a time.
    #[schema(example = "local")]
    mode: Option<String>,
    /// The region in which a stream with the mode `home-region` is written first, or which decides about unique values of one that is
    /// `active-active`. It cannot be changed here.
    #[schema(example = 1)]
    home: Option<u16>,
}

/// A stream to define.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewStreamRequest {
    /// How many partitions it has, 1 to 1,024; it cannot be changed later. Default 4.
    #[schema(example = 4)]
    partitions: Option<u32>,
    /// Its declared columns; without them its events are plain JSON.
    columns: Option<Vec<ColumnBody>>,
    /// The columns that identify a row.
    #[serde(default)]
    key: Vec<String>,
    /// Its options.
    #[serde(default)]
    #[schema(value_type = Option<OptionsBody>)]
    options: StreamOptions,
}

/// Changes of a stream, as a JSON merge patch (RFC 7396): a member replaces, null resets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamPatch {
    /// All its columns: those that it has, as they are, and then new ones, which are nullable. How sensitive one is can
    /// change. The columns of a captured table are those of its source.
    columns: Option<Vec<ColumnBody>>,
    /// The columns that identify a row; they cannot be changed.
    #[serde(default)]
    key: Option<Vec<String>>,
    /// Options to change.
    #[serde(default)]
    #[schema(value_type = Option<OptionsBody>)]
    options: Option<StreamOptions>,
}

/// Defines a stream. One that is defined just so already is fine.
pub(crate) async fn put(call: &Call, request: Incoming) -> Outcome {
    expect_json(call)?;
    let name = StreamName::new(&call.capture(0)?)?;
    if name.is_system() {
        let detail = format!("`{name}` starts with $: such names are the platform's");
        return Err(Problem::new(Code::InvalidDefinition, detail));
    }
    let request: NewStreamRequest = read_json(call, request).await?;
    let new = NewStream {
        schema: schema(request.columns, request.key, 1)?,
        name,
        kind: StreamKind::Events,
        partitions: request.partitions.unwrap_or(PARTITIONS),
        options: request.options,
    };
    if let Ok(known) = call.streams().get(new.name.as_str()) {
        return if is_same(known, &new) { json(&body(known)) } else { Err(taken(known)) };
    }
    let created = call.api.parts.control.create_stream(new).await?;
    let mut response = json(&body(&created))?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn is_same(known: &StreamDef, new: &NewStream) -> bool {
    let columns = |schema: &Option<Schema>| schema.clone().map(|schema| (schema.columns, schema.key));
    known.kind == new.kind
        && known.partitions == new.partitions
        && known.options == StreamOptions { replaces: known.options.replaces, ..new.options.clone() }
        && columns(&known.schema) == columns(&new.schema)
}

fn taken(known: &StreamDef) -> Problem {
    let detail = format!(
        "a stream `{}` exists already and is defined otherwise: change columns and options with PATCH; partitions cannot be changed",
        known.name
    );
    Problem::new(Code::AlreadyExists, detail)
}

/// Changes columns and options of a stream.
pub(crate) async fn patch(call: &Call, request: Incoming) -> Outcome {
    expect_json(call)?;
    let stream = call.stream().await?;
    let change: Value = read_json(call, request).await?;
    let columns = stream.schema.as_ref().map(|schema| schema.columns.iter().map(column_body).collect());
    let key = stream.schema.as_ref().map(|schema| schema.key.clone());
    let present = StreamPatch { columns, key, options: Some(stream.options.clone()) };
    let invalid = |error: serde_json::Error| {
        Problem::new(Code::InvalidBody, format!("the body is not what is expected: {error}"))
    };
    let mut patched = serde_json::to_value(present).map_err(invalid)?;
    merge(&mut patched, change);
    let patched: StreamPatch = serde_json::from_value(patched).map_err(invalid)?;
    let version = stream.schema.as_ref().map_or(0, |schema| schema.version);
    let mut new = schema(patched.columns, patched.key.unwrap_or_default(), version + 1)?;
    if let (Some(new), Some(old)) = (&mut new, &stream.schema)
        && (&new.columns, &new.key) == (&old.columns, &old.key)
    {
        new.version = old.version;
    }
    let changed = NewStream {
        name: stream.name.clone(),
        kind: stream.kind,
        partitions: stream.partitions,
        schema: new,
        options: patched.options.unwrap_or_default(),
    };
    json(&body(&*call.api.parts.control.alter_stream(changed).await?))
}

/// Applies a JSON merge patch (RFC 7396, section 2).
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in members {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Drops a stream and its events.
pub(crate) async fn delete(call: &Call) -> Outcome {
    let stream = call.stream().await?;
    call.api.parts.control.drop_stream(&stream.name).await?;
    Ok(no_content())
}

fn schema(
    columns: Option<Vec<ColumnBody>>,
    key: Vec<String>,
    version: u32,
) -> Result<Option<Schema>, Problem> {
    let invalid = |detail: String| Problem::new(Code::InvalidDefinition, detail);
    let Some(columns) = columns else {
        return if key.is_empty() {
            Ok(None)
        } else {
            Err(invalid("a key needs columns: declare them".to_owned()))
        };
    };
    let columns = columns
        .into_iter()
        .map(|column| {
            let ty =
                column.ty.parse().map_err(|error| invalid(format!("column `{}`: {error}", column.name)))?;
            Ok(Column {
                name: column.name,
                ty,
                nullable: column.nullable,
                class: column.class,
                merge: column.merge,
            })
        })
        .collect::<Result<_, Problem>>()?;
    Ok(Some(Schema { version, columns, key }.completed()))
}

fn column_body(column: &Column) -> ColumnBody {
    ColumnBody {
        name: column.name.clone(),
        ty: column.ty.to_string(),
        nullable: column.nullable,
        class: column.class,
        merge: column.merge.clone(),
    }
}

/// A stream as it is defined.
pub(super) fn body(stream: &StreamDef) -> StreamBody {
    StreamBody {
        name: stream.name.to_string(),
        id: stream.id.0,
        kind: match stream.kind {
            StreamKind::Events => "events",
            StreamKind::Table => "table",
        },
        partitions: stream.partitions,
        columns: stream.schema.as_ref().map(|schema| schema.columns.iter().map(column_body).collect()),
        key: stream.schema.as_ref().map(|schema| schema.key.clone()).unwrap_or_default(),
        options: stream.options.clone(),
        numbers: None,
        offsets: None,
    }
}
