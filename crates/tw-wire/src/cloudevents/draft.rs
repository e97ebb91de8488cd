//! An event while it is read: attributes arrive in any order, and are checked as they come.

use super::data::{self, Sent};
use super::error::{Problem, cut};
use super::{Limits, media, rules};
use std::borrow::Cow;
use tw_types::{Data, EventRef, Extension, ExtensionValue, Timestamp};

/// An event that was read: every rule of CloudEvents is kept. Parts are borrowed from the input unless they had to
/// be unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented at tw_types::Event")]
pub struct CloudEvent<'a> {
    pub id: Cow<'a, str>,
    pub source: Cow<'a, str>,
    pub ty: Cow<'a, str>,
    pub subject: Option<Cow<'a, str>>,
    pub time: Option<Timestamp>,
    pub datacontenttype: Option<Cow<'a, str>>,
    pub dataschema: Option<Cow<'a, str>>,
    pub extensions: Vec<Extension<Cow<'a, str>>>,
    pub data: Data<Cow<'a, [u8]>>,
}

impl CloudEvent<'_> {
    /// The event as the rest of the platform takes it.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef {
            id: &self.id,
            source: &self.source,
            ty: &self.ty,
            subject: self.subject.as_deref(),
            time: self.time,
            datacontenttype: self.datacontenttype.as_deref(),
            dataschema: self.dataschema.as_deref(),
            extensions: self.extensions.iter().map(borrow).collect(),
            data: match &self.data {
                Data::None => Data::None,
                Data::Json(bytes) => Data::Json(bytes),
                Data::Text(bytes) => Data::Text(bytes),
                Data::Binary(bytes) => Data::Binary(bytes),
            },
        }
    }

    /// Whether it has an extension attribute of this name.
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|extension| extension.name == name)
    }
}

fn borrow<'a>(extension: &'a Extension<Cow<'_, str>>) -> Extension<&'a str> {
    let value = match &extension.value {
        ExtensionValue::Bool(value) => ExtensionValue::Bool(*value),
        ExtensionValue::Integer(value) => ExtensionValue::Integer(*value),
        ExtensionValue::Text(text) => ExtensionValue::Text(&**text),
    };
    Extension { name: &extension.name, value }
}

/// The value of an attribute as it was sent.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// `null`: as if the attribute were not there.
    Null,
    Bool(bool),
    Integer(i32),
    Text(Cow<'a, str>),
    /// Anything else, as text for the message.
    Other(String),
}

/// Collects an event.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    specversion: bool,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    ty: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Timestamp>,
    datacontenttype: Option<Cow<'a, str>>,
    dataschema: Option<Cow<'a, str>>,
    extensions: Vec<Extension<Cow<'a, str>>>,
    data: Option<Sent<'a>>,
}

impl<'a> Draft<'a> {
    /// Takes an attribute.
    pub(super) fn set(
        &mut self,
        name: Cow<'a, str>,
        value: Value<'a>,
        limits: &Limits,
    ) -> Result<(), Problem> {
        let slot = match &*name {
            "specversion" => return self.set_specversion(value),
            "time" => return self.set_time(value),
            "id" => &mut self.id,
            "source" => &mut self.source,
            "type" => &mut self.ty,
            "subject" => &mut self.subject,
            "datacontenttype" => &mut self.datacontenttype,
            "dataschema" => &mut self.dataschema,
            _ => return self.set_extension(name, value, limits),
        };
        let Some(text) = text(&name, value)? else { return Ok(()) };
        rules::check_text(&name, &text, limits.attribute_bytes_max)?;
        match &*name {
            "id" => rules::check_not_empty("id", &text, "say what makes it unique, such as a UUID")?,
            "type" => rules::check_not_empty("type", &text, "say what happened, such as order.placed")?,
            "source" => rules::check_uri_reference("source", &text)?,
            "dataschema" => rules::check_uri("dataschema", &text)?,
            "datacontenttype" if !media::is_media_type(&text) => {
                return Err(Problem::value(
                    &name,
                    &text,
                    "it must be a media type, such as application/json",
                ));
            }
            _ => rules::check_not_empty(&name, &text, "it may not be empty, leave it out instead")?,
        }
        if slot.replace(text).is_some() { Err(Problem::Twice(name.into_owned())) } else { Ok(()) }
    }

