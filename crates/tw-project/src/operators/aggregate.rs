//! What the aggregates of a projection are, and what each needs to remember.

use super::accumulator::Accumulator;
use super::best::{Best, Side};
use super::counts::{Booleans, Count};
use super::sums::{Wanted, avg_type, no_aggregate, sum_type, totals};
use crate::functions::function::type_error;
use crate::state::key::{Direction, is_key_type};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use std::sync::Arc;

/// What an aggregate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    /// `count(*)`, `count(x)`
    Count,
    Sum,
    Avg,
    BoolAnd,
    BoolOr,
    Min,
    Max,
    /// `first(x)`: of the rows in the order of the aggregate.
    First,
    Last,
    /// `array_agg(x)`
    List,
}

/// One aggregate of a projection. Columns are those of the batch that the projection's expressions give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aggregate {
    pub(crate) function: Function,
    pub(crate) distinct: bool,
    /// The column of its argument; None for `count(*)`.
    pub(crate) argument: Option<usize>,
    /// The column of its FILTER.
    pub(crate) filter: Option<usize>,
    /// The columns of its ORDER BY. Rows that are equal there follow in the order of their places.
    pub(crate) order: Vec<(usize, Direction)>,
    /// The type of the argument.
    pub(crate) input: DataType,
    /// The type of the result.
    pub(crate) output: DataType,
}

/// What is kept of an aggregate beside its accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing.
    Nothing,
    /// Every different value, and how often it is there.
    Values,
    /// Every row's value, in the aggregate's order.
    Rows,
}

impl Aggregate {
    /// The type of an aggregate's result.
    ///
    /// # Errors
    /// There is no such aggregate for the type.
    pub(crate) fn result_type(function: Function, distinct: bool, input: &DataType) -> Result<DataType> {
        if distinct && !is_key_type(input) {
            return Err(type_error(format!("not supported: DISTINCT of {}", crate::types::name(input))));
        }
        let name = function.name();
        Ok(match function {
            Function::Count => DataType::Int64,
            Function::Sum => sum_type(input).ok_or_else(|| no_aggregate(name, input))?,
            Function::Avg => avg_type(input).ok_or_else(|| no_aggregate(name, input))?,
            Function::BoolAnd | Function::BoolOr if *input == DataType::Boolean => DataType::Boolean,
            Function::Min | Function::Max if *input != DataType::Boolean && is_key_type(input) => {
                input.clone()
            }
            Function::First | Function::Last if is_key_type(input) => input.clone(),
            Function::List if is_key_type(input) => {
                DataType::List(Arc::new(Field::new("item", input.clone(), true)))
            }
            _ => return Err(no_aggregate(name, input)),
        })
    }

    /// What is kept of it, where rows are only added, or also taken back.
    pub(crate) fn keeps(&self, only_added: bool) -> Keeps {
        match self.function {
            // A value that is there twice changes neither of these.
            Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr if only_added => {
                Keeps::Nothing
            }
            Function::BoolAnd | Function::BoolOr => Keeps::Nothing,
            Function::Min | Function::Max => Keeps::Values,
            Function::First | Function::Last if only_added => Keeps::Nothing,
            Function::First | Function::Last => Keeps::Rows,
            Function::List if !self.distinct => Keeps::Rows,
            _ if self.distinct => Keeps::Values,
            _ => Keeps::Nothing,
        }
    }

    /// Whether rows that are taken back must be known by their place in the log.
    pub(crate) fn needs_place(&self) -> bool {
        matches!(self.function, Function::First | Function::Last)
            || (self.function == Function::List && !self.distinct)
    }

    /// Whether a result is found by walking the entries of the group.
    pub(crate) fn is_walked(&self) -> bool {
        self.function == Function::List
            || (self.distinct && matches!(self.function, Function::Sum | Function::Avg))
    }

    /// Whether entries of several partitions must be walked, because the same value can be in each.
    pub(crate) fn is_united(&self) -> bool {
        self.is_walked() || (self.distinct && self.function == Function::Count)
    }

    /// Which entry is the result, for those that have a best one.
    pub(crate) fn side(&self) -> Option<Side> {
        match self.function {
            Function::Min | Function::First => Some(Side::First),
            Function::Max | Function::Last => Some(Side::Last),
            _ => None,
        }
    }

    /// What a group remembers of it.
    pub(crate) fn accumulator(&self) -> Box<dyn Accumulator> {
        let exact = |wanted| totals(&self.input, wanted);
        let accumulator: Option<Box<dyn Accumulator>> = match self.function {
            Function::Sum if !self.distinct => exact(Wanted::Sum),
            Function::Avg if !self.distinct => exact(Wanted::Average),
            Function::BoolAnd => Some(Box::new(Booleans::new(true))),
            Function::BoolOr => Some(Box::new(Booleans::new(false))),
            _ => {
                self.side().map(|side| Box::new(Best::new(side, self.output.clone())) as Box<dyn Accumulator>)
            }
        };
        // Of the others, how many entries there are.
        accumulator.unwrap_or_else(|| Box::<Count>::default())
    }
}

impl Function {
    /// The function of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "count" => Self::Count,
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "bool_and" | "every" => Self::BoolAnd,
            "bool_or" => Self::BoolOr,
            "min" => Self::Min,
            "max" => Self::Max,
            "first" | "first_value" => Self::First,
            "last" | "last_value" => Self::Last,
            "array_agg" => Self::List,
            _ => return None,
        })
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::BoolAnd => "bool_and",
            Self::BoolOr => "bool_or",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::List => "array_agg",
        }
    }
}
