//! The region of this node, and its links with others.

use super::{Outcome, expect_json, json, no_content, read_json};
use crate::headers::HOP;
use crate::parts::{
    DrainRequest, EvictRequest, GoOnWithout, MeasuredRtts, Regions, RouteQuery, RouteView, network,
};
use crate::query::Query;
use crate::service::Call;
use crate::{Code, Problem};
use http::header::{CACHE_CONTROL, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use tw_plan::routing::{Network, Place};
use tw_types::RegionId;

/// How long the name of a user may be, in bytes.
const USER_BYTES_MAX: usize = 255;
/// How far a region may be behind with what a user has seen, if the request does not say, in milliseconds: a read with a token waits that
/// long rather than going to a region that is far away.
const LAG_MS: u32 = 1_000;
/// What describes a user.
pub(crate) const USER: [&str; 7] = ["lat", "lon", "token", "lag_ms_max", "user", "current", "network"];

/// Shows the links.
pub(crate) async fn view(call: &Call) -> Outcome {
    json(&part(call)?.view().await?)
}

/// Tries what is parked of a region again.
pub(crate) async fn retry(call: &Call) -> Outcome {
    let done = part(call)?.retry(number(&call.capture(0)?)?).await?;
    json(&serde_json::json!({ "message": done }))
}

/// Goes on without a region that is gone.
pub(crate) async fn evict(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let region = number(&call.capture(0)?)?;
    let request: EvictRequest = read_json(call, body).await?;
    json(&part(call)?.evict(region, request).await?)
}

/// Drains this region, or ends that.
pub(crate) async fn drain(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let request: DrainRequest = read_json(call, body).await?;
    json(&part(call)?.drain(request).await?)
}

/// Has a restore go on without regions that are gone.
pub(crate) async fn go_on(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let GoOnWithout { without } = read_json(call, body).await?;
    let done = part(call)?.go_on_without(without).await?;
    json(&serde_json::json!({ "message": done }))
}

/// The number of a region that a path names.
pub(super) fn number(region: &str) -> Result<u16, Problem> {
    region.parse().map_err(|_| {
        let detail = format!("`{region}` is not the number of a region: use 1 to 65535");
        Problem::new(Code::InvalidParameter, detail)
    })
}

/// Hashes what is here.
pub(crate) async fn hashes(call: &Call) -> Outcome {
    let query = Query::read(call.uri.query(), &["stream"])?;
    let stream = query.text("stream").map(str::to_owned);
    json(&part(call)?.hashes(stream).await?)
}

/// Says which regions are for a user.
pub(crate) async fn route(call: &Call) -> Outcome {
    let known: Vec<&'static str> = USER.into_iter().chain(["redirect"]).collect();
    let query = Query::read(call.uri.query(), &known)?;
    let path = query.text("redirect").filter(|text| !text.is_empty()).map(path_of).transpose()?;
    let view = part(call)?.route(user(&query)?).await?;
    match path {
        Some(path) => redirected(&view, &path),
        None => json(&view),
    }
}

/// The user that a query describes.
pub(crate) fn user(query: &Query<'_>) -> Result<RouteQuery, Problem> {
    let text = |name| query.text(name).filter(|text| !text.is_empty());
    let user = text("user").unwrap_or_default();
    if user.len() > USER_BYTES_MAX {
        let detail = format!("parameter `user` has {} bytes, over the limit of {USER_BYTES_MAX}", user.len());
        return Err(Problem::parameter("user", detail));
    }
    let lag_ms_max = query.number("lag_ms_max", 0..=u32::MAX.into())?;
    let current = query.number("current", 1..=u16::MAX.into())?;
    Ok(RouteQuery {
        place: place(text("lat"), text("lon"))?,
        token: text("token").map(str::parse).transpose()?,
        lag_ms_max: lag_ms_max.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(LAG_MS),
        user: user.to_owned(),
        current: current.and_then(|number| u16::try_from(number).ok()).map(RegionId),
        network: text("network").map(network_of).transpose()?,
    })
}

fn network_of(text: &str) -> Result<Network, Problem> {
    network(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let detail =
            format!("`{shown}` is no network: use an address such as 198.51.100.7, or 198.51.100.0/24");
        Problem::parameter("network", detail)
    })
}

/// Takes note of what a client has measured.
pub(crate) async fn measured(call: &Call, body: Incoming) -> Outcome {
    expect_json(call)?;
    let measured: MeasuredRtts = read_json(call, body).await?;
    network_of(&measured.network)?;
    part(call)?.measured(measured, call.headers.contains_key(&HOP))?;
    Ok(no_content())
}

/// A path on whichever region it is to be asked of.
fn path_of(text: &str) -> Result<PathAndQuery, Problem> {
    // What begins with two slashes names a host, which would be anybody's.
    let path =
        Some(text).filter(|text| text.starts_with('/') && !text.starts_with("//") && !text.contains('\\'));
    path.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown: String = text.chars().take(200).collect();
        Problem::parameter(
            "redirect",
            format!("`{shown}` is no path on a region: use one such as /v1/streams"),
        )
    })
}

/// Sends the client to the first choice (RFC 9110, section 15.4.8: with the same method and body).
fn redirected(view: &RouteView, path: &PathAndQuery) -> Outcome {
    let mut response = json(view)?;
    let url = view.regions.first().map(|region| region.url.trim_end_matches('/'));
    let location = url.and_then(|url| HeaderValue::from_str(&format!("{url}{path}")).ok());
    let nowhere =
        || Problem::new(Code::Internal, "the first choice has no address to which a client could be sent");
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location.ok_or_else(nowhere)?);
    // The next time it may be another region.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn place(lat: Option<&str>, lon: Option<&str>) -> Result<Option<Place>, Problem> {
    let (lat, lon) = match (lat, lon) {
        (None, None) => return Ok(None),
        (Some(lat), Some(lon)) => (lat, lon),
        _ => {
            return Err(Problem::parameter(
                "lat",
                "a place is `lat` and `lon`, in degrees: say both, or neither",
            ));
        }
    };
    let degrees = |name: &'static str, text: &str| {
        let detail = || format!("parameter `{name}` is `{text}`: it must be a number of degrees");
        text.parse::<f64>().map_err(|_| Problem::parameter(name, detail()))
    };
    let place = Place::new(degrees("lat", lat)?, degrees("lon", lon)?);
    place.map(Some).map_err(|error| Problem::parameter("lat", error.to_string()))
}

pub(crate) fn part(call: &Call) -> Result<&dyn Regions, Problem> {
    call.api.parts.regions.as_deref().ok_or_else(|| {
        let detail = "this installation is the only one: give it an `id` in [region] of its configuration to make it one of several \
                      regions";
        Problem::new(Code::WrongState, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::RankedRegion;

    #[test]
    fn a_client_is_sent_to_the_first_choice_and_to_no_other_host() {
        let path = path_of("/v1/streams/orders/events?from=latest").unwrap();
        let region = RankedRegion { url: "https://us.example:7070/".into(), ..RankedRegion::default() };
        let view = RouteView { regions: vec![region], ..RouteView::default() };
        let sent = redirected(&view, &path).unwrap();
        assert_eq!(sent.status(), 307);
        assert_eq!(sent.headers()[LOCATION], "https://us.example:7070/v1/streams/orders/events?from=latest");
        for elsewhere in
            ["//evil.example/x", "https://evil.example/", "v1/streams", "/\\evil.example", "/a b", "/a\r\nb"]
        {
            let refused = path_of(elsewhere).unwrap_err();
            assert!(refused.detail().contains("is no path on a region"), "{elsewhere}: {}", refused.detail());
        }
    }
}
