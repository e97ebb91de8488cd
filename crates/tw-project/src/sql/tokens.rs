//! Tokens of a statement, and errors that say what was expected.

use super::SyntaxError;
use crate::dialect::suggest;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

/// The longest text of statements, in bytes.
const BYTES_MAX: usize = 1 << 20;
/// The most operators in it: an expression is as deep as it has operators.
const OPERATORS_MAX: usize = 1_000;

const DIALECT: PostgreSqlDialect = PostgreSqlDialect {};

/// The tokens of a text.
pub(super) struct Tokens<'a> {
    sql: &'a str,
    parser: Parser<'a>,
}

impl<'a> Tokens<'a> {
    /// Splits a text.
    pub(super) fn new(sql: &'a str) -> Result<Self, SyntaxError> {
        if sql.len() > BYTES_MAX {
            return Err(SyntaxError::whole(format!(
                "the statement has {} bytes, more than {BYTES_MAX}",
                sql.len()
            )));
        }
        let tokens = Tokenizer::new(&DIALECT, sql)
            .tokenize_with_location()
            .map_err(|error| located(&format!("{}{}", error.message, error.location)))?;
        let operators = tokens.iter().filter(|token| is_operator(&token.token)).count();
        if operators > OPERATORS_MAX {
            return Err(SyntaxError::whole(format!(
                "the statement has {operators} operators, more than {OPERATORS_MAX}"
            )));
        }
        Ok(Self { sql, parser: Parser::new(&DIALECT).with_tokens_with_locations(tokens) })
    }

    /// The parser of SELECT and of types, at the current place.
    pub(super) fn parser(&mut self) -> &mut Parser<'a> {
        &mut self.parser
    }

    pub(super) fn peek(&self) -> Token {
        self.parser.peek_token().token
    }

    /// Where the next token is.
    pub(super) fn span(&self) -> Span {
        self.parser.peek_token().span
    }

    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    pub(super) fn back(&mut self) {
        self.parser.prev_token();
    }

    pub(super) fn at_end(&self) -> bool {
        self.peek() == Token::EOF
    }

    /// The next token as an upper-case word, if it is one without quotes.
    pub(super) fn peek_word(&self) -> Option<String> {
        word_of(&self.peek())
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    /// Takes these words, if they follow one another here.
    pub(super) fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| {
            word_of(&self.parser.peek_nth_token(n).token).is_some_and(|found| found == *word)
        });
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    pub(super) fn expect(&mut self, token: &Token, what: &str) -> Result<(), SyntaxError> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(what)) }
    }

    pub(super) fn expect_words(&mut self, words: &[&str]) -> Result<(), SyntaxError> {
        for word in words {
            if !self.eat_words(&[word]) {
                return Err(self.expected_one_of("", &[word]));
            }
        }
        Ok(())
    }

    /// A name: in quotes as it is written, otherwise in lower case.
    pub(super) fn identifier(&mut self, what: &str) -> Result<String, SyntaxError> {
        match self.peek() {
            Token::Word(word) => {
                self.next();
                Ok(if word.quote_style.is_some() { word.value } else { word.value.to_lowercase() })
            }
            // Names of the platform's own streams.
            Token::Placeholder(name) => {
                self.next();
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A text in quotes.
    pub(super) fn string(&mut self, what: &str) -> Result<String, SyntaxError> {
        match self.peek() {
            Token::SingleQuotedString(text) => {
                self.next();
                Ok(text)
            }
            Token::EscapedStringLiteral(text) => {
                self.next();
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// The value of an option: a text, a number, a word.
    pub(super) fn value(&mut self) -> Result<String, SyntaxError> {
        let sign = if self.eat(&Token::Minus) { "-" } else { "" };
        match self.peek() {
            Token::Number(number, _) => {
                self.next();
                Ok(format!("{sign}{number}"))
            }
            Token::Word(word) if sign.is_empty() => {
                self.next();
                Ok(word.value)
            }
            _ if sign.is_empty() => self.string("a value"),
            _ => Err(self.expected("a number")),
        }
    }

    /// Where the next token starts, in bytes.
    pub(super) fn position(&self) -> usize {
        self.byte_of(self.span())
    }

    /// The text from a position up to the next token, without what is around it.
    pub(super) fn text_since(&self, start: usize) -> String {
        let end = if self.at_end() { self.sql.len() } else { self.position() };
        self.sql.get(start..end).unwrap_or_default().trim().to_owned()
    }

    fn byte_of(&self, span: Span) -> usize {
        let Some(line) = self.sql.split_inclusive('\n').nth(span.start.line.saturating_sub(1) as usize)
        else {
            return self.sql.len();
        };
        let before = line.as_ptr() as usize - self.sql.as_ptr() as usize;
        let column = span.start.column.saturating_sub(1) as usize;
        before + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
    }

    /// The error at the next token.
    pub(super) fn expected(&self, what: &str) -> SyntaxError {
        let token = self.parser.peek_token();
        SyntaxError::new(format!("expected {what}, found {}", shown(&token.token)), token.span)
    }

    /// The error at the next token, where one of several words is expected.
    pub(super) fn expected_one_of(&self, what: &str, words: &[&str]) -> SyntaxError {
        let token = self.parser.peek_token();
        let list = match words {
            [word] => (*word).to_owned(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => String::new(),
        };
        let what = if what.is_empty() { list } else { format!("{what}: {list}") };
        let hint = word_of(&token.token)
            .map(|word| suggest::did_you_mean(&word, words.iter().copied()))
            .unwrap_or_default();
        SyntaxError::new(format!("expected {what}, found {}{hint}", shown(&token.token)), token.span)
    }
}

fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    }
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && matches!(
                    word.value.to_ascii_uppercase().as_str(),
                    "AND"
                        | "OR"
                        | "NOT"
                        | "UNION"
                        | "CASE"
                        | "EXCEPT"
                        | "INTERSECT"
                        | "JOIN"
                        | "BETWEEN"
                        | "LIKE"
                        | "ILIKE"
                        | "SIMILAR"
                        | "IN"
                        | "IS"
                        | "ISNULL"
                        | "NOTNULL"
                        | "COLLATE"
                        | "AT"
                        | "OVERLAPS"
                        | "LATERAL"
                )
        }
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::SemiColon => false,
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Placeholder(_)
        | Token::EOF => false,
        _ => true,
    }
}

/// A token as errors show it. What stands in quotes may be a password, so it is not shown.
fn shown(token: &Token) -> String {
    match token {
        Token::EOF => "the end".into(),
        Token::Word(word) => format!("`{word}`"),
        Token::Number(..) | Token::Placeholder(_) => format!("`{token}`"),
        other => {
            let text = other.to_string();
            if text.len() > 3 { "a text in quotes".into() } else { format!("`{text}`") }
        }
    }
}

/// An error of sqlparser's, with its place, in our words.
pub(super) fn syntax(error: &ParserError) -> SyntaxError {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => located(message),
        ParserError::RecursionLimitExceeded => SyntaxError::whole("the statement is nested too deeply"),
    }
}

/// Takes the place out of a message that ends with it.
fn located(message: &str) -> SyntaxError {
    let (text, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let mut numbers = place.split(", Column: ").map(|number| number.trim().parse().ok());
    let (line, column) = (numbers.next().flatten(), numbers.next().flatten());
    let text = text
        .replace("Expected: ", "expected ")
        .replace("found: EOF", "found the end")
        .replace("found: ", "found ");
    let mut chars = text.chars();
    let text = chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect());
    SyntaxError { message: text, line, column }
}
