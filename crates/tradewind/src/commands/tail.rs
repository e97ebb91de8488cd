//! `tradewind tail`: events as they arrive. A connection that breaks is made again, and goes on exactly where it was.

mod print;

pub(crate) use print::{Printer, accepted};

use super::suggest;
use crate::cli::Context;
use crate::client::{Answer, Client, Problem, Request, encode, is_passing, sse};
use crate::error::{Error, Result};
use crate::output::{Format, note};
use crate::units;
use http::HeaderName;
use std::time::Duration;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// After how long without even a sign of life a connection is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// The pause before a lost connection is made again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

const EXAMPLES: &str = "\
Examples:
  tradewind tail shop.orders                          from now on
  tradewind tail shop.orders --from earliest -n 10    the first ten
  tradewind tail shop.orders --from 10m               what came in the last ten minutes, then live
  tradewind tail shop.orders --subject order-7        one subject only
  tradewind tail shop.orders --type order.pa          types that start so
  tradewind tail shop.orders --json-path '$.total=40' what is in the data
  tradewind tail shop.orders shop.payments            several streams, each named in its lines
  tradewind tail shop.orders | jq .data.total         one JSON object a line when piped

It goes on where it was when the node restarts. End it with Ctrl-C.";

/// Print events as they arrive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The stream, or several: their events come in the order of their arrival
    #[arg(required = true, num_args = 1.., value_name = "STREAM")]
    streams: Vec<String>,
    /// Where to start: earliest, latest, an offset, a token, a time, or how long ago, such as 10m
    #[arg(long, default_value = "latest")]
    from: String,
    #[command(flatten)]
    filter: Filter,
    /// End after this many events
    #[arg(short = 'n', long)]
    limit: Option<u64>,
}

/// Which events.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only this partition
    #[arg(short, long)]
    pub(crate) partition: Option<u32>,
    /// Only events about this subject
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Only events whose type starts with this
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) ty: Option<String>,
    /// Only events with this attribute; several must all be true
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Only events in whose data this path of JSONPath finds something, or this value; several must all be true
    #[arg(long, value_name = "PATH[=VALUE]")]
    pub(crate) json_path: Vec<String>,
    /// Only events whose id, subject, type or data have this text
    #[arg(long)]
    pub(crate) text: Option<String>,
}

impl Filter {
    /// Puts it into a request for events.
    pub(crate) fn apply(&self, request: Request) -> Request {
        let request = request
            .query("partition", self.partition)
            .query("subject", self.subject.as_deref())
            .query("type", self.ty.as_deref())
            .query("text", self.text.as_deref());
        let several = |name, request: Request, values: &[String]| {
            values.iter().fold(request, |request, value| request.query(name, Some(value.as_str())))
        };
        several("json", several("attribute", request, &self.attribute), &self.json_path)
    }
}

/// Prints the events of a type as they arrive, as `tail` does.
///
/// # Errors
/// As [`run`].
pub(crate) fn of(stream: &str, from: String, ty: &str, limit: Option<u64>, context: &Context) -> Result<()> {
    let filter = Filter { ty: Some(ty.to_owned()), ..Filter::default() };
    run(Options { streams: vec![stream.to_owned()], from, filter, limit }, context)
}

/// Runs the command.
///
/// # Errors
/// Those of the client; a lost connection is none.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    let from = units::point(&options.from, units::now_ms()).map_err(Error::Usage)?;
    let output = context.output_or(piped_format());
    let (request, printer) = match options.streams.as_slice() {
        [stream] => (Request::get(format!("/v1/streams/{}/events", encode(stream))), Printer::new(output)),
        streams => {
            if options.filter.partition.is_some() {
                let why = "`--partition` is of one stream: leave it out, or follow one stream";
                return Err(Error::Usage(why.to_owned()));
            }
            let request = Request::get("/v1/live".to_owned());
            let request = streams.iter().fold(request, |request, stream| request.query("tail", Some(stream)));
            (request, Printer::of_streams(output, streams.to_vec()))
        }
    };
    let request = options.filter.apply(request).accept("text/event-stream").query("from", Some(from));
    let mut tail =
        Tail { client: &client, request, last: None, left: options.limit, printer, connected: false };
    context.run(async {
        let outcome = tail.follow().await;
        let outcome = match options.streams.as_slice() {
            [stream] => suggest(&client, stream, outcome).await,
            _ => outcome,
        };
        tail.printer.end()?;
        outcome
    })
}

/// The format for events if none was asked for: for people on a terminal, for programs elsewhere.
pub(crate) fn piped_format() -> Format {
    use std::io::IsTerminal as _;
    if std::io::stdout().is_terminal() { Format::Table } else { Format::Ndjson }
}

