//! One broker of a cluster.

use crate::files::{copy_tree, templates};
use crate::install::JavaInstall;
use crate::process::{self, launch, text};
use crate::wait::within;
use rustix::process::Signal;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What a broker says once it takes requests.
const READY: &str = "Kafka Server started";

/// How long a broker may take to start: a lot of Java for a machine that does other things as well.
const START_PATIENCE: Duration = Duration::from_secs(600);

/// A small heap, and a short start rather than fast code.
const JVM: [&str; 6] = [
    "-Xms64m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
];

/// For one machine and short lives: few partitions of Kafka's own topics, no waiting for members that do not come, and
/// the death of a broker is noticed within four seconds.
const SETTINGS: [(&str, &str); 18] = [
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("auto.create.topics.enable", "false"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("background.threads", "2"),
    ("num.recovery.threads.per.data.dir", "1"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "4"),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    ("log.index.size.max.bytes", "1048576"),
    ("broker.session.timeout.ms", "4000"),
    ("broker.heartbeat.interval.ms", "500"),
    ("controller.quorum.election.timeout.ms", "500"),
    ("controller.quorum.fetch.timeout.ms", "1000"),
];

/// What the brokers of a cluster know of each other.
#[derive(Debug)]
pub(super) struct Layout {
    /// For clients and for controllers, per broker.
    pub(super) ports: Vec<(u16, u16)>,
    /// In addition to the defaults.
    pub(super) settings: Vec<(String, String)>,
    /// Where the only broker listens as well.
    pub(super) more: Vec<Listener>,
}

/// A further port of a broker.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    /// Where the broker says that it is.
    pub(super) near: u16,
}

/// A broker, which is a controller too.
#[derive(Debug)]
pub struct Broker {
    folder: TempDir,
    index: u32,
    layout: Arc<Layout>,
    process: Option<Child>,
    /// How long its log was when it was launched.
    launched_at: usize,
}

impl Broker {
    pub(super) fn create(index: u32, layout: Arc<Layout>) -> Self {
        let install = JavaInstall::kafka();
        let folder = tempfile::Builder::new().prefix("tw-kafka-").tempdir().expect("temporary folder");
        copy_tree(&template(&install), &folder.path().join("data"));
        personalise(&folder.path().join("data/meta.properties"), index);
        let broker = Self { folder, index, layout, process: None, launched_at: 0 };
        fs::write(broker.file("server.properties"), broker.properties()).expect("server.properties");
        fs::write(broker.file("log4j2.xml"), LOG4J).expect("log4j2.xml");
        broker
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports().0
    }

    fn ports(&self) -> (u16, u16) {
        self.layout.ports.get(self.index as usize).copied().expect("a broker has ports")
    }

