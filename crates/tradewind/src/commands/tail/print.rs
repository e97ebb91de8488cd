//! Events as lines: for people, and for programs.

use crate::error::{Error, Result};
use crate::output::{Cell, Format, Output};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Prints events as they come.
pub(crate) struct Printer {
    out: Output,
    any: bool,
    /// The streams that are told apart, in the order in which they were named.
    streams: Vec<String>,
}

/// What is shown of an event.
#[derive(Debug, Deserialize)]
struct Shown<'a> {
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    subject: Option<String>,
    time: Option<String>,
    twposition: Option<String>,
    twversion: Option<String>,
    twhlc: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<&'a RawValue>,
}

const CSV_HEAD: &str = "position,version,time,type,subject,id,source,data";

impl Printer {
    pub(crate) fn new(out: Output) -> Self {
        Self { out, any: false, streams: Vec::new() }
    }

    /// A printer that says of each event in which of these streams it is.
    pub(crate) fn of_streams(out: Output, streams: Vec<String>) -> Self {
        Self { out, any: false, streams }
    }

    /// Prints an event of one of several streams.
    ///
    /// # Errors
    /// As [`Printer::event`].
    pub(crate) fn event_of(&mut self, stream: &str, json: &str) -> Result<()> {
        match self.out.format {
            Format::Ndjson | Format::Json => {
                let members = json.trim_start().strip_prefix('{').unwrap_or_default();
                self.event(&format!("{{\"stream\":{},{members}", serde_json::Value::from(stream)))
            }
            Format::Table => {
                let line = self.human(&shown(json)?);
                let width = self.streams.iter().map(|name| name.chars().count()).max().unwrap_or_default();
                let index = self.streams.iter().position(|name| name == stream).unwrap_or_default();
                let name = self.out.style.nth(index, format!("{stream:width$}"));
                self.any = true;
                self.out.line(format!("{name}  {line}"))
            }
            Format::Csv => {
                if !std::mem::replace(&mut self.any, true) {
                    self.out.line(format!("stream,{CSV_HEAD}"))?;
                }
                self.out.line(format!("{},{}", quoted(stream), csv(&shown(json)?)))
            }
        }
    }

    /// Prints an event, which is one JSON object on one line.
    ///
    /// # Errors
    /// When it cannot be written, or is no event.
    pub(crate) fn event(&mut self, json: &str) -> Result<()> {
        let first = !std::mem::replace(&mut self.any, true);
        match self.out.format {
            Format::Ndjson => self.out.line(json),
            Format::Json => {
                self.out.raw(if first { b"[\n" } else { b",\n" })?;
                self.out.raw(json.as_bytes())
            }
            Format::Table => {
                let line = self.human(&shown(json)?);
                self.out.line(line)
            }
            Format::Csv => {
                if first {
                    self.out.line(CSV_HEAD)?;
                }
                self.out.line(csv(&shown(json)?))
            }
        }
    }

    fn human(&self, event: &Shown<'_>) -> String {
        let style = self.out.style;
        let time = event.time.clone().unwrap_or_default();
        let position = event.twposition.as_deref().unwrap_or_default();
        let mut line = format!("{}  {}", style.dim(format!("{time} {position}")), style.strong(&event.ty));
        if let Some(subject) = &event.subject {
            line.push_str("  ");
            line.push_str(&Cell::text(subject).text);
            if let Some(version) = &event.twversion {
                line.push_str(&style.dim(format!(" v{version}")));
            }
        }
        if let Some(data) = event.data.or(event.data_base64) {
            line.push_str("  ");
            line.push_str(&Cell::text(data.get()).text);
        }
        line
    }

    /// Lets everything be seen now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Prints what comes after the last event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn end(&mut self) -> Result<()> {
        match (self.out.format, self.any) {
            (Format::Json, true) => self.out.line("\n]")?,
            (Format::Json, false) => self.out.line("[]")?,
            (Format::Csv, false) if self.streams.is_empty() => self.out.line(CSV_HEAD)?,
            (Format::Csv, false) => self.out.line(format!("stream,{CSV_HEAD}"))?,
            _ => {}
        }
        self.out.flush()
    }
}

