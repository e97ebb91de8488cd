//! A Kafka of one broker, on this machine: the programs of an installation, and a folder of its own.

use crate::crew::{Crew, free_port};
use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;
use tw_env::Env;

/// Its name among the processes.
pub(super) const NAME: &str = "kafka";
/// How long it may take to start: a lot of Java.
const START_MAX: Duration = Duration::from_secs(180);
/// How much memory it gets, unless KAFKA_HEAP_OPTS says otherwise.
const HEAP: &str = "-Xms128m -Xmx512m";
/// The characters of base64 for URLs; the first 52 are letters.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// For one broker, which is a controller, too.
const SETTINGS: [(&str, &str); 12] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("auto.create.topics.enable", "false"),
    ("offsets.topic.num.partitions", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

/// The programs of an installation.
pub(super) struct Install {
    server: PathBuf,
    storage: PathBuf,
}

/// The installation of KAFKA_HOME, or the one in PATH.
///
/// # Errors
/// [`Error::NotFound`], with the remedy.
pub(super) fn find() -> Result<Install> {
    let home = std::env::var_os("KAFKA_HOME").map(|home| Path::new(&home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = home.into_iter().chain(std::env::split_paths(&path));
    // Packages leave the ending out.
    let found = folders.find_map(|folder| {
        [".sh", ""].into_iter().find_map(|ending| {
            let program =
                |name: &str| Some(folder.join(format!("{name}{ending}"))).filter(|file| file.is_file());
            Some(Install { server: program("kafka-server-start")?, storage: program("kafka-storage")? })
        })
    });
    found.ok_or_else(|| {
        Error::NotFound(
            "Kafka is not found, neither in KAFKA_HOME nor as `kafka-server-start.sh` in PATH: unpack Kafka 4.1 \
             (https://kafka.apache.org) and let KAFKA_HOME be its folder, or name one that runs with \
             `--kafka 127.0.0.1:9092`"
                .to_owned(),
        )
    })
}

/// Starts it; returns its address.
///
/// # Errors
/// When it does not start, with the end of its log.
pub(super) async fn start(crew: &mut Crew, install: &Install) -> Result<String> {
    let folder = crew.folder_of(NAME)?;
    let (address, controller) =
        (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    let data = folder.join("data");
    let listeners = format!("PLAINTEXT://{address},CONTROLLER://{controller}");
    let own = [
        ("listeners", listeners),
        ("advertised.listeners", format!("PLAINTEXT://{address}")),
        ("controller.quorum.voters", format!("1@{controller}")),
        ("log.dirs", data.display().to_string()),
    ];
    let mut properties = String::from("# Written by `tradewind cluster local` at each start.\n");
    let settings = SETTINGS.iter().map(|(name, value)| (*name, *value));
    for (name, value) in settings.chain(own.iter().map(|(name, value)| (*name, value.as_str()))) {
        // Writing to memory does not fail.
        let _infallible = writeln!(properties, "{name}={value}");
    }
    let file = folder.join("server.properties");
    std::fs::write(&file, properties)?;
    if !data.join("meta.properties").is_file() {
        let mut format = program(&install.storage, &folder);
        format.args(["format", "--ignore-formatted", "--cluster-id", &cluster_id(), "--config"]).arg(&file);
        prepare(format).await?;
    }
    let mut server = program(&install.server, &folder);
    server.arg(&file);
    crew.start_server(NAME, server)?;
    // It takes connections once it serves.
    crew.ready(NAME, START_MAX, async || TcpStream::connect(&address).await.is_ok()).await?;
    Ok(address)
}

/// A program of Kafka, which writes nowhere else.
fn program(path: &Path, folder: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(folder).env("LOG_DIR", folder.join("logs"));
    if std::env::var_os("KAFKA_HEAP_OPTS").is_none() {
        command.env("KAFKA_HEAP_OPTS", HEAP);
    }
    command
}

/// Makes the folder one of Kafka's.
async fn prepare(mut command: Command) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let done = tokio::task::spawn_blocking(move || command.output()).await;
    let done = done.map_err(|error| Error::Failed(error.to_string()))?;
    let done = done.map_err(|source| Error::File { action: "run", path: shown.clone(), source })?;
    if done.status.success() {
        return Ok(());
    }
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    Err(Error::Failed(format!("`{shown}` cannot prepare the folder ({}): {}", done.status, said.join("\n"))))
}

/// 16 random bytes as Kafka writes them: 22 letters of base64 for URLs, of which the last one has two bits only.
fn cluster_id() -> String {
    let random = Env::real().random;
    let letter = |among: usize| {
        let number = (random.next_u64() % among as u64) as usize;
        char::from(LETTERS.get(number).copied().unwrap_or(b'A'))
    };
    // An option's value must not begin as an option does.
    let first = letter(52);
    [first].into_iter().chain((0..20).map(|_| letter(64))).chain(['A']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_cluster_is_16_bytes_and_never_the_same() {
        let (a, b) = (cluster_id(), cluster_id());
        assert_eq!((a.len(), a.ends_with('A')), (22, true));
        assert!(a.starts_with(|c: char| c.is_ascii_alphabetic()), "{a}");
        assert_ne!(a, b);
    }
}
