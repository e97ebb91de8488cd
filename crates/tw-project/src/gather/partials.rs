//! Aggregates over rows of a view as nodes ask each other for them.
//!
//! Each node computes them of the rows that it has, and gives parts of groups ([`crate::operators::partials`]), in the frames of rows.
//! The form of those parts has a number of its own. A node that does not know it, or nothing of all this because it is of an earlier
//! version, refuses; then its rows are fetched, and are aggregated by whoever has asked.

use super::filter::Filter;
use crate::operators::aggregate::{Aggregate, Function};
use crate::operators::entries::AGGREGATES_MAX;
use crate::operators::partials::Partials;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{DataFusionError, Result};
use serde::{Deserialize, Serialize};

/// The form of parts of groups.
const FORM: u32 = 1;
/// The most columns by which rows are grouped.
const KEYS_MAX: usize = 1_000;

/// Parts of groups of rows of a view that is not grouped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetPartials {
    form: u32,
    /// The columns by which rows are grouped.
    pub(crate) keys: Vec<usize>,
    pub(crate) aggregates: Vec<Wanted>,
    /// What the rows must be like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
}

/// An aggregate of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) compute: Compute,
    /// The column; None counts rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<usize>,
    /// The rows that count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Filter>,
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compute {
    Count,
    Sum,
    Avg,
    BoolAnd,
    BoolOr,
    Min,
    Max,
}

impl Compute {
    /// What an aggregate of a query computes; None if that cannot be put together of parts.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match Function::of(name)? {
            Function::Count => Self::Count,
            Function::Sum => Self::Sum,
            Function::Avg => Self::Avg,
            Function::BoolAnd => Self::BoolAnd,
            Function::BoolOr => Self::BoolOr,
            Function::Min => Self::Min,
            Function::Max => Self::Max,
            Function::First | Function::Last | Function::List => return None,
        })
    }

    fn function(self) -> Function {
        match self {
            Self::Count => Function::Count,
            Self::Sum => Function::Sum,
            Self::Avg => Function::Avg,
            Self::BoolAnd => Function::BoolAnd,
            Self::BoolOr => Function::BoolOr,
            Self::Min => Function::Min,
            Self::Max => Function::Max,
        }
    }
}

impl GetPartials {
    pub(crate) fn new(keys: Vec<usize>, aggregates: Vec<Wanted>, filter: Option<Filter>) -> Self {
        Self { form: FORM, keys, aggregates, filter }
    }

    /// What is wrong with it; None if it can be carried out, as far as that is known without the table.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self {
            Self { form, .. } if *form != FORM => Some("it asks for parts of groups of another form"),
            Self { keys, .. } if keys.len() > KEYS_MAX => Some("it groups by more than 1000 columns"),
            Self { aggregates, .. } if aggregates.len() > AGGREGATES_MAX => {
                Some("it asks for more than 256 aggregates")
            }
            _ => None,
        }
    }

    /// What computes it of rows with these columns.
    ///
    /// # Errors
    /// It is of another table.
    pub(crate) fn partials(&self, rows: &Schema, query_bytes_max: usize) -> Result<Partials> {
        let mut aggregates = Vec::with_capacity(self.aggregates.len());
        for Wanted { compute, of, filter } in &self.aggregates {
            let input = match of {
                Some(column) => rows.fields().get(*column).map(|field| field.data_type().clone()),
                None => (*compute == Compute::Count).then_some(DataType::Int64),
            };
            let input = input
                .ok_or_else(|| DataFusionError::Plan("these aggregates are not about this table".into()))?;
            let function = compute.function();
            let aggregate = Aggregate {
                function,
                distinct: false,
                argument: *of,
                filter: None,
                order: Vec::new(),
                output: Aggregate::result_type(function, false, &input)?,
                input,
            };
            let condition = filter.as_ref().map(|filter| filter.expression(rows)).transpose()?;
            aggregates.push((aggregate, condition));
        }
        Partials::new(self.keys.clone(), aggregates, rows, query_bytes_max)
    }

    /// What it computes, for a person.
    pub(crate) fn told(&self, rows: &Schema) -> String {
        let name = |column: &usize| rows.fields().get(*column).map_or("", |field| field.name().as_str());
        let aggregate = |one: &Wanted| {
            let filter = if one.filter.is_some() { " FILTER (…)" } else { "" };
            format!("{}({}){filter}", one.compute.function().name(), one.of.as_ref().map_or("*", name))
        };
        let mut columns: Vec<String> = self.keys.iter().map(|key| name(key).to_owned()).collect();
        columns.extend(self.aggregates.iter().map(aggregate));
        columns.join(", ")
    }
}