/// The milliseconds of the timestamp at which the event that is this JSON object was accepted, and its position.
pub(crate) fn accepted(json: &str) -> Result<(u64, Option<(u32, u64)>)> {
    let event = shown(json)?;
    let ms = event.twhlc.as_deref().and_then(|hlc| hlc.split_once('.')?.0.parse().ok());
    let position = event.twposition.as_deref().and_then(|text| text.split_once(':'));
    let position =
        position.and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    Ok((ms.unwrap_or_default(), position))
}

fn shown(json: &str) -> Result<Shown<'_>> {
    serde_json::from_str(json).map_err(|error| Error::Failed(format!("an event is not understood: {error}")))
}

fn csv(event: &Shown<'_>) -> String {
    let data = event.data.or(event.data_base64).map(RawValue::get);
    let fields = [
        event.twposition.as_deref(),
        event.twversion.as_deref(),
        event.time.as_deref(),
        Some(event.ty.as_str()),
        event.subject.as_deref(),
        Some(event.id.as_str()),
        Some(event.source.as_str()),
        data,
    ];
    fields.map(|field| field.map_or(String::new(), quoted)).join(",")
}

fn quoted(field: &str) -> String {
    if field.is_empty() || field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::captured;
    use expect_test::{Expect, expect};

    fn check(format: Format, expected: Expect) {
        let (mut out, text) = captured(None);
        out.format = format;
        let mut printer = Printer::new(out);
        for event in [
            r#"{"specversion":"1.0","id":"a1","source":"shop","type":"order.paid","subject":"order-7","time":"2026-01-31T09:30:00Z","twposition":"0:41","twversion":"3","twhlc":"1769851800000.2","data":{"total":1.50}}"#,
            r#"{"specversion":"1.0","id":"a2","source":"shop","type":"bell","twposition":"1:7"}"#,
        ] {
            printer.event(event).unwrap();
        }
        printer.end().unwrap();
        expected.assert_eq(&text());
    }

    #[test]
    fn of_several_streams_each_line_says_its_own() {
        let check = |format: Format, expected: Expect| {
            let (mut out, text) = captured(None);
            out.format = format;
            let mut printer = Printer::of_streams(out, vec!["shop.orders".into(), "till".into()]);
            for stream in ["till", "shop.orders"] {
                printer
                    .event_of(stream, r#"{"id":"a2","source":"shop","type":"bell","twposition":"1:7"}"#)
                    .unwrap();
            }
            printer.end().unwrap();
            expected.assert_eq(&text());
        };
        check(
            Format::Table,
            expect![[r#"
            till          1:7  bell
            shop.orders   1:7  bell
        "#]],
        );
        check(
            Format::Ndjson,
            expect![[r#"
            {"stream":"till","id":"a2","source":"shop","type":"bell","twposition":"1:7"}
            {"stream":"shop.orders","id":"a2","source":"shop","type":"bell","twposition":"1:7"}
        "#]],
        );
        check(
            Format::Csv,
            expect![[r#"
            stream,position,version,time,type,subject,id,source,data
            till,1:7,,,bell,,a2,shop,
            shop.orders,1:7,,,bell,,a2,shop,
        "#]],
        );
    }

    #[test]
    fn events_are_lines_in_every_format() {
        check(
            Format::Table,
            expect![[r#"
            2026-01-31T09:30:00Z 0:41  order.paid  order-7 v3  {"total":1.50}
             1:7  bell
        "#]],
        );
        check(
            Format::Csv,
            expect![[r#"
            position,version,time,type,subject,id,source,data
            0:41,3,2026-01-31T09:30:00Z,order.paid,order-7,a1,shop,"{""total"":1.50}"
            1:7,,,bell,,a2,shop,
        "#]],
        );
        check(
            Format::Json,
            expect![[r#"
            [
            {"specversion":"1.0","id":"a1","source":"shop","type":"order.paid","subject":"order-7","time":"2026-01-31T09:30:00Z","twposition":"0:41","twversion":"3","twhlc":"1769851800000.2","data":{"total":1.50}},
            {"specversion":"1.0","id":"a2","source":"shop","type":"bell","twposition":"1:7"}
            ]
        "#]],
        );
    }
}
