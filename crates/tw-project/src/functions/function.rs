//! The shape of our scalar functions: three plain functions behind DataFusion's trait.

use crate::types;
use datafusion::arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::compute::try_binary;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A value that an expression cannot be computed for: division by zero, overflow, a text that is not a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// The error of an expression that cannot be computed.
pub(crate) fn value_error(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(ValueError(message.into())))
}

/// The same inside an Arrow kernel.
pub(crate) fn arrow_error(message: impl Into<String>) -> ArrowError {
    ArrowError::ExternalError(Box::new(ValueError(message.into())))
}

/// The error of an expression that makes no sense: it is refused when it is planned.
pub(crate) fn type_error(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Plan(message.into())
}

/// Decides the result's type by the types of the arguments, and by their values where those are known.
type Returns = dyn Fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType> + Send + Sync;
/// Computes the result for a number of rows; the last argument is the type that it must have.
type Call = dyn Fn(&[ColumnarValue], usize, &DataType) -> Result<ColumnarValue> + Send + Sync;

/// A scalar function with PostgreSQL's semantics, whose arguments the binder has brought to the right types. Two are the
/// same if they have the same name.
pub(crate) struct Function {
    name: &'static str,
    /// What stands between the arguments of an operator.
    symbol: Option<&'static str>,
    signature: Signature,
    returns: Box<Returns>,
    call: Box<Call>,
}

impl Function {
    /// An immutable function.
    pub(crate) fn of(
        name: &'static str,
        returns: impl Fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType> + Send + Sync + 'static,
        call: impl Fn(&[ColumnarValue], usize, &DataType) -> Result<ColumnarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Self::build(name, None, Box::new(returns), Box::new(call))
    }

    /// A function that always gives the same type.
    pub(crate) fn giving(
        name: &'static str,
        ty: DataType,
        call: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Self::of(name, move |_, _| Ok(ty.clone()), move |args, rows, _| over_arrays(args, rows, &call))
    }

    /// An operator.
    pub(crate) fn operator(
        name: &'static str,
        symbol: &'static str,
        returns: impl Fn(&[DataType], &[Option<&ScalarValue>]) -> Result<DataType> + Send + Sync + 'static,
        call: impl Fn(&[ColumnarValue], usize, &DataType) -> Result<ColumnarValue> + Send + Sync + 'static,
    ) -> Arc<ScalarUDF> {
        Self::build(name, Some(symbol), Box::new(returns), Box::new(call))
    }

    fn build(
        name: &'static str,
        symbol: Option<&'static str>,
        returns: Box<Returns>,
        call: Box<Call>,
    ) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, symbol, signature, returns, call }))
    }
}

/// Functions whose result is JSON, and is to be treated as such.
const GIVES_JSON: [&str; 3] = ["json_member", "json_path", "json"];
/// Functions that have a value for all arguments; those on JSON do where the JSON is valid, as that of events is.
const TOTAL: [&str; 8] = [
    "guard",
    "json_member",
    "json_member_text",
    "json_path",
    "json_path_text",
    "interval_order",
    "sign",
    "to_hex",
];

/// What has no value for `infinity`, when it is extracted.
const ENDLESS_FIELDS: [&str; 6] = ["year", "decade", "century", "millennium", "isoyear", "epoch"];

impl Function {
    /// Whether it has a value for all arguments.
    pub(crate) fn is_total(&self) -> bool {
        TOTAL.contains(&self.name)
            || self.name.strip_prefix("extract_").is_some_and(|field| !ENDLESS_FIELDS.contains(&field))
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(match (self.symbol, names.as_slice()) {
            (Some(symbol), [one]) => format!("({symbol}{one})"),
            (Some(symbol), names) => format!("({})", names.join(&format!(" {symbol} "))),
            (None, names) => format!("{}({})", self.name, names.join(", ")),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(types.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.returns)(types, &vec![None; types.len()])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let ty = (self.returns)(&types, args.scalar_arguments)?;
        let field = Field::new(self.name, ty, true);
        Ok(Arc::new(if GIVES_JSON.contains(&self.name) { types::as_json(field) } else { field }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.call)(&args.args, args.number_rows, args.return_field.data_type())
    }
}

/// Runs `compute` over arrays; if every argument is a single value, over one row.
pub(crate) fn over_arrays(
    args: &[ColumnarValue],
    rows: usize,
    compute: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let single = args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if single { 1 } else { rows };
    let arrays = args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
    let result = compute(&arrays)?;
    if single {
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
    } else {
        Ok(ColumnarValue::Array(result))
    }
}

/// Combines two columns of numbers value by value; null if either is. A single value on one side is not expanded.
pub(crate) fn zip<A, B, O>(
    args: &[ColumnarValue],
    ty: &DataType,
    op: impl Fn(A::Native, B::Native) -> Result<O::Native, ArrowError>,
) -> Result<ColumnarValue>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let [left, right] = args else {
        return Err(DataFusionError::Internal("an operator takes two operands".into()));
    };
    let array: PrimitiveArray<O> = match (left, right) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => {
            try_binary(left.as_primitive::<A>(), right.as_primitive::<B>(), op)?
        }
        (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => {
            let left = left.as_primitive::<A>();
            match single::<B>(right)? {
                Some(right) => left.try_unary(|left| op(left, right))?,
                None => PrimitiveArray::new_null(left.len()),
            }
        }
        (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => {
            let right = right.as_primitive::<B>();
            match single::<A>(left)? {
                Some(left) => right.try_unary(|right| op(left, right))?,
                None => PrimitiveArray::new_null(right.len()),
            }
        }
        (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
            let value = match (single::<A>(left)?, single::<B>(right)?) {
                (Some(left), Some(right)) => Some(op(left, right)?),
                _ => None,
            };
            let array: PrimitiveArray<O> = std::iter::once(value).collect();
            let array: ArrayRef = Arc::new(array.with_data_type(ty.clone()));
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
    };
    Ok(ColumnarValue::Array(Arc::new(array.with_data_type(ty.clone()))))
}

fn single<T: ArrowPrimitiveType>(value: &ScalarValue) -> Result<Option<T::Native>> {
    let array = value.to_array()?;
    let array = array.as_primitive_opt::<T>().ok_or_else(|| {
        DataFusionError::Internal(format!("expected {}, found {}", T::DATA_TYPE, array.data_type()))
    })?;
    Ok(array.iter().next().flatten())
}
