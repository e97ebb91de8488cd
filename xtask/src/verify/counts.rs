//! Counting tests by what libtest prints.

use std::ops::Add;

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }
}

impl Counts {
    /// Reads a line of the form `test result: ok. 3 passed; 0 failed; 1 ignored; …`; other lines are `None`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let (_, numbers) = rest.split_once(". ")?;
        let mut counts = Self::default();
        for part in numbers.split("; ") {
            match part.split_once(' ') {
                Some((number, "passed")) => counts.passed = number.parse().ok()?,
                Some((number, "failed")) => counts.failed = number.parse().ok()?,
                Some((number, "ignored")) => counts.ignored = number.parse().ok()?,
                _ => {}
            }
        }
        Some(counts)
    }
}

/// The name of the test of which a line of libtest's output says that it failed.
pub(super) fn failed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Whether a line of libtest's output says only that all is well.
pub(super) fn is_routine(line: &str) -> bool {
    let single = line.starts_with("test ") && line.ends_with(" ... ok");
    single
        || line.is_empty()
        || line.starts_with("running ")
        || line.starts_with("test result: ok. 0 passed; 0 failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_and_other_lines_are_not() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.10s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 12, failed: 2, ignored: 1 }));
        assert_eq!(Counts::parse("test result_is_read ... ok"), None);
    }

    #[test]
    fn only_good_news_is_routine() {
        assert!(is_routine("test a::b ... ok"));
        assert!(is_routine("running 3 tests"));
        assert!(!is_routine("test a::b ... FAILED"));
        assert!(!is_routine("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"));
    }
}
