//! Finds functions and how many lines they take.

use super::source::Source;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// The line of its `fn`, from 1.
    pub(super) line: usize,
    /// How many lines it takes from there to its closing brace, both included.
    pub(super) lines: usize,
}

/// Every function of a file, inner ones included; they count for the outer one too.
pub(super) fn functions(source: &Source) -> Vec<Function> {
    source.code.match_indices("fn ").filter_map(|(at, _)| function(source, at)).collect()
}

fn function(source: &Source, at: usize) -> Option<Function> {
    let before = source.code.get(..at)?.chars().next_back();
    if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
        return None; // The end of a longer word.
    }
    let rest = source.code.get(at + "fn ".len()..)?;
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return None; // A function pointer type.
    }
    let end = source.item_end(at);
    if source.code.get(at..end)?.ends_with(';') {
        return None; // A signature without a body.
    }
    let (first, last) = (source.line(at), source.line(end.saturating_sub(1)));
    Some(Function { name, line: first, lines: last - first + 1 })
}
