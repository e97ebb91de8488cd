//! Two regions with lines between them, and a node that is no region.

use crate::cluster::nodes::Running;
use crate::cluster::wire::Wire;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tw_testing::{Line, Quality, Way, free_port};

/// How often it is looked how much has arrived: what is measured may be longer by as much.
const LOOK: Duration = Duration::from_millis(5);
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// See the module's text. It ends with this value.
pub(crate) struct World {
    here: Running,
    there: Running,
    alone: Running,
    /// By this line, what is accepted here comes there.
    to_here: Line,
    to_there: Line,
}

/// How a backlog arrived.
pub(crate) struct Arrived {
    /// From the first event that was seen to the last.
    pub(crate) events_per_s: f64,
    /// From when it was asked for.
    pub(crate) all: Duration,
}

impl World {
    /// Starts all three, and waits until they serve.
    pub(crate) fn start(program: &Path, folder: &Path, delay: Duration) -> anyhow::Result<Self> {
        let ca = folder.join("ca");
        made(Command::new(program).args(["region", "ca", "init", "--ca"]).arg(&ca))?;
        let (port_here, port_there) = (free_port(), free_port());
        let quality = Quality::of_round_trip(2 * delay);
        let (to_here, to_there) = (Line::open(port_here, quality, 1), Line::open(port_there, quality, 2));
        let region = |id: u16, listen: u16, peer: u16, line: &Line| -> anyhow::Result<Running> {
            let home = folder.join(format!("region-{id}"));
            let mut issue = Command::new(program);
            issue.args(["region", "ca", "issue", &id.to_string(), &format!("region-{id}"), "--ca"]).arg(&ca);
            made(issue.arg("--into").arg(home.join("region")))?;
            let config = format!(
                "[region]\nid = {id}\nlisten = \"127.0.0.1:{listen}\"\n\n[[region.peers]]\nid = {peer}\naddress = \"127.0.0.1:{}\"\n",
                line.port()
            );
            fs::write(home.join("tradewind.toml"), config)?;
            Running::start(program, &home)
        };
        let here = region(1, port_here, 2, &to_there)?;
        let there = region(2, port_there, 1, &to_here)?;
        let home = folder.join("alone");
        fs::create_dir(&home)?;
        let alone = Running::start(program, &home)?;
        Ok(Self { here, there, alone, to_here, to_there })
    }

    /// Where events are accepted.
    pub(crate) fn here(&self) -> Wire {
        self.here.wire
    }

    /// Where they come.
    pub(crate) fn there(&self) -> Wire {
        self.there.wire
    }

    /// The node without links.
    pub(crate) fn alone(&self) -> Wire {
        self.alone.wire
    }

    /// Defines the stream everywhere.
    pub(crate) async fn define(&self) -> anyhow::Result<()> {
        self.alone().sql("CREATE STREAM orders WITH (partitions = 4)").await?;
        for region in [self.here(), self.there()] {
            region
                .sql("CREATE STREAM IF NOT EXISTS orders WITH (partitions = 4, mode = 'active-active')")
                .await?;
        }
        self.same().await
    }

    /// Lets nothing through, in any direction.
    pub(crate) fn cut(&self) {
        for line in [&self.to_here, &self.to_there] {
            Way::BOTH.into_iter().for_each(|way| line.cut(way));
        }
    }

    /// Lets everything through.
    pub(crate) fn heal(&self) {
        self.to_here.mend();
        self.to_there.mend();
    }

    /// How many bytes have come there over the line by which it takes.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.to_here.passed_bytes(Way::Back)
    }

    /// How many events are there.
    pub(crate) async fn events_there(&self) -> anyhow::Result<u64> {
        events(self.there()).await
    }

    /// Waits until so many events are there; before, there were `before`.
    pub(crate) async fn arrival(&self, before: u64, until: u64) -> anyhow::Result<Arrived> {
        let began = Instant::now();
        let mut first = None;
        loop {
            let (now, there) = (Instant::now(), self.events_there().await?);
            if there > before && first.is_none() {
                first = Some((now, there));
            }
            if there >= until {
                let (since, had) = first.unwrap_or((began, before));
                let seconds = since.elapsed().as_secs_f64().max(LOOK.as_secs_f64());
                // All at once: no better than from the beginning.
                let (had, seconds) =
                    if had >= until { (before, began.elapsed().as_secs_f64()) } else { (had, seconds) };
                return Ok(Arrived { events_per_s: (until - had) as f64 / seconds, all: began.elapsed() });
            }
            ensure!(began.elapsed() < PATIENCE, "only {there} of {until} events have come");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until both regions have as many events, and are in sync.
    pub(crate) async fn same(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let mut are_in_sync = true;
            for region in [self.here(), self.there()] {
                let view = region.get("/v1/regions").await?;
                let links = view.get("peers").and_then(Value::as_array).into_iter().flatten();
                are_in_sync &=
                    links.into_iter().all(|peer| peer.get("link").and_then(Value::as_str) == Some("in-sync"));
            }
            if are_in_sync && events(self.here()).await? == self.events_there().await? {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "the regions do not become the same");
            tokio::time::sleep(10 * LOOK).await;
        }
    }
}

fn made(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn events(node: Wire) -> anyhow::Result<u64> {
    let stream = node.get("/v1/streams/orders").await?;
    let offsets = stream.get("offsets").and_then(Value::as_array).context("a stream has offsets")?;
    Ok(offsets.iter().filter_map(|at| at.get("end")?.as_u64()).sum())
}
