//! Where the programs of a server are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders with PostgreSQL's programs, separated by `:`; the first is what tests use that need only one version.
pub const POSTGRES_BIN_VARIABLE: &str = "TRADEWIND_TEST_POSTGRES_BIN";

/// The program `etcd`; without this variable, tests use the one in PATH.
pub const ETCD_VARIABLE: &str = "TRADEWIND_TEST_ETCD";

/// The program `dig`; without this variable, tests use the one in PATH.
pub const DIG_VARIABLE: &str = "TRADEWIND_TEST_DIG";

/// Where Debian's packages put their versions.
const DEBIAN: &str = "/usr/lib/postgresql";

/// An installed PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    bin: PathBuf,
    major: u32,
}

impl Install {
    /// Every version that tests may use: what [`POSTGRES_BIN_VARIABLE`] names, otherwise Debian's newest.
    ///
    /// # Panics
    /// When there is none, saying what to do: a test that needs a server must not pass without one.
    pub fn all() -> Vec<Self> {
        let installs: Vec<Self> = match std::env::var_os(POSTGRES_BIN_VARIABLE) {
            Some(folders) => std::env::split_paths(&folders)
                .filter(|folder| !folder.as_os_str().is_empty())
                .map(|folder| Self::at(&folder))
                .collect(),
            None => debian().into_iter().collect(),
        };
        assert!(
            !installs.is_empty(),
            "there is no PostgreSQL for the tests: install the package `postgresql`, or set {POSTGRES_BIN_VARIABLE} \
             to the folder that holds `initdb` and `postgres`"
        );
        installs
    }

    /// The first of [`Install::all`].
    pub fn first() -> Self {
        Self::all().swap_remove(0)
    }

    /// The programs in `bin`.
    ///
    /// # Panics
    /// When `postgres` there does not say its version.
    pub fn at(bin: &Path) -> Self {
        let said = Command::new(bin.join("postgres")).arg("--version").output();
        let said = said.unwrap_or_else(|error| panic!("cannot run `postgres` in {}: {error}", bin.display()));
        let text = String::from_utf8_lossy(&said.stdout);
        let major = text
            .split_whitespace()
            .nth(2)
            .and_then(|version| version.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|major| major.parse().ok())
            .unwrap_or_else(|| panic!("`postgres --version` in {} says `{text}`", bin.display()));
        Self { bin: bin.to_owned(), major }
    }

    /// The major version, such as 15.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The path of one of its programs; not every bundle has every program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// The program of etcd's server.
///
/// # Panics
/// When there is none, saying what to do.
pub(crate) fn etcd_program() -> PathBuf {
    let program = std::env::var_os(ETCD_VARIABLE).map_or_else(|| PathBuf::from("etcd"), PathBuf::from);
    let said = Command::new(&program).arg("--version").output();
    assert!(
        said.is_ok_and(|said| said.status.success()),
        "there is no etcd for the tests: `{}` does not run; install the package `etcd-server`, or set {ETCD_VARIABLE} to the \
         path of the program; `eval \"$(cargo xtask services)\"` does both",
        program.display()
    );
    program
}

/// The program `dig`, which asks name servers.
///
/// # Panics
/// When there is none, saying what to do.
pub fn dig_program() -> PathBuf {
    let program = std::env::var_os(DIG_VARIABLE).map_or_else(|| PathBuf::from("dig"), PathBuf::from);
    let said = Command::new(&program).arg("-v").output();
    assert!(
        said.is_ok_and(|said| said.status.success()),
        "there is no dig for the tests: `{}` does not run; install the package `bind9-dnsutils`, or set {DIG_VARIABLE} to the \
         path of the program; `eval \"$(cargo xtask services)\"` does both",
        program.display()
    );
    program
}

fn debian() -> Option<Install> {
    let versions = std::fs::read_dir(DEBIAN).ok()?;
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| Path::new(DEBIAN).join(version.to_string()).join("bin/postgres").exists())
        .max()?;
    Some(Install::at(&Path::new(DEBIAN).join(newest.to_string()).join("bin")))
}

/// The folder with the jars of a Kafka broker.
pub const KAFKA_LIBRARIES_VARIABLE: &str = "TRADEWIND_TEST_KAFKA_LIBS";
/// The folder with the jars of S3Proxy.
pub const S3PROXY_LIBRARIES_VARIABLE: &str = "TRADEWIND_TEST_S3PROXY_LIBS";
/// The program `java` that runs them; the one in `PATH` if it is not set.
pub const JAVA_VARIABLE: &str = "TRADEWIND_TEST_JAVA";

/// A server in Java that tests use.
#[derive(Debug, Clone)]
pub(crate) struct JavaInstall {
    libraries: PathBuf,
    java: PathBuf,
}

impl JavaInstall {
    /// Kafka.
    ///
    /// # Panics
    /// When there is none, saying what to do.
    pub(crate) fn kafka() -> Self {
        Self::find("Kafka", KAFKA_LIBRARIES_VARIABLE, "the folder `libs` of a Kafka 4.1 distribution")
    }

    /// S3Proxy.
    ///
    /// # Panics
    /// When there is none, saying what to do.
    pub(crate) fn s3proxy() -> Self {
        Self::find(
            "S3Proxy",
            S3PROXY_LIBRARIES_VARIABLE,
            "a folder with the jars of S3Proxy 4.1 and of all that it needs",
        )
    }

    fn find(server: &str, variable: &str, folder: &str) -> Self {
        let libraries = std::env::var_os(variable).filter(|folder| !folder.is_empty());
        let libraries = libraries.map(PathBuf::from).unwrap_or_else(|| {
            panic!(
                "there is no {server} for the tests: run `eval \"$(cargo xtask services)\"`, or set {variable} to {folder}"
            )
        });
        let java = std::env::var_os(JAVA_VARIABLE).filter(|java| !java.is_empty());
        Self { libraries, java: java.unwrap_or_else(|| "java".into()).into() }
    }

    /// A command that runs a class of the server, and that the kernel kills should the thread that starts it end.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&self.java);
        // The server's classes, wherever the arguments that follow stand.
        command.env("CLASSPATH", self.libraries.join("*"));
        command
    }

    /// The name and version of Kafka's jar, as part of a file name.
    pub(crate) fn broker_identity(&self) -> String {
        let jars = std::fs::read_dir(&self.libraries)
            .unwrap_or_else(|error| panic!("cannot read `{}`: {error}", self.libraries.display()));
        let mut names = jars.filter_map(|jar| jar.ok()?.file_name().into_string().ok());
        let name = names.find(|name| name.starts_with("kafka_2.") && name.ends_with(".jar"));
        name.unwrap_or_else(|| panic!("`{}` holds no broker of Kafka", self.libraries.display()))
    }
}
