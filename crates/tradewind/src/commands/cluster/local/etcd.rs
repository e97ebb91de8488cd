//! An etcd of one server, on this machine.

use crate::client::Client;
use crate::crew::{Crew, free_port};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Its name among the processes.
const NAME: &str = "etcd";
/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// The program.
///
/// # Errors
/// [`Error::NotFound`], with the remedy.
pub(super) fn find() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("etcd")).find(|program| program.is_file());
    found.ok_or_else(|| {
        Error::NotFound(
            "there is no `etcd` in PATH: install etcd 3.4 or newer (https://etcd.io), or name one that runs with \
             `--etcd http://127.0.0.1:2379`"
                .to_owned(),
        )
    })
}

/// Starts it; returns its URL.
///
/// # Errors
/// When it does not start, with the end of its log.
pub(super) async fn start(crew: &mut Crew, program: &PathBuf) -> Result<String> {
    let folder = crew.folder_of(NAME)?;
    let [clients, peers] = [free_port()?, free_port()?].map(|port| format!("http://127.0.0.1:{port}"));
    let mut command = Command::new(program);
    // It takes its options from the environment, too.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command.current_dir(&folder).arg("--data-dir").arg(folder.join("data")).args(["--name", "local"]);
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.args(["--initial-cluster", &format!("local={peers}"), "--auto-compaction-retention", "1h"]);
    crew.start_server(NAME, command)?;
    let client = Client::new(&clients)?;
    let is_ready = async || {
        let health = client.get::<Value>("/health").await;
        health.is_ok_and(|health| health.get("health").and_then(Value::as_str) == Some("true"))
    };
    crew.ready(NAME, START_MAX, is_ready).await?;
    Ok(clients)
}
