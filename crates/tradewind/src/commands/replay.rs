//! `tradewind replay`: a part of a stream again, to standard output; or a projection again, beside the one that answers.

use super::projection;
use super::stream;
use super::tail::{Filter, Printer, piped_format};
use crate::cli::Context;
use crate::client::{Answer, Client, Request, TOKEN, encode};
use crate::error::{Error, Result};
use crate::output::{Progress, count, note};
use crate::units;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;
use tw_types::{ClientToken, Offset, PartitionId, RegionId, StreamId, StreamPartition, Timestamp};

const EXAMPLES: &str = "\
Examples:
  tradewind replay shop.orders > orders.ndjson          everything up to now
  tradewind replay shop.orders --from 1h                what was accepted in the last hour
  tradewind replay shop.orders --from 2026-01-31T00:00:00Z --until 2026-02-01T00:00:00Z
  tradewind replay shop.orders --subject order-7 -o csv
  tradewind replay --projection revenue                 build it anew from the log, then switch

Progress and the time left are on standard error, on a terminal only. A replay that breaks says where
to go on.";

/// Read a part of a stream again, or build a projection anew
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The stream
    #[arg(required_unless_present = "projection")]
    stream: Option<String>,
    /// Build this projection anew from the log, beside the one that answers, and wait until it has switched
    #[arg(long, conflicts_with_all = ["stream", "from", "until", "partition", "subject", "ty", "limit"])]
    projection: Option<String>,
    /// Where to start: earliest, an offset, a token, a time, or how long ago, such as 1h
    #[arg(long, default_value = "earliest")]
    from: String,
    /// Leave out what was accepted at this time or later
    #[arg(long, value_parser = |text: &str| text.parse::<Timestamp>().map_err(|error| error.to_string()))]
    until: Option<Timestamp>,
    #[command(flatten)]
    filter: Filter,
    /// End after this many events
    #[arg(short = 'n', long)]
    limit: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// Those of the client.
pub(crate) fn run(options: Options, context: &Context) -> Result<()> {
    let client = context.client()?;
    context.run(async {
        match (&options.projection, &options.stream) {
            (Some(name), _) => projection::rebuild(&client, name, true, context).await,
            (None, Some(stream)) => read(&client, stream, &options, context).await,
            (None, None) => Err(Error::Usage("say which stream".to_owned())),
        }
    })
}

async fn read(client: &Client, name: &str, options: &Options, context: &Context) -> Result<()> {
    let from = units::point(&options.from, units::now_ms()).map_err(Error::Usage)?;
    let stream = stream::get(client, name).await?;
    let path = format!("/v1/streams/{}/events", encode(name));
    let request = Request::get(path).query("from", Some(&from)).query("limit", options.limit);
    let request =
        options.filter.apply(request).accept("application/x-ndjson").timeout(Duration::from_secs(300));
    let mut answer = client.send(request).await?;
    let end = answer.header(&TOKEN).and_then(|text| text.parse::<ClientToken>().ok());
    let mut progress = Progress::new("events");
    if std::io::stdout().is_terminal() {
        progress = progress.hide();
    }
    let mut replay = Replay {
        printer: Printer::new(context.output_or(piped_format())),
        region: end.map(|end| end.region()).unwrap_or_default(),
        ends: BTreeMap::new(),
        // A start in the middle is only known once the first events are there.
        total: (from == "earliest").then(|| stream::events(&stream)),
        until_ms: options.until.map(|time| u64::try_from(time.millis()).unwrap_or_default()),
        seen: 0,
        printed: 0,
    };
    let outcome = replay.take(&mut answer, &mut progress).await;
    progress.end();
    replay.printer.end()?;
    if let Err(error) = outcome {
        // A token that lacks a partition starts at its beginning, which is right only if that is where we started.
        let all = from == "earliest" || replay.ends.len() as u64 == super::number(&stream, "partitions");
        if all && !replay.ends.is_empty() && !error.is_closed_pipe() {
            note(format_args!("go on with --from '{}'", replay.token(super::number(&stream, "id"))));
        }
        return Err(error);
    }
    if std::io::stderr().is_terminal() {
        let s = progress.elapsed().as_secs_f64();
        note(format_args!("{} events in {s:.1} s", count(replay.printed)));
    }
    Ok(())
}

struct Replay {
    printer: Printer,
    /// In whose log offsets are; not known with a limit.
    region: RegionId,
    /// By partition the offset after the last event.
    ends: BTreeMap<u32, u64>,
    total: Option<u64>,
    until_ms: Option<u64>,
    seen: u64,
    printed: u64,
}

impl Replay {
    async fn take(&mut self, answer: &mut Answer, progress: &mut Progress) -> Result<()> {
        let mut line = Vec::new();
        while let Some(piece) = answer.piece().await? {
            let mut rest = &piece[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(rest.get(..end).unwrap_or_default());
                self.event(&line, answer)?;
                line.clear();
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            line.extend_from_slice(rest);
            progress.at(self.seen, self.total);
        }
        Ok(())
    }

    fn event(&mut self, line: &[u8], answer: &Answer) -> Result<()> {
        let line = std::str::from_utf8(line).map_err(|error| answer.not_understood(error.to_string()))?;
        let (accepted_ms, position) = super::tail::accepted(line)?;
        if let Some((partition, offset)) = position {
            self.ends.insert(partition, offset + 1);
        }
        self.seen += 1;
        if self.until_ms.is_none_or(|until_ms| accepted_ms < until_ms) {
            self.printed += 1;
            self.printer.event(line)?;
        }
        Ok(())
    }

    /// The cut after what was printed.
    fn token(&self, stream: u64) -> ClientToken {
        let stream = StreamId(u32::try_from(stream).unwrap_or(u32::MAX));
        let end = |(partition, end): (&u32, &u64)| {
            (StreamPartition::new(stream, PartitionId(*partition)), Offset(*end))
        };
        ClientToken::new(self.region, self.ends.iter().map(end).collect())
    }
}

/// A number of a projection, for those who wait for it.
pub(crate) fn of_build(projection: &Value) -> Option<(u64, u64)> {
    let build = projection.get("build")?;
    Some((super::number(build, "done"), super::number(build, "total")))
}
