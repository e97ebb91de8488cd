//! `tradewind log`: a log that no node has open, checked and looked into.

use crate::cli::Context;
use crate::error::{Error, Result};
use crate::output::{Align, Cell, Listing, Output, count, note, record};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tw_env::Env;
use tw_log::{FrameInfo, IndexInfo, Inspection, SegmentInfo, Verification};
use tw_types::chain;

const EXAMPLES: &str = "\
Examples:
  tradewind log verify tradewind-data
  tradewind log inspect tradewind-data/log/000000000001.seg

Neither changes anything. `verify` reads every byte of the log, checks every checksum and decodes every
event; it exits with 1 when something is damaged, and names the file and the byte.";

/// Check and look into a log that no node has open
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read all of a log, and check every checksum and every event
    Verify {
        /// The data folder of a node, or the folder of its log
        #[arg(default_value = "tradewind-data")]
        folder: PathBuf,
    },
    /// Show a segment file frame by frame, or an index file
    Inspect {
        /// The file
        file: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// [`Error::Failed`] for damage, [`Error::Refused`] for a log that is open, [`Error::NotFound`].
pub(crate) fn run(options: &Options, context: &Context) -> Result<()> {
    let mut out = context.output();
    match &options.action {
        Action::Verify { folder } => verify(folder, &mut out),
        Action::Inspect { file } => match tw_log::inspect(file, &Env::real()).map_err(failed(file))? {
            Inspection::Segment(segment) => show_segment(&segment, &mut out),
            Inspection::Index(index) => show_index(&index, &mut out),
        },
    }
}

/// What keeps a log at `path` from being looked into, or changed.
pub(super) fn failed(path: &Path) -> impl Fn(tw_log::Error) -> Error {
    let path = path.display().to_string();
    move |error| match error {
        tw_log::Error::Locked(_) => Error::Refused(format!("a node has `{path}` open: end it first")),
        tw_log::Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::NotFound(format!("there is no log at `{path}`"))
        }
        tw_log::Error::NoLog(_) => Error::NotFound(format!("there is no log at `{path}`")),
        error => Error::Failed(chain(&error)),
    }
}

/// What a value says about itself. It consists of texts and numbers, which always have a JSON form.
fn object(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn verify(folder: &Path, out: &mut Output) -> Result<()> {
    // A node's folder has its log in it.
    let inner = folder.join("log");
    let folder = if inner.is_dir() { inner } else { folder.to_owned() };
    let found = tw_log::verify(&folder, &Env::real()).map_err(failed(&folder))?;
    if found.log.is_none() && found.segments.is_empty() && found.problems.is_empty() {
        return Err(Error::NotFound(format!(
            "there is no log in `{}`: name a data folder",
            folder.display()
        )));
    }
    let sum = |of: fn(&tw_log::VerifiedSegment) -> u64| count(found.segments.iter().map(of).sum());
    let mut lines = vec![
        ("log", found.folder.display().to_string()),
        ("identity", found.log.clone().unwrap_or_else(|| "none".to_owned())),
        ("segments", count(found.segments.len() as u64)),
        ("frames", sum(|segment| segment.frames)),
        ("blocks", sum(|segment| segment.blocks)),
        ("events", sum(|segment| segment.events)),
        ("partitions", count(found.partitions.len() as u64)),
    ];
    let problems = problems(&found);
    if problems.is_empty() {
        lines.push(("problems", out.style.good("none")));
    }
    lines.extend(problems.iter().map(|problem| ("problem", out.style.bad(problem))));
    record(&lines, &object(&found), out)?;
    out.flush()?;
    match problems.len() {
        0 => Ok(()),
        1 => Err(Error::Failed("the log is not sound".to_owned())),
        several => Err(Error::Failed(format!("the log is not sound: {several} problems"))),
    }
}

fn problems(found: &Verification) -> Vec<String> {
    let told = found.problems.iter();
    told.map(|problem| format!("{} at byte {}: {}", problem.file.display(), problem.position, problem.cause))
        .collect()
}

fn show_segment(segment: &SegmentInfo, out: &mut Output) -> Result<()> {
    let columns = [
        ("byte", "position", Align::Right),
        ("frame", "frame", Align::Right),
        ("bytes", "bytes", Align::Right),
        ("partition", "partition", Align::Left),
        ("offsets", "first_offset", Align::Left),
        ("events", "events", Align::Right),
        ("", "record", Align::Left),
    ];
    let mut listing = Listing::new(&columns, "the segment holds no frame");
    for frame in &segment.frames {
        push(&mut listing, frame);
    }
    listing.print(out)?;
    note(format!(
        "segment {} of log {}; its last whole frame ends at byte {}",
        segment.segment, segment.log, segment.end
    ));
    for problem in &segment.problems {
        note(format!("byte {}: {}", problem.position, problem.cause));
    }
    Ok(())
}

fn push(listing: &mut Listing, frame: &FrameInfo) {
    let number = Cell::from(frame.number.to_string());
    for text in &frame.records {
        let object = json!({ "position": frame.position, "frame": frame.number, "bytes": frame.bytes,
                             "opening": frame.opening, "record": text });
        let mut row =
            vec![Cell::from(frame.position.to_string()), number.clone(), Cell::from(frame.bytes.to_string())];
        row.extend([Cell::from(""), Cell::from(""), Cell::from(""), Cell::from(text.as_str())]);
        listing.push(row, object);
    }
    for block in &frame.blocks {
        let mut told = object(block);
        if let Value::Object(members) = &mut told {
            members.insert("frame".to_owned(), frame.number.into());
        }
        let row = vec![
            Cell::from(block.position.to_string()),
            number.clone(),
            Cell::from(block.bytes.to_string()),
            Cell::from(format!("{}/{}", block.stream, block.partition)),
            Cell::from(format!("{} to {}", block.first_offset, block.last_offset)),
            Cell::from(block.events.to_string()),
            Cell::from(""),
        ];
        listing.push(row, told);
    }
}

fn show_index(index: &IndexInfo, out: &mut Output) -> Result<()> {
    let columns = [
        ("stream", "stream", Align::Right),
        ("partition", "partition", Align::Right),
        ("first offset", "first_offset", Align::Right),
        ("end", "end_offset", Align::Right),
        ("blocks", "blocks", Align::Right),
        ("bytes", "bytes", Align::Right),
    ];
    let mut listing = Listing::new(&columns, "the segment holds no events");
    for partition in &index.partitions {
        let numbers = [
            u64::from(partition.stream),
            u64::from(partition.partition),
            partition.first_offset,
            partition.end_offset,
            u64::from(partition.blocks),
            partition.bytes,
        ];
        listing
            .push(numbers.iter().map(|number| Cell::from(number.to_string())).collect(), object(partition));
    }
    listing.print(out)?;
    note(format!("the index of segment {}, whose last frame ends at byte {}", index.segment, index.end));
    Ok(())
}
