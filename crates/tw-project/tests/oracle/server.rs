//! PostgreSQL's side.

use crate::history::{Change, Row, Table};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A private server, and a connection to it.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    client: Client,
    _server: tw_testing::Postgres,
}

fn literal(value: &Option<String>) -> String {
    value.as_ref().map_or_else(|| "NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")))
}

impl Server {
    pub fn start() -> Self {
        let server = tw_testing::Postgres::builder().setting("fsync", "off").start();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("SET timezone = 'UTC'; SET client_min_messages = error").await.unwrap();
            client
        });
        Self { runtime, client, _server: server }
    }

    pub fn execute(&mut self, sql: &str) {
        self.runtime
            .block_on(self.client.batch_execute(sql))
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Begins with an empty table `t`, whose column `_rid` tells the rows in the order in which they came, and a table `t_ever`
    /// for every row that there ever is. What is compared is the order of bytes.
    pub fn begin(&mut self, table: &Table) {
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|(name, ty)| {
                let collation = if ty.name() == "text" { " COLLATE \"C\"" } else { "" };
                format!("{name} {}{collation}", ty.name())
            })
            .collect();
        self.execute(&format!(
            "BEGIN; CREATE TEMP TABLE t ({}, _rid bigint) ON COMMIT DROP; CREATE TEMP TABLE t_ever (LIKE t) ON COMMIT DROP",
            columns.join(", ")
        ));
    }

    pub fn end(&mut self) {
        self.execute("ROLLBACK");
    }

    /// Makes changes; `first` is the number of the first one.
    pub fn change(&mut self, table: &Table, changes: &[Change], first: usize) {
        let mut sql = String::new();
        for (number, change) in (first..).zip(changes) {
            let values = |row: &Row| row.iter().map(literal).collect::<Vec<_>>().join(", ");
            if let Change::Insert { row } | Change::Update { after: row, .. } = change {
                sql += &format!("INSERT INTO t_ever VALUES ({}, {number});\n", values(row));
            }
            // One of the rows that look like this.
            let one = |row: &Row| {
                let same: Vec<String> = table
                    .columns
                    .iter()
                    .zip(row)
                    .map(|((name, ty), value)| {
                        format!("{name} IS NOT DISTINCT FROM {}::{}", literal(value), ty.name())
                    })
                    .collect();
                format!("ctid = (SELECT ctid FROM t WHERE {} LIMIT 1)", same.join(" AND "))
            };
            sql += &match change {
                Change::Insert { row } => format!("INSERT INTO t VALUES ({}, {number});\n", values(row)),
                Change::Update { before, after, .. } => {
                    let set: Vec<String> = table
                        .columns
                        .iter()
                        .zip(after)
                        .map(|((name, _), value)| format!("{name} = {}", literal(value)))
                        .collect();
                    format!("UPDATE t SET {}, _rid = {number} WHERE {};\n", set.join(", "), one(before))
                }
                Change::Delete { before } => format!("DELETE FROM t WHERE {};\n", one(before)),
                Change::Truncate => "DELETE FROM t;\n".to_owned(),
            };
        }
        if !sql.is_empty() {
            self.execute(&sql);
        }
    }

    /// The answer to a query as rows of texts; the message of the error if there is none.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.runtime.block_on(async {
            self.client.batch_execute("SAVEPOINT q").await.unwrap();
            match self.client.simple_query(sql).await {
                Ok(messages) => {
                    self.client.batch_execute("RELEASE q").await.unwrap();
                    let rows = messages.into_iter().filter_map(|message| match message {
                        SimpleQueryMessage::Row(row) => {
                            Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
                        }
                        _ => None,
                    });
                    Ok(rows.collect())
                }
                Err(error) => {
                    self.client.batch_execute("ROLLBACK TO q").await.unwrap();
                    Err(error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |error| error.message().to_owned()))
                }
            }
        })
    }
}
