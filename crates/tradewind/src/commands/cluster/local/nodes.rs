//! The nodes: processes of this program, each with a folder and a port.

use super::{Options, Servers};
use crate::crew::{Crew, Event, own_program};
use crate::error::{Error, Result};
use crate::output::note;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long all nodes together may take to start.
const START_MAX: Duration = Duration::from_secs(180);
/// After how long a node that has ended by itself is started again: later than others have taken over.
const AGAIN: Duration = Duration::from_secs(5);

/// The nodes of a cluster.
pub(super) struct Nodes {
    /// Where each one listens, and serves.
    places: BTreeMap<String, Place>,
    log: String,
}

#[derive(Default)]
struct Place {
    listen: String,
    url: String,
    pid: i32,
}

/// Whether a process is a node.
pub(super) fn is_node(name: &str) -> bool {
    name.strip_prefix('n').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

impl Nodes {
    /// Starts them, and waits until all serve.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start(crew: &mut Crew, options: &Options, servers: &Servers) -> Result<Self> {
        let mut nodes = Self { places: BTreeMap::new(), log: options.log.clone() };
        for number in 1..=options.nodes {
            let name = format!("n{number}");
            let port = if options.port == 0 { 0 } else { options.port + number - 1 };
            // The strings of JSON are strings of TOML.
            let text = format!(
                "# Written by `tradewind cluster local` at each start.\n\n[cluster]\nenabled = true\n\n\
                 [kafka]\nservers = {}\n\n[etcd]\nendpoints = {}\n",
                json!(servers.kafka),
                json!(servers.etcd)
            );
            std::fs::write(crew.folder_of(&name)?.join("tradewind.toml"), text)?;
            let place = Place { listen: format!("127.0.0.1:{port}"), ..Place::default() };
            nodes.places.insert(name.clone(), place);
            nodes.launch(crew, &name)?;
        }
        let all = tokio::time::timeout(START_MAX, nodes.all_serve(crew)).await;
        all.map_err(|_| Error::Timeout(format!("the nodes do not serve after {} s", START_MAX.as_secs())))??;
        Ok(nodes)
    }

    fn launch(&self, crew: &mut Crew, name: &str) -> Result<()> {
        let mut command = own_program()?;
        let folder = crew.folder_of(name)?;
        let listen = self.places.get(name).map(|place| place.listen.as_str()).unwrap_or_default();
        command.current_dir(&folder).args(["up", "--node", name, "--listen", listen, "--log", &self.log]);
        command.args(["-o", "json", "--config"]).arg(folder.join("tradewind.toml"));
        command.arg("--data").arg(folder.join("data"));
        crew.start_node(name, command)
    }

    async fn all_serve(&mut self, crew: &mut Crew) -> Result<()> {
        while self.places.values().any(|place| place.url.is_empty()) {
            match crew.next().await {
                Event::Said(name, line) => self.serves(crew, &name, &line),
                Event::Ended(name, how) => return Err(not_started(crew, &name, &how)),
            }
        }
        Ok(())
    }

    /// A node has said where it serves. There it serves from now on, whenever it is started again.
    fn serves(&mut self, crew: &Crew, name: &str, line: &str) {
        let said: Value = serde_json::from_str(line).unwrap_or_default();
        let url = said.get("url").and_then(Value::as_str).unwrap_or_default();
        let pid = crew.pid(name).unwrap_or_default();
        let listen = url.trim_start_matches("http://").to_owned();
        self.places.insert(name.to_owned(), Place { listen, url: url.to_owned(), pid });
    }

    /// Their names, where they serve, and their processes.
    pub(super) fn list(&self) -> Vec<(&str, &str, i32)> {
        self.places.iter().map(|(name, place)| (name.as_str(), place.url.as_str(), place.pid)).collect()
    }

    /// Starts nodes again that end by themselves, for ever.
    ///
    /// # Errors
    /// When a server ends, or a node cannot be started again.
    pub(super) async fn keep(&mut self, crew: &mut Crew) -> Result<()> {
        let mut down: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            let next = down.iter().min_by_key(|(_, at)| **at).map(|(name, at)| (name.clone(), *at));
            let (due, at) = next.unwrap_or_else(|| (String::new(), Instant::now() + AGAIN));
            tokio::select! {
                event = crew.next() => match event {
                    Event::Said(name, line) => {
                        self.serves(crew, &name, &line);
                        if let Some(place) = self.places.get(&name) {
                            note(format!("{name} serves {} again (process {})", place.url, place.pid));
                        }
                    }
                    Event::Ended(name, how) if is_node(&name) => {
                        let s = AGAIN.as_secs();
                        note(format!("{name} has ended with {how}; it is started again in {s} s"));
                        down.insert(name, Instant::now() + AGAIN);
                    }
                    Event::Ended(name, how) => return Err(not_started(crew, &name, &how)),
                },
                () = tokio::time::sleep_until(at) => {
                    if down.remove(&due).is_some() {
                        self.launch(crew, &due)?;
                    }
                }
            }
        }
    }
}

fn not_started(crew: &Crew, name: &str, how: &str) -> Error {
    let what = format!("{name} has ended with {how}");
    Error::Failed(if is_node(name) {
        format!("{what}: it said why above")
    } else {
        crew.with_log(name, what)
    })
}
