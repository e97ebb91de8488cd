//! The JSON event format: one event, a batch, one event a line.

use super::Limits;
use super::data::{Sent, Text};
use super::draft::{CloudEvent, Draft, Value};
use super::error::{Error, Place, Problem};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Reads one event: `application/cloudevents+json`.
///
/// # Errors
/// The rule that the event breaks.
pub fn read_event<'a>(json: &'a [u8], limits: &Limits) -> Result<CloudEvent<'a>, Error> {
    parse_event(utf8(json)?, limits).map_err(|problem| problem.at(Place::Single))
}

/// Reads a JSON array of events, `application/cloudevents-batch+json`, and hands each to `each`. Returns how many
/// there were; none is fine.
///
/// # Errors
/// The first error, of an event or of `each`. Events before it have been handed over already.
pub fn read_batch<'a, E: From<Error>>(
    json: &'a [u8],
    limits: &Limits,
    each: impl FnMut(CloudEvent<'a>) -> Result<(), E>,
) -> Result<u32, E> {
    let mut reader = serde_json::Deserializer::from_str(utf8(json)?);
    let mut batch = Batch { limits, each, count: 0, stopped: None, lifetime: PhantomData };
    let outcome = reader.deserialize_seq(&mut batch).and_then(|()| reader.end());
    match (batch.stopped, outcome) {
        (Some(stopped), _) => Err(stopped),
        (None, Err(error)) => Err(Problem::NotJson(error.to_string()).at(Place::Index(batch.count)).into()),
        (None, Ok(())) => Ok(batch.count),
    }
}

/// Reads one event a line, `application/x-ndjson`. Empty lines are skipped.
///
/// # Errors
/// [`Problem::NotUtf8`]; each item can be an error of its event.
pub fn read_lines<'a>(json: &'a [u8], limits: &Limits) -> Result<Lines<'a>, Error> {
    Ok(Lines { text: utf8(json)?, line: 0, count: 0, limits: *limits })
}

/// The events of [`read_lines`], each with its line, which counts from 1.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a str,
    line: u32,
    count: u32,
    limits: Limits,
}

impl<'a> Lines<'a> {
    /// How many bytes are still to be read.
    pub fn remaining_bytes(&self) -> usize {
        self.text.len()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(u32, CloudEvent<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.text.is_empty() {
            self.line = self.line.saturating_add(1);
            let end = memchr::memchr(b'\n', self.text.as_bytes()).unwrap_or(self.text.len());
            let (json, rest) = self.text.split_at(end);
            self.text = rest.get(1..).unwrap_or_default();
            if json.trim_ascii().is_empty() {
                continue;
            }
            let place = Place::Line(self.line);
            if self.count == self.limits.events_max {
                self.text = "";
                return Some(Err(Problem::TooManyEvents { events_max: self.limits.events_max }.at(place)));
            }
            self.count += 1;
            return Some(match parse_event(json, &self.limits) {
                Ok(event) => Ok((self.line, event)),
                Err(problem) => Err(problem.at(place)),
            });
        }
        None
    }
}

/// Checked once for all, which is faster than string by string.
fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Problem::NotUtf8(error.valid_up_to()).at(Place::Single))
}

fn parse_event<'a>(json: &'a str, limits: &Limits) -> Result<CloudEvent<'a>, Problem> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let mut problem = None;
    let seed = Event { limits, problem: &mut problem };
    let outcome = seed.deserialize(&mut reader).and_then(|draft| reader.end().map(|()| draft));
    match (problem, outcome) {
        (Some(problem), _) => Err(problem),
        (None, Ok(draft)) => draft.finish(limits),
        (None, Err(error)) => Err(Problem::NotJson(error.to_string())),
    }
}

/// Reads one event. The parser's errors are texts, so a broken rule is put aside in `problem`.
struct Event<'s> {
    limits: &'s Limits,
    problem: &'s mut Option<Problem>,
}

impl<'de> DeserializeSeed<'de> for Event<'_> {
    type Value = Draft<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Draft<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Event<'_> {
    type Value = Draft<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with the attributes of an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Draft<'de>, A::Error> {
        let mut draft = Draft::default();
        while let Some(Text(name)) = members.next_key()? {
            let taken = match &*name {
                "data" => {
                    let value: &'de RawValue = members.next_value()?;
                    draft.set_data(Sent::Json(value.get()))
                }
                "data_base64" => match members.next_value::<Value<'de>>()? {
                    Value::Text(text) => draft.set_data(Sent::Base64(text)),
                    Value::Null => Ok(()),
                    _ => Err(Problem::value(&name, "", "it must be base64 in quotes")),
                },
                _ => draft.set(name, members.next_value()?, self.limits),
            };
            if let Err(problem) = taken {
                *self.problem = Some(problem);
                return Err(de::Error::custom("a rule is broken"));
            }
        }
        Ok(draft)
    }
}

impl<'de> de::Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of an attribute")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
                Ok(i32::try_from(value).map_or_else(|_| Value::Other(value.to_string()), Value::Integer))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(i32::try_from(value).map_or_else(|_| Value::Other(value.to_string()), Value::Integer))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Value::Other(value.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other("[…]".to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other("{…}".to_owned()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Reads an array of events.
struct Batch<'s, 'a, E, F> {
    limits: &'s Limits,
    each: F,
    count: u32,
    stopped: Option<E>,
    lifetime: PhantomData<&'a ()>,
}

impl<'a, E: From<Error>, F: FnMut(CloudEvent<'a>) -> Result<(), E>> Batch<'_, 'a, E, F> {
    fn take(&mut self, draft: Draft<'a>) -> Result<(), E> {
        let place = Place::Index(self.count);
        if self.count == self.limits.events_max {
            return Err(Problem::TooManyEvents { events_max: self.limits.events_max }.at(place).into());
        }
        (self.each)(draft.finish(self.limits).map_err(|problem| problem.at(place))?)?;
        self.count += 1;
        Ok(())
    }
}

impl<'de, E: From<Error>, F: FnMut(CloudEvent<'de>) -> Result<(), E>> Visitor<'de>
    for &mut Batch<'_, 'de, E, F>
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let mut problem = None;
            let item = items.next_element_seed(Event { limits: self.limits, problem: &mut problem });
            if let Some(problem) = problem {
                self.stopped = Some(problem.at(Place::Index(self.count)).into());
                return Err(de::Error::custom("a rule is broken"));
            }
            let Some(draft) = item? else { return Ok(()) };
            if let Err(stopped) = self.take(draft) {
                self.stopped = Some(stopped);
                return Err(de::Error::custom("a rule is broken"));
            }
        }
    }
}
