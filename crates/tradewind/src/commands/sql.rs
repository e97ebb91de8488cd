//! `tradewind sql`: statements, from an argument, a file, standard input, or typed into a shell.

use crate::cli::Context;
use crate::client::{Client, Problem, Request, TOKEN};
use crate::error::{Error, Result};
use crate::output::{Expanded, Format, Output, Part, RowReader, Table, duration_ms};
use crate::{shell, statements, units};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  tradewind sql                                               a shell with history and completion
  tradewind sql \"SELECT * FROM revenue ORDER BY revenue DESC LIMIT 5\"
  tradewind sql 'SELECT * FROM revenue WHERE customer_id = $1' -p 7
  tradewind sql \"CREATE PROJECTION by_state AS SELECT state, count(*) FROM shop.orders GROUP BY state\"
  tradewind sql -f definitions.sql
  tradewind sql -o csv \"SELECT * FROM shop.orders\" > orders.csv
  tradewind sql --watch 1s \"SELECT * FROM orders_by_state\"";

/// Query, and define streams, sources and projections
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Statements, separated by semicolons; none: a shell, or standard input if that is no terminal
    #[arg(conflicts_with = "file")]
    sql: Option<String>,
    /// Read the statements from this file; `-` is standard input
    #[arg(short, long)]
    file: Option<PathBuf>,
    /// The value of $1, then of $2 and so on: JSON, or else a text
    #[arg(short, long = "param", value_name = "VALUE", requires = "sql")]
    params: Vec<String>,
    /// See everything before this cut, as `append` printed it; waits for it if need be
    #[arg(long)]
    token: Option<String>,
    /// How long a statement may take, such as 30s
    #[arg(long, value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Repeat it so often, such as 1s, until Ctrl-C
    #[arg(long, value_name = "EVERY", value_parser = units::duration, requires = "sql")]
    watch: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// Those of the node: the first statement that fails ends it.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    let params = options.params.iter().map(|text| param(text)).collect();
    let settings = Settings { token: options.token, timeout: options.timeout, ..Settings::default() };
    let text = match (options.sql, options.file) {
        (Some(sql), _) => sql,
        (None, Some(path)) if path.as_os_str() != "-" => std::fs::read_to_string(&path)
            .map_err(|source| Error::File { action: "read", path: path.display().to_string(), source })?,
        (None, None) if std::io::stdin().is_terminal() => {
            return shell::run(&client, settings, context);
        }
        _ => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let split = statements::split(&text);
    let all: Vec<&str> = split
        .complete
        .iter()
        .copied()
        .chain([split.rest].into_iter().filter(|rest| !rest.is_empty()))
        .collect();
    if all.is_empty() {
        return Err(Error::Usage("there is no statement".to_owned()));
    }
    if options.watch.is_some() && all.len() > 1 {
        return Err(Error::Usage("`--watch` repeats one statement".to_owned()));
    }
    let mut out = context.output();
    context.run(async {
        for sql in &all {
            let statement = Statement { sql, params: &params };
            match options.watch {
                Some(every) => watch(&client, statement, &settings, every, &mut out).await?,
                None => {
                    execute(&client, statement, &settings, &mut out).await?;
                }
            }
        }
        Ok(())
    })
}

/// A parameter: what is JSON is taken so, anything else is a text.
fn param(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// How statements are carried out and shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) token: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) expanded: Expanded,
    /// Say how long each statement took.
    pub(crate) timing: bool,
}

/// A statement with its parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: &'a Vec<Value>,
}

