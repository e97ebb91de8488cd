//! How much a test does, when the environment says so.

/// How many random cases a test runs: so many, or as many as `TRADEWIND_CASES` says.
///
/// # Panics
/// When that is no number.
pub fn cases(default: u32) -> u32 {
    asked("TRADEWIND_CASES").map_or(default, |cases| u32::try_from(cases).unwrap_or(u32::MAX))
}

/// The number that an environment variable says, if it is set.
///
/// # Panics
/// When it says something else.
pub fn asked(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(number(variable, &text.to_string_lossy()).unwrap_or_else(|error| panic!("{error}")))
}

fn number(variable: &str, text: &str) -> Result<u64, String> {
    let wrong = |error| format!("`{variable}` is `{text}`, {error}: set it to a whole number, or not at all");
    text.parse().map_err(|error: std::num::ParseIntError| wrong(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_refused_and_not_passed_over() {
        assert_eq!(number("A", "12"), Ok(12));
        let refused = "`A` is `1e3`, invalid digit found in string: set it to a whole number, or not at all";
        assert_eq!(number("A", "1e3"), Err(refused.to_owned()));
        assert!(number("A", "").is_err());
    }
}
