//! `tradewind region route`: which regions are for a user, and why.

use super::{count, duration_ms, number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request};
use crate::error::Result;
use crate::output::{Align, Cell, Listing, note};
use serde_json::Value;

/// A user.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The latitude of the user, in degrees, north positive
    #[arg(long, requires = "lon", allow_negative_numbers = true)]
    lat: Option<f64>,
    /// The longitude of the user, in degrees, east positive
    #[arg(long, requires = "lat", allow_negative_numbers = true)]
    lon: Option<f64>,
    /// What the user must see again, as `append` printed it
    #[arg(long)]
    token: Option<String>,
    /// How far a region may be behind with that, in milliseconds [default: 1000]
    #[arg(long, requires = "token", value_name = "MS")]
    lag_ms_max: Option<u32>,
    /// What the user is recognised by, such as an account
    #[arg(long)]
    user: Option<String>,
    /// The region that served the user last [default: the one that gave the token]
    #[arg(long, value_name = "REGION")]
    current: Option<u16>,
}

pub(super) async fn run(options: &Options, client: &Client, context: &Context) -> Result<()> {
    let request = Request::get("/v1/route")
        .query("lat", options.lat)
        .query("lon", options.lon)
        .query("token", options.token.as_deref())
        .query("lag_ms_max", options.lag_ms_max)
        .query("user", options.user.as_deref())
        .query("current", options.current);
    let view: Value = client.send(request).await?.json().await?;
    let columns = [
        ("region", "region", Align::Right),
        ("url", "url", Align::Left),
        ("away", "rtt_ms", Align::Right),
        ("behind", "lag_ms", Align::Right),
        ("why", "why", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "there are none");
    for region in objects(&view, "regions") {
        let ms =
            |member: &str| region.get(member).and_then(Value::as_u64).map_or_else(String::new, duration_ms);
        let row = [
            number(&region, "region").to_string(),
            text(&region, "url").to_owned(),
            ms("rtt_ms"),
            ms("lag_ms"),
            text(&region, "why").to_owned(),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), region.clone());
    }
    listing.print(&mut context.output())?;
    for region in objects(&view, "out") {
        let (number, out) = (number(&region, "region"), text(&region, "out"));
        note(format_args!("region {number} is {out}: {}", text(&region, "why")));
    }
    if view.get("fail_static") == Some(&Value::Bool(true)) {
        note(format_args!(
            "all {} regions look down, so none is taken for down",
            count(objects(&view, "regions").len() as u64)
        ));
    }
    Ok(())
}
