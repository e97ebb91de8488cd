//! The shop in a PostgreSQL: tables that are written with SQL and captured.
//!
//! What happens in a batch of ticks is one transaction, so the tables themselves say how far the demo is.

use super::events::amount;
use super::shop::{Fact, State};
use crate::client::{Client, Request};
use crate::error::{Error, Result};
use crate::output::note;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};
use tw_types::chain;

/// What marks the demo's tables, so that nobody else's are written to.
const MARK: &str = "written by tradewind demo";
const TABLES: [&str; 3] = ["customers", "orders", "clicks"];
const SCHEMA: &str = "
    CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, country text NOT NULL);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL REFERENCES customers, state text NOT NULL,
                         total numeric(12,2) NOT NULL);
    CREATE TABLE clicks (id bigint PRIMARY KEY, customer_id bigint NOT NULL, page text NOT NULL);
    COMMENT ON TABLE customers IS 'written by tradewind demo';
    COMMENT ON TABLE orders IS 'written by tradewind demo';
    COMMENT ON TABLE clicks IS 'written by tradewind demo';";
/// The views over captured tables: an order is one row, whose state changes.
const VIEWS: [&str; 3] = [
    "CREATE PROJECTION IF NOT EXISTS revenue AS SELECT customer_id, count(*) AS orders, sum(total) AS revenue \
     FROM shop.orders WHERE state IN ('paid', 'shipped') GROUP BY customer_id",
    "CREATE PROJECTION IF NOT EXISTS orders_by_state AS SELECT state, count(*) AS orders, sum(total) AS total \
     FROM shop.orders GROUP BY state",
    "CREATE PROJECTION IF NOT EXISTS clicks_by_page AS SELECT page, count(*) AS clicks, \
     count(DISTINCT customer_id) AS visitors FROM shop.clicks GROUP BY page",
];
/// How long the source may take to make its streams.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes SQL.
pub(super) struct Writer {
    address: String,
    client: tokio_postgres::Client,
}

impl Writer {
    pub(super) async fn open(address: &str) -> Result<Self> {
        let config: Config = address.parse().map_err(|error: tokio_postgres::Error| {
            let reason = chain(&error);
            Error::Usage(format!(
                "what `--postgres` says is no address of a database ({reason}): use postgres://user@host/database"
            ))
        })?;
        let (client, connection) =
            config.connect(NoTls).await.map_err(|error| unconnected(&config, &error))?;
        // What goes wrong is told to whoever waits for an answer.
        tokio::spawn(async move {
            let _told_elsewhere = connection.await;
        });
        Ok(Self { address: address.to_owned(), client })
    }

    pub(super) async fn define(&self, client: &Client) -> Result<()> {
        self.make_tables().await?;
        let tables = TABLES.map(|table| format!("public.{table}")).join(", ");
        let address = self.address.replace('\'', "''");
        let source = format!("CREATE SOURCE IF NOT EXISTS shop FROM POSTGRES '{address}' TABLES ({tables})");
        statement(client, &source).await?;
        self.wait_for_streams(client).await?;
        for view in VIEWS {
            statement(client, view).await?;
        }
        Ok(())
    }

