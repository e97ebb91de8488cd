//! A change of an option, and the event of `$config` that says it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tw_types::{Data, Event, Stored};

/// The type of such an event.
pub(super) const CHANGED: &str = "tradewind.config.changed";
/// What the subject of such an event starts with; the key follows.
const SUBJECT: &str = "option/";

/// A change of an option. Its version is that of its event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The key.
    pub(crate) option: String,
    /// What it is set to; null unsets it.
    pub(crate) value: Value,
    /// What had been set before; null for nothing.
    pub(crate) previous: Value,
    /// Who did it, in their own words.
    pub(crate) author: String,
    /// Which version it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<u64>,
}

impl Change {
    /// The event that says it. `id` must be unique among the events of `$config`.
    pub(crate) fn to_event(&self, id: String) -> Event {
        Event {
            id,
            source: "tradewind:config".into(),
            ty: CHANGED.into(),
            subject: Some(subject(&self.option)),
            // Texts, numbers and lists of them always have a JSON form.
            data: Data::Json(serde_json::to_vec(self).unwrap_or_default()),
            ..Event::default()
        }
    }

    /// Reads such an event.
    ///
    /// # Errors
    /// When it was written by a later version.
    pub(crate) fn from_event(event: &Stored) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(event.event.data.bytes())
    }
}

/// The subject of the changes of an option.
pub(crate) fn subject(key: &str) -> String {
    format!("{SUBJECT}{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn the_form_of_the_event_is_kept() {
        let change = Change {
            option: "http.requests_max".into(),
            value: json!(8192),
            previous: Value::Null,
            author: "ann".into(),
            restored: None,
        };
        let event = change.to_event("1".into());
        let data = String::from_utf8(event.data.bytes().to_vec()).unwrap();
        expect![[r#"tradewind.config.changed option/http.requests_max {"option":"http.requests_max","value":8192,"previous":null,"author":"ann"}"#]]
            .assert_eq(&format!("{} {} {data}", event.ty, event.subject.unwrap()));
    }
}
