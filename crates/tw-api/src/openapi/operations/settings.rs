//! Options.

use super::JSON;
use crate::Code;
use crate::endpoints::{RollbackRequest, SettingRequest};
use crate::openapi::doc::Doc;
use crate::openapi::schemas::{SettingHistory, SettingList};
use crate::parts::Setting;
use crate::route::Route;
use serde_json::json;

/// Describes a route about options.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    if route == Route::ListSettings {
        return doc.about("config", "List options").answer::<SettingList>(200, JSON, "All options.");
    }
    let doc = doc
        .path("key", "The table and the option.", "http.requests_max")
        .problems(&[Code::NoOption, Code::InvalidParameter]);
    match route {
        Route::PutSetting => changes(doc.about("config", "Set an option on every node"))
            .details("It is checked before it is accepted, and in effect on this node when the answer comes.")
            .body::<SettingRequest>(JSON, json!({"value": 8_192, "author": "ann@db-1"}))
            .problems(&[Code::InvalidBody]),
        Route::DeleteSetting => changes(doc.about("config", "Unset an option"))
            .details("The file of each node counts again, or the default.")
            .query("author", "Who does it, for others to see.", "ann@db-1"),
        Route::RollbackSetting => changes(doc.about("config", "Bring an earlier value of an option back"))
            .body::<RollbackRequest>(JSON, json!({"version": 1, "author": "ann@db-1"}))
            .problems(&[Code::InvalidBody, Code::NoOptionVersion]),
        Route::SettingHistory => doc
            .about("config", "Show the changes of an option")
            .query("limit", "At most so many, up to 1,000. Default 20.", 5)
            .answer::<SettingHistory>(200, JSON, "The changes, the last one first."),
        _ => tagged(doc.about("config", "Show an option")),
    }
}

fn changes(doc: Doc<'_>) -> Doc<'_> {
    tagged(doc)
        .header("If-Match", "The version that the option must have, in quotes.", "\"3\"")
        .header("If-None-Match", "`*`: the option must never have been set.", "*")
        .problems(&[
            Code::InvalidOption,
            Code::NotLive,
            Code::VersionConflict,
            Code::LogStopped,
            Code::DiskFull,
            Code::ShuttingDown,
        ])
}

fn tagged(doc: Doc<'_>) -> Doc<'_> {
    doc.answer::<Setting>(200, JSON, "The option.").answer_header(
        200,
        "ETag",
        "How often it was set and unset, in quotes.",
    )
}
