//! What can go wrong with a statement or a projection.

use crate::dialect::suggest;
use crate::functions::ValueError;
use crate::rows::RowError;
use crate::sql::SyntaxError;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use tw_types::{NodeId, chain};

/// A statement was not carried out, or a result is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not a statement.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The statement makes no sense, or is not supported; the text says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// Nothing has this name.
    #[error("there is no {what} `{name}`{hint}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// Something has this name already.
    #[error("there is a {what} `{name}` already")]
    Exists {
        /// What there is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It cannot be removed.
    #[error("the {what} `{name}` is used by {by}: drop that first")]
    InUse {
        /// What was to be removed.
        what: &'static str,
        /// Its name.
        name: String,
        /// What uses it.
        by: String,
    },
    /// A value cannot be computed: division by zero, overflow, a text that is not a number.
    #[error("{0}")]
    Value(String),
    /// An event does not fit the declared columns of its stream.
    #[error("event {offset} of partition {partition} of `{stream}` is not a row: {cause}")]
    Row {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// What is wrong with it.
        cause: RowError,
    },
    /// A projection is not being kept up to date.
    #[error("`{name}` cannot be read: {reason}")]
    NotReadable {
        /// The projection.
        name: String,
        /// Why not.
        reason: String,
    },
    /// Nobody can be asked for a part of what is read at the moment: it moves from one node to another.
    #[error("`{name}` cannot be read: {reason}: try again")]
    NoOwner {
        /// The projection, or the table.
        name: String,
        /// Of which part.
        reason: String,
    },
    /// A node that has a part of what is read cannot be asked, or has broken off.
    #[error("node `{node}` does not answer: try again")]
    Peer {
        /// The node.
        node: NodeId,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The query took too long, or what its token demands did not arrive in time.
    #[error("the query did not end within {timeout_ms} ms: ask for less, or raise the timeout")]
    Timeout {
        /// The bound.
        timeout_ms: u64,
    },
    /// What the token demands did not arrive in time.
    #[error("`{table}` has not come as far as the token demands within {timeout_ms} ms: try again")]
    TokenTimeout {
        /// The table that is behind.
        table: String,
        /// The bound.
        timeout_ms: u64,
    },
    /// The query needs more memory than it may have.
    #[error("the query needs more than {bytes_max} bytes of memory: filter more, or group by less")]
    Memory {
        /// The bound.
        bytes_max: usize,
    },
    /// The result has more rows than it may have.
    #[error("the result has more than {rows_max} rows: use LIMIT, or raise the bound")]
    Rows {
        /// The bound.
        rows_max: u64,
    },
    /// The log failed.
    #[error(transparent)]
    Log(#[from] tw_log::Error),
    /// The workers failed.
    #[error(transparent)]
    Process(#[from] tw_process::Error),
    /// The state store failed.
    #[error(transparent)]
    State(#[from] tw_state::Error),
    /// What is stored cannot be read: it was written by a later version, or is damaged.
    #[error("the state of `{0}` cannot be read: rebuild it")]
    Stored(String),
    /// The query engine failed.
    #[error("the query failed")]
    Engine(#[source] Box<DataFusionError>),
}

impl Error {
    /// A stable name of the kind of error, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::Refused(_) => "refused",
            Self::NotFound { .. } => "not_found",
            Self::Exists { .. } => "exists",
            Self::InUse { .. } => "in_use",
            Self::Value(_) => "value",
            Self::Row { .. } => "row",
            Self::NotReadable { .. } => "not_readable",
            Self::NoOwner { .. } => "no_owner",
            Self::Peer { .. } => "peer",
            Self::Timeout { .. } => "timeout",
            Self::TokenTimeout { .. } => "token_timeout",
            Self::Memory { .. } => "memory",
            Self::Rows { .. } => "rows",
            Self::Log(_) => "log",
            Self::State(_) | Self::Stored(_) | Self::Process(_) => "state",
            Self::Engine(_) => "engine",
        }
    }
}

impl From<DataFusionError> for Error {
    /// Finds what matters to whoever wrote the statement.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Shared(inner) => Self::from_shared(&inner),
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(inner) => match inner.downcast::<ValueError>() {
                    Ok(value) => Self::Value(value.0),
                    Err(inner) => match inner.downcast::<DataFusionError>() {
                        Ok(nested) => Self::from(*nested),
                        Err(inner) => Self::from_external(inner),
                    },
                },
            },
            DataFusionError::ArrowError(inner, _) => Self::from_arrow(*inner),
            DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => {
                Self::Refused(plain(&message))
            }
            DataFusionError::SchemaError(inner, _) => Self::from_schema(&inner),
            DataFusionError::Execution(message) => Self::Value(plain(&message)),
            DataFusionError::Collection(errors) => match errors.into_iter().next() {
                Some(first) => Self::from(first),
                None => Self::Refused("the statement makes no sense".into()),
            },
            other => Self::Engine(Box::new(other)),
        }
    }
}

impl Error {
    fn from_external(inner: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match inner.downcast::<tw_state::Error>() {
            Ok(state) => Self::State(*state),
            Err(inner) => match inner.downcast::<tw_log::Error>() {
                Ok(log) => Self::Log(*log),
                Err(inner) => Self::Engine(Box::new(DataFusionError::External(inner))),
            },
        }
    }

