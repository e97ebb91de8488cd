//! The rules that look at one file at a time.

use super::Finding;
use super::functions::functions;
use super::source::Source;
use std::path::Path;

/// How many lines a file may have.
const FILE_LINES_MAX: usize = 500;
/// How many lines a function may have.
const FUNCTION_LINES_MAX: usize = 70;

/// What no code contains, and why.
const NEVER: &[(&str, &str)] = &[
    ("#[ignore", "a test runs or it goes: remove the attribute or the test"),
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("dbg!", "log it, or remove it"),
];

/// What no test contains, and why.
const NEVER_IN_TESTS: &[&str] = &["thread::sleep", "time::sleep", "sleep_ms", " sleep("];

/// What no comment contains.
const NEVER_IN_COMMENTS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// The beginnings of paths that mean something on one machine only. Split, so that this file passes its own rule.
const HOMES: &[&str] = &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];

/// What holds for every text file.
pub(super) fn any_text(path: &Path, text: &str) -> Vec<Finding> {
    let homes = HOMES.iter().flat_map(|home| text.match_indices(home));
    homes
        .map(|(at, home)| Finding {
            path: path.to_owned(),
            line: text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1,
            rule: "home",
            message: format!(
                "a path below `{home}` exists on one machine only: make it relative or configurable"
            ),
        })
        .collect()
}

/// What holds for every Rust file.
pub(super) fn rust(path: &Path, source: &Source, all_is_test: bool) -> Vec<Finding> {
    let finding = |line, rule, message| Finding { path: path.to_owned(), line, rule, message };
    let mut found = Vec::new();
    if path.ends_with("mod.rs") {
        found.push(finding(
            1,
            "mod-rs",
            "a module `foo` is `foo.rs` beside the folder `foo/`: rename it".into(),
        ));
    }
    if !source.text.trim_start().starts_with("//!") {
        let message = "a file begins with `//!`: what it is for, where it sits, what it never does";
        found.push(finding(1, "module-docs", message.into()));
    }
    if source.lines() > FILE_LINES_MAX {
        let message = format!("{} lines, at most {FILE_LINES_MAX}: split it by operation", source.lines());
        found.push(finding(1, "file-length", message));
    }
    for function in functions(source).iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let (name, lines) = (&function.name, function.lines);
        let message =
            format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: give its parts names");
        found.push(finding(function.line, "function-length", message));
    }
    for (word, remedy) in NEVER {
        for at in places(&source.code, word) {
            found.push(finding(source.line(at), "unfinished", format!("`{word}`: {remedy}")));
        }
    }
    for word in NEVER_IN_COMMENTS {
        for at in places(&source.comments, word) {
            found.push(finding(
                source.line(at),
                "unfinished",
                format!("`{word}` in a comment: do it, or file it"),
            ));
        }
    }
    let tests = source.test_regions();
    for word in NEVER_IN_TESTS {
        for at in places(&source.code, word) {
            if all_is_test || tests.iter().any(|region| region.contains(&at)) {
                let message =
                    "a test waits for a condition, never for time: poll with a deadline in test support";
                found.push(finding(source.line(at), "sleep-in-test", message.into()));
            }
        }
    }
    found
}

/// Where `word` occurs on its own, not as the end of a longer word.
fn places<'s>(code: &'s str, word: &'s str) -> impl Iterator<Item = usize> + 's {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let starts_with_word = word.starts_with(part_of_word);
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code.get(..*at).and_then(|before| before.chars().next_back());
        !(starts_with_word && before.is_some_and(part_of_word))
    })
}
