//! What must hold, in order.

use super::counts::Counts;
use super::{Gate, Outcome, Step, testing};
use crate::workspace::{Metadata, cargo};
use crate::{codegen, console, deploy, fuzz, house, layers, product, tools};
use anyhow::Result;

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "services",
        title: "the servers that tests start are there",
        check: services,
        remedy: "read what is missing; `cargo xtask services` tries again",
    },
    Step { name: "fmt", title: "the code is formatted", check: fmt, remedy: "`cargo xtask fix` formats it" },
    Step {
        name: "layers",
        title: "crates depend on each other as layers.toml draws it",
        check: |_| layers::run().map(Outcome::Holds),
        remedy: "remove the dependency, or draw its arrow and say why in an ADR",
    },
    Step {
        name: "house",
        title: "house rules hold",
        check: |_| house::run().map(Outcome::Holds),
        remedy: "follow the rule, or name an exception with its reason in xtask/house.toml",
    },
    Step {
        name: "clippy",
        title: "no warnings",
        check: clippy,
        remedy: "`cargo xtask fix` repairs some, the others say what they want",
    },
    Step {
        name: "deny",
        title: "licences, sources and bans of dependencies",
        check: deny,
        remedy: "choose another crate, or change deny.toml and say why",
    },
    Step {
        name: "advisories",
        title: "no dependency has a known vulnerability",
        check: advisories,
        remedy: "`cargo update -p CRATE`, or name the advisory and the reason in deny.toml",
    },
    Step {
        name: "unused",
        title: "every dependency is used",
        check: unused,
        remedy: "remove the dependency, or list it under [package.metadata.cargo-machete] with a reason",
    },
    Step {
        name: "deploy",
        title: "the programs that read deploy/ accept it",
        check: |_| deploy::run().map(Outcome::Holds),
        remedy: "read which file is not accepted; `cargo xtask deploy` tries again",
    },
    Step {
        name: "build",
        title: "tests and the binary build",
        check: |_| product::build().map(|()| nothing_to_add()),
        remedy: "read the first error",
    },
    Step {
        name: "tests",
        title: "all tests",
        check: all_tests,
        remedy: "`eval \"$(cargo xtask services)\"; cargo test -p CRATE NAME` runs one",
    },
    Step {
        name: "doctests",
        title: "all examples in the documentation",
        check: doc_tests,
        remedy: "`cargo test --doc -p CRATE` runs those of one crate",
    },
    Step {
        name: "docs",
        title: "the documentation builds without warnings",
        check: docs,
        remedy: "`cargo doc --no-deps -p CRATE` shows the warnings of one crate",
    },
    Step {
        name: "references",
        title: "generated references are up to date",
        check: references,
        remedy: "`cargo xtask codegen` writes them",
    },
    Step {
        name: "smoke",
        title: "the README's main command works",
        check: smoke,
        remedy: "run it by hand in an empty folder, end it with Ctrl-C",
    },
    Step {
        name: "console",
        title: "the web console works in a browser, for everybody",
        check: console,
        remedy: "`cargo xtask console` tries again; pictures and traces are in target/console",
    },
    Step {
        name: "fuzz",
        title: "fuzz targets build, and find nothing in a few seconds",
        check: fuzz,
        remedy: "`cargo xtask fuzz TARGET` repeats it; a crash's input lies in fuzz/artifacts/TARGET",
    },
];

fn nothing_to_add() -> Outcome {
    Outcome::Holds(String::new())
}

fn without_product() -> Outcome {
    Outcome::Skipped(format!("there is no package `{}` yet", product::PACKAGE))
}

fn services(gate: &Gate) -> Result<Outcome> {
    for variable in gate.services()? {
        eprintln!("{}={}", variable.name, variable.value);
    }
    Ok(nothing_to_add())
}

fn fmt(_: &Gate) -> Result<Outcome> {
    cargo("fmt").args(["--all", "--check"]).run()?;
    Ok(nothing_to_add())
}

fn clippy(_: &Gate) -> Result<Outcome> {
    cargo("clippy")
        .args(["--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"])
        .run()?;
    Ok(nothing_to_add())
}

fn deny(_: &Gate) -> Result<Outcome> {
    tools::DENY
        .command()?
        .args(["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        .run()?;
    Ok(nothing_to_add())
}

/// The database of advisories is a repository on the network, which a build machine may not reach.
fn advisories(_: &Gate) -> Result<Outcome> {
    if let Err(error) = tools::DENY.command()?.args(["fetch", "db"]).capture() {
        let why = error.to_string();
        let why = why.lines().next_back().unwrap_or_default();
        return Ok(Outcome::Skipped(format!("the database of advisories cannot be fetched here: {why}")));
    }
    tools::DENY.command()?.args(["--locked", "--offline", "check", "advisories"]).run()?;
    Ok(nothing_to_add())
}

fn unused(_: &Gate) -> Result<Outcome> {
    tools::MACHETE.command()?.arg("--skip-target-dir").run()?;
    Ok(nothing_to_add())
}

fn all_tests(gate: &Gate) -> Result<Outcome> {
    testing::test(gate, &["--all-targets"])
}

fn doc_tests(gate: &Gate) -> Result<Outcome> {
    testing::test(gate, &["--doc"])
}

fn docs(_: &Gate) -> Result<Outcome> {
    cargo("doc")
        // `--examples` makes Cargo choose the same features of dependencies as for clippy, whose work is then reused.
        .args(["--workspace", "--no-deps", "--lib", "--bins", "--examples", "--all-features", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    Ok(nothing_to_add())
}

fn references(_: &Gate) -> Result<Outcome> {
    product::build()?;
    Ok(match codegen::check()? {
        Some(files) => Outcome::Holds(format!("generated files: {files}")),
        None => without_product(),
    })
}

fn smoke(_: &Gate) -> Result<Outcome> {
    product::build()?;
    let Some(binary) = product::binary(&Metadata::load()?) else {
        return Ok(without_product());
    };
    product::DEMO.run(&binary)?;
    Ok(Outcome::Holds(format!("ran for {} s", product::DEMO.runs.as_secs())))
}

fn console(gate: &Gate) -> Result<Outcome> {
    product::build()?;
    if product::binary(&Metadata::load()?).is_none() {
        return Ok(without_product());
    }
    let outcome = console::run()?;
    gate.count(Counts { passed: outcome.passed, failed: outcome.failed, ignored: 0 });
    outcome.say().map(Outcome::Holds)
}

fn fuzz(_: &Gate) -> Result<Outcome> {
    Ok(match fuzz::check()? {
        0 => Outcome::Skipped("there are no fuzz targets yet".into()),
        targets => Outcome::Holds(format!("targets: {targets}")),
    })
}
