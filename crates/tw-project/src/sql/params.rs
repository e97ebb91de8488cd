//! Values that a statement is given for its parameters `$1`, `$2` and so on.

use datafusion::sql::sqlparser::ast::Value;

/// The value of a parameter. A text takes the type that its place in the statement asks for, as in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Param {
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number in decimal digits, as JSON writes it.
    Number(String),
    /// A text, or any other value in its text form.
    Text(String),
}

impl Param {
    /// A parameter from a JSON value; arrays and objects become their JSON text.
    pub fn from_json(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(number.to_string()),
            serde_json::Value::String(text) => Self::Text(text.clone()),
            nested => Self::Text(nested.to_string()),
        }
    }

    /// As a literal of a statement; one of a number has no sign.
    pub(crate) fn to_sql(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Boolean(*value),
            Self::Number(number) => Value::Number(number.clone(), false),
            Self::Text(text) => Value::SingleQuotedString(text.clone()),
        }
    }
}
