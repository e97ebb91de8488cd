//! Nodes as processes, with the Kafka and the etcd that they share.

use super::wire::Wire;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tw_testing::{Etcd, Kafka};

/// The program of the nodes, which is beside this one unless it is named.
pub(crate) fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match named {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()?.with_file_name("tradewind"),
    };
    ensure!(program.is_file(), "there is no `{}`: build it, or name it with --program", program.display());
    Ok(program)
}

/// A cluster that ends with this value.
pub(crate) struct Nodes {
    program: PathBuf,
    nodes: Vec<(PathBuf, Option<Running>)>,
    _kafka: Kafka,
    _etcd: Etcd,
}

/// A node that ends; without it, it is killed.
pub(crate) struct Leaving {
    _running: Running,
}

/// A node that runs; killed when it is dropped.
pub(crate) struct Running {
    process: Child,
    /// Where it serves.
    pub(crate) wire: Wire,
}

impl Running {
    /// Starts a node in a folder with its configuration, and waits until it serves.
    pub(crate) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["up", "--listen", "127.0.0.1:0", "-o", "json", "--log", "error", "--data", "data"]);
        let mut process = command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        let stdout = process.stdout.take().context("there is a pipe")?;
        BufReader::new(stdout).read_line(&mut said)?;
        let said: Value = serde_json::from_str(&said).context("the node does not start")?;
        let url = said.get("url").and_then(Value::as_str).context("the node does not say where it serves")?;
        Ok(Self { process, wire: Wire(url.trim_start_matches("http://").parse()?) })
    }
}

impl Nodes {
    pub(crate) fn start(program: &Path, folder: &Path, count: usize) -> anyhow::Result<Self> {
        let (kafka, etcd) = (Kafka::start(), Etcd::start());
        let mut nodes = Vec::new();
        for number in 0..count {
            let folder = folder.join(format!("n{number}"));
            fs::create_dir(&folder)?;
            // Moves are measured, not how long the planner waits before it moves something again.
            let config = format!(
                "[cluster]\nenabled = true\nnode = \"n{number}\"\n\n[cluster.ownership.placement]\ncooldown_ms = 0\n\n[kafka]\nservers = \"{}\"\n\n[etcd]\nendpoints = [\"{}\"]\n",
                kafka.bootstrap(),
                etcd.endpoint()
            );
            fs::write(folder.join("tradewind.toml"), config)?;
            nodes.push((folder, None));
        }
        let mut cluster = Self { program: program.to_owned(), nodes, _kafka: kafka, _etcd: etcd };
        for number in 0..count {
            cluster.start_again(number)?;
        }
        Ok(cluster)
    }

    /// Where a node serves that runs.
    pub(crate) fn of(&self, number: usize) -> anyhow::Result<Wire> {
        let running = self.nodes.get(number).and_then(|(_, running)| running.as_ref());
        running.map(|running| running.wire).with_context(|| format!("n{number} does not run"))
    }

    /// Ends a node as a crash would.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let running = self.nodes.get_mut(number).and_then(|(_, running)| running.take());
        running.with_context(|| format!("n{number} does not run")).map(drop)
    }

    /// Tells a node to end, which gives up what it has before it does.
    pub(crate) fn leave(&mut self, number: usize) -> anyhow::Result<Leaving> {
        let running = self.nodes.get_mut(number).and_then(|(_, running)| running.take());
        let running = running.with_context(|| format!("n{number} does not run"))?;
        let pid = rustix::process::Pid::from_child(&running.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        Ok(Leaving { _running: running })
    }

    /// Starts a node, and waits until it serves.
    pub(crate) fn start_again(&mut self, number: usize) -> anyhow::Result<()> {
        let (folder, running) = self.nodes.get_mut(number).context("there is no such node")?;
        *running = Some(Running::start(&self.program, folder)?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _over = self.process.kill();
        let _reaped = self.process.wait();
    }
}
