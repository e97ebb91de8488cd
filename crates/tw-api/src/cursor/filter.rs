//! Which events of a stream are wanted: looked at where they are read, so that what is not wanted is not sent.

use crate::Problem;
use crate::query::Query;
use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use serde_json::Value;
use serde_json_path::JsonPath;
use std::sync::Arc;
use tw_types::{Data, EventRef, ExtensionValue, StoredRef};

/// The parameters of a filter, and those of them that can be there several times.
pub(crate) const PARAMETERS: [&str; 5] = ["subject", "type", "attribute", "json", "text"];
pub(crate) const LISTS: [&str; 2] = ["attribute", "json"];
/// How many conditions one of these may have.
const LIST_MAX: usize = 16;
/// How long a condition may be, in bytes.
const BYTES_MAX: usize = 1 << 10;
/// How many conditions in brackets and parentheses may be within each other: what it takes to read a path doubles with each.
const DEPTH_MAX: usize = 6;
/// How many filters a path may have: what it takes to follow one is multiplied by each.
const FILTERS_MAX: usize = 2;

/// Which events are wanted: those of which all of this is true.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only events about this subject.
    pub(crate) subject: Option<String>,
    /// Only events whose type starts with this.
    pub(crate) type_prefix: Option<String>,
    /// Only events with these attributes: name and value.
    pub(super) attributes: Vec<(String, String)>,
    /// Only events whose data have these.
    pub(super) json: Vec<Arc<Node>>,
    /// Only events whose id, subject, type or data have this text, with ASCII letters of either case.
    pub(super) text: Option<AhoCorasick>,
}

/// What a path must find in the data of an event: anything, or this.
#[derive(Debug)]
pub(super) struct Node {
    path: JsonPath,
    value: Option<String>,
}

impl Filter {
    /// Reads the parameters.
    pub(crate) fn read(query: &Query<'_>) -> Result<Self, Problem> {
        for name in LISTS {
            if query.texts(name).count() > LIST_MAX {
                let detail = format!("parameter `{name}` is there more than {LIST_MAX} times");
                return Err(Problem::parameter(name, detail));
            }
        }
        let all = PARAMETERS.iter().flat_map(|name| query.texts(name).map(move |text| (name, text)));
        for (name, text) in all {
            if text.len() > BYTES_MAX {
                let detail = format!("parameter `{name}` has more than {BYTES_MAX} bytes");
                return Err(Problem::parameter(name, detail));
            }
        }
        let text = |name| query.text(name).filter(|text| !text.is_empty());
        Ok(Self {
            subject: text("subject").map(str::to_owned),
            type_prefix: text("type").map(str::to_owned),
            attributes: query.texts("attribute").map(attribute).collect::<Result<_, _>>()?,
            json: query.texts("json").map(|text| node(text).map(Arc::new)).collect::<Result<_, _>>()?,
            text: text("text").map(searcher).transpose()?,
        })
    }

    pub(crate) fn takes(&self, event: &StoredRef<'_>) -> bool {
        self.wants(&event.event)
    }

    fn wants(&self, event: &EventRef<'_>) -> bool {
        let of_type = self.type_prefix.as_deref().is_none_or(|prefix| event.ty.starts_with(prefix));
        of_type
            && self.subject.as_deref().is_none_or(|subject| event.subject == Some(subject))
            && self.attributes.iter().all(|(name, value)| has(event, name, value))
            && self.text.as_ref().is_none_or(|text| reads(event, text))
            && (self.json.is_empty() || self.fits(event))
    }

    fn fits(&self, event: &EventRef<'_>) -> bool {
        let Data::Json(json) = event.data else { return false };
        let Ok(data) = serde_json::from_slice::<Value>(json) else { return false };
        self.json.iter().all(|node| node.is_in(&data))
    }
}

impl Node {
    fn is_in(&self, data: &Value) -> bool {
        let found = self.path.query(data);
        let Some(value) = &self.value else { return !found.is_empty() };
        let number: Option<f64> = value.parse().ok();
        found.iter().any(|found| match found {
            Value::String(text) => text == value,
            Value::Number(found) => number.is_some() && found.as_f64() == number,
            other => other.to_string() == *value,
        })
    }
}

/// `NAME=VALUE`.
fn attribute(text: &str) -> Result<(String, String), Problem> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        let detail = format!("parameter `attribute` is `{text}`: write NAME=VALUE, such as source=/shop");
        Problem::parameter("attribute", detail)
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A path (RFC 9535), or a path, `=` and a value: where that could be both, it is a path.
fn node(text: &str) -> Result<Node, Problem> {
    check_cost(text)?;
    let error = match JsonPath::parse(text) {
        Ok(path) => return Ok(Node { path, value: None }),
        Err(error) => error,
    };
    let parts = text.match_indices('=').filter_map(|(place, _)| text.split_at_checked(place));
    for (path, value) in parts {
        if let Ok(path) = JsonPath::parse(path.trim_end()) {
            let value = value.trim_start_matches('=').trim().to_owned();
            return Ok(Node { path, value: Some(value) });
        }
    }
    let detail = format!(
        "parameter `json` is `{text}`: write a path of JSONPath, such as $.lines[?@.price > 10], or a path and a value, such as $.total=40 ({error})"
    );
    Err(Problem::parameter("json", detail))
}

