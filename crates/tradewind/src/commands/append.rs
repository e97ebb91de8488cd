//! `tradewind append`: events in, from arguments or line by line from standard input.

mod event;
mod input;

use super::suggest;
use crate::cli::Context;
use crate::client::{Client, Request, TOKEN, encode};
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Format, Listing, Output, Progress, count, note};
use bytes::Bytes;
use event::Template;
use http::HeaderName;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use input::Input;
use serde_json::{Value, json};
use tw_types::ClientToken;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const LINES: &str = "application/x-ndjson";

const EXAMPLES: &str = "\
Examples:
  tradewind append orders '{\"id\": 7, \"total\": 12.50}' --type order.placed --subject order-7
  tradewind append orders '{\"id\": 7}' --type order.paid --subject order-7 --expect 1
  tradewind append orders --subject-from id --type order.placed < orders.ndjson
  tradewind replay shop.orders | tradewind append copy

What has a member `specversion` is taken as a whole CloudEvent; anything else is the data of an event
with the attributes that the options say. Everything that is reported as appended is on stable
storage. The token that is printed makes a read see these events: tradewind sql --token TOKEN …";

/// Append events to a stream
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The stream
    stream: String,
    /// Events or their data, as JSON; none, or `-`: one a line from standard input
    #[arg(value_name = "JSON")]
    events: Vec<String>,
    /// The type of events that are only data [default: the name of the stream]
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// The subject of events that are only data
    #[arg(long)]
    subject: Option<String>,
    /// The member of the data that is its subject, such as customer.id
    #[arg(long, value_name = "MEMBER", conflicts_with = "subject")]
    subject_from: Option<String>,
    /// Who says it, for events that are only data
    #[arg(long, default_value = "tradewind-cli")]
    source: String,
    /// Append only if the subject has this version, or `none` if it must have no events
    #[arg(long, value_name = "VERSION", requires = "subject", requires = "events", value_parser = expected)]
    expect: Option<Expected>,
    /// A key that makes it harmless to repeat this command
    #[arg(long, value_name = "KEY", requires = "events")]
    idempotency_key: Option<String>,
    /// Store events also when their subject has one with the same id
    #[arg(long)]
    no_dedup: bool,
}

/// The version that a subject must have.
#[derive(Debug, Clone, Copy)]
enum Expected {
    None,
    Version(u64),
}

fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "none" | "0" => Ok(Expected::None),
        text => text
            .parse()
            .map(Expected::Version)
            .map_err(|_| format!("`{text}` is neither a version nor `none`")),
    }
}

impl Options {
    /// Whether the events come from standard input.
    fn are_piped(&self) -> Result<bool> {
        let piped =
            matches!(self.events.as_slice(), [] | [_]) && self.events.iter().all(|event| event == "-");
        if piped && (self.expect.is_some() || self.idempotency_key.is_some()) {
            let rule = "`--expect` and `--idempotency-key` are for events that are appended in one step";
            return Err(Error::Usage(format!("{rule}: give the events as arguments")));
        }
        Ok(piped)
    }
}

/// Runs the command.
///
/// # Errors
/// Those of the client, of standard input, and of what is no JSON.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    let template = Template {
        ty: options.ty.clone().unwrap_or_else(|| options.stream.clone()),
        subject: options.subject.clone(),
        subject_from: options.subject_from.clone(),
        source: options.source.clone(),
    };
    context.run(async {
        if options.are_piped()? {
            let mut appender = Appender::new(&client, &options);
            let outcome = appender.lines(Input::stdin()?, &template).await;
            let outcome = suggest(&client, &options.stream, outcome).await;
            if outcome.is_err() && appender.appended > 0 {
                note(format_args!("{} events before it are appended", count(appender.appended)));
            }
            outcome?;
            appender.report(&mut context.output())
        } else {
            arguments(&client, &options, &template, context).await
        }
    })
}

