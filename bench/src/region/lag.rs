//! How late events come: single ones that are accepted in one region beside the load, and read live in the other.

use crate::cluster::wire::Wire;
use anyhow::Context;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// How often an event is appended whose way is measured.
const EVERY: Duration = Duration::from_millis(20);
/// How long the last one may take to come.
const LAST_MAX: Duration = Duration::from_secs(60);

/// Appends events here for `duration`, and reads them there: how many milliseconds each took from when it was accepted, by the hybrid
/// clock of the region that accepted it (whole milliseconds; both regions have the clock of this machine).
pub(crate) async fn probe(here: Wire, there: Wire, duration: Duration) -> anyhow::Result<Vec<f64>> {
    let mut reader = Reader::connect(there).await?;
    let count = (duration.as_millis() / EVERY.as_millis()) as usize;
    let writing = async move {
        let mut beats = tokio::time::interval(EVERY);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for _ in 0..count {
            beats.tick().await;
            here.append_of("probe", "probe").await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        let mut lags = Vec::with_capacity(count);
        while lags.len() < count {
            lags.push(reader.next().await?);
        }
        anyhow::Ok(lags)
    };
    let both = async { tokio::try_join!(writing, reading) };
    let ((), lags) =
        tokio::time::timeout(duration + LAST_MAX, both).await.context("not all probes have come")??;
    Ok(lags)
}

/// Whoever reads live.
struct Reader {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _kept_open: tokio::net::tcp::OwnedWriteHalf,
}

impl Reader {
    /// Connects, and waits until the answer has begun: what is accepted afterwards is read.
    async fn connect(to: Wire) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to.0).await?;
        stream.set_nodelay(true)?;
        let (from, mut into) = stream.into_split();
        let request = format!(
            "GET /v1/streams/orders/events?from=latest&type=probe HTTP/1.0\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n",
            to.0
        );
        into.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(from).lines();
        while !lines.next_line().await?.context("the reader was refused")?.is_empty() {}
        Ok(Self { lines, _kept_open: into })
    }

    /// How late the next event came, in milliseconds.
    async fn next(&mut self) -> anyhow::Result<f64> {
        loop {
            let line = self.lines.next_line().await?.context("the reader was cut off")?;
            let Some(event) = line.strip_prefix("data: {") else { continue };
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
            let accepted = event.split_once("\"twhlc\":\"").and_then(|(_, rest)| rest.split('.').next());
            let accepted: f64 = accepted.context("an event says when it was accepted")?.parse()?;
            return Ok((now - accepted).max(0.0));
        }
    }
}