    fn from_arrow(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(inner) => Self::from(DataFusionError::External(inner)),
            ArrowError::DivideByZero => Self::Value("division by zero".into()),
            ArrowError::ArithmeticOverflow(message)
            | ArrowError::ComputeError(message)
            | ArrowError::CastError(message) => Self::Value(plain(&message)),
            other => Self::Engine(Box::new(DataFusionError::ArrowError(Box::new(other), None))),
        }
    }

    /// The same once more, with the text of its cause in place of that.
    fn copied(&self) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(text.clone()),
            Self::Value(text) => Self::Value(text.clone()),
            Self::NotReadable { name, reason } => {
                Self::NotReadable { name: name.clone(), reason: reason.clone() }
            }
            Self::NoOwner { name, reason } => Self::NoOwner { name: name.clone(), reason: reason.clone() },
            Self::Peer { node, source } => {
                Self::Peer { node: node.clone(), source: chain(source.as_ref()).into() }
            }
            Self::Timeout { timeout_ms } => Self::Timeout { timeout_ms: *timeout_ms },
            Self::TokenTimeout { table, timeout_ms } => {
                Self::TokenTimeout { table: table.clone(), timeout_ms: *timeout_ms }
            }
            Self::Memory { bytes_max } => Self::Memory { bytes_max: *bytes_max },
            other => Self::Engine(Box::new(DataFusionError::Execution(chain(other)))),
        }
    }

    /// An error that several parts of a query share cannot be taken apart, only looked at.
    fn from_shared(error: &DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) => {
                match (inner.downcast_ref::<Self>(), inner.downcast_ref::<ValueError>()) {
                    (Some(own), _) => own.copied(),
                    (_, Some(value)) => Self::Value(value.0.clone()),
                    _ => Self::Engine(Box::new(DataFusionError::Execution(inner.to_string()))),
                }
            }
            DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                ArrowError::ExternalError(inner) => Self::Value(inner.to_string()),
                ArrowError::DivideByZero => Self::Value("division by zero".into()),
                other => Self::Value(plain(&other.to_string())),
            },
            DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => {
                Self::Refused(plain(message))
            }
            other => Self::Value(plain(&other.to_string())),
        }
    }

    fn from_schema(error: &SchemaError) -> Self {
        match error {
            SchemaError::FieldNotFound { field, valid_fields } => Self::NotFound {
                what: "column",
                name: field.name.clone(),
                hint: columns(field, valid_fields),
            },
            SchemaError::AmbiguousReference { field } => {
                Self::Refused(format!("the column `{}` is in several tables: write table.{0}", field.name))
            }
            SchemaError::DuplicateQualifiedField { name, .. }
            | SchemaError::DuplicateUnqualifiedField { name } => Self::Refused(format!(
                "the column `{name}` is there twice: give one of them another name with AS"
            )),
        }
    }
}

/// Which column may have been meant, or which there are if they are few.
fn columns(wanted: &Column, known: &[Column]) -> String {
    const NAMES_MAX: usize = 12;
    // It is there, but in another table than the one that was named.
    if let Some(other) = known.iter().find(|column| column.name == wanted.name) {
        return format!(": did you mean `{}`?", other.flat_name());
    }
    let names: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
    let hint = suggest::did_you_mean(&wanted.name, names.iter().copied());
    if !hint.is_empty() {
        return hint;
    }
    // Those of the platform are in every stream.
    let own: Vec<String> =
        names.iter().filter(|name| !name.starts_with('_')).map(|name| format!("`{name}`")).collect();
    match own.as_slice() {
        [] => String::new(),
        [only] => format!(": there is {only}"),
        few if few.len() <= NAMES_MAX => format!(": there are {}", few.join(", ")),
        _ => ": DESCRIBE and the name of the table list them".to_owned(),
    }
}

/// The first line of a message, starting in lower case as ours do.
fn plain(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    // What a function of ours says about its arguments comes wrapped.
    let line = line.split_once("coercion failed with: ").map_or(line, |(_, inner)| inner);
    let line = line.split_once(". No function matches").map_or(line, |(own, _)| own);
    let line = line.strip_prefix("Error during planning: ").unwrap_or(line).trim_end_matches('.');
    if let Some(name) = line.strip_prefix("Invalid function '") {
        return format!("there is no function `{}`", name.trim_end_matches('\''));
    }
    // DataFusion says it in its own words, with what it makes of the expressions.
    if line.contains("must appear in the GROUP BY clause")
        && let Some(column) = line.split('"').nth(1)
    {
        return format!("the column `{column}` must be in GROUP BY, or in an aggregate function");
    }
    if let Some((condition, _)) = line
        .strip_prefix("Cannot create filter with non-boolean predicate '")
        .and_then(|line| line.rsplit_once('\''))
    {
        return format!("the condition `{condition}` is neither true nor false: compare it with something");
    }
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // An abbreviation stays.
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(line.chars().skip(1)).collect()
        }
        _ => line.to_owned(),
    }
}
