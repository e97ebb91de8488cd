//! JSON operators on JSON that is kept as text: `->`, `->>`, `#>`, `#>>`, and a few functions.
//!
//! As with PostgreSQL's `json`, a member's text is passed on as it is written, and of two members of the same name the
//! last one counts. A text that is not JSON is an error; a path that leads nowhere gives NULL.

use super::function::{Function, over_arrays, type_error, value_error};
use crate::values::scan;
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringViewArray, StringViewBuilder};
use datafusion::arrow::compute;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What an operator gives: JSON, or the text that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Text,
}

impl Form {
    pub(crate) fn symbol(self) -> &'static str {
        if self == Self::Json { "->" } else { "->>" }
    }

    pub(crate) fn path_symbol(self) -> &'static str {
        if self == Self::Json { "#>" } else { "#>>" }
    }
}

/// `json -> key`, where the key is a text or an integer.
pub(crate) fn member(form: Form) -> Arc<ScalarUDF> {
    let name = if form == Form::Json { "json_member" } else { "json_member_text" };
    operator(name, form.symbol(), move |arrays| members(arrays, form))
}

/// `json #> path`, where the path is a text such as `{a,0,b}`.
pub(crate) fn path(form: Form) -> Arc<ScalarUDF> {
    let name = if form == Form::Json { "json_path" } else { "json_path_text" };
    operator(name, form.path_symbol(), move |arrays| paths(arrays, form))
}

fn operator(
    name: &'static str,
    symbol: &'static str,
    compute: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> Arc<ScalarUDF> {
    Function::operator(
        name,
        symbol,
        |_, _| Ok(DataType::Utf8View),
        move |args, rows, _| over_arrays(args, rows, &compute),
    )
}

/// `text::json`: checks that it is.
pub(crate) fn as_json() -> Arc<ScalarUDF> {
    Function::giving("json", DataType::Utf8View, |arrays| {
        let texts = texts(arrays.first())?;
        texts.iter().flatten().try_for_each(|text| kind(text).map(drop))?;
        Ok(Arc::new(texts))
    })
}

/// `json_typeof(json)`.
pub(crate) fn typeof_function() -> Arc<ScalarUDF> {
    Function::giving("json_typeof", DataType::Utf8View, |arrays| {
        let texts = texts(arrays.first())?;
        let kinds: StringViewArray =
            texts.iter().map(|text| text.map(kind).transpose()).collect::<Result<_>>()?;
        Ok(Arc::new(kinds))
    })
}

/// `json_array_length(json)`.
pub(crate) fn array_length_function() -> Arc<ScalarUDF> {
    Function::giving("json_array_length", DataType::Int32, |arrays| {
        let texts = texts(arrays.first())?;
        let lengths: Int32Array =
            texts.iter().map(|text| text.map(array_length).transpose()).collect::<Result<_>>()?;
        Ok(Arc::new(lengths))
    })
}

fn texts(array: Option<&ArrayRef>) -> Result<StringViewArray> {
    let array = array.ok_or_else(|| type_error("a JSON function takes an argument"))?;
    Ok(compute::cast(array, &DataType::Utf8View)?.as_string_view().clone())
}

fn invalid(text: &str) -> datafusion::common::DataFusionError {
    value_error(format!("invalid input syntax for type json: `{}`", scan::shorten(text)))
}

/// A step into a JSON value.
enum Key<'a> {
    Name(&'a str),
    Index(i64),
}

fn members(arrays: &[ArrayRef], form: Form) -> Result<ArrayRef> {
    let [json, keys] = arrays else { return Err(type_error("a JSON operator takes two operands")) };
    let json = texts(Some(json))?;
    let mut builder = StringViewBuilder::with_capacity(json.len());
    let names = (keys.data_type() != &DataType::Int64).then(|| texts(Some(keys))).transpose()?;
    for row in 0..json.len() {
        if json.is_null(row) || keys.is_null(row) {
            builder.append_null();
            continue;
        }
        let key = match &names {
            Some(names) => Key::Name(names.value(row)),
            None => Key::Index(keys.as_primitive::<Int64Type>().value(row)),
        };
        append(&mut builder, step(json.value(row), &key)?, form)?;
    }
    Ok(Arc::new(builder.finish()))
}

fn paths(arrays: &[ArrayRef], form: Form) -> Result<ArrayRef> {
    let [json, paths] = arrays else { return Err(type_error("a JSON operator takes two operands")) };
    let (json, paths) = (texts(Some(json))?, texts(Some(paths))?);
    let mut builder = StringViewBuilder::with_capacity(json.len());
    for row in 0..json.len() {
        if json.is_null(row) || paths.is_null(row) {
            builder.append_null();
            continue;
        }
        let path = paths.value(row);
        let inner = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).ok_or_else(|| {
            value_error(format!("a path is written as '{{a,0,b}}', not `{}`", scan::shorten(path)))
        })?;
        let mut found = Some(json.value(row));
        for name in inner.split(',').filter(|_| !inner.is_empty()) {
            let Some(value) = found else { break };
            let name = name.trim().trim_matches('"');
            let is_array = value.trim_start().starts_with('[');
            found = match name.parse() {
                Ok(index) if is_array => step(value, &Key::Index(index))?,
                _ if is_array => None,
                _ => step(value, &Key::Name(name))?,
            };
        }
        append(&mut builder, found, form)?;
    }
    Ok(Arc::new(builder.finish()))
}

