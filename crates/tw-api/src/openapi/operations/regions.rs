//! /v1/regions: the links between regions.

use super::{Doc, JSON};
use crate::Code;
use crate::openapi::schemas::Message;
use crate::parts::{
    ChangedRouting, DrainRequest, DrainUsersRequest, Drained, EvictRequest, EvictionView, FailoverRequest,
    FailoverView, GoOnWithout, HomesView, MeasuredRtts, MoveHomes, MovedHomes, RegionHashes, RegionLoad,
    RegionView, RollBackRequest, RouteView, RoutingView, ShiftRequest, WeighRequest,
};
use crate::route::Route;
use serde_json::json;

/// What it means to go on without a region.
const GO_ON: &str = "A region that was put back from an older copy waits until every other one has given back what it has of it. What only a region has that \
     is left out is lost; should that come back with more, it takes nothing of this one.";

/// What it means to evict a region.
const EVICT: &str = "Deletions in merged rows, and what is kept to order late changes, wait for a region that says nothing, until it is evicted: all other regions \
     learn that, take nothing more of it, and go on without it. It comes back as one that is new, under a later epoch; what it had accepted and nobody else has is in its \
     old log only. Refused while it is not silent for `evict_after_ms` or most others are not reached, unless `force` says so, and while it is the home of streams.";

/// Describes a route.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = doc.problems(&[Code::WrongState, Code::NotReady]);
    match route {
        Route::RetryRegion => doc
            .about("regions", "Try again what is parked of a region")
            .path("region", "The region's number.", "2")
            .answer::<Message>(200, JSON, "It is tried again.")
            .problems(&[Code::InvalidParameter, Code::NoRegion]),
        Route::EvictRegion => doc
            .about("regions", "Go on without a region that is gone")
            .details(EVICT)
            .path("region", "The number of the region that is gone.", "3")
            .body::<EvictRequest>(JSON, json!({"dry_run": true}))
            .answer::<EvictionView>(200, JSON, "What was done, or would be.")
            .problems(&[Code::InvalidParameter, Code::NoRegion]),
        Route::ListHomes | Route::MoveHomes | Route::Failover => homes(route, doc),
        Route::DrainRegion => doc
            .about("regions", "Drain this region, so that it can be ended")
            .details(
                "It accepts nothing more for streams that other regions have, and `drain` of `GET /v1/regions` names those that lack something of \
                 it. Streams of which it is the home go to another region first. It stays so when the region is started again.",
            )
            .body::<DrainRequest>(JSON, json!({"drained": true, "to": 2}))
            .answer::<Drained>(200, JSON, "What was done.")
            .problems(&[Code::NoRegion, Code::HomeMoving]),
        Route::GoOnRestoring => doc
            .about("regions", "Have a restore go on without regions that are gone")
            .details(GO_ON)
            .body::<GoOnWithout>(JSON, json!({"without": [3]}))
            .answer::<Message>(200, JSON, "What was done.")
            .problems(&[Code::NoRegion, Code::WrongState]),
        Route::RegionHashes => doc
            .about("regions", "Hash what this region holds")
            .details(
                "Regions that have received the same events have the same hashes. Every event is read, one request at a time; the \
                 rows of projections have processed at least these events.",
            )
            .query("stream", "Only this stream and its projections.", "orders")
            .answer::<RegionHashes>(200, JSON, "The hashes.")
            .problems(&[Code::InvalidParameter, Code::NoStream, Code::Damaged]),
        Route::ChooseRegion => choice(doc),
        Route::ReportMeasured
        | Route::ShowRouting
        | Route::ShiftUsers
        | Route::DrainUsers
        | Route::WeighRegion
        | Route::RollBackRouting
        | Route::TellLoad => routing(route, doc),
        _ => doc.about("regions", "Show this region and its links with others").answer::<RegionView>(
            200,
            JSON,
            "How they are now.",
        ),
    }
}

