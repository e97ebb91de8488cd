//! /v1/regions: the links between regions.

use super::{Doc, JSON};
use crate::Code;
use crate::openapi::schemas::Message;
use crate::parts::{
    DrainRequest, Drained, EvictRequest, EvictionView, FailoverRequest, FailoverView, GoOnWithout, HomesView,
    MoveHomes, MovedHomes, RegionHashes, RegionView, RouteView,
};
use crate::route::Route;
use serde_json::json;

/// What it means to go on without a region.
const GO_ON: &str = "A region that was put back from an older copy waits until every other one has given back what it has of it. What only a region has that \
     is left out is lost; should that come back with more, it takes nothing of this one.";

/// What it means to go on without a region.
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
        Route::ChooseRegion => doc
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
            .query("redirect", "A path: the answer sends the client there, on the first choice.", "/v1/streams")
            .answer::<RouteView>(200, JSON, "The regions, the first choice first.")
            .answer::<RouteView>(307, JSON, "The same, with the first choice and the path of `redirect` in `Location`.")
            .problems(&[Code::InvalidParameter]),
        _ => doc.about("regions", "Show this region and its links with others").answer::<RegionView>(
            200,
            JSON,
            "How they are now.",
        ),
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
