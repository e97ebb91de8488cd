//! `tradewind cluster local`: a whole cluster on this machine, for trying it out.
//!
//! Kafka and etcd are found, or started; nodes are processes of this same program. All that is kept is in one folder, so that a
//! second start goes on where the first one ended. Everything that is started here is ended here, in the opposite order.

mod etcd;
mod kafka;
mod nodes;

use crate::cli::Context;
use crate::crew::Crew;
use crate::error::{Error, Result};
use crate::local::asked_to_end;
use crate::output::{Format, note};
use nodes::Nodes;
use serde_json::json;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind cluster local
  tradewind cluster local --nodes 5 --data /tmp/cluster
  tradewind cluster local --kafka 127.0.0.1:9092 --etcd http://127.0.0.1:2379

Without `--kafka`, Kafka is started: that of KAFKA_HOME, or the `kafka-server-start.sh` in PATH.
Without `--etcd`, the `etcd` in PATH is. Their data and logs are in the folder, too.

A node that is killed is started again after a while, so that it can be seen how others take over.
Ctrl-C ends everything in order; a second one at once. Started again on the same folder, it goes on.";

/// How long a node may take to end in order: it hands over, requests end, views commit.
const NODE_MAX: Duration = Duration::from_secs(60);
/// The same for a server.
const SERVER_MAX: Duration = Duration::from_secs(60);

/// How the cluster is to be.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How many nodes
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// The folder of everything that is kept
    #[arg(long, value_name = "FOLDER", default_value = "tradewind-cluster")]
    data: PathBuf,
    /// The port of the first node on 127.0.0.1; the others have the next ones. 0 takes free ones
    #[arg(long, default_value_t = 7071, value_parser = clap::value_parser!(u16).range(..=65_000))]
    port: u16,
    /// A Kafka that runs: `HOST:PORT`, several separated by commas
    #[arg(long, value_name = "SERVERS")]
    kafka: Option<String>,
    /// An etcd that runs: `http://HOST:PORT`, several separated by commas
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    etcd: Vec<String>,
    /// What the nodes say about themselves on standard error, as in `tradewind up --log`
    #[arg(long, value_name = "FILTER", default_value = "warn,tw_log_kafka::client=error")]
    log: String,
}

/// Where the servers are.
struct Servers {
    kafka: String,
    etcd: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What is missing, or does not start.
pub(super) async fn run(options: &Options, context: &Context) -> Result<()> {
    // Looked for first, so that nothing is made in vain.
    let kafka = options.kafka.is_none().then(kafka::find).transpose()?;
    let etcd = options.etcd.is_empty().then(etcd::find).transpose()?;
    let (folder, _lock) = open(&options.data)?;
    let mut crew = Crew::new(&folder)?;
    let outcome = tokio::select! {
        outcome = serve(&mut crew, options, kafka, etcd, context) => outcome,
        asked = asked_to_end() => asked,
    };
    note("the cluster is ended");
    tokio::select! {
        () = end(&mut crew) => outcome,
        asked = asked_to_end() => {
            crew.kill();
            asked?;
            Err(Error::Failed("ended before everything was in order; nothing that was acknowledged is lost".to_owned()))
        }
    }
}

/// Makes the folder, and keeps others from it.
fn open(data: &Path) -> Result<(PathBuf, File)> {
    let failed = |action, source| Error::File { action, path: data.display().to_string(), source };
    fs::create_dir_all(data).map_err(|source| failed("create", source))?;
    // Servers have working folders of their own.
    let folder = data.canonicalize().map_err(|source| failed("find", source))?;
    let lock = File::create(folder.join("lock")).map_err(|source| failed("write to", source))?;
    match lock.try_lock() {
        Ok(()) => Ok((folder, lock)),
        Err(TryLockError::WouldBlock) => Err(Error::Refused(format!(
            "a cluster runs on `{}` already: end it, or name another folder with `--data`",
            data.display()
        ))),
        Err(TryLockError::Error(source)) => Err(failed("lock", source)),
    }
}

/// Starts everything, and keeps it running. Ends only when that does not succeed.
async fn serve(
    crew: &mut Crew,
    options: &Options,
    kafka: Option<kafka::Install>,
    etcd: Option<PathBuf>,
    context: &Context,
) -> Result<()> {
    let etcd = match etcd {
        Some(program) => vec![etcd::start(crew, &program).await?],
        None => options.etcd.clone(),
    };
    let kafka = match (kafka, &options.kafka) {
        (Some(install), _) => kafka::start(crew, &install).await?,
        (None, servers) => servers.clone().unwrap_or_default(),
    };
    let servers = Servers { kafka, etcd };
    let mut nodes = Nodes::start(crew, options, &servers).await?;
    tell(&nodes, &servers, crew.folder(), context)?;
    nodes.keep(crew).await
}

/// Says where everything is.
fn tell(nodes: &Nodes, servers: &Servers, folder: &Path, context: &Context) -> Result<()> {
    let mut out = context.output();
    let list = nodes.list();
    match out.format {
        Format::Json | Format::Ndjson => {
            let nodes: Vec<_> =
                list.iter().map(|(name, url, pid)| json!({ "name": name, "url": url, "pid": pid })).collect();
            let (kafka, etcd) = (&servers.kafka, &servers.etcd);
            out.line(json!({ "nodes": nodes, "kafka": kafka, "etcd": etcd, "data": folder }))?;
        }
        Format::Table | Format::Csv => {
            for (name, url, pid) in &list {
                out.line(format!("{name}     {url} (process {pid})"))?;
            }
            out.line(format!("kafka  {}", servers.kafka))?;
            out.line(format!("etcd   {}", servers.etcd.join(", ")))?;
            out.line(format!("data   {}", folder.display()))?;
            out.line("try next, in another terminal; Ctrl-C ends it:")?;
            if let Some((_, url, _)) = list.first() {
                out.line(format!("  export TRADEWIND_URL={url}"))?;
            }
            out.line("  tradewind cluster nodes")?;
            out.line("  tradewind stream create orders --partitions 6")?;
            out.line("  tradewind cluster partitions")?;
        }
    }
    out.flush()
}

/// Ends everything in order. Nodes have something to write still, so the servers go last; each node hands over to those that are
/// left, so they go one by one.
async fn end(crew: &mut Crew) {
    for name in crew.names().into_iter().filter(|name| nodes::is_node(name)) {
        crew.stop(|other| other == name, NODE_MAX).await;
    }
    crew.stop(|name| name == kafka::NAME, SERVER_MAX).await;
    crew.stop(|_| true, SERVER_MAX).await;
}
