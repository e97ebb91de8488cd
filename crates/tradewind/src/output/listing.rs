//! Lists and single things, in every format.

use super::{Align, Cell, Expanded, Format, Output, Table};
use crate::error::Result;
use serde_json::Value;

/// A column: its heading for people, the member of the objects that it shows, on which side it is flush.
pub(crate) type Column = (&'static str, &'static str, Align);

/// A list: for people as a table of what matters, for programs as the objects that the node sent.
pub(crate) struct Listing {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    objects: Vec<Value>,
    /// What is said instead of an empty table.
    none: String,
}

impl Listing {
    /// An empty list with these columns.
    pub(crate) fn new(columns: &[Column], none: impl Into<String>) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), objects: Vec::new(), none: none.into() }
    }

    /// Adds a thing: what of it is shown, and all of it.
    pub(crate) fn push(&mut self, row: Vec<Cell>, object: Value) {
        self.rows.push(row);
        self.objects.push(object);
    }

    /// Prints it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn print(self, out: &mut Output) -> Result<()> {
        match out.format {
            Format::Table if self.rows.is_empty() => out.line(&self.none)?,
            Format::Table => self.print_table(out)?,
            Format::Json => out.line(pretty(&Value::Array(self.objects)))?,
            Format::Ndjson => {
                for object in &self.objects {
                    out.line(object)?;
                }
            }
            Format::Csv => {
                let members: Vec<&str> = self.columns.iter().map(|(_, member, _)| *member).collect();
                out.line(members.join(","))?;
                for object in &self.objects {
                    let fields = members.iter().map(|member| csv(object.get(member).unwrap_or(&Value::Null)));
                    out.line(fields.collect::<Vec<_>>().join(","))?;
                }
            }
        }
        out.flush()
    }

    /// A column without a heading is for remarks: it is left out when there are none.
    fn print_table(self, out: &mut Output) -> Result<()> {
        let rows = &self.rows;
        let has_text =
            |column: usize| rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.text.is_empty()));
        let shown: Vec<bool> =
            self.columns.iter().enumerate().map(|(n, (name, ..))| !name.is_empty() || has_text(n)).collect();
        let columns = self.columns.iter().zip(&shown).filter(|(_, shown)| **shown);
        let mut table = Table::new(columns.map(|((name, _, align), _)| (name, *align)), Expanded::Off);
        for row in self.rows {
            let cells = row.into_iter().zip(&shown).filter(|(_, shown)| **shown);
            table.row(cells.map(|(cell, _)| cell).collect(), out)?;
        }
        table.end(out)?;
        Ok(())
    }
}

/// Prints one thing: for people line by line, for programs as the object that the node sent.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn record(lines: &[(&str, String)], object: &Value, out: &mut Output) -> Result<()> {
    match out.format {
        Format::Table => {
            let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
            for (name, text) in lines {
                let name = format!("{name:width$}");
                out.line(format!("{}  {text}", out.style.strong(name)))?;
            }
        }
        Format::Json => out.line(pretty(object))?,
        Format::Ndjson => out.line(object)?,
        Format::Csv => {
            let members = object.as_object().into_iter().flatten();
            let (names, fields): (Vec<_>, Vec<_>) =
                members.map(|(name, value)| (csv(&Value::String(name.clone())), csv(value))).unzip();
            out.line(names.join(","))?;
            out.line(fields.join(","))?;
        }
    }
    out.flush()
}

fn pretty(value: &Value) -> String {
    // A value always has a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A field as RFC 4180 wants it; nothing for no value.
fn csv(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::captured;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(format: Format, expected: Expect) {
        let (mut out, text) = captured(None);
        out.format = format;
        let mut listing =
            Listing::new(&[("stream", "name", Align::Left), ("events", "events", Align::Right)], "nothing");
        listing.push(vec!["orders".into(), "12".into()], json!({"name": "orders", "events": 12}));
        listing.push(vec!["a, b".into(), Cell::null()], json!({"name": "a, b"}));
        listing.print(&mut out).unwrap();
        expected.assert_eq(&text());
    }

    #[test]
    fn a_list_has_every_format() {
        check(
            Format::Table,
            expect![[r#"
            stream  events
            ──────  ──────
            orders      12
            a, b      NULL
        "#]],
        );
        check(
            Format::Csv,
            expect![[r#"
            name,events
            orders,12
            "a, b",
        "#]],
        );
        check(
            Format::Ndjson,
            expect![[r#"
            {"events":12,"name":"orders"}
            {"name":"a, b"}
        "#]],
        );
        check(
            Format::Json,
            expect![[r#"
            [
              {
                "events": 12,
                "name": "orders"
              },
              {
                "name": "a, b"
              }
            ]
        "#]],
        );
    }

    #[test]
    fn a_column_for_remarks_is_there_when_there_are_some() {
        let listed = |remark: &str| {
            let (mut out, text) = captured(None);
            let mut listing =
                Listing::new(&[("name", "name", Align::Left), ("", "error", Align::Left)], "none");
            listing.push(vec!["shop".into(), remark.into()], json!({}));
            listing.print(&mut out).unwrap();
            text()
        };
        assert_eq!(listed("").lines().next(), Some("name"));
        assert!(listed("is late").ends_with("shop  is late\n"));
    }

    #[test]
    fn an_empty_list_says_so_to_people_and_is_empty_for_programs() {
        let (mut out, text) = captured(None);
        Listing::new(&[("name", "name", Align::Left)], "there are no sources").print(&mut out).unwrap();
        out.format = Format::Json;
        Listing::new(&[("name", "name", Align::Left)], "there are no sources").print(&mut out).unwrap();
        assert_eq!(text(), "there are no sources\n[]\n");
    }
}
