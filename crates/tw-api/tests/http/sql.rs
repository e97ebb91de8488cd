//! Statements over HTTP: every format read back, errors before and after the first row, and an end when the client goes.

use crate::support::World;
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tw_api::Problem;
use tw_api::parts::{Answer, Rows, Sql, Statement};
use tw_env::Env;
use tw_log::MemoryLog;

fn post(world: &World, sql: &str) -> crate::support::client::Call {
    world.post("/v1/sql").header("content-type", "text/plain").body(sql.to_owned())
}

#[tokio::test]
async fn rows_come_as_json_with_their_columns() {
    let world = World::start().await;
    let reply = post(&world, "SELECT 1").send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.text(),
        r#"{"columns":[{"name":"n","type":"bigint"},{"name":"t","type":"text"},{"name":"z","type":"integer"},{"name":"d","type":"numeric(10,2)"},{"name":"b","type":"boolean"}],"rows":[[1,"a\"b",null,"1.50",true]]}"#
    );
}

#[tokio::test]
async fn parameters_arrive_as_they_were_written() {
    let world = World::start().await;
    let body = r#"{"sql":"PARAMS","params":[41.10,"it's",false,null,{"a":[1]}]}"#;
    let reply = world.post("/v1/sql").json(body).send().await;
    let rows: Vec<String> =
        reply.json()["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().into()).collect();
    assert_eq!(
        rows,
        [r#"Number("41.10")"#, r#"Text("it's")"#, "Bool(false)", "Null", r#"Json("{\"a\":[1]}")"#]
    );
    let reply = world.post("/v1/sql").json(r#"{"sql":"SELECT 1","parms":[]}"#).send().await;
    assert_eq!(reply.code(), "invalid_body");
}

#[tokio::test]
async fn lines_csv_and_arrow_hold_the_same_rows() {
    let world = World::start().await;
    let sql = "ROWS 1 20000";
    let lines = post(&world, sql).header("accept", "application/x-ndjson").send().await;
    let csv = post(&world, sql).header("accept", "text/csv").send().await;
    let arrow = post(&world, sql).header("accept", "application/vnd.apache.arrow.stream").send().await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    let mut expected: Vec<(i64, bool)> = (1..=20_000).map(|n| (n, n % 2 == 0)).collect();
    let mut from_lines: Vec<_> = lines
        .text()
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["n"].as_i64().unwrap(), row["t"] == "even, \"so\"")
        })
        .collect();
    let mut from_csv: Vec<_> = csv
        .text()
        .lines()
        .skip(1)
        .map(|line| {
            let (n, t) = line.split_once(',').unwrap();
            assert!(t.is_empty() || t == "\"even, \"\"so\"\"\"", "{t}");
            (n.parse().unwrap(), !t.is_empty())
        })
        .collect();
    assert_eq!(csv.text().lines().next(), Some("n,t"));
    let mut from_arrow = Vec::new();
    for batch in StreamReader::try_new(arrow.body.as_ref(), None).unwrap() {
        let batch: RecordBatch = batch.unwrap();
        let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        from_arrow
            .extend((0..batch.num_rows()).map(|row| (numbers.value(row), batch.column(1).is_valid(row))));
    }
    for rows in [&mut expected, &mut from_lines, &mut from_csv, &mut from_arrow] {
        rows.sort_unstable();
    }
    assert_eq!((&from_lines, &from_csv, &from_arrow), (&expected, &expected, &expected));
}

#[tokio::test]
async fn no_rows_are_an_answer_too() {
    let world = World::start().await;
    let sql = "ROWS 1 0";
    assert_eq!(
        post(&world, sql).send().await.text(),
        r#"{"columns":[{"name":"n","type":"bigint"},{"name":"t","type":"text"}],"rows":[]}"#
    );
    assert_eq!(post(&world, sql).header("accept", "application/x-ndjson").send().await.text(), "");
    assert_eq!(post(&world, sql).header("accept", "text/csv").send().await.text(), "n,t\n");
    let arrow = post(&world, sql).header("accept", "application/vnd.apache.arrow.stream").send().await;
    assert_eq!(StreamReader::try_new(arrow.body.as_ref(), None).unwrap().count(), 0);
}

