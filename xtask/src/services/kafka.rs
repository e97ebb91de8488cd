//! Apache Kafka: the broker's jars from Maven Central, and a Java to run them.
//!
//! `TRADEWIND_TEST_KAFKA_LIBS` is the folder of the jars, `TRADEWIND_TEST_JAVA` the program `java`. What the caller has set
//! is what tests get.

use super::{Variable, debian};
use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::workspace;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARIES: &str = "TRADEWIND_TEST_KAFKA_LIBS";
const JAVA: &str = "TRADEWIND_TEST_JAVA";

/// Not a later one: 4.2 to 4.4 lose the markers of transactions when a broker is killed (KAFKA-20734, see ADR 0009).
const VERSION: &str = "4.1.2";
/// The logging that the broker is compiled against, in the version that it brings.
const LOG4J: &str = "2.25.3";
/// The SHA-256 of what `sha256sum` prints of all jars in the order of their names.
const SHA256: &str = "c15dbfb9b467ce88563a904e698347101ba43ffcb2f5bcb33e51c9a1f38b6dc0";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/// What a broker of this version needs (KIP-750, KIP-1013).
const JAVA_MIN: u32 = 17;

/// Finds or installs both.
pub(super) fn provide() -> Result<Vec<Variable>> {
    let libraries = match set(LIBRARIES) {
        Some(folder) => {
            let jars = fs::read_dir(&folder).with_context(|| format!("`{LIBRARIES}` names `{folder}`"))?;
            let mut names = jars.flatten().filter_map(|jar| jar.file_name().into_string().ok());
            ensure!(
                names.any(|name| name.starts_with("kafka_2.") && name.ends_with(".jar")),
                "`{LIBRARIES}` names `{folder}`, which holds no broker: name the folder `libs` of a distribution"
            );
            folder
        }
        None => from_maven()?.display().to_string(),
    };
    let variables = [(LIBRARIES, libraries), (JAVA, java()?)];
    Ok(variables.into_iter().map(|(name, value)| Variable { name, value }).collect())
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// The broker and all that it needs when it runs; downloaded when it is asked for the first time.
fn from_maven() -> Result<PathBuf> {
    let parent = workspace::cache()?.join("kafka");
    let folder = parent.join(VERSION);
    if !folder.exists() {
        fs::create_dir_all(&parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
        download(&parent, &folder)?;
    }
    Ok(folder)
}

fn download(parent: &Path, folder: &Path) -> Result<()> {
    if Cmd::new("mvn").arg("--version").capture().is_err() {
        if !debian::is_here() {
            bail!(
                "install Maven, or unpack a Kafka {VERSION} distribution and let `{LIBRARIES}` name its folder `libs`"
            );
        }
        debian::install(&["maven"])?;
    }
    eprintln!("fetching Kafka {VERSION}");
    // Filled beside its place and moved there, so that a half-finished one is never taken for a whole one.
    let new = Scratch::below(parent, VERSION)?;
    let project = Scratch::below(parent, "project")?;
    fs::write(project.path().join("pom.xml"), project_file())?;
    Cmd::new("mvn")
        .dir(project.path())
        .args(["--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never", COPY])
        .args(["-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", new.path().display()))
        .capture()?;
    let sum = "sha256sum -- *.jar | sha256sum";
    let printed = Cmd::new("sh").args(["-c", sum]).env("LC_ALL", "C").dir(new.path()).capture()?;
    let sum = printed.split_whitespace().next().unwrap_or_default();
    ensure!(sum == SHA256, "the jars of Kafka {VERSION} have the SHA-256 {sum} instead of {SHA256}");
    new.keep_as(folder)
}

/// A project that depends on the broker. The interface for its console tools, which it names, is not in the registry and not
/// needed.
fn project_file() -> String {
    format!(
        "<project>\
           <modelVersion>4.0.0</modelVersion>\
           <groupId>tradewind</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\
           <dependencies>\
             <dependency>\
               <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>\
               <exclusions><exclusion>\
                 <groupId>org.apache.kafka</groupId><artifactId>kafka-tools-api</artifactId>\
               </exclusion></exclusions>\
             </dependency>\
             <dependency>\
               <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>\
               <version>{LOG4J}</version>\
             </dependency>\
           </dependencies>\
         </project>"
    )
}

/// A Java that is new enough.
fn java() -> Result<String> {
    let usable = |program: &str| {
        let printed = Cmd::new(program).arg("--version").capture().ok()?;
        major(&printed).filter(|major| *major >= JAVA_MIN)
    };
    if let Some(program) = set(JAVA) {
        ensure!(
            usable(&program).is_some(),
            "`{JAVA}` names `{program}`, which is no Java {JAVA_MIN} or newer"
        );
        return Ok(program);
    }
    let home = set("JAVA_HOME").map(|home| format!("{home}/bin/java"));
    let found = home.into_iter().chain(["java".to_owned()]).find(|program| usable(program).is_some());
    if let Some(program) = found {
        return Ok(program);
    }
    if !debian::is_here() {
        bail!("install Java {JAVA_MIN} or newer, or let `{JAVA}` name its program `java`");
    }
    debian::install(&["default-jre-headless"])?;
    ensure!(usable("java").is_some(), "Debian's `default-jre-headless` is older than Java {JAVA_MIN}");
    Ok("java".to_owned())
}

/// The major version in `openjdk 17.0.15 2025-04-15 …`.
fn major(printed: &str) -> Option<u32> {
    printed.split_whitespace().nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_read_from_what_java_prints() {
        assert_eq!(major("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime Environment"), Some(17));
        assert_eq!(major("openjdk 27-ea 2026-09-15"), Some(27));
        assert_eq!(major("java 25 2025-09-16 LTS"), Some(25));
        assert_eq!(major("command not found"), None);
    }
}
