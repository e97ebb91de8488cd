//! The shop as events: three streams over HTTP, and one that says how far the demo is.
//!
//! A batch is written again after a crash before its end was noted; events that are there already are recognised by
//! their ids, so that it happens once.

use super::clock;
use super::shop::Fact;
use crate::client::{Client, Request, TOKEN};
use crate::error::Result;
use serde_json::{Value, json};
use std::fmt::Write as _;
use tw_types::ClientToken;

/// What the streams and views of the shop are.
const DEFINITIONS: [&str; 7] = [
    "CREATE STREAM IF NOT EXISTS shop.customers (id bigint NOT NULL, name text, country text)",
    "CREATE STREAM IF NOT EXISTS shop.orders (id bigint NOT NULL, customer_id bigint NOT NULL, state text NOT NULL, total numeric(12,2) NOT NULL)",
    "CREATE STREAM IF NOT EXISTS shop.clicks (customer_id bigint NOT NULL, page text NOT NULL)",
    "CREATE STREAM IF NOT EXISTS shop.clock WITH (partitions = 1)",
    "CREATE PROJECTION IF NOT EXISTS revenue AS SELECT customer_id, count(*) FILTER (WHERE state = 'paid') AS orders, \
     sum(CASE WHEN state = 'paid' THEN total WHEN state = 'refunded' THEN -total ELSE 0 END) AS revenue \
     FROM shop.orders GROUP BY customer_id",
    "CREATE PROJECTION IF NOT EXISTS orders_by_state AS SELECT state, count(*) AS orders, sum(total) AS total \
     FROM shop.orders GROUP BY state",
    "CREATE PROJECTION IF NOT EXISTS clicks_by_page AS SELECT page, count(*) AS clicks, \
     count(DISTINCT customer_id) AS visitors FROM shop.clicks GROUP BY page",
];
/// The subject that says how far the demo is.
const CLOCK: &str = "/v1/streams/shop.clock/subjects/demo/events";
const STREAMS: [&str; 3] = ["shop.customers", "shop.orders", "shop.clicks"];

/// Writes events.
pub(super) struct Writer {
    /// One connection for each stream, so that they are written at the same time.
    clients: [Client; 3],
}

impl Writer {
    pub(super) fn new(url: &str) -> Result<Self> {
        Ok(Self { clients: [Client::new(url)?, Client::new(url)?, Client::new(url)?] })
    }

    pub(super) async fn define(&self, client: &Client) -> Result<()> {
        for sql in DEFINITIONS {
            client.send(Request::post("/v1/sql").json(&json!({ "sql": sql }))).await?;
        }
        Ok(())
    }

    pub(super) async fn next_tick(&self) -> Result<u64> {
        let [client, ..] = &self.clients;
        clock::next_tick(client, CLOCK).await
    }

    pub(super) async fn write(&self, facts: &[Fact], next_tick: u64) -> Result<ClientToken> {
        let mut bodies: [String; 3] = Default::default();
        for fact in facts {
            let [customers, orders, clicks] = &mut bodies;
            let body = match fact {
                Fact::Customer { .. } => customers,
                Fact::Order { .. } => orders,
                Fact::Click { .. } => clicks,
            };
            // Writing to memory does not fail.
            let _infallible = writeln!(body, "{}", event(fact));
        }
        let [customers, orders, clicks] = bodies;
        let [first, second, third] = &self.clients;
        let [to_customers, to_orders, to_clicks] = STREAMS;
        let (customers, orders, clicks) = tokio::join!(
            append(first, to_customers, customers),
            append(second, to_orders, orders),
            append(third, to_clicks, clicks),
        );
        let mut token = ClientToken::default();
        for part in [customers?, orders?, clicks?].iter().flatten() {
            token.merge(part);
        }
        clock::note(first, CLOCK, next_tick).await?;
        Ok(token)
    }
}

/// Appends events that are lines; gives the cut after them.
///
/// # Errors
/// Those of the client.
pub(super) async fn append(client: &Client, stream: &str, lines: String) -> Result<Option<ClientToken>> {
    if lines.is_empty() {
        return Ok(None);
    }
    let request = Request::post(format!("/v1/streams/{stream}/events")).body("application/x-ndjson", lines);
    let answer = client.send(request).await?;
    let token = answer.header(&TOKEN).and_then(|token| token.parse().ok());
    // The rest of the answer is read, so that the connection can be used again.
    answer.bytes().await?;
    Ok(token)
}

/// An event as one line.
fn event(fact: &Fact) -> Value {
    match fact {
        Fact::Customer { id, name, country } => json!({
            "specversion": "1.0", "id": format!("customer-{id}"), "source": "/demo", "type": "customer.joined",
            "subject": format!("customer-{id}"), "data": { "id": id, "name": name, "country": country },
        }),
        Fact::Order { id, customer, state, cents } => {
            let state = state.name();
            json!({
                "specversion": "1.0", "id": format!("order-{id}-{state}"), "source": "/demo",
                "type": format!("order.{state}"), "subject": format!("order-{id}"),
                "data": { "id": id, "customer_id": customer, "state": state, "total": amount(*cents) },
            })
        }
        Fact::Click { id, customer, page } => json!({
            "specversion": "1.0", "id": format!("click-{id}"), "source": "/demo", "type": "page.clicked",
            "subject": format!("customer-{customer}"), "data": { "customer_id": customer, "page": page },
        }),
    }
}

/// Cents as an amount, digit for digit.
pub(super) fn amount(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::super::shop::State;
    use super::*;
    use expect_test::expect;

    #[test]
    fn events_are_cloud_events_with_ids_that_say_what_happened() {
        let order = Fact::Order { id: 7, customer: 3, state: State::Paid, cents: 1_205 };
        expect![[r#"{"data":{"customer_id":3,"id":7,"state":"paid","total":"12.05"},"id":"order-7-paid","source":"/demo","specversion":"1.0","subject":"order-7","type":"order.paid"}"#]]
            .assert_eq(&event(&order).to_string());
    }
}
