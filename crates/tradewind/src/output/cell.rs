//! Single values as people read them.

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// On which side a column is flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A value in a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    /// Its text, without control characters.
    pub(crate) text: String,
    /// Whether there is no value.
    pub(crate) is_null: bool,
}

impl Cell {
    /// A text. Control characters are shown, not obeyed: data must not be able to move the cursor.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let visible = if text.chars().any(char::is_control) {
            text.chars().fold(String::with_capacity(text.len() + 8), |mut visible, c| {
                if c.is_control() {
                    visible.extend(c.escape_default());
                } else {
                    visible.push(c);
                }
                visible
            })
        } else {
            text.to_owned()
        };
        Self { text: visible, is_null: false }
    }

    /// No value.
    pub(crate) fn null() -> Self {
        Self { text: "NULL".to_owned(), is_null: true }
    }

    /// A JSON value: texts without quotes, anything else as JSON writes it.
    pub(crate) fn json(value: &Value) -> Self {
        match value {
            Value::Null => Self::null(),
            Value::String(text) => Self::text(text),
            other => Self::text(other.to_string()),
        }
    }

    /// How many columns of a terminal it takes.
    pub(crate) fn width(&self) -> usize {
        self.text.width()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::text(text.into())
    }
}

/// A number with thousands separated by commas.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in the largest unit that keeps it over 1, with three digits that matter.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1_024.0 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match value {
        _ if unit == 0 => format!("{bytes} B"),
        value if value >= 100.0 => format!("{value:.0} {name}"),
        value if value >= 10.0 => format!("{value:.1} {name}"),
        value => format!("{value:.2} {name}"),
    }
}

/// A time in the two largest units that matter.
pub(crate) fn duration_ms(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 => format!("{ms} ms"),
        1..=59 => format!("{}.{} s", s, ms % 1_000 / 100),
        60..=3_599 => format!("{} min {} s", s / 60, s % 60),
        3_600..=86_399 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(Cell::text("a\u{1b}[2J\nb").text, r"a\u{1b}[2J\nb");
        assert_eq!(Cell::text("größe 日本").width(), 10);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [count(0), count(999), count(1_000), count(12_345_678)],
            ["0", "999", "1,000", "12,345,678"]
        );
        assert_eq!(
            [bytes(0), bytes(1_023), bytes(1_536), bytes(15 << 20), bytes(u64::MAX)],
            ["0 B", "1023 B", "1.50 KiB", "15.0 MiB", "16384 PiB"]
        );
        assert_eq!(
            [duration_ms(7), duration_ms(1_250), duration_ms(61_000), duration_ms(90_000_000)],
            ["7 ms", "1.2 s", "1 min 1 s", "1 d 1 h"]
        );
    }
}
