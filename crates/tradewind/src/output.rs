//! What a person or a program sees: tables, JSON, lines, CSV, colours where there is a terminal, progress where there is one.

mod cell;
mod listing;
mod progress;
mod rows;
mod style;
mod table;

pub(crate) use cell::{Align, Cell, bytes, count, duration_ms};
pub(crate) use listing::{Listing, record};
pub(crate) use progress::Progress;
pub(crate) use rows::{Part, RowReader};
pub(crate) use style::Style;
pub(crate) use table::{Expanded, Table};

use crate::error::Result;
use std::io::{self, IsTerminal as _, Write};

/// The formats in which answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON value
    Json,
    /// One JSON value a line
    Ndjson,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
}

/// Standard output, as this command was told to use it.
pub(crate) struct Output {
    /// The format.
    pub(crate) format: Format,
    /// Colours.
    pub(crate) style: Style,
    /// The width of the terminal in columns; None when output goes elsewhere.
    pub(crate) width: Option<usize>,
    out: Box<dyn Write>,
}

impl Output {
    /// Standard output in this format.
    pub(crate) fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = terminal.then(|| crossterm::terminal::size().map_or(80, |(columns, _)| columns.into()));
        let style = Style::new(terminal && colours_are_wanted());
        Self { format, style, width, out: Box::new(io::BufWriter::new(io::stdout())) }
    }

    /// Whether somebody looks at it directly.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Prints a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn line(&mut self, text: impl std::fmt::Display) -> Result<()> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.out.write_all(bytes)?)
    }

    /// Lets everything be seen now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// Prints what was done: a sentence in a table, an object otherwise.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn done(&mut self, message: &str) -> Result<()> {
        match self.format {
            Format::Table | Format::Csv => self.line(message)?,
            Format::Json | Format::Ndjson => self.line(serde_json::json!({ "message": message }))?,
        }
        self.flush()
    }
}

/// Whether colours may be used on a terminal: <https://no-color.org>.
fn colours_are_wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The style of standard error.
pub(crate) fn stderr_style() -> Style {
    Style::new(io::stderr().is_terminal() && colours_are_wanted())
}

/// Tells a person something beside the output.
pub(crate) fn note(text: impl std::fmt::Display) {
    // Nobody to tell is no reason to fail.
    let _unheard = writeln!(io::stderr(), "{}", stderr_style().dim(text));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Memory(Rc<RefCell<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output in memory, and what it holds.
    pub(crate) fn captured(width: Option<usize>) -> (Output, impl Fn() -> String) {
        let memory = Memory::default();
        let out = Box::new(memory.clone());
        let output = Output { format: Format::Table, style: Style::new(false), width, out };
        (output, move || String::from_utf8(memory.0.borrow().clone()).unwrap())
    }
}
