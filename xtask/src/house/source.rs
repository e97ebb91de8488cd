//! A Rust file with its code, its comments and its string literals told apart.
//!
//! A full parser would cost more to build than the rest of this crate, and the rules need no more than this.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// A source file in three layers of equal length, so that a place in one is the same place in all.
#[derive(Debug)]
pub(super) struct Source {
    /// The file as it is.
    pub(super) text: String,
    /// Only the code; comments and the insides of literals are blank.
    pub(super) code: String,
    /// Only the comments.
    pub(super) comments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Source {
    pub(super) fn new(text: String) -> Self {
        let kinds = classify(text.as_bytes());
        let only = |kind: Kind| {
            let keep = |(at, byte): (usize, u8)| {
                // Line breaks stay in every layer; bytes of wide characters become as many blanks.
                if byte == b'\n' || (kinds.get(at) == Some(&kind) && byte.is_ascii()) {
                    byte as char
                } else {
                    ' '
                }
            };
            text.bytes().enumerate().map(keep).collect::<String>()
        };
        let (code, comments) = (only(Kind::Code), only(Kind::Comment));
        Self { text, code, comments }
    }

    /// The line, from 1, that holds the byte `at`.
    pub(super) fn line(&self, at: usize) -> usize {
        self.code.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    /// How many lines the file has.
    pub(super) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The parts of the code that are there only `#[cfg(test)]`, from the attribute to the closing brace or semicolon.
    pub(super) fn test_regions(&self) -> Vec<Range<usize>> {
        let attribute = "#[cfg(test)]";
        let starts = self.code.match_indices(attribute).map(|(start, _)| start);
        starts.map(|start| start..self.item_end(start + attribute.len())).collect()
    }

    /// The paths, without `.rs`, of the modules that this file declares `#[cfg(test)] mod name;`.
    pub(super) fn test_modules(&self, path: &Path) -> Vec<PathBuf> {
        let folder = match path.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs" | "main.rs") => path.with_file_name(""),
            _ => path.with_extension(""),
        };
        let declared = |region: Range<usize>| {
            let item = self.code.get(region)?.strip_suffix(';')?;
            let (_, name) = item.rsplit_once("mod ")?;
            Some(folder.join(name.trim()))
        };
        self.test_regions().into_iter().filter_map(declared).collect()
    }

    /// Where the item that begins at `from` ends: after its matching closing brace, or after the semicolon that comes
    /// before any brace.
    pub(super) fn item_end(&self, from: usize) -> usize {
        let (mut braces, mut brackets) = (0_usize, 0_usize);
        for (at, byte) in self.code.bytes().enumerate().skip(from) {
            match byte {
                b'(' | b'[' => brackets += 1,
                b')' | b']' => brackets = brackets.saturating_sub(1),
                b'{' => braces += 1,
                b'}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 && brackets == 0 {
                        return at + 1;
                    }
                }
                // The semicolon of `[u8; 4]` is inside brackets.
                b';' if braces == 0 && brackets == 0 => return at + 1,
                _ => {}
            }
        }
        self.code.len()
    }
}

/// What every byte of a file belongs to. Quotes count as code, what is between them as a literal.
fn classify(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let (kind, length, skip) = next_token(rest, at.checked_sub(1).and_then(|before| text.get(before)));
        if let Some(part) = kinds.get_mut(at + skip..(at + length).saturating_sub(skip).max(at + skip)) {
            part.fill(kind);
        }
        at += length.max(1);
    }
    kinds
}

/// What starts here: its kind, its length in bytes, and how many bytes at either end are code all the same.
fn next_token(rest: &[u8], before: Option<&u8>) -> (Kind, usize, usize) {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match rest {
        [b'/', b'/', ..] => (Kind::Comment, position(rest, b'\n'), 0),
        [b'/', b'*', ..] => (Kind::Comment, block_comment(rest), 0),
        [b'"', ..] => (Kind::Literal, quoted(rest, b'"'), 1),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_word => raw_string(rest, 2),
        // 'x', '\n' and '\u{1F300}' are characters; 'a in &'a is a lifetime.
        [b'\'', b'\\', ..] => (Kind::Literal, quoted(rest, b'\''), 1),
        [b'\'', first, more @ ..] if more.get(character_length(*first) - 1) == Some(&b'\'') => {
            (Kind::Literal, character_length(*first) + 2, 1)
        }
        _ => (Kind::Code, 1, 0),
    }
}

/// How many bytes a UTF-8 character has that starts with `first`.
fn character_length(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn position(rest: &[u8], wanted: u8) -> usize {
    rest.iter().position(|byte| *byte == wanted).unwrap_or(rest.len())
}

/// The length of a literal that ends at the next `quote` without a backslash before it.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match *byte {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw string whose prefix (`r`, `br`, `cr`) has `prefix` bytes; code if it is a raw identifier (`r#type`) after all.
fn raw_string(rest: &[u8], prefix: usize) -> (Kind, usize, usize) {
    let hashes = rest.iter().skip(prefix).take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return (Kind::Code, 1, 0);
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let inside = rest.get(open + 1..).unwrap_or_default();
    let end = inside.windows(close.len()).position(|window| window == close).unwrap_or(inside.len());
    (Kind::Literal, (open + 1 + end + close.len()).min(rest.len()), 0)
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}
