//! What the operation about numbers over time takes and answers.

use super::super::doc::Doc;
use super::super::schemas::SeriesList;
use super::JSON;
use crate::Code;
use crate::parts::Measured;

/// Describes the history of numbers.
pub(super) fn describe(doc: Doc<'_>) -> Doc<'_> {
    doc.about("system", "Numbers over the last day")
        .details(
            "Without `series`: which there are, as `{\"series\": [{\"name\", \"unit\"}, …]}`. A step has a mean and a most; those of \
             several smaller steps are put together without losing either. In a cluster they are of all nodes together.",
        )
        .query("series", "The names of up to 100 series, with commas in between.", "appended_events_per_second,log_bytes")
        .query("from", "From when on: a time, or milliseconds since 1970. Default an hour before `to`; at most 24 hours ago.", "2026-01-31T08:30:00Z")
        .query("to", "Until when. Default now.", "2026-01-31T09:30:00Z")
        .query("points", "At most so many points of each series, 1 to 2,000. Default 300.", 300)
        .answer::<Measured>(200, JSON, "The series.")
        .answer::<SeriesList>(200, "application/json; of=names", "")
        .problems(&[Code::InvalidParameter])
}

/// Describes the live stream.
pub(super) fn live(doc: Doc<'_>) -> Doc<'_> {
    doc.about("system", "Follow topics and streams")
        .details(
            "Server-sent events. `topics` comes first, with the topics that are followed and those that are not on this node (`left_out`). Then \
             an event is called like its topic, and its data is what GET of that path answers, at most once a second and only when it has \
             changed; of `streams` and `projections`, after the first, `{\"changed\": [rows], \"gone\": [names]}`. Events of streams are called \
             `tail`; their data is `{\"stream\", \"event\"}`, their ids are tokens. `tradewind.problem` says what could not be told.",
        )
        .query("topics", "Some of status, streams, projections, sources, parked, cluster and regions, with commas in between.", "status,streams")
        .query("tail", "A stream to follow; up to 16, each as a parameter of its own.", "shop.orders")
        .query("from", "Where streams begin: `latest` (the default), `earliest`, a token or a time.", "latest")
        .query("type", "Only events of streams whose type starts with this.", "order.")
        .query("subject", "Only events of streams about this subject.", "order-7")
        .header("Last-Event-ID", "The last id that was seen: streams go on there.", "tw1;7=0:121")
        .text_answer(200, "text/event-stream", "")
        .problems(&[Code::InvalidParameter, Code::NoStream, Code::EventsRemoved, Code::TooManyReaders])
}