/// Carries out a statement and prints its answer.
///
/// # Errors
/// Those of the node.
pub(crate) async fn execute(
    client: &Client,
    statement: Statement<'_>,
    settings: &Settings,
    out: &mut Output,
) -> Result<()> {
    let started = Instant::now();
    let accept = match out.format {
        Format::Table => "application/json",
        Format::Json | Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
    };
    let timeout_ms = settings.timeout.map(|timeout| timeout.as_millis());
    // The node keeps the time; we wait a little longer for it to say so.
    let patience = settings.timeout.unwrap_or(Duration::from_secs(24 * 3_600)) + Duration::from_secs(5);
    let body = json!({ "sql": statement.sql, "params": statement.params });
    let request = Request::post("/v1/sql").query("timeout_ms", timeout_ms).accept(accept).json(&body);
    let request = request.header(TOKEN, settings.token.as_deref())?.timeout(patience);
    let mut answer = client.send(request).await?;
    let is_message = out.format != Format::Table
        && answer.header(&CONTENT_TYPE).is_some_and(|media_type| media_type.starts_with("application/json"));
    if is_message {
        let answer: Value = answer.json().await?;
        out.done(super::text(&answer, "message"))?;
    } else {
        match out.format {
            Format::Table => table(&mut answer, settings, out).await?,
            Format::Json => array(&mut answer, out).await?,
            Format::Ndjson | Format::Csv => {
                while let Some(piece) = answer.piece().await? {
                    out.raw(&piece)?;
                }
            }
        }
    }
    if settings.timing {
        let ms = started.elapsed().as_secs_f64() * 1_000.0;
        let time = if ms < 1_000.0 { format!("{ms:.1} ms") } else { duration_ms(ms as u64) };
        out.line(out.style.dim(time))?;
    }
    out.flush()
}

async fn table(answer: &mut crate::client::Answer, settings: &Settings, out: &mut Output) -> Result<()> {
    let mut reader = RowReader::default();
    let mut columns = Vec::new();
    let mut table: Option<Table> = None;
    let mut said = false;
    let mut problem = None;
    while let Some(piece) = answer.piece().await? {
        let taken = reader.take(&piece, |part| {
            match part {
                Part::Column(column) => columns.push(column),
                Part::Row(row) => {
                    let names = columns.iter().map(|column| (&column.name, column.align()));
                    table.get_or_insert_with(|| Table::new(names, settings.expanded)).row(row, out)?;
                }
                Part::Message(message) => {
                    said = true;
                    out.line(message)?;
                }
                Part::Problem(late) => problem = Some(late),
            }
            Ok::<_, Broken>(())
        });
        taken.map_err(|broken| match broken {
            Broken::Output(error) => error,
            Broken::Answer(reason) => answer.not_understood(reason),
        })?;
    }
    if !said {
        let names = columns.iter().map(|column| (&column.name, column.align()));
        let table = table.unwrap_or_else(|| Table::new(names, settings.expanded));
        let rows = table.end(out)?;
        if problem.is_none() {
            let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            out.line(out.style.dim(format!("({rows})")))?;
        }
    }
    match problem {
        Some(problem) => {
            out.flush()?;
            Err(Error::Problem(problem))
        }
        None if reader.is_complete() => Ok(()),
        None => Err(answer.not_understood("it ends too early")),
    }
}

/// Why taking a part of an answer failed.
enum Broken {
    Output(Error),
    Answer(String),
}

impl From<String> for Broken {
    fn from(reason: String) -> Self {
        Self::Answer(reason)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Output(error)
    }
}

/// Lines become the elements of an array.
async fn array(answer: &mut crate::client::Answer, out: &mut Output) -> Result<()> {
    let mut line = Vec::new();
    let mut any = false;
    while let Some(piece) = answer.piece().await? {
        for byte in piece {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if line.starts_with(b"{\"problem\":")
                && let Ok(last) = serde_json::from_slice::<Value>(&line)
                && let Some(problem) = last.get("problem").filter(|problem| problem.get("code").is_some())
            {
                return Err(Problem::within(problem).into());
            }
            out.raw(if any { b",\n  " } else { b"[\n  " })?;
            out.raw(&line)?;
            any = true;
            line.clear();
        }
    }
    out.line(if any { "\n]" } else { "[]" })
}

/// Repeats a statement until Ctrl-C.
///
/// # Errors
/// Those of the node.
pub(crate) async fn watch(
    client: &Client,
    statement: Statement<'_>,
    settings: &Settings,
    every: Duration,
    out: &mut Output,
) -> Result<()> {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(50)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        if out.is_terminal() && out.format == Format::Table {
            // The answer takes the place of the one before.
            out.raw(b"\x1b[H\x1b[2J")?;
            let every = duration_ms(u64::try_from(every.as_millis()).unwrap_or(u64::MAX));
            out.line(out.style.dim(format!("every {every}, Ctrl-C ends it: {}", statement.sql)))?;
        }
        tokio::select! {
            outcome = execute(client, statement, settings, out) => outcome?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}
