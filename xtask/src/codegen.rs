//! `cargo xtask codegen`: the references below `docs/reference/` are what the binary prints about itself.
//!
//! They are checked in, so that they can be read where the code is read, and `verify` fails when they are out of date.

use crate::process::Cmd;
use crate::product;
use crate::workspace::{self, Metadata};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::Path;

/// A generated file.
#[derive(Debug)]
pub(crate) struct Generator {
    /// The file, from the root folder.
    pub(crate) file: &'static str,
    /// The arguments that make the binary print it.
    pub(crate) args: &'static [&'static str],
}

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only compare, and fail if a file is out of date
    #[arg(long)]
    check: bool,
}

/// Builds the binary, and writes or compares what it prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    product::build()?;
    let files = if options.check { check() } else { write() }?;
    println!("generated files, up to date: {}", files.unwrap_or(0));
    Ok(())
}

/// Writes the references with the binary as it is built now; returns how many there are, if there is one.
pub(crate) fn write() -> Result<Option<usize>> {
    each(|generator, path, text| {
        if fs::read_to_string(path).ok().as_deref() != Some(text) {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, text).with_context(|| format!("cannot write `{}`", generator.file))?;
            println!("wrote {}", generator.file);
        }
        Ok(())
    })
}

/// Compares the references with the binary as it is built now; returns how many there are, if there is one.
pub(crate) fn check() -> Result<Option<usize>> {
    each(|generator, path, text| compare(generator.file, &fs::read_to_string(path).unwrap_or_default(), text))
}

fn each(mut act: impl FnMut(&Generator, &Path, &str) -> Result<()>) -> Result<Option<usize>> {
    let Some(binary) = product::binary(&Metadata::load()?) else { return Ok(None) };
    for generator in product::GENERATORS {
        // A terminal's width and colours must not show in a file.
        let text =
            Cmd::new(&binary).args(generator.args).env("COLUMNS", "100").env("NO_COLOR", "1").capture()?;
        act(generator, &workspace::root().join(generator.file), &text)?;
    }
    Ok(Some(product::GENERATORS.len()))
}

/// An error that names the first line that differs.
fn compare(file: &str, kept: &str, printed: &str) -> Result<()> {
    if kept == printed {
        return Ok(());
    }
    let (mut kept, mut printed) = (kept.lines(), printed.lines());
    let mut line = 1;
    loop {
        match (kept.next(), printed.next()) {
            (old, new) if old == new && old.is_some() => line += 1,
            (old, new) => bail!(
                "`{file}` is out of date from line {line} on:\n  - {}\n  + {}",
                old.unwrap_or("(end of file)"),
                new.unwrap_or("(end of file)")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(kept: &str, printed: &str) -> Option<String> {
        compare("a.md", kept, printed).err().map(|error| error.to_string())
    }

    #[test]
    fn equal_texts_are_up_to_date() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn the_first_line_that_differs_is_named() {
        let told = difference("a\nb\nc\n", "a\nB\nc\n").unwrap();
        assert_eq!(told, "`a.md` is out of date from line 2 on:\n  - b\n  + B");
    }

    #[test]
    fn a_missing_end_is_out_of_date() {
        let told = difference("a", "a\n").unwrap();
        assert_eq!(told, "`a.md` is out of date from line 2 on:\n  - (end of file)\n  + (end of file)");
        assert!(difference("", "a\n").unwrap().contains("line 1"));
    }
}
