//! Statements: from text to what is to be done.

mod bounds;
mod casts;
mod lower;
mod names;
mod options;
mod params;
mod parser;
mod secret;
mod statement;
mod tokens;

pub(crate) use casts::OPERAND as CAST_OPERAND;
pub(crate) use lower::{Lowered, lower};
pub(crate) use names::normal;
pub use names::quoted;
pub use options::bad_option;
pub use params::Param;
pub use parser::{parse, parse_all};
pub(crate) use parser::{parse_expr, parse_query};
pub use secret::Secret;
pub use statement::{Kind, Listing, Name, Options as StatementOptions, Statement};

use datafusion::sql::sqlparser::tokenizer::Span;
use std::fmt;

/// A statement that cannot be understood, with the place where that became clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What was expected, or what is wrong.
    pub message: String,
    /// The line, from 1; None where the statement as a whole is wrong.
    pub line: Option<u64>,
    /// The column in characters, from 1.
    pub column: Option<u64>,
}

impl SyntaxError {
    /// An error of the statement as a whole.
    pub(crate) fn whole(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None }
    }

    /// An error at the start of `span`.
    pub(crate) fn new(message: impl Into<String>, span: Span) -> Self {
        let place = (span.start.line > 0).then_some(span.start);
        Self {
            message: message.into(),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for SyntaxError {}
