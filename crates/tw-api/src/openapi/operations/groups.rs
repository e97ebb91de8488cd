//! Consumer groups.

use super::JSON;
use crate::Code;
use crate::openapi::doc::Doc;
use crate::openapi::schemas::GroupList;
use crate::parts::{GroupReset, GroupView, ResetGroup};
use crate::route::Route;
use serde_json::json;

/// Describes a route about groups.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc =
        doc.problems(&[Code::InvalidParameter, Code::KafkaUnavailable, Code::Overloaded, Code::Timeout]);
    if route == Route::ListGroups {
        return doc
            .about("groups", "List consumer groups")
            .details("Of a log that is not on Kafka the list is empty. With `stream`, a page may be short or empty while it has `next`.")
            .query("prefix", "Only those whose names start so.", "bill")
            .query("after", "Only those after this name.", "billing")
            .query("limit", "At most so many, 1 to 10,000; then the answer has `next`. Default all.", 100)
            .query("stream", "Only those that read this stream.", "orders")
            .answer::<GroupList>(200, JSON, "The groups.")
            .problems(&[Code::NoStream]);
    }
    let doc =
        doc.path("group", "The group's name, percent-encoded.", "billing").problems(&[Code::WrongState]);
    if route == Route::GetGroup {
        return doc
            .about("groups", "Show a consumer group")
            .answer::<GroupView>(200, JSON, "The group, its members, and how far it has come.")
            .problems(&[Code::NoGroup]);
    }
    doc.about("groups", "Have a consumer group go on elsewhere")
        .details(
            "The group must have no members. `to` is `\"start\"`, `\"end\"`, `{\"offset\": 120}`, `{\"time\": \"2026-01-31T09:30:00Z\"}` or `{\"back\": 100}`; it holds for each \
             partition. What is outside of what a partition holds becomes its start or its end, and is `clamped`.",
        )
        .body::<ResetGroup>(JSON, json!({"stream": "orders", "partitions": [0], "to": {"offset": 120}, "dry_run": true}))
        .answer::<GroupReset>(200, JSON, "What was done, or would be.")
        .problems(&[Code::InvalidBody, Code::NoStream, Code::NoPartition, Code::InUse])
}
