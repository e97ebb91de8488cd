//! Builds the web console with Node and lists its files for `src/lib.rs` to embed.
//!
//! `web/` is copied into the build's own folder, dependencies come through npm as the user has set it up, and nothing is ever
//! written into the source tree. Without Node the binary gets a plain page that says how to get the console.
//! `TRADEWIND_CONSOLE` says what is wanted: `required` fails where there would be that page only, `off` does not try.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// What the build reads, below `web/`; tests are not among it.
const INPUTS: &[&str] =
    &["src", "scripts", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json"];
/// What is served in place of the console.
const FALLBACK: &str = "src/fallback.html";
const VARIABLE: &str = "TRADEWIND_CONSOLE";
const REMEDY: &str = "install Node 20.19 or newer with npm, have npm reach its registry or its cache, and build again with \
                      TRADEWIND_CONSOLE=required; TRADEWIND_CONSOLE=off builds without it, silently";

fn main() -> Result<(), String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let web = package.join("../../web");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={FALLBACK}");
    for input in INPUTS {
        println!("cargo:rerun-if-changed={}", web.join(input).display());
    }
    let wanted = env::var(VARIABLE).unwrap_or_default();
    let table = match wanted.as_str() {
        "off" => fallback(&package),
        "required" => build(&web, &out).map_err(|why| format!("{why}: {REMEDY}"))?,
        "" => build(&web, &out).unwrap_or_else(|why| {
            println!("cargo:warning=the web console is not built: {why}: {REMEDY}");
            fallback(&package)
        }),
        other => return Err(format!("{VARIABLE} is `{other}`: use `required`, `off`, or leave it away")),
    };
    fs::write(out.join("table.rs"), table)
        .map_err(|error| format!("cannot write the table of files: {error}"))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: Cargo sets it"))
}

/// Builds the console in the build's folder; the source of the table of its files.
fn build(web: &Path, out: &Path) -> Result<String, String> {
    check_node()?;
    let here = out.join("web");
    copy_inputs(web, &here).map_err(|error| format!("`{}` cannot be copied: {error}", web.display()))?;
    install(&here)?;
    // What an earlier build left must not be taken for what this one makes.
    let dist = here.join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)
            .map_err(|error| format!("`{}` cannot be removed: {error}", dist.display()))?;
    }
    npm(&here, &["run", "--silent", "build"])?;
    let list = fs::read_to_string(dist.join("files.tsv"))
        .map_err(|error| format!("the build listed no files: {error}"))?;
    table(&dist, &list)
}

/// Whether there is a Node that Vite runs on.
fn check_node() -> Result<(), String> {
    let printed = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let printed = printed.map_err(|error| format!("`node` does not run: {error}"))?;
    let version = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    let mut numbers = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(20)), Some(Ok(19..))) | (Some(Ok(22)), Some(Ok(12..))) | (Some(Ok(23..)), _) => Ok(()),
        _ => Err(format!("`node` is {version}, which is too old")),
    }
}

/// Brings the build's copy of the sources up to date. What npm has installed there stays.
fn copy_inputs(web: &Path, here: &Path) -> io::Result<()> {
    fs::create_dir_all(here)?;
    for input in INPUTS {
        let target = here.join(input);
        if target.is_dir() {
            fs::remove_dir_all(&target)?;
        }
        copy(&web.join(input), &target)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Has npm install what the lock file names, unless it is there already.
fn install(here: &Path) -> Result<(), String> {
    let lock = fs::read(here.join("package-lock.json"))
        .map_err(|error| format!("there is no lock file: {error}"))?;
    let installed = here.join("node_modules/.installed");
    if fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    npm(
        here,
        &[
            "ci",
            "--omit=dev",
            "--prefer-offline",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ],
    )?;
    fs::write(&installed, lock).map_err(|error| format!("cannot note what is installed: {error}"))
}

fn npm(here: &Path, args: &[&str]) -> Result<(), String> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let command = args.iter().copied().find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let ran = Command::new(program).args(args).current_dir(here).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("`npm` does not run: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    // Its last words say most, and stand on one line of Cargo's warning.
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default().join(" / ");
    Err(format!("`npm {command}` failed: {last}"))
}

/// The table as Rust source, of lines with path, media type, hash and variants.
fn table(dist: &Path, list: &str) -> Result<String, String> {
    let mut source = String::from(
        "/// What is served.\npub(crate) const BUILT: bool = true;\npub(crate) static FILES: &[crate::File] = &[\n",
    );
    for line in list.lines() {
        let [path, media_type, hash, brotli, gzip] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("`{line}` describes no file"));
        };
        let file = dist.join(path.trim_start_matches('/'));
        let variant = |name: &str| match name {
            "-" => "None".to_owned(),
            name => format!("Some(include_bytes!({:?}))", format!("{}.{name}", file.display())),
        };
        let _a_string_takes_all = writeln!(
            source,
            "crate::File {{ path: {path:?}, media_type: {media_type:?}, hash: {hash:?}, plain: include_bytes!({:?}), brotli: {}, gzip: {} }},",
            file.display().to_string(),
            variant(brotli),
            variant(gzip),
        );
    }
    source.push_str("];\n");
    Ok(source)
}

/// A table with the plain page alone.
fn fallback(package: &Path) -> String {
    let page = package.join(FALLBACK).display().to_string();
    format!(
        "pub(crate) const BUILT: bool = false;\npub(crate) static FILES: &[crate::File] = &[crate::File {{ path: \"/index.html\", media_type: \"text/html; charset=utf-8\", \
         hash: \"fallback-1\", plain: include_bytes!({page:?}), brotli: None, gzip: None }}];\n"
    )
}
