//! A report as an event of `$metrics`, version 1.

use super::history::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tw_types::{Data, Event};

/// The type of the event.
pub(super) const MEASURED: &str = "tradewind.metrics.v1";

/// What the event says.
#[derive(Serialize, Deserialize)]
struct Body {
    node: String,
    start_ms: u64,
    step_ms: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    series: BTreeMap<String, [f32; 2]>,
}

/// The event that says what a node has measured in a step. Its id names both, so that it is there once.
pub(super) fn to_event(report: &Report) -> Event {
    let Report { node, start_ms, step_ms, cut, series } = report.clone();
    let id = format!("{node}-{start_ms}");
    let subject = Some(format!("node/{node}"));
    // Texts and finite numbers always have a JSON form.
    let data = serde_json::to_vec(&Body { node, start_ms, step_ms, cut, series }).unwrap_or_default();
    Event {
        id,
        source: "tradewind:node".into(),
        ty: MEASURED.into(),
        subject,
        data: Data::Json(data),
        ..Event::default()
    }
}

/// Reads such an event; None if it is another one, or of a later version.
pub(super) fn from_event(ty: &str, data: &[u8]) -> Option<Report> {
    if ty != MEASURED {
        return None;
    }
    let Body { node, start_ms, step_ms, cut, series } = serde_json::from_slice(data).ok()?;
    Some(Report { node, start_ms, step_ms, cut, series })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_form_of_the_event_is_kept_and_read_back() {
        let series = [("log_bytes".to_owned(), [1.5, 2.0])].into();
        let report = Report { node: "n1".into(), start_ms: 20_000, step_ms: 10_000, cut: false, series };
        let event = to_event(&report);
        let data = String::from_utf8(event.data.bytes().to_vec()).unwrap();
        expect![[r#"n1-20000 node/n1 {"node":"n1","start_ms":20000,"step_ms":10000,"series":{"log_bytes":[1.5,2.0]}}"#]]
            .assert_eq(&format!("{} {} {data}", event.id, event.subject.as_deref().unwrap_or_default()));
        assert_eq!(from_event(MEASURED, event.data.bytes()), Some(report));
        assert_eq!(from_event("tradewind.metrics.v2", event.data.bytes()), None);
        assert_eq!(from_event(MEASURED, b"{}"), None);
    }
}