/// Appends the events of the arguments in one step.
async fn arguments(client: &Client, options: &Options, template: &Template, context: &Context) -> Result<()> {
    let mut body = Vec::new();
    for (index, text) in options.events.iter().enumerate() {
        let wrong = |error| Error::Usage(format!("event {}: {error}", index + 1));
        template.write(text, &mut body).map_err(wrong)?;
    }
    let path = match (&options.subject, options.expect) {
        (Some(subject), Some(_)) => {
            format!("/v1/streams/{}/subjects/{}/events", encode(&options.stream), encode(subject))
        }
        _ => format!("/v1/streams/{}/events", encode(&options.stream)),
    };
    let mut request = Request::post(path).body(LINES, body).query("dedup", options.no_dedup.then_some(false));
    request = match options.expect {
        None => request,
        Some(Expected::None) => request.header(IF_NONE_MATCH, Some("*"))?,
        Some(Expected::Version(version)) => request.header(IF_MATCH, Some(format!("\"{version}\"")))?,
    };
    request = request.header(IDEMPOTENCY_KEY, options.idempotency_key.as_deref())?;
    let outcome = client.send(request).await;
    let answer: Value = suggest(client, &options.stream, outcome).await?.json().await?;
    let mut out = context.output();
    if matches!(out.format, Format::Json | Format::Ndjson) {
        out.line(&answer)?;
        return out.flush();
    }
    let columns = [
        ("position", "position", Align::Left),
        ("version", "version", Align::Right),
        ("", "duplicate", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "nothing was appended");
    for event in answer.get("events").and_then(Value::as_array).into_iter().flatten() {
        let duplicate = event.get("duplicate") == Some(&json!(true));
        let version = event.get("version").map_or(Cell::default(), Cell::json);
        let said = if duplicate { "was there already" } else { "" };
        listing.push(vec![super::text(event, "position").into(), version, said.into()], event.clone());
    }
    listing.print(&mut out)?;
    if out.format == Format::Table {
        out.line(format_args!("token  {}", super::text(&answer, "token")))?;
    }
    out.flush()
}

/// Appends lines, batch by batch.
struct Appender<'a> {
    client: &'a Client,
    request: Request,
    stream: &'a str,
    appended: u64,
    token: ClientToken,
}

impl<'a> Appender<'a> {
    fn new(client: &'a Client, options: &'a Options) -> Self {
        let path = format!("/v1/streams/{}/events", encode(&options.stream));
        let request = Request::post(path).query("dedup", options.no_dedup.then_some(false));
        Self { client, request, stream: &options.stream, appended: 0, token: ClientToken::default() }
    }

    async fn lines(&mut self, mut input: Input, template: &Template) -> Result<()> {
        let mut progress = Progress::new("events");
        let mut body = Vec::new();
        while let Some(batch) = input.batch().await? {
            let mut events = 0;
            let mut broken = None;
            for (number, text) in &batch {
                if let Err(error) = template.write(text, &mut body) {
                    broken = Some(Error::Usage(format!("line {number}: {error}")));
                    break;
                }
                events += 1;
            }
            let first = batch.first().map_or(1, |(number, _)| *number);
            if events > 0 {
                self.send(std::mem::take(&mut body).into(), events, first).await?;
            }
            progress.at(self.appended, None);
            if let Some(error) = broken {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn send(&mut self, body: Bytes, events: u64, first_line: u64) -> Result<()> {
        let request = self.request.clone().body(LINES, body).header(PREFER, Some("return=minimal"))?;
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(Error::Problem(mut problem)) => {
                // The node counts from the start of the batch, people from the start of their input.
                if let Some(line) = &mut problem.line {
                    let told = format!("line {line}: ");
                    if let Some(rest) = problem.detail.strip_prefix(&told) {
                        problem.detail = rest.to_owned();
                    }
                    *line = line.saturating_add(u32::try_from(first_line - 1).unwrap_or(u32::MAX));
                }
                return Err(Error::Problem(problem));
            }
            Err(error) => return Err(error),
        };
        if let Some(token) = answer.header(&TOKEN).and_then(|text| text.parse().ok()) {
            self.token.merge(&token);
        }
        // The connection is used again once its answer is read.
        answer.bytes().await?;
        self.appended += events;
        Ok(())
    }

    fn report(&self, out: &mut Output) -> Result<()> {
        match out.format {
            Format::Table => {
                out.line(format_args!("appended {} events to {}", count(self.appended), self.stream))?;
                if !self.token.is_empty() {
                    out.line(format_args!("token  {}", self.token))?;
                }
            }
            Format::Csv => {
                out.line("count,token")?;
                out.line(format_args!("{},\"{}\"", self.appended, self.token))?;
            }
            Format::Json | Format::Ndjson => {
                out.line(json!({ "count": self.appended, "token": self.token.to_string() }))?;
            }
        }
        out.flush()
    }
}