#[tokio::test]
async fn a_wrong_statement_is_refused_with_the_reason() {
    let world = World::start().await;
    let reply = post(&world, "SELEC 1").send().await;
    assert_eq!(reply.code(), "invalid_statement");
    let reply = post(&world, "ROWS nothing 1").send().await;
    assert!(reply.detail().contains("nothing"), "{}", reply.detail());
    let reply = world.post("/v1/sql").header("content-type", "application/sql").body("SELECT 1").send().await;
    assert_eq!(reply.code(), "unsupported_media_type");
    let reply =
        world.post("/v1/sql").header("content-type", "text/plain").body(&b"SELECT '\xff'"[..]).send().await;
    assert_eq!(reply.code(), "invalid_body");
    assert_eq!(post(&world, "SELECT 1").header("accept", "image/png").send().await.code(), "not_acceptable");
}

#[tokio::test]
async fn rows_that_cannot_be_completed_are_cut_off_with_the_reason() {
    let world = World::start().await;
    let sql = "ROWS 1 40000 FAIL";
    let json = post(&world, sql).send().await;
    assert!(json.cut_off);
    let body = json.json();
    assert!(!body["rows"].as_array().unwrap().is_empty());
    assert_eq!(body["problem"]["code"], "invalid_statement");
    let lines = post(&world, sql).header("accept", "application/x-ndjson").send().await;
    assert!(lines.cut_off && lines.text().lines().last().unwrap().contains(r#""code":"invalid_statement""#));
    for format in ["text/csv", "application/vnd.apache.arrow.stream"] {
        assert!(post(&world, sql).header("accept", format).send().await.cut_off, "{format}");
    }
    let at_once = post(&world, "ROWS 1 0 FAIL").send().await;
    assert_eq!(at_once.code(), "invalid_statement");
}

#[tokio::test]
async fn definitions_answer_with_what_was_done() {
    let world = World::start().await;
    let reply = post(&world, "CREATE STREAM orders").send().await;
    assert_eq!((reply.status, reply.json()), (200, json!({"message": "stream `orders` created"})));
    assert_eq!(post(&world, "CREATE STREAM orders").send().await.code(), "already_exists");
    assert_eq!(post(&world, "DROP STREAM orders").send().await.status, 200);
    assert_eq!(world.get("/v1/streams/orders").send().await.code(), "no_stream");
}

#[tokio::test]
async fn prj_2_a_statement_with_a_token_that_is_not_reached_times_out() {
    let world = World::start().await;
    world.stream("orders", 1).await;
    let id = world.log.streams().get("orders").unwrap().id;
    let call = world.post("/v1/sql?timeout_ms=50").header("content-type", "text/plain").body("SELECT 1");
    let reply = call.header("tradewind-token", &format!("tw1;{id}=0:5")).send().await;
    assert_eq!(reply.code(), "timeout");
    let reply =
        world.post("/v1/sql?timeout_ms=0").header("content-type", "text/plain").body("SELECT 1").send().await;
    assert_eq!(reply.code(), "invalid_parameter");
}

/// Passes everything on, and counts how many answers are being computed.
struct Counted {
    inner: Arc<dyn Sql>,
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sql for Counted {
    fn execute(&self, statement: Statement) -> BoxFuture<'_, Result<Answer, Problem>> {
        Box::pin(async move {
            let answer = self.inner.execute(statement).await?;
            self.open.fetch_add(1, Ordering::SeqCst);
            let open = Open(self.open.clone());
            Ok(match answer {
                Answer::Rows(Rows { schema, token, batches }) => {
                    let batches = batches.map(move |batch| (batch, &open).0).boxed();
                    Answer::Rows(Rows { schema, token, batches })
                }
                done @ Answer::Done { .. } => done,
            })
        })
    }
}

#[tokio::test]
async fn a_statement_ends_when_its_client_goes() {
    let open = Arc::new(AtomicUsize::new(0));
    let log = Arc::new(MemoryLog::new(Env::real()));
    let world = World::over(crate::support::options(), log, |parts| {
        parts.sql = Arc::new(Counted { inner: parts.sql.clone(), open: open.clone() });
    })
    .await;
    let endless = "ROWS 1 1000000000000";
    let mut response = post(&world, endless).open().await;
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(open.load(Ordering::SeqCst), 1);
    drop(response);
    tokio::time::timeout(crate::support::client::PATIENCE, async {
        while open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the statement runs on without a client");
}
