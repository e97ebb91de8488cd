//! Reading single values from text.

use super::calendar::{self, DAY_US, Span};

/// Reads a boolean in any of the spellings that PostgreSQL takes.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    let lower = text.trim().to_ascii_lowercase();
    let prefix_of = |word: &str, min: usize| lower.len() >= min && word.starts_with(&lower);
    if prefix_of("true", 1) || prefix_of("yes", 1) || lower == "on" || lower == "1" {
        Some(true)
    } else if prefix_of("false", 1) || prefix_of("no", 1) || prefix_of("off", 2) || lower == "0" {
        Some(false)
    } else {
        None
    }
}

/// Why a text is not a number of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// It is something else.
    Syntax,
    /// It is beyond the type's range.
    Range,
}

/// Reads an integer; spaces around it are fine.
pub(crate) fn parse_int(text: &str) -> Result<i64, NoNumber> {
    let text = text.trim();
    text.parse().map_err(|_| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { NoNumber::Range } else { NoNumber::Syntax }
    })
}

/// Reads a float: a decimal number, `NaN`, `Infinity`. A number that is too large or too small for `f64` is out of range.
pub(crate) fn parse_float8(text: &str) -> Result<f64, NoNumber> {
    let text = text.trim();
    let value: f64 = float_text(text)?.parse().map_err(|_| NoNumber::Syntax)?;
    in_range(value.is_infinite(), value == 0.0, text).then_some(value).ok_or(NoNumber::Range)
}

/// As [`parse_float8`], in single precision.
pub(crate) fn parse_float4(text: &str) -> Result<f32, NoNumber> {
    let text = text.trim();
    let value: f32 = float_text(text)?.parse().map_err(|_| NoNumber::Syntax)?;
    in_range(value.is_infinite(), value == 0.0, text).then_some(value).ok_or(NoNumber::Range)
}

/// Rust reads the same spellings, but also none that start with a digit-free exponent.
fn float_text(text: &str) -> Result<&str, NoNumber> {
    let start = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts_well =
        start.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | 'n' | 'N' | 'i' | 'I'));
    if starts_well { Ok(text) } else { Err(NoNumber::Syntax) }
}

/// Whether a result that is infinite or zero is so because the text says it.
fn in_range(infinite: bool, zero: bool, text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let says_infinite = mantissa.contains(['i', 'I']);
    let says_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!infinite || says_infinite) && (!zero || says_zero)
}

/// Reads `\x` and hexadecimal digits.
pub(crate) fn parse_hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let nibble = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    if digits.len() % 2 != 0 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?)).collect()
}

/// Reads base64 of the standard alphabet, padded, as JSON carries bytes.
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let groups = text.len() / 4;
    for (index, group) in text.chunks_exact(4).enumerate() {
        let pad = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if pad > 2 || (pad > 0 && index + 1 != groups) {
            return None;
        }
        let mut bits = 0u32;
        for byte in group.iter().take(4 - pad) {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * pad as u32;
        out.extend(bits.to_be_bytes().iter().skip(1).take(3 - pad));
    }
    Some(out)
}

/// Reads a UUID with or without hyphens or braces and prints it in lower case with hyphens.
pub(crate) fn normal_uuid(text: &str) -> Option<String> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let digits: String = inner.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    Some([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

/// Reads a span of time as PostgreSQL prints it (`1 year 2 mons -3 days 04:05:06.7`), with the usual spellings of the units,
/// or in ISO 8601 (`P1Y2M3DT4H5M6.7S`). Only seconds and smaller units may have a fraction.
pub(crate) fn parse_span(text: &str) -> Option<Span> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return parse_iso_span(iso);
    }
    let (text, ago) = match text.strip_suffix(" ago") {
        Some(rest) => (rest.to_owned(), true),
        None => (text.strip_prefix('@').map(|rest| rest.trim_start().to_owned()).unwrap_or(text), false),
    };
    let mut span = Span::default();
    let mut words = split_units(&text).into_iter();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word.contains(':') {
            span.us = span.us.checked_add(parse_span_time(word)?)?;
        } else {
            add_unit(&mut span, word, words.next()?)?;
        }
    }
    let span = if ago {
        Span {
            months: span.months.checked_neg()?,
            days: span.days.checked_neg()?,
            us: span.us.checked_neg()?,
        }
    } else {
        span
    };
    any.then_some(span)
}

/// Splits at spaces, and between a number and the letters that follow it.
fn split_units(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for word in text.split_ascii_whitespace() {
        match word.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at @ 1..) => {
                let (number, unit) = word.split_at(at);
                out.extend([number, unit]);
            }
            _ => out.push(word),
        }
    }
    out
}

/// `[-]HH:MM[:SS[.ffffff]]`, any number of hours.
fn parse_span_time(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = rest.split(':');
    let hours: i64 = parts.next()?.parse().ok().filter(|hours| *hours >= 0)?;
    let minutes: i64 = parts.next()?.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
    let seconds = parts.next().map_or(Some(0), |seconds| micros(seconds, 1_000_000))?;
    if parts.next().is_some() || !(0..=60_000_000).contains(&seconds) {
        return None;
    }
    let us = hours.checked_mul(3_600_000_000)?.checked_add(minutes * 60_000_000)?.checked_add(seconds)?;
    Some(if negative { -us } else { us })
}

/// A decimal number of units of `unit_us` microseconds each; exact, or None.
fn micros(text: &str, unit_us: i64) -> Option<i64> {
    let value = super::decimal::parse(text.as_bytes(), 30, 6).ok()?.to_i128()?;
    let us = value.checked_mul(i128::from(unit_us))?;
    if us % 1_000_000 != 0 { None } else { i64::try_from(us / 1_000_000).ok() }
}