/// Refuses a path that takes too long to be read or followed.
fn check_cost(text: &str) -> Result<(), Problem> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for character in text.chars() {
        match character {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = depth.max(deepest);
    }
    let filters = text.matches('?').count();
    let start = text.split('?').next().unwrap_or_default();
    let is_descending = text.matches("..").count() > start.matches("..").count().min(1);
    let why = match () {
        () if deepest > DEPTH_MAX => format!("more than {DEPTH_MAX} brackets are within each other"),
        () if filters > FILTERS_MAX => format!("it has more than {FILTERS_MAX} filters"),
        () if is_descending => "`..` can be there once, and before a filter".to_owned(),
        () => return Ok(()),
    };
    Err(Problem::parameter("json", format!("parameter `json` is `{text}`, which takes too long: {why}")))
}

fn searcher(text: &str) -> Result<AhoCorasick, Problem> {
    AhoCorasickBuilder::new().ascii_case_insensitive(true).build([text]).map_err(|error| {
        Problem::parameter("text", format!("parameter `text` cannot be looked for: {error}"))
    })
}

fn has(event: &EventRef<'_>, name: &str, value: &str) -> bool {
    match name {
        "id" => event.id == value,
        "source" => event.source == value,
        "type" => event.ty == value,
        "subject" => event.subject == Some(value),
        "datacontenttype" => event.datacontenttype == Some(value),
        "dataschema" => event.dataschema == Some(value),
        _ => event.extensions.iter().any(|extension| {
            extension.name == name
                && match extension.value {
                    ExtensionValue::Text(text) => text == value,
                    ExtensionValue::Bool(truth) => value.parse() == Ok(truth),
                    ExtensionValue::Integer(number) => value.parse() == Ok(number),
                }
        }),
    }
}

fn reads(event: &EventRef<'_>, text: &AhoCorasick) -> bool {
    let data = match event.data {
        Data::None => &[][..],
        Data::Json(bytes) | Data::Text(bytes) | Data::Binary(bytes) => bytes,
    };
    let texts = [event.id, event.ty, event.subject.unwrap_or_default()];
    texts.iter().any(|one| text.is_match(*one)) || text.is_match(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tw_types::Extension;

    fn takes(query: &str, data: Data<&[u8]>) -> bool {
        let query = Query::with_lists(Some(query), &PARAMETERS, &LISTS).unwrap();
        let extensions = vec![Extension { name: "shard", value: ExtensionValue::Integer(7) }];
        let event = EventRef {
            id: "e-1",
            source: "/shop",
            ty: "order.placed",
            subject: Some("order-9"),
            extensions,
            data,
            ..EventRef::default()
        };
        Filter::read(&query).unwrap().wants(&event)
    }

    fn refused(query: &str) -> String {
        let query = Query::with_lists(Some(query), &PARAMETERS, &LISTS).unwrap();
        Filter::read(&query).unwrap_err().detail().to_owned()
    }

    const ORDER: Data<&[u8]> =
        Data::Json(br#"{"total":40.0,"city":"Bern","paid":true,"lines":[{"price":5},{"price":15}]}"#);

    #[test]
    fn all_conditions_must_be_true() {
        for (query, expected) in [
            ("", true),
            ("type=order.&subject=order-9", true),
            ("attribute=source=/shop&attribute=shard=7", true),
            ("attribute=source=/shop&attribute=shard=8", false),
            ("attribute=unknown=", false),
            ("json=$.total=40", true),
            ("json=$.total=41", false),
            ("json=$.city%3DBern&json=$.paid=true", true),
            ("json=$.lines[?@.price%20>%2010]", true),
            ("json=$.lines[?@.price%20>%2020]", false),
            ("json=$.lines[*].price=15", true),
            ("json=$..price=5", true),
            ("json=$[?$.city%20==%20'Bern']", true),
            ("json=$.nothing", false),
            ("text=BERN", true),
            ("text=order-9", true),
            ("text=z%C3%BCrich", false),
        ] {
            assert_eq!(takes(query, ORDER), expected, "{query}");
        }
        assert!(!takes("json=$", Data::Text(b"{}")) && !takes("json=$", Data::Json(b"{")));
        assert!(takes("text=%C3%BCber", Data::Binary("\u{fc}ber".as_bytes())));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_rule() {
        assert!(refused("attribute=source").contains("write NAME=VALUE"));
        assert!(refused("json=total").starts_with("parameter `json` is `total`: write a path of JSONPath"));
        let nested = format!("json=$[?{}@.a{}]", "@[".repeat(6), "]".repeat(6));
        assert!(refused(&nested).contains("more than 6 brackets"));
        assert!(refused("json=$[?@[?@[?@.a]]]").contains("more than 2 filters"));
        assert!(refused("json=$..a..b").contains("`..` can be there once"));
        assert!(refused("json=$[?$..a]").contains("`..` can be there once"));
        assert!(refused(&"json=$.a&".repeat(17)).contains("more than 16 times"));
        assert!(refused(&format!("text={}", "x".repeat(5_000))).contains("1024 bytes"));
    }
}