    /// Its data folder.
    pub fn data_folder(&self) -> PathBuf {
        self.file("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        text(&self.file("log"))
    }

    fn properties(&self) -> String {
        let Layout { ports, settings, more } = &*self.layout;
        let brokers = ports.len();
        let (port, controller) = self.ports();
        let voters: Vec<String> = ports
            .iter()
            .zip(1..)
            .map(|((_, controller), node)| format!("{node}@127.0.0.1:{controller}"))
            .collect();
        let replicas = brokers.min(3);
        let in_sync = if replicas > 2 { 2 } else { 1 };
        let mut lines = String::new();
        let (mut listeners, mut advertised) = (String::new(), String::new());
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for Listener { name, protocol, port, near } in more {
            listeners += &format!(",{name}://127.0.0.1:{port}");
            advertised += &format!(",{name}://127.0.0.1:{near}");
            protocols += &format!(",{name}:{protocol}");
        }
        let own = [
            ("node.id", (self.index + 1).to_string()),
            (
                "listeners",
                format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}"),
            ),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}{advertised}")),
            ("listener.security.protocol.map", protocols),
            ("controller.quorum.voters", voters.join(",")),
            ("log.dirs", self.data_folder().display().to_string()),
            ("default.replication.factor", replicas.to_string()),
            ("min.insync.replicas", in_sync.to_string()),
            ("offsets.topic.replication.factor", replicas.to_string()),
            ("transaction.state.log.replication.factor", replicas.to_string()),
            ("transaction.state.log.min.isr", in_sync.to_string()),
        ];
        let defaults = SETTINGS.iter().map(|(name, value)| (*name, *value));
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let given = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.chain(own).chain(given) {
            let _infallible = writeln!(lines, "{name}={value}");
        }
        lines
    }

    /// Starts it (again), on the same port and data, and waits until it takes requests.
    ///
    /// # Panics
    /// When it runs already; when it does not start, with what it says.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the broker runs already");
        self.launch();
        self.await_ready();
    }

    /// Starts its process, unless it runs.
    pub(super) fn launch(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.launched_at = self.log().len();
        let mut command = JavaInstall::kafka().command();
        command.args(JVM).arg(format!("-Dlog4j2.configurationFile={}", self.file("log4j2.xml").display()));
        command.arg("kafka.Kafka").arg(self.file("server.properties")).current_dir(self.folder.path());
        self.process = Some(launch(command, &self.file("log")));
    }

    pub(super) fn await_ready(&mut self) {
        let from = self.launched_at;
        let ready = within(START_PATIENCE, || {
            let process = self.process.as_mut()?;
            if let Some(status) = process.try_wait().expect("wait") {
                panic!("Kafka ended with {status}:\n{}", self.log());
            }
            self.log().get(from..).is_some_and(|log| log.contains(READY)).then_some(())
        });
        assert!(ready.is_some(), "Kafka does not get ready:\n{}", self.log());
    }

    /// Ends it in order: it gives its partitions to others, if there are any, and closes its files.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops its clock: it holds its connections and answers nobody, until it is resumed.
    pub fn pause(&mut self) {
        if let Some(process) = &self.process {
            process::pause(process);
        }
    }

    /// Pauses it for a while.
    pub fn pause_for(&mut self, time: Duration) {
        self.pause();
        std::thread::sleep(time);
        self.resume();
    }

    /// Lets it go on after a pause.
    pub fn resume(&mut self) {
        if let Some(process) = &self.process {
            process::send(process, Signal::CONT);
        }
    }

    fn end(&mut self, signal: Signal) {
        if let Some(process) = self.process.take() {
            process::end(process, signal);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Warnings and worse, and the sentence that says that it is ready.
const LOG4J: &str = r#"<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %m (%c{1})%n%xThrowable"/></Console></Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
  </Loggers>
</Configuration>
"#;

/// A formatted data folder, made once per installation and kept beside the tests' programs.
fn template(install: &JavaInstall) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock();
    let build = templates();
    let kept = build.join(format!("kafka-{}", install.broker_identity()));
    if kept.exists() {
        return kept;
    }
    fs::create_dir_all(&build).expect("create folder");
    let fresh = tempfile::Builder::new().prefix("fresh-").tempdir_in(&build).expect("temporary folder");
    let data = fresh.path().join("data");
    let properties = fresh.path().join("server.properties");
    let lines = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n\
         controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n",
        data.display()
    );
    fs::write(&properties, lines).expect("server.properties");
    let mut command = install.command();
    command.args(JVM).args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER, "--config"]);
    let done = command.arg(&properties).output().expect("format a data folder");
    assert!(
        done.status.success(),
        "formatting failed: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    // Another test program may have been faster; its template is as good.
    let _faster = fs::rename(data, &kept);
    kept
}

/// Any 16 bytes in the URL-safe form of base64.
const CLUSTER: &str = "VHJhZGV3aW5kLXRlc3RzIQ";

/// Makes a copy of the template the folder of another node: its number, and the identity of the folder.
fn personalise(meta: &Path, index: u32) {
    let text = fs::read_to_string(meta).expect("meta.properties");
    let first = char::from_u32(u32::from(b'A') + index).expect("a letter");
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={}\n", index + 1),
        Some(("directory.id", id)) => format!("directory.id={first}{}\n", id.get(1..).unwrap_or_default()),
        _ => format!("{line}\n"),
    });
    fs::write(meta, lines.collect::<String>()).expect("meta.properties");
}
