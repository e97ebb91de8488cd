//! How results look: a little colour on a terminal, plain text everywhere else.

use std::io::IsTerminal;
use std::time::Duration;

/// Whether standard error, where all progress goes, is a terminal that wants colours.
fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal()
}

fn paint(code: &str, text: &str) -> String {
    if colours() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Something that went well.
pub(crate) fn good(text: &str) -> String {
    paint("32", text)
}

/// Something that went wrong.
pub(crate) fn bad(text: &str) -> String {
    paint("31;1", text)
}

/// Something that was not done.
pub(crate) fn pale(text: &str) -> String {
    paint("2", text)
}

/// A heading.
pub(crate) fn strong(text: &str) -> String {
    paint("1", text)
}

/// A duration as a person reads it: `0.4 s`, `2 min 05 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_change_their_unit_at_a_minute() {
        assert_eq!(duration(Duration::from_millis(420)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(59)), "59.0 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