fn append(builder: &mut StringViewBuilder, value: Option<&str>, form: Form) -> Result<()> {
    match (value, form) {
        (None, _) => builder.append_null(),
        (Some("null"), Form::Text) => builder.append_null(),
        (Some(text), Form::Text) if text.starts_with('"') => builder.append_value(unquote(text)?),
        (Some(text), _) => builder.append_value(text),
    }
    Ok(())
}

/// The text that a JSON string stands for.
pub(crate) fn unquote(json: &str) -> Result<Cow<'_, str>> {
    let inner =
        json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(|| invalid(json))?;
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).map(Cow::Owned).map_err(|_| invalid(json))
}

/// The value that a key leads to, as it is written.
fn step<'a>(json: &'a str, key: &Key<'_>) -> Result<Option<&'a str>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = match (json.trim_start().as_bytes().first(), key) {
        (Some(b'{'), Key::Name(name)) => deserializer.deserialize_map(Member(name)),
        (Some(b'['), Key::Index(index)) => deserializer.deserialize_seq(Element(*index)),
        _ => serde::Deserialize::deserialize(&mut deserializer).map(|_: IgnoredAny| None),
    };
    let found = found.map_err(|_| invalid(json))?;
    deserializer.end().map_err(|_| invalid(json))?;
    Ok(found.map(RawValue::get))
}

/// Finds the last member of a name.
struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(matches) = map.next_key_seed(Name(self.0))? {
            if matches {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key with a name without keeping it.
struct Name<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Finds an element; negative numbers count from the end.
struct Element(i64);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if self.0 >= 0 {
            let mut index = 0;
            while let Some(value) = seq.next_element::<&RawValue>()? {
                if index == self.0 {
                    found = Some(value);
                }
                index += 1;
            }
            return Ok(found);
        }
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<&RawValue>()? {
            values.push(value);
        }
        let from_end = usize::try_from(self.0.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(values.len().checked_sub(from_end).and_then(|index| values.get(index).copied()))
    }
}

fn kind(text: &str) -> Result<&'static str> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| invalid(text))?;
    Ok(match text.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    })
}

fn array_length(text: &str) -> Result<i32> {
    let values: Vec<IgnoredAny> = serde_json::from_str(text).map_err(|_| {
        if kind(text).is_ok() {
            value_error("cannot get the array length of what is not an array")
        } else {
            invalid(text)
        }
    })?;
    Ok(i32::try_from(values.len()).unwrap_or(i32::MAX))
}
