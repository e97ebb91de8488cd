//! Where one SQL statement ends and the next begins: at a semicolon that is neither within quotes nor in a comment.
//!
//! The rules of PostgreSQL's lexical structure (section 4.1 of its manual), without knowing any grammar.

/// What a text consists of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Split<'a> {
    /// Complete statements, without their semicolons and without space around them.
    pub(crate) complete: Vec<&'a str>,
    /// What comes after the last semicolon; empty when that is only space and comments.
    pub(crate) rest: &'a str,
    /// A quote or a comment is open at the end.
    pub(crate) open: bool,
}

/// Splits `text` at its semicolons.
pub(crate) fn split(text: &str) -> Split<'_> {
    let mut split = Split::default();
    let mut start = 0;
    let mut at = 0;
    // Whether something other than space and comments has come since `start`.
    let mut any = false;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let token = token(rest, text.get(..at).unwrap_or_default());
        let end = at + token.length;
        match token.kind {
            Kind::Semicolon => {
                if any {
                    split.complete.push(text.get(start..at).unwrap_or_default().trim());
                }
                (start, any) = (end, false);
            }
            Kind::Space => {}
            Kind::Other => any = true,
        }
        split.open = !token.closed;
        at = end;
    }
    if any || split.open {
        split.rest = text.get(start..).unwrap_or_default().trim();
    }
    split
}

/// A piece of text that is taken as a whole.
struct Token {
    length: usize,
    kind: Kind,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Semicolon,
    Space,
    Other,
}

fn token(rest: &str, before: &str) -> Token {
    let other = |length| Token { length, kind: Kind::Other, closed: true };
    let first = rest.chars().next().unwrap_or_default();
    match first {
        ';' => Token { length: 1, kind: Kind::Semicolon, closed: true },
        c if c.is_whitespace() => Token { length: c.len_utf8(), kind: Kind::Space, closed: true },
        '-' if rest.starts_with("--") => {
            let length = rest.find('\n').unwrap_or(rest.len());
            Token { length, kind: Kind::Space, closed: true }
        }
        '/' if rest.starts_with("/*") => comment(rest),
        '\'' => {
            // In E'…' a backslash escapes.
            let escapes = before.ends_with(['E', 'e']) && !ends_in_word(before.get(..before.len() - 1));
            quoted(rest, '\'', escapes)
        }
        '"' => quoted(rest, '"', false),
        '$' if !ends_in_word(Some(before)) => dollar_quoted(rest).unwrap_or_else(|| other(1)),
        c => other(c.len_utf8()),
    }
}

fn ends_in_word(text: Option<&str>) -> bool {
    let last = text.and_then(|text| text.chars().next_back());
    last.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

/// `/* … */`, nested as in standard SQL.
fn comment(rest: &str) -> Token {
    let mut depth = 0;
    let mut at = 0;
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Token { length: at, kind: Kind::Space, closed: true };
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    Token { length: rest.len(), kind: Kind::Space, closed: false }
}

/// A text in quotes; two of them stand for one.
fn quoted(rest: &str, quote: char, escapes: bool) -> Token {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Token { length: at + 1, kind: Kind::Other, closed: true };
            }
        }
    }
    Token { length: rest.len(), kind: Kind::Other, closed: false }
}

/// `$tag$ … $tag$`; None where the dollar begins something else, such as `$1`.
fn dollar_quoted(rest: &str) -> Option<Token> {
    let tag = rest.get(..=rest.get(1..)?.find('$')? + 1)?;
    let name = tag.trim_matches('$');
    let is_tag = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_tag {
        return None;
    }
    let body = rest.get(tag.len()..)?;
    Some(match body.find(tag) {
        Some(end) => Token { length: 2 * tag.len() + end, kind: Kind::Other, closed: true },
        None => Token { length: rest.len(), kind: Kind::Other, closed: false },
    })
}

/// `name` as an identifier of a statement: in quotes where it needs them.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, complete: &[&str], rest: &str) {
        let split = split(text);
        assert_eq!((split.complete.as_slice(), split.rest), (complete, rest), "{text}");
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_end_a_statement() {
        check("SELECT 1; SELECT 2", &["SELECT 1"], "SELECT 2");
        check("SELECT ';''x;', \"a;\"\"b\";", &["SELECT ';''x;', \"a;\"\"b\""], "");
        check("SELECT 1 -- ;\n;", &["SELECT 1 -- ;"], "");
        check("/* ; /* ; */ ; */ SELECT 1;", &["/* ; /* ; */ ; */ SELECT 1"], "");
        check("SELECT $$;$$, $a$;$$;$a$, $1;", &["SELECT $$;$$, $a$;$$;$a$, $1"], "");
        check(r"SELECT E'\';', e'a', 'b\';", &[r"SELECT E'\';', e'a', 'b\'"], "");
    }

    #[test]
    fn nothing_between_semicolons_is_no_statement() {
        check(" ; ;\n-- only a comment\n;", &[], "");
        check("-- only a comment", &[], "");
        check("", &[], "");
    }

    #[test]
    fn what_is_open_is_told() {
        for text in ["SELECT 'a;", "SELECT \"a", "/* a", "SELECT $x$;$y$"] {
            let split = split(text);
            assert!(split.open && split.complete.is_empty() && !split.rest.is_empty(), "{text}");
        }
        assert!(!split("SELECT 1").open);
    }

    #[test]
    fn names_and_texts_are_quoted_where_they_must_be() {
        assert_eq!(
            [identifier("orders"), identifier("Order \"x\""), identifier("1a")],
            ["orders", "\"Order \"\"x\"\"\"", "\"1a\""]
        );
    }

    proptest! {
        #[test]
        fn every_text_is_split_without_loss(text in "[ ;'\"$a/*\\-\n\\\\Eé1]{0,40}") {
            let split = split(&text);
            let mut at = 0;
            for part in split.complete.iter().chain([&split.rest]) {
                at += text[at..].find(part).expect("parts come in order") + part.len();
            }
        }

        #[test]
        fn what_was_complete_stays_complete(text in "[ ;'\"$a/*\\-\n\\\\E]{0,30}", more in "[ ;'a]{0,10}") {
            let before = split(&text);
            let whole = format!("{text}{more}");
            if !before.open {
                prop_assert!(split(&whole).complete.starts_with(&before.complete));
            }
        }
    }
}
