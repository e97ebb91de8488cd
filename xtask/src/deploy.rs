//! `cargo xtask deploy`: what is below `deploy/` is what the programs that read it accept.
//!
//! Kubernetes' manifests are put together by Kustomize and compared with the schemas of Kubernetes, the compose file with that
//! of the Compose specification, the unit is looked at by systemd, and Prometheus tries the alarms on made-up nodes. Each of these programs is used where it can be had; the
//! others are named. What the files say of Tradewind itself, its options, commands and paths, is checked by its own tests.

use crate::process::Cmd;
use crate::scratch::Scratch;
use crate::services::debian;
use crate::workspace;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The package with the schemas of Kubernetes, the module with that of compose files.
const KUBERNETES: (&str, &str) = ("kubernetes-validate", "1.37.0");
const COMPOSE: &str = "github.com/compose-spec/compose-go/v2@v2.4.9";
/// How exposed systemd may find the unit, in tenths: from 0 to 100.
const EXPOSURE_MAX: &str = "20";
/// Compares a YAML file with a JSON schema.
const BY_SCHEMA: &str = "import json, sys, yaml, jsonschema\n\
    jsonschema.validate(yaml.safe_load(open(sys.argv[2])), json.load(open(sys.argv[1])))";

/// One check: what it looks at, and the program that it needs.
type Check = (&'static str, &'static str, fn(&Path, &Path) -> Result<()>);

const CHECKS: [Check; 5] = [
    ("Kubernetes", "kubectl", kubernetes),
    ("compose", "go", compose),
    ("systemd", "systemd-analyze", systemd),
    ("exposure of the unit", "systemd-analyze", exposure),
    ("alarms", "promtool", alarms),
];

/// Checks everything for which there is a program; returns what was looked at, and what was not.
pub(crate) fn run() -> Result<String> {
    let deploy = workspace::root().join("deploy");
    let scratch = Scratch::new("deploy")?;
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for (what, program, check) in CHECKS {
        let can_be_had = match program {
            "promtool" => is_here(program) || debian::is_here(),
            "kubectl" | "go" => is_here(program) && is_here("python3"),
            _ => is_here(program),
        };
        if can_be_had {
            check(&deploy, scratch.path()).with_context(|| what)?;
            done.push(what);
        } else {
            left.push(format!("{what} (no `{program}` here)"));
        }
    }
    let left = if left.is_empty() { String::new() } else { format!("; not: {}", left.join(", ")) };
    Ok(format!("{}{left}", done.join(", ")))
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn kubernetes(deploy: &Path, scratch: &Path) -> Result<()> {
    let manifests = Cmd::new("kubectl").arg("kustomize").arg(deploy.join("kubernetes")).capture()?;
    let file = scratch.join("manifests.yaml");
    fs::write(&file, manifests)?;
    python()?.args(["-m", "kubernetes_validate", "--strict", "--quiet"]).arg(file).capture().map(drop)
}

fn compose(deploy: &Path, _: &Path) -> Result<()> {
    let told = Cmd::new("go").args(["mod", "download", "-json", COMPOSE]).dir(deploy).capture()?;
    let module: serde_json::Value = serde_json::from_str(&told).context("what `go mod download` printed")?;
    let folder = module["Dir"].as_str().context("`go mod download` names no folder")?;
    let schema = Path::new(folder).join("schema/compose-spec.json");
    python()?.args(["-c", BY_SCHEMA]).arg(schema).arg(deploy.join("compose/compose.yaml")).capture().map(drop)
}

/// Python with the schemas of Kubernetes, in an environment of our own.
fn python() -> Result<Cmd> {
    let (package, version) = KUBERNETES;
    let folder = workspace::cache()?.join("tools");
    let kept = folder.join(format!("{package}-{version}"));
    let program = kept.join("bin/python3");
    if !program.exists() {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        eprintln!("installing {package} {version}");
        let new = Scratch::below(&folder, package)?;
        Cmd::new("python3").args(["-m", "venv"]).arg(new.path()).capture()?;
        let install = Cmd::new(new.path().join("bin/python3"));
        install.args(["-m", "pip", "install", "--quiet", &format!("{package}=={version}")]).capture()?;
        new.keep_as(&kept)?;
    }
    Ok(Cmd::new(program).shown_as("python3"))
}

/// The unit and its drop-in as systemd would load them, with a program that exists.
fn unit(deploy: &Path, scratch: &Path) -> Result<PathBuf> {
    let (from, to) = (deploy.join("systemd"), scratch.join("units"));
    fs::create_dir_all(to.join("tradewind.service.d"))?;
    for file in ["tradewind.service", "tradewind.service.d/cluster.conf"] {
        let text = fs::read_to_string(from.join(file)).with_context(|| format!("cannot read `{file}`"))?;
        if !text.contains("/usr/local/bin/tradewind") {
            bail!("`{file}` runs something else than /usr/local/bin/tradewind");
        }
        fs::write(to.join(file), text.replace("/usr/local/bin/tradewind", "/bin/true"))?;
    }
    Ok(to)
}

fn systemd(deploy: &Path, scratch: &Path) -> Result<()> {
    let units = unit(deploy, scratch)?;
    let mut path = units.clone().into_os_string();
    // The colon at its end adds the system's own units.
    path.push(":");
    let analyze = Cmd::new("systemd-analyze").env("SYSTEMD_UNIT_PATH", path);
    analyze.args(["verify", "--man=no"]).arg(units.join("tradewind.service")).capture().map(drop)
}

fn exposure(deploy: &Path, scratch: &Path) -> Result<()> {
    let unit = unit(deploy, scratch)?.join("tradewind.service");
    let analyze = Cmd::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager"]);
    analyze.args([format!("--threshold={EXPOSURE_MAX}")]).arg(unit).capture().map(drop)
}

fn alarms(deploy: &Path, _: &Path) -> Result<()> {
    let promtool = promtool()?;
    let check = |args: [&str; 3]| Cmd::new(&promtool).args(args).dir(deploy).capture().map(drop);
    check(["check", "rules", "alarms.yaml"])?;
    check(["test", "rules", "alarms-test.yaml"])
}

/// Prometheus' tool: the one in PATH, or that of Debian's package, which is not installed.
fn promtool() -> Result<PathBuf> {
    if is_here("promtool") {
        return Ok(PathBuf::from("promtool"));
    }
    let kept = workspace::cache()?.join("tools/prometheus");
    let program = kept.join("usr/bin/promtool");
    if !program.exists() {
        let folder = workspace::cache()?.join("tools");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        let new = Scratch::below(&folder, "prometheus")?;
        debian::unpack("prometheus", new.path())?;
        new.keep_as(&kept)?;
    }
    Ok(program)
}