fn add_unit(span: &mut Span, number: &str, unit: &str) -> Option<()> {
    let whole = |factor: i32| number.parse::<i32>().ok().and_then(|number| number.checked_mul(factor));
    let unit = unit.trim_end_matches(',');
    match unit {
        "y" | "yr" | "yrs" | "year" | "years" => span.months = span.months.checked_add(whole(12)?)?,
        "mon" | "mons" | "month" | "months" => span.months = span.months.checked_add(whole(1)?)?,
        "w" | "week" | "weeks" => span.days = span.days.checked_add(whole(7)?)?,
        "d" | "day" | "days" => span.days = span.days.checked_add(whole(1)?)?,
        _ => {
            let unit_us = match unit {
                "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000_000,
                "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
                "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
                "ms" | "millisecond" | "milliseconds" => 1_000,
                "us" | "microsecond" | "microseconds" => 1,
                _ => return None,
            };
            span.us = span.us.checked_add(micros(number, unit_us)?)?;
        }
    }
    Some(())
}

fn parse_iso_span(text: &str) -> Option<Span> {
    let mut span = Span::default();
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    for (part, units) in [(date, ["y", "mon", "w", "d"].as_slice()), (time, ["h", "min", "s"].as_slice())] {
        let mut rest = part;
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, tail) = rest.split_at(at);
            let letter = tail.get(..1)?;
            let unit = units.iter().find(|unit| unit.starts_with(letter))?;
            add_unit(&mut span, number, unit)?;
            rest = tail.get(1..)?;
        }
    }
    (text.len() > 1).then_some(span)
}

/// A span as one instant's distance, if it has no months; for whole results only.
pub(crate) fn span_us(span: Span) -> Option<i64> {
    if span.months != 0 {
        return None;
    }
    i64::from(span.days).checked_mul(DAY_US)?.checked_add(span.us)
}

/// Reads a `date`, explaining what is wrong.
pub(crate) fn parse_date(text: &str) -> Result<i32, String> {
    calendar::parse_date(text)
        // A date may carry a time, which PostgreSQL drops.
        .or_else(|| {
            calendar::parse_timestamp(text, false).and_then(|us| i32::try_from(us.div_euclid(DAY_US)).ok())
        })
        .ok_or_else(|| format!("`{}` is not a date: use YYYY-MM-DD", shorten(text)))
}

/// Reads a `timestamp` or `timestamptz`, explaining what is wrong.
pub(crate) fn parse_timestamp(text: &str, with_zone: bool) -> Result<i64, String> {
    calendar::parse_timestamp(text, with_zone).ok_or_else(|| {
        let form = if with_zone { "2026-01-31 09:30:00+00" } else { "2026-01-31 09:30:00" };
        format!("`{}` is not a timestamp: use ISO 8601 such as {form}", shorten(text))
    })
}

/// The start of a text, as error messages show it.
pub(crate) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn booleans_are_read_in_all_spellings() {
        for text in ["t", "TRUE", "y", "yes", "on", "1", " tr "] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["f", "false", "n", "no", "off", "0", "of"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "o", "2", "truely"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }

    #[test]
    fn floats_out_of_range_are_not_infinite_or_zero() {
        assert_eq!(parse_float8("1e400"), Err(NoNumber::Range));
        assert_eq!(parse_float8("1e-400"), Err(NoNumber::Range));
        assert_eq!(parse_float8("0e5"), Ok(0.0));
        assert_eq!(parse_float8("-Infinity"), Ok(f64::NEG_INFINITY));
        assert!(parse_float8("nan").unwrap().is_nan());
        for text in ["", "e5", "--1", "1,5"] {
            assert_eq!(parse_float8(text), Err(NoNumber::Syntax), "{text}");
        }
    }

    #[test]
    fn spans_are_read_in_both_styles() {
        let span = Span { months: 14, days: 3, us: 14_706_700_000 };
        for text in [
            "1 year 2 mons 3 days 04:05:06.7",
            "P1Y2M3DT4H5M6.7S",
            "1y 2mon 3d 4h 5m 6.7s",
            "14 months 3 days 04:05:06.7",
        ] {
            assert_eq!(parse_span(text), Some(span), "{text}");
        }
        assert_eq!(parse_span("-1 days -02:00:00"), Some(Span { months: 0, days: -1, us: -7_200_000_000 }));
        assert_eq!(parse_span("1 week ago"), Some(Span { months: 0, days: -7, us: 0 }));
        for text in ["", "p", "1", "one day", "1.5 days", "1 fortnight", "99999999999 days"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_read_from_base64_and_hex() {
        assert_eq!(parse_base64("AAEC/w=="), Some(vec![0, 1, 2, 255]));
        assert_eq!(parse_base64(""), Some(vec![]));
        assert_eq!(parse_hex_bytes("\\x00ff"), Some(vec![0, 255]));
        for text in ["A", "A===", "AA==AA==", "AAé="] {
            assert_eq!(parse_base64(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (parse_bool(&text), parse_int(&text), parse_float8(&text), parse_float4(&text));
            let _ = (parse_hex_bytes(&text), parse_base64(&text), normal_uuid(&text), parse_span(&text));
        }

        #[test]
        fn spans_read_back(months in -5000i32..5000, days in -5000i32..5000, us in any::<i32>()) {
            let span = Span { months, days, us: i64::from(us) * 1_001 };
            let mut out = String::new();
            span.print(&mut out);
            prop_assert_eq!(parse_span(&out), Some(span), "{}", out);
        }
    }
}
