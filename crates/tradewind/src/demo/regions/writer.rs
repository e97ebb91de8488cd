//! What happens in a region: orders, and what becomes of them, of a shop of its own.
//!
//! Regions share customers, so that the rows of the view are made of events of all, and the rows of customers are changed by all. No order has the
//! number of another region's. A batch that is written again after a crash is recognised by its ids.

use super::world::Shared;
use crate::client::{Client, Request};
use crate::demo::EVERY;
use crate::demo::clock;
use crate::demo::events::{amount, append};
use crate::demo::pace::Pace;
use crate::demo::shop::{Fact, Shop};
use crate::error::Result;
use serde_json::json;
use std::fmt::Write as _;

/// The stream that is written in every region.
pub(super) const STREAM: &str = "orders";
/// The stream of the rows that all regions change.
pub(super) const ROWS: &str = "customers";
/// The projection of orders, in every region.
pub(super) const VIEW: &str = "revenue";
/// What each region defines.
const DEFINITIONS: [&str; 4] = [
    "CREATE STREAM IF NOT EXISTS orders (id bigint NOT NULL, customer_id bigint NOT NULL, state text NOT NULL, \
     total numeric(12,2) NOT NULL) WITH (partitions = 2, mode = 'active-active')",
    "CREATE PROJECTION IF NOT EXISTS revenue AS SELECT customer_id, count(*) FILTER (WHERE state = 'paid') AS orders, \
     sum(CASE WHEN state = 'paid' THEN total WHEN state = 'refunded' THEN -total ELSE 0 END) AS revenue \
     FROM orders GROUP BY customer_id",
    "CREATE STREAM IF NOT EXISTS customers (seen_in text, refunds bigint NOT NULL MERGE counter, \
     largest numeric(12,2) MERGE max) WITH (partitions = 2, mode = 'active-active')",
    // How far the demo is in this region is nobody else's business.
    "CREATE STREAM IF NOT EXISTS demo.clock WITH (partitions = 1)",
];
/// The subject that says how far the demo is.
const CLOCK: &str = "/v1/streams/demo.clock/subjects/demo/events";
/// About how many of a tick's facts are about orders.
const ORDERS_PER_TICK: f64 = 2.92;

/// Writes to a region.
pub(super) struct Writer {
    number: u16,
    client: Client,
    shop: Shop,
    next: u64,
}

impl Writer {
    /// Defines what is not there yet, and finds out how far the demo is.
    ///
    /// # Errors
    /// Those of the client.
    pub(super) async fn open(number: u16, url: &str, seed: u64) -> Result<Self> {
        let client = Client::new(url)?;
        for sql in DEFINITIONS {
            client.send(Request::post("/v1/sql").json(&json!({ "sql": sql }))).await?.bytes().await?;
        }
        let next = clock::next_tick(&client, CLOCK).await?;
        Ok(Self { number, client, shop: Shop::new(seed.wrapping_add(u64::from(number))), next })
    }

    /// Has the shop live at so many events a second, but while the writers pause. Ends only when that does not succeed.
    ///
    /// # Errors
    /// Those of the client.
    pub(super) async fn write(mut self, rate: u64, world: Shared) -> Result<()> {
        let per_second = rate as f64 / ORDERS_PER_TICK;
        let mut beats = tokio::time::interval(EVERY);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut pace = Pace::new(per_second, self.next);
        loop {
            beats.tick().await;
            if world.borrow_mut().rests(self.number) {
                // Nobody hurries afterwards.
                pace = Pace::new(per_second, self.next);
                continue;
            }
            if let Some(ticks) = pace.due(self.next) {
                let until = ticks.end;
                let facts: Vec<Fact> = ticks.flat_map(|tick| self.shop.tick(tick)).collect();
                let accepted = self.append(&facts, until).await?;
                world.borrow_mut().wrote(self.number, accepted);
                self.next = until;
            }
        }
    }

    /// Appends what is about orders; returns how many events that is.
    async fn append(&self, facts: &[Fact], next: u64) -> Result<u64> {
        let (mut lines, mut count) = (String::new(), 0);
        for event in facts.iter().filter_map(|fact| event(self.number, fact)) {
            // Writing to memory does not fail.
            let _infallible = writeln!(lines, "{event}");
            count += 1;
        }
        append(&self.client, STREAM, lines).await?;
        let mut changes = String::new();
        for event in facts.iter().filter_map(|fact| change(self.number, fact)) {
            let _infallible = writeln!(changes, "{event}");
        }
        append(&self.client, ROWS, changes).await?;
        clock::note(&self.client, CLOCK, next).await?;
        Ok(count)
    }
}

/// An event that is about an order.
fn event(region: u16, fact: &Fact) -> Option<serde_json::Value> {
    let Fact::Order { id, customer, state, cents } = fact else { return None };
    let state = state.name();
    Some(json!({
        "specversion": "1.0", "id": format!("{region}-{id}-{state}"), "source": format!("/demo/region-{region}"),
        "type": format!("order.{state}"), "subject": format!("order-{region}-{id}"),
        "data": { "id": id, "customer_id": customer, "state": state, "total": amount(*cents) },
    }))
}

/// A change of a customer's row, for the facts that change one: refunds, so that conflicts can be counted on one hand while links are whole.
fn change(region: u16, fact: &Fact) -> Option<serde_json::Value> {
    let Fact::Order { id, customer, state, cents } = fact else { return None };
    (state.name() == "refunded").then(|| {
        json!({
            "specversion": "1.0", "id": format!("{region}-{id}-row"), "source": format!("/demo/region-{region}"),
            "type": "customer.refunded", "subject": format!("customer-{customer}"),
            "data": { "seen_in": format!("region {region}"), "refunds": 1, "largest": amount(*cents) },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_facts_are_about_orders_as_said_and_regions_share_no_order() {
        let orders = |region: u16| {
            let shop = Shop::new(u64::from(region));
            (1_000..5_000).flat_map(move |tick| shop.tick(tick)).filter_map(move |fact| event(region, &fact))
        };
        let per_tick = orders(1).count() as f64 / 4_000.0;
        assert!((per_tick - ORDERS_PER_TICK).abs() < 0.05, "{per_tick}");
        let subjects = |region| orders(region).map(|event| event["subject"].to_string()).collect::<Vec<_>>();
        let (one, other) = (subjects(1), subjects(2));
        let one: std::collections::HashSet<_> = one.iter().collect();
        assert!(!other.iter().any(|subject| one.contains(subject)));
    }
}