struct Tail<'a> {
    client: &'a Client,
    request: Request,
    /// The id of the last message: where to go on.
    last: Option<String>,
    /// How many events are still wanted.
    left: Option<u64>,
    printer: Printer,
    /// Whether the node has ever answered.
    connected: bool,
}

/// An event of one of several streams.
#[derive(serde::Deserialize)]
struct Of<'a> {
    stream: String,
    #[serde(borrow)]
    event: &'a serde_json::value::RawValue,
}

/// How a connection ended.
enum Ended {
    /// Everything that was wanted was there.
    Enough,
    /// The node closed it, and said so.
    Closed,
}

impl Tail<'_> {
    async fn follow(&mut self) -> Result<()> {
        let (first, most) = PAUSE;
        let mut pause = first;
        let mut told = false;
        loop {
            let before = self.last.clone();
            match self.once().await {
                Ok(Ended::Enough) => return Ok(()),
                Ok(Ended::Closed) => {}
                Err(error) if self.connected && may_pass(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        note(format_args!("{}; it goes on when the node is back", error.describe()));
                    }
                }
                Err(error) => return Err(error),
            }
            if self.last != before {
                (pause, told) = (first, false);
            }
            tokio::time::sleep(pause).await;
            pause = most.min(pause * 2);
        }
    }

    /// Reads over one connection until it ends.
    async fn once(&mut self) -> Result<Ended> {
        if self.left == Some(0) {
            return Ok(Ended::Enough);
        }
        let request = self.request.clone().header(LAST_EVENT_ID, self.last.as_deref())?;
        let mut answer = self.client.send(request).await?;
        self.connected = true;
        let mut parser = sse::Parser::default();
        while let Some(piece) = self.piece(&mut answer).await? {
            let mut messages = Vec::new();
            let taken = parser.take(&piece, |message| messages.push(message));
            taken.map_err(|error| answer.not_understood(error.to_string()))?;
            for message in messages {
                self.message(message)?;
                if self.left == Some(0) {
                    return Ok(Ended::Enough);
                }
            }
            self.printer.flush()?;
        }
        Ok(Ended::Closed)
    }

    async fn piece(&self, answer: &mut Answer) -> Result<Option<bytes::Bytes>> {
        let silent =
            || Error::Timeout(format!("`{}` has been silent for {} s", self.client.url(), SILENCE.as_secs()));
        tokio::time::timeout(SILENCE, answer.piece()).await.unwrap_or_else(|_| Err(silent()))
    }

    fn message(&mut self, message: sse::Message) -> Result<()> {
        if let (Some(data), "tradewind.problem") = (&message.data, message.event.as_str()) {
            let value = serde_json::from_str(data).unwrap_or_default();
            return Err(Problem::within(&value).into());
        }
        // What is said first where several streams are followed is no event.
        if let Some(data) = message.data.as_ref().filter(|_| message.event != "topics") {
            if message.event == "tail" {
                let Of { stream, event } = serde_json::from_str(data)
                    .map_err(|error| Error::Failed(format!("an event is not understood: {error}")))?;
                self.printer.event_of(&stream, event.get())?;
            } else {
                self.printer.event(data)?;
            }
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(1);
            }
        }
        if message.id.is_some() {
            self.last = message.id;
        }
        Ok(())
    }
}

/// Whether trying again may help.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Connect { .. } | Error::Lost { .. } | Error::Timeout(_) => true,
        Error::Problem(problem) => {
            http::StatusCode::from_u16(problem.status).is_ok_and(is_passing)
                || problem.code == "shutting_down"
        }
        _ => false,
    }
}

/// Prints the history of a subject, page by page.
///
/// # Errors
/// [`Error::NotFound`] when it has no events; those of the client.
pub(crate) async fn history(
    client: &Client,
    stream: &str,
    subject: &str,
    from_version: u64,
    limit: Option<u64>,
    context: &Context,
) -> Result<()> {
    let mut printer = Printer::new(context.output_or(piped_format()));
    let mut from = from_version;
    let mut left = limit.unwrap_or(u64::MAX);
    loop {
        let path = format!("/v1/streams/{}/subjects/{}/events", encode(stream), encode(subject));
        let request =
            Request::get(path).query("from_version", Some(from)).query("limit", Some(left.min(1_000)));
        let page: serde_json::Value = match client.send(request).await {
            Ok(answer) => answer.json().await?,
            Err(error) => return suggest(client, stream, Err(error)).await,
        };
        let version = super::number(&page, "version");
        if version == 0 {
            return Err(Error::NotFound(format!("`{subject}` has no events in `{stream}`")));
        }
        for event in page.get("events").and_then(serde_json::Value::as_array).into_iter().flatten() {
            printer.event(&event.to_string())?;
            left = left.saturating_sub(1);
        }
        match page.get("next_version").and_then(serde_json::Value::as_u64).filter(|_| left > 0) {
            Some(next) => from = next,
            None => return printer.end(),
        }
    }
}
