//! PostgreSQL's regular expressions for the engine that runs them.
//!
//! What both write differently is translated, what they mean differently is refused: the engine stops at the first alternative that
//! matches, where PostgreSQL goes on to the longest match. So any pattern can be asked whether it matches, but only one that has a
//! single match at a place can be replaced or counted. Classes are those of the collation "C": letters and digits are ASCII.
//!
//! Source: PostgreSQL, "POSIX Regular Expressions" (section 9.7.3).

use crate::functions::function::type_error;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;

/// A pattern in the engine's language.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) text: String,
    /// Whether what it matches at a place is the same for both.
    pub(super) is_exact: bool,
}

fn refused(what: &str) -> datafusion::common::DataFusionError {
    type_error(format!("not supported in a regular expression: {what}"))
}

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    out: String,
    is_exact: bool,
    /// Whether a quantifier was the last thing.
    quantified: bool,
    /// Whether a backslash stands for itself somewhere.
    has_backslash: bool,
}

/// Translates a pattern.
///
/// # Errors
/// What is in it that the engine does not have, or has with another meaning.
pub(super) fn translate(pattern: &str) -> Result<Pattern> {
    if pattern.starts_with("***") {
        return Err(refused("`***`"));
    }
    // A dot matches a line's end, too.
    let (flags, pattern) = match pattern.strip_prefix("(?i)") {
        Some(rest) => ("(?si)", rest),
        None => ("(?s)", pattern),
    };
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: flags.to_owned(),
        is_exact: true,
        quantified: false,
        has_backslash: false,
    };
    while let Some(c) = translator.rest.next() {
        translator.one(c)?;
    }
    let Translator { mut out, is_exact, has_backslash, .. } = translator;
    if has_backslash {
        // DataFusion makes a LIKE of simple patterns, and leaves a backslash in it, which escapes there. Not of groups.
        out.insert_str(flags.len(), "()");
    }
    Ok(Pattern { text: out, is_exact })
}

impl Translator<'_> {
    fn one(&mut self, c: char) -> Result<()> {
        if self.quantified && c != '$' {
            // What follows could take away from what was matched.
            self.is_exact = false;
        }
        match c {
            '\\' => self.escape(),
            '[' => self.bracket(),
            '+' => {
                self.quantified = true;
                self.push(c)
            }
            '*' | '?' | '|' | ')' => {
                self.is_exact = false;
                self.push(c)
            }
            '(' => {
                self.is_exact = false;
                if self.rest.peek() == Some(&'?') {
                    self.rest.next();
                    if self.rest.next() != Some(':') {
                        return Err(refused("`(?`, other than `(?:` and a `(?i)` in front"));
                    }
                    self.out.push_str("(?:");
                    return Ok(());
                }
                self.push(c)
            }
            '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => {
                self.is_exact = false;
                self.push(c)
            }
            '{' => self.literal(c),
            _ => self.push(c),
        }
    }

    fn push(&mut self, c: char) -> Result<()> {
        self.out.push(c);
        Ok(())
    }

    /// A character that means itself; the engine takes `\<` and `\>` for the ends of words.
    fn literal(&mut self, c: char) -> Result<()> {
        self.has_backslash |= c == '\\';
        if !matches!(c, '<' | '>') {
            self.out.push('\\');
        }
        self.push(c)
    }

    /// What stands for a class, inside or outside of brackets.
    fn class(letter: char) -> Option<&'static str> {
        Some(match letter {
            'd' => "0-9",
            'w' => "0-9A-Za-z_",
            's' => " \\t\\n\\r\\x0B\\x0C",
            _ => return None,
        })
    }

    fn escape(&mut self) -> Result<()> {
        let Some(c) = self.rest.next() else { return Err(refused("a `\\` at its end")) };
        if let Some(class) = Self::class(c) {
            self.out.push_str(&format!("[{class}]"));
        } else if let Some(class) = Self::class(c.to_ascii_lowercase()) {
            self.out.push_str(&format!("[^{class}]"));
        } else {
            match c {
                'A' => self.out.push_str("\\A"),
                'Z' => self.out.push_str("\\z"),
                'n' | 't' | 'r' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                _ if c.is_alphanumeric() => return Err(refused(&format!("`\\{c}`"))),
                _ if c.is_ascii_punctuation() => return self.literal(c),
                _ => self.out.push(c),
            }
        }
        Ok(())
    }

    /// `[…]`, in which `]` is no end where it stands first.
    fn bracket(&mut self) -> Result<()> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.next() else { return Err(refused("a `[` without its `]`")) };
            match c {
                ']' if !first => break,
                '[' if matches!(self.rest.peek(), Some(':' | '.' | '=')) => self.named_class()?,
                '\\' => {
                    let Some(c) = self.rest.next() else { return Err(refused("a `\\` at its end")) };
                    match Self::class(c) {
                        Some(class) => self.out.push_str(class),
                        None if matches!(c, 'n' | 't' | 'r') || c.is_ascii_punctuation() => {
                            self.literal(c)?;
                        }
                        None => return Err(refused(&format!("`\\{c}` within brackets"))),
                    }
                }
                // A range, or a hyphen at one of the ends.
                '-' if first || self.rest.peek() == Some(&']') => self.literal(c)?,
                '-' => self.out.push(c),
                _ if c.is_ascii_punctuation() => self.literal(c)?,
                _ => self.out.push(c),
            }
            first = false;
        }
        self.push(']')
    }

    /// `[:alpha:]` within brackets; the `[` has been taken.
    fn named_class(&mut self) -> Result<()> {
        let name: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != ']')).collect();
        let known = name.strip_prefix(':').and_then(|name| name.strip_suffix(':')).filter(|name| {
            let names = [
                "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                "upper", "xdigit",
            ];
            names.contains(name)
        });
        let Some(known) = known else { return Err(refused(&format!("`[{name}]`"))) };
        self.rest.next();
        self.out.push_str(&format!("[:{known}:]"));
        Ok(())
    }
}

