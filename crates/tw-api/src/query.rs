//! Query parameters.

use crate::Problem;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// The parameters of a request, decoded. An endpoint says which it knows; others are errors.
#[derive(Debug, Default)]
pub(crate) struct Query<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Reads `name=value&…`.
    pub(crate) fn read(query: Option<&'a str>, known: &[&'static str]) -> Result<Self, Problem> {
        Self::with_lists(query, known, &[])
    }

    /// The same, where some of the known ones may be there several times.
    pub(crate) fn with_lists(
        query: Option<&'a str>,
        known: &[&'static str],
        lists: &[&str],
    ) -> Result<Self, Problem> {
        let mut parameters = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let known_name = known.iter().copied().find(|known| *known == name).ok_or_else(|| {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Problem::parameter(&name, format!("parameter `{name}` is unknown: there are {known}"))
            })?;
            if !lists.contains(&known_name) && parameters.iter().any(|(other, _)| *other == known_name) {
                return Err(Problem::parameter(
                    &name,
                    format!("parameter `{name}` is there twice: keep one"),
                ));
            }
            parameters.push((known_name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }

    /// The values of a parameter that may be there several times.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| *other == name).map(|(_, value)| &**value)
    }

    /// The value of a parameter that must be true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let detail = || format!("parameter `{name}` is `{text}`: it must be true or false");
        text.parse().map(Some).map_err(|_| Problem::parameter(name, detail()))
    }

    /// The value of a parameter that must be a whole number.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let detail = match *most {
                u64::MAX => format!("parameter `{name}` is `{text}`: it must be a whole number from {least}"),
                _ => format!(
                    "parameter `{name}` is `{text}`: it must be a whole number from {least} to {most}"
                ),
            };
            Problem::parameter(name, detail)
        })?;
        Ok(Some(number))
    }
}

/// As forms encode it: `+` is a space, `%` starts two hexadecimal digits.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    if !spaced.contains('%') {
        return Ok(spaced);
    }
    match percent_decode(spaced.as_bytes()).decode_utf8() {
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => {
            Err(Problem::parameter(text, format!("parameter `{text}` is not UTF-8 after percent-decoding")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::read(Some("type=a%2Bb+c&limit=5&&from"), &["from", "limit", "type"]).unwrap();
        assert_eq!(
            (query.text("type"), query.text("from"), query.text("x")),
            (Some("a+b c"), Some(""), None)
        );
        assert_eq!(query.number("limit", 1..=5).unwrap(), Some(5));
        let query = Query::with_lists(Some("tail=a&tail=b"), &["tail"], &["tail"]).unwrap();
        assert_eq!(query.texts("tail").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_an_endpoint_does_not_know_is_an_error() {
        let error = |query| Query::read(Some(query), &["from", "limit"]).unwrap_err().to_string();
        assert_eq!(error("form=1"), "parameter `form` is unknown: there are from, limit");
        assert_eq!(error("from=1&from=2"), "parameter `from` is there twice: keep one");
        assert_eq!(error("from=%ff"), "parameter `%ff` is not UTF-8 after percent-decoding");
        let query = Query::read(Some("limit=0"), &["limit"]).unwrap();
        assert_eq!(
            query.number("limit", 1..=9).unwrap_err().to_string(),
            "parameter `limit` is `0`: it must be a whole number from 1 to 9"
        );
    }
}
