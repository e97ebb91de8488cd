//! /v1/regions: the links between regions.

use super::{Doc, JSON};
use crate::Code;
use crate::openapi::schemas::Message;
use crate::parts::RegionView;
use crate::route::Route;

/// Describes a route.
pub(super) fn describe(route: Route, doc: Doc<'_>) -> Doc<'_> {
    let doc = doc.problems(&[Code::WrongState, Code::NotReady]);
    match route {
        Route::RetryRegion => doc
            .about("regions", "Try again what is parked of a region")
            .path("region", "The region's number.", "2")
            .answer::<Message>(200, JSON, "It is tried again.")
            .problems(&[Code::InvalidParameter, Code::NoRegion]),
        _ => doc.about("regions", "Show this region and its links with others").answer::<RegionView>(
            200,
            JSON,
            "How they are now.",
        ),
    }
}