/// The text of a pattern, which must be known when a statement is planned.
pub(super) fn literal(expr: &Expr) -> Result<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Ok(text),
        _ => Err(type_error("not supported: a regular expression that is not a literal")),
    }
}

/// A text as a literal.
pub(super) fn text(text: String) -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(text)), None)
}

/// Translates the arguments of `regexp_like`, `regexp_count` and `regexp_replace`: the text, the pattern, perhaps a replacement and flags.
///
/// # Errors
/// The function would not give what PostgreSQL's gives.
pub(super) fn arguments(name: &str, args: &mut Vec<Expr>) -> Result<()> {
    let flags_at = if name == "regexp_replace" { 3 } else { 2 };
    let flags = if args.len() > flags_at { args.pop() } else { None };
    let flags = flags.as_ref().map_or(Ok(""), literal)?;
    let allowed = if name == "regexp_replace" { "gi" } else { "i" };
    if let Some(flag) = flags.chars().find(|flag| !allowed.contains(*flag)) {
        return Err(type_error(format!("not supported: the flag `{flag}` of {name}()")));
    }
    if let Some(pattern) = args.get_mut(1) {
        let known = literal(pattern)?;
        let ignoring_case = if flags.contains('i') && !known.starts_with("(?i)") { "(?i)" } else { "" };
        let translated = translate(&format!("{ignoring_case}{known}"))?;
        if name != "regexp_like" && !translated.is_exact {
            return Err(type_error(format!(
                "not supported: {name}() with a pattern that can match in several ways, of which PostgreSQL takes the longest: use one without groups, alternatives and repetitions (but a `+` at the end), or replace()"
            )));
        }
        *pattern = text(translated.text);
    }
    if name == "regexp_replace" {
        if let Some(by) = args.get_mut(2) {
            *by = text(replacement(literal(by)?)?);
        }
        if flags.contains('g') {
            args.push(text("g".to_owned()));
        }
    }
    Ok(())
}

/// A replacement in the engine's language.
///
/// # Errors
/// It names a part of the match.
pub(super) fn replacement(text: &str) -> Result<String> {
    if text.contains('\\') {
        return Err(type_error(
            "not supported: a replacement with a `\\`: parts of the match cannot be named",
        ));
    }
    Ok(text.replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_or_refused() {
        let text = |pattern: &str| translate(pattern).map(|pattern| pattern.text).ok();
        for (pattern, translated) in [
            ("a.c", "(?s)a.c"),
            ("(?i)^x", "(?si)^x"),
            (r"\d+\.\w", r"(?s)[0-9]+\.[0-9A-Za-z_]"),
            (r"[^\d-]", r"(?s)[^0-9\-]"),
            ("[]a]", r"(?s)[\]a]"),
            ("[[:space:]&&[]", r"(?s)[[:space:]\&\&\[]"),
            ("a{2,3}{x", r"(?s)a{2,3}\{x"),
            (r"\Aa|b\Z", r"(?s)\Aa|b\z"),
            (r"^CORP\\", r"(?s)()^CORP\\"),
            (r"(?i)[\\]", r"(?si)()[\\]"),
        ] {
            assert_eq!(text(pattern).as_deref(), Some(translated), "{pattern}");
        }
        for pattern in [r"\bword", "(?=a)", "***=a", r"(a)\1", "[[.a.]]", "[a", r"a\", "(?m)a", r"\m"] {
            assert_eq!(text(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn only_patterns_with_one_match_at_a_place_are_exact() {
        let exact = |pattern: &str| translate(pattern).unwrap().is_exact;
        for pattern in ["[^0-9]", r"\s+", "^0+", "abc", r"[[:space:]]+$", r"-\d\d"] {
            assert!(exact(pattern), "{pattern}");
        }
        for pattern in ["a|ab", "a*", "a?b", "(ab)", "a{1,2}", "a+b", "a+?", "a+|b"] {
            assert!(!exact(pattern), "{pattern}");
        }
    }
}