    async fn make_tables(&self) -> Result<()> {
        let mut known = 0;
        for table in TABLES {
            let sql = "SELECT obj_description(to_regclass($1), 'pg_class'), to_regclass($1) IS NOT NULL";
            let name = format!("public.{table}");
            let row = self.client.query_one(sql, &[&name]).await.map_err(|error| failed(&error))?;
            let (comment, exists): (Option<String>, bool) = (row.get(0), row.get(1));
            if exists && comment.as_deref() != Some(MARK) {
                return Err(Error::Refused(format!(
                    "the database has a table `public.{table}` that is not the demo's: name another database"
                )));
            }
            known += usize::from(exists);
        }
        if known == 0 {
            self.client
                .batch_execute(&format!("BEGIN; {SCHEMA} COMMIT"))
                .await
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Waits until the source has made the streams of all tables.
    async fn wait_for_streams(&self, client: &Client) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = false;
        loop {
            let source: Value = client.get("/v1/sources/shop").await?;
            let streams: Value = client.get("/v1/streams").await?;
            let streams = streams.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
            let has = |table: &str| {
                let name = format!("shop.{table}");
                streams.iter().any(|stream| stream.get("name").and_then(Value::as_str) == Some(&name))
            };
            if TABLES.iter().all(|table| has(table)) {
                return Ok(());
            }
            let why = source.get("error").and_then(Value::as_str).unwrap_or("it is connecting");
            if Instant::now() > deadline {
                return Err(Error::Timeout(format!("the source has not begun to capture: {why}")));
            }
            if !said && source.get("error").is_some() {
                note(format!("the source has not begun yet: {why}"));
                said = true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn next_tick(&self) -> Result<u64> {
        let row = self.client.query_one("SELECT coalesce(max(id) + 1, 0) FROM orders", &[]).await;
        let next: i64 = row.map_err(|error| failed(&error))?.get(0);
        Ok(u64::try_from(next).unwrap_or_default())
    }

    pub(super) async fn write(&self, facts: &[Fact]) -> Result<()> {
        self.client.batch_execute(&transaction(facts)).await.map_err(|error| failed(&error))
    }
}

async fn statement(client: &Client, sql: &str) -> Result<()> {
    client.send(Request::post("/v1/sql").json(&json!({ "sql": sql }))).await?.bytes().await.map(drop)
}

/// Says which database it is, without the password, and what to do.
fn unconnected(config: &Config, error: &tokio_postgres::Error) -> Error {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or_default();
    Error::Failed(format!(
        "the database of `--postgres` cannot be used as `{user}` at `{host}:{port}`: {}; check that it runs there, and what its \
         address says of user, password and database",
        chain(error)
    ))
}

fn failed(error: &tokio_postgres::Error) -> Error {
    Error::Failed(format!("PostgreSQL: {}", chain(error)))
}

/// One transaction in which all of it happens. Texts are the shop's own, and hold no quotes.
fn transaction(facts: &[Fact]) -> String {
    let [mut customers, mut orders, mut clicks, mut changes]: [String; 4] = Default::default();
    for fact in facts {
        // Writing to memory does not fail.
        let _infallible = match fact {
            Fact::Customer { id, name, country } => {
                row(&mut customers, format_args!("{id},'{name}','{country}'"))
            }
            Fact::Order { id, customer, state: State::Placed, cents } => {
                row(&mut orders, format_args!("{id},{customer},'placed',{}", amount(*cents)))
            }
            Fact::Order { id, state, .. } => {
                writeln!(changes, "UPDATE orders SET state='{}' WHERE id={id};", state.name())
            }
            Fact::Click { id, customer, page } => row(&mut clicks, format_args!("{id},{customer},'{page}'")),
        };
    }
    let mut sql = String::from("BEGIN;\n");
    for (table, rows) in [("customers", customers), ("orders", orders), ("clicks", clicks)] {
        if !rows.is_empty() {
            let _infallible = writeln!(sql, "INSERT INTO {table} VALUES {rows};");
        }
    }
    sql.push_str(&changes);
    sql.push_str("COMMIT;");
    sql
}

fn row(rows: &mut String, values: std::fmt::Arguments<'_>) -> std::fmt::Result {
    let comma = if rows.is_empty() { "" } else { "," };
    write!(rows, "{comma}({values})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_batch_is_one_transaction_and_changes_come_after_what_they_change() {
        let facts = [
            Fact::Customer { id: 1, name: "Ada 1".into(), country: "de" },
            Fact::Order { id: 7, customer: 1, state: State::Placed, cents: 1_205 },
            Fact::Order { id: 7, customer: 1, state: State::Paid, cents: 1_205 },
            Fact::Order { id: 8, customer: 1, state: State::Placed, cents: 500 },
        ];
        expect![[r#"
            BEGIN;
            INSERT INTO customers VALUES (1,'Ada 1','de');
            INSERT INTO orders VALUES (7,1,'placed',12.05),(8,1,'placed',5.00);
            UPDATE orders SET state='paid' WHERE id=7;
            COMMIT;"#]]
        .assert_eq(&transaction(&facts));
    }
}