/// Which region serves a user.
fn choice(doc: Doc<'_>) -> Doc<'_> {
    doc
        .about("regions", "Say which region serves a user")
        .details(
            "Regions are in the order in which to try them. What counts: whether this region has heard of a region lately, whether it has what the token \
             demands, how far it is from the place, and the user, who stays where there is no reason to go. The same question has the same answer in \
             every region that has heard the same.",
        )
        .query("lat", "The latitude of the user, in degrees, north positive; with `lon`.", 52.5)
        .query("lon", "The longitude of the user, in degrees, east positive; with `lat`.", 13.4)
        .query("token", "The token of what the user must see again.", "tw2;r1;1@1780000000000.3;7=0:121")
        .query("lag_ms_max", "How far behind a region may be with that, in milliseconds. Default 1,000.", 1_000)
        .query("user", "What the user is recognised by, such as an account: 255 bytes at most.", "ada")
        .query("current", "The region that served the user last. Default: the one that gave the token.", 1)
        .query("network", "The address or the network of the user: what was measured there counts.", "198.51.100.7")
        .query("redirect", "A path: the answer sends the client there, on the first choice.", "/v1/streams")
        .answer::<RouteView>(200, JSON, "The regions, the first choice first.")
        .answer::<RouteView>(307, JSON, "The same, with the first choice and the path of `redirect` in `Location`.")
        .problems(&[Code::InvalidParameter])
}

/// What all changes of the plan have in common.
fn change(doc: Doc<'_>) -> Doc<'_> {
    doc.details(
            "It is decided in one region, the home of the stream `$routing`; any other one sends it there. What has no room is refused, and says how large a \
             step has. With `if_generation` it is refused if another change came first.",
        )
        .answer::<ChangedRouting>(200, JSON, "What was done.")
        .problems(&[
            Code::InvalidParameter,
            Code::NoRegion,
            Code::RoutingOvertaken,
            Code::NoRoom,
            Code::HomeMoving,
            Code::OutcomeUnknown,
        ])
}

/// The same for the plan by which users are spread.
fn routing(route: Route, doc: Doc<'_>) -> Doc<'_> {
    match route {
        Route::ShiftUsers => change(
            doc.about("regions", "Give a part of a region's users to another region")
                .body::<ShiftRequest>(JSON, json!({"from": 1, "to": 2, "permille": 100, "if_generation": 1})),
        ),
        Route::DrainUsers => change(
            doc.about("regions", "Send users of a region on to those that are next for them")
                .body::<DrainUsersRequest>(JSON, json!({"region": 2, "dry_run": true})),
        ),
        Route::WeighRegion => change(
            doc.about(
                "regions",
                "Say how many of the users that prefer a region it keeps, and end its drain",
            )
            .body::<WeighRequest>(JSON, json!({"region": 2, "weight": 1_000})),
        ),
        Route::RollBackRouting => change(
            doc.about("regions", "Have the regions be as they were in an earlier generation")
                .body::<RollBackRequest>(JSON, json!({"to": 1})),
        ),
        Route::ReportMeasured => doc
            .about("regions", "Report how far regions are from a client")
            .details(
                "The median of the last five of a network counts for an hour, in all regions that hear of it; after that the distance does. The last \
                 65,536 pairs of a network and a region are kept, in memory.",
            )
            .body::<MeasuredRtts>(JSON, json!({"network": "198.51.100.7", "rtts": [{"region": 2, "rtt_ms": 23}]}))
            .empty_answer(204, "It is noted.")
            .problems(&[Code::InvalidParameter, Code::NoRegion]),
        Route::TellLoad => doc
            .about("regions", "Say how much this region serves")
            .details("Regions ask each other.")
            .answer::<RegionLoad>(200, JSON, "How much it is."),
        _ => doc
            .about("regions", "Show the plan by which users are spread over regions")
            .answer::<RoutingView>(200, JSON, "The plan in effect."),
    }
}

/// The same for where streams with a home are written.
fn homes(route: Route, doc: Doc<'_>) -> Doc<'_> {
    match route {
        Route::ListHomes => doc
            .about("regions", "List where streams with a home are written")
            .answer::<HomesView>(200, JSON, "The homes, as this region knows them."),
        Route::MoveHomes => doc
            .about("regions", "Give streams to another region")
            .details(
                "Only the home of a stream gives it away. It takes no more writes, and the new home takes them when it has everything \
                 that the old one had: nothing is lost.",
            )
            .body::<MoveHomes>(JSON, json!({"streams": ["orders"], "to": 2}))
            .answer::<MovedHomes>(200, JSON, "What was done.")
            .problems(&[Code::NoRegion, Code::NoStream, Code::NotHome, Code::HomeMoving]),
        _ => doc
            .about("regions", "Take over the streams of a region that is gone")
            .details(
                "This region becomes the home. What the old home has accepted that is not here is at risk: it is listed in the stream \
                 `$at_risk` when that region is back, and merged. Whether a region that is cut off still takes writes cannot be \
                 seen from here; `is_stopped` says that it does not.",
            )
            .path("region", "The number of the region that is gone.", "1")
            .body::<FailoverRequest>(JSON, json!({"is_stopped": true}))
            .answer::<FailoverView>(200, JSON, "What was done.")
            .problems(&[Code::InvalidParameter, Code::NoRegion, Code::NoStream, Code::NotHome]),
    }
}
