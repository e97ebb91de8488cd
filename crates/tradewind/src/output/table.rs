//! Tables for people: as wide as what is in them, and a record a block where they would be wider than the terminal.
//!
//! Rows stream through: the first ones decide the widths of the columns, so a table of any length takes little memory.

use super::{Align, Cell, Output, Style};
use crate::error::Result;
use unicode_width::UnicodeWidthStr;

/// How many rows decide the widths.
const ROWS_MEASURED: usize = 1_000;
/// Between columns.
const GAP: usize = 2;

/// Whether each row is a block of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expanded {
    /// Where the table is wider than the terminal.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// A table that is being printed.
pub(crate) struct Table {
    names: Vec<Cell>,
    aligns: Vec<Align>,
    expanded: Expanded,
    /// The first rows, until the widths are decided.
    measured: Vec<Vec<Cell>>,
    layout: Option<Layout>,
    rows: u64,
}

enum Layout {
    Columns(Vec<usize>),
    Records(usize),
}

impl Table {
    /// A table of these columns.
    pub(crate) fn new(
        columns: impl IntoIterator<Item = (impl AsRef<str>, Align)>,
        expanded: Expanded,
    ) -> Self {
        let (names, aligns) = columns.into_iter().map(|(name, align)| (Cell::text(name), align)).unzip();
        Self { names, aligns, expanded, measured: Vec::new(), layout: None, rows: 0 }
    }

    /// Prints a row, now or with those that come after it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn row(&mut self, row: Vec<Cell>, out: &mut Output) -> Result<()> {
        if self.layout.is_none() {
            self.measured.push(row);
            if self.measured.len() < ROWS_MEASURED {
                return Ok(());
            }
            return self.settle(out);
        }
        self.print(&row, out)
    }

    /// Prints what was held back, and returns how many rows there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn end(mut self, out: &mut Output) -> Result<u64> {
        if self.layout.is_none() {
            self.settle(out)?;
        }
        Ok(self.rows)
    }

    /// Decides the widths and prints the head.
    fn settle(&mut self, out: &mut Output) -> Result<()> {
        let mut widths: Vec<usize> = self.names.iter().map(Cell::width).collect();
        for row in &self.measured {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let records = match self.expanded {
            Expanded::On => true,
            Expanded::Off => false,
            Expanded::Auto => out.width.is_some_and(|width| total > width) && !self.measured.is_empty(),
        };
        if records {
            let width = self.names.iter().map(Cell::width).max().unwrap_or_default();
            self.layout = Some(Layout::Records(width));
        } else {
            let style = out.style;
            let head = line(&self.names, &widths, &self.aligns, style, |cell| style.strong(cell));
            out.line(head.trim_end())?;
            let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
            out.line(style.dim(rule.join(&" ".repeat(GAP))))?;
            self.layout = Some(Layout::Columns(widths));
        }
        for row in std::mem::take(&mut self.measured) {
            self.print(&row, out)?;
        }
        Ok(())
    }

    fn print(&mut self, row: &[Cell], out: &mut Output) -> Result<()> {
        self.rows += 1;
        let style = out.style;
        match &self.layout {
            Some(Layout::Columns(widths)) => {
                let text = line(row, widths, &self.aligns, style, str::to_owned);
                out.line(text.trim_end())
            }
            Some(Layout::Records(width)) => {
                out.line(style.dim(format!("── record {} ──", self.rows)))?;
                for (name, cell) in self.names.iter().zip(row) {
                    let text = if cell.is_null { style.dim(&cell.text) } else { cell.text.clone() };
                    let padding = " ".repeat(width - name.width().min(*width) + GAP);
                    out.line(format!("{}{padding}{text}", style.strong(&name.text)).trim_end())?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn line(
    cells: &[Cell],
    widths: &[usize],
    aligns: &[Align],
    style: Style,
    paint: impl Fn(&str) -> String,
) -> String {
    let mut text = String::new();
    for (index, ((cell, width), align)) in cells.iter().zip(widths).zip(aligns).enumerate() {
        if index > 0 {
            text.push_str(&" ".repeat(GAP));
        }
        let padding = " ".repeat(width.saturating_sub(cell.text.width()));
        let painted = if cell.is_null { style.dim(&cell.text) } else { paint(&cell.text) };
        match align {
            Align::Left => text.extend([painted, padding]),
            Align::Right => text.extend([padding, painted]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::captured;
    use expect_test::{Expect, expect};

    fn check(width: Option<usize>, expanded: Expanded, rows: &[[&str; 2]], expected: Expect) {
        let (mut out, text) = captured(width);
        let mut table = Table::new([("name", Align::Left), ("total", Align::Right)], expanded);
        for row in rows {
            let cells = row.iter().map(|text| if *text == "-" { Cell::null() } else { Cell::text(text) });
            table.row(cells.collect(), &mut out).unwrap();
        }
        table.end(&mut out).unwrap();
        expected.assert_eq(&text());
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        check(
            None,
            Expanded::Auto,
            &[["ada", "1234.50"], ["größe 日本", "-"], ["", "7"]],
            expect![[r#"
            name          total
            ──────────  ───────
            ada         1234.50
            größe 日本     NULL
                              7
        "#]],
        );
        check(
            None,
            Expanded::Auto,
            &[],
            expect![[r#"
            name  total
            ────  ─────
        "#]],
        );
    }

    #[test]
    fn a_table_wider_than_the_terminal_is_printed_as_records() {
        let long = "a text that does not fit";
        check(
            Some(20),
            Expanded::Auto,
            &[[long, "1"], ["-", "2"]],
            expect![[r#"
            ── record 1 ──
            name   a text that does not fit
            total  1
            ── record 2 ──
            name   NULL
            total  2
        "#]],
        );
        check(
            Some(20),
            Expanded::Off,
            &[[long, "1"]],
            expect![[r#"
            name                      total
            ────────────────────────  ─────
            a text that does not fit      1
        "#]],
        );
    }

    #[test]
    fn rows_after_the_measured_ones_are_printed_too() {
        let (mut out, text) = captured(None);
        let mut table = Table::new([("n", Align::Right)], Expanded::Auto);
        for n in 0..2_500 {
            table.row(vec![Cell::text(n.to_string())], &mut out).unwrap();
        }
        assert_eq!(table.end(&mut out).unwrap(), 2_500);
        assert_eq!(text().lines().count(), 2_502);
        assert!(text().ends_with("\n2499\n"));
    }
}
