//! Running a node in this process: its configuration, its log of itself, and when to end it.

use crate::error::{Error, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tw_env::Env;
use tw_node::{Config, Node};
use tw_types::chain;

/// The file that is read when it is there and none is named.
const FILE: &str = "tradewind.toml";

/// How a node is configured on the command line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NodeOptions {
    /// The configuration file; without it, tradewind.toml of this folder if there is one
    #[arg(long, value_name = "FILE", env = "TRADEWIND_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The folder of all data
    #[arg(long, value_name = "FOLDER", env = "TRADEWIND_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "TRADEWIND_LISTEN", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen on an address that other machines can reach, although nobody is asked who they are
    #[arg(long)]
    pub(crate) insecure_no_auth: bool,
    /// The node's name in its cluster
    #[arg(long, value_name = "NAME", env = "TRADEWIND_NODE")]
    pub(crate) node: Option<String>,
    /// Where the other nodes of the cluster reach this one
    #[arg(long, value_name = "HOST:PORT", env = "TRADEWIND_ADVERTISE")]
    pub(crate) advertise: Option<String>,
    /// What the node says about itself on standard error: error, warn, info, debug, or per part as in `info,tw_capture=debug`
    #[arg(long, value_name = "FILTER", env = "TRADEWIND_LOG")]
    pub(crate) log: Option<String>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address and a port: use 127.0.0.1:7070, say"))
}

impl NodeOptions {
    /// What these files say, and nothing else.
    pub(crate) const fn of(config: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        Self { config, data, listen: None, insecure_no_auth: false, node: None, advertise: None, log: None }
    }

    /// The configuration: the file, and what the command line says instead.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is not accepted, [`Error::File`].
    pub(crate) fn config(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => read(file)?,
            None if Path::new(FILE).is_file() => read(Path::new(FILE))?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.node.data.clone_from(data);
        }
        if let Some(listen) = self.listen {
            config.http.listen = listen;
        }
        config.http.insecure_no_auth |= self.insecure_no_auth;
        if let Some(node) = &self.node {
            config.cluster.node.clone_from(node);
        }
        if let Some(advertise) = &self.advertise {
            config.cluster.advertise.clone_from(advertise);
        }
        config.check().map_err(|error| Error::Usage(error.to_string()))?;
        Ok(config)
    }

    /// Sends what the node says about itself to standard error.
    ///
    /// # Errors
    /// [`Error::Usage`] for a filter that does not read.
    pub(crate) fn log_to_stderr(&self, default: &str) -> Result<()> {
        let filter = self.log.as_deref().unwrap_or(default);
        let filter = EnvFilter::try_new(filter).map_err(|error| {
            Error::Usage(format!("`{filter}` is not a filter of logs: {}", chain(&error)))
        })?;
        let style = crate::output::stderr_style();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        // Only a second node in one process could fail here; it says the same to the same place.
        let _already = log.with_ansi(style.is_on()).try_init();
        Ok(())
    }
}

/// Reads a configuration file.
///
/// # Errors
/// [`Error::Usage`] for what is not accepted, [`Error::File`].
pub(crate) fn read(file: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::File {
        action: "read",
        path: file.display().to_string(),
        source,
    })?;
    Config::read(&text).map_err(|error| Error::Usage(format!("`{}`: {error}", file.display())))
}

/// Starts a node.
///
/// # Errors
/// [`Error::Refused`] when another process has the folder, [`Error::Failed`].
pub(crate) async fn start(config: Config) -> Result<Node> {
    Node::start(config, Env::real()).await.map_err(|error| match error {
        tw_node::Error::Busy(_) => Error::Refused(error.to_string()),
        tw_node::Error::Config(error) => Error::Usage(error.to_string()),
        error => Error::Failed(chain(&error)),
    })
}

/// Ends a node, and starts one anew in the same process. What the first one had goes with the last of its tasks, so the folder
/// and the port may be taken for a moment still. It did run, so what else keeps it from that, such as an outage of the log's
/// servers, will end: until then it is tried again.
///
/// # Errors
/// Those of [`end`], and [`Error::Refused`] when it lasts.
pub(crate) async fn start_again(node: Node, config: Config) -> Result<Node> {
    end(node).await?;
    let patience = tokio::time::Instant::now() + AGAIN;
    loop {
        match start(config.clone()).await {
            Err(Error::Refused(_)) if tokio::time::Instant::now() < patience => {}
            Err(Error::Failed(error)) => {
                crate::output::note(format!("the node cannot start anew yet: {error}"));
            }
            started => return started,
        }
        tokio::time::sleep(AGAIN / 60).await;
    }
}

/// A runtime with several threads, on which a node runs.
///
/// # Errors
/// When the system gives no threads.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Waits until a person or the system wants the process to end.
///
/// # Errors
/// When signals cannot be had.
pub(crate) async fn asked_to_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome?,
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// Ends a node in order; a second signal ends the process at once.
///
/// # Errors
/// What was not done in its time.
pub(crate) async fn end(node: Node) -> Result<()> {
    tokio::select! {
        ended = node.shutdown() => match ended {
            // It is done again after the next start.
            Err(tw_node::Error::Process(error)) => {
                crate::output::note(chain(&error));
                Ok(())
            }
            ended => ended.map_err(|error| Error::Failed(chain(&error))),
        },
        asked = asked_to_end() => {
            asked?;
            Err(Error::Failed("ended before everything was in order; nothing that was acknowledged is lost".to_owned()))
        }
    }
}

/// The user and the machine, for others to see.
pub(crate) fn user() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| "somebody".to_owned());
    let host = rustix::system::uname();
    format!("{user}@{}", host.nodename().to_string_lossy())
}

/// How long what the node before had may keep one that is started anew from it.
const AGAIN: Duration = Duration::from_secs(30);
/// How long the tasks of a runtime may take to notice that it ends.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
