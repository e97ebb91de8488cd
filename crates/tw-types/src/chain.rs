//! Errors as a person reads them.

use std::error::Error;

/// An error with all its causes, in one line, each said once: some errors say what their cause says.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn causes_follow_each_once() {
        let told = |text, source: Option<Told>| Told { text, source: source.map(Box::new) };
        let cause = told("the disk is full", None);
        let says_it_too = told("cannot write: the disk is full", Some(cause));
        let error = told("an append failed", Some(says_it_too));
        assert_eq!(chain(&error), "an append failed: cannot write: the disk is full");
    }
}
