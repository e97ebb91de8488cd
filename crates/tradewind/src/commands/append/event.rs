//! From a line of input to an event.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tw_env::Env;

/// The attributes of events that are given as data only.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) ty: String,
    pub(super) subject: Option<String>,
    /// The member of the data that names the subject.
    pub(super) subject_from: Option<String>,
    pub(super) source: String,
}

impl Template {
    /// Writes the event that `text` is, or is the data of, as a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn write(&self, text: &str, line: &mut Vec<u8>) -> Result<(), String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let text = raw.get().replace(['\n', '\r'], " ");
        if is_event(&text) {
            line.extend_from_slice(text.as_bytes());
        } else {
            let mut event = Map::from_iter([
                ("specversion".to_owned(), json!("1.0")),
                ("id".to_owned(), json!(fresh_id())),
                ("source".to_owned(), json!(self.source)),
                ("type".to_owned(), json!(self.ty)),
            ]);
            if let Some(subject) = self.subject_of(&text)? {
                event.insert("subject".to_owned(), json!(subject));
            }
            let head = Value::Object(event).to_string();
            // The data goes in as it was written, digit for digit.
            line.extend_from_slice(head.strip_suffix('}').unwrap_or_default().as_bytes());
            line.extend_from_slice(b",\"data\":");
            line.extend_from_slice(text.as_bytes());
            line.push(b'}');
        }
        line.push(b'\n');
        Ok(())
    }

    fn subject_of(&self, text: &str) -> Result<Option<String>, String> {
        let Some(path) = &self.subject_from else { return Ok(self.subject.clone()) };
        let data: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let member = path.split('.').try_fold(&data, |value, name| value.get(name));
        match member {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(format!("member `{path}` is neither a text nor a number: it cannot be a subject")),
            None => Err(format!("there is no member `{path}`, which should be the subject")),
        }
    }
}

/// Whether it is a whole CloudEvent.
fn is_event(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        specversion: Option<&'a RawValue>,
    }
    text.starts_with('{')
        && serde_json::from_str::<Probe<'_>>(text).is_ok_and(|probe| probe.specversion.is_some())
}

/// An id that nothing else has: the time, so that ids sort, and enough randomness.
fn fresh_id() -> String {
    let env = Env::real();
    format!("{:012x}-{:016x}", env.clock.now_ms(), env.random.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(subject_from: Option<&str>) -> Template {
        Template {
            ty: "order.placed".into(),
            subject: None,
            subject_from: subject_from.map(str::to_owned),
            source: "cli".into(),
        }
    }

    fn written(template: &Template, text: &str) -> Result<String, String> {
        let mut line = Vec::new();
        template.write(text, &mut line)?;
        Ok(String::from_utf8(line).unwrap())
    }

    #[test]
    fn data_becomes_an_event_and_keeps_its_digits() {
        let line =
            written(&template(Some("customer.id")), "{\"total\": 1.10,\n\"customer\": {\"id\": 7}}").unwrap();
        assert!(line.ends_with("\"data\":{\"total\": 1.10, \"customer\": {\"id\": 7}}}\n"), "{line}");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["type"], &event["subject"]), (&json!("order.placed"), &json!("7")));
        assert_ne!(
            event["id"],
            serde_json::from_str::<Value>(&written(&template(None), "1").unwrap()).unwrap()["id"]
        );
    }

    #[test]
    fn a_whole_event_stays_as_it_is() {
        let event = r#"{"specversion":"1.0","id":"a","source":"s","type":"t"}"#;
        assert_eq!(written(&template(None), event).unwrap(), format!("{event}\n"));
    }

    #[test]
    fn what_cannot_be_an_event_is_refused() {
        assert!(written(&template(None), "{").unwrap_err().starts_with("not JSON: "));
        assert_eq!(
            written(&template(Some("id")), "{\"a\":1}").unwrap_err(),
            "there is no member `id`, which should be the subject"
        );
    }
}
