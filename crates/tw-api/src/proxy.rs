//! Requests that are carried on to the region that serves their user.
//!
//! ```text
//! client ──Tradewind-Route: user=ada──▶ any region ──▶ the one that serves ada ──▶ answer, as it comes
//! ```
//!
//! Who is asked ranks the regions as `/v1/route` does. It carries a request on in one hop, so none goes in circles, however the regions' plans
//! differ for a moment. What another region would only send on is served here: writes to a stream with a home go to that. A read is served here, too, if the other region
//! does not answer; what changes something is refused, since nobody knows whether it was done, or was sent at all.

use crate::endpoints::{self, Outcome};
use crate::forward::{self, Forward};
use crate::headers::{self, ROUTE, SERVED_BY};
use crate::options::ms;
use crate::query::Query;
use crate::route::Route;
use crate::service::Call;
use crate::{Code, Problem};
use bytes::Bytes;
use http::HeaderValue;
use hyper::body::Incoming;
use tw_types::StreamMode;

/// What is carried on: what users ask for. Whoever operates a region means that one.
fn is_of_users(route: Route) -> bool {
    matches!(
        route,
        Route::AppendEvents
            | Route::AppendSubject
            | Route::ReadEvents
            | Route::ReadSubject
            | Route::Sql
            | Route::ListStreams
            | Route::GetStream
    )
}

/// Serves a request that says of which user it is, here or where that user is served.
pub(crate) async fn serve(call: &Call, body: Incoming) -> Outcome {
    let forward = Forward::new(call, ms(call.options.request_timeout_ms));
    if forward.is_hop() {
        return endpoints::dispatch(call, body).await;
    }
    let (here, chosen) = choose(call).await?;
    let Some(region) = chosen else { return served_by(here, endpoints::dispatch(call, body).await) };
    let regions = endpoints::regions(call)?;
    if !call.route.changes() {
        // It has no body.
        return match call.ticket.elsewhere(forward.send_to(regions, region, Bytes::new())).await {
            Ok(answer) => carried(call, region, Ok(forward::stream(answer))),
            Err(unanswered) => {
                tracing::debug!(region, %unanswered, "a read that was carried on is served here");
                served_by(here, endpoints::dispatch(call, body).await)
            }
        };
    }
    let received = call.body(body).await?;
    match call.ticket.elsewhere(forward.send_to(regions, region, received.bytes())).await {
        Ok(answer) => carried(call, region, Ok(forward::stream(answer))),
        Err(unanswered) if unanswered.was_sent => {
            let detail = format!(
                "it may have been done in region {region}, which serves this user, because its answer did not come ({unanswered}): look before you try \
                 again, or send events again with the same ids"
            );
            Err(Problem::new(Code::OutcomeUnknown, detail))
        }
        Err(unanswered) => {
            let detail = format!(
                "region {region} serves this user, and is not reached ({unanswered}); nothing was done: try again, or without the header \
                 `Tradewind-Route` to have it done here"
            );
            Err(Problem::new(Code::NotReady, detail))
        }
    }
}

/// This region, and the one that serves the user, if that is another one that can.
async fn choose(call: &Call) -> Result<(u16, Option<u16>), Problem> {
    if !is_of_users(call.route) {
        let detail = format!(
            "`{}` is about the region that is asked: leave the header `Tradewind-Route` out, or ask the region that you mean",
            call.route.name()
        );
        return Err(Problem::parameter(ROUTE.as_str(), detail));
    }
    let text = headers::text(&call.headers, &ROUTE)?;
    let mut query = endpoints::user(&Query::read(text, &endpoints::USER)?)?;
    if query.token.is_none() {
        query.token = headers::token(&call.headers)?;
    }
    let view = endpoints::regions(call)?.route(query).await?;
    let first = view.regions.first().map(|region| region.region);
    let elsewhere = first.filter(|region| *region != view.answered_by && !view.fail_static);
    let is_here = elsewhere.is_some() && is_served_here(call).await?;
    Ok((view.answered_by, elsewhere.filter(|_| !is_here)))
}

/// Whether it makes no sense to carry it on, because of the stream that it is about.
async fn is_served_here(call: &Call) -> Result<bool, Problem> {
    if matches!(call.route, Route::Sql | Route::ListStreams) {
        return Ok(false);
    }
    Ok(match call.stream().await?.options.mode {
        StreamMode::ActiveActive => false,
        // Writes are sent to the home, also from here.
        StreamMode::HomeRegion => call.route.changes(),
        StreamMode::Local => true,
    })
}

fn carried(call: &Call, region: u16, outcome: Outcome) -> Outcome {
    // It was not served here.
    call.api.was_carried_on();
    served_by(region, outcome)
}

/// Says in an answer which region has served it.
fn served_by(region: u16, outcome: Outcome) -> Outcome {
    outcome.map(|mut response| {
        response.headers_mut().insert(SERVED_BY, HeaderValue::from(region));
        response
    })
}
