//! `tradewind region routing`: how users are spread over regions, and how that is changed.

use super::{number, objects, text};
use crate::cli::Context;
use crate::client::{Client, Request};
use crate::error::Result;
use crate::output::{Align, Cell, Listing, note};
use serde_json::{Value, json};

const EXAMPLES: &str = "\
Examples:
  tradewind region routing                      the plan in effect, and those before
  tradewind region routing shift 1 2 100        a tenth of the users that prefer region 1 go to region 2
  tradewind region routing drain 3              nobody is sent to region 3 any more
  tradewind region routing weigh 3 1000         region 3 keeps all users that prefer it again
  tradewind region routing rollback 4           the regions are as they were in generation 4";

/// What is to be shown or done.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(subcommand)]
    step: Option<Step>,
}

#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Give a part of the users that prefer a region to another region, if that has room for them
    Shift {
        /// Whose users
        from: u16,
        /// Who gets them
        to: u16,
        /// How many, in thousandths
        permille: u32,
        #[command(flatten)]
        terms: Terms,
    },
    /// Send the users of a region on to those that are next for them, if there is room
    Drain {
        /// The region
        region: u16,
        /// How many, in thousandths [default: all, and nobody is sent there any more]
        permille: Option<u32>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Say how many of the users that prefer a region it keeps, and end its drain
    Weigh {
        /// The region
        region: u16,
        /// How many, in thousandths
        weight: u32,
        #[command(flatten)]
        terms: Terms,
    },
    /// Have the regions be as they were in an earlier generation
    Rollback {
        /// That generation
        generation: u64,
        #[command(flatten)]
        terms: Terms,
    },
}

/// On which conditions.
#[derive(Debug, clap::Args)]
struct Terms {
    /// Only if this generation is in effect
    #[arg(long, value_name = "GENERATION")]
    if_generation: Option<u64>,
    /// Say only what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(options: &Options, client: &Client, context: &Context) -> Result<()> {
    let (path, mut body, terms) = match &options.step {
        None => return show(client, context).await,
        Some(Step::Shift { from, to, permille, terms }) => {
            ("shift", json!({ "from": from, "to": to, "permille": permille }), terms)
        }
        Some(Step::Drain { region, permille, terms }) => {
            ("drain", json!({ "region": region, "permille": permille }), terms)
        }
        Some(Step::Weigh { region, weight, terms }) => {
            ("weigh", json!({ "region": region, "weight": weight }), terms)
        }
        Some(Step::Rollback { generation, terms }) => ("rollback", json!({ "to": generation }), terms),
    };
    if let Some(members) = body.as_object_mut() {
        members.insert("if_generation".to_owned(), terms.if_generation.into());
        members.insert("dry_run".to_owned(), terms.dry_run.into());
    }
    let request = Request::post(format!("/v1/routing/{path}")).json(&body);
    let changed: Value = client.send(request).await?.json().await?;
    regions(&changed).print(&mut context.output())?;
    let (generation, change) = (number(&changed, "generation"), text(&changed, "change"));
    if terms.dry_run {
        note(format_args!("nothing was done: generation {generation} would be: {change}"));
    } else {
        note(format_args!("generation {generation} is in effect: {change}"));
    }
    Ok(())
}

async fn show(client: &Client, context: &Context) -> Result<()> {
    let view: Value = client.get("/v1/routing").await?;
    regions(&view).print(&mut context.output())?;
    let home = view.get("home").and_then(Value::as_u64);
    note(format_args!(
        "generation {} is in effect{}",
        number(&view, "generation"),
        home.map_or_else(String::new, |home| format!("; changes are decided in region {home}"))
    ));
    for one in objects(&view, "history") {
        let by = one.get("by").and_then(Value::as_u64);
        let by = by.map_or_else(String::new, |by| format!(", decided in region {by}"));
        note(format_args!("generation {}: {}{by}", number(&one, "generation"), text(&one, "change")));
    }
    for loss in objects(&view, "losses") {
        if number(&loss, "beyond_per_s") > 0 {
            note(format_args!(
                "without region {} there would be no room for {} requests/s",
                number(&loss, "region"),
                number(&loss, "beyond_per_s")
            ));
        }
    }
    for unknown in objects(&view, "not_known").iter().filter_map(Value::as_str) {
        note(format_args!("not known: {unknown}"));
    }
    Ok(())
}

/// The regions of a plan.
fn regions(view: &Value) -> Listing {
    let columns = [
        ("region", "region", Align::Right),
        ("url", "url", Align::Left),
        ("state", "state", Align::Left),
        ("keeps", "weight", Align::Right),
        ("gives", "given", Align::Left),
        ("serves", "load_per_s", Align::Right),
        ("can serve", "capacity_per_s", Align::Right),
    ];
    let mut listing = Listing::new(&columns, "there are none");
    for region in objects(view, "regions") {
        let is = |member: &str| region.get(member).and_then(Value::as_bool) == Some(true);
        let state = match (is("drained"), is("up")) {
            (true, _) => "drained",
            (false, true) => "up",
            (false, false) => "down",
        };
        let given = objects(&region, "given");
        let given = given.iter().map(|part| {
            let to = part.get("to").and_then(Value::as_u64);
            let to = to.map_or_else(|| "the next one".to_owned(), |to| format!("region {to}"));
            format!("{} to {to}", number(part, "permille"))
        });
        let per_s = |member: &str| {
            region.get(member).and_then(Value::as_u64).map_or_else(String::new, |rate| format!("{rate}/s"))
        };
        let row = [
            number(&region, "region").to_string(),
            text(&region, "url").to_owned(),
            state.to_owned(),
            number(&region, "weight").to_string(),
            given.collect::<Vec<_>>().join(", "),
            per_s("load_per_s"),
            per_s("capacity_per_s"),
        ];
        listing.push(row.into_iter().map(Cell::from).collect(), region.clone());
    }
    listing
}
