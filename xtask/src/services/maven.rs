//! Servers in Java: their jars from Maven Central, and a Java to run them.
//!
//! `TRADEWIND_TEST_JAVA` is the program `java`. What the caller has set is what tests get.

use super::{Variable, debian};
use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::workspace;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

const JAVA: &str = "TRADEWIND_TEST_JAVA";
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/// What the newest of the servers needs; see each for its source.
const JAVA_MIN: u32 = 17;

/// A server as Maven Central has it.
pub(super) struct Server {
    pub(super) name: &'static str,
    /// Of its folder in our cache.
    pub(super) folder: &'static str,
    pub(super) version: &'static str,
    /// The variable by which tests find the folder of its jars.
    pub(super) variable: &'static str,
    /// How the name of the jar begins without which it is not that server.
    pub(super) jar: &'static str,
    /// What whoever has no Maven can do instead.
    pub(super) instead: &'static str,
    /// What a project depends on that needs the server, in the words of its file.
    pub(super) dependencies: String,
    /// The SHA-256 of what `sha256sum` prints of all jars in the order of their names.
    pub(super) sha256: &'static str,
}

impl Server {
    /// Finds or downloads the jars; gives the variable that points to them.
    pub(super) fn provide(&self) -> Result<Variable> {
        let value = match set(self.variable) {
            Some(folder) => {
                let (name, variable, instead) = (self.name, self.variable, self.instead);
                let jars = fs::read_dir(&folder).with_context(|| format!("`{variable}` names `{folder}`"))?;
                let mut names = jars.flatten().filter_map(|jar| jar.file_name().into_string().ok());
                ensure!(
                    names.any(|name| name.starts_with(self.jar) && name.ends_with(".jar")),
                    "`{variable}` names `{folder}`, which holds no {name}: {instead}"
                );
                folder
            }
            None => self.kept()?.display().to_string(),
        };
        Ok(Variable { name: self.variable, value })
    }

    /// The server and all that it needs when it runs; downloaded when it is asked for the first time.
    fn kept(&self) -> Result<PathBuf> {
        let parent = workspace::cache()?.join(self.folder);
        let folder = parent.join(self.version);
        if !folder.exists() {
            fs::create_dir_all(&parent).with_context(|| format!("cannot create `{}`", parent.display()))?;
            self.download(&parent, &folder)?;
        }
        Ok(folder)
    }

    fn download(&self, parent: &Path, folder: &Path) -> Result<()> {
        let Self { name, version, variable, instead, .. } = self;
        if Cmd::new("mvn").arg("--version").capture().is_err() {
            if !debian::is_here() {
                bail!("install Maven, or let `{variable}` name the jars of {name} {version}: {instead}");
            }
            debian::install(&["maven"])?;
        }
        eprintln!("fetching {name} {version}");
        // Filled beside its place and moved there, so that a half-finished one is never taken for a whole one.
        let new = Scratch::below(parent, version)?;
        let project = Scratch::below(parent, "project")?;
        fs::write(project.path().join("pom.xml"), self.project_file())?;
        Cmd::new("mvn")
            .dir(project.path())
            .args(["--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never", COPY])
            .args(["-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", new.path().display()))
            .capture()?;
        let sum = "sha256sum -- *.jar | sha256sum";
        let printed = Cmd::new("sh").args(["-c", sum]).env("LC_ALL", "C").dir(new.path()).capture()?;
        let (sum, expected) = (printed.split_whitespace().next().unwrap_or_default(), self.sha256);
        ensure!(sum == expected, "the jars of {name} {version} have the SHA-256 {sum} instead of {expected}");
        new.keep_as(folder)
    }

    /// A project that depends on the server.
    fn project_file(&self) -> String {
        format!(
            "<project>\
               <modelVersion>4.0.0</modelVersion>\
               <groupId>tradewind</groupId><artifactId>{}</artifactId><version>1</version><packaging>pom</packaging>\
               <dependencies>{}</dependencies>\
             </project>",
            self.folder, self.dependencies
        )
    }
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A Java that is new enough for all of them.
pub(super) fn java() -> Result<Vec<Variable>> {
    Ok(vec![Variable { name: JAVA, value: java_program()? }])
}

fn java_program() -> Result<String> {
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
