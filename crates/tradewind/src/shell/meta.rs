//! The commands of the shell that start with a backslash.

use crate::output::{Expanded, Format};
use crate::units;
use clap::ValueEnum as _;
use std::time::Duration;

pub(super) const HELP: &str = r"Statements end with a semicolon and may take several lines.

  \d            streams and projections
  \d NAME       the columns of a stream, a table or a projection
  \dp           projections and how far they are
  \ds           sources
  \x [on|off]   each row as a block; by itself where a table is too wide
  \timing       say how long statements take
  \format F     table, json, ndjson or csv
  \i FILE       the statements of a file
  \watch [S]    the last statement again every S seconds (2), until Ctrl-C
  \q            leave

Tab completes, Ctrl-R searches the history, Ctrl-C drops the line or stops the statement.";

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Quit,
    Help,
    Describe(Option<String>),
    Projections,
    Sources,
    Expanded(Option<Expanded>),
    Timing,
    Format(Format),
    Include(String),
    Watch(Duration),
}

/// Reads a command, without its backslash.
pub(super) fn parse(text: &str) -> Result<Meta, String> {
    let text = text.trim().trim_end_matches(';');
    let (command, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let argument = argument.trim();
    let given = Some(argument).filter(|argument| !argument.is_empty());
    Ok(match (command, given) {
        ("q" | "quit" | "exit", None) => Meta::Quit,
        ("?" | "h" | "help", _) => Meta::Help,
        ("d" | "dt", name) => Meta::Describe(name.map(str::to_owned)),
        ("dp", None) => Meta::Projections,
        ("ds", None) => Meta::Sources,
        ("x", None) => Meta::Expanded(None),
        ("x", Some("on")) => Meta::Expanded(Some(Expanded::On)),
        ("x", Some("off")) => Meta::Expanded(Some(Expanded::Off)),
        ("x", Some("auto")) => Meta::Expanded(Some(Expanded::Auto)),
        ("timing", None) => Meta::Timing,
        ("format", Some(name)) => Meta::Format(
            Format::from_str(name, true)
                .map_err(|_| format!("`{name}` is no format: use table, json, ndjson or csv"))?,
        ),
        ("i", Some(path)) => Meta::Include(path.to_owned()),
        ("watch", None) => Meta::Watch(Duration::from_secs(2)),
        ("watch", Some(every)) => Meta::Watch(match every.parse::<f64>() {
            Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => Duration::from_secs_f64(seconds),
            _ => units::duration(every)?,
        }),
        _ => return Err(format!("`\\{text}` is no command of this shell: \\? lists them")),
    })
}

/// What `\x` makes of it.
pub(super) fn next(now: Expanded, wanted: Option<Expanded>) -> Expanded {
    wanted.unwrap_or(if now == Expanded::On { Expanded::Auto } else { Expanded::On })
}

/// Its name.
pub(super) fn name(expanded: Expanded) -> &'static str {
    match expanded {
        Expanded::Auto => "where a table is too wide",
        Expanded::On => "on",
        Expanded::Off => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("q"), Ok(Meta::Quit));
        assert_eq!(parse("d shop.orders;"), Ok(Meta::Describe(Some("shop.orders".into()))));
        assert_eq!(parse("watch 0.5"), Ok(Meta::Watch(Duration::from_millis(500))));
        assert_eq!(parse("watch 1m"), Ok(Meta::Watch(Duration::from_secs(60))));
        assert_eq!(parse("format CSV"), Ok(Meta::Format(Format::Csv)));
        assert_eq!(parse("nope").unwrap_err(), r"`\nope` is no command of this shell: \? lists them");
        for text in ["i", "x maybe", "format xml", "watch -1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn x_toggles() {
        assert_eq!(next(Expanded::Auto, None), Expanded::On);
        assert_eq!(next(Expanded::On, None), Expanded::Auto);
        assert_eq!(next(Expanded::On, Some(Expanded::Off)), Expanded::Off);
    }
}