    fn set_specversion(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let Some(version) = text("specversion", value)? else { return Ok(()) };
        if version != "1.0" {
            return Err(Problem::value("specversion", &version, "only 1.0 is understood"));
        }
        if std::mem::replace(&mut self.specversion, true) {
            return Err(Problem::Twice("specversion".to_owned()));
        }
        Ok(())
    }

    fn set_time(&mut self, value: Value<'a>) -> Result<(), Problem> {
        let Some(text) = text("time", value)? else { return Ok(()) };
        let time = text.parse().map_err(|_| {
            let rule = "use RFC 3339 such as 2026-01-31T09:30:00Z, between the years 1678 and 2261";
            Problem::value("time", &text, rule)
        })?;
        if self.time.replace(time).is_some() { Err(Problem::Twice("time".to_owned())) } else { Ok(()) }
    }

    fn set_extension(
        &mut self,
        name: Cow<'a, str>,
        value: Value<'a>,
        limits: &Limits,
    ) -> Result<(), Problem> {
        rules::check_name(&name)?;
        let value = match value {
            Value::Null => return Ok(()),
            Value::Bool(value) => ExtensionValue::Bool(value),
            Value::Integer(value) => ExtensionValue::Integer(value),
            Value::Text(text) => {
                rules::check_text(&name, &text, limits.attribute_bytes_max)?;
                ExtensionValue::Text(text)
            }
            Value::Other(value) => {
                let rule =
                    "it must be a text, true, false or a whole number of 32 bits; write others as text";
                return Err(Problem::value(&name, &value, rule));
            }
        };
        if self.extensions.iter().any(|extension| extension.name == name) {
            return Err(Problem::Twice(name.into_owned()));
        }
        if self.extensions.len() >= limits.extensions_max as usize {
            return Err(Problem::TooManyExtensions { extensions_max: limits.extensions_max });
        }
        self.extensions.push(Extension { name, value });
        Ok(())
    }

    /// Takes the data.
    pub(super) fn set_data(&mut self, data: Sent<'a>) -> Result<(), Problem> {
        match (self.data.replace(data), &self.data) {
            (None, _) => Ok(()),
            (Some(Sent::Json(_)), Some(Sent::Json(_))) => Err(Problem::Twice("data".to_owned())),
            (Some(Sent::Base64(_)), Some(Sent::Base64(_))) => Err(Problem::Twice("data_base64".to_owned())),
            _ => Err(Problem::TwoData),
        }
    }

    /// The event, whose data came as members.
    pub(super) fn finish(mut self, limits: &Limits) -> Result<CloudEvent<'a>, Problem> {
        let data = data::from_members(self.data.take(), self.datacontenttype.as_deref(), limits)?;
        self.finish_with(data)
    }

    /// The event, whose data is `body`.
    pub(super) fn finish_with_body(self, body: &'a [u8], limits: &Limits) -> Result<CloudEvent<'a>, Problem> {
        let data = data::from_body(body, self.datacontenttype.as_deref(), limits)?;
        self.finish_with(data)
    }

    fn finish_with(self, data: Data<Cow<'a, [u8]>>) -> Result<CloudEvent<'a>, Problem> {
        let missing = |attribute, remedy| Problem::Missing { attribute, remedy };
        if !self.specversion {
            return Err(missing("specversion", "every event says 1.0"));
        }
        Ok(CloudEvent {
            id: self.id.ok_or(missing("id", "say what makes it unique for its source, such as a UUID"))?,
            source: self.source.ok_or(missing("source", "say who the event comes from, such as /shop"))?,
            ty: self.ty.ok_or(missing("type", "say what happened, such as order.placed"))?,
            subject: self.subject,
            time: self.time,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            extensions: self.extensions,
            data,
        })
    }
}

/// The text of an attribute that must be one; None if it is null.
fn text<'a>(name: &str, value: Value<'a>) -> Result<Option<Cow<'a, str>>, Problem> {
    let shown = match value {
        Value::Text(text) => return Ok(Some(text)),
        Value::Null => return Ok(None),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Other(value) => value,
    };
    Err(Problem::Value {
        attribute: cut(name),
        value: cut(&shown),
        rule: "it must be a text, put it in quotes",
    })
}
